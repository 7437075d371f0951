// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Black76} from "../../src/risk/Black76.sol";
import {Coefficients} from "../../src/risk/Coefficients.sol";

/// @notice The pricing library as calls of its own, many inputs a call. Python compiles this and compares, value by
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

    /// @notice Every price of `inputs`: five words each, the parameters of `price` in order.
    function prices(bytes calldata inputs) external view returns (bytes memory) {
        return _each(this.price.selector, 160, inputs);
    }

    /// @notice Every forward of `inputs`: three words each, the parameters of `forwardPrice` in order.
    function forwardPrices(bytes calldata inputs) external view returns (bytes memory) {
        return _each(this.forwardPrice.selector, 96, inputs);
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
