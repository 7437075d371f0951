// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";

import {Payoff} from "../libraries/Payoff.sol";
import {Black76} from "./Black76.sol";
import {LargestLoss} from "./LargestLoss.sol";
import {RiskMoves} from "./RiskMoves.sol";
import {Bucket, RiskParams, Tally} from "./RiskTypes.sol";

/// @notice What a tally requires of a party, and how exact figures become collateral units. The twin of
/// `FeedMargin` in channels/pricing/feed_margin.py.
/// @dev Exact figures are WAD x WAD and below 2^250.
library Requirement {
    uint256 private constant WAD = 1e18;
    uint256 private constant SCALE = 1e36;

    /// @notice Maintenance margin of one feed, WAD x WAD: scan and charges. @param side 1 for A, -1 for B.
    function maintenance(Tally memory tally, RiskParams calldata risk, uint256 spot, int256 side)
        internal
        pure
        returns (uint256 total)
    {
        unchecked {
            total = _worst(tally, side, 0, RiskMoves.GRID - 4);
            for (uint256 i = RiskMoves.GRID - 4; i < RiskMoves.GRID; ++i) {
                uint256 loss = weighed(int256(_worst(tally, side, i, i + 1)), i);
                if (loss > total) total = loss;
            }
            uint256 atNodes = _worst(tally, side, RiskMoves.GRID, tally.near.length);
            if (atNodes > total) total = atNodes;
            total += scaledUp(risk.calendar, tally.within - FixedPointMathLib.abs(tally.net));
            total += scaledUp(risk.strike, tally.gross - tally.within);
            total += tally.carry;
            total += shortMinimum(tally.quantities, risk, spot, side);
        }
    }

    /// @dev Greatest loss in the scenarios `first` to before `end`, of all positions or of those that outlive the look-ahead.
    /// Indices are within both arrays.
    function _worst(Tally memory tally, int256 side, uint256 first, uint256 end) private pure returns (uint256) {
        unchecked {
            (int256[] memory near, int256[] memory far) = (tally.near, tally.far);
            int256 least;
            for (uint256 i = first; i < end; ++i) {
                int256 all;
                int256 later;
                assembly ("memory-safe") {
                    let offset := shl(5, add(i, 1)) // past the length
                    later := mload(add(far, offset))
                    all := mul(side, add(mload(add(near, offset)), later))
                    later := mul(side, later)
                }
                if (all < least) least = all;
                if (later < least) least = later;
            }
            return uint256(-least);
        }
    }

    /// @notice How much of a loss counts in the scenario with this index, rounded up; a gain counts 0.
    function weighed(int256 loss, uint256 index) internal pure returns (uint256) {
        unchecked {
            if (loss <= 0) return 0;
            if (index < RiskMoves.GRID - 4 || index >= RiskMoves.GRID) return uint256(loss);
            uint256 divisor = index < RiskMoves.GRID - 2 ? 3 : index == RiskMoves.GRID - 2 ? 6 : 4;
            return (uint256(loss) + divisor - 1) / divisor;
        }
    }

    /// @notice Charge on options sold net, kind by kind: calls and puts at the spot, digitals at the 1.0 that they pay.
    function shortMinimum(int256[5] memory quantities, RiskParams calldata risk, uint256 spot, int256 side)
        internal
        pure
        returns (uint256)
    {
        unchecked {
            // quantities < 2^119, so exposure < 2^249
            uint256 exposure = (_short(quantities[Payoff.CALL], side) + _short(quantities[Payoff.PUT], side)) * spot;
            exposure += (_short(quantities[Payoff.DIGITAL_CALL], side) + _short(quantities[Payoff.DIGITAL_PUT], side))
                * WAD;
            return scaledUp(risk.shortMinimum, exposure);
        }
    }

    function _short(int256 quantity, int256 side) private pure returns (uint256) {
        unchecked {
            quantity *= side;
            return quantity < 0 ? uint256(-quantity) : 0;
        }
    }

    /// @notice `fraction` (WAD) of `exact`, rounded up.
    /// @param fraction below 2^64.
    function scaledUp(uint256 fraction, uint256 exact) internal pure returns (uint256) {
        unchecked {
            // the short way for figures of any market: the product leaves room for the rounding
            if (exact >> 190 == 0) return (fraction * exact + WAD - 1) / WAD;
            return FixedPointMathLib.fullMulDivUp(fraction, exact, WAD);
        }
    }

    /// @notice `exact` in collateral units, rounded up.
    /// @dev Reverts if the result would not fit 128 bits by far.
    function unitsUp(uint256 exact, uint256 unit) internal pure returns (uint256) {
        unchecked {
            if (exact >> 180 == 0 && unit >> 74 == 0) return (exact * unit + SCALE - 1) / SCALE; // the short way
            _fits(exact, unit);
            return FixedPointMathLib.fullMulDivUp(exact, unit, SCALE);
        }
    }

    /// @notice `exact` in collateral units, rounded down; of either sign. Fits 128 bits, or reverts.
    function unitsDown(int256 exact, uint256 unit) internal pure returns (int256 units) {
        unchecked {
            uint256 size = exact < 0 ? uint256(-exact) : uint256(exact);
            _fits(size, unit);
            units = exact < 0
                ? -int256(FixedPointMathLib.fullMulDivUp(size, unit, SCALE))
                : int256(FixedPointMathLib.fullMulDiv(size, unit, SCALE));
            if (units <= type(int128).min || units > type(int128).max) revert Black76.PricingDomainError();
        }
    }

    /// @dev With a unit of 1 or more the result is at least `exact` / SCALE, so beyond 2^128 it is refused before the
    /// product could leave what fullMulDiv takes.
    function _fits(uint256 exact, uint256 unit) private pure {
        if (exact / SCALE >> 128 != 0 || unit >> 128 != 0) revert Black76.PricingDomainError();
    }

    /// @notice Sum of the buckets' largest losses in collateral units.
    /// @return bounded false if one has no bound; the sum counts only if true.
    function largestLosses(Bucket[] memory buckets, uint256 unit, int256 side)
        internal
        pure
        returns (bool bounded, uint256 total)
    {
        for (uint256 i = 0; i < buckets.length; ++i) {
            uint256 loss;
            (bounded, loss) = largestLoss(buckets[i], unit, side);
            if (!bounded) return (false, 0);
            total += loss;
        }
        return (true, total);
    }

    function largestLoss(Bucket memory bucket, uint256 unit, int256 side)
        internal
        pure
        returns (bool bounded, uint256 loss)
    {
        uint256 slack;
        (bounded, loss, slack) = LargestLoss.worst(bucket.series, side);
        if (bounded) loss = unitsUp(loss, unit) + slack;
    }
}
