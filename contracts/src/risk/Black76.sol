// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Payoff} from "../libraries/Payoff.sol";
import {FixedMath} from "./FixedMath.sol";

/// @notice Black-76 in integers: the prices that decide money. The twin of channels/pricing/black76.py, to the last
/// digit; formulas, error budget and domain in docs/explanation/pricing.md.
/// @dev Units: prices, strikes, vol and carry in WAD, time in seconds, a year has 365 days. Undiscounted. Outside the
/// domain (forward, strike and spot 1 to 2^128 - 1, vol up to 100.0, carry -100.0 to 100.0, at most ten years) every
/// function reverts with `PricingDomainError`, never returns a wrong number. A time to expiry of 0 means expired: the
/// price is the payoff.
library Black76 {
    /// An input, or the forward that follows from it, lies outside the domain of the integer engine.
    error PricingDomainError();

    uint256 internal constant MAX_PRICE = type(uint128).max;
    uint256 internal constant MAX_VOL = 100e18;
    uint256 internal constant MAX_CARRY = 100e18;
    uint256 internal constant MAX_TENOR = 10 * FixedMath.YEAR;

    /// @notice The forward, spot x exp(carry x tau), in WAD, rounded down.
    /// @param carry annual, signed. @param tau seconds; 0 means the spot itself.
    function forwardPrice(uint256 spot, int256 carry, uint256 tau) internal pure returns (uint256 forward) {
        unchecked {
            uint256 magnitude = carry < 0 ? 0 - uint256(carry) : uint256(carry);
            // `spot - 1` is huge for 0
            if (spot - 1 >= MAX_PRICE || magnitude > MAX_CARRY || tau > MAX_TENOR) revert PricingDomainError();
            if (tau == 0 || carry == 0) return spot;
            // numerator < 2^192; quotient < 2^106
            (uint256 m, uint256 k) = FixedMath.expNegative((magnitude * tau << 96) / (1e18 * FixedMath.YEAR));
            if (carry < 0) {
                forward = spot * m >> 96 + k; // product < 2^225
            } else {
                uint256 product = spot * ((1 << 192) / m); // 1 / m in Q96; product < 2^225
                if (k <= 96) forward = product >> 96 - k;
                else if (k < 224 && product >> 224 - k == 0) forward = product << k - 96; // < 2^128
                // else 0: beyond the domain, refused with the rest
            }
            if (forward - 1 >= MAX_PRICE) revert PricingDomainError();
        }
    }

    /// @notice The undiscounted price of one unit, in WAD: signed for a forward, else not negative.
    /// @dev Call less put is forward less strike exactly, digital call plus digital put is 1.0 exactly. Options are
    /// within 2 wei for prices up to 200,000.0, and within 1e-23 of the smaller of forward and strike above.
    /// @param kind 0 call, 1 put, 2 digital call, 3 digital put, 4 forward. @param tau seconds; 0 means expired.
    function price(uint256 kind, uint256 forward, uint256 strike, uint256 vol, uint256 tau)
        internal
        pure
        returns (int256)
    {
        unchecked {
            // `x - 1` is huge for 0
            if (forward - 1 >= MAX_PRICE || strike - 1 >= MAX_PRICE || vol > MAX_VOL || tau > MAX_TENOR) {
                revert PricingDomainError();
            }
            if (kind <= Payoff.PUT) {
                bool above = forward > strike;
                (uint256 high, uint256 low) = above ? (forward, strike) : (strike, forward);
                uint256 value = _timeValue(high, low, vol, tau); // at most low
                if (above == (kind == Payoff.CALL)) value += high - low; // in the money; equal prices add nothing
                return int256(value); // < 2^128
            }
            if (kind == Payoff.FORWARD) return int256(forward) - int256(strike);
            if (kind > Payoff.FORWARD) revert PricingDomainError();
            uint256 pays = _digitalCall(forward, strike, vol, tau); // at most 1e18
            return int256(kind == Payoff.DIGITAL_CALL ? pays : 1e18 - pays);
        }
    }

    /// @dev s = vol x sqrt(tau) in Q96: 0 exactly when the vol is zero or the time is up.
    function deviation(uint256 vol, uint256 tau) internal pure returns (uint256) {
        unchecked {
            return vol * FixedMath.sqrtYears(tau) / 1e18; // product < 2^166; s < 2^106
        }
    }

    function _timeValue(uint256 high, uint256 low, uint256 vol, uint256 tau) private pure returns (uint256) {
        uint256 s = deviation(vol, tau);
        return timeValue(FixedMath.lnRatio(high, low), low, s);
    }

    /// @notice The out-of-the-money option's price, 0 to `low`; call and put share it.
    /// @dev With h = ln(high / low) / s, t = s / 2 and d = |h - t| it is low g(d) (R(d) - R(h + t)) for h >= t, else
    /// low (1 - g(d) (R(d) + R(h + t))): g the normal density, R the Mills ratio. Scaled by `low`, so is its error.
    /// @param log ln(high / low) in Q96, below 2^104. @param s vol x sqrt(tau) in Q96, below 2^106; 0 leaves no time value.
    function timeValue(uint256 log, uint256 low, uint256 s) internal pure returns (uint256) {
        unchecked {
            if (s == 0) return 0;
            uint256 h = FixedMath.quotient(log << 96, s); // numerator < 2^200
            uint256 t = s >> 1; // < 2^105
            uint256 far = h + t; // < 2^201
            // low g(d) = high g(h + t) < 2^128 exp(-128): nothing is left
            if (far >= FixedMath.SIXTEEN) return h >= t ? 0 : low;
            if (h >= t) {
                uint256 near = h - t;
                (uint256 g, uint256 k) = FixedMath.density(near); // < 2^95
                (uint256 upper, uint256 lower) = (FixedMath.mills(near), FixedMath.mills(far)); // < 2^97
                // for the least vols rounding may win
                return upper > lower ? low * (g * (upper - lower) >> 96) >> 96 + k : 0; // products < 2^192, < 2^224
            }
            {
                uint256 near = t - h;
                (uint256 g, uint256 k) = FixedMath.density(near);
                uint256 weight = g * (FixedMath.mills(near) + FixedMath.mills(far)) >> 96; // product < 2^193
                uint256 missing = low * weight >> 96 + k; // product < 2^225
                return missing < low ? low - missing : 0;
            }
        }
    }

    function _digitalCall(uint256 forward, uint256 strike, uint256 vol, uint256 tau) private pure returns (uint256) {
        uint256 s = deviation(vol, tau);
        bool above = forward >= strike;
        if (s == 0) return above ? 1e18 : 0;
        return digitalCall(above ? FixedMath.lnRatio(forward, strike) : FixedMath.lnRatio(strike, forward), above, s);
    }

    /// @notice N(d2) in WAD: the smaller tail rounded down, the larger is its complement.
    /// @param log |ln(forward / strike)| in Q96, below 2^104. @param above whether the forward is at or above the strike.
    /// @param s vol x sqrt(tau) in Q96, 1 or more, below 2^106.
    function digitalCall(uint256 log, bool above, uint256 s) internal pure returns (uint256) {
        unchecked {
            uint256 h = FixedMath.quotient(log << 96, s); // numerator < 2^200
            uint256 t = s >> 1; // < 2^105
            if (!above) return _tail(h + t);
            return h >= t ? 1e18 - _tail(h - t) : _tail(t - h);
        }
    }

    /// @dev N(-u) in WAD, rounded down, for any u in Q96.
    function _tail(uint256 u) private pure returns (uint256) {
        unchecked {
            if (u >= FixedMath.SIXTEEN) return 0; // N(-16) is 6e-58
            (uint256 g, uint256 k) = FixedMath.density(u);
            return (g * FixedMath.mills(u) >> 96) * 1e18 >> 96 + k; // products < 2^192 and < 2^156
        }
    }
}
