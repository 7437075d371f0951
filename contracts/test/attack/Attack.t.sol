// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Adjudicator} from "../../src/Adjudicator.sol";
import {IAdjudicator} from "../../src/interfaces/IAdjudicator.sol";
import {Status} from "../../src/interfaces/IOracle.sol";
import {Errors} from "../../src/libraries/Errors.sol";
import {
    ChannelView,
    Closing,
    Party,
    Permit,
    Phase,
    Portfolio,
    Position,
    Signature,
    SignedState,
    State,
    Terms
} from "../../src/libraries/Types.sol";
import {ChannelTest} from "../utils/ChannelTest.sol";
import {FakeOracle} from "../utils/FakeOracle.sol";
import {HostileToken} from "../utils/HostileToken.sol";

/// @notice The attacks of the design that concern opening, states, disputes, run-off and payouts, one test each.
contract AttackTest is ChannelTest {
    int256 private constant D = int256(uint256(DEPOSIT));

    // ---- replay and forgery

    function test_attack_openAgainAfterClosing() public {
        Terms memory terms = defaultTerms();
        bytes memory data = openData(terms, DEPOSIT, DEPOSIT);
        bytes32 id = abi.decode(send(stranger, data), (bytes32));
        bytes memory exists = abi.encodeWithSelector(Errors.ChannelExists.selector, id);
        fails(data, exists);
        close(terms, 1, 0);
        fails(data, exists); // the same signatures
        fails(openData(terms, 1, 1), exists); // fresh ones
        assertClosed(id, 0, 0);
    }

    function test_attack_replayOnASecondAdjudicator() public {
        (Terms memory terms,) = open();
        bytes memory opening = openData(terms, DEPOSIT, DEPOSIT);
        bytes memory recorded = checkpointData(terms, 1, onePosition());
        bytes memory closing = closeData(terms, 2, int128(DEPOSIT));

        Adjudicator second = new Adjudicator(riskEngine);
        vm.prank(partyA);
        token.approve(address(second), type(uint256).max);
        vm.prank(partyB);
        token.approve(address(second), type(uint256).max);
        Adjudicator first = adjudicator;
        adjudicator = second;
        fails(opening, abi.encodeWithSelector(Errors.InvalidSignature.selector, partyA));
        bytes32 id = open(terms, DEPOSIT, DEPOSIT); // the same terms, signed for the second
        vm.assertTrue(id != first.channelId(terms));
        fails(recorded, abi.encodeWithSelector(Errors.InvalidSignature.selector, signerA));
        fails(closing, abi.encodeWithSelector(Errors.WrongChannel.selector, id, first.channelId(terms)));
    }

    /// @dev A fork keeps ids and money, but signatures made for the other chain are worth nothing.
    function test_attack_replayOnAnotherChainId() public {
        Terms memory other = defaultTerms();
        other.salt = "other";
        bytes memory opening = openData(other, DEPOSIT, DEPOSIT);
        (Terms memory terms, bytes32 id) = open();
        bytes memory recorded = checkpointData(terms, 1, onePosition());
        bytes memory closing = closeData(terms, 2, int128(DEPOSIT));

        vm.chainId(block.chainid + 1);
        vm.assertEq(adjudicator.channelId(terms), id);
        fails(opening, abi.encodeWithSelector(Errors.InvalidSignature.selector, partyA));
        fails(recorded, abi.encodeWithSelector(Errors.InvalidSignature.selector, signerA));
        fails(closing, abi.encodeWithSelector(Errors.InvalidSignature.selector, signerA));
        vm.assertTrue(checkpoint(terms, 1, onePosition())); // signed for this chain
        close(terms, 2, 0);
        assertClosed(id, 0, 0);
    }

    function test_attack_replayAcrossChannels() public {
        (Terms memory terms,) = open();
        bytes memory recorded = checkpointData(terms, 1, onePosition());
        Terms memory other = defaultTerms();
        other.salt = "other";
        open(other, DEPOSIT, DEPOSIT);
        // The same signers, another hash of terms.
        bytes memory moved = bytes.concat(recorded);
        bytes32 termsHash = harness.hashTerms(other);
        for (uint256 i; i < 32; ++i) {
            moved[4 + 64 + i] = termsHash[i];
        }
        fails(moved, abi.encodeWithSelector(Errors.InvalidSignature.selector, signerA));
    }

    /// @dev B tries to make A the filer, so that A owes the stale penalty.
    function test_attack_filingInTheOthersName() public {
        (Terms memory terms, bytes32 id) = open();
        // Terms in which B's key stands on A's side have another id.
        Terms memory forged = defaultTerms();
        forged.partyA = partyB;
        fails(partyB, disputeData(forged), wrongPhase(Phase.None));
        // Nor may such a channel be opened: the filer is told from the sender.
        forged = defaultTerms();
        forged.signerA = partyB;
        fails(openData(forged, 1, 1), abi.encodeWithSelector(Errors.SidesNotDistinct.selector));
        // A's own signatures on a state do not let B file for A.
        dispute(partyB, terms, 1, emptyPortfolio(0));
        vm.assertEq(uint256(adjudicator.channel(id).filer), uint256(Party.B));
    }

    /// @dev A Closing, an Opening and a State are different types: a signature on one is none on another.
    function test_attack_oneTypePassedForAnother() public {
        (Terms memory terms,) = open();
        Closing memory closing = closingOf(terms, 1, 0);
        (Signature memory a, Signature memory b) = both(harness.hashClosing(closing));
        State memory state = State(closing.channelId, 1, closing.validUntil, emptyPortfolio(0));
        fails(checkpointData(terms, state, a, b), abi.encodeWithSelector(Errors.InvalidSignature.selector, signerA));
        (a, b) = both(harness.hashState(state));
        fails(
            abi.encodeCall(IAdjudicator.close, (terms, closing, a, b)),
            abi.encodeWithSelector(Errors.InvalidSignature.selector, signerA)
        );
    }

    // ---- money

    function test_attack_netToBAtItsExtremes() public {
        int128[4] memory nets = [type(int128).max, type(int128).min, type(int128).max - 1, type(int128).min + 1];
        for (uint256 i; i < nets.length; ++i) {
            uint256 snapshot = vm.snapshotState();
            Portfolio memory portfolio = onePosition();
            portfolio.netToB = nets[i];
            portfolio.positions[0].quantity = i % 2 == 0 ? type(int128).min : type(int128).max;
            (Terms memory terms, bytes32 id) = runOff(portfolio);
            vm.warp(EXPIRY);
            setKnown(ETH, EXPIRY, type(uint128).max);
            settle(terms, portfolio); // would overflow further the same way; saturates instead
            int256 gain = i % 2 == 0 ? -D : D;
            assertClosed(id, gain, -gain);
            vm.revertToState(snapshot);
        }
    }

    /// @dev Another channel of the same token is worth as much after as before, whatever this one claims.
    function test_attack_winningsBeyondThePot() public {
        Terms memory rich = defaultTerms();
        rich.salt = "rich";
        bytes32 richId = open(rich, DEPOSIT, DEPOSIT);
        Terms memory terms = defaultTerms();
        bytes32 id = open(terms, 1, 1);
        Portfolio memory portfolio = emptyPortfolio(-int128(DEPOSIT));
        dispute(partyA, terms, 1, portfolio);
        passDeadline(id);
        settle(terms, portfolio);
        assertClosed(id, -D + 1, -D - 1);
        vm.assertEq(token.balanceOf(address(adjudicator)), 2 * DEPOSIT);
        close(rich, 1, 0);
        assertClosed(richId, 1, -1);
    }

    function hostileChannel() private returns (HostileToken bad, Terms memory terms, bytes32 id) {
        bad = new HostileToken();
        terms = defaultTerms();
        terms.collateral = address(bad);
        bad.mint(partyA, 2 * DEPOSIT);
        bad.mint(partyB, 2 * DEPOSIT);
        vm.prank(partyA);
        bad.approve(address(adjudicator), type(uint256).max);
        vm.prank(partyB);
        bad.approve(address(adjudicator), type(uint256).max);
        id = open(terms, DEPOSIT, DEPOSIT);
    }

    /// @dev A payee that burns gas, is blocklisted or makes the token lie: the other is paid all the same.
    function test_attack_payeeBlocksTheOthersPayout() public {
        HostileToken.Fault[7] memory faults = [
            HostileToken.Fault.BurnsGas,
            HostileToken.Fault.Reverts,
            HostileToken.Fault.RevertsLong,
            HostileToken.Fault.ReturnsFalse,
            HostileToken.Fault.ReturnsTwo,
            HostileToken.Fault.ReturnsShort,
            HostileToken.Fault.NoReturn
        ];
        for (uint256 i; i < faults.length; ++i) {
            for (uint256 b; b < 2; ++b) {
                uint256 snapshot = vm.snapshotState();
                (HostileToken bad, Terms memory terms, bytes32 id) = hostileChannel();
                address victim = b == 0 ? partyA : partyB;
                bad.setFault(faults[i], victim);
                close(terms, 1, 0);
                assertPhase(id, Phase.Closed);
                vm.assertEq(bad.balanceOf(b == 0 ? partyB : partyA), 2 * DEPOSIT);
                bool works = faults[i] == HostileToken.Fault.NoReturn;
                vm.assertEq(adjudicator.claimable(address(bad), victim), works ? 0 : DEPOSIT);
                vm.revertToState(snapshot);
            }
        }
    }

    /// @dev Whatever gas the sender gives, a payee is pushed its money or the call reverts: no claim by starvation.
    function test_attack_payoutStarvedOfGas() public {
        (HostileToken bad, Terms memory terms,) = hostileChannel();
        bytes memory data = closeData(terms, 1, 0);
        uint256 paid;
        uint256 refused;
        for (uint256 gas_ = 50_000; gas_ < 700_000; gas_ += 7_919) {
            uint256 snapshot = vm.snapshotState();
            (bool success, bytes memory why) = address(adjudicator).call{gas: gas_}(data);
            if (bytes4(why) == Errors.InsufficientGas.selector) ++refused;
            vm.assertEq(adjudicator.claimable(address(bad), partyA), 0);
            vm.assertEq(adjudicator.claimable(address(bad), partyB), 0);
            if (success) {
                ++paid;
                vm.assertEq(bad.balanceOf(partyA), 2 * DEPOSIT);
                vm.assertEq(bad.balanceOf(partyB), 2 * DEPOSIT);
            }
            vm.revertToState(snapshot);
        }
        vm.assertTrue(paid > 10 && refused > 10);
    }

    /// @dev Rule 10: from inside the token no call of the Adjudicator goes through.
    function test_attack_payeeReenters() public {
        (HostileToken bad, Terms memory terms,) = hostileChannel();
        Terms memory other = terms;
        bytes[] memory calls = new bytes[](14);
        calls[0] = closeData(terms, 2, 0);
        calls[1] = depositData(terms, Party.A, 1);
        calls[2] = settleData(terms, emptyPortfolio(0));
        calls[3] = checkpointData(terms, 5, emptyPortfolio(0));
        calls[4] = disputeData(terms);
        calls[5] = disputeData(terms, stateOf(terms, 5, 0, emptyPortfolio(0)));
        calls[6] = abi.encodeCall(IAdjudicator.claim, (address(bad), partyA));
        other.salt = "other";
        calls[7] = openData(other, 1, 1);
        calls[8] = closeData(defaultTerms(), 1, 0);
        (terms = defaultTerms()).collateral = address(bad);
        Permit memory none;
        calls[9] = openWithPermitData(other, 1, 1, none, none);
        calls[10] = checkpointManyData(new SignedState[](0));
        calls[11] = withdrawData(terms, withdrawalOf(terms, 5, emptyPortfolio(0), 1, 1));
        calls[12] =
            disputeForData(terms, stateOf(terms, 5, 0, emptyPortfolio(0)), authorisationOf(terms, 0), SIGNER_A_KEY);
        calls[13] = abandonData(terms);
        for (uint256 i; i < calls.length; ++i) {
            uint256 snapshot = vm.snapshotState();
            bad.setReentry(address(adjudicator), calls[i]);
            close(terms, 1, 0); // reenters while it pays
            vm.assertFalse(bad.reentered());
            vm.assertEq(string(bad.reentryError()), string(abi.encodeWithSelector(Errors.Reentrancy.selector)));
            vm.assertEq(bad.balanceOf(partyA) + bad.balanceOf(partyB), 4 * DEPOSIT);
            vm.revertToState(snapshot);
            snapshot = vm.snapshotState();
            bad.setReentry(address(adjudicator), calls[i]);
            withdraw(terms, 4, emptyPortfolio(0), DEPOSIT, 0); // reenters while it pays a part
            vm.assertFalse(bad.reentered());
            vm.assertEq(string(bad.reentryError()), string(abi.encodeWithSelector(Errors.Reentrancy.selector)));
            vm.revertToState(snapshot);
            snapshot = vm.snapshotState();
            bad.setReentry(address(adjudicator), calls[i]);
            send(partyA, depositData(terms, Party.A, 1)); // reenters while it pulls
            vm.assertFalse(bad.reentered());
            vm.assertEq(string(bad.reentryError()), string(abi.encodeWithSelector(Errors.Reentrancy.selector)));
            vm.revertToState(snapshot);
        }
    }

    /// @dev Channels of one token do not touch those of another, whatever the token does.
    function test_attack_hostileTokenAgainstAnotherChannel() public {
        (, bytes32 good) = open();
        (HostileToken bad, Terms memory terms,) = hostileChannel();
        bad.setFault(HostileToken.Fault.Reverts, address(0));
        close(terms, 1, 0);
        vm.assertEq(token.balanceOf(address(adjudicator)), 2 * DEPOSIT);
        vm.assertEq(adjudicator.claimable(address(token), partyA), 0);
        close(defaultTerms(), 1, 0);
        assertClosed(good, 0, 0);
    }

    function test_attack_feeTokenInATopUp() public {
        (HostileToken bad, Terms memory terms,) = hostileChannel();
        bad.setFault(HostileToken.Fault.Fee, address(0));
        fails(
            partyA,
            depositData(terms, Party.A, 1_000),
            abi.encodeWithSelector(Errors.WrongAmountReceived.selector, 1_000, 990)
        );
    }

    /// @dev A stranger's 1-wei deposits change neither phase nor a Closing already signed.
    function test_attack_oneWeiDepositsByStrangers() public {
        (Terms memory terms, bytes32 id) = open();
        bytes memory all = closeData(terms, 1, int128(DEPOSIT));
        send(stranger, depositData(terms, Party.A, 1));
        send(stranger, depositData(terms, Party.B, 1));
        send(stranger, all);
        assertClosed(id, -D + 1, D + 1);
        fails(depositData(terms, Party.A, 1), wrongPhase(Phase.Closed));
    }

    function test_attack_tokensSentUnasked() public {
        (Terms memory terms, bytes32 id) = open();
        vm.prank(stranger);
        token.transfer(address(adjudicator), 5);
        close(terms, 1, 0);
        assertClosed(id, 0, 0);
    }

    // ---- time

    function test_attack_boxedStateOneSecondLate() public {
        (Terms memory terms, bytes32 id) = open();
        State memory state = stateOf(terms, 1, uint64(START) + 120, onePosition());
        bytes memory data = checkpointData(terms, state);
        vm.warp(START + 121);
        vm.assertFalse(abi.decode(send(partyA, data), (bool)));
        vm.assertEq(adjudicator.channel(id).nonce, 0);
    }

    function test_attack_boxedStateFiledLateInDispute() public {
        (Terms memory terms, bytes32 id) = open();
        State memory state = stateOf(terms, 1, uint64(START) + 120, onePosition());
        vm.warp(START + 121);
        fails(partyA, disputeData(terms, state), abi.encodeWithSelector(Errors.Expired.selector, START + 120));
        dispute(partyA, terms);
        vm.assertFalse(dispute(partyA, terms, state)); // nor inside the window
        vm.assertEq(adjudicator.channel(id).nonce, 0);
    }

    function test_attack_checkpointAfterTheDeadline() public {
        (Terms memory terms, bytes32 id) = open();
        dispute(partyA, terms, 1, emptyPortfolio(0));
        bytes memory data = checkpointData(terms, 2, emptyPortfolio(int128(DEPOSIT)));
        passDeadline(id);
        vm.assertFalse(abi.decode(send(partyB, data), (bool)));
        fails(partyB, disputeData(terms, stateOf(terms, 2, 0, emptyPortfolio(0))), wrongPhase(Phase.RunOff));
        settle(terms, emptyPortfolio(0));
        assertClosed(id, 0, 0);
    }

    /// @dev B keeps a signed Closing, states go on above it: it is dead, and after its hour in any case.
    function test_attack_withheldClosing() public {
        (Terms memory terms, bytes32 id) = open();
        bytes memory data = closeData(terms, 3, int128(DEPOSIT));
        checkpoint(terms, 4, emptyPortfolio(0));
        fails(data, abi.encodeWithSelector(Errors.NonceNotNewer.selector, 4, 3));
        data = closeData(terms, 5, int128(DEPOSIT));
        vm.warp(START + 601);
        fails(data, abi.encodeWithSelector(Errors.Expired.selector, START + 600));
        assertPhase(id, Phase.Open);
    }

    /// @dev The window is never extended: newer states in its last seconds gain no time.
    function test_attack_windowExtendedByNewStates() public {
        (Terms memory terms, bytes32 id) = open();
        dispute(partyA, terms);
        uint256 deadline = adjudicator.channel(id).deadline;
        for (uint64 i = 1; i < 6; ++i) {
            vm.warp(deadline - 6 + i);
            dispute(i % 2 == 0 ? partyA : partyB, terms, i, emptyPortfolio(0));
        }
        vm.assertEq(adjudicator.channel(id).deadline, deadline);
        vm.warp(deadline);
        settle(terms, emptyPortfolio(0));
        assertClosed(id, 0, 0);
    }

    /// @dev Rule 3: with the other silent from the first second, each party alone gets out, at every stage.
    function test_attack_counterpartyVanishes() public {
        for (uint256 b; b < 2; ++b) {
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms, bytes32 id) = open();
            dispute(b == 0 ? partyA : signerB, terms, 1, onePosition());
            passDeadline(id);
            oracle.setFault(FakeOracle.Fault.BurnsGas);
            vm.warp(EXPIRY + terms.settlementGrace + 30 days);
            settle(terms, onePosition());
            assertClosed(id, 1_000e6, -1_000e6);
            vm.revertToState(snapshot);
        }
    }

    // ---- oracle

    /// @dev With any amount of gas `settle` does what it does with plenty, or reverts: a working oracle cannot be
    /// starved into looking dead, 30 days after the grace, when the signed spot would serve.
    function test_attack_oracleStarvedOfGas() public {
        oracle.setEffort(40_000);
        (Terms memory terms,) = runOff(onePosition());
        vm.warp(EXPIRY + terms.settlementGrace + 30 days);
        setKnown(ETH, EXPIRY, 2_000e18); // the signed spot, 3,100, would pay A 1,000
        bytes memory data = settleData(terms, onePosition());
        uint256 settled;
        uint256 refused;
        for (uint256 gas_ = 40_000; gas_ < 800_000; gas_ += 3_571) {
            uint256 snapshot = vm.snapshotState();
            (bool success, bytes memory why) = address(adjudicator).call{gas: gas_}(data);
            if (bytes4(why) == Errors.InsufficientGas.selector) ++refused;
            if (success) {
                ++settled;
                vm.assertEq(gainOf(partyA), 0);
            }
            vm.revertToState(snapshot);
        }
        vm.assertTrue(settled > 10 && refused > 10);
    }

    /// @dev A defaulter's expired loss, settled first, leaves it as deep under water as before: net is not clamped.
    function test_attack_partialSettlementInAnotherOrder() public {
        Portfolio memory portfolio = onePosition();
        portfolio.positions = new Position[](2);
        portfolio.positions[0] = option(4, EXPIRY, 3_000e18, -1_000e18); // A loses 200,000, twice its deposit
        portfolio.positions[1] = option(4, EXPIRY + 1 hours, 3_000e18, 900e18); // and gains 180,000
        int256[2] memory gains;
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms, bytes32 id) = runOff(portfolio);
            vm.warp(EXPIRY + 1 hours);
            setKnown(ETH, i == 0 ? EXPIRY : EXPIRY + 1 hours, 3_200e18);
            settle(terms, portfolio);
            Portfolio memory left = onePosition();
            left.positions[0] = portfolio.positions[1 - i];
            left.netToB = i == 0 ? int128(200_000e6) : -int128(180_000e6);
            setKnown(ETH, i == 0 ? EXPIRY + 1 hours : EXPIRY, 3_200e18);
            settle(terms, left);
            assertPhase(id, Phase.Closed);
            gains[i] = gainOf(partyA);
            vm.revertToState(snapshot);
        }
        vm.assertEq(gains[0], -20_000e6);
        vm.assertEq(gains[1], -20_000e6);
    }

    function test_attack_unknownStatusOrLastResortBeforeTheGrace() public {
        (Terms memory terms, bytes32 id) = runOff(onePosition());
        oracle.set(ETH, EXPIRY, Status.LastResort, 1);
        vm.warp(EXPIRY);
        vm.assertEq(settle(terms, onePosition()), 0);
        oracle.set(ETH, EXPIRY, Status.Known, 3_200e18);
        settle(terms, onePosition());
        assertClosed(id, 2_000e6, -2_000e6);
    }
}
