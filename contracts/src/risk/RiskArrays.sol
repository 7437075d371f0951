// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Position} from "../libraries/Types.sol";
import {Payoff} from "../libraries/Payoff.sol";
import {Black76} from "./Black76.sol";
import {FixedMath} from "./FixedMath.sol";
import {Bucket, Nodes, RiskParams, Series, Tally} from "./RiskTypes.sol";
import {ScenarioPrice} from "./ScenarioPrice.sol";

/// @notice Risk arrays: how the value of a feed's positions changes in each scenario. The twin of
/// channels/pricing/risk_array.py and feed_margin.py.
/// @dev Scenarios in SPAN's order: the price moves by 0, +1/3, -1/3, +2/3, -2/3, +1, -1 price ranges, each with vol up
/// (even numbers) and then with vol down and the look-ahead gone by (odd numbers); then the extremes, vol and time
/// unchanged: +3 and -3 ranges, +100 %, -66 %. Bounds: a quantity is at most 2^112 and a change of value below 2^129, so
/// the sum over 128 positions stays below 2^248 and all is unchecked.
library RiskArrays {
    uint256 private constant WAD = 1e18;
    uint256 private constant MOVES = 7;
    uint256 private constant EXTREMES = 4;

    /// @notice Scenarios of the grid.
    uint256 internal constant GRID = 2 * MOVES + EXTREMES;

    uint256 internal constant MAX_QUANTITY = 1 << 112;
    uint256 internal constant MAX_NODES = 8;

    /// @notice The factors by which a feed's scenarios multiply forwards, WAD, and their logarithms, Q96.
    struct Moves {
        uint256[11] factors;
        int256[11] logs;
    }

    function moves(uint256 priceRange) internal pure returns (Moves memory result) {
        unchecked {
            (uint256 third, uint256 twoThirds) = (priceRange / 3, 2 * priceRange / 3);
            result.factors = [
                WAD,
                WAD + third,
                WAD - third,
                WAD + twoThirds,
                WAD - twoThirds,
                WAD + priceRange,
                WAD - priceRange,
                WAD + 3 * priceRange,
                WAD - 3 * priceRange, // at least a tenth: `priceRange` is at most 0.3
                2 * WAD,
                0.34e18
            ];
            for (uint256 i = 1; i < 11; ++i) {
                result.logs[i] = ScenarioPrice.logRatio(result.factors[i], WAD);
            }
        }
    }

    /// @notice These positions, all of one feed and expiry, at the vols signed; their values are still to be set.
    /// @dev Reverts with `PricingDomainError` for an input out of the domain.
    function load(Position[] calldata held, uint256 spot, uint256 time, uint256 lookAhead)
        internal
        pure
        returns (Bucket memory bucket)
    {
        unchecked {
            uint256 expiry = held[0].expiry;
            uint256 tau = expiry > time ? expiry - time : 0;
            if (tau > Black76.MAX_TENOR) revert Black76.PricingDomainError();
            bucket.tau = tau;
            bucket.outlives = tau > lookAhead;
            bucket.root = FixedMath.sqrtYears(tau);
            if (tau > lookAhead) bucket.later = FixedMath.sqrtYears(tau - lookAhead);
            bucket.series = new Series[](held.length);
            for (uint256 i = 0; i < held.length; ++i) {
                _read(bucket.series[i], held[i]);
                // mostly the same carry in one expiry, and so the same forward
                bucket.series[i].forward = i > 0 && held[i].carry == held[i - 1].carry
                    ? bucket.series[i - 1].forward
                    : Black76.forwardPrice(spot, held[i].carry, tau);
                bucket.series[i].log = ScenarioPrice.logRatio(bucket.series[i].forward, held[i].strike);
            }
        }
    }

    function _read(Series memory series, Position calldata position) private pure {
        (series.kind, series.strike, series.vol) = (position.kind, position.strike, position.vol);
        series.quantity = position.quantity;
        if (
            series.kind > Payoff.FORWARD || series.strike == 0 || series.vol > Black76.MAX_VOL
                || series.quantity > int256(MAX_QUANTITY) || series.quantity < -int256(MAX_QUANTITY)
        ) revert Black76.PricingDomainError();
    }

    /// @notice Sets the value of every series of `bucket` at its vol.
    function revalue(Bucket memory bucket) internal pure {
        for (uint256 i = 0; i < bucket.series.length; ++i) {
            Series memory series = bucket.series[i];
            series.value = _priced(series, series.vol, bucket.root);
        }
    }

    /// @notice Shifts every vol of `bucket` one way by `shift` (WAD, at most 0.9), the way that gives the larger value to A
    /// (`favoured` 1) or B (-1), upwards if both give the same, and sets the values that go with it.
    function shift(Bucket memory bucket, uint256 shift_, int256 favoured) internal pure {
        unchecked {
            Series[] memory all = bucket.series;
            int256[] memory down = new int256[](all.length);
            int256 advantage; // of up over down, to A
            for (uint256 i = 0; i < all.length; ++i) {
                Series memory series = all[i];
                series.value = _priced(series, _shifted(series.vol, WAD + shift_), bucket.root);
                down[i] = series.kind == Payoff.FORWARD
                    ? series.value
                    : _priced(series, _shifted(series.vol, WAD - shift_), bucket.root);
                advantage += series.quantity * (series.value - down[i]);
            }
            bool up = favoured * advantage >= 0;
            for (uint256 i = 0; i < all.length; ++i) {
                all[i].vol = _shifted(all[i].vol, up ? WAD + shift_ : WAD - shift_);
                if (!up) all[i].value = down[i];
            }
        }
    }

    /// @notice Up to eight strikes of one feed near expiry, the nearest to their forwards first.
    /// @dev Options that do not outlive the look-ahead, strictly within the price range of their forward. Of one strike in
    /// several expiries the nearest to its forward stands for all; of equally near strikes the lower comes first. Below
    /// the strike of a digital there is a scenario more.
    function nodes(Bucket[] memory buckets, uint256 priceRange) internal pure returns (Nodes memory result) {
        unchecked {
            // sorted by (distance, strike), all distinct strikes seen so far
            uint256 count;
            for (uint256 b = 0; b < buckets.length; ++b) {
                if (!buckets[b].outlives) count += buckets[b].series.length;
            }
            uint256[4][] memory ranked = new uint256[4][](count); // distance, strike, forward, digital
            count = 0;
            for (uint256 b = 0; b < buckets.length; ++b) {
                if (buckets[b].outlives) continue;
                Series[] memory all = buckets[b].series;
                for (uint256 i = 0; i < all.length; ++i) {
                    if (all[i].kind != Payoff.FORWARD) count = _rank(ranked, count, all[i], priceRange);
                }
            }
            if (count > MAX_NODES) count = MAX_NODES;
            result.starts = new uint256[](count + 1);
            result.targets = new uint256[](3 * count);
            result.origins = new uint256[](3 * count);
            result.logs = new int256[](3 * count);
            result.rises = new bool[](3 * count);
            uint256 place;
            for (uint256 n = 0; n < count; ++n) {
                (uint256 strike, uint256 forward) = (ranked[n][1], ranked[n][2]);
                int256 log = ScenarioPrice.logRatio(strike, forward);
                (result.targets[place], result.origins[place], result.logs[place]) = (strike, forward, log);
                result.rises[place++] = true;
                (result.targets[place], result.origins[place], result.logs[place++]) = (strike, forward, log);
                if (ranked[n][3] != 0 && strike > 1) {
                    result.logs[place] = ScenarioPrice.logRatio(strike - 1, forward);
                    (result.targets[place], result.origins[place++]) = (strike - 1, forward);
                }
                result.starts[n + 1] = place;
            }
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

    /// @notice A tally with nothing in it yet, for the grid and these nodes.
    function empty(Nodes memory around) internal pure returns (Tally memory tally) {
        uint256 size = GRID + around.starts[around.starts.length - 1];
        tally.near = new int256[](size);
        tally.far = new int256[](size);
    }

    /// @notice Adds the bucket in every scenario of the grid and of the nodes.
    function add(
        Tally memory tally,
        Bucket memory bucket,
        Moves memory grid,
        Nodes memory around,
        RiskParams calldata risk
    ) internal pure {
        unchecked {
            uint256 growth = ScenarioPrice.growth(bucket.tau);
            (uint256 rise, int256 riseLog) = (WAD, int256(0));
            if (bucket.tau > 0) {
                rise += risk.carryBase + uint256(risk.carrySlope) * bucket.tau / FixedMath.YEAR; // < 2^64
                riseLog = ScenarioPrice.logRatio(rise, WAD);
            }
            int256[] memory sums = bucket.outlives ? tally.far : tally.near;
            int256 byVol;
            int256 byCarry;
            for (uint256 i = 0; i < bucket.series.length; ++i) {
                Series memory series = bucket.series[i];
                uint256 sUp = ScenarioPrice.volUp(series.vol, risk.volUp, growth) * bucket.root / WAD; // < 2^106
                uint256 sDown = ScenarioPrice.volDown(series.vol, risk.volDown, growth) * bucket.later / WAD;
                byVol += _addGrid(tally, sums, series, grid, sUp, sDown);
                uint256 s = series.vol * bucket.root / WAD;
                _addExtremes(sums, series, grid, s);
                if (bucket.tau > 0) {
                    byCarry += series.quantity * (_moved(series, rise, WAD, riseLog, s) - series.value);
                    tally.quantities[series.kind] += series.quantity;
                }
                for (uint256 n = GRID; n < sums.length; ++n) {
                    uint256 k = n - GRID;
                    sums[n] += series.quantity
                    * (_moved(
                            series, around.targets[k], around.origins[k], around.logs[k], around.rises[k] ? sUp : sDown
                        )
                        - series.value);
                }
                tally.worth += series.quantity * series.value;
            }
            tally.within += _abs(byVol);
            tally.net += byVol;
            tally.carry += _abs(byCarry);
        }
    }

    /// @dev The seven moves with vol up and down; returns the change with vol up and no move.
    function _addGrid(
        Tally memory tally,
        int256[] memory sums,
        Series memory series,
        Moves memory grid,
        uint256 sUp,
        uint256 sDown
    ) private pure returns (int256 still) {
        unchecked {
            for (uint256 m = 0; m < MOVES; ++m) {
                uint256 forward = ScenarioPrice.movedForward(series.forward, grid.factors[m], WAD);
                int256 log = series.log + grid.logs[m];
                int256 change = series.quantity
                    * (ScenarioPrice.price(series.kind, forward, series.strike, log, sUp) - series.value);
                sums[2 * m] += change;
                if (m == 0) {
                    still = change;
                    tally.gross += _abs(change);
                }
                sums[2 * m + 1] += series.quantity
                * (ScenarioPrice.price(series.kind, forward, series.strike, log, sDown) - series.value);
            }
        }
    }

    function _addExtremes(int256[] memory sums, Series memory series, Moves memory grid, uint256 s) private pure {
        unchecked {
            for (uint256 m = MOVES; m < MOVES + EXTREMES; ++m) {
                sums[MOVES + m] += series.quantity
                * (_moved(series, grid.factors[m], WAD, grid.logs[m], s) - series.value);
            }
        }
    }

    /// @notice Change of value to A of the bucket in one scenario.
    /// @param vol 0 as it is, 1 up, 2 down with the look-ahead gone by.
    function changeIn(
        Bucket memory bucket,
        RiskParams calldata risk,
        uint256 target,
        uint256 origin,
        int256 log,
        uint256 vol
    ) internal pure returns (int256 change) {
        unchecked {
            uint256 growth = vol == 0 ? 0 : ScenarioPrice.growth(bucket.tau);
            for (uint256 i = 0; i < bucket.series.length; ++i) {
                Series memory series = bucket.series[i];
                uint256 s;
                if (vol == 0) s = series.vol * bucket.root / WAD;
                else if (vol == 1) s = ScenarioPrice.volUp(series.vol, risk.volUp, growth) * bucket.root / WAD;
                else s = ScenarioPrice.volDown(series.vol, risk.volDown, growth) * bucket.later / WAD;
                change += series.quantity * (_moved(series, target, origin, log, s) - series.value);
            }
        }
    }

    function _moved(Series memory series, uint256 target, uint256 origin, int256 log, uint256 s)
        private
        pure
        returns (int256)
    {
        unchecked {
            uint256 forward = ScenarioPrice.movedForward(series.forward, target, origin);
            return ScenarioPrice.price(series.kind, forward, series.strike, series.log + log, s);
        }
    }

    function _priced(Series memory series, uint256 vol, uint256 root) private pure returns (int256) {
        unchecked {
            return ScenarioPrice.price(series.kind, series.forward, series.strike, series.log, vol * root / WAD);
        }
    }

    function _shifted(uint256 vol, uint256 factor) private pure returns (uint256 shifted) {
        unchecked {
            shifted = vol * factor / WAD;
            if (shifted > Black76.MAX_VOL) shifted = Black76.MAX_VOL;
        }
    }

    function _abs(int256 value) private pure returns (uint256) {
        unchecked {
            return value < 0 ? uint256(-value) : uint256(value);
        }
    }
}
