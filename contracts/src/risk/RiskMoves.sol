// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Payoff} from "../libraries/Payoff.sol";
import {Bucket, Move, Moves, Series} from "./RiskTypes.sol";
import {ScenarioPrice} from "./ScenarioPrice.sol";

/// @notice The scenarios of a feed. The twin of `PriceMoves` and `Node` in channels/pricing/risk_array.py.
/// @dev In SPAN's order: the price moves by 0, +1/3, -1/3, +2/3, -2/3, +1, -1 price ranges, each with vol up (even numbers)
/// and then with vol down and the look-ahead gone by (odd numbers); then the extremes, vol and time unchanged: +3 and -3
/// ranges, +100 %, -66 %; then the nodes, strikes near expiry.
library RiskMoves {
    uint256 private constant WAD = 1e18;
    uint256 private constant GRID_MOVES = 11;
    uint256 private constant EXTREMES = 4;

    /// @notice Scenarios of the grid.
    uint256 internal constant GRID = 18;

    uint256 private constant MAX_NODES = 8;

    // Bits of a move's modes
    uint256 internal constant UP = 1;
    uint256 internal constant DOWN = 2;
    uint256 internal constant STILL = 4;

    /// @notice The moves of the feed with these buckets: the grid's, and those to its nodes.
    function moves(Bucket[] memory buckets, uint256 priceRange) internal pure returns (Moves memory result) {
        unchecked {
            (uint256[4][] memory ranked, uint256 count) = _ranked(buckets, priceRange);
            uint256 size = GRID_MOVES + count;
            result.scenarios = GRID + 2 * count;
            for (uint256 n = 0; n < count; ++n) {
                if (_hasStepBelow(ranked[n])) {
                    ++size;
                    ++result.scenarios;
                }
            }
            result.list = new Move[](size);
            result.starts = new uint256[](count + 1);
            for (uint256 i = 0; i < GRID_MOVES; ++i) {
                result.list[i] = gridMove(priceRange, i);
            }
            size = GRID_MOVES;
            for (uint256 n = 0; n < count; ++n) {
                result.starts[n] = size;
                (uint256 strike, uint256 forward) = (ranked[n][1], ranked[n][2]);
                set(result.list[size++], strike, forward, UP | DOWN);
                // below the strike vol only falls: with vol up, one step of the price changes nothing
                if (_hasStepBelow(ranked[n])) set(result.list[size++], strike - 1, forward, DOWN);
            }
            result.starts[count] = size;
        }
    }

    /// @notice The grid's i-th move, of eleven.
    function gridMove(uint256 priceRange, uint256 i) internal pure returns (Move memory move) {
        set(move, _factor(priceRange, i), WAD, i < GRID_MOVES - EXTREMES ? UP | DOWN : STILL);
    }

    /// @dev WAD. -3 ranges leave at least a tenth of the price: `priceRange` is at most 0.3.
    function _factor(uint256 priceRange, uint256 i) private pure returns (uint256) {
        unchecked {
            if (i == 0) return WAD;
            if (i == 9) return 2 * WAD;
            if (i == 10) return 0.34e18;
            uint256 size = i < 3 ? priceRange / 3 : i < 5 ? 2 * priceRange / 3 : i < 7 ? priceRange : 3 * priceRange;
            return i % 2 == 1 ? WAD + size : WAD - size;
        }
    }

    /// @notice Makes `move` the one by numerator / denominator.
    function set(Move memory move, uint256 numerator, uint256 denominator, uint256 modes) internal pure {
        (move.numerator, move.denominator, move.modes) = (numerator, denominator, modes);
        if (numerator != denominator) move.log = ScenarioPrice.logRatio(numerator, denominator);
    }

    /// @dev A digital flips at its strike, so the last price below it is a scenario too.
    function _hasStepBelow(uint256[4] memory entry) private pure returns (bool) {
        return entry[3] != 0 && entry[1] > 1;
    }

    /// @dev Up to eight strikes near expiry, the nearest to their forwards first: distance, strike, forward, whether of a
    /// digital. Options that do not outlive the look-ahead, strictly within the price range of their forward. Of one
    /// strike in several expiries the nearest to its forward stands for all; of equally near strikes the lower is first.
    function _ranked(Bucket[] memory buckets, uint256 priceRange)
        private
        pure
        returns (uint256[4][] memory ranked, uint256 count)
    {
        unchecked {
            uint256 most;
            for (uint256 b = 0; b < buckets.length; ++b) {
                if (!buckets[b].outlives) most += buckets[b].series.length;
            }
            ranked = new uint256[4][](most);
            for (uint256 b = 0; b < buckets.length; ++b) {
                Bucket memory bucket = buckets[b];
                if (bucket.outlives) continue;
                Series[] memory all = bucket.series;
                for (uint256 i = 0; i < all.length; ++i) {
                    Series memory series = all[i];
                    if (series.kind != Payoff.FORWARD) count = _rank(ranked, count, series, priceRange);
                }
            }
            if (count > MAX_NODES) count = MAX_NODES;
        }
    }

    /// @dev Puts the strike of `series` in its place, if it is near enough; returns how many there are then.
    function _rank(uint256[4][] memory ranked, uint256 count, Series memory series, uint256 priceRange)
        private
        pure
        returns (uint256)
    {
        unchecked {
            (uint256 strike, uint256 forward) = (series.strike, series.forward);
            uint256 gap = (strike > forward ? strike - forward : forward - strike) * WAD; // < 2^188
            if (gap >= priceRange * forward) return count;
            uint256 distance = gap / forward;
            uint256 digital = series.kind == Payoff.PUT || series.kind == Payoff.CALL ? 0 : 1;
            uint256 hole = count;
            for (uint256 i = 0; i < count; ++i) {
                if (ranked[i][1] != strike) continue;
                ranked[i][3] |= digital;
                if (distance >= ranked[i][0]) return count; // the nearer one, or the first of two as near, stays
                (digital, hole) = (ranked[i][3], i);
                --count; // taken out, put back in below
                break;
            }
            uint256[4] memory entry = [distance, strike, forward, digital];
            while (
                hole > 0
                    && (ranked[hole - 1][0] > distance
                        || (ranked[hole - 1][0] == distance && ranked[hole - 1][1] > strike))
            ) {
                ranked[hole] = ranked[hole - 1];
                --hole;
            }
            ranked[hole] = entry;
            return count + 1;
        }
    }
}
