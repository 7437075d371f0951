// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Position} from "../libraries/Types.sol";
import {Payoff} from "../libraries/Payoff.sol";
import {Black76} from "./Black76.sol";
import {FixedMath} from "./FixedMath.sol";
import {Bucket, Move, Moves, RiskParams, Series, Tally} from "./RiskTypes.sol";
import {ScenarioPrice} from "./ScenarioPrice.sol";

/// @notice Risk arrays: how the value of a feed's positions changes in each scenario. The twin of
/// channels/pricing/risk_array.py and feed_margin.py.
/// @dev Scenarios in SPAN's order: the price moves by 0, +1/3, -1/3, +2/3, -2/3, +1, -1 price ranges, each with vol up
/// (even numbers) and then with vol down and the look-ahead gone by (odd numbers); then the extremes, vol and time
/// unchanged: +3 and -3 ranges, +100 %, -66 %. Bounds: a quantity is at most 2^112 and a change of value below 2^129, so
/// the sum over 128 positions stays below 2^248 and all is unchecked.
library RiskArrays {
    uint256 private constant WAD = 1e18;
    uint256 private constant GRID_MOVES = 11;
    uint256 private constant EXTREMES = 4;

    /// @notice Scenarios of the grid.
    uint256 internal constant GRID = 18;

    // Members of a position, in order
    uint256 internal constant FEED = 0;
    uint256 internal constant KIND = 1;
    uint256 internal constant EXPIRY = 2;
    uint256 internal constant STRIKE = 3;
    uint256 private constant QUANTITY = 4;
    uint256 private constant VOL = 5;
    uint256 private constant CARRY = 6;

    // Bits of a move's modes
    uint256 private constant UP = 1;
    uint256 private constant DOWN = 2;
    uint256 private constant STILL = 4;

    uint256 internal constant MAX_QUANTITY = 1 << 112;
    uint256 internal constant MAX_NODES = 8;

    /// @notice These positions, all of one feed and expiry, at the vols signed; their values are still to be set.
    /// @dev Reverts with `PricingDomainError` for an input out of the domain. Words are read as they lie in calldata: what
    /// has dirty upper bits is out of the domain, too.
    function load(Position[] calldata held, uint256 spot, uint256 time, uint256 lookAhead)
        internal
        pure
        returns (Bucket memory bucket)
    {
        unchecked {
            uint256 expiry = word(held, 0, EXPIRY);
            uint256 tau = expiry > time ? expiry - time : 0;
            if (tau > Black76.MAX_TENOR) revert Black76.PricingDomainError();
            bucket.tau = tau;
            bucket.outlives = tau > lookAhead;
            bucket.root = FixedMath.sqrtYears(tau);
            if (tau > lookAhead) bucket.later = FixedMath.sqrtYears(tau - lookAhead);
            Series[] memory list = new Series[](held.length);
            bucket.series = list;
            uint256 carry;
            uint256 forward;
            for (uint256 i = 0; i < list.length; ++i) {
                Series memory series = list[i];
                _read(series, held, i);
                // mostly one carry in an expiry, and so one forward
                if (i == 0 || carry != word(held, i, CARRY)) {
                    carry = word(held, i, CARRY);
                    forward = Black76.forwardPrice(spot, int256(carry), tau);
                }
                series.forward = forward;
                series.log = ScenarioPrice.logRatio(forward, series.strike);
            }
        }
    }

    function _read(Series memory series, Position[] calldata held, uint256 i) private pure {
        unchecked {
            (uint256 kind, uint256 strike, uint256 vol) =
                (word(held, i, KIND), word(held, i, STRIKE), word(held, i, VOL));
            int256 quantity = int256(word(held, i, QUANTITY));
            // `strike - 1` is huge for 0
            if (
                kind > Payoff.FORWARD || strike - 1 >= Black76.MAX_PRICE || vol > Black76.MAX_VOL
                    || quantity > int256(MAX_QUANTITY) || quantity < -int256(MAX_QUANTITY)
            ) revert Black76.PricingDomainError();
            (series.kind, series.strike, series.vol, series.quantity) = (kind, strike, vol, quantity);
        }
    }

    /// @notice A member of `held[i]`, unchecked: neither is the index, nor are its upper bits.
    function word(Position[] calldata held, uint256 i, uint256 member) internal pure returns (uint256 result) {
        assembly ("memory-safe") {
            result := calldataload(add(held.offset, add(mul(i, 0xe0), shl(5, member)))) // seven words a position
        }
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
            uint256 root = bucket.root;
            int256[] memory down = new int256[](all.length);
            int256 advantage; // of up over down, to A
            for (uint256 i = 0; i < all.length; ++i) {
                Series memory series = all[i];
                int256 up = _priced(series, _shifted(series.vol, WAD + shift_), root);
                int256 other =
                    series.kind == Payoff.FORWARD ? up : _priced(series, _shifted(series.vol, WAD - shift_), root);
                (series.value, down[i]) = (up, other);
                advantage += series.quantity * (up - other);
            }
            bool upwards = favoured * advantage >= 0;
            for (uint256 i = 0; i < all.length; ++i) {
                Series memory series = all[i];
                series.vol = _shifted(series.vol, upwards ? WAD + shift_ : WAD - shift_);
                if (!upwards) series.value = down[i];
            }
        }
    }

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
                _set(result.list[size++], strike, forward, UP | DOWN);
                // below the strike vol only falls: with vol up, one step of the price changes nothing
                if (_hasStepBelow(ranked[n])) _set(result.list[size++], strike - 1, forward, DOWN);
            }
            result.starts[count] = size;
        }
    }

    /// @notice The grid's i-th move, of eleven.
    function gridMove(uint256 priceRange, uint256 i) internal pure returns (Move memory move) {
        _set(move, _factor(priceRange, i), WAD, i < GRID_MOVES - EXTREMES ? UP | DOWN : STILL);
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

    function _set(Move memory move, uint256 numerator, uint256 denominator, uint256 modes) private pure {
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
                if (buckets[b].outlives) continue;
                Series[] memory all = buckets[b].series;
                for (uint256 i = 0; i < all.length; ++i) {
                    if (all[i].kind != Payoff.FORWARD) count = _rank(ranked, count, all[i], priceRange);
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

    /// @notice A tally with nothing in it yet.
    function empty(Moves memory around) internal pure returns (Tally memory tally) {
        tally.near = new int256[](around.scenarios);
        tally.far = new int256[](around.scenarios);
    }

    /// @notice Empties a tally, for the next bucket to be looked at alone.
    function clear(Tally memory tally) internal pure {
        uint256 size = tally.near.length;
        for (uint256 i = 0; i < size; ++i) {
            (tally.near[i], tally.far[i]) = (0, 0);
        }
        (tally.gross, tally.within, tally.net, tally.carry, tally.worth) = (0, 0, 0, 0, 0);
        int256[5] memory none;
        tally.quantities = none;
    }

    /// @notice Adds the bucket in every scenario.
    function add(Tally memory tally, Bucket memory bucket, Moves memory around, RiskParams calldata risk)
        internal
        pure
    {
        unchecked {
            uint256 growth = ScenarioPrice.growth(bucket.tau);
            Move memory rise; // of the carry
            if (bucket.tau > 0) {
                _set(rise, WAD + risk.carryBase + uint256(risk.carrySlope) * bucket.tau / FixedMath.YEAR, WAD, STILL);
            }
            int256[] memory sums = bucket.outlives ? tally.far : tally.near;
            int256 byVol;
            int256 byCarry;
            for (uint256 i = 0; i < bucket.series.length; ++i) {
                Series memory series = bucket.series[i];
                uint256[3] memory s = _deviations(series.vol, bucket, growth, risk);
                int256 still = _changes(series, around.list, s, sums);
                byVol += still;
                tally.gross += _abs(still);
                if (bucket.tau > 0) {
                    byCarry += series.quantity * (_moved(series, rise, s[2]) - series.value);
                    tally.quantities[series.kind] += series.quantity;
                }
                tally.worth += series.quantity * series.value;
            }
            tally.within += _abs(byVol);
            tally.net += byVol;
            tally.carry += _abs(byCarry);
        }
    }

    /// @dev s = vol x sqrt(years) in Q96 of a vol that rises, that falls with the look-ahead gone by, and as it is; < 2^106.
    function _deviations(uint256 vol, Bucket memory bucket, uint256 growth, RiskParams calldata risk)
        private
        pure
        returns (uint256[3] memory s)
    {
        unchecked {
            s[0] = ScenarioPrice.volUp(vol, risk.volUp, growth) * bucket.root / WAD;
            if (bucket.later > 0) s[1] = ScenarioPrice.volDown(vol, risk.volDown, growth) * bucket.later / WAD;
            s[2] = vol * bucket.root / WAD;
        }
    }

    /// @dev Adds the change of value to A in each scenario of `list` to `sums`; returns the first of them. The hot loop: two
    /// dozen prices and more for every position.
    function _changes(Series memory series, Move[] memory list, uint256[3] memory s, int256[] memory sums)
        private
        pure
        returns (int256 first)
    {
        unchecked {
            uint256 place;
            assembly ("memory-safe") {
                place := add(sums, 0x20) // of the next scenario; there are as many as the moves' modes say
                first := mload(place)
            }
            for (uint256 i = 0; i < list.length; ++i) {
                Move memory move = list[i];
                uint256 forward = ScenarioPrice.movedForward(series.forward, move.numerator, move.denominator);
                int256 log = series.log + move.log;
                uint256 modes = move.modes;
                // price = intrinsic + time value of the option out of the money, as in `ScenarioPrice.price`
                uint256 low = type(uint256).max;
                int256 base = -series.value;
                if (series.kind <= Payoff.PUT) {
                    low = series.strike;
                    bool above = forward > low;
                    if (above == (series.kind == Payoff.CALL)) base += int256(above ? forward - low : low - forward);
                    if (!above) (low, log) = (forward, -log);
                    if (log < 0) log = 0;
                }
                if (modes & (UP | STILL) != 0) {
                    place = _change(series, place, base, forward, low, log, modes == STILL ? s[2] : s[0]);
                }
                if (modes & DOWN != 0) place = _change(series, place, base, forward, low, log, s[1]);
            }
            first = sums[0] - first;
        }
    }

    /// @dev Adds the change of value to A to the word at `place`; returns the place of the next. For a call or put `base` is
    /// intrinsic less value, `low` the smaller of forward and strike, `log` the logarithm of their ratio; else `low` is the
    /// greatest number, and `log` that of forward by strike.
    function _change(
        Series memory series,
        uint256 place,
        int256 base,
        uint256 forward,
        uint256 low,
        int256 log,
        uint256 s
    ) private pure returns (uint256 next) {
        unchecked {
            if (low == type(uint256).max) base += ScenarioPrice.price(series.kind, forward, series.strike, log, s);
            else if (s > 0) base += int256(Black76.timeValue(uint256(log), low, s));
            base *= series.quantity;
            assembly ("memory-safe") {
                mstore(place, add(mload(place), base))
                next := add(place, 0x20)
            }
        }
    }

    /// @notice Change of value to A of the bucket in one scenario of `move`. @param mode 0 vol up, 1 vol down, 2 as it is.
    function changeIn(Bucket memory bucket, RiskParams calldata risk, Move memory move, uint256 mode)
        internal
        pure
        returns (int256 change)
    {
        unchecked {
            (Series[] memory all, uint256 tau) = (bucket.series, bucket.tau);
            uint256 growth = mode == 2 ? 0 : ScenarioPrice.growth(tau);
            uint256 root = mode == 1 ? bucket.later : bucket.root;
            for (uint256 i = 0; i < all.length; ++i) {
                Series memory series = all[i];
                uint256 vol = series.vol;
                if (mode == 0) vol = ScenarioPrice.volUp(vol, risk.volUp, growth);
                else if (mode == 1) vol = ScenarioPrice.volDown(vol, risk.volDown, growth);
                change += series.quantity * (_moved(series, move, vol * root / WAD) - series.value);
            }
        }
    }

    function _moved(Series memory series, Move memory move, uint256 s) private pure returns (int256) {
        unchecked {
            uint256 forward = ScenarioPrice.movedForward(series.forward, move.numerator, move.denominator);
            return ScenarioPrice.price(series.kind, forward, series.strike, series.log + move.log, s);
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
