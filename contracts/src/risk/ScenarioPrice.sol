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

    /// @notice sqrt(hours) of a time in seconds, below 2^64: in WAD, rounded down; below 2^87.
    function rootOfHours(uint256 time) internal pure returns (uint256) {
        unchecked {
            return FixedPointMathLib.sqrt(time * WAD * WAD / 1 hours);
        }
    }

    /// @notice By how much vols are shifted in a close-out, relative to them: (base + perRootHour sqrt(hours)) sqrt(30 d /
    /// tau), at most `MAX_SHIFT`, in WAD, rounded down.
    /// @param rootHours `rootOfHours` of the marks' age. @param rootMonth `rootOfMonth` of tau.
    function closeOutShift(uint256 base, uint256 perRootHour, uint256 rootHours, uint256 rootMonth)
        internal
        pure
        returns (uint256 shift)
    {
        unchecked {
            shift = (base + perRootHour * rootHours / WAD) * rootMonth / WAD; // < 2^164
            if (shift > MAX_SHIFT) shift = MAX_SHIFT;
        }
    }

    /// @notice 1 + change x growth, rounded down, in WAD: 1.0 or more, below 2^69. @param change below 2^64.
    function volFactor(uint256 change, uint256 growth_) internal pure returns (uint256) {
        unchecked {
            return WAD + change * growth_ / WAD;
        }
    }

    /// @notice vol x factor, rounded down, at most `Black76.MAX_VOL`. @param factor WAD, below 2^69.
    function scaledVol(uint256 vol, uint256 factor) internal pure returns (uint256) {
        unchecked {
            uint256 up = vol * factor / WAD; // product < 2^136
            return up < Black76.MAX_VOL ? up : Black76.MAX_VOL;
        }
    }

    /// @notice vol / factor, rounded down. @param factor WAD, 1.0 or more.
    function volDown(uint256 vol, uint256 factor) internal pure returns (uint256) {
        unchecked {
            return FixedMath.quotient(vol * WAD, factor);
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
    /// @dev A kind beyond the five counts as a digital put: `RiskArrays` refuses it first.
    /// @param log ln(forward / strike) in Q96. @param s vol x sqrt(years) in Q96, below 2^106.
    function price(uint256 kind, uint256 forward, uint256 strike, int256 log, uint256 s)
        internal
        pure
        returns (int256)
    {
        unchecked {
            if (kind <= Payoff.PUT) {
                (int256 inner, uint256 low, uint256 size) = split(kind, forward, strike, log);
                return inner + int256(Black76.timeValue(size, low, s)); // < 2^128
            }
            if (kind == Payoff.FORWARD) return int256(forward) - int256(strike);
            return _digital(kind, forward >= strike, log, s);
        }
    }

    /// @notice A call or put apart from what depends on vol and time, its time value: `Black76.timeValue(size, low, s)`.
    /// @dev `log` may carry a small error: what is intrinsic follows from the two prices, and a `log` of the other sign
    /// counts as 0.
    /// @return inner intrinsic value.
    /// @return low the smaller of forward and strike.
    /// @return size logarithm of the larger by the smaller, Q96.
    function split(uint256 kind, uint256 forward, uint256 strike, int256 log)
        internal
        pure
        returns (int256 inner, uint256 low, uint256 size)
    {
        unchecked {
            if (forward > strike) {
                low = strike;
                if (kind == Payoff.CALL) inner = int256(forward - strike);
            } else {
                (low, log) = (forward, -log);
                if (kind == Payoff.PUT) inner = int256(strike - forward);
            }
            if (log > 0) size = uint256(log);
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
