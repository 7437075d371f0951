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
        /// Next position of each kind, and its strike, the greatest number at the end: positions stand by kind, then strike.
        uint256[5] next;
        uint256[5] head;
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
            uint256 gains;
            uint256 costs;
            int256 upside;
            for (uint256 i = 0; i < held.length; ++i) {
                Series memory each = held[i];
                uint256 kind = each.kind;
                int256 quantity = side * each.quantity;
                if (kind == Payoff.FORWARD || quantity > 0) ++gains;
                if (kind == Payoff.FORWARD || quantity < 0) ++costs;
                if (kind == Payoff.CALL || kind == Payoff.FORWARD) upside += quantity;
            }
            if (upside < 0) return (false, 0, 0);
            if (costs == 0) return (true, 0, 0);
            int256 least = _least(held, side);
            return (true, least < 0 ? uint256(-least) : 0, gains > 1 ? gains - 1 : 0);
        }
    }

    /// @dev At price 0, as every series approaches it.
    function _start(Series[] memory held, int256 side) private pure returns (Walk memory walk) {
        unchecked {
            for (uint256 kind = 0; kind < 5; ++kind) {
                walk.head[kind] = type(uint256).max;
            }
            uint256 last;
            for (uint256 i = 0; i < held.length; ++i) {
                Series memory each = held[i];
                uint256 kind = each.kind;
                int256 quantity = side * each.quantity;
                if (i == 0 || kind != last) (walk.next[kind], walk.head[kind], last) = (i, each.strike, kind);
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
        }
    }

    /// @dev The least payoff over prices 0, 1, 2, ...: between two strikes it is a straight line, so it is enough to look
    /// at 0, at each strike and at the last price below it. Strikes are 1 or more.
    function _least(Series[] memory held, int256 side) private pure returns (int256 least) {
        unchecked {
            Walk memory walk = _start(held, side);
            uint256[5] memory head = walk.head;
            least = walk.value;
            while (true) {
                uint256 strike = _min(_min(_min(head[0], head[1]), _min(head[2], head[3])), head[4]);
                if (strike == type(uint256).max) return least;
                walk.value += walk.slope * int256(strike - 1 - walk.from);
                if (walk.value < least) least = walk.value;
                walk.value += walk.slope;
                walk.from = strike;
                for (uint256 kind = 0; kind < 5; ++kind) {
                    if (head[kind] == strike) _pass(walk, held, kind, side);
                }
                if (walk.value < least) least = walk.value;
            }
        }
    }

    /// @dev Past the strike of the kind's next position: one strike, one position of a kind.
    function _pass(Walk memory walk, Series[] memory held, uint256 kind, int256 side) private pure {
        unchecked {
            uint256 i = walk.next[kind];
            int256 quantity = side * held[i].quantity;
            if (kind <= Payoff.PUT) walk.slope += quantity;
            else if (kind == Payoff.DIGITAL_CALL) walk.value += quantity * WAD;
            else if (kind == Payoff.DIGITAL_PUT) walk.value -= quantity * WAD;
            ++i;
            walk.next[kind] = i;
            bool more = i < held.length && held[i].kind == kind;
            walk.head[kind] = more ? held[i].strike : type(uint256).max;
        }
    }

    function _min(uint256 x, uint256 y) private pure returns (uint256) {
        return x < y ? x : y;
    }
}
