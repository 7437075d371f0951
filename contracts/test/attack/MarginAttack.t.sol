// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Status} from "../../src/interfaces/IOracle.sol";
import {Errors} from "../../src/libraries/Errors.sol";
import {Party, Phase, Portfolio, Terms} from "../../src/libraries/Types.sol";
import {Margins, Scenario} from "../../src/risk/RiskTypes.sol";
import {HostileToken} from "../utils/HostileToken.sol";
import {MarginTest} from "../utils/MarginTest.sol";

/// @notice The attacks of the design on margin calls, close-outs and releases, one test each. Each names the line that
/// stops it.
contract MarginAttackTest is MarginTest {
    Party[2] private parties = [Party.A, Party.B];

    // ---- looking whole

    /// @dev The defaulter settles a loss of twice its deposit first: with a floor of zero under its cash its open calls would
    /// cover its margin, and pay it. Before the call, between call and close-out, or not at all: it is short, and gets
    /// nothing.
    /// Stopped by `unclampedCash` (Contributions.sol), in callMargin and in closeOut, and by `Payoff.moveNet`, unclamped.
    function test_attack_expiredLossSettledFirst() public {
        uint64 expiry = uint64(START) + 2 hours;
        for (uint256 i; i < 6; ++i) {
            uint256 snapshot = vm.snapshotState();
            Party party = parties[i % 2];
            Portfolio memory all = onePosition();
            Portfolio memory left = onePosition();
            left.positions[0] = option(0, LATER, 1_000e18, int128(side(party)) * 100e18); // worth 100,000 and a little
            left.netToB = int128(side(party)) * 205_000e6;
            all.positions = two(forward(party, expiry, 205), left.positions[0]); // 1,000 each lost
            (Terms memory terms, bytes32 id) = runOff(all);
            setSpot(ETH, 2_000e18);
            setKnown(ETH, expiry, 2_000e18);
            (int256 value, uint256 maintenance) = assess(left, 2_000e18, block.timestamp, party);
            vm.assertTrue(value > int256(maintenance)); // whole, if it owed nothing
            if (i < 2) settle(terms, all);
            uint32 cureEnd = callMargin(terms, i < 2 ? left : all, party);
            vm.warp(cureEnd);
            setKnown(ETH, cureEnd, 2_000e18);
            if (i >= 2 && i < 4) settle(terms, all);
            closeOut(terms, i < 4 ? left : all, party);
            assertClosed(id, -side(party) * D, side(party) * D);
            vm.revertToState(snapshot);
        }
    }

    // ---- taking cash out

    /// @dev A takes its surplus out, is not short by that alone, and then defaults on a rise of half: what stayed pays the
    /// whole value and the penalty.
    /// Stopped by `amount -= locked` in release (Adjudicator.sol).
    function test_attack_surplusReleased_thenMarginCalled() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            Party party = parties[i];
            Portfolio memory portfolio = shortCalls(party);
            portfolio.positions[0].quantity = -int128(side(party)) * 30e18;
            (Terms memory terms, bytes32 id) = runOff(portfolio);
            setSpot(ETH, 3_000e18);
            uint256 lock = lockOf(portfolio, 3_000e18, party);
            vm.assertEq(release(addressOf(party), terms, portfolio), DEPOSIT + 20_000e6 - lock);
            (int256 value, uint256 maintenance) = assess(portfolio, 3_000e18, block.timestamp, party);
            bytes memory data = callMarginData(terms, portfolio, party);
            fails(data, abi.encodeWithSelector(Errors.NotShort.selector, int256(lock) + value, maintenance));
            setSpot(ETH, 4_500e18);
            uint32 cureEnd = abi.decode(send(stranger, data), (uint32));
            vm.warp(cureEnd);
            setKnown(ETH, cureEnd, 4_500e18);
            closeOut(terms, portfolio, party);
            int256 gain = 20_000e6 + side(party) * closeOutValue(portfolio, 4_500e18, cureEnd, party) - 3_000e6;
            assertClosed(id, side(party) * gain, -side(party) * gain);
            vm.revertToState(snapshot);
        }
    }

    /// @dev Once only: cash that came in after a release stays to the end.
    /// Stopped by `slot.released(party)` in release (Adjudicator.sol) and by `afterRelease` (ChannelSlot.sol).
    function test_attack_releasedTwice() public {
        Portfolio memory portfolio = forwards(Party.A, LATER, 20);
        (Terms memory terms,) = runOff(portfolio);
        setSpot(ETH, 3_000e18);
        release(partyA, terms, portfolio);
        send(partyA, depositData(terms, Party.A, 5_000e6));
        bytes memory data = releaseData(terms, portfolio);
        fails(partyA, data, abi.encodeWithSelector(Errors.AlreadyReleased.selector, Party.A));
        settle(terms, portfolio); // nor by another write of the slot
        fails(partyA, data, abi.encodeWithSelector(Errors.AlreadyReleased.selector, Party.A));
        setSpot(ETH, 1_000e18);
        uint32 cureEnd = callMargin(terms, portfolio, Party.A);
        vm.warp(cureEnd + terms.settlementGrace); // lapsed
        setSpot(ETH, 3_000e18);
        fails(partyA, data, abi.encodeWithSelector(Errors.AlreadyReleased.selector, Party.A));
    }

    /// @dev Winnings beyond the pot are not another channel's money.
    /// Stopped by the clamp of `Contributions.cash`, in release and in closeOut.
    function test_attack_winningsBeyondThePot() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            Terms memory other = defaultTerms();
            other.salt = "other";
            open(other, DEPOSIT, DEPOSIT);
            Portfolio memory portfolio = forwards(Party.A, LATER, 20);
            portfolio.netToB = -300_000e6;
            (Terms memory terms, bytes32 id) = runOff(portfolio);
            setSpot(ETH, 4_000e18);
            if (i == 1) {
                // B has lost all and more, A is released what is there
                uint256 lock = lockOf(portfolio, 4_000e18, Party.A);
                vm.assertEq(release(partyA, terms, portfolio), 2 * DEPOSIT - lock);
            }
            uint32 cureEnd = callMargin(terms, portfolio, Party.B);
            vm.warp(cureEnd);
            setKnown(ETH, cureEnd, 4_000e18);
            closeOut(terms, portfolio, Party.B);
            assertPhase(id, Phase.Closed);
            vm.assertEq(gainOf(partyA), 0); // both deposits of this channel, less its own in the other
            vm.assertEq(gainOf(partyB), -2 * D);
            vm.assertEq(token.balanceOf(address(adjudicator)), 2 * DEPOSIT);
            close(other, 1, 0);
            vm.revertToState(snapshot);
        }
    }

    /// @dev The filer of a stale state takes its cash out before the penalty is due.
    /// Stopped by `locked += terms.stalePenalty` in release (Adjudicator.sol).
    function test_attack_releaseWithAStalePenaltyOwed() public {
        (Terms memory terms, bytes32 id) = open();
        dispute(partyA, terms);
        checkpoint(terms, 17, emptyPortfolio(0));
        passDeadline(id);
        vm.assertEq(release(partyA, terms, emptyPortfolio(0)), DEPOSIT - terms.stalePenalty);
        settle(terms, emptyPortfolio(0));
        assertClosed(id, -int256(uint256(terms.stalePenalty)), int256(uint256(terms.stalePenalty)));
    }

    /// @dev B holds on to A's cash with a position of one wei that runs for a year: it locks one unit.
    /// Stopped by the lock being that of the positions alone: `runOffLock` in release (Adjudicator.sol), not all cash.
    function test_attack_oneWeiLongDatedPosition_keepsTheOtherFromReleasing() public {
        uint64 far = uint64(START) + 399 days;
        Portfolio memory all = onePosition();
        all.positions = two(option(0, EXPIRY, 3_000e18, -1e18), option(0, far, 3_000e18, -1));
        Portfolio memory left = onePosition();
        (left.netToB, left.positions[0]) = (100e6, all.positions[1]);
        (Terms memory terms, bytes32 id) = runOff(all);
        vm.warp(EXPIRY);
        setKnown(ETH, EXPIRY, 3_100e18);
        setSpot(ETH, 3_100e18);
        settle(terms, all);
        vm.assertEq(release(partyA, terms, left), DEPOSIT - 100e6 - 1);
        vm.assertEq(release(partyB, terms, left), DEPOSIT + 100e6); // a bought option locks nothing
        vm.warp(far);
        setKnown(ETH, far, 9_000e18);
        settle(terms, left);
        assertClosed(id, -100e6, 100e6);
    }

    /// @dev A position of one wei that has expired without a price holds a release up until its last resort, no longer.
    /// Bounded by the grace of `OracleReader.settlementPrice`; the wait itself is `requireSettled` in Settlement.sol.
    function test_attack_oneWeiExpiredPosition_keepsTheOtherFromReleasing() public {
        uint64 odd = EXPIRY + 1; // not a full hour: no oracle prices it
        Portfolio memory all = onePosition();
        all.positions = two(option(0, odd, 3_000e18, -1), option(0, LATER, 3_000e18, 1e18));
        Portfolio memory left = onePosition();
        left.positions[0] = all.positions[1];
        (Terms memory terms,) = runOff(all);
        oracle.set(ETH, odd, Status.Never, 0);
        bytes memory data = releaseData(terms, all);
        vm.warp(odd);
        setSpot(ETH, 3_100e18);
        vm.assertEq(settle(terms, all), 0);
        fails(partyA, data, abi.encodeWithSelector(Errors.NotSettled.selector, ETH, odd));
        vm.warp(odd + terms.settlementGrace);
        setSpot(ETH, 3_100e18);
        vm.assertEq(settle(terms, all), 1);
        vm.assertEq(release(partyA, terms, left), DEPOSIT);
    }

    /// @dev B is called, its cure has ended; a position that expires after that is worth one thing settled and another as of
    /// the cure's end. A would be released the one, and paid the other by the close-out.
    /// Stopped by `requireSettled` in release (Adjudicator.sol), and by `Settlement.horizon` in settle.
    function test_attack_releaseWhileTheOthersCallIsUndecided() public {
        uint64 expiry = CURE_END + 1 hours;
        Portfolio memory all = onePosition();
        all.positions = two(forward(Party.A, expiry, 2), forward(Party.A, LATER, 10));
        (Terms memory terms, bytes32 id) = called(all, Party.B, 10_000e6, 3_500e18);
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, 3_500e18);
        setSpot(ETH, 3_500e18);
        uint256 snapshot = vm.snapshotState();
        release(partyA, terms, all); // nothing has expired yet
        vm.revertToState(snapshot);
        setKnown(ETH, expiry, 3_600e18);
        bytes memory data = releaseData(terms, all);
        uint256[2] memory times = [uint256(expiry), CURE_END + terms.settlementGrace - 1];
        for (uint256 i; i < 2; ++i) {
            vm.warp(times[i]);
            setSpot(ETH, 3_500e18);
            vm.assertEq(settle(terms, all), 0);
            fails(partyA, data, abi.encodeWithSelector(Errors.NotSettled.selector, ETH, expiry));
        }
        snapshot = vm.snapshotState();
        closeOut(terms, all, Party.B);
        assertClosed(id, 6_000e6, -6_000e6); // twelve forwards at 3,500; no margin was signed, so no penalty
        vm.revertToState(snapshot);
        vm.warp(CURE_END + terms.settlementGrace); // lapsed
        setSpot(ETH, 3_500e18);
        vm.assertEq(settle(terms, all), 1);
        Portfolio memory left = forwards(Party.A, LATER, 10);
        left.netToB = -1_200e6;
        uint256 lock = lockOf(left, 3_500e18, Party.A);
        vm.assertEq(release(partyA, terms, left), DEPOSIT + 1_200e6 - lock);
    }

    /// @dev A takes its cash out at the signed spot of an oracle long dead, which then speaks, of a price that suits B: were
    /// the release not recorded, B would be paid again by it.
    /// Stopped by `requireSettled` in release (Adjudicator.sol): the price that it rests on stands.
    function test_attack_releasedAtTheSignedSpot_thenTheOracleSpeaks() public {
        uint64 far = EXPIRY + 60 days;
        Portfolio memory all = onePosition(); // at the signed spot A receives 1,000 of it
        all.positions = two(all.positions[0], option(0, far, 3_000e18, 1e18));
        Portfolio memory left = onePosition();
        (left.netToB, left.positions[0]) = (-1_000e6, all.positions[1]);
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms, bytes32 id) = runOff(all);
            vm.warp(EXPIRY + terms.settlementGrace + 30 days);
            setSpot(ETH, 2_000e18);
            fails(partyA, releaseData(terms, all), abi.encodeWithSelector(Errors.NotSettled.selector, ETH, EXPIRY));
            settle(terms, all);
            if (i == 1) vm.assertEq(release(partyA, terms, left), DEPOSIT + 1_000e6);
            setKnown(ETH, EXPIRY, 2_000e18); // A would receive nothing
            setKnown(ETH, far, 2_000e18);
            vm.warp(far);
            settle(terms, left);
            assertClosed(id, 1_000e6, -1_000e6);
            vm.revertToState(snapshot);
        }
    }

    /// @dev After a release whoever abandons gets no more than by settling.
    /// Stopped by `channel_.contributions = ...sub(...)` in release (Adjudicator.sol).
    function test_attack_released_thenAbandoned() public {
        Portfolio memory portfolio = emptyPortfolio(-50_000e6);
        (Terms memory terms, bytes32 id) = runOff(portfolio);
        vm.assertEq(release(partyA, terms, portfolio), 150_000e6);
        vm.warp(abandonableFrom(terms, id));
        send(partyA, abandonData(terms));
        assertClosed(id, 50_000e6, -50_000e6);
    }

    // ---- topping up

    /// @dev A tops up a second before the end of its cure, is not closed out, and takes the money back.
    /// Stopped by `callUndecided` in release (Adjudicator.sol); later by the lock.
    function test_attack_topUpJustBeforeTheEnd_thenTakenBack() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, SPOT);
        vm.warp(CURE_END - 1);
        send(partyA, depositData(terms, Party.A, 900_000e6));
        setSpot(ETH, 2_000e18); // a moment later everything but a minimum would be free
        bytes memory data = releaseData(terms, portfolio);
        bytes memory undecided = abi.encodeWithSelector(Errors.CallUndecided.selector, Party.A, CURE_END);
        fails(partyA, data, undecided);
        fails(partyA, withdrawData(terms, withdrawalOf(terms, 2, portfolio, 900_000e6, 0)), wrongPhase(Phase.RunOff));
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, SPOT);
        setSpot(ETH, 2_000e18);
        fails(partyA, data, undecided);
        vm.warp(CURE_END + terms.settlementGrace - 1);
        setSpot(ETH, 2_000e18);
        fails(partyA, data, undecided);
        vm.warp(CURE_END + terms.settlementGrace);
        setSpot(ETH, SPOT);
        uint256 lock = lockOf(portfolio, SPOT, Party.A);
        vm.assertEq(abi.decode(send(partyA, data), (uint256)), DEPOSIT + 920_000e6 - lock);
        // what stayed is worth more to B than its claim
        (int256 value, uint256 maintenance) = assess(portfolio, SPOT, block.timestamp, Party.A);
        vm.assertTrue(int256(lock) + value > int256(maintenance));
        assertPhase(id, Phase.RunOff);
    }

    /// @dev A sees the price of its cure's end, and tops up only now that it knows by how much.
    /// Stopped by `CureEnded` in deposit (Adjudicator.sol).
    function test_attack_topUpAfterTheEnd() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            Party party = parties[i];
            (Terms memory terms, bytes32 id, Portfolio memory portfolio) = cureEnded(party);
            bytes memory ended = abi.encodeWithSelector(Errors.CureEnded.selector, CURE_END);
            fails(addressOf(party), depositData(terms, party, 500_000e6), ended);
            fails(stranger, depositData(terms, party, 500_000e6), ended);
            send(stranger, depositData(terms, otherOf(party), 1)); // which helps it nothing
            closeOut(terms, portfolio, party);
            assertPhase(id, Phase.Closed);
            vm.assertTrue(gainOf(addressOf(party)) < -60_000e6);
            vm.revertToState(snapshot);
        }
    }

    // ---- choosing the end

    /// @dev A party calls itself, to have its cure end when it likes: the end is the one that anybody's call would have
    /// given, no later call moves it, and its own close-out is worth what the other's is.
    /// Stopped by `CallUndecided` in callMargin (Adjudicator.sol) and by `MarginCalls.cureEnd`.
    function test_attack_aPartyCallsItself() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms, bytes32 id) = inWindow(portfolio, Party.A, DEPOSIT, SPOT);
        bytes memory data = callMarginData(terms, portfolio, Party.A);
        vm.assertEq(abi.decode(send(partyA, data), (uint256)), CURE_END);
        bytes memory undecided = abi.encodeWithSelector(Errors.CallUndecided.selector, Party.A, CURE_END);
        for (uint256 i = 1; i < 7; ++i) {
            vm.warp(START + 1 hours + i * 1 days - 1);
            setSpot(ETH, SPOT);
            fails(partyA, data, undecided); // nor does it call itself again, to put the decision off
            fails(partyB, data, undecided);
        }
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, SPOT);
        int256 gain = 17_000e6 + closeOutValue(portfolio, SPOT, CURE_END, Party.A);
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            send(i == 0 ? partyA : partyB, closeOutData(terms, portfolio, Party.A));
            assertClosed(id, gain, -gain);
            vm.revertToState(snapshot);
        }
    }

    /// @dev The called party files, checkpoints or settles, to have its call forgotten.
    /// Stopped by the masks of `withNonce` and `afterSettle` (ChannelSlot.sol), and by `_file` only for an Open channel.
    function test_attack_callWrittenOver() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, SPOT);
        dispute(partyA, terms);
        vm.assertTrue(checkpoint(terms, 2, portfolio));
        vm.assertTrue(dispute(partyA, terms, 3, portfolio));
        passDeadline(id);
        settle(terms, portfolio);
        setSpot(ETH, 1_000e18);
        release(partyB, terms, portfolio);
        vm.assertEq(adjudicator.channel(id).cureEndA, CURE_END);
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, SPOT);
        closeOut(terms, portfolio, Party.A);
        assertPhase(id, Phase.Closed);
    }

    /// @dev Whoever closes out chooses neither the price nor the age of the marks, and not the value by what it proves.
    /// Stopped by `time = slot.cureEnd(party)` and by `pricesAt` in closeOut (Adjudicator.sol), and by `closeOutValue`
    /// being another question than `assess` (RiskEngineCalls.sol).
    function test_attack_aBetterBlock_aMilderScenario() public {
        (Terms memory terms, bytes32 id, Portfolio memory portfolio) = cureEnded(Party.A);
        int256 gain = 17_000e6 + closeOutValue(portfolio, SPOT, CURE_END, Party.A);
        uint256[3] memory waits = [uint256(0), 1 days, 5 days - 1];
        uint256[3] memory spots = [uint256(1_000e18), 3_000e18, 9_000e18];
        for (uint256 i; i < 9; ++i) {
            uint256 snapshot = vm.snapshotState();
            vm.warp(CURE_END + waits[i / 3]);
            setSpot(ETH, spots[i / 3]);
            if (i >= 3) setKnown(ETH, CURE_END + uint64(waits[i / 3]), spots[i / 3]);
            // the whole margin; a rise of the range; a fall, which shows no more than the short minimum
            Scenario[] memory scenarios = i % 3 == 0 ? new Scenario[](0) : scenario(i % 3 == 1 ? 10 : 13);
            bytes memory data = closeOutData(terms, portfolio, Party.A, scenarios);
            if (i % 3 < 2) {
                send(stranger, data);
                assertClosed(id, gain, -gain);
            } else {
                (int256 value, uint256 shown) = assess(portfolio, SPOT, CURE_END, Party.A, scenarios);
                fails(data, abi.encodeWithSelector(Errors.NotShort.selector, 120_000e6 + value, shown));
            }
            vm.revertToState(snapshot);
        }
    }

    /// @dev What expires after the cure's end would save the defaulter, or ruin it: neither by settling it first, nor by
    /// leaving it, does the decision change; nor does settling end the channel before it.
    /// Stopped by `Settlement.horizon` in settle, and by `time` as the `last` of closeOut (Adjudicator.sol).
    function test_attack_settleRacedBeforeTheCloseOut() public {
        uint64 expiry = CURE_END + 1 hours;
        for (uint256 i; i < 4; ++i) {
            uint256 snapshot = vm.snapshotState();
            bool alone = i >= 2;
            Portfolio memory portfolio = onePosition();
            portfolio.marginA = 60_000e6;
            portfolio.positions[0] = forward(Party.A, expiry, 110);
            if (!alone) portfolio.positions = two(forward(Party.A, expiry, 50), forward(Party.A, LATER, 60));
            (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, 2_500e18);
            setKnown(ETH, CURE_END, 2_500e18);
            setKnown(ETH, expiry, i % 2 == 0 ? 4_900e18 : 100e18);
            vm.warp(CURE_END + 3 days);
            vm.assertEq(settle(terms, portfolio), 0);
            assertPhase(id, Phase.RunOff);
            closeOut(terms, portfolio, Party.A);
            assertClosed(id, -58_000e6, 58_000e6); // 110 forwards at 2,500, and the penalty
            vm.revertToState(snapshot);
        }
    }

    // ---- without a price

    /// @dev The defaulter holds one wei that expires a second before its cure ends, which no oracle prices: the close-out
    /// neither leaves it out nor guesses, it waits for the last resort, which serves before the call lapses.
    /// Stopped by `PriceUnknown` in `Settlement.netAsOf`, and by `callUndecided` counting the grace from the cure's end.
    function test_attack_oneWeiExpiresJustBeforeTheEnd() public {
        Portfolio memory portfolio = forwards(Party.A, LATER, 100);
        uint64 odd = CURE_END - 1;
        portfolio.positions = two(forward(Party.A, odd, 1), portfolio.positions[0]);
        portfolio.positions[0].quantity = 1;
        (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, 2_500e18);
        setKnown(ETH, CURE_END, 2_400e18);
        oracle.set(ETH, odd, Status.Never, 0);
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        bytes memory unknown = abi.encodeWithSelector(Errors.PriceUnknown.selector, ETH, odd);
        vm.warp(CURE_END);
        fails(data, unknown);
        vm.warp(odd + terms.settlementGrace - 1);
        fails(data, unknown);
        vm.warp(odd + terms.settlementGrace);
        send(stranger, data);
        assertClosed(id, -60_000e6, 60_000e6);
    }

    /// @dev It expires with the cure, and its last resort serves only when the call has lapsed: a second call decides.
    /// Stopped by `callUndecided` (Settlement.sol), which lets a lapsed call be made again.
    function test_attack_oneWeiExpiresWithTheEnd() public {
        Portfolio memory portfolio = forwards(Party.A, LATER, 100);
        portfolio.positions = two(forward(Party.A, CURE_END, 1), portfolio.positions[0]);
        portfolio.positions[0].quantity = 1;
        (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, 2_500e18);
        oracle.set(ETH, CURE_END, Status.Never, 0);
        vm.warp(CURE_END + terms.settlementGrace - 1);
        fails(
            closeOutData(terms, portfolio, Party.A), abi.encodeWithSelector(Errors.PriceUnknown.selector, ETH, CURE_END)
        );
        vm.warp(CURE_END + terms.settlementGrace);
        setSpot(ETH, 2_400e18);
        uint32 second = callMargin(terms, portfolio, Party.A);
        vm.warp(second);
        setKnown(ETH, second, 2_400e18);
        closeOut(terms, portfolio, Party.A);
        assertClosed(id, -60_000e6, 60_000e6);
    }

    /// @dev A last resort for the cure's end, which may be hours old, is no price to close out at; the positions run off.
    /// Stopped by `status != Status.Known` in `MarginCalls.pricesAt`.
    function test_attack_closeOutAtALastResort() public {
        Portfolio memory portfolio = forwards(Party.A, LATER, 100);
        (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, 2_500e18);
        setLastResort(ETH, CURE_END, 2_400e18);
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        vm.warp(CURE_END + terms.settlementGrace - 1);
        fails(data, abi.encodeWithSelector(Errors.PriceUnknown.selector, ETH, CURE_END));
        vm.warp(LATER);
        fails(data, abi.encodeWithSelector(Errors.NoCall.selector, Party.A));
        setKnown(ETH, LATER, 3_500e18);
        settle(terms, portfolio);
        assertClosed(id, 50_000e6, -50_000e6);
    }

    // ---- stale marks

    /// @dev B has kept a state with a vol of long ago, at which A would be short. Old marks make nobody default; fresh ones
    /// age in the dispute, and the longer the more they are shifted in A's favour.
    /// Stopped by `requireFreshMarks` (MarginCalls.sol), and by `markedAt` in what `assess` is asked (RiskEngineCalls.sol).
    function test_attack_staleVolsManufactureADefault() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        portfolio.positions[0].vol = 1.5e18;
        portfolio.markedAt = uint64(START) - 2 days - 1;
        (Terms memory terms,) = inWindow(portfolio, Party.A, DEPOSIT, SPOT);
        fails(
            callMarginData(terms, portfolio, Party.A),
            abi.encodeWithSelector(Errors.MarksTooOld.selector, START - 2 days - 1, START - 2 days)
        );

        portfolio.markedAt = uint64(START) - 2 days;
        checkpoint(terms, 2, portfolio);
        Margins memory asSigned =
            riskEngine.margins(portfolio.positions, prices(3_200e18), risk(), UNIT, block.timestamp);
        uint128 enough = justEnough(portfolio, 3_200e18, block.timestamp, Party.A);
        (, uint256 maintenance) = assess(portfolio, 3_200e18, block.timestamp, Party.A);
        setSpot(ETH, 3_200e18);
        send(stranger, depositData(terms, Party.A, enough - DEPOSIT + 20_000e6));
        portfolio.netToB = 0; // without the premium: exactly what it needs at the vols shifted
        checkpoint(terms, 3, portfolio);
        fails(
            callMarginData(terms, portfolio, Party.A),
            abi.encodeWithSelector(Errors.NotShort.selector, maintenance, maintenance)
        );
        int256 equity = int256(uint256(enough)) + 20_000e6 + asSigned.valueA;
        vm.assertTrue(equity < int256(asSigned.maintenanceA) - 10_000e6); // short by far at the vols signed
    }

    // ---- reentrancy

    /// @dev Rule 10: from inside the token none of the three goes through; nor does any call from inside their own payouts.
    /// Stopped by `locks` and `whenUnlocked` on the three (Adjudicator.sol).
    function test_attack_payeeReenters() public {
        HostileToken bad = new HostileToken();
        Terms memory terms = defaultTerms();
        terms.collateral = address(bad);
        for (uint256 i; i < 2; ++i) {
            bad.mint(addressOf(parties[i]), 2 * DEPOSIT);
            vm.prank(addressOf(parties[i]));
            bad.approve(address(adjudicator), type(uint256).max);
        }
        open(terms, DEPOSIT, DEPOSIT);
        Portfolio memory portfolio = shortCalls(Party.A);
        dispute(partyA, terms, 1, portfolio);
        vm.warp(START + 1 hours);
        setSpot(ETH, SPOT);
        callMargin(terms, portfolio, Party.A);
        vm.warp(CURE_END);
        setSpot(ETH, SPOT);
        setKnown(ETH, CURE_END, SPOT);

        bytes[] memory calls = new bytes[](6);
        calls[0] = callMarginData(terms, portfolio, Party.B);
        calls[1] = closeOutData(terms, portfolio, Party.A);
        calls[2] = releaseData(terms, portfolio);
        calls[3] = settleData(terms, portfolio);
        calls[4] = depositData(terms, Party.B, 1);
        calls[5] = closeData(terms, 9, 0);
        for (uint256 i; i < 18; ++i) {
            uint256 snapshot = vm.snapshotState();
            bad.setReentry(address(adjudicator), calls[i / 3]);
            if (i % 3 == 0) closeOut(terms, portfolio, Party.A); // reenters while it pays
            else if (i % 3 == 1) release(partyB, terms, portfolio);
            else send(partyA, closeData(terms, 5, 0));
            vm.assertFalse(bad.reentered());
            vm.assertEq(string(bad.reentryError()), string(abi.encodeWithSelector(Errors.Reentrancy.selector)));
            vm.revertToState(snapshot);
        }
    }
}
