// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Payoff} from "../../src/libraries/Payoff.sol";
import {Black76} from "../../src/risk/Black76.sol";
import {Coefficients} from "../../src/risk/Coefficients.sol";
import {FixedMath} from "../../src/risk/FixedMath.sol";
import {ScenarioPrice} from "../../src/risk/ScenarioPrice.sol";

/// @notice The pricing libraries as calls of their own, many inputs a call. Python compares this with its engine, value by
/// value. Inputs are words one after the other; an answer is two words: 1 and the figure, or 0 and the error's selector.
contract PricingHarness {
    /// @notice Hash of the file both engines take their constants from.
    function source() external pure returns (bytes32) {
        return Coefficients.SOURCE_SHA256;
    }

    function price(uint256 kind, uint256 forward, uint256 strike, uint256 vol, uint256 tau)
        external
        pure
        returns (int256)
    {
        return Black76.price(kind, forward, strike, vol, tau);
    }

    function forwardPrice(uint256 spot, int256 carry, uint256 tau) external pure returns (uint256) {
        return Black76.forwardPrice(spot, carry, tau);
    }

    function scenarioPrice(uint256 kind, uint256 forward, uint256 strike, int256 log, uint256 s)
        external
        pure
        returns (int256)
    {
        return ScenarioPrice.price(kind, forward, strike, log, s);
    }

    function payoff(uint256 kind, uint256 strike, int256 quantity, uint256 settlementPrice, uint256 unit)
        external
        pure
        returns (int256)
    {
        return Payoff.truncated(kind, strike, quantity, settlementPrice, unit);
    }

    function lnRatio(uint256 high, uint256 low) external pure returns (uint256) {
        return FixedMath.lnRatio(high, low);
    }

    /// @return k x 2^128 + m, both below 2^128
    function expNegative(uint256 y) external pure returns (uint256) {
        (uint256 m, uint256 k) = FixedMath.expNegative(y);
        return k << 128 | m;
    }

    function mills(uint256 u) external pure returns (uint256) {
        return FixedMath.mills(u);
    }

    function sqrtYears(uint256 secs) external pure returns (uint256) {
        return FixedMath.sqrtYears(secs);
    }

    /// @notice Every price of `inputs`: five words each, the parameters of `price` in order.
    function prices(bytes calldata inputs) external view returns (bytes memory) {
        return _each(this.price.selector, 160, inputs);
    }

    /// @notice Every forward of `inputs`: three words each, the parameters of `forwardPrice` in order.
    function forwardPrices(bytes calldata inputs) external view returns (bytes memory) {
        return _each(this.forwardPrice.selector, 96, inputs);
    }

    /// @notice Every scenario's price of `inputs`: five words each, the parameters of `scenarioPrice` in order.
    function scenarioPrices(bytes calldata inputs) external view returns (bytes memory) {
        return _each(this.scenarioPrice.selector, 160, inputs);
    }

    /// @notice Every payoff of `inputs`: five words each, the parameters of `payoff` in order.
    function payoffs(bytes calldata inputs) external view returns (bytes memory) {
        return _each(this.payoff.selector, 160, inputs);
    }

    /// @notice Every logarithm of `inputs`: two words each.
    function lnRatios(bytes calldata inputs) external view returns (bytes memory) {
        return _each(this.lnRatio.selector, 64, inputs);
    }

    /// @notice Every exponential of `inputs`, a word each.
    function expNegatives(bytes calldata inputs) external view returns (bytes memory) {
        return _each(this.expNegative.selector, 32, inputs);
    }

    /// @notice Every Mills ratio of `inputs`, a word each.
    function millsRatios(bytes calldata inputs) external view returns (bytes memory) {
        return _each(this.mills.selector, 32, inputs);
    }

    /// @notice Every root of `inputs`, a word each.
    function rootsOfYears(bytes calldata inputs) external view returns (bytes memory) {
        return _each(this.sqrtYears.selector, 32, inputs);
    }

    function _each(bytes4 selector, uint256 size, bytes calldata inputs) private view returns (bytes memory answers) {
        uint256 count = inputs.length / size;
        answers = new bytes(count * 64);
        bytes memory request = abi.encodePacked(selector, new bytes(size));
        assembly ("memory-safe") {
            let target := add(answers, 0x20)
            let from := inputs.offset
            for { let last := add(from, mul(count, size)) } lt(from, last) { from := add(from, size) } {
                calldatacopy(add(request, 0x24), from, size)
                mstore(0, 0)
                mstore(target, staticcall(gas(), address(), add(request, 0x20), add(4, size), 0, 0x20))
                mstore(add(target, 0x20), mload(0))
                target := add(target, 0x40)
            }
        }
    }
}
