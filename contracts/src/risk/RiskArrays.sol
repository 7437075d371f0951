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
/// 2^248 and all is unchecked. So are the indices of the loops, which read elements in assembly: the compiler's checks
/// would cost 60 gas each, and a declaration inside a loop a new struct a turn.
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

    /// @notice Fills `bucket` with these positions, all of one feed and expiry, at the vols signed; their values are still to
    /// be set.
    /// @dev Reverts with `PricingDomainError` for an input out of the domain. Words are read as they lie in calldata: what
    /// has dirty upper bits is out of the domain, too.
    function load(Bucket memory bucket, Position[] calldata held, uint256 spot, uint256 time, uint256 lookAhead)
        internal
        pure
    {
        unchecked {
            uint256 expiry = word(held, 0, EXPIRY);
            uint256 tau = expiry > time ? expiry - time : 0;
            if (tau > Black76.MAX_TENOR) revert Black76.PricingDomainError();
            bucket.tau = tau;
            bucket.outlives = tau > lookAhead;
            bucket.root = FixedMath.sqrtYears(tau);
            if (tau > lookAhead) bucket.later = FixedMath.sqrtYears(tau - lookAhead);
            bucket.growth = ScenarioPrice.growth(tau);
            Series[] memory list = _room(held.length);
            bucket.series = list;
            uint256 carry = word(held, 0, CARRY);
            uint256 forward = Black76.forwardPrice(spot, int256(carry), tau);
            Series memory series = list[0];
            for (uint256 i = 0; i < list.length; ++i) {
                assembly ("memory-safe") {
                    series := mload(add(list, shl(5, add(i, 1))))
                }
                uint256 carry_ = word(held, i, CARRY);
                // mostly one carry in an expiry, and so one forward
                if (carry_ != carry) {
                    carry = carry_;
                    forward = Black76.forwardPrice(spot, int256(carry), tau);
                }
                uint256 strike = _read(series, held, i);
                series.forward = forward;
                series.log = ScenarioPrice.logRatio(forward, strike);
            }
        }
    }

    /// @dev So many series; their members hold anything, and are all to be set.
    function _room(uint256 count_) private pure returns (Series[] memory list) {
        assembly ("memory-safe") {
            list := mload(0x40)
            mstore(list, count_)
            let pointer := add(list, 0x20)
            let element := add(pointer, shl(5, count_))
            for { let end := element } lt(pointer, end) { pointer := add(pointer, 0x20) } {
                mstore(pointer, element)
                element := add(element, 0xe0) // seven words
            }
            mstore(0x40, element)
        }
    }

    function _read(Series memory series, Position[] calldata held, uint256 i) private pure returns (uint256 strike) {
        unchecked {
            (uint256 kind, uint256 vol) = (word(held, i, KIND), word(held, i, VOL));
            int256 quantity = int256(word(held, i, QUANTITY));
            strike = word(held, i, STRIKE);
            if (kind > Payoff.FORWARD) revert Black76.PricingDomainError();
            if (strike - 1 >= Black76.MAX_PRICE) revert Black76.PricingDomainError(); // `strike - 1` is huge for 0
            if (vol > Black76.MAX_VOL) revert Black76.PricingDomainError();
            // the sum is huge for a quantity below the least
            if (uint256(quantity) + MAX_QUANTITY > 2 * MAX_QUANTITY) revert Black76.PricingDomainError();
            (series.kind, series.strike, series.vol, series.quantity) = (kind, strike, vol, quantity);
        }
    }

    /// @notice What orders `held[i]`: its feed, then its expiry, kind and strike in one number.
    function keys(Position[] calldata held, uint256 i) internal pure returns (uint256 feed, uint256 key) {
        unchecked {
            feed = word(held, i, FEED);
            key = word(held, i, EXPIRY) << 136 | word(held, i, KIND) << 128 | word(held, i, STRIKE);
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
        unchecked {
            Series[] memory all = bucket.series;
            int256 worth;
            Series memory series = all[0];
            for (uint256 i = 0; i < all.length; ++i) {
                assembly ("memory-safe") {
                    series := mload(add(all, shl(5, add(i, 1))))
                }
                int256 value = _priced(series, series.vol * bucket.root / WAD);
                series.value = value;
                worth += series.quantity * value;
            }
            bucket.worth = worth;
        }
    }

    /// @notice Shifts every vol of `bucket` one way by `shift_` (WAD, at most 0.9), the way that gives the larger value to A
    /// (`favoured` 1) or B (-1), upwards if both give the same, and sets the values that go with it.
    /// @dev Where the way is known without prices, there is one a series to compute instead of two.
    function shift(Bucket memory bucket, uint256 shift_, int256 favoured) internal pure {
        unchecked {
            (Series[] memory all, uint256 root) = (bucket.series, bucket.root);
            uint256 size = all.length;
            Series memory series = all[0];
            int256 way = _way(all, favoured);
            if (way != 0) {
                uint256 factor = uint256(int256(WAD) + way * int256(shift_));
                for (uint256 i = 0; i < size; ++i) {
                    assembly ("memory-safe") {
                        series := mload(add(all, shl(5, add(i, 1))))
                    }
                    series.vol = ScenarioPrice.scaledVol(series.vol, factor);
                }
                revalue(bucket);
                return;
            }
            uint256[] memory down = new uint256[](2 * size); // vols, then values
            (int256 worthUp, int256 worthDown) = (int256(0), int256(0));
            for (uint256 i = 0; i < size; ++i) {
                assembly ("memory-safe") {
                    series := mload(add(all, shl(5, add(i, 1))))
                }
                (uint256 vol, int256 quantity) = (series.vol, series.quantity);
                series.vol = ScenarioPrice.scaledVol(vol, WAD + shift_);
                vol = ScenarioPrice.scaledVol(vol, WAD - shift_);
                int256 value = _priced(series, series.vol * root / WAD);
                series.value = value;
                worthUp += quantity * value;
                if (series.kind != Payoff.FORWARD) value = _priced(series, vol * root / WAD);
                worthDown += quantity * value;
                assembly ("memory-safe") {
                    let place := add(down, shl(5, add(i, 1)))
                    mstore(place, vol)
                    mstore(add(place, shl(5, size)), value)
                }
            }
            bucket.worth = worthUp;
            if (favoured * (worthUp - worthDown) >= 0) return;
            bucket.worth = worthDown;
            for (uint256 i = 0; i < size; ++i) {
                uint256 vol;
                int256 value;
                assembly ("memory-safe") {
                    let offset := shl(5, add(i, 1))
                    series := mload(add(all, offset))
                    vol := mload(add(down, offset))
                    value := mload(add(add(down, offset), shl(5, size)))
                }
                (series.vol, series.value) = (vol, value);
            }
        }
    }

    /// @dev 1 if the party's value rises with vol for certain, -1 if it falls, 0 if prices are to tell. No call or put falls
    /// with a rising vol, and no forward moves: what matters is whether the party has only bought or only sold. Digitals
    /// move either way. Forwards alone: 1.
    function _way(Series[] memory all, int256 favoured) private pure returns (int256) {
        unchecked {
            bool bought;
            bool sold;
            Series memory series = all[0];
            for (uint256 i = 0; i < all.length; ++i) {
                assembly ("memory-safe") {
                    series := mload(add(all, shl(5, add(i, 1))))
                }
                uint256 kind = series.kind;
                if (kind == Payoff.FORWARD) continue;
                if (kind > Payoff.PUT) return 0;
                int256 quantity = favoured * series.quantity;
                if (quantity > 0) {
                    if (sold) return 0;
                    bought = true;
                } else if (quantity < 0) {
                    if (bought) return 0;
                    sold = true;
                }
            }
            return sold ? -1 : int256(1);
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
            Move memory rise; // of the carry
            if (bucket.tau > 0) {
                RiskMoves.set(
                    rise,
                    WAD + risk.carryBase + uint256(risk.carrySlope) * bucket.tau / FixedMath.YEAR,
                    WAD,
                    RiskMoves.STILL
                );
            }
            uint256 up = ScenarioPrice.volFactor(risk.volUp, bucket.growth);
            uint256 down = ScenarioPrice.volFactor(risk.volDown, bucket.growth);
            int256[] memory sums = bucket.outlives ? tally.far : tally.near;
            int256 byVol;
            int256 byCarry;
            uint256 gross;
            uint256[3] memory s;
            Move[] memory list = around.list;
            Move memory move = list[0];
            // places in memory: of the first scenario's sum, there being as many as the moves' modes say; of the moves
            uint256 first;
            uint256 moves;
            uint256 end;
            assembly ("memory-safe") {
                first := add(sums, 0x20)
                moves := add(list, 0x20)
                end := add(moves, shl(5, mload(list)))
            }
            Series[] memory all = bucket.series;
            Series memory series = all[0];
            for (uint256 i = 0; i < all.length; ++i) {
                assembly ("memory-safe") {
                    series := mload(add(all, shl(5, add(i, 1))))
                }
                uint256 vol = series.vol;
                s[0] = ScenarioPrice.scaledVol(vol, up) * bucket.root / WAD;
                s[1] = ScenarioPrice.volDown(vol, down) * bucket.later / WAD;
                s[2] = vol * bucket.root / WAD;
                int256 still = -sums[0];
                uint256 place = first;
                for (uint256 next = moves; next < end; next += 0x20) {
                    assembly ("memory-safe") {
                        move := mload(next)
                    }
                    place = _change(series, move, s, place);
                }
                still += sums[0];
                byVol += still;
                gross += _abs(still);
                if (bucket.tau > 0) {
                    byCarry += series.quantity * (_moved(series, rise, s[2]) - series.value);
                }
            }
            if (bucket.tau > 0) count(tally.quantities, bucket);
            tally.gross += gross;
            tally.within += _abs(byVol);
            tally.net += byVol;
            tally.carry += _abs(byCarry);
            tally.worth += bucket.worth;
        }
    }

    /// @notice Adds the bucket's quantities, kind by kind.
    function count(int256[5] memory quantities, Bucket memory bucket) internal pure {
        unchecked {
            Series[] memory all = bucket.series;
            Series memory series = all[0];
            for (uint256 i = 0; i < all.length; ++i) {
                assembly ("memory-safe") {
                    series := mload(add(all, shl(5, add(i, 1))))
                }
                (uint256 kind, int256 quantity) = (series.kind, series.quantity);
                assembly ("memory-safe") {
                    let place := add(quantities, shl(5, kind)) // a kind is below 5
                    mstore(place, add(mload(place), quantity))
                }
            }
        }
    }

    /// @dev Adds the change of value to A in each scenario of `move` to the words from `place` on; returns the place of the
    /// next. The hot loop: two dozen prices and more for every position.
    /// @param s vol x sqrt(years) in Q96 of a vol that rises, that falls with the look-ahead gone by, and as it is; < 2^106.
    function _change(Series memory series, Move memory move, uint256[3] memory s, uint256 place)
        private
        pure
        returns (uint256)
    {
        unchecked {
            uint256 kind = series.kind;
            uint256 forward = ScenarioPrice.movedForward(series.forward, move.numerator, move.denominator);
            int256 log = series.log + move.log;
            uint256 modes = move.modes;
            if (kind > Payoff.PUT) {
                if (modes != RiskMoves.DOWN) {
                    int256 value =
                        ScenarioPrice.price(kind, forward, series.strike, log, modes == RiskMoves.STILL ? s[2] : s[0]);
                    place = _gather(place, series.quantity * (value - series.value));
                }
                if (modes & RiskMoves.DOWN == 0) return place;
                int256 other = ScenarioPrice.price(kind, forward, series.strike, log, s[1]);
                return _gather(place, series.quantity * (other - series.value));
            }
            (int256 change, uint256 low, uint256 size) = ScenarioPrice.split(kind, forward, series.strike, log);
            change -= series.value;
            if (modes != RiskMoves.DOWN) {
                int256 time = int256(Black76.timeValue(size, low, modes == RiskMoves.STILL ? s[2] : s[0]));
                place = _gather(place, series.quantity * (change + time));
            }
            if (modes & RiskMoves.DOWN == 0) return place;
            change += int256(Black76.timeValue(size, low, s[1]));
            return _gather(place, series.quantity * change);
        }
    }

    /// @dev Adds to the word at `place`; returns the place of the next.
    function _gather(uint256 place, int256 change) private pure returns (uint256 next) {
        assembly ("memory-safe") {
            mstore(place, add(mload(place), change))
            next := add(place, 0x20)
        }
    }

    /// @notice Change of value to A of the bucket in one scenario of `move`. @param mode 0 vol up, 1 vol down, 2 as it is.
    function changeIn(Bucket memory bucket, RiskParams calldata risk, Move memory move, uint256 mode)
        internal
        pure
        returns (int256 change)
    {
        unchecked {
            Series[] memory all = bucket.series;
            uint256 root = mode == 1 ? bucket.later : bucket.root;
            uint256 factor = ScenarioPrice.volFactor(mode == 0 ? risk.volUp : risk.volDown, bucket.growth);
            Series memory series = all[0];
            for (uint256 i = 0; i < all.length; ++i) {
                assembly ("memory-safe") {
                    series := mload(add(all, shl(5, add(i, 1))))
                }
                uint256 vol = series.vol;
                if (mode == 0) vol = ScenarioPrice.scaledVol(vol, factor);
                else if (mode == 1) vol = ScenarioPrice.volDown(vol, factor);
                change += series.quantity * (_moved(series, move, vol * root / WAD) - series.value);
            }
        }
    }

    function _priced(Series memory series, uint256 s) private pure returns (int256) {
        return ScenarioPrice.price(series.kind, series.forward, series.strike, series.log, s);
    }

    function _moved(Series memory series, Move memory move, uint256 s) private pure returns (int256) {
        unchecked {
            uint256 forward = ScenarioPrice.movedForward(series.forward, move.numerator, move.denominator);
            return ScenarioPrice.price(series.kind, forward, series.strike, series.log + move.log, s);
        }
    }

    function _abs(int256 value) private pure returns (uint256) {
        unchecked {
            return value < 0 ? uint256(-value) : uint256(value);
        }
    }
}
