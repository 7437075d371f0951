// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Errors} from "../src/libraries/Errors.sol";
import {Events} from "../src/libraries/Events.sol";
import {
    ChannelView,
    DisputeAuthorisation,
    Party,
    Phase,
    Signature,
    SignedState,
    State,
    Terms
} from "../src/libraries/Types.sol";
import {ChannelTest} from "./utils/ChannelTest.sol";

/// @notice What a watchtower sends for its customers: `checkpointMany` and `disputeFor`.
contract DelegateTest is ChannelTest {
    // ---- checkpointMany

    function many(SignedState[] memory states) private returns (uint256) {
        return abi.decode(send(tower, checkpointManyData(states)), (uint256));
    }

    function channels(uint256 count) private returns (Terms[] memory terms) {
        terms = new Terms[](count);
        for (uint256 i; i < count; ++i) {
            terms[i] = defaultTerms();
            terms[i].salt = bytes32(i);
            open(terms[i], 1, 1);
        }
    }

    function test_checkpointMany_recordsAll() public {
        Terms[] memory terms = channels(3);
        SignedState[] memory states = new SignedState[](4);
        for (uint256 i; i < 3; ++i) {
            states[i] = signedState(terms[i], stateOf(terms[i], uint64(i) + 1, 0, onePosition()));
        }
        states[3] = signedState(terms[2], stateOf(terms[2], 9, 0, emptyPortfolio(1)));
        for (uint256 i; i < 4; ++i) {
            vm.expectEmit(address(adjudicator));
            bytes32 id = adjudicator.channelId(terms[i < 3 ? i : 2]);
            emit Events.Checkpointed(id, states[i].nonce, states[i].portfolioHash);
        }
        vm.assertEq(many(states), 4);
        vm.assertEq(adjudicator.channel(adjudicator.channelId(terms[2])).nonce, 9);
        vm.assertEq(many(states), 0); // none is newer
        vm.assertEq(many(new SignedState[](0)), 0);
    }

    /// @dev One of each thing that can be wrong, between two good ones.
    function test_checkpointMany_skipsFailures() public {
        Terms[] memory terms = channels(5);
        dispute(partyA, terms[2]);
        vm.warp(START + 1 days); // past the deadline of the third
        SignedState[] memory states = new SignedState[](9);
        for (uint256 i; i < states.length; ++i) {
            Terms memory t = terms[i == 8 ? 4 : 3];
            states[i] = signedState(t, stateOf(t, 7, 0, onePosition()));
        }
        states[0] = signedState(terms[0], stateOf(terms[0], 1, 0, onePosition()));
        states[1] = signedState(terms[1], stateOf(terms[1], 1, uint64(block.timestamp) - 1, onePosition())); // box
        states[2] = signedState(terms[2], stateOf(terms[2], 1, 0, onePosition())); // phase
        states[3].nonce = 0; // not newer
        (states[4].signatureA, states[4].signatureB) = (states[4].signatureB, states[4].signatureA);
        states[5].signatureB = states[5].signatureA;
        states[6].portfolioHash = "another";
        states[7].signerA = address(0); // another channel, never opened
        uint256 snapshot = vm.snapshotState();
        vm.assertEq(many(states), 2);
        for (uint256 i; i < 5; ++i) {
            uint64 nonce = adjudicator.channel(adjudicator.channelId(terms[i])).nonce;
            vm.assertEq(nonce, i == 0 ? 1 : i == 4 ? 7 : 0);
        }
        // What fails there fails alone too.
        vm.revertToState(snapshot);
        for (uint256 i; i < states.length; ++i) {
            SignedState[] memory one = new SignedState[](1);
            one[0] = states[i];
            vm.assertEq(many(one), i == 0 || i == 8 ? 1 : 0);
        }
    }

    // ---- disputeFor

    function test_disputeFor_filesForItsSigner() public {
        uint256[2] memory keys = [SIGNER_A_KEY, SIGNER_B_KEY];
        for (uint256 b; b < 2; ++b) {
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms, bytes32 id) = open();
            bytes memory data =
                disputeForData(terms, stateOf(terms, 4, 0, onePosition()), authorisationOf(terms, 4), keys[b]);
            Party filer = b == 0 ? Party.A : Party.B;
            vm.expectEmit(address(adjudicator));
            emit Events.Disputed(id, 1, filer, 4, harness.hashPortfolio(onePosition()), uint32(START + 1 days));
            vm.assertTrue(abi.decode(send(tower, data), (bool)));
            ChannelView memory view_ = adjudicator.channel(id);
            vm.assertEq(uint256(view_.phase), uint256(Phase.Disputed));
            vm.assertEq(uint256(view_.filer), uint256(filer));
            vm.assertEq(view_.filedNonce, 4);
            vm.revertToState(snapshot);
        }
    }

    /// @dev The recorded nonce counts as well as the given one; a state with nonce 0 asks for what is recorded.
    function test_disputeFor_onWhatIsRecorded() public {
        (Terms memory terms, bytes32 id) = open();
        checkpoint(terms, 5, onePosition());
        State memory none = stateOf(terms, 0, 0, emptyPortfolio(0));
        fails(
            tower,
            disputeForData(terms, none, authorisationOf(terms, 6), SIGNER_A_KEY),
            abi.encodeWithSelector(Errors.NonceBelowMinimum.selector, 6, 5)
        );
        assertPhase(id, Phase.Open);
        send(tower, disputeForData(terms, none, authorisationOf(terms, 5), SIGNER_A_KEY));
        vm.assertEq(adjudicator.channel(id).filedNonce, 5);
    }

    function test_disputeFor_inARunningWindow_actsAsCheckpoint() public {
        (Terms memory terms, bytes32 id) = open();
        dispute(partyB, terms);
        bytes memory data =
            disputeForData(terms, stateOf(terms, 4, 0, onePosition()), authorisationOf(terms, 4), SIGNER_A_KEY);
        vm.assertTrue(abi.decode(send(tower, data), (bool)));
        vm.assertFalse(abi.decode(send(tower, data), (bool)));
        ChannelView memory view_ = adjudicator.channel(id);
        vm.assertEq(uint256(view_.filer), uint256(Party.B));
        vm.assertEq(view_.nonce, 4);
        vm.assertEq(view_.filedNonce, 0);
        vm.assertEq(view_.deadline, START + 1 days);
        vm.assertEq(adjudicator.disputeCount(), 1);
    }

    function test_disputeFor_refusals() public {
        (Terms memory terms, bytes32 id) = open();
        State memory state = stateOf(terms, 4, 0, onePosition());
        DisputeAuthorisation memory authorisation = authorisationOf(terms, 5);
        bytes memory data = disputeForData(terms, state, authorisation, SIGNER_A_KEY);
        fails(tower, data, abi.encodeWithSelector(Errors.NonceBelowMinimum.selector, 5, 4));
        authorisation.minNonce = 4;
        data = disputeForData(terms, state, authorisation, SIGNER_A_KEY);
        fails(stranger, data, abi.encodeWithSelector(Errors.NotTheDelegate.selector, tower, stranger));
        fails(
            tower,
            disputeForData(terms, state, authorisation, PARTY_A_KEY), // parties sign no authorisations
            abi.encodeWithSelector(Errors.NotASigner.selector, partyA)
        );
        state.nonce = 0;
        uint64 until = authorisation.validUntil;
        authorisation.validUntil = 0;
        fails(
            tower,
            disputeForData(terms, state, authorisation, SIGNER_A_KEY),
            abi.encodeWithSelector(Errors.Expired.selector, 0)
        );
        vm.warp(until + 1);
        fails(tower, data, abi.encodeWithSelector(Errors.Expired.selector, until));
        vm.warp(until);
        authorisation.channelId = "another";
        fails(
            tower,
            disputeForData(terms, state, authorisation, SIGNER_A_KEY),
            abi.encodeWithSelector(Errors.WrongChannel.selector, id, bytes32("another"))
        );
        send(tower, data); // to the last second
    }

    /// @dev The rest is `dispute`'s: another channel's state, a forged one, one out of its box.
    function test_disputeFor_refusesWhatDisputeRefuses() public {
        (Terms memory terms, bytes32 id) = open();
        DisputeAuthorisation memory authorisation = authorisationOf(terms, 0);
        State memory state = stateOf(terms, 1, uint64(START) - 1, onePosition());
        fails(
            tower,
            disputeForData(terms, state, authorisation, SIGNER_A_KEY),
            abi.encodeWithSelector(Errors.Expired.selector, START - 1)
        );
        state.channelId = "another";
        fails(
            tower,
            disputeForData(terms, state, authorisation, SIGNER_A_KEY),
            abi.encodeWithSelector(Errors.WrongChannel.selector, id, bytes32("another"))
        );
        state = stateOf(terms, 1, 0, onePosition());
        (Signature memory a,) = both(harness.hashState(state));
        Signature memory word = compact(SIGNER_A_KEY, harness.hashDisputeAuthorisation(authorisation));
        fails(
            tower,
            abi.encodeCall(adjudicator.disputeFor, (terms, state, a, a, authorisation, word)),
            abi.encodeWithSelector(Errors.InvalidSignature.selector, signerB)
        );
        (Signature memory good, Signature memory goodB) = both(harness.hashState(state));
        Signature memory none;
        fails(
            tower,
            abi.encodeCall(adjudicator.disputeFor, (terms, state, good, goodB, authorisation, none)),
            abi.encodeWithSelector(Errors.NotASigner.selector, address(0))
        );
    }
}
