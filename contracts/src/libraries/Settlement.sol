// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ChannelSlot} from "./ChannelSlot.sol";
import {Errors} from "./Errors.sol";
import {Hashing} from "./Hashing.sol";
import {OracleReader} from "./OracleReader.sol";
import {Payoff} from "./Payoff.sol";
import {Party, Portfolio, Position, Spot, Terms} from "./Types.sol";

/// @notice Run-off: settles what has expired of a portfolio and tells what remains. Pure bookkeeping; the Adjudicator
/// compares hashes, stores and pays.
library Settlement {
    /// @notice How long after the last possible settlement a portfolio nobody shows is waited for.
    uint256 internal constant ABANDON_DELAY = 180 days;

    /// @notice What settling a portfolio now comes to.
    struct Result {
        bytes32 spotsHash;
        /// Hashes of the positions that remain, in order; and their indices.
        bytes32[] kept;
        uint256[] keptIndices;
        uint256 settled;
        int256 netToB;
    }

    /// @notice Whether a margin call on `party` waits for its decision. It lapses settlementGrace after
    /// max(cureEnd, deadline); nothing else but a close-out ends it.
    function callUndecided(ChannelSlot slot, Party party, uint256 settlementGrace) internal view returns (bool) {
        if (slot.cureEnd(party) == 0) return false;
        return block.timestamp < decidableFrom(slot, party) + settlementGrace;
    }

    /// @notice When a call on `party` can first be decided: the later of the cure's end and the deadline.
    function decidableFrom(ChannelSlot slot, Party party) internal pure returns (uint256) {
        (uint256 cureEnd, uint256 deadline) = (slot.cureEnd(party), slot.deadline());
        return cureEnd > deadline ? cureEnd : deadline;
    }

    /// @notice Latest expiry that settles now: nothing in the future, nor after the end of an undecided cure, since
    /// the decision is as of that moment.
    function horizon(ChannelSlot slot, uint256 settlementGrace) internal view returns (uint256 last) {
        last = block.timestamp;
        if (callUndecided(slot, Party.A, settlementGrace) && slot.cureEnd(Party.A) < last) {
            last = slot.cureEnd(Party.A);
        }
        if (callUndecided(slot, Party.B, settlementGrace) && slot.cureEnd(Party.B) < last) {
            last = slot.cureEnd(Party.B);
        }
    }

    /// @notice Settles every position of `portfolio` that has expired by `last` and has a price.
    /// @param recorded the hash it must have.
    function run(Terms calldata terms, Portfolio calldata portfolio, bytes32 recorded, uint256 last)
        internal
        view
        returns (Result memory result)
    {
        Position[] calldata positions = portfolio.positions;
        uint256 count = positions.length;
        bytes32[] memory hashes = Hashing.each(positions);
        result.spotsHash = Hashing.hash(portfolio.spots);
        bytes32 given = Hashing.hash(portfolio, result.spotsHash, Hashing.keccakOf(hashes));
        if (given != recorded) revert Errors.PortfolioMismatch(recorded, given);

        // What remains is written over the hashes: the next kept one never lies ahead of the one being read.
        result.kept = hashes;
        result.keptIndices = new uint256[](count);
        result.netToB = portfolio.netToB;

        uint256 kept;
        // Canonical order puts positions of one (feed, expiry) side by side: each price is read once.
        bytes32 feed;
        uint256 expiry = type(uint256).max; // no expiry
        bool known;
        uint256 price;
        for (uint256 i; i < count; ++i) {
            Position calldata position = positions[i];
            if (position.expiry <= last) {
                if (position.expiry != expiry || position.feed != feed) {
                    (feed, expiry) = (position.feed, position.expiry);
                    (known, price) = _price(terms, portfolio, feed, expiry);
                }
                if (known) {
                    if (price != 0) {
                        int256 payoff =
                            Payoff.truncated(position.kind, position.strike, position.quantity, price, terms.unit);
                        result.netToB = Payoff.moveNet(result.netToB, payoff);
                    }
                    continue;
                }
            }
            hashes[kept] = hashes[i];
            result.keptIndices[kept++] = i;
        }
        result.settled = count - kept;
        uint256[] memory indices = result.keptIndices;
        assembly ("memory-safe") {
            // Both arrays only get shorter.
            mstore(hashes, kept)
            mstore(indices, kept)
        }
    }

    /// @notice `netToB` once everything that has expired by `time` is settled; reverts if something lacks its price.
    function netAsOf(Terms calldata terms, Portfolio calldata portfolio, bytes32 recorded, uint256 time)
        internal
        view
        returns (int256)
    {
        Result memory result = run(terms, portfolio, recorded, time);
        uint256[] memory indices = result.keptIndices;
        for (uint256 i; i < indices.length; ++i) {
            Position calldata position = portfolio.positions[indices[i]];
            if (position.expiry <= time) revert Errors.PriceUnknown(position.feed, position.expiry);
        }
        return result.netToB;
    }

    /// @notice Reverts unless `portfolio` is the recorded one and holds nothing that has expired.
    function requireSettled(Portfolio calldata portfolio, bytes32 recorded) internal view {
        bytes32 given = Hashing.hash(portfolio);
        if (given != recorded) revert Errors.PortfolioMismatch(recorded, given);
        Position[] calldata positions = portfolio.positions;
        for (uint256 i; i < positions.length; ++i) {
            Position calldata position = positions[i];
            if (position.expiry <= block.timestamp) revert Errors.NotSettled(position.feed, position.expiry);
        }
    }

    /// @notice When a channel whose portfolio nobody showed can be abandoned.
    function abandonFrom(ChannelSlot slot, Terms calldata terms) internal pure returns (uint256) {
        return uint256(slot.deadline()) + terms.maxTenor + terms.settlementGrace + ABANDON_DELAY;
    }

    /// @notice Hash of what remains.
    function remainingHash(Portfolio calldata portfolio, Result memory result) internal pure returns (bytes32) {
        return Hashing.hashMoved(portfolio, result.netToB, result.spotsHash, Hashing.keccakOf(result.kept));
    }

    /// @notice What remains: the other positions in order, `netToB` moved, all else as signed.
    function remaining(Portfolio calldata portfolio, Result memory result)
        internal
        pure
        returns (Portfolio memory left)
    {
        left.netToB = int128(result.netToB); // saturated to 128 bits as it moved
        left.marginA = portfolio.marginA;
        left.marginB = portfolio.marginB;
        left.markedAt = portfolio.markedAt;
        left.spots = portfolio.spots;
        left.positions = new Position[](result.kept.length);
        for (uint256 i; i < result.kept.length; ++i) {
            left.positions[i] = portfolio.positions[result.keptIndices[i]];
        }
    }

    /// @dev Whether (feed, expiry) settles now, and at what price: the oracle's, or the signed spot where that serves
    /// in its place. 0 = there is no price and the position pays 0.
    function _price(Terms calldata terms, Portfolio calldata portfolio, bytes32 feed, uint256 expiry)
        private
        view
        returns (bool known, uint256 price)
    {
        (known, price) = OracleReader.settlementPrice(terms.oracle, feed, expiry, terms.settlementGrace);
        if (known && price == 0) price = _signedSpot(portfolio.spots, feed);
    }

    function _signedSpot(Spot[] calldata spots, bytes32 feed) private pure returns (uint256) {
        for (uint256 i; i < spots.length; ++i) {
            if (spots[i].feed == feed) return spots[i].price;
        }
        return 0;
    }
}
