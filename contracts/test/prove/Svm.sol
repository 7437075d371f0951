// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice The cheatcodes of halmos that the proofs use: values that stand for all values of their type.
interface Svm {
    function createUint256(string calldata name) external view returns (uint256);
    function createBytes32(string calldata name) external view returns (bytes32);
    function createAddress(string calldata name) external view returns (address);
    function createBool(string calldata name) external view returns (bool);

    /// @notice From here on every word of `account`'s storage that was never written may hold anything.
    function enableSymbolicStorage(address account) external;
}
