// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Adjudicator} from "../src/Adjudicator.sol";
import {IAdjudicator} from "../src/interfaces/IAdjudicator.sol";
import {Status} from "../src/interfaces/IOracle.sol";
import {Errors} from "../src/libraries/Errors.sol";
import {Events} from "../src/libraries/Events.sol";
import {ChannelView, Party, Phase, Portfolio, Position, Spot, Terms} from "../src/libraries/Types.sol";
import {Black76} from "../src/risk/Black76.sol";
import {IRiskEngine} from "../src/risk/IRiskEngine.sol";
import {RiskParams, Scenario} from "../src/risk/RiskTypes.sol";
import {FakeOracle} from "./utils/FakeOracle.sol";
import {MarginTest} from "./utils/MarginTest.sol";

/// @notice callMargin: who may be called when, on which figures, and what it changes (rules 6 and 7).
contract MarginCallTest is MarginTest {
    Party[2] private parties = [Party.A, Party.B];

    // ---- what it does

    function test_callsThePartyThatIsShort() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            Party party = parties[i];
            Portfolio memory portfolio = shortCalls(party);
            (Terms memory terms, bytes32 id) = inWindow(portfolio, party, DEPOSIT, SPOT);
            ChannelView memory expected = adjudicator.channel(id);
            (int256 value, uint256 maintenance) = assess(portfolio, SPOT, block.timestamp, party);
            bytes memory data = callMarginData(terms, portfolio, party);
            vm.expectEmit(address(adjudicator));
            emit Events.MarginCalled(id, party, CURE_END, D + 20_000e6 + value, maintenance);
            vm.assertEq(abi.decode(send(stranger, data), (uint256)), CURE_END);

            (expected.cureEndA, expected.cureEndB) = i == 0 ? (CURE_END, uint32(0)) : (uint32(0), CURE_END);
            assertSame(adjudicator.channel(id), expected); // nothing else is stored
            vm.assertEq(token.balanceOf(address(adjudicator)), 2 * DEPOSIT);
            vm.revertToState(snapshot);
        }
    }

    function test_callsInRunOff_byTheClockAndAsStored() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            Portfolio memory portfolio = shortCalls(Party.A);
            (Terms memory terms, bytes32 id) = inWindow(portfolio, Party.A, DEPOSIT, SPOT);
            vm.warp(START + 3 days);
            setSpot(ETH, SPOT);
            if (i == 1) vm.assertEq(settle(terms, portfolio), 0);
            vm.assertEq(callMargin(terms, portfolio, Party.A), 1_774_346_400); // START + 4 d, rounded up
            ChannelView memory view_ = adjudicator.channel(id);
            vm.assertEq(view_.cureEndA, 1_774_346_400);
            vm.assertEq(view_.flags, i);
            vm.revertToState(snapshot);
        }
    }

    /// @dev The first full hour at or after now + cureWindow.
    function testFuzz_cureEndsOnAFullHour(uint256 wait, uint256 window) public {
        window = bound(window, 1 hours, 7 days);
        Terms memory terms = defaultTerms();
        terms.cureWindow = uint32(window);
        open(terms, DEPOSIT, DEPOSIT);
        Portfolio memory portfolio = emptyPortfolio(int128(DEPOSIT) + 1);
        portfolio.markedAt = uint64(START);
        dispute(partyA, terms, 1, portfolio);
        vm.warp(START + bound(wait, 0, 30 days));
        uint256 cureEnd = callMargin(terms, portfolio, Party.A);
        vm.assertEq(cureEnd % 3_600, 0);
        vm.assertGe(cureEnd, block.timestamp + window);
        vm.assertLe(cureEnd, block.timestamp + window + 3_599);
    }

    function test_beyondTheYear2106() public {
        uint256 last = uint256(type(uint32).max) / 3_600 * 3_600; // the last full hour of 32 bits
        vm.warp(last - 1 days - 1 hours);
        Terms memory terms = defaultTerms();
        terms.disputeWindow = 1 hours;
        open(terms, DEPOSIT, DEPOSIT);
        Portfolio memory portfolio = emptyPortfolio(int128(DEPOSIT) + 1);
        portfolio.markedAt = uint64(block.timestamp);
        dispute(partyA, terms, 1, portfolio);
        vm.warp(last - 1 days + 1);
        bytes memory data = callMarginData(terms, portfolio, Party.A);
        fails(data, abi.encodeWithSelector(Errors.TimeOverflow.selector));
        vm.warp(last - 1 days);
        vm.assertEq(callMargin(terms, portfolio, Party.A), last);
    }

    // ---- who is short

    /// @dev Equity equal to the margin is enough, one unit less is not.
    function test_notShort_atTheMarginExactly() public {
        for (uint256 i; i < 2; ++i) {
            Party party = parties[i];
            Portfolio memory portfolio = shortCalls(party);
            uint128 enough = justEnough(portfolio, SPOT, START + 1 hours, party);
            (, uint256 maintenance) = assess(portfolio, SPOT, START + 1 hours, party);
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms,) = inWindow(portfolio, party, enough, SPOT);
            fails(
                callMarginData(terms, portfolio, party),
                abi.encodeWithSelector(Errors.NotShort.selector, maintenance, maintenance)
            );
            vm.revertToState(snapshot);
            snapshot = vm.snapshotState();
            (terms,) = inWindow(portfolio, party, enough - 1, SPOT);
            callMargin(terms, portfolio, party);
            vm.revertToState(snapshot);
        }
    }

    /// @dev By hand: 100 forwards at 3,000 with the spot at 2,500 are worth -50,000 to their holder, and require a move of
    /// 0.2 and a carry of 0.005 + 0.03 a year for 3,014,000 s, of 250,000.
    function test_forwards_byHand() public {
        uint256 maintenance = 51_250e6 + uint256(7_500e6) * 3_014_000 / 31_536_000 + 1;
        for (uint256 i; i < 2; ++i) {
            Party party = parties[i];
            Portfolio memory portfolio = forwards(party, LATER, 100);
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms,) = inWindow(portfolio, party, 50_000e6 + maintenance, 2_500e18);
            fails(
                callMarginData(terms, portfolio, party),
                abi.encodeWithSelector(Errors.NotShort.selector, maintenance, maintenance)
            );
            vm.revertToState(snapshot);
            snapshot = vm.snapshotState();
            (terms,) = inWindow(portfolio, party, 50_000e6 + maintenance - 1, 2_500e18);
            callMargin(terms, portfolio, party);
            vm.revertToState(snapshot);
        }
    }

    /// @dev Rule 6: cash that covers the most the positions can cost is enough at any price, at any time, on any marks.
    function testFuzz_neverShort_ifCashCoversTheLargestLoss(uint256 eth, uint256 wait, uint256 vol, bool ofB) public {
        Party party = ofB ? Party.B : Party.A;
        Portfolio memory portfolio = onePosition();
        int128 sign = int128(side(party));
        // 10 puts sold at 3,000 cost 30,000 at most; a spread of 10 calls, 2,500 sold and 3,500 bought, 10,000.
        portfolio.positions = new Position[](3);
        portfolio.positions[0] = option(0, LATER, 2_500e18, -sign * 10e18);
        portfolio.positions[1] = option(0, LATER, 3_500e18, sign * 10e18);
        portfolio.positions[2] = option(1, LATER + 1 days, 3_000e18, -sign * 10e18);
        for (uint256 i; i < 3; ++i) {
            portfolio.positions[i].vol = uint128(bound(vol, 0.05e18, 5e18));
        }
        (Terms memory terms,) = inWindow(portfolio, party, 40_000e6 + 3, 1e18); // 3: truncation, position by position
        vm.warp(START + bound(wait, 1 hours, 30 days));
        setSpot(ETH, bound(eth, 1e18, 1_000_000e18));
        vm.prank(stranger);
        (bool success, bytes memory why) = address(adjudicator).call(callMarginData(terms, portfolio, party));
        vm.assertFalse(success);
        vm.assertEq(bytes32(bytes4(why)), bytes32(Errors.NotShort.selector));
    }

    function test_nonce0_hasNoMarks() public {
        (Terms memory terms,) = open();
        dispute(partyA, terms);
        Portfolio memory none = emptyPortfolio(0);
        fails(
            callMarginData(terms, none, Party.A), abi.encodeWithSelector(Errors.MarksTooOld.selector, 0, 1_773_827_200)
        );
    }

    /// @dev What is named of the scenarios counts, and no more: a mild one shows nothing, a hard one enough.
    function test_scenarios_showAPart() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        uint128 enough = justEnough(portfolio, SPOT, START + 1 hours, Party.A);
        (Terms memory terms, bytes32 id) = inWindow(portfolio, Party.A, enough - 6_000e6, SPOT);
        // 0: the price stays and vol rises; 11: it falls by the whole range
        uint8[2] memory mild = [0, 13];
        for (uint256 i; i < 2; ++i) {
            (int256 worth, uint256 part) = assess(portfolio, SPOT, block.timestamp, Party.A, scenario(mild[i]));
            int256 cash = int256(uint256(enough)) - 6_000e6 + 20_000e6;
            fails(
                callMarginData(terms, portfolio, Party.A, scenario(mild[i])),
                abi.encodeWithSelector(Errors.NotShort.selector, cash + worth, part)
            );
        }
        (int256 value, uint256 shown) = assess(portfolio, SPOT, block.timestamp, Party.A, scenario(10));
        bytes memory data = callMarginData(terms, portfolio, Party.A, scenario(10)); // it rises by the whole range
        vm.expectEmit(address(adjudicator));
        emit Events.MarginCalled(id, Party.A, CURE_END, int256(uint256(enough)) + 14_000e6 + value, shown);
        send(stranger, data);
    }

    function test_scenarios_oneForEachOpenFeed() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms,) = inWindow(portfolio, Party.A, DEPOSIT, SPOT);
        fails(
            callMarginData(terms, portfolio, Party.A, new Scenario[](2)),
            abi.encodeWithSelector(IRiskEngine.NoSuchScenario.selector, bytes32(0))
        );
        fails(
            callMarginData(terms, portfolio, Party.A, scenario(18)),
            abi.encodeWithSelector(IRiskEngine.NoSuchScenario.selector, ETH)
        );
    }

    // ---- what has expired

    /// @dev Positions that have expired count at their settlement price, whether or not `settle` ran: 50 forwards that
    /// ended at 2,000 have cost 50,000.
    function test_expired_countAtTheirSettlementPrice() public {
        for (uint256 i; i < 2; ++i) {
            Party party = parties[i];
            Portfolio memory portfolio = forwards(party, EXPIRY, 50);
            portfolio.positions = two(portfolio.positions[0], forward(party, LATER, 1));
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms,) = inWindow(portfolio, party, 50_000e6, 3_000e18);
            vm.warp(EXPIRY);
            setSpot(ETH, 3_000e18);
            bytes memory data = callMarginData(terms, portfolio, party);
            fails(data, abi.encodeWithSelector(Errors.PriceUnknown.selector, ETH, EXPIRY));
            setKnown(ETH, EXPIRY, 2_000e18);
            Portfolio memory open_ = forwards(party, LATER, 1);
            (int256 value, uint256 maintenance) = assess(open_, 3_000e18, EXPIRY, party);
            vm.assertEq(value, 0);
            vm.expectEmit(address(adjudicator));
            emit Events.MarginCalled(adjudicator.channelId(terms), party, 1_774_684_800, 0, maintenance);
            uint256 between = vm.snapshotState();
            send(stranger, data);
            vm.revertToState(between);

            // the same once it is settled
            settle(terms, portfolio);
            open_.netToB = int128(side(party)) * 50_000e6;
            data = callMarginData(terms, open_, party);
            vm.expectEmit(address(adjudicator));
            emit Events.MarginCalled(adjudicator.channelId(terms), party, 1_774_684_800, 0, maintenance);
            send(stranger, data);
            vm.revertToState(snapshot);
        }
    }

    /// @dev A second before its expiry a position is valued at the spot, not settled.
    function test_expired_fromItsExpiryOn() public {
        Portfolio memory portfolio = forwards(Party.A, EXPIRY, 50);
        (Terms memory terms,) = inWindow(portfolio, Party.A, 50_000e6, 3_000e18);
        setKnown(ETH, EXPIRY, 1_000e18); // even if the oracle spoke too early
        vm.warp(EXPIRY - 1);
        setSpot(ETH, 3_000e18);
        (int256 value, uint256 maintenance) = assess(portfolio, 3_000e18, EXPIRY - 1, Party.A);
        fails(
            callMarginData(terms, portfolio, Party.A),
            abi.encodeWithSelector(Errors.NotShort.selector, 50_000e6 + value, maintenance)
        );
        vm.warp(EXPIRY);
        callMargin(terms, portfolio, Party.A); // 100,000 lost, no spot needed
    }

    function test_expired_atTheLastResort_onceItServes() public {
        Portfolio memory portfolio = forwards(Party.A, EXPIRY, 50);
        (Terms memory terms,) = inWindow(portfolio, Party.A, 50_000e6, 3_000e18);
        setLastResort(ETH, EXPIRY, 1_900e18); // 55,000 lost
        vm.warp(EXPIRY + terms.settlementGrace - 1);
        bytes memory data = callMarginData(terms, portfolio, Party.A);
        fails(data, abi.encodeWithSelector(Errors.PriceUnknown.selector, ETH, EXPIRY));
        vm.warp(EXPIRY + terms.settlementGrace);
        send(stranger, data);
    }

    // ---- refusals

    function test_refuses_neitherParty() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms,) = inWindow(portfolio, Party.A, DEPOSIT, SPOT);
        fails(callMarginData(terms, portfolio, Party.None), abi.encodeWithSelector(Errors.InvalidParty.selector));
    }

    function test_refuses_otherPhases() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        Terms memory terms = defaultTerms();
        setSpot(ETH, SPOT);
        bytes memory data = callMarginData(terms, portfolio, Party.A);
        fails(data, wrongPhase(Phase.None));
        open(terms, DEPOSIT, DEPOSIT);
        checkpoint(terms, 1, portfolio);
        fails(data, wrongPhase(Phase.Open));
        close(terms, 2, 0);
        fails(data, wrongPhase(Phase.Closed));
    }

    /// @dev One undecided call a party at a time.
    function test_refuses_aSecondCall_untilItHasLapsed() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms, bytes32 id) = called(portfolio, Party.A, DEPOSIT, SPOT);
        bytes memory undecided = abi.encodeWithSelector(Errors.CallUndecided.selector, Party.A, CURE_END);
        bytes memory data = callMarginData(terms, portfolio, Party.A);
        fails(data, undecided);
        vm.warp(CURE_END + terms.settlementGrace - 1);
        setSpot(ETH, SPOT);
        fails(data, undecided);
        vm.warp(CURE_END + terms.settlementGrace);
        uint32 second = callMargin(terms, portfolio, Party.A);
        vm.assertEq(second, CURE_END + terms.settlementGrace + 1 days); // full hours, all of them
        vm.assertEq(adjudicator.channel(id).cureEndA, second);
    }

    /// @dev A cure that ends within the window: the call lapses `settlementGrace` after the deadline.
    function test_lapse_countsFromTheDeadline() public {
        Terms memory terms = defaultTerms();
        terms.disputeWindow = 4 days;
        terms.cureWindow = 1 hours;
        open(terms, DEPOSIT, DEPOSIT);
        Portfolio memory portfolio = shortCalls(Party.A);
        dispute(partyA, terms, 1, portfolio);
        setSpot(ETH, SPOT);
        uint32 cureEnd = callMargin(terms, portfolio, Party.A);
        vm.assertEq(cureEnd, START + 1 hours + 800);
        bytes memory data = callMarginData(terms, portfolio, Party.A);
        vm.warp(START + 4 days + terms.settlementGrace - 1);
        setSpot(ETH, SPOT);
        fails(data, abi.encodeWithSelector(Errors.CallUndecided.selector, Party.A, cureEnd));
        vm.warp(START + 4 days + terms.settlementGrace);
        send(stranger, data);
    }

    function test_calls_bothParties() public {
        Portfolio memory portfolio = straddle();
        (Terms memory terms, bytes32 id) = inWindow(portfolio, Party.A, DEPOSIT, 3_000e18);
        callMargin(terms, portfolio, Party.A);
        vm.warp(START + 3 hours);
        setSpot(ETH, 3_000e18);
        uint32 cureEnd = callMargin(terms, portfolio, Party.B);
        ChannelView memory view_ = adjudicator.channel(id);
        vm.assertEq(view_.cureEndA, CURE_END);
        vm.assertEq(view_.cureEndB, cureEnd);
        vm.assertEq(cureEnd, CURE_END + 2 hours);
    }

    /// @dev A second call on a party waits for the other's first to lapse; a first one never does.
    function test_refuses_aSecondCall_whileTheOthersIsUndecided() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            (Party first, Party second) = (parties[i], parties[1 - i]);
            Portfolio memory portfolio = straddle();
            (Terms memory terms,) = called(portfolio, first, DEPOSIT, 3_000e18);
            vm.warp(START + 21 hours);
            setSpot(ETH, 3_000e18);
            uint32 end = callMargin(terms, portfolio, second);
            vm.assertEq(end, CURE_END + 20 hours);
            bytes memory data = callMarginData(terms, portfolio, first);
            bytes memory undecided = abi.encodeWithSelector(Errors.CallUndecided.selector, second, end);
            vm.warp(CURE_END + terms.settlementGrace); // its own has lapsed
            setSpot(ETH, 3_000e18);
            fails(data, undecided);
            vm.warp(end + terms.settlementGrace - 1);
            setSpot(ETH, 3_000e18);
            fails(data, undecided);
            vm.warp(end + terms.settlementGrace);
            setSpot(ETH, 3_000e18);
            vm.assertEq(abi.decode(send(stranger, data), (uint256)), end + 6 days);
            // The new end is far from the other's: that one may be called again.
            callMargin(terms, portfolio, second);
            vm.revertToState(snapshot);
        }
    }

    /// @dev 300 forwards are too many for the deposit of either side.
    function straddle() private pure returns (Portfolio memory) {
        return forwards(Party.A, LATER, 300);
    }

    /// @dev Marks as old as `maxMarkAge` when the dispute was filed serve, however old they have become; a second more and
    /// they do not.
    function test_refuses_marksThatWereStaleAtFiling() public {
        Terms memory terms = defaultTerms();
        open(terms, DEPOSIT, DEPOSIT);
        Portfolio memory portfolio = shortCalls(Party.A);
        portfolio.markedAt = uint64(START) - terms.maxMarkAge - 1;
        dispute(partyA, terms, 1, portfolio);
        setSpot(ETH, SPOT);
        fails(
            callMarginData(terms, portfolio, Party.A),
            abi.encodeWithSelector(Errors.MarksTooOld.selector, START - terms.maxMarkAge - 1, START - terms.maxMarkAge)
        );
        portfolio.markedAt += 1;
        checkpoint(terms, 2, portfolio);
        vm.warp(START + 20 days);
        setSpot(ETH, SPOT);
        callMargin(terms, portfolio, Party.A);
    }

    function test_refuses_otherParameters() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms,) = inWindow(portfolio, Party.A, DEPOSIT, SPOT);
        RiskParams[] memory other = risk();
        other[0].runOffFactor += 1;
        bytes memory data =
            abi.encodeCall(IAdjudicator.callMargin, (terms, other, portfolio, Party.A, new Scenario[](0)));
        fails(data, abi.encodeWithSelector(Errors.RiskMismatch.selector, terms.riskHash, riskHashOf(other)));
        // left out, or added
        other = new RiskParams[](1);
        other[0] = risk()[0];
        data = abi.encodeCall(IAdjudicator.callMargin, (terms, other, portfolio, Party.A, new Scenario[](0)));
        fails(data, abi.encodeWithSelector(Errors.RiskMismatch.selector, terms.riskHash, riskHashOf(other)));
    }

    function test_refuses_anotherPortfolio() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms,) = inWindow(portfolio, Party.A, DEPOSIT, SPOT);
        Portfolio memory other = shortCalls(Party.A);
        other.netToB += 1;
        fails(
            callMarginData(terms, other, Party.A),
            abi.encodeWithSelector(
                Errors.PortfolioMismatch.selector, harness.hashPortfolio(portfolio), harness.hashPortfolio(other)
            )
        );
    }

    /// @dev A spot as old as `maxPriceAge` serves, a second older and it does not; nor does none, 0, a future one, one beyond
    /// 128 bits, or an oracle that fails.
    function test_refuses_spotsTooOld() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms,) = inWindow(portfolio, Party.A, DEPOSIT, SPOT);
        bytes memory data = callMarginData(terms, portfolio, Party.A);
        uint256 time = block.timestamp;
        oracle.setSpot(ETH, SPOT, time - terms.maxPriceAge - 1);
        fails(data, abi.encodeWithSelector(Errors.SpotTooOld.selector, ETH, time - terms.maxPriceAge - 1));
        bytes memory none = abi.encodeWithSelector(Errors.SpotTooOld.selector, ETH, 0);
        oracle.setSpot(ETH, 0, time);
        fails(data, abi.encodeWithSelector(Errors.SpotTooOld.selector, ETH, time));
        oracle.setSpot(ETH, SPOT, time + 1);
        fails(data, none);
        oracle.setSpot(ETH, 2 ** 128, time);
        fails(data, none);
        oracle.setSpot(ETH, SPOT, time);
        oracle.setSpotFails(true);
        fails(data, none);
        oracle.setSpotFails(false);
        oracle.setSpot(ETH, SPOT, time - terms.maxPriceAge);
        send(stranger, data);
    }

    /// @dev Every feed with open positions needs a spot; a feed with none left needs none.
    function test_spots_ofFeedsWithOpenPositions() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        Position memory ofBtc = option(1, EXPIRY, 60_000e18, -1e15);
        ofBtc.feed = BTC;
        portfolio.positions = ETH < BTC ? two(portfolio.positions[0], ofBtc) : two(ofBtc, portfolio.positions[0]);
        (Terms memory terms,) = inWindow(portfolio, Party.A, DEPOSIT, SPOT);
        bytes memory data = callMarginData(terms, portfolio, Party.A);
        fails(data, abi.encodeWithSelector(Errors.SpotTooOld.selector, BTC, 0));
        uint256 snapshot = vm.snapshotState();
        setSpot(BTC, 70_000e18);
        (int256 value, uint256 maintenance) = riskEngine.assess(
            portfolio.positions, twoPrices(), risk(), UNIT, portfolio.markedAt, block.timestamp, 1, new Scenario[](0)
        );
        vm.expectEmit(address(adjudicator));
        emit Events.MarginCalled(adjudicator.channelId(terms), Party.A, CURE_END, D + 20_000e6 + value, maintenance);
        send(stranger, data);
        vm.revertToState(snapshot);

        vm.warp(EXPIRY);
        setSpot(ETH, SPOT);
        setKnown(BTC, EXPIRY, 70_000e18);
        send(stranger, data);
    }

    function twoPrices() private pure returns (Spot[] memory list) {
        list = new Spot[](2);
        (list[0], list[1]) = (Spot(ETH, uint128(SPOT)), Spot(BTC, 70_000e18));
        if (BTC < ETH) (list[0], list[1]) = (list[1], list[0]);
    }

    /// @dev What RiskEngine refuses, its own word for it comes through: nobody is called on figures it does not know.
    function test_handsOnWhatRiskEngineRefuses() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        portfolio.positions[0].kind = 5;
        refused(portfolio, abi.encodeWithSelector(Black76.PricingDomainError.selector));
        portfolio = shortCalls(Party.A);
        portfolio.positions = two(portfolio.positions[0], portfolio.positions[0]);
        refused(portfolio, abi.encodeWithSelector(IRiskEngine.PositionsOutOfOrder.selector, 1));
        portfolio = shortCalls(Party.A);
        portfolio.positions[0].feed = "DOGE";
        refused(portfolio, abi.encodeWithSelector(IRiskEngine.NoRiskParams.selector, bytes32("DOGE")));
    }

    function refused(Portfolio memory portfolio, bytes memory why) private {
        uint256 snapshot = vm.snapshotState();
        (Terms memory terms,) = inWindow(portfolio, Party.A, 1, SPOT);
        setSpot("DOGE", 1e18);
        fails(callMarginData(terms, portfolio, Party.A), why);
        vm.revertToState(snapshot);
    }

    function test_noRiskEngine() public {
        vm.expectRevert(abi.encodeWithSelector(Errors.NoRiskEngine.selector, stranger));
        new Adjudicator(IRiskEngine(stranger));
    }

    // ---- external calls

    /// @dev Rule 10: with any amount of gas it does what it does with plenty, or reverts; a working oracle cannot be starved
    /// into looking as if it had no price.
    function test_oracleStarvedOfGas() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms, bytes32 id) = inWindow(portfolio, Party.A, DEPOSIT, SPOT);
        oracle.setSpotEffort(40_000);
        bytes memory data = callMarginData(terms, portfolio, Party.A);
        uint256 made;
        uint256 refusals;
        for (uint256 gas_ = 40_000; gas_ < 1_000_000; gas_ += 4_973) {
            uint256 snapshot = vm.snapshotState();
            (bool success, bytes memory why) = address(adjudicator).call{gas: gas_}(data);
            if (bytes4(why) == Errors.InsufficientGas.selector) ++refusals;
            vm.assertTrue(bytes4(why) != Errors.SpotTooOld.selector);
            if (success) ++made;
            vm.assertEq(adjudicator.channel(id).cureEndA, success ? CURE_END : 0);
            vm.revertToState(snapshot);
        }
        vm.assertTrue(made > 10 && refusals > 5);
    }

    /// @dev An oracle that burns its gas, or answers at length, is one without a price.
    function test_hostileOracle_isUnknown() public {
        Portfolio memory portfolio = forwards(Party.A, EXPIRY, 50);
        (Terms memory terms,) = inWindow(portfolio, Party.A, 50_000e6, 3_000e18);
        setKnown(ETH, EXPIRY, 1_000e18);
        vm.warp(EXPIRY);
        bytes memory data = callMarginData(terms, portfolio, Party.A);
        for (uint256 fault = 1; fault <= uint256(type(FakeOracle.Fault).max); ++fault) {
            oracle.setFault(FakeOracle.Fault(fault));
            fails(data, abi.encodeWithSelector(Errors.PriceUnknown.selector, ETH, EXPIRY));
        }
        oracle.setFault(FakeOracle.Fault.None);
        oracle.set(ETH, EXPIRY, Status.Known, 2 ** 128);
        fails(data, abi.encodeWithSelector(Errors.PriceUnknown.selector, ETH, EXPIRY));
    }
}
