// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Errors} from "./Errors.sol";
import {GasCap} from "./GasCap.sol";
import {Permit} from "./Types.sol";

/// @notice ERC-20 transfers with tokens assumed hostile (rule 10). A token that returns nothing (USDT) works, one that
/// returns anything but true does not. Return data is never copied beyond one word.
library Tokens {
    /// @notice Gas of a pushed payout. Twice what the heaviest widely used tokens (proxied, rebasing) take.
    uint256 internal constant PUSH_GAS = 300_000;

    /// @notice Gas of a permit. Twice what the heaviest widely used tokens (proxied, looking for a wallet) take.
    uint256 internal constant PERMIT_GAS = 150_000;

    /// @notice Our balance of `token`.
    function balance(address token) internal view returns (uint256 amount) {
        bool success;
        assembly ("memory-safe") {
            mstore(0x00, 0x70a08231) // balanceOf(address)
            mstore(0x20, address())
            success := staticcall(gas(), token, 0x1c, 0x24, 0x00, 0x20)
            success := and(success, gt(returndatasize(), 0x1f))
            amount := mload(0x00)
        }
        if (!success) revert Errors.BalanceUnknown(token);
    }

    /// @notice Presents `owner`'s permit, if one is given, and ignores what becomes of it: a permit that somebody else
    /// presented first fails too, though the allowance is there. The pull that follows is what tells.
    function tryPermit(address token, address owner, Permit calldata permit) internal {
        if (permit.deadline == 0) return;
        GasCap.ensure(PERMIT_GAS);
        (uint256 value, uint256 deadline, uint256 v) = (permit.value, permit.deadline, permit.v);
        (bytes32 r, bytes32 s, uint256 gasCap) = (permit.r, permit.s, PERMIT_GAS);
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, shl(224, 0xd505accf)) // permit(address,address,uint256,uint256,uint8,bytes32,bytes32)
            mstore(add(free, 0x04), shr(96, shl(96, owner)))
            mstore(add(free, 0x24), address())
            mstore(add(free, 0x44), value)
            mstore(add(free, 0x64), deadline)
            mstore(add(free, 0x84), v)
            mstore(add(free, 0xa4), r)
            mstore(add(free, 0xc4), s)
            pop(call(gasCap, token, 0, free, 0xe4, 0x00, 0x00))
        }
    }

    /// @notice Pulls `amount` from `from`, or reverts. The caller checks what arrived.
    function pull(address token, address from, uint256 amount) internal {
        bool success;
        uint256 size;
        uint256 word;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, shl(224, 0x23b872dd)) // transferFrom(address,address,uint256)
            mstore(add(free, 0x04), shr(96, shl(96, from)))
            mstore(add(free, 0x24), address())
            mstore(add(free, 0x44), amount)
            success := call(gas(), token, 0, free, 0x64, 0x00, 0x20)
            size := returndatasize()
            word := mload(0x00)
        }
        if (!_accepted(token, success, size, word)) revert Errors.TransferFailed(token);
    }

    /// @notice Sends `amount` to `to`, or reverts.
    function send(address token, address to, uint256 amount) internal {
        if (!_transfer(token, to, amount, gasleft())) revert Errors.TransferFailed(token);
    }

    /// @notice Sends `amount` to `to` and tells whether it went. A failure counts only if the token had the whole gas
    /// cap: with less than that at hand the call reverts.
    function push(address token, address to, uint256 amount) internal returns (bool) {
        GasCap.ensure(PUSH_GAS);
        return _transfer(token, to, amount, PUSH_GAS);
    }

    function _transfer(address token, address to, uint256 amount, uint256 gasCap) private returns (bool) {
        bool success;
        uint256 size;
        uint256 word;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, shl(224, 0xa9059cbb)) // transfer(address,uint256)
            mstore(add(free, 0x04), shr(96, shl(96, to)))
            mstore(add(free, 0x24), amount)
            success := call(gasCap, token, 0, free, 0x44, 0x00, 0x20)
            size := returndatasize()
            word := mload(0x00)
        }
        return _accepted(token, success, size, word);
    }

    /// @dev Accepted: true in the first returned word, or nothing returned by an account that has code.
    function _accepted(address token, bool success, uint256 size, uint256 word) private view returns (bool) {
        if (!success) return false;
        return size == 0 ? token.code.length != 0 : size >= 32 && word == 1;
    }
}
