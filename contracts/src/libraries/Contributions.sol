// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Errors} from "./Errors.sol";
import {Party} from "./Types.sol";

/// @notice Slot 2 of a channel, one word: what each party has put in, deposits less payments, signed.
///
/// ```
///  255                            128 127                              0
/// +----------------------------------+----------------------------------+
/// |          contributionB           |          contributionA           |
/// |              int128              |              int128              |
/// +----------------------------------+----------------------------------+
/// ```
///
/// Payments of winnings may make one negative. Their sum, the pot, is what the channel holds and never is.
type Contributions is uint256;

using ContributionsLibrary for Contributions global;

library ContributionsLibrary {
    /// @notice Most that a channel holds. It equals the largest payoff of one position (`Payoff.MAX_MAGNITUDE`), so
    /// that capping a payoff never decides who gets the pot.
    uint256 internal constant MAX_POT = 2 ** 119 - 1;

    /// @notice Both contributions in one word.
    /// @dev Reverts if one does not fit 128 bits or the pot is above `MAX_POT`.
    function pack(int256 ofA, int256 ofB) internal pure returns (Contributions) {
        if (ofA != int128(ofA) || ofB != int128(ofB) || ofA + ofB > int256(MAX_POT)) revert Errors.PotTooLarge();
        return Contributions.wrap(uint256(ofB) << 128 | uint128(int128(ofA)));
    }

    function contributionA(Contributions self) internal pure returns (int128) {
        return int128(uint128(Contributions.unwrap(self)));
    }

    function contributionB(Contributions self) internal pure returns (int128) {
        return int128(uint128(Contributions.unwrap(self) >> 128));
    }

    /// @notice What the channel holds, collateral base units.
    function pot(Contributions self) internal pure returns (uint256) {
        // Rule 1: payments are taken from cash, which is at most the pot, so the sum is never negative.
        return uint256(int256(self.contributionA()) + self.contributionB());
    }

    /// @notice A party's cash under `netToB` before any clamp: negative if it owes more than it put in, above the pot if
    /// the other does. In every margin decision, so that a loss beyond the collateral counts in full.
    function unclampedCash(Contributions self, Party party, int256 netToB) internal pure returns (int256) {
        return party == Party.A ? self.contributionA() - netToB : self.contributionB() + netToB;
    }

    /// @notice What each party is paid under `netToB`: clamped to the pot, adding up to it (rule 1).
    /// @param netToB what A has paid B net; any 128-bit figure.
    function cash(Contributions self, int256 netToB) internal pure returns (uint256 cashA, uint256 cashB) {
        uint256 whole = self.pot();
        int256 unclamped = self.unclampedCash(Party.A, netToB);
        if (unclamped > 0) cashA = uint256(unclamped) < whole ? uint256(unclamped) : whole;
        cashB = whole - cashA;
    }

    /// @notice Contributions after `party` put `amount` in.
    function add(Contributions self, Party party, uint256 amount) internal pure returns (Contributions) {
        if (amount > MAX_POT) revert Errors.PotTooLarge();
        (int256 ofA, int256 ofB) = (self.contributionA(), self.contributionB());
        return party == Party.A ? pack(ofA + int256(amount), ofB) : pack(ofA, ofB + int256(amount));
    }

    /// @notice Contributions after both were paid. Either may turn negative; the amounts are at most their cash.
    function sub(Contributions self, uint256 paidA, uint256 paidB) internal pure returns (Contributions) {
        return pack(self.contributionA() - int256(paidA), self.contributionB() - int256(paidB));
    }
}
