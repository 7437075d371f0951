// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAdjudicator} from "../src/interfaces/IAdjudicator.sol";
import {Status} from "../src/interfaces/IOracle.sol";
import {Errors} from "../src/libraries/Errors.sol";
import {Events} from "../src/libraries/Events.sol";
import {Party, Phase, Portfolio, Position, Terms} from "../src/libraries/Types.sol";
import {RiskParams, Scenario} from "../src/risk/RiskTypes.sol";
import {MarginTest} from "./utils/MarginTest.sol";

/// @notice closeOut: when a call is decided, on which figures, and who is paid what (rules 6 and 7).
contract CloseOutTest is MarginTest {
    Party[2] private parties = [Party.A, Party.B];

    // ---- what it does

    /// @dev 100 forwards at 3,000, called at 2,500, closed out at 2,400: 60,000 lost, of 100,000; 3,000 of penalty.
    function test_byHand() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            Party party = parties[i];
            (Terms memory terms, bytes32 id, Portfolio memory portfolio) = longForwards(party, 2_400e18);
            bytes memory data = closeOutData(terms, portfolio, party);
            vm.expectEmit(address(adjudicator));
            emit Events.ClosedOut(id, party, i == 0 ? -60_000e6 : int256(60_000e6), 3_000e6);
            vm.expectEmit(address(adjudicator));
            emit Events.Closed(id, i == 0 ? 37_000e6 : 163_000e6, i == 0 ? 163_000e6 : 37_000e6);
            send(stranger, data);
            assertClosed(id, -side(party) * 63_000e6, side(party) * 63_000e6);
            assertConserved();
            vm.revertToState(snapshot);
        }
    }

    /// @dev Called on 100 forwards at 2,500 with a signed margin of 60,000; the cure has ended, at `price`.
    function longForwards(Party party, uint256 price)
        private
        returns (Terms memory terms, bytes32 id, Portfolio memory portfolio)
    {
        portfolio = forwards(party, LATER, 100);
        (portfolio.marginA, portfolio.marginB) =
            party == Party.A ? (uint128(60_000e6), uint128(1)) : (uint128(1), uint128(60_000e6));
        (terms, id) = called(portfolio, party, DEPOSIT, 2_500e18);
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, price);
    }

    /// @dev The value is RiskEngine's, at vols shifted against the called party, as of the cure's end.
    function test_atVolsShiftedAgainstTheCalledParty() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            Party party = parties[i];
            (Terms memory terms, bytes32 id, Portfolio memory portfolio) = cureEnded(party);
            int256 value = closeOutValue(portfolio, SPOT, CURE_END, party);
            int256 unshifted = closeOutValue(portfolio, SPOT, CURE_END, Party.None);
            vm.assertTrue(side(party) * (unshifted - value) > 500e6); // it costs the called party something
            (uint256 paidA, uint256 paidB) = clamped(D - portfolio.netToB + value - side(party) * 3_000e6, 2 * DEPOSIT);
            bytes memory data = closeOutData(terms, portfolio, party);
            vm.expectEmit(address(adjudicator));
            emit Events.ClosedOut(id, party, value, 3_000e6);
            send(stranger, data);
            assertClosed(id, int256(paidA) - D, int256(paidB) - D);
            assertConserved();
            vm.revertToState(snapshot);
        }
    }

    /// @dev With what the called party has and no more; then its penalty is what is left.
    function test_nonRecourse() public {
        // lost, of 100,000: 99,000, and the penalty takes the rest; 100,000; 150,000
        uint256[3] memory ends = [uint256(2_010e18), 2_000e18, 1_500e18];
        uint256[3] memory penalties = [uint256(1_000e6), 0, 0];
        for (uint256 i; i < 6; ++i) {
            uint256 snapshot = vm.snapshotState();
            Party party = parties[i % 2];
            (Terms memory terms, bytes32 id, Portfolio memory portfolio) = longForwards(party, ends[i / 2]);
            int256 value = side(party) * 100 * (int256(ends[i / 2]) - 3_000e18) / 1e12;
            bytes memory data = closeOutData(terms, portfolio, party);
            vm.expectEmit(address(adjudicator));
            emit Events.ClosedOut(id, party, value, penalties[i / 2]);
            send(stranger, data);
            assertClosed(id, -side(party) * D, side(party) * D);
            vm.revertToState(snapshot);
        }
    }

    function test_noPenalty_ifNoneWasAgreed() public {
        Terms memory terms = defaultTerms();
        terms.defaultPenaltyBps = 0;
        bytes32 id = open(terms, DEPOSIT, DEPOSIT);
        Portfolio memory portfolio = forwards(Party.A, LATER, 100);
        portfolio.marginA = 60_000e6;
        dispute(partyA, terms, 1, portfolio);
        setSpot(ETH, 2_400e18);
        uint32 cureEnd = callMargin(terms, portfolio, Party.A);
        vm.warp(cureEnd);
        setKnown(ETH, cureEnd, 2_400e18);
        closeOut(terms, portfolio, Party.A);
        assertClosed(id, -60_000e6, 60_000e6);
    }

    /// @dev The signed margin may be anything up to 128 bits; the penalty is still within the cash.
    function test_penalty_ofAnAbsurdMargin() public {
        Portfolio memory portfolio = forwards(Party.A, LATER, 100);
        portfolio.marginA = type(uint128).max;
        (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, 2_500e18);
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, 2_400e18);
        closeOut(terms, portfolio, Party.A);
        assertClosed(id, -D, D);
    }

    /// @dev Rule 6, the boundary: equity equal to the margin at the cure's end is enough, one unit less is not.
    function test_notShort_atTheMarginExactly() public {
        for (uint256 i; i < 2; ++i) {
            Party party = parties[i];
            Portfolio memory portfolio = shortCalls(party);
            uint128 enough = justEnough(portfolio, SPOT, CURE_END, party);
            (, uint256 maintenance) = assess(portfolio, SPOT, CURE_END, party);
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms,) = called(portfolio, party, enough, 5_000e18);
            vm.warp(CURE_END);
            setKnown(ETH, CURE_END, SPOT);
            fails(
                closeOutData(terms, portfolio, party),
                abi.encodeWithSelector(Errors.NotShort.selector, maintenance, maintenance)
            );
            vm.revertToState(snapshot);
            snapshot = vm.snapshotState();
            bytes32 id;
            (terms, id) = called(portfolio, party, enough - 1, 5_000e18);
            vm.warp(CURE_END);
            setKnown(ETH, CURE_END, SPOT);
            closeOut(terms, portfolio, party);
            assertPhase(id, Phase.Closed);
            assertConserved();
            vm.revertToState(snapshot);
        }
    }

    /// @dev A top-up within the cure counts.
    function test_curedByATopUp() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, SPOT);
        uint128 missing = justEnough(portfolio, SPOT, CURE_END, Party.A) - DEPOSIT;
        (, uint256 maintenance) = assess(portfolio, SPOT, CURE_END, Party.A);
        vm.warp(CURE_END - 1);
        send(stranger, depositData(terms, Party.A, missing));
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, SPOT);
        fails(
            closeOutData(terms, portfolio, Party.A),
            abi.encodeWithSelector(Errors.NotShort.selector, maintenance, maintenance)
        );
        assertPhase(id, Phase.RunOff);
    }

    /// @dev Rule 1, six decimals and odd figures: payouts add up to the pot, and A's is the exact value rounded once, down
    /// for what it receives and up for what it pays by less than a unit.
    function testFuzz_conserves(uint256 price, uint256 quantity, uint256 strike, uint256 vol, bool ofB) public {
        Party party = ofB ? Party.B : Party.A;
        Portfolio memory portfolio = shortCalls(party);
        portfolio.positions[0].strike = uint128(bound(strike, 1_000e18, 2_500e18));
        portfolio.positions[0].quantity = -int128(side(party)) * int128(int256(bound(quantity, 150e18, 900e18)));
        portfolio.positions[0].vol = uint128(bound(vol, 0.1e18, 3e18));
        (Terms memory terms, bytes32 id) = called(portfolio, party, DEPOSIT, SPOT);
        price = bound(price, 3_900e18, 9_000e18);
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, price);
        closeOut(terms, portfolio, party);
        int256 cash = D + 20_000e6 + side(party) * closeOutValue(portfolio, price, CURE_END, party);
        int256 left = cash > 3_000e6 ? cash - 3_000e6 : int256(0);
        int256 gain = left - D;
        assertClosed(id, party == Party.A ? gain : -gain, party == Party.A ? -gain : gain);
        assertConserved();
    }

    // ---- when

    function test_notBeforeTheCureEnds() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, SPOT);
        setKnown(ETH, CURE_END, SPOT); // even if the oracle spoke too early
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        fails(data, wrongPhase(Phase.Disputed));
        passDeadline(id);
        bytes memory early = abi.encodeWithSelector(Errors.TooEarlyToCloseOut.selector, CURE_END);
        fails(data, early);
        vm.warp(CURE_END - 1);
        fails(data, early);
        vm.warp(CURE_END);
        send(stranger, data);
        assertPhase(id, Phase.Closed);
    }

    /// @dev A cure that ends in the window is decided from the deadline on, at the price of the cure's end.
    function test_notBeforeTheDeadline() public {
        (Terms memory terms, bytes32 id, Portfolio memory portfolio, uint32 cureEnd) = curedInWindow();
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        vm.warp(cureEnd);
        setKnown(ETH, cureEnd, 2_400e18);
        fails(data, wrongPhase(Phase.Disputed));
        vm.warp(START + 4 days - 1);
        fails(data, wrongPhase(Phase.Disputed));
        vm.warp(START + 4 days);
        setKnown(ETH, uint64(START + 4 days), 9_000e18); // no matter
        setSpot(ETH, 9_000e18);
        send(stranger, data);
        assertClosed(id, -60_000e6, 60_000e6);
    }

    /// @dev A window of four days and a cure of an hour; A called on 100 forwards.
    function curedInWindow()
        private
        returns (Terms memory terms, bytes32 id, Portfolio memory portfolio, uint32 cureEnd)
    {
        terms = defaultTerms();
        (terms.disputeWindow, terms.cureWindow) = (4 days, 1 hours);
        id = open(terms, DEPOSIT, DEPOSIT);
        portfolio = forwards(Party.A, LATER, 100);
        dispute(partyA, terms, 1, portfolio);
        setSpot(ETH, 2_400e18);
        cureEnd = callMargin(terms, portfolio, Party.A);
    }

    function test_lapses() public {
        (Terms memory terms, bytes32 id, Portfolio memory portfolio) = cureEnded(Party.A);
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        fails(closeOutData(terms, portfolio, Party.B), abi.encodeWithSelector(Errors.NoCall.selector, Party.B));
        vm.warp(CURE_END + terms.settlementGrace);
        fails(data, abi.encodeWithSelector(Errors.NoCall.selector, Party.A));
        vm.warp(CURE_END + terms.settlementGrace - 1);
        send(stranger, data);
        assertPhase(id, Phase.Closed);
    }

    function test_lapses_countedFromTheDeadline() public {
        (Terms memory terms, bytes32 id, Portfolio memory portfolio, uint32 cureEnd) = curedInWindow();
        setKnown(ETH, cureEnd, 2_400e18);
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        vm.warp(START + 4 days + terms.settlementGrace);
        fails(data, abi.encodeWithSelector(Errors.NoCall.selector, Party.A));
        vm.warp(START + 4 days + terms.settlementGrace - 1);
        send(stranger, data);
        assertClosed(id, -60_000e6, 60_000e6);
    }

    /// @dev After the lapse the positions run off, or a second call starts over, with an end of its own.
    function test_lapse_andASecondCall() public {
        (Terms memory terms, bytes32 id, Portfolio memory portfolio) = cureEnded(Party.A);
        vm.warp(CURE_END + terms.settlementGrace);
        setSpot(ETH, SPOT);
        uint32 second = callMargin(terms, portfolio, Party.A);
        vm.assertEq(second, CURE_END + 6 days);
        send(stranger, depositData(terms, Party.A, 1)); // its cure is open again
        vm.warp(second);
        fails(
            closeOutData(terms, portfolio, Party.A), abi.encodeWithSelector(Errors.PriceUnknown.selector, ETH, second)
        );
        setKnown(ETH, second, SPOT + 100e18);
        int256 value = closeOutValue(portfolio, SPOT + 100e18, second, Party.A);
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        vm.expectEmit(address(adjudicator));
        emit Events.ClosedOut(id, Party.A, value, 3_000e6);
        send(stranger, data);
        assertClosed(id, 17_000e6 + 1 + value, -17_000e6 - value); // the unit was a stranger's
    }

    // ---- as of the cure's end

    /// @dev A newer state recorded in the window does not end the call; the decision is on that state.
    function test_outlivesANewerRecord() public {
        Portfolio memory portfolio = forwards(Party.A, LATER, 100);
        (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, 2_500e18);
        Portfolio memory newer = forwards(Party.A, LATER, 110);
        (newer.netToB, newer.marginA) = (-5_000e6, 20_000e6);
        vm.assertTrue(checkpoint(terms, 2, newer));
        vm.assertEq(adjudicator.channel(id).cureEndA, CURE_END);
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, 2_500e18);
        fails(
            closeOutData(terms, portfolio, Party.A),
            abi.encodeWithSelector(
                Errors.PortfolioMismatch.selector, harness.hashPortfolio(newer), harness.hashPortfolio(portfolio)
            )
        );
        closeOut(terms, newer, Party.A);
        assertClosed(id, 5_000e6 - 55_000e6 - 1_000e6, 51_000e6);
    }

    /// @dev What expired by the end of the cure counts at its settlement price, on that second still; what expires a second
    /// later is open, and is valued.
    function test_whatHasExpiredThen() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            Portfolio memory portfolio = forwards(Party.A, LATER, 100);
            uint64 expiry = CURE_END + uint64(i);
            portfolio.positions = two(forward(Party.A, expiry, 10), portfolio.positions[0]);
            (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, 2_500e18);
            vm.warp(CURE_END + 1 days);
            setKnown(ETH, expiry, 2_000e18); // 10,000 lost
            setKnown(ETH, CURE_END, i == 0 ? 2_000e18 : 2_500e18);
            closeOut(terms, portfolio, Party.A);
            int256 loss = i == 0 ? int256(100_000e6) : int256(55_000e6);
            assertClosed(id, -loss, loss);
            vm.revertToState(snapshot);
        }
    }

    /// @dev Settling in part first changes nothing.
    function test_settledInPartFirst() public {
        Portfolio memory portfolio = forwards(Party.A, LATER, 100);
        uint64 expiry = CURE_END - 2 hours;
        portfolio.marginA = 20_000e6;
        portfolio.positions = two(forward(Party.A, expiry, 10), portfolio.positions[0]);
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, 2_500e18);
            setKnown(ETH, expiry, 2_000e18); // 10,000 lost
            setKnown(ETH, CURE_END, 2_400e18); // 60,000 lost
            vm.warp(CURE_END + 1);
            Portfolio memory left = portfolio;
            if (i == 1) {
                vm.assertEq(settle(terms, portfolio), 1);
                left = forwards(Party.A, LATER, 100);
                (left.netToB, left.marginA) = (10_000e6, 20_000e6);
            }
            closeOut(terms, left, Party.A);
            assertClosed(id, -71_000e6, 71_000e6);
            vm.revertToState(snapshot);
        }
    }

    /// @dev An expired position without a price blocks the decision until its last resort serves, with time left for it.
    function test_expired_atTheLastResort() public {
        Portfolio memory portfolio = forwards(Party.A, LATER, 100);
        uint64 expiry = CURE_END - 2 hours;
        portfolio.positions = two(forward(Party.A, expiry, 10), portfolio.positions[0]);
        (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, 2_500e18);
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, 2_400e18);
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        bytes memory unknown = abi.encodeWithSelector(Errors.PriceUnknown.selector, ETH, expiry);
        fails(data, unknown);
        setLastResort(ETH, expiry, 2_000e18);
        vm.warp(expiry + terms.settlementGrace - 1);
        fails(data, unknown);
        vm.warp(expiry + terms.settlementGrace);
        send(stranger, data);
        assertClosed(id, -70_000e6, 70_000e6);
    }

    /// @dev Everything has expired by the end of the cure, and more is lost than was there: nothing is left to value.
    function test_nothingOpenThen() public {
        Portfolio memory portfolio = forwards(Party.A, CURE_END, 100);
        portfolio.marginA = 60_000e6;
        (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, 2_500e18);
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, 2_000e18);
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        fails(data, abi.encodeWithSelector(Errors.NotShort.selector, 0, 0));
        setKnown(ETH, CURE_END, 1_999e18);
        vm.expectEmit(address(adjudicator));
        emit Events.ClosedOut(id, Party.A, 0, 0);
        send(stranger, data);
        assertClosed(id, -D, D);
    }

    // ---- both called

    /// @dev Neither is favoured: the vols signed, no penalty. Ends at the same time, so whoever is named it is the same.
    function test_both_atTheVolsSigned() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms, bytes32 id, Portfolio memory portfolio) = bothCalled(0);
            vm.warp(CURE_END);
            setKnown(ETH, CURE_END, 3_100e18);
            int256 value = closeOutValue(portfolio, 3_100e18, CURE_END, Party.None);
            vm.assertTrue(value > closeOutValue(portfolio, 3_100e18, CURE_END, Party.A) + 1_000e6);
            vm.assertTrue(value < closeOutValue(portfolio, 3_100e18, CURE_END, Party.B) - 1_000e6);
            bytes memory data = closeOutData(terms, portfolio, parties[i]);
            vm.expectEmit(address(adjudicator));
            emit Events.ClosedOut(id, parties[i], value, 0);
            send(stranger, data);
            assertClosed(id, 180_000e6 + value, -180_000e6 - value);
            vm.revertToState(snapshot);
        }
    }

    /// @dev The test of each keeps the shift in its favour: one unit of cash more than B's margin at shifted vols, and B is
    /// not closed out, though at the vols signed it would be short by far.
    function test_both_theTestStillFavoursTheCalledParty() public {
        Portfolio memory portfolio = bothShort();
        uint128 enough = justEnough(portfolio, 3_100e18, CURE_END, Party.B);
        (, uint256 maintenance) = assess(portfolio, 3_100e18, CURE_END, Party.B);
        (int256 shifted,) = assess(portfolio, 3_100e18, CURE_END, Party.B);
        vm.assertTrue(shifted > -closeOutValue(portfolio, 3_100e18, CURE_END, Party.None) + 1_000e6);
        Terms memory terms = defaultTerms();
        bytes32 id = openWith(terms, Party.B, DEPOSIT, DEPOSIT);
        dispute(partyA, terms, 1, portfolio);
        vm.warp(START + 1 hours);
        setSpot(ETH, 3_100e18);
        callMargin(terms, portfolio, Party.A);
        callMargin(terms, portfolio, Party.B);
        send(stranger, depositData(terms, Party.B, enough - DEPOSIT));
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, 3_100e18);
        fails(
            closeOutData(terms, portfolio, Party.B),
            abi.encodeWithSelector(Errors.NotShort.selector, maintenance, maintenance)
        );
        closeOut(terms, portfolio, Party.A);
        assertPhase(id, Phase.Closed);
    }

    /// @dev The call that ends later is decided from half the grace on; the earlier one at once.
    function test_both_theLaterEndGoesSecond() public {
        (Terms memory terms, bytes32 id, Portfolio memory portfolio) = bothCalled(2 hours);
        uint64 endB = CURE_END + 2 hours;
        setKnown(ETH, CURE_END, 3_100e18);
        setKnown(ETH, endB, 3_100e18);
        uint256 half = uint256(endB) + terms.settlementGrace / 2;
        vm.warp(half - 1);
        bytes memory data = closeOutData(terms, portfolio, Party.B);
        fails(data, abi.encodeWithSelector(Errors.TooEarlyToCloseOut.selector, half));
        uint256 snapshot = vm.snapshotState();
        closeOut(terms, portfolio, Party.A);
        int256 value = closeOutValue(portfolio, 3_100e18, CURE_END, Party.None);
        assertClosed(id, 180_000e6 + value, -180_000e6 - value);
        vm.revertToState(snapshot);
        vm.warp(half);
        send(stranger, data);
        value = closeOutValue(portfolio, 3_100e18, endB, Party.None);
        assertClosed(id, 180_000e6 + value, -180_000e6 - value);
    }

    /// @dev The lapse of the earlier call changes nothing for the later one: still the vols signed, still no penalty.
    function test_both_afterTheFirstHasLapsed() public {
        (Terms memory terms, bytes32 id, Portfolio memory portfolio) = bothCalled(2 hours);
        uint64 endB = CURE_END + 2 hours;
        setKnown(ETH, endB, 3_100e18);
        vm.warp(CURE_END + terms.settlementGrace);
        fails(closeOutData(terms, portfolio, Party.A), abi.encodeWithSelector(Errors.NoCall.selector, Party.A));
        int256 value = closeOutValue(portfolio, 3_100e18, endB, Party.None);
        bytes memory data = closeOutData(terms, portfolio, Party.B);
        vm.expectEmit(address(adjudicator));
        emit Events.ClosedOut(id, Party.B, value, 0);
        send(stranger, data);
        assertClosed(id, 180_000e6 + value, -180_000e6 - value);
    }

    /// @dev Ends up to the cure of a day apart are one call on both, whichever is decided; an hour more and each bears its
    /// own default.
    function test_both_byTheEnds() public {
        for (uint256 i; i < 6; ++i) {
            uint256 snapshot = vm.snapshotState();
            (Party first, uint64 apart) = (parties[i % 2], uint64(23 + i / 2) * 1 hours);
            (Terms memory terms, bytes32 id, Portfolio memory portfolio) = calledOneAfterTheOther(first, apart);
            Party second = otherOf(first);
            bool both = i < 4;
            uint64 end = CURE_END + apart;
            vm.assertEq(first == Party.A ? adjudicator.channel(id).cureEndB : adjudicator.channel(id).cureEndA, end);
            uint64[2] memory ends = [CURE_END, end];
            vm.warp(end + terms.settlementGrace / 2);
            for (uint256 j; j < 2; ++j) {
                uint256 between = vm.snapshotState();
                Party party = j == 0 ? first : second;
                setKnown(ETH, ends[j], 3_100e18);
                int256 value = closeOutValue(portfolio, 3_100e18, ends[j], both ? Party.None : party);
                int256 penalty = both ? int256(0) : side(party) * 3_000e6;
                closeOut(terms, portfolio, party);
                assertClosed(id, 180_000e6 + value - penalty, -180_000e6 - value + penalty);
                vm.revertToState(between);
            }
            vm.revertToState(snapshot);
        }
    }

    /// @dev Both short at 3,100; `first` called an hour into the window, the other at `apart` from that.
    function calledOneAfterTheOther(Party first, uint256 apart)
        private
        returns (Terms memory terms, bytes32 id, Portfolio memory portfolio)
    {
        portfolio = bothShort();
        (terms, id) = called(portfolio, first, DEPOSIT, 3_100e18);
        vm.warp(START + 1 hours + apart);
        setSpot(ETH, 3_100e18);
        callMargin(terms, portfolio, otherOf(first));
    }

    /// @dev The later call waits if the earlier has not lapsed when the later becomes decidable: an hour before the lapse it
    /// still waits half the grace, at the lapse it doesn't, whatever the time of the decision.
    function test_afterTheOther_waitsUnlessThatHasLapsed() public {
        for (uint256 i; i < 4; ++i) {
            uint256 snapshot = vm.snapshotState();
            Party first = parties[i % 2];
            uint64 apart = i < 2 ? 5 days - 1 hours : 5 days;
            (Terms memory terms, bytes32 id, Portfolio memory portfolio) = calledOneAfterTheOther(first, apart);
            uint64 end = CURE_END + apart;
            setKnown(ETH, end, 3_100e18);
            bytes memory data = closeOutData(terms, portfolio, otherOf(first));
            uint256 from = i < 2 ? end + terms.settlementGrace / 2 : end;
            bytes memory early = abi.encodeWithSelector(Errors.TooEarlyToCloseOut.selector, from);
            vm.warp(from - 1);
            fails(data, early);
            vm.warp(from);
            send(stranger, data);
            assertPhase(id, Phase.Closed);
            vm.revertToState(snapshot);
        }
    }

    /// @dev Both ends lie more than the grace before the deadline: both calls can be decided from it on, and the later end
    /// still goes second.
    function test_both_theLaterEndGoesSecond_inTheWindow() public {
        Terms memory terms = defaultTerms();
        (terms.disputeWindow, terms.cureWindow) = (10 days, 1 hours);
        bytes32 id = open(terms, DEPOSIT, DEPOSIT);
        Portfolio memory portfolio = bothShort();
        dispute(partyA, terms, 1, portfolio);
        setSpot(ETH, 3_100e18);
        uint32 endA = callMargin(terms, portfolio, Party.A);
        vm.warp(endA - 1);
        setSpot(ETH, 3_100e18);
        uint32 endB = callMargin(terms, portfolio, Party.B);
        vm.assertEq(endB, endA + 1 hours);
        setKnown(ETH, endA, 3_100e18);
        setKnown(ETH, endB, 3_100e18);
        uint256 half = START + 10 days + terms.settlementGrace / 2;
        bytes memory data = closeOutData(terms, portfolio, Party.B);
        vm.warp(half - 1);
        fails(data, abi.encodeWithSelector(Errors.TooEarlyToCloseOut.selector, half));
        uint256 snapshot = vm.snapshotState();
        closeOut(terms, portfolio, Party.A);
        assertPhase(id, Phase.Closed);
        vm.revertToState(snapshot);
        vm.warp(half);
        send(stranger, data);
        int256 value = closeOutValue(portfolio, 3_100e18, endB, Party.None);
        assertClosed(id, 180_000e6 + value, -180_000e6 - value);
    }

    /// @dev A call that lapsed before the other was called does not count.
    function test_notBoth_calledAfterTheOthersLapse() public {
        (Terms memory terms, bytes32 id, Portfolio memory portfolio) =
            calledOneAfterTheOther(Party.B, 6 days + 20 hours);
        uint64 endA = CURE_END + 6 days + 20 hours;
        setKnown(ETH, endA, 3_100e18);
        int256 value = closeOutValue(portfolio, 3_100e18, endA, Party.A);
        vm.warp(endA);
        closeOut(terms, portfolio, Party.A);
        assertClosed(id, 177_000e6 + value, -177_000e6 - value);
    }

    // ---- waterfall

    /// @dev The stale penalty comes last, of the cash that the close-out and the default penalty have left.
    function test_stalePenalty_isLast() public {
        for (uint256 i; i < 4; ++i) {
            uint256 snapshot = vm.snapshotState();
            Portfolio memory portfolio = forwards(Party.A, LATER, 100);
            portfolio.marginA = 60_000e6;
            (Terms memory terms, bytes32 id) = open();
            dispute(i % 2 == 0 ? partyA : partyB, terms);
            checkpoint(terms, 17, portfolio); // 17 above the filed one
            setSpot(ETH, 2_400e18);
            uint32 cureEnd = callMargin(terms, portfolio, Party.A);
            vm.warp(cureEnd);
            // 60,000 lost and 3,000 of penalty; or 95,000, 3,000 and 2,000 left
            setKnown(ETH, cureEnd, i < 2 ? 2_400e18 : 2_050e18);
            closeOut(terms, portfolio, Party.A);
            int256 loss = i < 2 ? int256(63_000e6) : int256(98_000e6);
            if (i % 2 == 1) loss -= 5_000e6; // B filed
            else loss = i < 2 ? int256(68_000e6) : D;
            assertClosed(id, -loss, loss);
            vm.revertToState(snapshot);
        }
    }

    // ---- refusals

    function test_refuses_neitherParty() public {
        (Terms memory terms,, Portfolio memory portfolio) = cureEnded(Party.A);
        fails(closeOutData(terms, portfolio, Party.None), abi.encodeWithSelector(Errors.InvalidParty.selector));
    }

    function test_refuses_otherPhases() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        Terms memory terms = defaultTerms();
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        fails(data, wrongPhase(Phase.None));
        open(terms, DEPOSIT, DEPOSIT);
        fails(data, wrongPhase(Phase.Open));
        close(terms, 2, 0);
        fails(data, wrongPhase(Phase.Closed));
    }

    function test_refuses_otherParameters() public {
        (Terms memory terms,, Portfolio memory portfolio) = cureEnded(Party.A);
        RiskParams[] memory other = risk();
        other[1].shiftBase = 0;
        fails(
            abi.encodeCall(IAdjudicator.closeOut, (terms, other, portfolio, Party.A, new Scenario[](0))),
            abi.encodeWithSelector(Errors.RiskMismatch.selector, terms.riskHash, riskHashOf(other))
        );
    }

    function test_refuses_anotherPortfolio() public {
        (Terms memory terms,, Portfolio memory portfolio) = cureEnded(Party.A);
        bytes32 recorded = harness.hashPortfolio(portfolio);
        portfolio.marginA += 1;
        fails(
            closeOutData(terms, portfolio, Party.A),
            abi.encodeWithSelector(Errors.PortfolioMismatch.selector, recorded, harness.hashPortfolio(portfolio))
        );
    }

    /// @dev Only a known price of the cure's end: no last resort, no spot, no signed spot, however long it takes.
    function test_refuses_withoutTheKnownPrice() public {
        (Terms memory terms, bytes32 id, Portfolio memory portfolio) = cureEnded(Party.A);
        vm.warp(CURE_END + terms.settlementGrace - 1);
        setSpot(ETH, SPOT);
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        bytes memory unknown = abi.encodeWithSelector(Errors.PriceUnknown.selector, ETH, CURE_END);
        Status[3] memory others = [Status.Unset, Status.LastResort, Status.Never];
        for (uint256 i; i < 3; ++i) {
            oracle.set(ETH, CURE_END, others[i], SPOT);
            fails(data, unknown);
        }
        setKnown(ETH, CURE_END, 0);
        fails(data, unknown);
        setKnown(ETH, CURE_END, 2 ** 128);
        fails(data, unknown);
        setKnown(ETH, CURE_END, SPOT);
        send(stranger, data);
        assertPhase(id, Phase.Closed);
    }

    /// @dev The price of the cure's end is asked of feeds with positions open then.
    function test_prices_ofFeedsWithOpenPositions() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        Position memory ofBtc = option(1, CURE_END, 60_000e18, -1e15);
        ofBtc.feed = BTC;
        portfolio.positions = ETH < BTC ? two(portfolio.positions[0], ofBtc) : two(ofBtc, portfolio.positions[0]);
        Terms memory terms = defaultTerms();
        bytes32 id = open(terms, DEPOSIT, DEPOSIT);
        dispute(partyA, terms, 1, portfolio);
        vm.warp(START + 1 hours);
        setSpot(ETH, SPOT);
        setSpot(BTC, 70_000e18);
        callMargin(terms, portfolio, Party.A);
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, SPOT);
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        fails(data, abi.encodeWithSelector(Errors.PriceUnknown.selector, BTC, CURE_END)); // as an expired position
        setKnown(BTC, CURE_END, 70_000e18);
        send(stranger, data);
        assertPhase(id, Phase.Closed);
    }

    // ---- external calls

    /// @dev Rule 10: with any amount of gas it pays what it pays with plenty, or reverts.
    function test_starvedOfGas() public {
        (Terms memory terms, bytes32 id, Portfolio memory portfolio) = cureEnded(Party.A);
        oracle.setEffort(40_000);
        bytes memory data = closeOutData(terms, portfolio, Party.A);
        int256 gain = 20_000e6 + closeOutValue(portfolio, SPOT, CURE_END, Party.A) - 3_000e6;
        uint256 made;
        uint256 refusals;
        for (uint256 gas_ = 40_000; gas_ < 1_500_000; gas_ += 7_919) {
            uint256 snapshot = vm.snapshotState();
            (bool success, bytes memory why) = address(adjudicator).call{gas: gas_}(data);
            if (bytes4(why) == Errors.InsufficientGas.selector) ++refusals;
            vm.assertTrue(bytes4(why) != Errors.PriceUnknown.selector);
            if (success) {
                ++made;
                assertClosed(id, gain, -gain);
            }
            vm.revertToState(snapshot);
        }
        vm.assertTrue(made > 10 && refusals > 5);
    }
}
