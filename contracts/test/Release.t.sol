// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAdjudicator} from "../src/interfaces/IAdjudicator.sol";
import {Errors} from "../src/libraries/Errors.sol";
import {Events} from "../src/libraries/Events.sol";
import {ChannelView, Party, Phase, Portfolio, Terms} from "../src/libraries/Types.sol";
import {Black76} from "../src/risk/Black76.sol";
import {RiskParams} from "../src/risk/RiskTypes.sol";
import {HostileToken} from "./utils/HostileToken.sol";
import {MarginTest} from "./utils/MarginTest.sol";

/// @notice release: who gets what in run-off, and what must stay.
contract ReleaseTest is MarginTest {
    Party[2] private parties = [Party.A, Party.B];

    /// By hand: twice 1.25 margins of 20 forwards at a spot of 3,000, a day into the dispute. The margin is a move of 0.2
    /// and a carry of 0.005 + 0.03 a year, for 2,931,200 s, of 60,000.
    uint256 private constant LOCK = 30_750e6 + uint256(4_500e6) * 2_931_200 / 31_536_000 + 1;

    /// @dev `party` holds 20 forwards; in run-off, at a spot of 3,000.
    function runningOff(Party party) private returns (Terms memory terms, bytes32 id, Portfolio memory portfolio) {
        portfolio = forwards(party, LATER, 20);
        (terms, id) = runOff(portfolio);
        setSpot(ETH, 3_000e18);
    }

    // ---- what it does

    function test_paysCashAboveTheLock() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            Party party = parties[i];
            (Terms memory terms, bytes32 id, Portfolio memory portfolio) = runningOff(party);
            vm.assertEq(lockOf(portfolio, 3_000e18, party), LOCK);
            ChannelView memory expected = adjudicator.channel(id);
            bytes memory data = releaseData(terms, portfolio);
            vm.expectEmit(address(adjudicator));
            emit Events.Released(id, party, DEPOSIT - LOCK);
            vm.assertEq(abi.decode(send(addressOf(party), data), (uint256)), DEPOSIT - LOCK);

            vm.assertEq(gainOf(addressOf(party)), -int256(LOCK));
            vm.assertEq(gainOf(addressOf(otherOf(party))), -D);
            expected.flags = uint16(2 << i);
            if (i == 0) expected.contributionA = int128(int256(LOCK));
            else expected.contributionB = int128(int256(LOCK));
            assertSame(adjudicator.channel(id), expected); // nothing else is stored
            vm.revertToState(snapshot);
        }
    }

    /// @dev Each party once, in either order, and in stored run-off as well.
    function test_eachPartyOnce() public {
        (Terms memory terms, bytes32 id, Portfolio memory portfolio) = runningOff(Party.A);
        settle(terms, portfolio);
        bytes memory data = releaseData(terms, portfolio);
        send(partyB, data);
        fails(partyB, data, abi.encodeWithSelector(Errors.AlreadyReleased.selector, Party.B));
        send(partyA, data);
        fails(partyA, data, abi.encodeWithSelector(Errors.AlreadyReleased.selector, Party.A));
        vm.assertEq(adjudicator.channel(id).flags, 7);
        vm.assertEq(gainOf(partyA), -int256(LOCK));
        vm.assertEq(gainOf(partyB), -int256(LOCK)); // as much: the short side of a forward
    }

    /// @dev What was released is not paid again, and within the lock the end is what it would have been.
    function testFuzz_changesNoFinalResult(uint256 price, bool a, bool b, uint256 net) public {
        Portfolio memory portfolio = forwards(Party.A, LATER, 20);
        portfolio.netToB = int128(bound(int256(net), -60_000e6, 60_000e6));
        (Terms memory terms, bytes32 id) = runOff(portfolio);
        setSpot(ETH, 3_000e18);
        if (a) release(partyA, terms, portfolio);
        if (b) release(partyB, terms, portfolio);
        price = bound(price, 1_500e18, 4_500e18); // 30,000 either way, less than the lock
        vm.warp(LATER);
        setKnown(ETH, LATER, price);
        settle(terms, portfolio);
        int256 payoff =
            price >= 3_000e18 ? int256((price - 3_000e18) * 20e6 / 1e18) : -int256((3_000e18 - price) * 20e6 / 1e18);
        assertClosed(id, payoff - portfolio.netToB, portfolio.netToB - payoff);
        assertConserved();
    }

    /// @dev An option bought and paid can cost nothing more: all cash goes, and the option still pays.
    function test_boughtOptions_lockNothing() public {
        (Terms memory terms, bytes32 id) = runOff(onePosition());
        setSpot(ETH, 3_100e18);
        vm.assertEq(release(partyA, terms, onePosition()), DEPOSIT);
        vm.warp(EXPIRY);
        setKnown(ETH, EXPIRY, 3_200e18);
        settle(terms, onePosition());
        assertClosed(id, 2_000e6, -2_000e6);
    }

    function test_withoutPositions_everything() public {
        (Terms memory terms, bytes32 id) = runOff(emptyPortfolio(-7));
        vm.assertEq(release(partyA, terms, emptyPortfolio(-7)), DEPOSIT + 7);
        vm.assertEq(release(partyB, terms, emptyPortfolio(-7)), DEPOSIT - 7);
        settle(terms, emptyPortfolio(-7));
        assertClosed(id, 7, -7);
    }

    function test_nonce0() public {
        (Terms memory terms, bytes32 id) = open();
        dispute(partyB, terms);
        passDeadline(id);
        vm.assertEq(release(partyA, terms, emptyPortfolio(0)), DEPOSIT);
    }

    /// @dev Cash is clamped to the pot: a winner is released what is there, a loser nothing.
    function test_clampedToThePot() public {
        Portfolio memory portfolio = forwards(Party.A, LATER, 20);
        portfolio.netToB = -150_000e6;
        (Terms memory terms, bytes32 id) = runOff(portfolio);
        setSpot(ETH, 3_000e18);
        bytes memory data = releaseData(terms, portfolio);
        fails(partyB, data, abi.encodeWithSelector(Errors.NothingToRelease.selector, 0, LOCK));
        vm.assertEq(abi.decode(send(partyA, data), (uint256)), 2 * DEPOSIT - LOCK);
        vm.assertEq(adjudicator.channel(id).contributionA, -D + int256(LOCK));
        vm.warp(LATER);
        setKnown(ETH, LATER, 3_000e18);
        settle(terms, portfolio);
        assertClosed(id, D, -D);
    }

    /// @dev From its expiry on, what has expired must have been settled, at its price or its last resort; what is paid rests
    /// on what was recorded then.
    function test_expired_mustBeSettledFirst() public {
        Portfolio memory portfolio = forwards(Party.A, EXPIRY, 20);
        portfolio.positions = two(portfolio.positions[0], option(0, LATER, 3_000e18, 1e18)); // bought: locks nothing
        (Terms memory terms, bytes32 id) = runOff(portfolio);
        bytes memory data = releaseData(terms, portfolio);
        bytes memory unsettled = abi.encodeWithSelector(Errors.NotSettled.selector, ETH, EXPIRY);
        vm.warp(EXPIRY - 1);
        setSpot(ETH, 3_000e18);
        uint256 snapshot = vm.snapshotState();
        send(partyA, data); // it is open, and locked
        vm.revertToState(snapshot);
        vm.warp(EXPIRY);
        setSpot(ETH, 3_000e18);
        fails(partyA, data, unsettled);
        setLastResort(ETH, EXPIRY, 2_000e18);
        vm.warp(EXPIRY + terms.settlementGrace - 1);
        setSpot(ETH, 3_000e18);
        vm.assertEq(settle(terms, portfolio), 0);
        fails(partyA, data, unsettled);
        snapshot = vm.snapshotState();
        setKnown(ETH, EXPIRY, 2_500e18);
        fails(partyA, data, unsettled); // a price alone settles nothing
        releasesOnceSettled(terms, id, portfolio, 10_000e6);
        vm.revertToState(snapshot);
        vm.warp(EXPIRY + terms.settlementGrace);
        setSpot(ETH, 3_000e18);
        fails(partyA, data, unsettled);
        releasesOnceSettled(terms, id, portfolio, 20_000e6);
    }

    /// @dev A has lost `loss` on what has expired; the option is left.
    function releasesOnceSettled(Terms memory terms, bytes32 id, Portfolio memory portfolio, uint128 loss) private {
        Portfolio memory left = onePosition();
        left.positions[0] = portfolio.positions[1];
        left.netToB = int128(loss);
        vm.assertEq(settle(terms, portfolio), 1);
        vm.assertEq(adjudicator.channel(id).portfolioHash, harness.hashPortfolio(left));
        fails(
            partyA,
            releaseData(terms, portfolio),
            abi.encodeWithSelector(
                Errors.PortfolioMismatch.selector, harness.hashPortfolio(left), harness.hashPortfolio(portfolio)
            )
        );
        vm.assertEq(release(partyA, terms, left), DEPOSIT - loss);
    }

    /// @dev Cash equal to the lock releases nothing and keeps the one time; a unit more is paid.
    function test_nothing_atTheLockExactly() public {
        for (uint256 i; i < 2; ++i) {
            Party party = parties[i];
            Portfolio memory portfolio = forwards(party, LATER, 20);
            Terms memory terms = defaultTerms();
            uint256 snapshot = vm.snapshotState();
            bytes32 id = openWith(terms, party, LOCK, DEPOSIT);
            dispute(partyA, terms, 1, portfolio);
            passDeadline(id);
            setSpot(ETH, 3_000e18);
            bytes memory data = releaseData(terms, portfolio);
            fails(addressOf(party), data, abi.encodeWithSelector(Errors.NothingToRelease.selector, LOCK, LOCK));
            send(stranger, depositData(terms, party, 1));
            vm.assertEq(abi.decode(send(addressOf(party), data), (uint256)), 1);
            vm.revertToState(snapshot);
        }
    }

    // ---- the stale penalty

    /// @dev A filer that owes it leaves it in; the other does not; and at `maxInFlight` exactly nobody owes.
    function test_stalePenaltyStays() public {
        for (uint256 i; i < 4; ++i) {
            uint256 snapshot = vm.snapshotState();
            Portfolio memory portfolio = forwards(Party.A, LATER, 20);
            (Terms memory terms, bytes32 id) = open();
            Party filer = parties[i % 2];
            dispute(addressOf(filer), terms);
            checkpoint(terms, i < 2 ? 17 : 16, portfolio);
            passDeadline(id);
            setSpot(ETH, 3_000e18);
            uint256 owed = i < 2 ? terms.stalePenalty : 0;
            vm.assertEq(release(addressOf(filer), terms, portfolio), DEPOSIT - LOCK - owed);
            vm.assertEq(release(addressOf(otherOf(filer)), terms, portfolio), DEPOSIT - LOCK);
            vm.warp(LATER);
            setKnown(ETH, LATER, 3_000e18);
            settle(terms, portfolio);
            int256 lost = side(filer) * int256(owed);
            assertClosed(id, -lost, lost);
            vm.revertToState(snapshot);
        }
    }

    /// @dev Any `stalePenalty` may be agreed.
    function test_stalePenalty_beyondAllCash() public {
        Terms memory terms = defaultTerms();
        terms.stalePenalty = type(uint128).max;
        bytes32 id = open(terms, DEPOSIT, DEPOSIT);
        dispute(partyA, terms);
        checkpoint(terms, 17, emptyPortfolio(0));
        passDeadline(id);
        fails(
            partyA,
            releaseData(terms, emptyPortfolio(0)),
            abi.encodeWithSelector(Errors.NothingToRelease.selector, DEPOSIT, type(uint128).max)
        );
        vm.assertEq(release(partyB, terms, emptyPortfolio(0)), DEPOSIT);
        settle(terms, emptyPortfolio(0));
        assertClosed(id, -D, D);
    }

    // ---- refusals

    function test_refuses_allButTheParties() public {
        (Terms memory terms,, Portfolio memory portfolio) = runningOff(Party.A);
        address[4] memory others = [stranger, signerA, signerB, tower];
        for (uint256 i; i < 4; ++i) {
            fails(
                others[i], releaseData(terms, portfolio), abi.encodeWithSelector(Errors.NotAParty.selector, others[i])
            );
        }
    }

    function test_refuses_otherPhases() public {
        Terms memory terms = defaultTerms();
        Portfolio memory portfolio = forwards(Party.A, LATER, 20);
        setSpot(ETH, 3_000e18);
        bytes memory data = releaseData(terms, portfolio);
        fails(partyA, data, wrongPhase(Phase.None));
        bytes32 id = open(terms, DEPOSIT, DEPOSIT);
        fails(partyA, data, wrongPhase(Phase.Open));
        dispute(partyA, terms, 1, portfolio);
        vm.warp(adjudicator.channel(id).deadline - 1);
        fails(partyA, data, wrongPhase(Phase.Disputed));
        close(terms, 2, 0);
        fails(partyA, data, wrongPhase(Phase.Closed));
    }

    /// @dev Not while a call on the party itself is undecided; again from the lapse on.
    function test_refuses_aPartyThatIsCalled() public {
        Portfolio memory portfolio = shortCalls(Party.A);
        (Terms memory terms,) = called(portfolio, Party.A, DEPOSIT, SPOT);
        bytes memory data = releaseData(terms, portfolio);
        bytes memory undecided = abi.encodeWithSelector(Errors.CallUndecided.selector, Party.A, CURE_END);
        vm.warp(START + 1 days);
        setSpot(ETH, 1_000e18); // all but a minimum is free
        fails(partyA, data, undecided);
        vm.warp(CURE_END + terms.settlementGrace - 1);
        setSpot(ETH, 1_000e18);
        fails(partyA, data, undecided);
        uint256 snapshot = vm.snapshotState();
        send(partyB, data); // the other is free
        vm.revertToState(snapshot);
        vm.warp(CURE_END + terms.settlementGrace);
        setSpot(ETH, 1_000e18);
        uint256 lock = lockOf(portfolio, 1_000e18, Party.A);
        vm.assertEq(abi.decode(send(partyA, data), (uint256)), DEPOSIT + 20_000e6 - lock);
    }

    function test_refuses_otherParameters() public {
        (Terms memory terms,, Portfolio memory portfolio) = runningOff(Party.A);
        RiskParams[] memory other = risk();
        other[0].runOffFactor = 1e18;
        fails(
            partyA,
            abi.encodeCall(IAdjudicator.release, (terms, other, portfolio)),
            abi.encodeWithSelector(Errors.RiskMismatch.selector, terms.riskHash, riskHashOf(other))
        );
    }

    function test_refuses_anotherPortfolio() public {
        (Terms memory terms,, Portfolio memory portfolio) = runningOff(Party.A);
        bytes32 recorded = harness.hashPortfolio(portfolio);
        portfolio.positions[0].quantity -= 1;
        fails(
            partyA,
            releaseData(terms, portfolio),
            abi.encodeWithSelector(Errors.PortfolioMismatch.selector, recorded, harness.hashPortfolio(portfolio))
        );
    }

    function test_refuses_spotsTooOld() public {
        (Terms memory terms,, Portfolio memory portfolio) = runningOff(Party.A);
        uint256 oldest = block.timestamp - terms.maxPriceAge;
        bytes memory data = releaseData(terms, portfolio);
        oracle.setSpot(ETH, 3_000e18, oldest - 1);
        fails(partyA, data, abi.encodeWithSelector(Errors.SpotTooOld.selector, ETH, oldest - 1));
        oracle.setSpot(ETH, 3_000e18, oldest);
        vm.assertEq(abi.decode(send(partyA, data), (uint256)), DEPOSIT - LOCK);
    }

    /// @dev What RiskEngine cannot value locks everything, and still runs off.
    function test_refuses_whatRiskEngineRefuses() public {
        Portfolio memory portfolio = onePosition();
        portfolio.positions[0].kind = 5;
        (Terms memory terms, bytes32 id) = runOff(portfolio);
        setSpot(ETH, 3_000e18);
        fails(partyA, releaseData(terms, portfolio), abi.encodeWithSelector(Black76.PricingDomainError.selector));
        vm.warp(EXPIRY);
        setKnown(ETH, EXPIRY, 3_000e18);
        settle(terms, portfolio);
        assertClosed(id, 0, 0);
    }

    // ---- external calls

    /// @dev A payee that cannot be paid has a claim; the channel goes on.
    function test_failedPushBecomesAClaim() public {
        HostileToken bad = new HostileToken();
        Terms memory terms = defaultTerms();
        terms.collateral = address(bad);
        address[2] memory both_ = [partyA, partyB];
        for (uint256 i; i < 2; ++i) {
            bad.mint(both_[i], DEPOSIT);
            vm.prank(both_[i]);
            bad.approve(address(adjudicator), DEPOSIT);
        }
        bytes32 id = open(terms, DEPOSIT, DEPOSIT);
        Portfolio memory portfolio = forwards(Party.A, LATER, 20);
        dispute(partyA, terms, 1, portfolio);
        passDeadline(id);
        setSpot(ETH, 3_000e18);
        bad.setFault(HostileToken.Fault.Reverts, partyA);
        bytes memory data = releaseData(terms, portfolio);
        vm.expectEmit(address(adjudicator));
        emit Events.PayoutDeferred(address(bad), partyA, DEPOSIT - LOCK);
        send(partyA, data);
        vm.assertEq(adjudicator.claimable(address(bad), partyA), DEPOSIT - LOCK);
        vm.warp(LATER);
        setKnown(ETH, LATER, 3_000e18);
        settle(terms, portfolio);
        vm.assertEq(adjudicator.claimable(address(bad), partyA), DEPOSIT);
        vm.assertEq(bad.balanceOf(partyB), DEPOSIT);
    }

    /// @dev Rule 10: with any amount of gas it pays what it pays with plenty, and pushes it, or reverts.
    function test_starvedOfGas() public {
        (Terms memory terms,, Portfolio memory portfolio) = runningOff(Party.A);
        oracle.setSpotEffort(40_000);
        bytes memory data = releaseData(terms, portfolio);
        uint256 made;
        uint256 refusals;
        for (uint256 gas_ = 40_000; gas_ < 1_200_000; gas_ += 6_971) {
            uint256 snapshot = vm.snapshotState();
            vm.prank(partyA);
            (bool success, bytes memory why) = address(adjudicator).call{gas: gas_}(data);
            if (bytes4(why) == Errors.InsufficientGas.selector) ++refusals;
            vm.assertTrue(bytes4(why) != Errors.SpotTooOld.selector);
            vm.assertEq(gainOf(partyA), success ? -int256(LOCK) : -D);
            if (success) ++made;
            vm.revertToState(snapshot);
        }
        vm.assertTrue(made > 10 && refusals > 5);
    }
}
