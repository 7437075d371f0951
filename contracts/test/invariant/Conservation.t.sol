// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "../utils/Test.sol";
import {Actor} from "./Actor.sol";

/// @notice Laws that hold whatever is called in whatever order, by the numbers of SECURITY.md: conservation and isolation
/// (I-1), newest wins (I-2), bounded time (I-3), no honest penalty (I-4), shortfall and close-out (I-6).
/// @dev One campaign looks at all of them, since forge runs one anew for each invariant function; the law that was
/// broken is named in the failure.
contract ConservationInvariant is Test {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    struct Handler {
        bytes4 selector;
        string name;
        /// Least part that must succeed, in percent; 0 = it is no call of the Adjudicator.
        uint256 least;
    }

    uint256 private constant RUNS = 8;
    uint256 private constant CALLS = 256;

    Actor private actor;
    Handler[] private handlers;

    function setUp() public {
        actor = new Actor();
        add(Actor.open.selector, "open", 50);
        add(Actor.deposit.selector, "deposit", 50);
        add(Actor.checkpoint.selector, "checkpoint", 50);
        add(Actor.checkpointMany.selector, "checkpointMany", 50);
        add(Actor.withdraw.selector, "withdraw", 50);
        add(Actor.dispute.selector, "dispute", 50);
        add(Actor.disputeFor.selector, "disputeFor", 50);
        add(Actor.callMargin.selector, "callMargin", 50);
        add(Actor.closeOut.selector, "closeOut", 50);
        add(Actor.release.selector, "release", 50);
        add(Actor.settle.selector, "settle", 50);
        add(Actor.close.selector, "close", 50);
        add(Actor.abandon.selector, "abandon", 50);
        add(Actor.claim.selector, "claim", 50);
        add(Actor.agree.selector, "agree", 0);
        add(Actor.pass.selector, "pass", 0);
        add(Actor.oracleActs.selector, "oracleActs", 0);
        add(Actor.tokenActs.selector, "tokenActs", 0);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actor);
    }

    /// @dev Twice what a longer life has more of.
    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[5] memory twice = [
            Actor.callMargin.selector,
            Actor.release.selector,
            Actor.settle.selector,
            Actor.agree.selector,
            Actor.pass.selector
        ];
        bytes4[] memory selectors = new bytes4[](handlers.length + twice.length);
        for (uint256 i; i < selectors.length; ++i) {
            selectors[i] = i < handlers.length ? handlers[i].selector : twice[i - handlers.length];
        }
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(actor), selectors);
    }

    function invariant_conservation_newestWins_boundedTime_isolation_noHonestPenalty() public view {
        actor.laws();
    }

    /// @dev At the end of each run everybody can still leave with what is theirs.
    function afterInvariant() public {
        actor.waysOut();
    }

    /// @dev A law over handlers that never get anywhere proves nothing: fixed courses of random calls, each in a fresh
    /// world, with how often each handler did something printed (`forge test -vv`) and a least demanded.
    function test_handlersGetSomewhere() public {
        uint256 world = vm.snapshotState();
        bytes4[] memory selectors = targetSelectors()[0].selectors;
        uint256[] memory tried = new uint256[](handlers.length);
        uint256[] memory done = new uint256[](handlers.length);
        for (uint256 run; run < RUNS; ++run) {
            vm.revertToState(world);
            for (uint256 i; i < CALLS; ++i) {
                uint256 word = uint256(keccak256(abi.encode(run, i)));
                act(selectors[word % selectors.length], word);
            }
            actor.laws();
            for (uint256 i; i < handlers.length; ++i) {
                Actor.Tally memory tally = actor.tallyOf(handlers[i].selector);
                tried[i] += tally.tried;
                done[i] += tally.done;
            }
        }
        for (uint256 i; i < handlers.length; ++i) {
            Handler memory h = handlers[i];
            if (h.least == 0) continue;
            print(string.concat(h.name, ": ", vm.toString(done[i]), " of ", vm.toString(tried[i])));
            vm.assertGe(done[i] * 100, tried[i] * h.least, h.name);
        }
    }

    function add(bytes4 selector, string memory name, uint256 least) private {
        handlers.push(Handler(selector, name, least));
    }

    function act(bytes4 selector, uint256 seed) private {
        (bool success, bytes memory why) = address(actor).call(abi.encodeWithSelector(selector, seed));
        if (success) return;
        assembly {
            revert(add(why, 32), mload(why))
        }
    }
}
