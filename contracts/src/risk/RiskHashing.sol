// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IRiskEngine} from "./IRiskEngine.sol";
import {RiskParams} from "./RiskTypes.sol";

/// @notice Bounds of the margin parameters, and the EIP-712 hash that terms commit to.
library RiskHashing {
    /// @dev Hash of the type's string; a test hashes it again and compares.
    bytes32 internal constant TYPEHASH = 0x7a9a48c2505f8934e097e2355a51d813adfde96accebe2eaedbde297f87e039c;

    uint256 private constant MEMBERS = 13;

    /// @notice Reverts unless every parameter is within its bounds and the feeds are in order, one set each.
    function check(RiskParams[] calldata risk) internal pure {
        uint64[MEMBERS] memory least = [0.02e18, 0, 0, 1 hours, 0, 0, 0, 0, 0, 1e18, 0, 0, 1e18];
        uint64[MEMBERS] memory most =
            [0.3e18, 3e18, 3e18, 14 days, 3e18, 1e18, 0.2e18, 1e18, 0.2e18, 3e18, 0.5e18, 0.5e18, 5e18];
        for (uint256 i = 0; i < risk.length; ++i) {
            RiskParams calldata params = risk[i];
            if (i > 0 && params.feed <= risk[i - 1].feed) revert IRiskEngine.FeedsOutOfOrder(i);
            for (uint256 member = 0; member < MEMBERS; ++member) {
                uint256 value;
                bool outside;
                assembly ("memory-safe") {
                    let offset := shl(5, member) // a word each
                    value := calldataload(add(params, add(0x20, offset))) // after the feed
                    outside := or(lt(value, mload(add(least, offset))), gt(value, mload(add(most, offset))))
                }
                if (outside) revert IRiskEngine.RiskParamOutOfBounds(params.feed, member, value);
            }
        }
    }

    /// @notice EIP-712 hash of the array.
    function hash(RiskParams[] calldata risk) internal pure returns (bytes32 result) {
        bytes32 typeHash = TYPEHASH;
        bytes32[] memory hashes = new bytes32[](risk.length);
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            let source := risk.offset
            let last := add(hashes, shl(5, risk.length))
            for { let target := hashes } lt(target, last) { source := add(source, 0x1c0) } {
                target := add(target, 0x20)
                calldatacopy(add(free, 0x20), source, 0x1c0) // fourteen words
                mstore(target, keccak256(free, 0x1e0))
            }
            result := keccak256(add(hashes, 0x20), shl(5, mload(hashes)))
        }
    }
}
