// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Position} from "../libraries/Types.sol";
import {Payoff} from "../libraries/Payoff.sol";
import {Black76} from "./Black76.sol";
import {FixedMath} from "./FixedMath.sol";
import {Bucket, Move, Moves, RiskParams, Series, Tally} from "./RiskTypes.sol";
import {RiskMoves} from "./RiskMoves.sol";
import {ScenarioPrice} from "./ScenarioPrice.sol";

/// @notice Risk arrays: how the value of a feed's positions changes in each scenario. The twin of
/// channels/pricing/risk_array.py and feed_margin.py.
/// @dev Bounds: a quantity is at most 2^112 and a change of value below 2^129, so the sum over 128 positions stays below
/// 2^248 and all is unchecked.
library RiskArrays {
    uint256 private constant WAD = 1e18;
    // Members of a position, in order
    uint256 internal constant FEED = 0;
    uint256 internal constant KIND = 1;
    uint256 internal constant EXPIRY = 2;
    uint256 internal constant STRIKE = 3;
    uint256 private constant QUANTITY = 4;
    uint256 private constant VOL = 5;
    uint256 private constant CARRY = 6;

    uint256 internal constant MAX_QUANTITY = 1 << 112;

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

    /// @notice A tally with nothing in it yet.
    function empty(Moves memory around) internal pure returns (Tally memory tally) {
        tally.near = new int256[](around.scenarios);
        tally.far = new int256[](around.scenarios);
    }

    /// @notice Empties a tally, for the next bucket to be looked at alone.
    function clear(Tally memory tally) internal pure {
        (int256[] memory near, int256[] memory far) = (tally.near, tally.far);
        assembly ("memory-safe") {
            let size := shl(5, mload(near))
            calldatacopy(add(near, 0x20), calldatasize(), size) // zeros: what lies beyond calldata
            calldatacopy(add(far, 0x20), calldatasize(), size)
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
                RiskMoves.set(
                    rise,
                    WAD + risk.carryBase + uint256(risk.carrySlope) * bucket.tau / FixedMath.YEAR,
                    WAD,
                    RiskMoves.STILL
                );
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
                if (modes & (RiskMoves.UP | RiskMoves.STILL) != 0) {
                    place = _change(series, place, base, forward, low, log, modes == RiskMoves.STILL ? s[2] : s[0]);
                }
                if (modes & RiskMoves.DOWN != 0) place = _change(series, place, base, forward, low, log, s[1]);
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
