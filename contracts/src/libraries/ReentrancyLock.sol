// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Errors} from "./Errors.sol";

/// @notice One lock for the whole contract, in transient storage (rule 10): while a token, an oracle or a wallet is
/// being called, nothing else here can be.
abstract contract ReentrancyLock {
    bool private transient _locked;

    /// @notice For calls that call out: takes the lock.
    modifier locks() {
        if (_locked) revert Errors.Reentrancy();
        _locked = true;
        _;
        _locked = false;
    }

    /// @notice For calls that do not: refused while the lock is taken.
    modifier whenUnlocked() {
        if (_locked) revert Errors.Reentrancy();
        _;
    }
}
