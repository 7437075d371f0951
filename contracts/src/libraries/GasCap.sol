// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Errors} from "./Errors.sol";

/// @notice Rule 10: a tolerated failure of an external call counts only if the callee had its whole gas cap, else
/// whoever sends the transaction could make any call fail by sending too little gas.
library GasCap {
    /// @dev What is spent between the check and the call: a cold account (2,600), the call's own memory, stack work.
    uint256 private constant OVERHEAD = 5_000;

    /// @notice Reverts unless a call made next can be given `cap`: EIP-150 keeps a 64th of what is left.
    function ensure(uint256 cap) internal view {
        if (gasleft() < cap * 64 / 63 + OVERHEAD) revert Errors.InsufficientGas();
    }
}
