// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Payoff} from "../libraries/Payoff.sol";
import {Series} from "./RiskTypes.sol";

/// @notice The most that positions of one feed and expiry can cost a party, over every price they can settle at. The twin
/// of channels/pricing/losses.py.
library LargestLoss {
    int256 private constant WAD = 1e18;

    /// @dev One walk over the strikes in order. `value` and `slope` are the payoff to A, in WAD x WAD, as a straight line
    /// through `from`; below 2^248, because a quantity is at most 2^112 and a price below 2^128.
    struct Walk {
        int256 value;
        int256 slope;
        uint256 from;
        int256 least;
        int256 most;
        /// Next position of each kind, and the first of the next kind: positions stand by kind, then strike.
        uint256[5] next;
        uint256[5] end;
    }

    /// @notice Largest loss before rounding, and how many positions can round against the party.
    /// @param side 1 for A, -1 for B.
    /// @return bounded false if the party loses more the higher the price; the rest counts only if true.
    /// @return loss WAD x WAD, at least 0; 0 where the party can only gain.
    /// @return slack collateral units that truncation, payoff by payoff, can add.
    function worst(Series[] memory held, int256 side)
        internal
        pure
        returns (bool bounded, uint256 loss, uint256 slack)
    {
        unchecked {
            Walk memory walk;
            uint256 gains;
            uint256 costs;
            int256 upside;
            for (uint256 i = 0; i < held.length; ++i) {
                Series memory each = held[i];
                uint256 kind = each.kind;
                int256 quantity = side * each.quantity;
                if (walk.end[kind] == 0) walk.next[kind] = i;
                walk.end[kind] = i + 1;
                if (kind == Payoff.FORWARD || quantity > 0) ++gains;
                if (kind == Payoff.FORWARD || quantity < 0) ++costs;
                if (kind == Payoff.CALL || kind == Payoff.FORWARD) upside += quantity;
                // the payoff at price 0, as approached by every series, and its slope
                if (kind == Payoff.PUT) {
                    walk.value += quantity * int256(each.strike);
                    walk.slope -= quantity;
                } else if (kind == Payoff.DIGITAL_PUT) {
                    walk.value += quantity * WAD;
                } else if (kind == Payoff.FORWARD) {
                    walk.value -= quantity * int256(each.strike);
                    walk.slope += quantity;
                }
            }
            if (upside < 0) return (false, 0, 0);
            if (costs == 0) return (true, 0, 0);
            int256 least = _least(held, walk, side);
            return (true, least < 0 ? uint256(-least) : 0, gains > 1 ? gains - 1 : 0);
        }
    }

    /// @dev The least payoff over prices 0, 1, 2, ...: between two strikes it is a straight line, so it is enough to look
    /// at 0, at each strike and at the last price below it. Strikes are 1 or more.
    function _least(Series[] memory held, Walk memory walk, int256 side) private pure returns (int256 least) {
        unchecked {
            least = walk.value;
            while (true) {
                // the lowest strike of the five kinds' next
                uint256 strike = type(uint256).max;
                for (uint256 kind = 0; kind < 5; ++kind) {
                    if (walk.next[kind] < walk.end[kind]) {
                        uint256 candidate = held[walk.next[kind]].strike;
                        if (candidate < strike) strike = candidate;
                    }
                }
                if (strike == type(uint256).max) return least;
                walk.value += walk.slope * int256(strike - 1 - walk.from);
                if (walk.value < least) least = walk.value;
                walk.value += walk.slope;
                walk.from = strike;
                for (uint256 kind = 0; kind < 5; ++kind) {
                    while (walk.next[kind] < walk.end[kind]) {
                        Series memory each = held[walk.next[kind]];
                        if (each.strike != strike) break;
                        ++walk.next[kind];
                        int256 quantity = side * each.quantity;
                        if (kind <= Payoff.PUT) walk.slope += quantity;
                        else if (kind == Payoff.DIGITAL_CALL) walk.value += quantity * WAD;
                        else if (kind == Payoff.DIGITAL_PUT) walk.value -= quantity * WAD;
                    }
                }
                if (walk.value < least) least = walk.value;
            }
        }
    }
}
