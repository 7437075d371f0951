// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Status} from "../src/interfaces/IOracle.sol";
import {Errors} from "../src/libraries/Errors.sol";
import {Events} from "../src/libraries/Events.sol";
import {ChannelView, Party, Phase, Portfolio, Position, Spot, Terms} from "../src/libraries/Types.sol";
import {ChannelTest} from "./utils/ChannelTest.sol";
import {FakeOracle} from "./utils/FakeOracle.sol";

/// @notice Run-off: what settles when, at which price, what remains, and who is paid (rules 1, 3, 4, 5 and 8).
contract SettleTest is ChannelTest {
    int256 private constant D = int256(uint256(DEPOSIT));
    uint64 private constant LATER = EXPIRY + 28 days;

    // ---- without positions

    function test_nonce0_isTheEmptyPortfolio() public {
        (Terms memory terms, bytes32 id) = open();
        dispute(partyA, terms);
        passDeadline(id);
        Portfolio memory portfolio = emptyPortfolio(1);
        fails(
            settleData(terms, portfolio),
            abi.encodeWithSelector(
                Errors.PortfolioMismatch.selector, harness.emptyPortfolioHash(), harness.hashPortfolio(portfolio)
            )
        );
        vm.assertEq(settle(terms, emptyPortfolio(0)), 0);
        assertClosed(id, 0, 0);
    }

    function test_paysByNet_clampedOnlyHere() public {
        int128[5] memory nets = [int128(0), 1_000e6, -1_000e6, int128(DEPOSIT) + 1, -int128(DEPOSIT) - 1];
        int256[5] memory gains = [int256(0), -1_000e6, 1_000e6, -D, D];
        for (uint256 i; i < nets.length; ++i) {
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms, bytes32 id) = runOff(emptyPortfolio(nets[i]));
            settle(terms, emptyPortfolio(nets[i]));
            assertClosed(id, gains[i], -gains[i]);
            vm.revertToState(snapshot);
        }
    }

    function test_onlyTheRecordedPortfolio() public {
        (Terms memory terms,) = runOff(onePosition());
        Portfolio memory other = onePosition();
        other.marginA = 1;
        fails(
            settleData(terms, other),
            abi.encodeWithSelector(
                Errors.PortfolioMismatch.selector, harness.hashPortfolio(onePosition()), harness.hashPortfolio(other)
            )
        );
    }

    // ---- one position

    function test_settlesAtTheKnownPrice() public {
        (Terms memory terms, bytes32 id) = runOff(onePosition());
        vm.warp(EXPIRY);
        setKnown(ETH, EXPIRY, 3_200e18);
        vm.assertEq(settle(terms, onePosition()), 1);
        assertClosed(id, 2_000e6, -2_000e6);
    }

    function test_waits_beforeExpiry_andForAPrice() public {
        (Terms memory terms, bytes32 id) = runOff(onePosition());
        setKnown(ETH, EXPIRY, 3_200e18); // even if the oracle spoke too early
        vm.warp(EXPIRY - 1);
        vm.assertEq(settle(terms, onePosition()), 0);
        ChannelView memory view_ = adjudicator.channel(id);
        vm.assertEq(uint256(view_.phase), uint256(Phase.RunOff));
        vm.assertEq(view_.flags, 1);
        vm.assertEq(view_.portfolioHash, harness.hashPortfolio(onePosition()));
        oracle.set(ETH, EXPIRY, Status.Unset, 3_200e18);
        vm.warp(EXPIRY + 10 days);
        vm.assertEq(settle(terms, onePosition()), 0);
        setKnown(ETH, EXPIRY, 3_200e18);
        vm.assertEq(settle(terms, onePosition()), 1);
        assertClosed(id, 2_000e6, -2_000e6);
    }

    /// @dev Rule 8: the last resort not before settlementGrace is over.
    function test_lastResort_fromTheGraceOn() public {
        (Terms memory terms, bytes32 id) = runOff(onePosition());
        oracle.set(ETH, EXPIRY, Status.LastResort, 3_050e18);
        vm.warp(EXPIRY + terms.settlementGrace - 1);
        vm.assertEq(settle(terms, onePosition()), 0);
        vm.warp(EXPIRY + terms.settlementGrace);
        vm.assertEq(settle(terms, onePosition()), 1);
        assertClosed(id, 500e6, -500e6);
    }

    /// @dev Rule 8: `never` at once after the grace, at the signed spot of 3,100.
    function test_never_signedSpotFromTheGraceOn() public {
        (Terms memory terms, bytes32 id) = runOff(onePosition());
        oracle.set(ETH, EXPIRY, Status.Never, 0);
        vm.warp(EXPIRY + terms.settlementGrace - 1);
        vm.assertEq(settle(terms, onePosition()), 0);
        vm.warp(EXPIRY + terms.settlementGrace);
        vm.assertEq(settle(terms, onePosition()), 1);
        assertClosed(id, 1_000e6, -1_000e6);
    }

    /// @dev Rules 3 and 8: silent or failing in whatever way, 30 days later the signed spot serves.
    function test_deadOracle_signedSpotAfter30Days() public {
        FakeOracle.Fault[7] memory faults = [
            FakeOracle.Fault.None,
            FakeOracle.Fault.Reverts,
            FakeOracle.Fault.BurnsGas,
            FakeOracle.Fault.ReturnsNothing,
            FakeOracle.Fault.ReturnsOneWord,
            FakeOracle.Fault.ReturnsBadStatus,
            FakeOracle.Fault.ReturnsMuch
        ];
        for (uint256 i; i < faults.length; ++i) {
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms, bytes32 id) = runOff(onePosition());
            oracle.setFault(faults[i]);
            vm.warp(EXPIRY + terms.settlementGrace + 30 days - 1);
            vm.assertEq(settle(terms, onePosition()), 0);
            vm.warp(EXPIRY + terms.settlementGrace + 30 days);
            vm.assertEq(settle(terms, onePosition()), 1);
            assertClosed(id, 1_000e6, -1_000e6);
            vm.revertToState(snapshot);
        }
    }

    function test_vanishedOracle() public {
        (Terms memory terms, bytes32 id) = runOff(onePosition());
        vm.etch(address(oracle), "");
        vm.warp(EXPIRY + terms.settlementGrace + 30 days);
        settle(terms, onePosition());
        assertClosed(id, 1_000e6, -1_000e6);
    }

    /// @dev Rule 10: a price of 0, or of 2^128 and more, is no price, known or last resort.
    function test_impossiblePricesAreUnknown() public {
        uint256[3] memory prices = [uint256(0), 2 ** 128, type(uint256).max];
        for (uint256 i; i < 6; ++i) {
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms, bytes32 id) = runOff(onePosition());
            oracle.set(ETH, EXPIRY, i < 3 ? Status.Known : Status.LastResort, prices[i % 3]);
            vm.warp(EXPIRY + terms.settlementGrace + 30 days - 1);
            vm.assertEq(settle(terms, onePosition()), 0);
            vm.warp(EXPIRY + terms.settlementGrace + 30 days);
            settle(terms, onePosition());
            assertClosed(id, 1_000e6, -1_000e6);
            vm.revertToState(snapshot);
        }
    }

    function test_largestPossiblePrice() public {
        (Terms memory terms, bytes32 id) = runOff(onePosition());
        vm.warp(EXPIRY);
        setKnown(ETH, EXPIRY, 2 ** 128 - 1);
        settle(terms, onePosition());
        assertClosed(id, D, -D);
    }

    /// @dev "A position that needs a signed spot and has none pays 0"; a signed spot of 0 is none.
    function test_noSignedSpot_paysNothing() public {
        Portfolio memory portfolio = onePosition();
        portfolio.positions[0].kind = 1; // a put would pay its strike at a price of 0
        for (uint256 i; i < 3; ++i) {
            uint256 snapshot = vm.snapshotState();
            if (i == 0) portfolio.spots = new Spot[](0);
            if (i == 1) portfolio.spots = new Spot[](1);
            if (i == 1) portfolio.spots[0] = Spot(BTC, 90_000e18);
            if (i == 2) portfolio.spots[0] = Spot(ETH, 0);
            (Terms memory terms, bytes32 id) = runOff(portfolio);
            oracle.set(ETH, EXPIRY, Status.Never, 0);
            vm.warp(EXPIRY + terms.settlementGrace);
            vm.assertEq(settle(terms, portfolio), 1);
            assertClosed(id, 0, 0);
            vm.revertToState(snapshot);
        }
    }

    function test_unknownKind_paysNothing_andBlocksNothing() public {
        Portfolio memory portfolio = onePosition();
        portfolio.positions[0].kind = 5;
        (Terms memory terms, bytes32 id) = runOff(portfolio);
        vm.warp(EXPIRY);
        setKnown(ETH, EXPIRY, 3_200e18);
        vm.assertEq(settle(terms, portfolio), 1);
        assertClosed(id, 0, 0);
    }

    // ---- several

    /// @dev ETH now, BTC now, ETH later, ETH now again (out of canonical order on purpose).
    function four() private pure returns (Portfolio memory portfolio) {
        portfolio = onePosition();
        portfolio.netToB = 77e6;
        portfolio.marginA = 1e9;
        portfolio.marginB = 2e9;
        portfolio.positions = new Position[](4);
        portfolio.positions[0] = option(0, EXPIRY, 3_000e18, 10e18);
        portfolio.positions[1] = option(1, EXPIRY, 95_000e18, -1e18);
        portfolio.positions[1].feed = BTC;
        portfolio.positions[2] = option(4, LATER, 3_050e18, 2e18);
        portfolio.positions[3] = option(2, EXPIRY, 3_100e18, 50e18);
    }

    function test_whatRemains_inOrder_netMoved_allElseAsSigned() public {
        (Terms memory terms, bytes32 id) = runOff(four());
        vm.warp(EXPIRY);
        setKnown(ETH, EXPIRY, 3_200e18);
        Portfolio memory left = four();
        left.positions = new Position[](2);
        left.positions[0] = four().positions[1];
        left.positions[1] = four().positions[2];
        left.netToB = 77e6 - 2_000e6 - 50e6;
        vm.expectEmit(address(adjudicator));
        emit Events.Settled(id, left);
        vm.assertEq(settle(terms, four()), 2);
        vm.assertEq(adjudicator.channel(id).portfolioHash, harness.hashPortfolio(left));
        vm.assertEq(settle(terms, left), 0);

        setKnown(BTC, EXPIRY, 94_000e18);
        vm.assertEq(settle(terms, left), 1); // A is short that put: pays 1,000
        left.netToB += 1_000e6;
        left.positions[0] = left.positions[1];
        Position[] memory positions = left.positions;
        assembly {
            mstore(positions, 1)
        }
        vm.warp(LATER);
        setKnown(ETH, LATER, 3_000e18);
        vm.assertEq(settle(terms, left), 1); // 2 x -50
        assertClosed(id, -77e6 + 2_050e6 - 1_000e6 - 100e6, 77e6 - 2_050e6 + 1_000e6 + 100e6);
    }

    /// @dev Rule 5: a refusal to sign ends in run-off, position by position, and in nothing else.
    function test_eachPriceIsAskedForOnce() public {
        Portfolio memory portfolio = onePosition();
        portfolio.positions = new Position[](5);
        for (uint256 i; i < 5; ++i) {
            portfolio.positions[i] = option(0, EXPIRY, uint128(3_000 + i) * 1e18, 1e18);
        }
        (Terms memory terms,) = runOff(portfolio);
        vm.warp(EXPIRY);
        setKnown(ETH, EXPIRY, 3_200e18);
        vm.expectCall(address(oracle), abi.encodeCall(oracle.settlementPrice, (ETH, EXPIRY)), 1);
        settle(terms, portfolio);
    }

    /// @dev Conservation of order: any partition of the settlement comes to the same payout.
    function testFuzz_orderOfSettlingChangesNothing(
        uint256 seed,
        uint8 parts,
        int128 netToB,
        int128 quantity,
        uint128 price
    ) public {
        Portfolio memory portfolio = onePosition();
        portfolio.netToB = int128(bound(int256(netToB), -(2 ** 126), 2 ** 126));
        price = price == 0 ? 1 : price;
        uint64[4] memory expiries = [EXPIRY, EXPIRY + 1 hours, EXPIRY + 2 hours, EXPIRY + 3 hours];
        portfolio.positions = new Position[](12);
        for (uint256 i; i < 12; ++i) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            int128 q = word & 1 == 0 ? quantity : -(quantity / 3);
            portfolio.positions[i] =
                option(uint8((word >> 8) % 6), expiries[(word >> 16) % 4], uint128(word >> 32) >> word % 100, q);
        }
        (Terms memory terms, bytes32 id) = runOff(portfolio);
        vm.warp(EXPIRY + 1 days);
        uint256 snapshot = vm.snapshotState();
        for (uint256 i; i < 4; ++i) {
            setKnown(ETH, expiries[i], price);
        }
        vm.assertEq(settle(terms, portfolio), 12);
        int256 expected = gainOf(partyA);
        vm.revertToState(snapshot);

        for (uint256 i; i < 4; ++i) {
            uint256 next = (uint256(parts) + i * 3) % 4; // another order: steps of 3 visit all four
            setKnown(ETH, expiries[next], price);
            settleAndShrink(terms, portfolio, expiries[next], price);
        }
        assertClosed(id, expected, -expected);
    }

    /// @dev Settles, and follows the portfolio as a client would, from the payoffs alone.
    function settleAndShrink(Terms memory terms, Portfolio memory portfolio, uint64 expiry, uint128 price) private {
        if (portfolio.positions.length == 0) return;
        settle(terms, portfolio);
        uint256 kept;
        Position[] memory positions = portfolio.positions;
        for (uint256 i; i < positions.length; ++i) {
            Position memory p = positions[i];
            if (p.expiry == expiry) {
                int256 payoff = harness.payoff(p.kind, p.strike, p.quantity, price, terms.unit);
                portfolio.netToB = int128(harness.moveNet(portfolio.netToB, payoff));
            } else {
                positions[kept++] = p;
            }
        }
        assembly {
            mstore(positions, kept)
        }
    }

    function test_128PositionsOfExtremeFigures_neverRevert() public {
        Portfolio memory portfolio = onePosition();
        portfolio.positions = new Position[](128);
        for (uint256 i; i < 128; ++i) {
            Position memory p = portfolio.positions[i];
            p.feed = bytes32(i);
            p.kind = uint8(i);
            p.expiry = i % 7 == 0 ? 0 : EXPIRY - uint64(i);
            p.strike = i % 3 == 0 ? 0 : type(uint128).max;
            p.quantity = i % 2 == 0 ? type(int128).min : type(int128).max;
            p.vol = type(uint128).max;
            p.carry = type(int128).min;
            setKnown(p.feed, p.expiry, i % 5 == 0 ? 1 : type(uint128).max);
        }
        portfolio.netToB = type(int128).min;
        (Terms memory terms, bytes32 id) = runOff(portfolio);
        vm.warp(EXPIRY);
        vm.assertEq(settle(terms, portfolio), 128);
        assertPhase(id, Phase.Closed);
        vm.assertEq(gainOf(partyA) + gainOf(partyB), 0);
    }

    function test_anExpiryBeyondAllTime_onlyWaits() public {
        Portfolio memory portfolio = onePosition();
        portfolio.positions[0].expiry = type(uint64).max;
        (Terms memory terms,) = runOff(portfolio);
        vm.assertEq(settle(terms, portfolio), 0);
    }

    // ---- an undecided cure (final storage; `callMargin` comes later)

    function test_nothingThatExpiresAfterAnUndecidedCure() public {
        Portfolio memory portfolio = onePosition();
        portfolio.positions = new Position[](2);
        portfolio.positions[0] = option(0, EXPIRY, 3_000e18, 10e18);
        portfolio.positions[1] = option(0, EXPIRY + 1 hours, 3_000e18, 10e18);
        for (uint8 p = 1; p <= 2; ++p) {
            uint256 snapshot = vm.snapshotState();
            (Terms memory terms, bytes32 id) = runOff(portfolio);
            setKnown(ETH, EXPIRY, 3_200e18);
            setKnown(ETH, EXPIRY + 1 hours, 3_200e18);
            setCureEnd(id, Party(p), EXPIRY);
            vm.warp(EXPIRY + 2 hours);
            vm.assertEq(settle(terms, portfolio), 1); // expired at the cure's end: yes
            Portfolio memory left = onePosition();
            left.netToB = -2_000e6;
            left.positions[0] = portfolio.positions[1];
            vm.warp(EXPIRY + terms.settlementGrace - 1);
            vm.assertEq(settle(terms, left), 0);
            vm.warp(EXPIRY + terms.settlementGrace); // lapsed
            vm.assertEq(settle(terms, left), 1);
            assertClosed(id, 4_000e6, -4_000e6);
            vm.revertToState(snapshot);
        }
    }

    /// @dev A call whose cure ends within the dispute window lapses a grace after the deadline, not after the cure.
    function test_aCureWithinTheWindow_lapsesAGraceAfterTheDeadline() public {
        Terms memory terms = defaultTerms();
        terms.disputeWindow = 30 days;
        bytes32 id = open(terms, DEPOSIT, DEPOSIT);
        dispute(partyA, terms, 1, onePosition());
        uint256 deadline = adjudicator.channel(id).deadline;
        setCureEnd(id, Party.B, EXPIRY - 1 hours);
        setKnown(ETH, EXPIRY, 3_200e18);
        vm.warp(deadline + terms.settlementGrace - 1);
        vm.assertEq(settle(terms, onePosition()), 0);
        vm.warp(deadline + terms.settlementGrace);
        vm.assertEq(settle(terms, onePosition()), 1);
        assertClosed(id, 2_000e6, -2_000e6);
    }

    // ---- stale filing (rule 4)

    function test_stalePenalty_isOwedBeyondMaxInFlight() public {
        for (uint64 above = 16; above <= 17; ++above) {
            for (uint256 byB; byB < 2; ++byB) {
                uint256 snapshot = vm.snapshotState();
                (Terms memory terms, bytes32 id) = open();
                dispute(byB == 1 ? signerB : signerA, terms, 5, emptyPortfolio(9));
                checkpoint(terms, 5 + above, emptyPortfolio(0));
                passDeadline(id);
                settle(terms, emptyPortfolio(0));
                int256 owed = above == 17 ? int256(uint256(terms.stalePenalty)) : int256(0);
                if (byB == 1) owed = -owed;
                assertClosed(id, -owed, owed);
                vm.revertToState(snapshot);
            }
        }
    }

    function test_stalePenalty_isAtMostTheFilersCash() public {
        (Terms memory terms, bytes32 id) = open();
        dispute(partyA, terms);
        Portfolio memory last = emptyPortfolio(int128(DEPOSIT) - 3);
        checkpoint(terms, 1_000, last);
        passDeadline(id);
        settle(terms, last);
        assertClosed(id, -D, D);
    }

    function test_stalePenalty_comesLast_afterTheRunOff() public {
        (Terms memory terms, bytes32 id) = open();
        dispute(partyB, terms);
        checkpoint(terms, 17, onePosition());
        passDeadline(id);
        vm.warp(EXPIRY);
        setKnown(ETH, EXPIRY, 3_200e18);
        settle(terms, onePosition());
        assertClosed(id, 2_000e6 + 5_000e6, -7_000e6);
    }

    function test_stalePenalty_ofAnySize() public {
        Terms memory terms = defaultTerms();
        terms.stalePenalty = type(uint128).max;
        bytes32 id = open(terms, DEPOSIT, DEPOSIT);
        dispute(partyA, terms);
        checkpoint(terms, type(uint64).max, emptyPortfolio(0));
        passDeadline(id);
        settle(terms, emptyPortfolio(0));
        assertClosed(id, -D, D);
    }
}
