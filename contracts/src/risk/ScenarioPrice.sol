// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";

import {Payoff} from "../libraries/Payoff.sol";
import {Black76} from "./Black76.sol";
import {FixedMath} from "./FixedMath.sol";

/// @notice Prices that share what scenarios share: the logarithm and the root are taken once a series. The twin of
/// channels/pricing/scenario_price.py.
/// @dev A scenario moves the forward by a factor, which only adds to ln(F/K); the vol scenarios of a series have one
/// deviation each. With an exact logarithm the result is that of `Black76.price`.
library ScenarioPrice {
    uint256 private constant WAD = 1e18;

    /// @dev Greatest close-out shift of a vol, relative to it.
    uint256 private constant MAX_SHIFT = 0.9e18;

    /// @notice ln(numerator / denominator) in Q96, signed, for 1 <= both < 2^128.
    function logRatio(uint256 numerator, uint256 denominator) internal pure returns (int256) {
        unchecked {
            bool above = numerator >= denominator;
            (uint256 high, uint256 low) = above ? (numerator, denominator) : (denominator, numerator);
            int256 log = int256(FixedMath.lnRatio(high, low));
            return above ? log : -log;
        }
    }

    /// @notice sqrt(30 days / tau) in WAD, rounded down, for tau from 1 second to 2^64; below 2^71.
    function rootOfMonth(uint256 tau) internal pure returns (uint256) {
        unchecked {
            return FixedPointMathLib.sqrt(30 days * WAD * WAD / tau); // < 2^142
        }
    }

    /// @notice `rootOfMonth`, but for less than a day that of a day: the growth of vol scenarios towards expiry.
    function growth(uint256 tau) internal pure returns (uint256) {
        return rootOfMonth(tau > 1 days ? tau : 1 days);
    }

    /// @notice By how much vols are shifted in a close-out, relative to them: (base + perRootHour sqrt(hours)) sqrt(30 d /
    /// tau), at most `MAX_SHIFT`, in WAD, rounded down.
    /// @param age of the marks, seconds, below 2^64. @param tau seconds, 1 or more.
    function closeOutShift(uint256 base, uint256 perRootHour, uint256 age, uint256 tau)
        internal
        pure
        returns (uint256 shift)
    {
        unchecked {
            uint256 rootHours = FixedPointMathLib.sqrt(age * WAD * WAD / 1 hours); // < 2^87
            shift = (base + perRootHour * rootHours / WAD) * rootOfMonth(tau) / WAD; // < 2^164
            if (shift > MAX_SHIFT) shift = MAX_SHIFT;
        }
    }

    /// @notice vol (1 + rise x growth), rounded down, at most `Black76.MAX_VOL`. @param rise below 2^64.
    function volUp(uint256 vol, uint256 rise, uint256 growth_) internal pure returns (uint256) {
        unchecked {
            uint256 up = vol * (WAD + rise * growth_ / WAD) / WAD; // factor < 2^69; product < 2^136
            return up < Black76.MAX_VOL ? up : Black76.MAX_VOL;
        }
    }

    /// @notice vol / (1 + fall x growth), rounded down. @param fall below 2^64.
    function volDown(uint256 vol, uint256 fall, uint256 growth_) internal pure returns (uint256) {
        unchecked {
            return vol * WAD / (WAD + fall * growth_ / WAD);
        }
    }

    /// @notice `forward` times a ratio of figures from 1 to 2^128, rounded down.
    /// @dev Reverts if the result is no price of the domain.
    function movedForward(uint256 forward, uint256 numerator, uint256 denominator)
        internal
        pure
        returns (uint256 moved)
    {
        unchecked {
            moved = FixedMath.quotient(forward * numerator, denominator); // product < 2^256
            if (moved - 1 >= Black76.MAX_PRICE) revert Black76.PricingDomainError(); // `moved - 1` is huge for 0
        }
    }

    /// @notice The price of one unit in WAD, like `Black76.price`, for arguments of its domain.
    /// @dev `log` and `s` may carry small errors: what is intrinsic follows from the two prices, and a `log` of the other
    /// sign counts as 0. A kind beyond the five counts as a digital put: `RiskArrays` refuses it first.
    /// @param log ln(forward / strike) in Q96. @param s vol x sqrt(years) in Q96, below 2^106.
    function price(uint256 kind, uint256 forward, uint256 strike, int256 log, uint256 s)
        internal
        pure
        returns (int256)
    {
        unchecked {
            if (kind <= Payoff.PUT) {
                bool above = forward > strike;
                (int256 size, uint256 low, uint256 inner) =
                    above ? (log, strike, forward - strike) : (-log, forward, strike - forward);
                if (above != (kind == Payoff.CALL)) inner = 0;
                if (s == 0) return int256(inner);
                return int256(inner + Black76.timeValue(size > 0 ? uint256(size) : 0, low, s)); // < 2^128
            }
            if (kind == Payoff.FORWARD) return int256(forward) - int256(strike);
            return _digital(kind, forward >= strike, log, s);
        }
    }

    function _digital(uint256 kind, bool above, int256 log, uint256 s) private pure returns (int256) {
        unchecked {
            if (!above) log = -log;
            uint256 pays = s == 0 ? (above ? WAD : 0) : Black76.digitalCall(log > 0 ? uint256(log) : 0, above, s);
            return int256(kind == Payoff.DIGITAL_CALL ? pays : WAD - pays);
        }
    }
}
