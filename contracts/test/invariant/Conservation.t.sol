// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "../utils/Test.sol";
import {Actor} from "./Actor.sol";

/// @notice Rules 1 (conservation, isolation), 2 (newest wins) and 3 (run-off is never blocked), under random calls.
contract ConservationInvariant is Test {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    uint256 private constant RUNS = 24;
    uint256 private constant CALLS = 256;

    Actor private actor;
    bytes4[] private selectors;

    function setUp() public {
        actor = new Actor();
        // Twice what leads on, so that channels reach their end.
        selectors = [
            Actor.open.selector,
            Actor.deposit.selector,
            Actor.checkpoint.selector,
            Actor.checkpointMany.selector,
            Actor.withdraw.selector,
            Actor.dispute.selector,
            Actor.disputeFor.selector,
            Actor.settle.selector,
            Actor.settle.selector,
            Actor.close.selector,
            Actor.abandon.selector,
            Actor.claim.selector,
            Actor.pass.selector,
            Actor.pass.selector,
            Actor.oracleActs.selector,
            Actor.tokenActs.selector
        ];
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actor);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(actor), selectors);
    }

    /// forge-config: default.invariant.depth = 256
    function invariant_conservation_newestWins_isolation() public view {
        actor.check();
    }

    /// @dev A law over handlers that never get anywhere proves nothing: fixed courses of random calls, each in a fresh
    /// world, with how often each handler did something printed (`forge test -vv`) and a least demanded.
    function test_handlersGetSomewhere() public {
        uint256 world = vm.snapshotState();
        string[] memory names;
        uint256[] memory tried = new uint256[](selectors.length);
        uint256[] memory done = new uint256[](selectors.length);
        for (uint256 run; run < RUNS; ++run) {
            vm.revertToState(world);
            for (uint256 i; i < CALLS; ++i) {
                // Every handler once at first, so that all runs list them in one order.
                bytes32 word = keccak256(abi.encode(run, i));
                step(i < selectors.length ? i : uint256(word) % selectors.length, word);
            }
            actor.check();
            Actor.Tally[] memory tallies;
            (names, tallies) = actor.tallies();
            for (uint256 i; i < names.length; ++i) {
                tried[i] += tallies[i].tried;
                done[i] += tallies[i].done;
            }
        }
        for (uint256 i; i < names.length; ++i) {
            print(string.concat(names[i], ": ", vm.toString(done[i]), " of ", vm.toString(tried[i])));
            vm.assertGe(done[i] * 100, tried[i], names[i]); // one in a hundred
        }
    }

    /// @dev Calls a handler with arguments cut from `word`.
    function step(uint256 handler, bytes32 word) private {
        bytes4 selector = selectors[handler];
        (uint256 a, uint256 b) = (uint256(keccak256(abi.encode(word, "a"))), uint256(keccak256(abi.encode(word, "b"))));
        (uint64 near, bool flag) = (uint64(b), b >> 255 == 1);
        if (selector == Actor.open.selector) {
            actor.open(a, uint128(b), uint128(b >> 128), a >> 255 == 1);
        } else if (selector == Actor.deposit.selector) {
            actor.deposit(a, flag, uint128(b));
        } else if (selector == Actor.checkpoint.selector) {
            actor.checkpoint(a, near, b >> 64);
        } else if (selector == Actor.checkpointMany.selector) {
            actor.checkpointMany(a, near, b >> 64);
        } else if (selector == Actor.withdraw.selector) {
            actor.withdraw(a, near, b >> 64, uint128(a >> 8), uint128(a >> 128));
        } else if (selector == Actor.dispute.selector) {
            actor.dispute(a, near, b >> 64, flag);
        } else if (selector == Actor.disputeFor.selector) {
            actor.disputeFor(a, near, b >> 64, uint64(a >> 64));
        } else if (selector == Actor.settle.selector) {
            actor.settle(a);
        } else if (selector == Actor.close.selector) {
            actor.close(a, near, int128(int256(b >> 64)));
        } else if (selector == Actor.abandon.selector) {
            actor.abandon(a, flag);
        } else if (selector == Actor.claim.selector) {
            actor.claim(flag, a >> 255 == 1);
        } else if (selector == Actor.pass.selector) {
            actor.pass(uint32(b));
        } else if (selector == Actor.oracleActs.selector) {
            actor.oracleActs(uint8(b), uint8(b >> 8), uint8(b >> 16), a, uint8(b >> 24));
        } else {
            actor.tokenActs(uint8(b), uint8(b >> 8), a);
        }
    }
}
