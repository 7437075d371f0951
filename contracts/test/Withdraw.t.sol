// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAdjudicator} from "../src/interfaces/IAdjudicator.sol";
import {Errors} from "../src/libraries/Errors.sol";
import {Events} from "../src/libraries/Events.sol";
import {ChannelView, Party, Phase, Portfolio, Signature, Terms, Withdrawal} from "../src/libraries/Types.sol";
import {ChannelTest} from "./utils/ChannelTest.sol";
import {HostileToken} from "./utils/HostileToken.sol";

/// @notice `withdraw` and `abandon`: the two ways money leaves a channel beside `settle` and `close`.
contract WithdrawTest is ChannelTest {
    int256 private constant D = int256(uint256(DEPOSIT));

    // ---- withdraw

    function test_withdraw_recordsAndPays() public {
        (Terms memory terms, bytes32 id) = open();
        bytes32 hash = harness.hashPortfolio(onePosition());
        bytes memory data = withdrawData(terms, withdrawalOf(terms, 3, onePosition(), 70, 50));
        vm.expectEmit(address(adjudicator));
        emit Events.Checkpointed(id, 3, hash);
        vm.expectEmit(address(adjudicator));
        emit Events.Withdrawn(id, 70, 50);
        send(stranger, data);
        ChannelView memory expected;
        expected.phase = Phase.Open;
        expected.nonce = 3;
        expected.portfolioHash = hash;
        expected.contributionA = int128(DEPOSIT) - 70;
        expected.contributionB = int128(DEPOSIT) - 50;
        vm.assertEq(keccak256(abi.encode(adjudicator.channel(id))), keccak256(abi.encode(expected)));
        vm.assertEq(gainOf(partyA), -D + 70);
        vm.assertEq(gainOf(partyB), -D + 50);
        vm.assertEq(token.balanceOf(address(adjudicator)), 2 * DEPOSIT - 120);
    }

    function test_withdraw_eachAtMostItsCash() public {
        (Terms memory terms, bytes32 id) = open();
        Portfolio memory portfolio = emptyPortfolio(60);
        uint128 cashA = DEPOSIT - 60;
        uint128 cashB = DEPOSIT + 60;
        fails(
            withdrawData(terms, withdrawalOf(terms, 1, portfolio, cashA + 1, 0)),
            abi.encodeWithSelector(Errors.AmountAboveCash.selector, Party.A, cashA + 1, cashA)
        );
        fails(
            withdrawData(terms, withdrawalOf(terms, 1, portfolio, cashA, cashB + 1)),
            abi.encodeWithSelector(Errors.AmountAboveCash.selector, Party.B, cashB + 1, cashB)
        );
        withdraw(terms, 1, portfolio, cashA, cashB); // all of it; the channel stays open
        assertPhase(id, Phase.Open);
        vm.assertEq(adjudicator.channel(id).contributionB, -60);
        dispute(partyA, terms);
        passDeadline(id);
        settle(terms, portfolio);
        assertClosed(id, -60, 60);
    }

    /// @dev Under a net beyond the clamp the loser has no cash and the winner no more than the pot.
    function test_withdraw_clampedCash() public {
        (Terms memory terms, bytes32 id) = open();
        Portfolio memory portfolio = emptyPortfolio(int128(DEPOSIT) + 9);
        fails(
            withdrawData(terms, withdrawalOf(terms, 1, portfolio, 1, 0)),
            abi.encodeWithSelector(Errors.AmountAboveCash.selector, Party.A, 1, 0)
        );
        fails(
            withdrawData(terms, withdrawalOf(terms, 1, portfolio, 0, 2 * DEPOSIT + 1)),
            abi.encodeWithSelector(Errors.AmountAboveCash.selector, Party.B, 2 * DEPOSIT + 1, 2 * DEPOSIT)
        );
        withdraw(terms, 1, portfolio, 0, 2 * DEPOSIT);
        (uint256 a, uint256 b) = adjudicator.cash(id, portfolio.netToB);
        vm.assertEq(a + b, 0);
    }

    function test_withdraw_refusals() public {
        (Terms memory terms, bytes32 id) = open();
        checkpoint(terms, 5, onePosition());
        fails(
            withdrawData(terms, withdrawalOf(terms, 5, onePosition(), 1, 1)),
            abi.encodeWithSelector(Errors.NonceNotNewer.selector, 5, 5)
        );
        Withdrawal memory withdrawal = withdrawalOf(terms, 6, onePosition(), 1, 1);
        withdrawal.state.validUntil = 0;
        fails(withdrawData(terms, withdrawal), abi.encodeWithSelector(Errors.Expired.selector, 0));
        withdrawal.state.validUntil = uint64(START) - 1;
        fails(withdrawData(terms, withdrawal), abi.encodeWithSelector(Errors.Expired.selector, START - 1));
        withdrawal.state.validUntil = uint64(START) + 3_601;
        fails(withdrawData(terms, withdrawal), abi.encodeWithSelector(Errors.ValidUntilTooFar.selector, START + 3_601));
        withdrawal = withdrawalOf(terms, 6, onePosition(), 1, 1);
        withdrawal.state.channelId = "another";
        fails(
            withdrawData(terms, withdrawal),
            abi.encodeWithSelector(Errors.WrongChannel.selector, id, bytes32("another"))
        );
        withdrawal.state.validUntil = uint64(START) + 3_600;
        withdrawal.state.channelId = id;
        send(stranger, withdrawData(terms, withdrawal));
    }

    function test_withdraw_refusesForgeries() public {
        (Terms memory terms,) = open();
        Withdrawal memory withdrawal = withdrawalOf(terms, 1, onePosition(), 10, 0);
        (Signature memory a, Signature memory b) = both(harness.hashWithdrawal(withdrawal));
        bytes memory notA = abi.encodeWithSelector(Errors.InvalidSignature.selector, signerA);
        fails(withdrawData(terms, withdrawal, b, a), notA);
        fails(withdrawData(terms, withdrawal, a, a), abi.encodeWithSelector(Errors.InvalidSignature.selector, signerB));
        withdrawal.amountA = 11;
        fails(withdrawData(terms, withdrawal, a, b), notA);
        (withdrawal.amountA, withdrawal.amountB) = (0, 10);
        fails(withdrawData(terms, withdrawal, a, b), notA);
        (withdrawal.amountA, withdrawal.amountB) = (10, 0);
        withdrawal.state.nonce = 2;
        fails(withdrawData(terms, withdrawal, a, b), notA);
        withdrawal.state.nonce = 1;
        withdrawal.state.portfolio.netToB = 1;
        fails(withdrawData(terms, withdrawal, a, b), notA);
        withdrawal.state.portfolio.netToB = 0;
        send(stranger, withdrawData(terms, withdrawal, a, b));
    }

    function test_withdraw_failedPushBecomesAClaim() public {
        HostileToken bad = new HostileToken();
        Terms memory terms = defaultTerms();
        terms.collateral = address(bad);
        bad.mint(partyA, DEPOSIT);
        vm.prank(partyA);
        bad.approve(address(adjudicator), DEPOSIT);
        open(terms, DEPOSIT, 0);
        bad.setFault(HostileToken.Fault.Reverts, partyA);
        withdraw(terms, 1, emptyPortfolio(5), 7, 5);
        vm.assertEq(adjudicator.claimable(address(bad), partyA), 7);
        vm.assertEq(bad.balanceOf(partyB), 5);
        close(terms, 2, 5);
        vm.assertEq(adjudicator.claimable(address(bad), partyA), DEPOSIT - 5);
        bad.setFault(HostileToken.Fault.None, address(0));
        vm.prank(partyA);
        vm.assertEq(adjudicator.claim(address(bad), partyA), DEPOSIT - 5);
    }

    /// @dev Rule 1: whatever is withdrawn in between, each ends with what one final payment would have given it, as long
    /// as both nets leave both parties cash.
    function testFuzz_withdraw_changesNoFinalResult(int128 net, int128 final_, uint128 a, uint128 b) public {
        (Terms memory terms, bytes32 id) = open();
        net = int128(bound(int256(net), -D, D));
        (uint256 cashA, uint256 cashB) = adjudicator.cash(id, net);
        (a, b) = (uint128(bound(a, 0, cashA)), uint128(bound(b, 0, cashB)));
        withdraw(terms, 1, emptyPortfolio(net), a, b);
        // What is left in the channel on either side of `net`: further the winner would be short of the loser's money.
        final_ = int128(bound(int256(final_), net - int256(cashB - b), net + int256(cashA - a)));
        close(terms, 2, final_);
        assertClosed(id, -int256(final_), final_);
    }

    // ---- abandon

    function test_abandon_paysAsIfNothingHadBeenTraded() public {
        (Terms memory terms, bytes32 id) = runOff(onePosition());
        send(stranger, depositData(terms, Party.B, 7));
        uint256 from = abandonableFrom(terms, id);
        vm.warp(from - 1);
        fails(abandonData(terms), abi.encodeWithSelector(Errors.TooEarlyToAbandon.selector, from));
        vm.warp(from);
        bytes memory data = abandonData(terms);
        vm.expectEmit(address(adjudicator));
        emit Events.Closed(id, DEPOSIT, DEPOSIT + 7);
        send(stranger, data);
        assertClosed(id, 0, 7);
        fails(data, wrongPhase(Phase.Closed));
    }

    function test_abandon_clamped_afterWinningsWereWithdrawn() public {
        (Terms memory terms, bytes32 id) = open();
        withdraw(terms, 1, emptyPortfolio(-int128(60e6)), DEPOSIT + 40e6, 0); // A's contribution is -40
        dispute(partyB, terms);
        vm.warp(abandonableFrom(terms, id));
        send(stranger, abandonData(terms));
        assertClosed(id, 40e6, -40e6); // the rest is B's, and A pays nothing back
    }

    /// @dev Rule 4: last in the waterfall, and only `close` waives it.
    function test_abandon_takesTheStalePenalty() public {
        (Terms memory terms, bytes32 id) = open();
        dispute(partyA, terms);
        checkpoint(terms, 17, onePosition());
        vm.warp(abandonableFrom(terms, id));
        send(stranger, abandonData(terms));
        assertClosed(id, -int256(uint256(terms.stalePenalty)), int256(uint256(terms.stalePenalty)));
    }

    function test_abandon_atNonce0() public {
        (Terms memory terms, bytes32 id) = open();
        dispute(partyA, terms);
        vm.warp(abandonableFrom(terms, id));
        send(stranger, abandonData(terms));
        assertClosed(id, 0, 0);
    }
}
