// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAttestedOracle} from "../src/interfaces/IAttestedOracle.sol";
import {Status} from "../src/interfaces/IOracle.sol";
import {Signature} from "../src/libraries/Types.sol";
import {AttestedOracle} from "../src/oracles/AttestedOracle.sol";
import {Test} from "./utils/Test.sol";

/// @notice k of n, medians, equivocation, the challenge, the last resort; and the attacks on them.
contract AttestedOracleTest is Test {
    bytes32 private constant FEED = "ETH-USDC";
    bytes32 private constant SPOT = keccak256("Spot(bytes32 feed,uint64 observedAt,uint128 price)");
    bytes32 private constant SETTLEMENT = keccak256("Settlement(bytes32 feed,uint64 at,uint128 price)");
    uint64 private constant T = 1_774_598_400;
    uint32 private constant DELAY = 2 hours;
    uint32 private constant GRACE = 3 days;
    uint8 private constant K = 3;

    AttestedOracle private oracle;

    function setUp() public {
        vm.warp(T + 60);
        oracle = new AttestedOracle(five(), K, DELAY, GRACE);
    }

    function five() private pure returns (address[] memory attesters) {
        attesters = new address[](5);
        for (uint256 i; i < 5; ++i) {
            attesters[i] = vm.addr(i + 1);
        }
    }

    function digestOf(bytes32 typeHash, bytes32 feed, uint64 time, uint128 price) private view returns (bytes32) {
        bytes32 structHash = keccak256(abi.encode(typeHash, feed, time, price));
        return keccak256(abi.encodePacked(hex"1901", oracle.domainSeparator(), structHash));
    }

    function sign(uint256 key, bytes32 typeHash, uint64 time, uint128 price) private view returns (Signature memory s) {
        (s.r, s.vs) = vm.signCompact(key, digestOf(typeHash, FEED, time, price));
    }

    /// @dev Attesters `first`, `first` + 1, ... sign these prices.
    function signed(bytes32 typeHash, uint64 time, uint256 first, uint128[] memory prices)
        private
        view
        returns (Signature[] memory signatures)
    {
        signatures = new Signature[](prices.length);
        for (uint256 i; i < prices.length; ++i) {
            signatures[i] = sign(first + i, typeHash, time, prices[i]);
        }
    }

    function settlement(uint64 time, uint256 first, uint128[] memory prices) private returns (uint256) {
        return oracle.submitSettlement(FEED, time, prices, signed(SETTLEMENT, time, first, prices));
    }

    function spot(uint64 time, uint256 first, uint128[] memory prices) private returns (uint256) {
        return oracle.submitSpot(FEED, time, prices, signed(SPOT, time, first, prices));
    }

    function list(uint128 a) private pure returns (uint128[] memory prices) {
        prices = new uint128[](1);
        prices[0] = a;
    }

    function list(uint128 a, uint128 b) private pure returns (uint128[] memory prices) {
        prices = new uint128[](2);
        (prices[0], prices[1]) = (a, b);
    }

    function list(uint128 a, uint128 b, uint128 c) private pure returns (uint128[] memory prices) {
        prices = new uint128[](3);
        (prices[0], prices[1], prices[2]) = (a, b, c);
    }

    function assertSettlement(uint64 time, Status status, uint256 price) private view {
        (Status s, uint256 p) = oracle.settlementPrice(FEED, time);
        vm.assertEq(uint256(s), uint256(status));
        vm.assertEq(p, price);
    }

    function assertSpot(uint256 price, uint256 time) private view {
        (uint256 p, uint256 t) = oracle.spot(FEED);
        vm.assertEq(p, price);
        vm.assertEq(t, time);
    }

    // ---- construction

    function test_construction() public {
        vm.assertEq(oracle.attesters().length, 5);
        vm.assertEq(oracle.threshold(), K);
        vm.assertEq(oracle.challengeDelay(), DELAY);
        vm.assertEq(oracle.grace(), GRACE);
        address[] memory none;
        vm.expectRevert(IAttestedOracle.InvalidAttesters.selector);
        new AttestedOracle(none, 1, DELAY, GRACE);
        address[] memory bad = five();
        bad[4] = bad[0];
        vm.expectRevert(IAttestedOracle.InvalidAttesters.selector);
        new AttestedOracle(bad, K, DELAY, GRACE);
        bad[4] = address(0);
        vm.expectRevert(IAttestedOracle.InvalidAttesters.selector);
        new AttestedOracle(bad, K, DELAY, GRACE);
        bad = new address[](33);
        vm.expectRevert(IAttestedOracle.InvalidAttesters.selector);
        new AttestedOracle(bad, K, DELAY, GRACE);
        bad = five();
        vm.expectRevert(IAttestedOracle.InvalidThreshold.selector);
        new AttestedOracle(bad, 0, DELAY, GRACE);
        vm.expectRevert(IAttestedOracle.InvalidThreshold.selector);
        new AttestedOracle(bad, 6, DELAY, GRACE);
        vm.expectRevert(IAttestedOracle.InvalidDelays.selector);
        new AttestedOracle(bad, K, 1 days + 1, GRACE);
        vm.expectRevert(IAttestedOracle.InvalidDelays.selector);
        new AttestedOracle(bad, K, DELAY, GRACE - 1);
    }

    // ---- submitting

    function test_settlement_knownAfterTheChallenge_medianOfAll() public {
        vm.assertEq(settlement(T, 1, list(3_010, 3_000)), 2);
        assertSettlement(T, Status.Unset, 0);
        vm.warp(T + 600);
        vm.assertEq(settlement(T, 3, list(3_050)), 3);
        vm.warp(T + 600 + DELAY - 1);
        assertSettlement(T, Status.Unset, 0);
        vm.assertEq(settlement(T, 4, list(3_020, 3_030)), 5); // does not start the delay anew
        vm.warp(T + 600 + DELAY);
        assertSettlement(T, Status.Known, 3_020);
        uint128[] memory price = list(1);
        Signature[] memory late = signed(SETTLEMENT, T, 1, price);
        vm.expectRevert(IAttestedOracle.AlreadyFinal.selector);
        oracle.submitSettlement(FEED, T, price, late);
    }

    function testFuzz_median(uint128[5] memory raw, uint256 count) public {
        count = bound(count, 3, 5);
        uint128[] memory prices = new uint128[](count);
        for (uint256 i; i < count; ++i) {
            prices[i] = raw[i] == 0 ? 1 : raw[i];
        }
        settlement(T, 1, prices);
        vm.warp(T + 60 + DELAY);
        (, uint256 median) = oracle.settlementPrice(FEED, T);
        // As many below as above it; exact in the middle, the lower mean of two otherwise.
        uint256 below;
        uint256 above;
        for (uint256 i; i < count; ++i) {
            if (prices[i] <= median) ++below;
            if (prices[i] >= median) ++above;
        }
        vm.assertGe(below, count / 2);
        vm.assertGe(above, count / 2);
        if (count % 2 == 1) vm.assertGe(below + above, count + 1);
    }

    function test_medianOfFour_meanOfTheMiddleTwo_down() public {
        settlement(T, 1, list(10, 13));
        settlement(T, 3, list(20, 2));
        vm.warp(T + 60 + DELAY);
        assertSettlement(T, Status.Known, 11);
    }

    function test_attesterCountsOnce() public {
        settlement(T, 1, list(3_000));
        vm.assertEq(settlement(T, 1, list(3_000, 3_001)), 2);
        vm.assertEq(settlement(T, 2, list(3_001)), 2);
        vm.warp(T + 60 + DELAY);
        assertSettlement(T, Status.Unset, 0);
    }

    function test_submit_refusals() public {
        uint128[] memory one = list(3_000);
        Signature[] memory none = new Signature[](0);
        Signature[] memory good = signed(SETTLEMENT, T, 1, one);
        vm.expectRevert(IAttestedOracle.LengthMismatch.selector);
        oracle.submitSettlement(FEED, T, one, none);
        vm.expectRevert(IAttestedOracle.LengthMismatch.selector);
        oracle.submitSettlement(FEED, T, new uint128[](0), none);
        vm.expectRevert(IAttestedOracle.ZeroPrice.selector);
        oracle.submitSettlement(FEED, T, list(0), good);
        vm.expectRevert(abi.encodeWithSelector(IAttestedOracle.InFuture.selector, T + 3_600));
        oracle.submitSettlement(FEED, T + 3_600, one, good);
        vm.expectRevert(abi.encodeWithSelector(IAttestedOracle.NotFullHour.selector, T + 1));
        oracle.submitSettlement(FEED, T + 1, one, good);
        vm.expectRevert(abi.encodeWithSelector(IAttestedOracle.InFuture.selector, T + 61));
        oracle.submitSpot(FEED, T + 61, one, good);
        good = signed(SETTLEMENT, T, 6, one);
        vm.expectRevert(abi.encodeWithSelector(IAttestedOracle.UnknownAttester.selector, vm.addr(6)));
        oracle.submitSettlement(FEED, T, one, good);
        good[0] = Signature(0, 0);
        vm.expectRevert(abi.encodeWithSelector(IAttestedOracle.UnknownAttester.selector, address(0)));
        oracle.submitSettlement(FEED, T, one, good);
    }

    function test_spot_newestWins_atOnce() public {
        spot(T, 1, list(3_000, 3_001));
        assertSpot(0, 0);
        spot(T, 3, list(3_002));
        assertSpot(3_001, T);
        spot(T + 60, 1, list(3_100, 3_101, 3_102));
        assertSpot(3_101, T + 60);
        spot(T + 30, 1, list(1, 1, 1)); // older
        assertSpot(3_101, T + 60);
        spot(T + 60, 4, list(3_200, 3_200)); // more about the same time
        assertSpot(3_102, T + 60);
    }

    // ---- equivocation

    function test_attack_equivocatorIsDropped_andTheDelayStartsAnew() public {
        settlement(T, 1, list(3_000, 3_001, 9_999));
        vm.assertEq(settlement(T, 3, list(3_000)), 2); // attester 3 signed two prices
        vm.warp(T + 60 + DELAY);
        assertSettlement(T, Status.Unset, 0);
        vm.assertEq(settlement(T, 3, list(9_999)), 2); // dropped for good
        vm.assertEq(settlement(T, 4, list(3_002)), 3);
        vm.warp(T + 60 + 2 * DELAY - 1);
        assertSettlement(T, Status.Unset, 0);
        vm.warp(T + 60 + 2 * DELAY);
        assertSettlement(T, Status.Known, 3_001);
    }

    function test_attack_equivocatorInTheSpot() public {
        spot(T, 1, list(3_000, 3_000, 3_000));
        spot(T + 60, 1, list(3_100, 3_100, 3_100));
        spot(T + 60, 3, list(3_200)); // below the threshold: unknown, not stale
        assertSpot(0, T + 60);
        spot(T, 4, list(3_050)); // an older round may serve again
        assertSpot(3_000, T);
        spot(T + 60, 4, list(3_300)); // and the newer one, once it is whole
        assertSpot(3_100, T + 60);
    }

    // ---- replay

    function test_attack_spotPassedForASettlement() public {
        uint128[] memory prices = list(3_000, 3_000, 3_000);
        Signature[] memory spots = signed(SPOT, T, 1, prices);
        vm.expectRevert(); // recovers strangers
        oracle.submitSettlement(FEED, T, prices, spots);
        Signature[] memory settlements = signed(SETTLEMENT, T, 1, prices);
        vm.expectRevert();
        oracle.submitSpot(FEED, T, prices, settlements);
    }

    function test_attack_replayOnAnotherFeedTimeOracleOrChain() public {
        uint128[] memory prices = list(3_000);
        Signature[] memory good = signed(SETTLEMENT, T, 1, prices);
        vm.expectRevert();
        oracle.submitSettlement("BTC-USDC", T, prices, good);
        vm.expectRevert();
        oracle.submitSettlement(FEED, T - 3_600, prices, good);
        AttestedOracle second = new AttestedOracle(five(), K, DELAY, GRACE);
        vm.expectRevert();
        second.submitSettlement(FEED, T, prices, good);
        vm.chainId(block.chainid + 1);
        vm.expectRevert();
        oracle.submitSettlement(FEED, T, prices, good);
    }

    // ---- last resort

    function toGrace() private {
        vm.warp(T + GRACE);
    }

    function test_lastResort_theLastPriceVerified() public {
        spot(T - 7_200, 1, list(2_900, 2_900, 2_900));
        spot(T - 1_800, 1, list(2_950, 2_950, 2_950));
        spot(T + 30, 1, list(3_333, 3_333, 3_333)); // after it: never
        toGrace();
        oracle.recordLastResort(FEED, T);
        assertSettlement(T, Status.Unset, 0);
        (uint64 observedAt, uint128 price, uint256 finalAt) = oracle.lastResort(FEED, T);
        vm.assertEq(observedAt, T - 1_800);
        vm.assertEq(price, 2_950);
        vm.assertEq(finalAt, T + GRACE + 1 days);
        vm.warp(finalAt - 1);
        assertSettlement(T, Status.Unset, 0);
        vm.warp(finalAt);
        assertSettlement(T, Status.LastResort, 2_950);
    }

    function test_lastResort_countsKnownSettlements() public {
        spot(T - 3_600, 1, list(2_900, 2_900, 2_900));
        settlement(T - 3_600, 1, list(2_910, 2_910, 2_910));
        toGrace();
        oracle.recordLastResort(FEED, T);
        (uint64 observedAt, uint128 price,) = oracle.lastResort(FEED, T);
        vm.assertEq(observedAt, T - 3_600);
        vm.assertEq(price, 2_910);
    }

    function test_lastResort_notASettlementStillPending() public {
        spot(T - 7_200, 1, list(2_900, 2_900, 2_900));
        toGrace();
        settlement(T - 3_600, 1, list(2_910, 2_910, 2_910));
        oracle.recordLastResort(FEED, T);
        (uint64 observedAt,,) = oracle.lastResort(FEED, T);
        vm.assertEq(observedAt, T - 7_200);
        vm.warp(T + GRACE + DELAY);
        oracle.recordLastResort(FEED, T); // known by now
        (observedAt,,) = oracle.lastResort(FEED, T);
        vm.assertEq(observedAt, T - 3_600);
    }

    function test_lastResort_spotAtTheVeryTimeCounts() public {
        spot(T, 1, list(2_999, 2_999, 2_999));
        toGrace();
        oracle.recordLastResort(FEED, T);
        (uint64 observedAt,,) = oracle.lastResort(FEED, T);
        vm.assertEq(observedAt, T);
    }

    function test_lastResort_never() public {
        spot(T + 1, 1, list(3_333, 3_333, 3_333));
        toGrace();
        oracle.recordLastResort(FEED, T);
        assertSettlement(T, Status.Unset, 0);
        vm.warp(T + GRACE + 1 days);
        assertSettlement(T, Status.Never, 0);
    }

    /// @dev Nothing before the first hour: the search ends there.
    function test_lastResort_neverWithADroppedSpotInTheFirstHour() public {
        spot(0, 1, list(2_900, 2_900, 2_900));
        spot(0, 1, list(2_901));
        toGrace();
        oracle.recordLastResort(FEED, T);
        vm.warp(T + GRACE + 1 days);
        assertSettlement(T, Status.Never, 0);
    }

    function test_attack_lastResortRecordedEarly() public {
        spot(T, 1, list(2_900, 2_900, 2_900));
        vm.warp(T + GRACE - 1);
        vm.expectRevert(abi.encodeWithSelector(IAttestedOracle.GraceNotOver.selector, T + GRACE));
        oracle.recordLastResort(FEED, T);
        vm.expectRevert(abi.encodeWithSelector(IAttestedOracle.NotFullHour.selector, T - 1));
        oracle.recordLastResort(FEED, T - 1);
    }

    /// @dev An older observation recorded first gives way to a later one within the day, and never the reverse.
    function test_attack_lastResortWithAnOlderRound() public {
        spot(T - 7_200, 1, list(2_900, 2_900, 2_900));
        toGrace();
        oracle.recordLastResort(FEED, T);
        vm.warp(T + GRACE + 23 hours);
        spot(T - 600, 1, list(2_990, 2_990, 2_990));
        oracle.recordLastResort(FEED, T);
        (uint64 observedAt,, uint256 finalAt) = oracle.lastResort(FEED, T);
        vm.assertEq(observedAt, T - 600);
        vm.assertEq(finalAt, T + GRACE + 1 days); // a day after the first
        spot(T - 3_600, 1, list(1, 1, 1));
        vm.expectRevert(abi.encodeWithSelector(IAttestedOracle.NoNewerObservation.selector, T - 600));
        oracle.recordLastResort(FEED, T);
        vm.warp(finalAt);
        assertSettlement(T, Status.LastResort, 2_990);
        spot(T, 1, list(2_995, 2_995, 2_995));
        vm.expectRevert(IAttestedOracle.AlreadyFinal.selector);
        oracle.recordLastResort(FEED, T);
    }

    /// @dev Two of the five lie, and bring one honest signature: the median of the three is theirs. As for a settlement
    /// price, whoever brings the others mends it.
    function test_attack_lastResortBySomeOfTheSignatures() public {
        spot(T, 1, list(1_000, 1_001, 3_000));
        toGrace();
        oracle.recordLastResort(FEED, T);
        vm.warp(T + GRACE + 1 days - 1);
        bytes memory asNew = abi.encodeWithSelector(IAttestedOracle.NoNewerObservation.selector, T);
        vm.expectRevert(asNew);
        oracle.recordLastResort(FEED, T);
        spot(T, 4, list(3_001, 3_002));
        vm.expectEmit(address(oracle));
        emit IAttestedOracle.LastResortRecorded(FEED, T, T, 3_000, T + GRACE + 1 days);
        oracle.recordLastResort(FEED, T);
        vm.expectRevert(asNew);
        oracle.recordLastResort(FEED, T);
        vm.warp(T + GRACE + 1 days);
        assertSettlement(T, Status.LastResort, 3_000);
    }

    /// @dev A late price before the last resort is final goes before it; after, it is refused. Never both.
    function test_attack_lastResortRacedAgainstALatePrice() public {
        spot(T, 1, list(2_900, 2_900, 2_900));
        toGrace();
        oracle.recordLastResort(FEED, T);
        uint256 snapshot = vm.snapshotState();
        vm.warp(T + GRACE + 1 days - 1);
        settlement(T, 1, list(3_000, 3_000, 3_000));
        vm.warp(T + GRACE + 1 days); // the last resort would be final now
        assertSettlement(T, Status.Unset, 0);
        vm.expectRevert(IAttestedOracle.PriceInSight.selector);
        oracle.recordLastResort(FEED, T);
        vm.warp(T + GRACE + 1 days - 1 + DELAY);
        assertSettlement(T, Status.Known, 3_000);
        vm.revertToState(snapshot);

        vm.warp(T + GRACE + 1 days);
        uint128[] memory prices = list(3_000, 3_000, 3_000);
        Signature[] memory late = signed(SETTLEMENT, T, 1, prices);
        vm.expectRevert(IAttestedOracle.AlreadyFinal.selector);
        oracle.submitSettlement(FEED, T, prices, late);
        assertSettlement(T, Status.LastResort, 2_900);
    }

    function test_attack_pendingPriceBlocksTheLastResort() public {
        spot(T, 1, list(2_900, 2_900, 2_900));
        toGrace();
        settlement(T, 1, list(3_000, 3_000, 3_000));
        vm.expectRevert(IAttestedOracle.PriceInSight.selector);
        oracle.recordLastResort(FEED, T);
        settlement(T, 3, list(3_001)); // dropped below k: open again
        oracle.recordLastResort(FEED, T);
        vm.warp(T + GRACE + 1 days);
        assertSettlement(T, Status.LastResort, 2_900);
    }

    /// @dev Once it says anything it never says anything else, whatever is submitted when (rule 8).
    function testFuzz_neverChangesItsMind(uint256 seed) public {
        Status said;
        uint256 price;
        for (uint256 i; i < 24; ++i) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            vm.warp(block.timestamp + word % (GRACE / 6));
            uint64 time = T - uint64((word >> 16) % 3) * 3_600;
            bytes32 typeHash = word >> 24 & 1 == 0 ? SPOT : SETTLEMENT;
            uint128[] memory prices = list(uint128(3_000 + (word >> 32) % 2), 3_001, 3_002);
            Signature[] memory signatures = signed(typeHash, time, 1 + (word >> 40) % 3, prices);
            if (typeHash == SPOT) {
                try oracle.submitSpot(FEED, time, prices, signatures) {} catch {}
            } else {
                try oracle.submitSettlement(FEED, time, prices, signatures) {} catch {}
            }
            try oracle.recordLastResort(FEED, T) {} catch {}
            (Status status, uint256 p) = oracle.settlementPrice(FEED, T);
            if (said != Status.Unset) {
                vm.assertEq(uint256(status), uint256(said));
                vm.assertEq(p, price);
            }
            (said, price) = (status, p);
        }
    }

    /// @dev What the Adjudicator allows it: 50,000 gas.
    function test_gas_views() public {
        settlement(T, 1, list(3_000, 3_001, 3_002));
        vm.warp(T + 60 + DELAY);
        (bool success,) = address(oracle).staticcall{gas: 15_000}(abi.encodeCall(oracle.settlementPrice, (FEED, T)));
        vm.assertTrue(success);
        (success,) = address(oracle).staticcall{gas: 15_000}(abi.encodeCall(oracle.spot, (FEED)));
        vm.assertTrue(success);
    }
}
