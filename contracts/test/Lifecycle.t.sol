// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Errors} from "../src/libraries/Errors.sol";
import {Events} from "../src/libraries/Events.sol";
import {
    ChannelView,
    Closing,
    Party,
    Permit,
    Phase,
    Signature,
    SignedState,
    State,
    Terms,
    Withdrawal
} from "../src/libraries/Types.sol";
import {ChannelTest} from "./utils/ChannelTest.sol";
import {HostileToken} from "./utils/HostileToken.sol";

/// @notice deposit, checkpoint, dispute, close, claim: every effect and every refusal. `settle` has a file of its own.
contract LifecycleTest is ChannelTest {
    int256 private constant D = int256(uint256(DEPOSIT));

    // ---- deposit

    function test_deposit_countsForTheParty_whoeverPays() public {
        (Terms memory terms, bytes32 id) = open();
        vm.expectEmit(address(adjudicator));
        emit Events.Deposited(id, Party.B, 7);
        send(stranger, depositData(terms, Party.B, 7));
        send(partyA, depositData(terms, Party.A, 5));
        ChannelView memory view_ = adjudicator.channel(id);
        vm.assertEq(view_.contributionA, D + 5);
        vm.assertEq(view_.contributionB, D + 7);
        vm.assertEq(gainOf(stranger), -7);
        vm.assertEq(gainOf(partyA), -D - 5);
    }

    function test_deposit_refusals() public {
        (Terms memory terms, bytes32 id) = open();
        fails(depositData(terms, Party.None, 1), abi.encodeWithSelector(Errors.InvalidParty.selector));
        fails(depositData(terms, Party.A, 0), abi.encodeWithSelector(Errors.ZeroAmount.selector));
        fails(
            depositData(terms, Party.A, uint128(2 ** 119 - 2 * DEPOSIT)),
            abi.encodeWithSelector(Errors.PotTooLarge.selector)
        );
        fails(depositData(terms, Party.A, type(uint128).max), abi.encodeWithSelector(Errors.PotTooLarge.selector));
        fails(
            address(0xbad),
            depositData(terms, Party.A, 1),
            abi.encodeWithSelector(Errors.TransferFailed.selector, address(token))
        );
        vm.assertEq(adjudicator.channel(id).contributionA, D);
    }

    /// @dev The top-up lock of a margin call, for every second of it.
    function test_deposit_notAfterTheCure_untilTheCallIsDecided() public {
        (Terms memory terms, bytes32 id) = runOff(onePosition());
        uint256 cureEnd = block.timestamp + 1 hours;
        setCureEnd(id, Party.A, cureEnd);
        send(stranger, depositData(terms, Party.A, 1));
        vm.warp(cureEnd);
        fails(depositData(terms, Party.A, 1), abi.encodeWithSelector(Errors.CureEnded.selector, cureEnd));
        send(stranger, depositData(terms, Party.B, 1)); // the other is free
        vm.warp(cureEnd + terms.settlementGrace - 1);
        fails(depositData(terms, Party.A, 1), abi.encodeWithSelector(Errors.CureEnded.selector, cureEnd));
        vm.warp(cureEnd + terms.settlementGrace); // lapsed
        send(stranger, depositData(terms, Party.A, 1));
    }

    // ---- checkpoint

    function test_checkpoint_recordsTheNewer() public {
        (Terms memory terms, bytes32 id) = open();
        bytes32 hash = harness.hashPortfolio(onePosition());
        bytes memory data = checkpointData(terms, 3, onePosition());
        vm.expectEmit(address(adjudicator));
        emit Events.Checkpointed(id, 3, hash);
        vm.assertTrue(abi.decode(send(stranger, data), (bool)));
        ChannelView memory view_ = adjudicator.channel(id);
        vm.assertEq(view_.nonce, 3);
        vm.assertEq(view_.portfolioHash, hash);
        vm.assertEq(uint256(view_.phase), uint256(Phase.Open));
    }

    /// @dev Rule 2, and cheap: false before any signature is looked at.
    function test_checkpoint_falseUnlessNewer() public {
        (Terms memory terms, bytes32 id) = open();
        checkpoint(terms, 3, onePosition());
        Signature memory none;
        for (uint64 nonce; nonce <= 3; ++nonce) {
            bytes memory data = checkpointData(terms, stateOf(terms, nonce, 0, emptyPortfolio(0)), none, none);
            vm.assertFalse(abi.decode(send(stranger, data), (bool)));
        }
        vm.assertEq(adjudicator.channel(id).portfolioHash, harness.hashPortfolio(onePosition()));
        vm.assertTrue(checkpoint(terms, type(uint64).max, emptyPortfolio(0)));
    }

    function test_checkpoint_inItsBoxOnly() public {
        (Terms memory terms,) = open();
        State memory state = stateOf(terms, 1, uint64(START) + 120, onePosition());
        vm.warp(START + 121);
        vm.assertFalse(checkpoint(terms, state));
        vm.warp(START + 120);
        vm.assertTrue(checkpoint(terms, state));
    }

    function test_checkpoint_falseInOtherPhases() public {
        Terms memory terms = defaultTerms();
        vm.assertFalse(checkpoint(terms, 1, onePosition())); // None
        bytes32 id;
        (terms, id) = open();
        dispute(partyA, terms);
        vm.assertTrue(checkpoint(terms, 1, onePosition())); // Disputed
        vm.warp(adjudicator.channel(id).deadline - 1);
        vm.assertTrue(checkpoint(terms, 2, onePosition()));
        vm.warp(adjudicator.channel(id).deadline);
        vm.assertFalse(checkpoint(terms, 3, onePosition())); // past the deadline
        settle(terms, onePosition());
        vm.assertFalse(checkpoint(terms, 3, onePosition())); // RunOff, stored
        close(terms, 3, 0);
        vm.assertFalse(checkpoint(terms, 4, onePosition())); // Closed
    }

    function test_checkpoint_refusesForgeries() public {
        (Terms memory terms,) = open();
        State memory state = stateOf(terms, 1, 0, onePosition());
        (Signature memory a, Signature memory b) = both(harness.hashState(state));
        bytes memory notA = abi.encodeWithSelector(Errors.InvalidSignature.selector, signerA);
        bytes memory notB = abi.encodeWithSelector(Errors.InvalidSignature.selector, signerB);
        Signature memory none;
        fails(checkpointData(terms, state, b, a), notA);
        fails(checkpointData(terms, state, a, a), notB);
        fails(checkpointData(terms, state, a, none), notB);
        fails(checkpointData(terms, state, none, b), notA);
        state.nonce = 2;
        fails(checkpointData(terms, state, a, b), notA);
        state.nonce = 1;
        state.validUntil = uint64(START) + 120;
        fails(checkpointData(terms, state, a, b), notA);
        state.validUntil = 0;
        state.portfolio.netToB = 1;
        fails(checkpointData(terms, state, a, b), notA);
        // A party's own key signs no states.
        state = stateOf(terms, 1, 0, onePosition());
        fails(checkpointData(terms, state, compact(PARTY_A_KEY, harness.hashState(state)), b), notA);
    }

    function testFuzz_checkpoint_onlyWhatBothSigned(uint256 bit) public {
        (Terms memory terms,) = open();
        bytes memory data = checkpointData(terms, 1, onePosition());
        // Flip any one bit of what was signed or of a signature; not the selector, nor the padding of a narrow word.
        bit = bound(bit, 32, data.length * 8 - 1);
        uint256 word = (bit / 8 - 4) / 32;
        uint256 place = (bit / 8 - 4) % 32;
        if (word <= 1) vm.assume(place >= 12);
        if (word == 3 || word == 4) vm.assume(place >= 24);
        data[bit / 8] = bytes1(uint8(data[bit / 8]) ^ uint8(1 << bit % 8));
        vm.prank(stranger);
        (bool success, bytes memory result) = address(adjudicator).call(data);
        vm.assertTrue(!success || !abi.decode(result, (bool)));
    }

    // ---- dispute

    function test_dispute_onNothing() public {
        (Terms memory terms, bytes32 id) = open();
        vm.expectEmit(address(adjudicator));
        emit Events.Disputed(id, 1, Party.A, 0, 0, uint32(START + 1 days));
        dispute(partyA, terms);
        ChannelView memory view_ = adjudicator.channel(id);
        vm.assertEq(uint256(view_.phase), uint256(Phase.Disputed));
        vm.assertEq(uint256(view_.filer), uint256(Party.A));
        vm.assertEq(view_.deadline, START + 1 days);
        vm.assertEq(adjudicator.disputeCount(), 1);
        assertPhase(id, Phase.Disputed);
        vm.warp(START + 1 days);
        assertPhase(id, Phase.RunOff);
    }

    function test_dispute_whoFiles() public {
        address[4] memory members = [partyA, signerA, partyB, signerB];
        for (uint256 i; i < 4; ++i) {
            Terms memory terms = defaultTerms();
            terms.salt = bytes32(i);
            bytes32 id = open(terms, 1, 1);
            bytes memory notMember = abi.encodeWithSelector(Errors.NotAMember.selector, stranger);
            fails(disputeData(terms), notMember);
            fails(disputeData(terms, stateOf(terms, 1, 0, emptyPortfolio(0))), notMember);
            dispute(members[i], terms);
            vm.assertEq(uint256(adjudicator.channel(id).filer), uint256(i < 2 ? Party.A : Party.B));
            vm.assertEq(adjudicator.disputeCount(), i + 1);
            fails(disputeData(terms), notMember); // in the window too
        }
    }

    function test_dispute_recordsANewerState() public {
        (Terms memory terms, bytes32 id) = open();
        checkpoint(terms, 1, emptyPortfolio(0));
        bytes32 hash = harness.hashPortfolio(onePosition());
        bytes memory data = disputeData(terms, stateOf(terms, 2, 0, onePosition()));
        vm.expectEmit(address(adjudicator));
        emit Events.Disputed(id, 1, Party.B, 2, hash, uint32(START + 1 days));
        vm.assertTrue(abi.decode(send(signerB, data), (bool)));
        ChannelView memory view_ = adjudicator.channel(id);
        vm.assertEq(view_.nonce, 2);
        vm.assertEq(view_.filedNonce, 2);
        vm.assertEq(view_.portfolioHash, hash);
    }

    function test_dispute_ignoresAnOlderState_unread() public {
        (Terms memory terms, bytes32 id) = open();
        checkpoint(terms, 5, onePosition());
        Signature memory none;
        bytes memory data = disputeData(terms, stateOf(terms, 5, 1, emptyPortfolio(9)), none, none);
        vm.assertFalse(abi.decode(send(partyA, data), (bool)));
        ChannelView memory view_ = adjudicator.channel(id);
        vm.assertEq(uint256(view_.phase), uint256(Phase.Disputed));
        vm.assertEq(view_.nonce, 5);
        vm.assertEq(view_.filedNonce, 5);
        vm.assertEq(view_.portfolioHash, harness.hashPortfolio(onePosition()));
    }

    function test_dispute_refusesForgeriesAndOtherChannels() public {
        (Terms memory terms, bytes32 id) = open();
        State memory state = stateOf(terms, 1, 0, onePosition());
        (Signature memory a, Signature memory b) = both(harness.hashState(state));
        fails(
            partyA, disputeData(terms, state, b, a), abi.encodeWithSelector(Errors.InvalidSignature.selector, signerA)
        );
        fails(
            partyA, disputeData(terms, state, a, a), abi.encodeWithSelector(Errors.InvalidSignature.selector, signerB)
        );
        state.channelId = "another";
        fails(
            partyA,
            disputeData(terms, state, a, b),
            abi.encodeWithSelector(Errors.WrongChannel.selector, id, bytes32("another"))
        );
    }

    function test_dispute_inARunningWindow_actsAsCheckpoint() public {
        (Terms memory terms, bytes32 id) = open();
        dispute(partyA, terms, 1, emptyPortfolio(0));
        vm.warp(START + 1 hours);
        bytes32 hash = harness.hashPortfolio(onePosition());
        bytes memory data = disputeData(terms, stateOf(terms, 4, 0, onePosition()));
        vm.expectEmit(address(adjudicator));
        emit Events.Checkpointed(id, 4, hash);
        vm.assertTrue(abi.decode(send(partyB, data), (bool)));
        dispute(partyB, terms); // nothing
        vm.assertFalse(dispute(partyB, terms, 4, emptyPortfolio(0)));
        State memory boxed = stateOf(terms, 5, uint64(START), onePosition());
        vm.assertFalse(dispute(partyB, terms, boxed));
        ChannelView memory view_ = adjudicator.channel(id);
        vm.assertEq(view_.nonce, 4);
        vm.assertEq(view_.filedNonce, 1);
        vm.assertEq(uint256(view_.filer), uint256(Party.A));
        vm.assertEq(view_.deadline, START + 1 days); // never extended
        vm.assertEq(adjudicator.disputeCount(), 1);
    }

    function test_dispute_beyondTheYear2106() public {
        vm.warp(uint256(type(uint32).max) - 1 days + 1);
        (Terms memory terms,) = open();
        fails(partyA, disputeData(terms), abi.encodeWithSelector(Errors.TimeOverflow.selector));
    }

    // ---- close

    function test_close_paysByCash() public {
        (Terms memory terms, bytes32 id) = open();
        checkpoint(terms, 1, onePosition());
        bytes memory data = closeData(terms, 2, 1_000e6);
        vm.expectEmit(address(adjudicator));
        emit Events.Closed(id, DEPOSIT - 1_000e6, DEPOSIT + 1_000e6);
        send(stranger, data);
        assertClosed(id, -1_000e6, 1_000e6);
        vm.assertEq(token.balanceOf(address(adjudicator)), 0);
    }

    function test_close_toTheLastCoin_butNoFurther() public {
        (Terms memory terms, bytes32 id) = open();
        uint256 snapshot = vm.snapshotState();
        close(terms, 1, int128(DEPOSIT));
        assertClosed(id, -D, D);
        vm.revertToState(snapshot);
        snapshot = vm.snapshotState();
        close(terms, 1, -int128(DEPOSIT));
        assertClosed(id, D, -D);
        vm.revertToState(snapshot);
        fails(
            closeData(terms, 1, int128(DEPOSIT) + 1),
            abi.encodeWithSelector(Errors.ClosingNeedsClamp.selector, -1, 2 * DEPOSIT)
        );
        fails(
            closeData(terms, 1, -int128(DEPOSIT) - 1),
            abi.encodeWithSelector(Errors.ClosingNeedsClamp.selector, 2 * D + 1, 2 * DEPOSIT)
        );
    }

    function test_close_inTheWindowAndInRunOff_waivesThePenalty() public {
        (Terms memory terms, bytes32 id) = open();
        dispute(partyA, terms);
        checkpoint(terms, 100, onePosition()); // A owes the stale penalty
        uint256 snapshot = vm.snapshotState();
        close(terms, 101, 0);
        assertClosed(id, 0, 0);
        vm.revertToState(snapshot);
        passDeadline(id);
        snapshot = vm.snapshotState();
        close(terms, 101, 0); // effective run-off
        assertClosed(id, 0, 0);
        vm.revertToState(snapshot);
        settle(terms, onePosition());
        close(terms, 101, 0); // stored run-off
        assertClosed(id, 0, 0);
    }

    function test_close_refusals() public {
        (Terms memory terms, bytes32 id) = open();
        checkpoint(terms, 5, onePosition());
        fails(closeData(terms, 5, 0), abi.encodeWithSelector(Errors.NonceNotNewer.selector, 5, 5));
        Closing memory closing = closingOf(terms, 6, 0);
        closing.validUntil = 0;
        fails(closeData(terms, closing), abi.encodeWithSelector(Errors.Expired.selector, 0));
        closing.validUntil = uint64(START) - 1;
        fails(closeData(terms, closing), abi.encodeWithSelector(Errors.Expired.selector, START - 1));
        closing.validUntil = uint64(START) + 3_601;
        fails(closeData(terms, closing), abi.encodeWithSelector(Errors.ValidUntilTooFar.selector, START + 3_601));
        closing = closingOf(terms, 6, 0);
        closing.channelId = "another";
        fails(closeData(terms, closing), abi.encodeWithSelector(Errors.WrongChannel.selector, id, bytes32("another")));
        closing = closingOf(terms, 6, 0);
        (Signature memory a, Signature memory b) = both(harness.hashClosing(closing));
        closing.netToB = 1;
        fails(
            abi.encodeCall(adjudicator.close, (terms, closing, a, b)),
            abi.encodeWithSelector(Errors.InvalidSignature.selector, signerA)
        );
        closing.netToB = 0;
        fails(
            abi.encodeCall(adjudicator.close, (terms, closing, a, a)),
            abi.encodeWithSelector(Errors.InvalidSignature.selector, signerB)
        );
        closing.validUntil = uint64(START) + 3_600;
        send(stranger, closeData(terms, closing));
    }

    // ---- claim

    function test_claim_collectsAFailedPayout_anywhere() public {
        HostileToken bad = new HostileToken();
        Terms memory terms = defaultTerms();
        terms.collateral = address(bad);
        bad.mint(partyA, DEPOSIT);
        bad.mint(partyB, DEPOSIT);
        vm.prank(partyA);
        bad.approve(address(adjudicator), DEPOSIT);
        vm.prank(partyB);
        bad.approve(address(adjudicator), DEPOSIT);
        bytes32 id = open(terms, DEPOSIT, DEPOSIT);
        bad.setFault(HostileToken.Fault.Reverts, partyA); // a blocklist
        bytes memory data = closeData(terms, 1, 0);
        vm.expectEmit(address(adjudicator));
        emit Events.PayoutDeferred(address(bad), partyA, DEPOSIT);
        send(stranger, data);

        assertPhase(id, Phase.Closed);
        vm.assertEq(bad.balanceOf(partyB), DEPOSIT);
        vm.assertEq(adjudicator.claimable(address(bad), partyA), DEPOSIT);
        vm.expectRevert(abi.encodeWithSelector(Errors.TransferFailed.selector, address(bad)));
        vm.prank(partyA);
        adjudicator.claim(address(bad), partyA); // still blocked
        vm.expectRevert(Errors.NothingToClaim.selector);
        vm.prank(partyB);
        adjudicator.claim(address(bad), partyB);
        vm.expectRevert(Errors.ZeroAddress.selector);
        vm.prank(partyA);
        adjudicator.claim(address(bad), address(0));

        vm.expectEmit(address(adjudicator));
        emit Events.Claimed(address(bad), partyA, stranger, DEPOSIT);
        vm.prank(partyA);
        vm.assertEq(adjudicator.claim(address(bad), stranger), DEPOSIT);
        vm.assertEq(bad.balanceOf(stranger), DEPOSIT);
        vm.assertEq(adjudicator.claimable(address(bad), partyA), 0);
        vm.expectRevert(Errors.NothingToClaim.selector);
        vm.prank(partyA);
        adjudicator.claim(address(bad), stranger);
    }

    // ---- the table of phases in IAdjudicator: every pair

    function test_everyCallInEveryPhase() public {
        for (uint256 phase; phase <= uint256(Phase.Closed); ++phase) {
            uint256 snapshot = vm.snapshotState();
            everyCallIn(Phase(phase));
            vm.revertToState(snapshot);
        }
        // Run-off by the clock alone, with Disputed still stored.
        (Terms memory terms, bytes32 id) = open();
        dispute(partyA, terms, 1, onePosition());
        passDeadline(id);
        tryAll(terms, Phase.RunOff);
        // Late in it, with the portfolio never shown.
        vm.warp(abandonableFrom(terms, id));
        tryAll(terms, Phase.RunOff);
        send(stranger, abandonData(terms));
    }

    function everyCallIn(Phase phase) private {
        Terms memory terms = defaultTerms();
        bytes32 id = adjudicator.channelId(terms);
        if (phase != Phase.None) open(terms, DEPOSIT, DEPOSIT);
        if (phase >= Phase.Disputed) dispute(partyA, terms, 1, onePosition());
        if (phase >= Phase.RunOff) {
            passDeadline(id);
            settle(terms, onePosition());
        }
        if (phase == Phase.Closed) close(terms, 2, 0);
        vm.assertEq(uint256(adjudicator.channel(id).phase), uint256(phase));
        tryAll(terms, phase);
    }

    function tryAll(Terms memory terms, Phase phase) private {
        bool live = phase != Phase.None && phase != Phase.Closed;
        bool takesStates = phase == Phase.Open || phase == Phase.Disputed;
        bytes memory exists = abi.encodeWithSelector(Errors.ChannelExists.selector, adjudicator.channelId(terms));
        expect(stranger, openData(terms, DEPOSIT, DEPOSIT), phase == Phase.None, exists);
        Permit memory none;
        expect(stranger, openWithPermitData(terms, DEPOSIT, DEPOSIT, none, none), phase == Phase.None, exists);
        expect(stranger, depositData(terms, Party.A, 1), live, wrongPhase(phase));
        State memory state = stateOf(terms, 9, 0, onePosition());
        uint256 snapshot = vm.snapshotState();
        vm.assertEq(checkpoint(terms, 9, onePosition()), takesStates);
        vm.revertToState(snapshot);
        SignedState[] memory states = new SignedState[](1);
        states[0] = signedState(terms, state);
        vm.assertEq(abi.decode(send(stranger, checkpointManyData(states)), (uint256)), takesStates ? 1 : 0);
        vm.revertToState(snapshot);
        Withdrawal memory withdrawal = withdrawalOf(terms, 9, onePosition(), 1, 1);
        expect(stranger, withdrawData(terms, withdrawal), phase == Phase.Open, wrongPhase(phase));
        expect(partyB, disputeData(terms), takesStates, wrongPhase(phase));
        expect(partyB, disputeData(terms, state), takesStates, wrongPhase(phase));
        bytes memory delegated = disputeForData(terms, state, authorisationOf(terms, 9), SIGNER_B_KEY);
        expect(tower, delegated, takesStates, wrongPhase(phase));
        expect(stranger, settleData(terms, onePosition()), phase == Phase.RunOff, wrongPhase(phase));
        expectMargin(terms, phase);
        expect(stranger, closeData(terms, 9, 0), live, wrongPhase(phase));
        expectAbandon(terms, phase);
    }

    /// @dev The three calls of margin and run-off, at a price that leaves B short and A with more than it must leave in.
    function expectMargin(Terms memory terms, Phase phase) private {
        uint256 snapshot = vm.snapshotState();
        setSpot(ETH, 20_000e18);
        setKnown(ETH, EXPIRY, 20_000e18); // counts once it has expired
        bool callable = phase == Phase.Disputed || phase == Phase.RunOff;
        expect(stranger, callMarginData(terms, onePosition(), Party.B), callable, wrongPhase(phase));
        bool runsOff = phase == Phase.RunOff;
        bool unsettled = runsOff && block.timestamp >= EXPIRY;
        bytes memory first = abi.encodeWithSelector(Errors.NotSettled.selector, ETH, EXPIRY);
        expect(partyA, releaseData(terms, onePosition()), runsOff && !unsettled, unsettled ? first : wrongPhase(phase));
        bytes memory data = closeOutData(terms, onePosition(), Party.B);
        fails(data, runsOff ? abi.encodeWithSelector(Errors.NoCall.selector, Party.B) : wrongPhase(phase));
        if (callable) {
            uint32 cureEnd = callMargin(terms, onePosition(), Party.B);
            setKnown(ETH, cureEnd, 20_000e18);
            bytes memory early = abi.encodeWithSelector(Errors.TooEarlyToCloseOut.selector, cureEnd);
            fails(data, runsOff ? early : wrongPhase(phase));
            vm.warp(cureEnd); // past the deadline, too
            expect(stranger, data, true, "");
        }
        vm.revertToState(snapshot);
    }

    function expectAbandon(Terms memory terms, Phase phase) private {
        bytes32 id = adjudicator.channelId(terms);
        bytes memory data = abandonData(terms);
        if (phase != Phase.RunOff) return fails(data, wrongPhase(phase));
        if (adjudicator.channel(id).flags != 0) {
            return fails(data, abi.encodeWithSelector(Errors.PortfolioShown.selector));
        }
        uint256 from = abandonableFrom(terms, id);
        bytes memory early = abi.encodeWithSelector(Errors.TooEarlyToAbandon.selector, from);
        expect(stranger, data, block.timestamp >= from, early);
    }

    function expect(address sender, bytes memory data, bool allowed, bytes memory why) private {
        uint256 snapshot = vm.snapshotState();
        if (allowed) send(sender, data);
        else fails(sender, data, why);
        vm.revertToState(snapshot);
    }
}
