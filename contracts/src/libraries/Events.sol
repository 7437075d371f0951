// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Party, Portfolio} from "./Types.sol";

/// @notice What the Adjudicator tells the world. `id` is always the channel's id.
library Events {
    /// @notice A channel was opened and both deposits arrived. Its terms are in the transaction's input: the eighteen
    /// words that hash to the id, whatever wrapper carried them.
    event Opened(
        bytes32 indexed id, address indexed signerA, address indexed signerB, uint128 depositA, uint128 depositB
    );

    /// @notice A top-up arrived for `party`.
    event Deposited(bytes32 indexed id, Party party, uint256 amount);

    /// @notice A newer state was recorded by `checkpoint`, by `withdraw`, or by `dispute` in a running window.
    event Checkpointed(bytes32 indexed id, uint64 nonce, bytes32 portfolioHash);

    /// @notice A withdrawal paid these amounts, pushed or left to `claim`. Its state was recorded just before
    /// (`Checkpointed`).
    event Withdrawn(bytes32 indexed id, uint256 paidA, uint256 paidB);

    /// @notice A window started. `number` is the global dispute counter after this one: a monitor that has seen every
    /// number has seen every dispute. `portfolioHash` is what is recorded at `nonce` (0 at nonce 0).
    event Disputed(
        bytes32 indexed id, uint256 indexed number, Party filer, uint64 nonce, bytes32 portfolioHash, uint32 deadline
    );

    /// @notice Expired positions were settled and others remain: `portfolio` is what is now recorded, complete.
    event Settled(bytes32 indexed id, Portfolio portfolio);

    /// @notice `party` is called for margin until `cureEnd`: its equity, unclamped, was below what was shown of its
    /// maintenance margin.
    event MarginCalled(bytes32 indexed id, Party party, uint32 cureEnd, int256 equity, uint256 maintenance);

    /// @notice The called `party` was still short and every open position is ended: A receives (+) or owes (-) `value` for
    /// them, before any clamp, and `party` pays `penalty`. `Closed` follows.
    event ClosedOut(bytes32 indexed id, Party party, int256 value, uint256 penalty);

    /// @notice `party` was paid `amount` of its cash in run-off, pushed or left to `claim`.
    event Released(bytes32 indexed id, Party party, uint256 amount);

    /// @notice The channel ended and paid these amounts, pushed or left to `claim`.
    event Closed(bytes32 indexed id, uint256 paidA, uint256 paidB);

    /// @notice A push payment failed: `payee` collects `amount` with `claim`.
    event PayoutDeferred(address indexed token, address indexed payee, uint256 amount);

    /// @notice `payee` collected a deferred payout.
    event Claimed(address indexed token, address indexed payee, address to, uint256 amount);
}
