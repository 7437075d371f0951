// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAdjudicator} from "../../src/interfaces/IAdjudicator.sol";
import {Errors} from "../../src/libraries/Errors.sol";
import {
    DisputeAuthorisation,
    Party,
    Permit,
    Phase,
    Portfolio,
    Signature,
    State,
    Terms,
    Withdrawal
} from "../../src/libraries/Types.sol";
import {ChannelTest} from "../utils/ChannelTest.sol";

/// @notice Attacks with what was signed and then used late, elsewhere, by somebody else, or not at all: withdrawals,
/// authorisations, permits, portfolios. One test each.
contract PromisesAttackTest is ChannelTest {
    int256 private constant D = int256(uint256(DEPOSIT));

    // ---- withdrawals

    /// @dev A takes out what it won and all it put in, then loses more than it has left: B gets what is there, no other
    /// channel pays for it, and A is not asked to give back.
    function test_attack_winningsWithdrawnBeyondTheDeposit() public {
        Terms memory other = defaultTerms();
        other.salt = "other";
        open(other, DEPOSIT, DEPOSIT);
        (Terms memory terms, bytes32 id) = open();
        withdraw(terms, 1, emptyPortfolio(-int128(60_000e6)), 160_000e6, 0);
        vm.assertEq(adjudicator.channel(id).contributionA, -60_000e6);
        // A Closing that would have A pay in again needs the clamp.
        fails(closeData(terms, 2, 0), abi.encodeWithSelector(Errors.ClosingNeedsClamp.selector, -60_000e6, 40_000e6));
        // Everything back to B and more: B gets the pot.
        Portfolio memory lost = emptyPortfolio(int128(DEPOSIT));
        dispute(partyB, terms, 3, lost);
        passDeadline(id);
        settle(terms, lost);
        assertClosed(id, 60_000e6 - D, -60_000e6 - D); // both still have their deposits in the other channel
        vm.assertEq(token.balanceOf(address(adjudicator)), 2 * DEPOSIT);
        close(other, 1, 0);
        vm.assertEq(gainOf(partyA), 60_000e6);
    }

    /// @dev The same money asked for twice: by the same Withdrawal, by a second one, and by its state as a checkpoint.
    function test_attack_withdrawnTwice() public {
        (Terms memory terms, bytes32 id) = open();
        Withdrawal memory withdrawal = withdrawalOf(terms, 1, emptyPortfolio(0), DEPOSIT, 0);
        bytes memory data = withdrawData(terms, withdrawal);
        send(partyA, data);
        fails(partyA, data, abi.encodeWithSelector(Errors.NonceNotNewer.selector, 1, 1));
        withdrawal.state.nonce = 2;
        fails(
            partyA,
            withdrawData(terms, withdrawal),
            abi.encodeWithSelector(Errors.AmountAboveCash.selector, Party.A, DEPOSIT, 0)
        );
        dispute(partyA, terms);
        passDeadline(id);
        settle(terms, emptyPortfolio(0));
        assertClosed(id, 0, 0);
    }

    /// @dev A Withdrawal is no State and no Closing: half of it cannot be had without the other half.
    function test_attack_withdrawalPassedForAState() public {
        (Terms memory terms,) = open();
        Withdrawal memory withdrawal = withdrawalOf(terms, 1, emptyPortfolio(5), 10, 0);
        (Signature memory a, Signature memory b) = both(harness.hashWithdrawal(withdrawal));
        bytes memory notA = abi.encodeWithSelector(Errors.InvalidSignature.selector, signerA);
        fails(checkpointData(terms, withdrawal.state, a, b), notA);
        fails(partyA, disputeData(terms, withdrawal.state, a, b), notA);
        (a, b) = both(harness.hashState(withdrawal.state));
        fails(withdrawData(terms, withdrawal, a, b), notA);
    }

    /// @dev B keeps a signed Withdrawal while states go on. Once a later one is recorded it is dead, in a dispute too,
    /// and after its hour in any case. Sent before that, it pays what was agreed, and the later state still counts it.
    function test_attack_withheldWithdrawal_thenLaterStates() public {
        (Terms memory terms, bytes32 id) = open();
        bytes memory data = withdrawData(terms, withdrawalOf(terms, 3, emptyPortfolio(0), 0, DEPOSIT));
        bytes memory newer = checkpointData(terms, 4, emptyPortfolio(-10));
        uint256 snapshot = vm.snapshotState();
        send(partyA, newer);
        fails(partyB, data, abi.encodeWithSelector(Errors.NonceNotNewer.selector, 4, 3));
        vm.revertToState(snapshot);

        snapshot = vm.snapshotState();
        dispute(partyA, terms);
        fails(partyB, data, wrongPhase(Phase.Disputed));
        passDeadline(id);
        fails(partyB, data, wrongPhase(Phase.RunOff));
        vm.revertToState(snapshot);

        snapshot = vm.snapshotState();
        vm.warp(START + 601);
        fails(partyB, data, abi.encodeWithSelector(Errors.Expired.selector, START + 600));
        vm.revertToState(snapshot);

        send(partyB, data);
        vm.assertTrue(abi.decode(send(partyA, newer), (bool)));
        dispute(partyA, terms);
        passDeadline(id);
        settle(terms, emptyPortfolio(-10));
        assertClosed(id, 0, 0); // B has nothing left of which to pay the 10
    }

    // ---- authorisations

    /// @dev Whoever finds an authorisation cannot use it, nor can its delegate elsewhere or later.
    function test_attack_leakedAuthorisation() public {
        (Terms memory terms, bytes32 id) = open();
        State memory state = stateOf(terms, 4, 0, onePosition());
        DisputeAuthorisation memory authorisation = authorisationOf(terms, 1);
        bytes memory data = disputeForData(terms, state, authorisation, SIGNER_A_KEY);
        address[3] memory thieves = [stranger, partyB, signerB];
        for (uint256 i; i < thieves.length; ++i) {
            fails(thieves[i], data, abi.encodeWithSelector(Errors.NotTheDelegate.selector, tower, thieves[i]));
        }
        // Made out to the thief, it is signed by nobody here.
        Signature memory stolen = compact(SIGNER_A_KEY, harness.hashDisputeAuthorisation(authorisation));
        (Signature memory a, Signature memory b) = both(harness.hashState(state));
        authorisation.delegate = stranger;
        vm.prank(stranger);
        (bool success, bytes memory why) = address(adjudicator)
            .call(abi.encodeCall(IAdjudicator.disputeFor, (terms, state, a, b, authorisation, stolen)));
        vm.assertFalse(success);
        vm.assertEq(bytes32(bytes4(why)), bytes32(Errors.NotASigner.selector));
        // In a channel between the same signers it is another id.
        Terms memory other = defaultTerms();
        other.salt = "other";
        bytes32 otherId = open(other, DEPOSIT, DEPOSIT);
        authorisation = authorisationOf(terms, 1);
        fails(
            tower,
            disputeForData(other, stateOf(other, 4, 0, onePosition()), authorisation, SIGNER_A_KEY),
            abi.encodeWithSelector(Errors.WrongChannel.selector, otherId, id)
        );
        assertPhase(id, Phase.Open);
        assertPhase(otherId, Phase.Open);
    }

    /// @dev The delegate keeps an old authorisation and an old state, to have its customer file stale and owe the
    /// penalty. `minNonce` refuses the state; past `validUntil` it refuses everything; and a state recorded meanwhile
    /// makes the filing a fresh one.
    function test_attack_outgrownAuthorisation() public {
        (Terms memory terms, bytes32 id) = open();
        DisputeAuthorisation memory authorisation = authorisationOf(terms, 20);
        bytes memory old = disputeForData(terms, stateOf(terms, 3, 0, emptyPortfolio(0)), authorisation, SIGNER_A_KEY);
        fails(tower, old, abi.encodeWithSelector(Errors.NonceBelowMinimum.selector, 20, 3));

        uint256 snapshot = vm.snapshotState();
        vm.warp(START + 1 hours + 1);
        fails(tower, old, abi.encodeWithSelector(Errors.Expired.selector, START + 1 hours));
        vm.revertToState(snapshot);

        snapshot = vm.snapshotState();
        checkpoint(terms, 60, emptyPortfolio(0));
        send(tower, old);
        vm.assertEq(adjudicator.channel(id).filedNonce, 60);
        passDeadline(id);
        settle(terms, emptyPortfolio(0));
        assertClosed(id, 0, 0);
        vm.revertToState(snapshot);

        // What the customer does answer for: a filing within its word that others outdo by more than `maxInFlight`.
        send(tower, disputeForData(terms, stateOf(terms, 20, 0, emptyPortfolio(0)), authorisation, SIGNER_A_KEY));
        checkpoint(terms, 37, emptyPortfolio(0));
        passDeadline(id);
        settle(terms, emptyPortfolio(0));
        assertClosed(id, -int256(uint256(terms.stalePenalty)), int256(uint256(terms.stalePenalty)));
    }

    /// @dev B's own authorisation cannot make A the filer, nor can A's signature on anything else.
    function test_attack_filingInTheOthersNameByDelegate() public {
        (Terms memory terms, bytes32 id) = open();
        State memory state = stateOf(terms, 4, 0, onePosition());
        DisputeAuthorisation memory authorisation = authorisationOf(terms, 0);
        (Signature memory a, Signature memory b) = both(harness.hashState(state));
        vm.prank(tower);
        (bool success, bytes memory why) = address(adjudicator)
            .call(
                abi.encodeCall(IAdjudicator.disputeFor, (terms, state, a, b, authorisation, a)) // A's, on the state
            );
        vm.assertFalse(success);
        vm.assertEq(bytes32(bytes4(why)), bytes32(Errors.NotASigner.selector));
        send(tower, disputeForData(terms, state, authorisation, SIGNER_B_KEY));
        vm.assertEq(uint256(adjudicator.channel(id).filer), uint256(Party.B));
    }

    // ---- permits

    /// @dev The permit is seen in the mempool and presented first, so that it fails in `openWithPermit`.
    function test_attack_permitFrontRun() public {
        vm.prank(partyA);
        token.approve(address(adjudicator), 0);
        Terms memory terms = defaultTerms();
        Permit memory permit = permitOf(PARTY_A_KEY, DEPOSIT);
        Permit memory none;
        bytes memory data = openWithPermitData(terms, DEPOSIT, DEPOSIT, permit, none);
        vm.prank(stranger);
        token.permit(partyA, address(adjudicator), permit.value, permit.deadline, permit.v, permit.r, permit.s);
        send(stranger, data);
        vm.assertEq(gainOf(partyA), -D);
        assertPhase(adjudicator.channelId(terms), Phase.Open);
    }

    /// @dev A permit gives the allowance, not the word: without both parties' Opening nothing is pulled.
    function test_attack_permitWithoutAnOpening() public {
        Terms memory terms = defaultTerms();
        terms.partyB = stranger;
        Permit memory none;
        fails(
            openWithPermitData(terms, DEPOSIT, 0, permitOf(PARTY_A_KEY, DEPOSIT), none),
            abi.encodeWithSelector(Errors.InvalidSignature.selector, stranger)
        );
        vm.assertEq(gainOf(partyA), 0);
    }

    /// @dev With any amount of gas the permit is presented, or the call reverts.
    function test_attack_permitStarvedOfGas() public {
        Terms memory terms = defaultTerms();
        Permit memory none;
        bytes memory data = openWithPermitData(terms, DEPOSIT, DEPOSIT, permitOf(PARTY_A_KEY, 2 * DEPOSIT), none);
        uint256 opened;
        uint256 refused;
        for (uint256 gas_ = 100_000; gas_ < 500_000; gas_ += 3_571) {
            uint256 snapshot = vm.snapshotState();
            (bool success, bytes memory why) = address(adjudicator).call{gas: gas_}(data);
            if (bytes4(why) == Errors.InsufficientGas.selector) ++refused;
            if (success) {
                ++opened;
                vm.assertEq(token.allowance(partyA, address(adjudicator)), DEPOSIT);
            }
            vm.revertToState(snapshot);
        }
        vm.assertTrue(opened > 10 && refused > 10);
    }

    // ---- portfolios

    /// @dev Neither shows what is recorded, or both have lost it: the money is not locked for ever (rule 3).
    function test_attack_portfolioNobodyShows() public {
        (Terms memory terms, bytes32 id) = open();
        checkpoint(terms, 1, onePosition()); // only its hash was ever on chain
        dispute(partyA, terms);
        uint256 from = abandonableFrom(terms, id);
        fails(abandonData(terms), wrongPhase(Phase.Disputed));
        passDeadline(id);
        fails(abandonData(terms), abi.encodeWithSelector(Errors.TooEarlyToAbandon.selector, from));
        // Guessing does not help: not even the empty portfolio.
        vm.prank(stranger);
        (bool success,) = address(adjudicator).call(settleData(terms, emptyPortfolio(0)));
        vm.assertFalse(success);
        vm.warp(from);
        send(stranger, abandonData(terms));
        assertClosed(id, 0, 0);
    }

    /// @dev The loser waits for `abandon` to wipe out a loss. Shown once, even before anything has expired, the
    /// portfolio must be settled; and the winner may still show it on the last day.
    function test_attack_portfolioShown_thenAbandon() public {
        (Terms memory terms, bytes32 id) = runOff(onePosition());
        uint256 snapshot = vm.snapshotState();
        vm.assertEq(settle(terms, onePosition()), 0);
        vm.warp(abandonableFrom(terms, id));
        fails(partyB, abandonData(terms), abi.encodeWithSelector(Errors.PortfolioShown.selector));
        setKnown(ETH, EXPIRY, 3_200e18);
        settle(terms, onePosition());
        assertClosed(id, 2_000e6, -2_000e6);
        vm.revertToState(snapshot);

        // On the last day, with an oracle long dead: the signed spot of 3,100 serves.
        vm.warp(abandonableFrom(terms, id) - 1);
        settle(terms, onePosition());
        assertClosed(id, 1_000e6, -1_000e6);
    }
}
