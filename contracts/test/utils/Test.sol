// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Vm} from "./Vm.sol";

/// @notice Base of every test: the cheatcodes, and figures within bounds for fuzzing.
abstract contract Test {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @notice Shows a line in what `forge test -vv` prints.
    function print(string memory line) internal view {
        // The address hardhat's console made customary; forge listens there.
        (bool heard,) =
            0x000000000000000000636F6e736F6c652e6c6f67.staticcall(abi.encodeWithSignature("log(string)", line));
        heard;
    }

    /// @notice `value` folded into [least, most].
    function bound(uint256 value, uint256 least, uint256 most) internal pure returns (uint256) {
        if (value >= least && value <= most) return value;
        uint256 size = most - least + 1;
        return size == 0 ? value : least + value % size;
    }

    /// @notice `value` folded into [least, most].
    function bound(int256 value, int256 least, int256 most) internal pure returns (int256) {
        if (value >= least && value <= most) return value;
        uint256 size = uint256(most - least) + 1;
        return least + int256(uint256(value) % size);
    }
}
