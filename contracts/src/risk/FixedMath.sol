// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";

import {Coefficients} from "./Coefficients.sol";

/// @notice Fixed-point core of the integer engine: logarithm, exponential, root and Mills ratio in Q96. The twin of
/// channels/pricing/fixed.py: same steps, same roundings, same last digit.
/// @dev Q96 is an integer that stands for itself divided by 2^96. Every value is non-negative: signs live in branches of
/// the callers, so that shifts and divisions mean the same in Python, which floors, and in the EVM, which truncates.
/// Every intermediate states its bound; all are below 2^256, so everything is unchecked. Arguments outside the stated
/// ranges are a bug of the caller: `Black76` checks the domain. Derivation: docs/explanation/pricing.md.
library FixedMath {
    /// @notice 1.0 in Q96.
    uint256 internal constant ONE = 1 << 96;

    /// @notice End of the Mills ratio's domain in Q96: no price of the domain is left beyond it.
    uint256 internal constant SIXTEEN = 1 << 100;

    uint256 internal constant YEAR = 31_536_000;

    uint256 private constant HALF_LN2 = Coefficients.LN2 >> 1;

    /// @notice ln(high / low) in Q96, for 1 <= low <= high < 2^128; below 2^103.
    /// @dev A power of two brings the ratio into [70/99, 99/70]; there ln = 2 atanh(z) with z = (high - low) /
    /// (high + low), |z| <= 29/169, by its series. Error below 2^-94.
    function lnRatio(uint256 high, uint256 low) internal pure returns (uint256 result) {
        unchecked {
            uint256 power;
            if (70 * high > 99 * low) {
                // Python starts from the difference of the two lengths; this is the same power with one logarithm less
                power = FixedPointMathLib.log2(high / low); // < 128
                low <<= power; // high / low in [1, 2)
                // Up to 99/70 the power stays, unless `low` is shorter than `high`: then Python comes from above, and
                // stays there from 140/99 on. Of two equal lengths the first bits cancel: exclusive or below `low`.
                if (70 * high > 99 * low || (99 * high >= 140 * low && (high ^ low) >= low)) {
                    ++power;
                    low <<= 1; // < 2^129
                }
            }
            bool above = high >= low;
            uint256 gap = above ? high - low : low - high; // < 2^127
            uint256 z = quotient(gap << 96, high + low); // numerator < 2^223; z < 2^94
            uint256 zz = z * z >> 96; // < 2^91
            // every sum below is less than twice its constant: < 2^98; every product < 2^189
            uint256 a = (Coefficients.LN_C13 * zz >> 96) + Coefficients.LN_C12;
            a = (a * zz >> 96) + Coefficients.LN_C11;
            a = (a * zz >> 96) + Coefficients.LN_C10;
            a = (a * zz >> 96) + Coefficients.LN_C9;
            a = (a * zz >> 96) + Coefficients.LN_C8;
            a = (a * zz >> 96) + Coefficients.LN_C7;
            a = (a * zz >> 96) + Coefficients.LN_C6;
            a = (a * zz >> 96) + Coefficients.LN_C5;
            a = (a * zz >> 96) + Coefficients.LN_C4;
            a = (a * zz >> 96) + Coefficients.LN_C3;
            a = (a * zz >> 96) + Coefficients.LN_C2;
            a = (a * zz >> 96) + Coefficients.LN_C1;
            a = (a * zz >> 96) + Coefficients.LN_C0;
            a = a * z >> 96; // < 2^95
            power *= Coefficients.LN2; // < 2^103
            result = above ? power + a : power - a; // power is 1 or more in the second case
        }
    }

    /// @notice (m, k) with exp(-y) = m / 2^(96 + k), for y in Q96 below 2^106; m within [0.707, 1.415] in Q96.
    /// @dev exp(-y) = 2^-k exp(-+r) with r <= ln(2) / 2, then the Pade approximant [8/8]. Relative error below 1e-26.
    function expNegative(uint256 y) internal pure returns (uint256 m, uint256 k) {
        unchecked {
            k = quotient(y + HALF_LN2, Coefficients.LN2); // nearest multiple of ln 2; < 2^11
            uint256 nearest = k * Coefficients.LN2; // < 2^107
            bool above = y >= nearest;
            uint256 r = above ? y - nearest : nearest - y; // <= LN2 / 2 + 1 < 2^95
            uint256 rr = r * r >> 96; // < 2^94
            // even part: E0 < 2^125 leads, every sum < 2^126, every product < 2^220
            uint256 even = (Coefficients.EXP_E8 * rr >> 96) + Coefficients.EXP_E6;
            even = (even * rr >> 96) + Coefficients.EXP_E4;
            even = (even * rr >> 96) + Coefficients.EXP_E2;
            even = (even * rr >> 96) + Coefficients.EXP_E0;
            uint256 odd = (Coefficients.EXP_O7 * rr >> 96) + Coefficients.EXP_O5;
            odd = (odd * rr >> 96) + Coefficients.EXP_O3;
            odd = (odd * rr >> 96) + Coefficients.EXP_O1;
            odd = odd * r >> 96; // < 2^123, less than even
            // numerators < 2^223; exp(-r), then exp(r)
            m = above ? quotient(even - odd << 96, even + odd) : quotient(even + odd << 96, even - odd);
        }
    }

    /// @notice (g, k) with exp(-u u / 2) / sqrt(2 pi) = g / 2^(96 + k), for u in Q96 up to 16; g < 2^95.
    function density(uint256 u) internal pure returns (uint256 g, uint256 k) {
        unchecked {
            (g, k) = expNegative(u * u >> 97); // product < 2^201; y < 2^104
            g = g * Coefficients.INV_SQRT_2PI >> 96; // product < 2^192
        }
    }

    /// @notice The Mills ratio R(u) = N(-u) / density(u) in Q96, for u in Q96 up to 16; below 2^97.
    /// @dev A rational [12/13] with positive coefficients only, so nothing cancels. Absolute error below 5e-24. Roundings
    /// grow with u^11: beyond u = 10 it need not fall from each u to the next.
    function mills(uint256 u) internal pure returns (uint256) {
        unchecked {
            // numerator and denominator < 2^140 throughout, every product < 2^240
            uint256 n = (Coefficients.MILLS_N12 * u >> 96) + Coefficients.MILLS_N11;
            n = (n * u >> 96) + Coefficients.MILLS_N10;
            n = (n * u >> 96) + Coefficients.MILLS_N9;
            n = (n * u >> 96) + Coefficients.MILLS_N8;
            n = (n * u >> 96) + Coefficients.MILLS_N7;
            n = (n * u >> 96) + Coefficients.MILLS_N6;
            n = (n * u >> 96) + Coefficients.MILLS_N5;
            n = (n * u >> 96) + Coefficients.MILLS_N4;
            n = (n * u >> 96) + Coefficients.MILLS_N3;
            n = (n * u >> 96) + Coefficients.MILLS_N2;
            n = (n * u >> 96) + Coefficients.MILLS_N1;
            n = (n * u >> 96) + Coefficients.MILLS_N0;
            uint256 d = (Coefficients.MILLS_D13 * u >> 96) + Coefficients.MILLS_D12;
            d = (d * u >> 96) + Coefficients.MILLS_D11;
            d = (d * u >> 96) + Coefficients.MILLS_D10;
            d = (d * u >> 96) + Coefficients.MILLS_D9;
            d = (d * u >> 96) + Coefficients.MILLS_D8;
            d = (d * u >> 96) + Coefficients.MILLS_D7;
            d = (d * u >> 96) + Coefficients.MILLS_D6;
            d = (d * u >> 96) + Coefficients.MILLS_D5;
            d = (d * u >> 96) + Coefficients.MILLS_D4;
            d = (d * u >> 96) + Coefficients.MILLS_D3;
            d = (d * u >> 96) + Coefficients.MILLS_D2;
            d = (d * u >> 96) + Coefficients.MILLS_D1;
            d = (d * u >> 96) + Coefficients.MILLS_D0;
            return quotient(n << 96, d); // numerator < 2^236
        }
    }

    /// @notice Root of `secs` in years of 365 days, in Q96, rounded down, for `secs` below 2^29; below 2^99.
    function sqrtYears(uint256 secs) internal pure returns (uint256) {
        unchecked {
            return FixedPointMathLib.sqrt((secs << 192) / YEAR); // numerator < 2^221
        }
    }

    /// @notice x / y, for a y that cannot be 0: without the compiler's check, five of which would cost a price 200 gas.
    function quotient(uint256 x, uint256 y) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            z := div(x, y)
        }
    }
}
