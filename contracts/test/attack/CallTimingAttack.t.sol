// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ChannelSlot, ChannelSlotLibrary} from "../../src/libraries/ChannelSlot.sol";
import {Errors} from "../../src/libraries/Errors.sol";
import {MarginCalls} from "../../src/libraries/MarginCalls.sol";
import {Settlement} from "../../src/libraries/Settlement.sol";
import {ChannelView, Party, Phase, Portfolio, Terms} from "../../src/libraries/Types.sol";
import {MarginTest} from "../utils/MarginTest.sol";

/// @notice Attacks by the moment of a margin call or of its decision: on the other party's call, before it, after it. Each
/// names the line that stops it.
contract CallTimingAttackTest is MarginTest {
    Party[2] private parties = [Party.A, Party.B];

    // ---- both called

    /// @dev Both are short and called at once: whoever is quicker gains nothing by it.
    /// Stopped by `together` (MarginCalls.sol), and by `both ? 0` and `if (!both)` in closeOut (Adjudicator.sol).
    function test_attack_bothCalled_raceToCloseOutTheOther() public {
        int256[2] memory gains;
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms,, Portfolio memory portfolio) = bothCalled(0);
            vm.warp(CURE_END);
            setKnown(ETH, CURE_END, 3_100e18);
            send(addressOf(parties[i]), closeOutData(terms, portfolio, otherOf(parties[i])));
            gains[i] = gainOf(partyA);
            assertConserved();
            vm.revertToState(snapshot);
        }
        vm.assertEq(gains[0], gains[1]);
    }

    /// @dev B is called two hours after A. By then the price suits A, who would rather have B's end decide.
    /// Stopped by `from += settlementGrace / 2` in MarginCalls.sol: the earlier end has half a grace to itself.
    function test_attack_bothCalled_theLaterEndFirst() public {
        (Terms memory terms, bytes32 id, Portfolio memory portfolio) = bothCalled(2 hours);
        uint64 endB = CURE_END + 2 hours;
        setKnown(ETH, endB, 2_900e18);
        vm.warp(endB);
        bytes memory data = closeOutData(terms, portfolio, Party.B);
        bytes memory early =
            abi.encodeWithSelector(Errors.TooEarlyToCloseOut.selector, uint256(endB) + terms.settlementGrace / 2);
        fails(partyA, data, early);
        setKnown(ETH, CURE_END, 3_100e18); // takes its time
        fails(partyA, data, early);
        int256 value = closeOutValue(portfolio, 3_100e18, CURE_END, Party.None);
        send(partyB, closeOutData(terms, portfolio, Party.A));
        assertClosed(id, 180_000e6 + value, -180_000e6 - value);
    }

    /// @dev The same with A as the later one: the order is that of the ends, not of the parties.
    function test_attack_bothCalled_theLaterEndFirst_ofA() public {
        Portfolio memory portfolio = bothShort();
        (Terms memory terms,) = called(portfolio, Party.B, DEPOSIT, 3_100e18);
        vm.warp(START + 3 hours);
        setSpot(ETH, 3_100e18);
        uint32 endA = callMargin(terms, portfolio, Party.A);
        setKnown(ETH, endA, 3_300e18);
        vm.warp(endA);
        fails(
            closeOutData(terms, portfolio, Party.A),
            abi.encodeWithSelector(Errors.TooEarlyToCloseOut.selector, uint256(endA) + terms.settlementGrace / 2)
        );
        setKnown(ETH, CURE_END, 3_100e18);
        closeOut(terms, portfolio, Party.B);
        assertConserved();
    }

    /// @dev Positions that end between the two cures: settling waits for the earlier one, whichever is named.
    /// Stopped by both comparisons of `Settlement.horizon`.
    function test_attack_bothCalled_settleBetweenTheEnds() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            Party first = parties[i];
            Portfolio memory portfolio = bothShort();
            uint64 expiry = CURE_END + 1 hours;
            portfolio.positions = two(forward(Party.A, expiry, 20), portfolio.positions[0]);
            (Terms memory terms,) = called(portfolio, first, DEPOSIT, 3_100e18);
            vm.warp(START + 3 hours);
            setSpot(ETH, 3_100e18);
            callMargin(terms, portfolio, otherOf(first));
            setKnown(ETH, expiry, 4_000e18);
            vm.warp(CURE_END + 2 hours);
            vm.assertEq(settle(terms, portfolio), 0);
            vm.warp(CURE_END + terms.settlementGrace); // the first has lapsed, the second's end is later
            vm.assertEq(settle(terms, portfolio), 1);
            vm.revertToState(snapshot);
        }
    }

    // ---- making two calls one, or one of two

    /// @dev A's cure has ended, and it knows that it will be closed out: a call on B now, a second later or just before the
    /// close-out, would spare it the shift and the penalty.
    /// Stopped by `<= cureWindow` in `together` (MarginCalls.sol): such a call ends more than a cure later.
    function test_attack_callingTheOtherAfterOnesOwnEnd() public {
        uint256[3] memory waits = [uint256(1), 1 hours, 4 days];
        for (uint256 i; i < 3; ++i) {
            int256[2] memory gains;
            for (uint256 j; j < 2; ++j) {
                uint256 snapshot = vm.snapshotState();
                Portfolio memory portfolio = bothShort();
                (Terms memory terms,) = called(portfolio, Party.A, DEPOSIT, 3_100e18);
                vm.warp(CURE_END + waits[i]);
                setSpot(ETH, 3_100e18);
                if (j == 1) send(partyA, callMarginData(terms, portfolio, Party.B));
                setKnown(ETH, CURE_END, 3_100e18); // takes its time
                closeOut(terms, portfolio, Party.A);
                gains[j] = gainOf(partyA);
                assertConserved();
                vm.revertToState(snapshot);
            }
            vm.assertEq(gains[0], gains[1]);
        }
    }

    /// @dev Both are called, A first. A waits for its own call to lapse, for B alone to bear the shift and the penalty.
    /// Stopped by `together` (MarginCalls.sol) being of stored ends, and not of which calls are undecided.
    function test_attack_waitingForTheOthersLapse() public {
        int256[2] memory gains;
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms,, Portfolio memory portfolio) = bothCalled(2 hours);
            setKnown(ETH, CURE_END + 2 hours, 3_100e18);
            vm.warp(CURE_END + terms.settlementGrace - 1 + i);
            send(partyA, closeOutData(terms, portfolio, Party.B));
            gains[i] = gainOf(partyA);
            assertConserved();
            vm.revertToState(snapshot);
        }
        vm.assertEq(gains[0], gains[1]);
    }

    /// @dev Both are called, `first` twenty hours before the other, and has lapsed: a second call on it would move the end
    /// that makes the two calls one, and the other would bear its default alone.
    /// Stopped by `requireCallable` (MarginCalls.sol): the second call waits for the other's decision.
    function test_attack_secondCallMovesTheFirstsEnd() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            (Party first, Party second) = (parties[i], parties[1 - i]);
            Portfolio memory portfolio = bothShort();
            (Terms memory terms, bytes32 id) = called(portfolio, first, DEPOSIT, 3_100e18);
            vm.warp(START + 21 hours);
            setSpot(ETH, 3_100e18);
            uint32 end = callMargin(terms, portfolio, second);
            setKnown(ETH, end, 3_100e18);
            uint256[2] memory times = [uint256(CURE_END) + terms.settlementGrace, end + terms.settlementGrace - 1];
            bytes memory data = callMarginData(terms, portfolio, first);
            for (uint256 j; j < 2; ++j) {
                vm.warp(times[j]);
                setSpot(ETH, 3_100e18);
                fails(addressOf(first), data, abi.encodeWithSelector(Errors.CallUndecided.selector, second, end));
            }
            int256 value = closeOutValue(portfolio, 3_100e18, end, Party.None);
            closeOut(terms, portfolio, second);
            assertClosed(id, 180_000e6 + value, -180_000e6 - value);
            vm.revertToState(snapshot);
        }
    }

    // ---- waiting for each other

    /// @dev Whatever the two ends, the deadline and the grace: every call leaves half of the grace to decide it, at most one
    /// of the two waits, and once both have lapsed either party can be called again.
    function testFuzz_attack_waitingForEachOther(uint256 endA, uint256 endB, uint256 deadline, uint256 grace) public {
        ChannelView memory view_;
        view_.cureEndA = uint32(bound(endA, START / 1 hours, START / 1 hours + 24 * 40) * 1 hours);
        view_.cureEndB = uint32(bound(endB, START / 1 hours, START / 1 hours + 24 * 40) * 1 hours);
        view_.deadline = uint32(bound(deadline, START, START + 40 days));
        grace = bound(grace, 2 days, 30 days); // as TermsBounds has it
        ChannelSlot slot = ChannelSlotLibrary.pack(view_);
        uint256 waiting;
        uint256 lapsed;
        for (uint256 i; i < 2; ++i) {
            uint256 first = Settlement.decidableFrom(slot, parties[i]);
            uint256 from = MarginCalls.decidableFrom(slot, parties[i], grace);
            if (from > first) ++waiting;
            vm.assertGe(from, first);
            vm.assertLe(from + (grace - grace / 2), first + grace);
            vm.warp(from);
            MarginCalls.requireDecidable(slot, parties[i], grace); // which reverts
            if (first + grace > lapsed) lapsed = first + grace;
        }
        vm.assertLe(waiting, 1);
        vm.warp(lapsed);
        MarginCalls.requireCallable(slot, Party.A, grace, 1 days); // which reverts
        MarginCalls.requireCallable(slot, Party.B, grace, 1 days);
    }

    /// @dev A call of long ago on A does not keep B from calling A in reply: with and without it A gains the same.
    /// Stopped by `together` in `requireCallable` (MarginCalls.sol).
    function test_attack_oldCallAgainstTheCounterCall() public {
        int256[2] memory gains;
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            Portfolio memory portfolio = bothShort();
            (Terms memory terms,) = inWindow(portfolio, Party.A, DEPOSIT, 3_100e18);
            if (i == 1) callMargin(terms, portfolio, Party.A);
            vm.warp(CURE_END + terms.settlementGrace + 1 hours); // the old call has lapsed
            setSpot(ETH, 3_100e18);
            uint32 end = callMargin(terms, portfolio, Party.B);
            callMargin(terms, portfolio, Party.A);
            setKnown(ETH, end, 3_100e18);
            vm.warp(end);
            closeOut(terms, portfolio, Party.B);
            gains[i] = gainOf(partyA);
            vm.revertToState(snapshot);
        }
        vm.assertEq(gains[0], gains[1], "A gained by a call of long ago");
    }

    // ---- as a shield

    /// @dev A, short by one unit, calls itself and cures at once. Whatever happens then, it cannot be called again until that
    /// call lapses: the price of deciding each call once. From the lapse on it can, and is closed out.
    /// Bounded by `callUndecided` (Settlement.sol): the cure, rounded up to the hour, and `settlementGrace`.
    function test_aCuredCallStandsUntilItLapses() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        uint128 enough = justEnough(portfolio, 3_000e18, START + 1 hours, Party.A);
        (Terms memory terms, bytes32 id) = inWindow(portfolio, Party.A, enough - 1, 3_000e18);
        bytes memory data = callMarginData(terms, portfolio, Party.A);
        send(partyA, data);
        send(partyA, depositData(terms, Party.A, 10_000e6));
        setKnown(ETH, CURE_END, 3_000e18);
        uint256[2] memory times = [uint256(CURE_END) + 1 hours, CURE_END + terms.settlementGrace - 1];
        for (uint256 i; i < 2; ++i) {
            vm.warp(times[i]);
            setSpot(ETH, 9_000e18); // 600,000 lost
            fails(partyB, data, abi.encodeWithSelector(Errors.CallUndecided.selector, Party.A, CURE_END));
            vm.prank(partyB);
            (bool success, bytes memory why) = address(adjudicator).call(closeOutData(terms, portfolio, Party.A));
            vm.assertFalse(success);
            vm.assertEq(bytes32(bytes4(why)), bytes32(Errors.NotShort.selector)); // at the price of its cure's end
        }
        vm.warp(CURE_END + terms.settlementGrace);
        setSpot(ETH, 9_000e18);
        uint32 end = abi.decode(send(partyB, data), (uint32));
        setKnown(ETH, end, 9_000e18);
        vm.warp(end);
        closeOut(terms, portfolio, Party.A);
        assertClosed(id, -int256(uint256(enough)) - 9_999_999_999, int256(uint256(enough)) + 9_999_999_999);
    }
}
