// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Status} from "../interfaces/IOracle.sol";
import {RiskHashing} from "../risk/RiskHashing.sol";
import {RiskParams} from "../risk/RiskTypes.sol";
import {ChannelSlot} from "./ChannelSlot.sol";
import {Errors} from "./Errors.sol";
import {OracleReader} from "./OracleReader.sol";
import {Settlement} from "./Settlement.sol";
import {Party, Portfolio, Position, Spot, Terms} from "./Types.sol";

/// @notice What a margin call, a close-out and a release rest on: when they may be made, and the prices they use.
library MarginCalls {
    /// @notice Moments that a cure may end at: oracles attest and average prices into full hours.
    uint256 internal constant STEP = 1 hours;

    uint256 internal constant BPS = 10_000;

    /// @notice End of a cure that starts now, rounded up to the full hour.
    function cureEnd(uint256 cureWindow) internal view returns (uint32) {
        uint256 end = (block.timestamp + cureWindow + STEP - 1) / STEP * STEP;
        if (end > type(uint32).max) revert Errors.TimeOverflow();
        return uint32(end);
    }

    /// @notice Reverts if the marks were stale when the dispute was filed: old vols make nobody default.
    function requireFreshMarks(ChannelSlot slot, Terms calldata terms, uint256 markedAt) internal pure {
        uint256 filedAt = slot.deadline() - terms.disputeWindow; // the deadline was made of this sum
        if (markedAt + terms.maxMarkAge < filedAt) revert Errors.MarksTooOld(markedAt, filedAt - terms.maxMarkAge);
    }

    /// @notice Reverts if `party` cannot be called yet: one undecided call at a time.
    function requireCallable(ChannelSlot slot, Party party, uint256 settlementGrace, uint256 cureWindow) internal view {
        Party other = party == Party.A ? Party.B : Party.A;
        if (Settlement.callUndecided(slot, party, settlementGrace)) {
            revert Errors.CallUndecided(party, slot.cureEnd(party));
        }
        // A second call would overwrite an end that the decision of the other's call looks at.
        if (together(slot, cureWindow) && Settlement.callUndecided(slot, other, settlementGrace)) {
            revert Errors.CallUndecided(other, slot.cureEnd(other));
        }
    }

    /// @notice Reverts unless a call on `party` waits for its decision and may be decided now.
    function requireDecidable(ChannelSlot slot, Party party, uint256 settlementGrace) internal view {
        if (!Settlement.callUndecided(slot, party, settlementGrace)) revert Errors.NoCall(party);
        uint256 from = decidableFrom(slot, party, settlementGrace);
        if (block.timestamp < from) revert Errors.TooEarlyToCloseOut(from);
    }

    /// @notice When a call on `party` can be decided: half of the grace later if one on the other ended before and has not
    /// lapsed by then, so that the earlier goes first.
    /// @dev Of stored ends alone, as `together`: what the time of the decision could change would be an option to wait.
    function decidableFrom(ChannelSlot slot, Party party, uint256 settlementGrace)
        internal
        pure
        returns (uint256 from)
    {
        Party other = party == Party.A ? Party.B : Party.A;
        from = Settlement.decidableFrom(slot, party);
        uint256 end = slot.cureEnd(other);
        if (end != 0 && end < slot.cureEnd(party) && from < Settlement.decidableFrom(slot, other) + settlementGrace) {
            from += settlementGrace / 2;
        }
    }

    /// @notice Whether both parties were called and the later call was made before the earlier's cure ended: then nobody is
    /// favoured. Who is called cannot bring that about once its own cure has ended.
    function together(ChannelSlot slot, uint256 cureWindow) internal pure returns (bool) {
        (uint256 endA, uint256 endB) = (slot.cureEnd(Party.A), slot.cureEnd(Party.B));
        if (endA == 0 || endB == 0) return false;
        return (endA < endB ? endB - endA : endA - endB) <= cureWindow;
    }

    /// @notice Reverts unless these are the parameters both agreed on.
    function requireAgreed(Terms calldata terms, RiskParams[] calldata risk) internal pure {
        bytes32 given = RiskHashing.hash(risk);
        if (given != terms.riskHash) revert Errors.RiskMismatch(terms.riskHash, given);
    }

    /// @notice The oracle's spot of each feed with positions open now, none older than `maxPriceAge`.
    function spots(Terms calldata terms, Portfolio calldata portfolio) internal view returns (Spot[] memory prices) {
        prices = _openFeeds(portfolio, block.timestamp);
        for (uint256 i; i < prices.length; ++i) {
            bytes32 feed = prices[i].feed;
            (uint256 price, uint256 updatedAt) = OracleReader.spot(terms.oracle, feed, OracleReader.ORACLE_GAS);
            if (price == 0 || updatedAt + terms.maxPriceAge < block.timestamp) {
                revert Errors.SpotTooOld(feed, updatedAt);
            }
            prices[i].price = uint128(price); // the reader refuses more
        }
    }

    /// @notice The known price, at `time`, of each feed with positions open then. No last resort serves here.
    function pricesAt(Terms calldata terms, Portfolio calldata portfolio, uint256 time)
        internal
        view
        returns (Spot[] memory prices)
    {
        prices = _openFeeds(portfolio, time);
        for (uint256 i; i < prices.length; ++i) {
            bytes32 feed = prices[i].feed;
            (Status status, uint256 price) = OracleReader.settlement(terms.oracle, feed, time);
            if (status != Status.Known) revert Errors.PriceUnknown(feed, time);
            prices[i].price = uint128(price); // the reader refuses more
        }
    }

    /// @dev Feeds with positions that expire after `time`, in order, without prices. A portfolio out of order would name
    /// one twice, and RiskEngine refuses it.
    function _openFeeds(Portfolio calldata portfolio, uint256 time) private pure returns (Spot[] memory prices) {
        Position[] calldata positions = portfolio.positions;
        prices = new Spot[](positions.length);
        uint256 count;
        for (uint256 i; i < positions.length; ++i) {
            Position calldata position = positions[i];
            if (position.expiry <= time || (count > 0 && prices[count - 1].feed == position.feed)) continue;
            prices[count++].feed = position.feed;
        }
        assembly ("memory-safe") {
            mstore(prices, count) // it only gets shorter
        }
    }
}
