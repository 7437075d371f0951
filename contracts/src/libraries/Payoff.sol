// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";

/// @notice What a position pays at its settlement price. Never reverts, whatever the figures.
library Payoff {
    uint256 internal constant WAD = 1e18;

    uint256 internal constant CALL = 0;
    uint256 internal constant PUT = 1;
    uint256 internal constant DIGITAL_CALL = 2;
    uint256 internal constant DIGITAL_PUT = 3;
    uint256 internal constant FORWARD = 4;

    /// @notice Largest payoff of one position, in collateral base units; a larger one saturates here.
    /// @dev 128 of them add up to less than 2^126, so that with |netToB| <= 2^126 no sum saturates and the order of
    /// settling changes nothing. No channel holds more than this (`Contributions.MAX_POT`).
    uint256 internal constant MAX_MAGNITUDE = 2 ** 119 - 1;

    /// @notice Payoff to the side that `quantity` counts for, signed: + is received. Its magnitude is rounded down to
    /// whole collateral units, so that both sides of a trade compute the same figure.
    /// @param kind call, put, digital call (pays 1.0 at or above the strike), digital put (pays 1.0 below it, so the
    /// two always add up to 1.0), forward; any other pays 0.
    /// @param price settlement price, WAD, below 2^128.
    /// @param unit collateral base units per 1.0 of price.
    function truncated(uint256 kind, uint256 strike, int256 quantity, uint256 price, uint256 unit)
        internal
        pure
        returns (int256)
    {
        bool above = price >= strike;
        uint256 perUnit; // WAD, below 2^128
        bool negative = quantity < 0;
        if (kind == CALL) {
            if (above) perUnit = price - strike;
        } else if (kind == PUT) {
            if (!above) perUnit = strike - price;
        } else if (kind == DIGITAL_CALL) {
            if (above) perUnit = WAD;
        } else if (kind == DIGITAL_PUT) {
            if (!above) perUnit = WAD;
        } else if (kind == FORWARD) {
            perUnit = above ? price - strike : strike - price;
            negative = negative == above; // a short forward gains below the strike
        }
        if (perUnit == 0) return 0;
        uint256 magnitude = magnitudeDown(FixedPointMathLib.abs(quantity), perUnit, unit);
        return negative ? -int256(magnitude) : int256(magnitude);
    }

    /// @notice floor(size x perUnit x unit / 1e36), saturating at `MAX_MAGNITUDE`.
    /// @param size at most 2^127. @param perUnit below 2^128. @param unit below 2^128.
    function magnitudeDown(uint256 size, uint256 perUnit, uint256 unit) internal pure returns (uint256 magnitude) {
        unchecked {
            uint256 product = size * perUnit; // below 2^255
            if (product <= type(uint128).max) return _capped(product * unit / (WAD * WAD));
            // With unit >= 1 the result is at least product / 1e36: beyond the cap already, and past what follows.
            if (product / (WAD * WAD) > MAX_MAGNITUDE) return unit == 0 ? 0 : MAX_MAGNITUDE;
            // product < 2^239 and unit < 2^128, so the quotient is below 2^248: fullMulDiv cannot overflow.
            return _capped(FixedPointMathLib.fullMulDiv(product, unit, WAD * WAD));
        }
    }

    /// @notice `netToB` after A received `payoff` (+) or paid it (-), saturating at 128 bits.
    function moveNet(int256 netToB, int256 payoff) internal pure returns (int256) {
        unchecked {
            int256 moved = netToB - payoff; // both below 2^128 in magnitude
            if (moved > type(int128).max) return type(int128).max;
            if (moved < type(int128).min) return type(int128).min;
            return moved;
        }
    }

    function _capped(uint256 magnitude) private pure returns (uint256) {
        return magnitude < MAX_MAGNITUDE ? magnitude : MAX_MAGNITUDE;
    }
}
