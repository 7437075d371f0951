// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IFallbackOracle} from "../src/interfaces/IFallbackOracle.sol";
import {Status} from "../src/interfaces/IOracle.sol";
import {Errors} from "../src/libraries/Errors.sol";
import {FallbackOracle} from "../src/oracles/FallbackOracle.sol";
import {FakeOracle} from "./utils/FakeOracle.sol";
import {Test} from "./utils/Test.sol";

/// @notice Whose price serves when, and that it is settled once.
contract FallbackOracleTest is Test {
    bytes32 private constant FEED = "ETH-USD";
    uint64 private constant T = 1_774_598_400;
    uint32 private constant DELAY = 1 days;
    uint32 private constant SPOT_DELAY = 1 hours;
    uint32 private constant GRACE = 5 days;

    FakeOracle private first;
    FakeOracle private second;
    FallbackOracle private oracle;

    function setUp() public {
        vm.warp(T + 60);
        (first, second) = (new FakeOracle(), new FakeOracle());
        second.setGrace(4 days);
        oracle = new FallbackOracle(address(first), address(second), DELAY, SPOT_DELAY, GRACE);
    }

    function record() private returns (uint256) {
        return oracle.record(FEED, T);
    }

    function assertSettlement(Status status, uint256 price) private view {
        (Status s, uint256 p) = oracle.settlementPrice(FEED, T);
        vm.assertEq(uint256(s), uint256(status));
        vm.assertEq(p, price);
    }

    function test_construction() public {
        vm.assertEq(oracle.primary(), address(first));
        vm.assertEq(oracle.secondary(), address(second));
        vm.assertEq(oracle.delay(), DELAY);
        vm.assertEq(oracle.spotDelay(), SPOT_DELAY);
        vm.assertEq(oracle.grace(), GRACE);
        (address a, address b) = (address(first), address(second));
        address[2][3] memory sources = [[a, a], [a, address(0)], [address(0), b]];
        for (uint256 i; i < 3; ++i) {
            vm.expectRevert(IFallbackOracle.InvalidSources.selector);
            new FallbackOracle(sources[i][0], sources[i][1], DELAY, SPOT_DELAY, GRACE);
        }
        uint32[3][4] memory delays = [
            [DELAY, SPOT_DELAY, GRACE - 1], // the secondary's grace is 4 days
            [GRACE, SPOT_DELAY, GRACE],
            [DELAY, 1 days + 1, GRACE],
            [DELAY, SPOT_DELAY, 0]
        ];
        for (uint256 i; i < delays.length; ++i) {
            vm.expectRevert(IFallbackOracle.InvalidDelays.selector);
            new FallbackOracle(a, b, delays[i][0], delays[i][1], delays[i][2]);
        }
        vm.expectRevert(IFallbackOracle.InvalidDelays.selector);
        new FallbackOracle(b, a, DELAY, SPOT_DELAY, GRACE - 1);
        first.setGrace(0);
        second.setGrace(0);
        vm.expectRevert(IFallbackOracle.InvalidDelays.selector);
        new FallbackOracle(a, b, DELAY, SPOT_DELAY, 3 days - 1);
        vm.expectRevert(abi.encodeWithSelector(Errors.OracleGraceUnknown.selector, address(0xdead)));
        new FallbackOracle(a, address(0xdead), DELAY, SPOT_DELAY, GRACE);
    }

    // ---- settlement prices

    function test_primaryAtOnce_onceAndForEver() public {
        vm.expectRevert(IFallbackOracle.NoPriceYet.selector);
        record();
        first.set(FEED, T, Status.Known, 3_000e18);
        assertSettlement(Status.Unset, 0); // only what an earlier call stored
        vm.expectEmit(address(oracle));
        emit IFallbackOracle.SettlementRecorded(FEED, T, 3_000e18, true);
        vm.assertEq(record(), 3_000e18);
        first.set(FEED, T, Status.Known, 1e18);
        assertSettlement(Status.Known, 3_000e18);
        vm.expectRevert(IFallbackOracle.AlreadyFinal.selector);
        record();
        vm.warp(T + GRACE);
        vm.expectRevert(IFallbackOracle.AlreadyFinal.selector);
        oracle.recordLastResort(FEED, T);
    }

    function test_secondaryAfterTheDelay() public {
        second.set(FEED, T, Status.Known, 2_990e18);
        vm.warp(T + DELAY - 1);
        vm.expectRevert(IFallbackOracle.NoPriceYet.selector);
        record();
        vm.warp(T + DELAY);
        vm.expectEmit(address(oracle));
        emit IFallbackOracle.SettlementRecorded(FEED, T, 2_990e18, false);
        record();
        first.set(FEED, T, Status.Known, 3_000e18); // too late
        assertSettlement(Status.Known, 2_990e18);
    }

    function test_primaryFirst_alsoAfterTheDelay() public {
        first.set(FEED, T, Status.Known, 3_000e18);
        second.set(FEED, T, Status.Known, 2_990e18);
        vm.warp(T + DELAY);
        vm.assertEq(record(), 3_000e18);
    }

    /// @dev A primary that fails in any manner, or has only a last resort, gives way; a secondary then has none either.
    function test_failuresAreSilence() public {
        vm.warp(T + DELAY);
        for (uint256 fault = 1; fault <= uint256(FakeOracle.Fault.ReturnsMuch); ++fault) {
            uint256 snapshot = vm.snapshotState();
            first.set(FEED, T, Status.Known, 3_000e18);
            first.setFault(FakeOracle.Fault(fault));
            vm.expectRevert(IFallbackOracle.NoPriceYet.selector);
            record();
            second.set(FEED, T, Status.Known, 2_990e18);
            vm.assertEq(record(), 2_990e18);
            vm.revertToState(snapshot);
        }
        first.set(FEED, T, Status.LastResort, 3_000e18);
        second.set(FEED, T, Status.Known, 2 ** 128);
        vm.expectRevert(IFallbackOracle.NoPriceYet.selector);
        record();
    }

    /// @dev Its own EIP-150 check: with any amount of gas a working primary serves, or the call reverts.
    function test_attack_primaryStarvedOfGas() public {
        first.setEffort(40_000);
        first.set(FEED, T, Status.Known, 3_000e18);
        second.set(FEED, T, Status.Known, 2_990e18);
        vm.warp(T + DELAY);
        starve(abi.encodeCall(oracle.record, (FEED, T)), Status.Known, 3_000e18);
    }

    function test_attack_lastResortStarvedOfGas() public {
        first.setEffort(40_000);
        second.setEffort(40_000);
        first.set(FEED, T, Status.LastResort, 3_000e18);
        second.set(FEED, T, Status.LastResort, 2_990e18);
        vm.warp(T + GRACE);
        starve(abi.encodeCall(oracle.recordLastResort, (FEED, T)), Status.LastResort, 3_000e18);
    }

    function starve(bytes memory data, Status status, uint256 price) private {
        uint256 recorded;
        uint256 refused;
        for (uint256 gas_ = 30_000; gas_ < 300_000; gas_ += 1_777) {
            uint256 snapshot = vm.snapshotState();
            (bool success, bytes memory why) = address(oracle).call{gas: gas_}(data);
            if (bytes4(why) == Errors.InsufficientGas.selector) ++refused;
            if (success) {
                ++recorded;
                vm.warp(T + GRACE + 1 days);
                assertSettlement(status, price);
            }
            vm.revertToState(snapshot);
        }
        vm.assertTrue(recorded > 10 && refused > 10);
    }

    // ---- last resorts

    function test_attack_lastResortRecordedEarly() public {
        first.set(FEED, T, Status.LastResort, 2_990e18);
        vm.warp(T + GRACE - 1);
        vm.expectRevert(abi.encodeWithSelector(IFallbackOracle.GraceNotOver.selector, T + GRACE));
        oracle.recordLastResort(FEED, T);
        assertSettlement(Status.Unset, 0);
        vm.warp(T + GRACE);
        oracle.recordLastResort(FEED, T);
    }

    /// @dev Whoever records it while the primary fails does not keep out the primary's.
    function test_attack_lastResortWithTheWorseOfTwo() public {
        first.set(FEED, T, Status.LastResort, 3_000e18);
        second.set(FEED, T, Status.LastResort, 2_990e18);
        first.setFault(FakeOracle.Fault.Reverts);
        vm.warp(T + GRACE);
        oracle.recordLastResort(FEED, T);
        first.setFault(FakeOracle.Fault.None);
        oracle.recordLastResort(FEED, T);
        first.setFault(FakeOracle.Fault.Reverts);
        vm.expectRevert(IFallbackOracle.NoBetterResort.selector);
        oracle.recordLastResort(FEED, T);
        vm.warp(T + GRACE + 1 days);
        assertSettlement(Status.LastResort, 3_000e18);
    }

    function test_lastResort_theBetterReplacesTheWorse_finalADayAfterTheFirst() public {
        vm.warp(T + GRACE);
        vm.expectEmit(address(oracle));
        emit IFallbackOracle.LastResortRecorded(FEED, T, 0, T + GRACE + 1 days);
        oracle.recordLastResort(FEED, T);
        vm.expectRevert(IFallbackOracle.NoBetterResort.selector);
        oracle.recordLastResort(FEED, T);
        second.set(FEED, T, Status.LastResort, 2_990e18);
        vm.warp(T + GRACE + 1 hours);
        oracle.recordLastResort(FEED, T);
        first.set(FEED, T, Status.LastResort, 3_000e18);
        vm.warp(T + GRACE + 1 days - 1);
        vm.expectEmit(address(oracle));
        emit IFallbackOracle.LastResortRecorded(FEED, T, 3_000e18, T + GRACE + 1 days);
        oracle.recordLastResort(FEED, T);
        first.set(FEED, T, Status.Never, 0);
        vm.expectRevert(IFallbackOracle.NoBetterResort.selector);
        oracle.recordLastResort(FEED, T);
        assertSettlement(Status.Unset, 0);
        vm.warp(T + GRACE + 1 days);
        assertSettlement(Status.LastResort, 3_000e18);
        vm.expectRevert(IFallbackOracle.AlreadyFinal.selector);
        oracle.recordLastResort(FEED, T);
        vm.expectRevert(IFallbackOracle.AlreadyFinal.selector);
        record();
    }

    function test_lastResort_never() public {
        first.set(FEED, T, Status.Never, 0);
        vm.warp(T + GRACE);
        oracle.recordLastResort(FEED, T);
        vm.warp(T + GRACE + 1 days);
        assertSettlement(Status.Never, 0);
    }

    /// @dev A price of either blocks it; recorded until it is final, a price goes before it.
    function test_attack_lastResortRacedAgainstALatePrice() public {
        vm.warp(T + GRACE);
        FakeOracle[2] memory both = [first, second];
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            both[i].set(FEED, T, Status.Known, 3_000e18);
            vm.expectRevert(IFallbackOracle.PriceInSight.selector);
            oracle.recordLastResort(FEED, T);
            vm.revertToState(snapshot);
            snapshot = vm.snapshotState();
            oracle.recordLastResort(FEED, T);
            both[i].set(FEED, T, Status.Known, 3_000e18);
            record();
            vm.warp(T + GRACE + 2 days);
            assertSettlement(Status.Known, 3_000e18);
            vm.revertToState(snapshot);
        }
    }

    // ---- spot

    function assertSpot(uint256 price, uint256 time) private view {
        (uint256 p, uint256 t) = oracle.spot(FEED);
        vm.assertEq(p, price);
        vm.assertEq(t, time);
    }

    function test_spot_primaryUntilItIsOld() public {
        assertSpot(0, 0);
        second.setSpot(FEED, 2_990e18, T - 10);
        assertSpot(2_990e18, T - 10);
        first.setSpot(FEED, 3_000e18, T - 100);
        assertSpot(3_000e18, T - 100);
        vm.warp(T - 100 + SPOT_DELAY);
        assertSpot(3_000e18, T - 100);
        vm.warp(T - 100 + SPOT_DELAY + 1);
        assertSpot(2_990e18, T - 10);
        second.setSpot(FEED, 2_990e18, T - 101); // older still
        assertSpot(3_000e18, T - 100);
        second.setSpot(FEED, 0, T); // none at all
        assertSpot(3_000e18, T - 100);
    }

    function test_spot_impossibleAnswersAndFailures() public {
        second.setSpot(FEED, 2_990e18, T);
        first.setSpot(FEED, 3_000e18, block.timestamp + 1);
        assertSpot(2_990e18, T);
        first.setSpot(FEED, 2 ** 128, T);
        assertSpot(2_990e18, T);
        first.setSpot(FEED, 3_000e18, T);
        first.setSpotFails(true);
        assertSpot(2_990e18, T);
        second.setSpotFails(true);
        vm.expectRevert(bytes("spot"));
        oracle.spot(FEED);
    }

    /// @dev Within the 50,000 a channel gives, both are asked; with less, a fresh primary serves or nothing does.
    function test_attack_spotStarvedOfGas() public {
        first.setSpot(FEED, 3_000e18, T);
        second.setSpot(FEED, 2_990e18, T);
        bytes memory data = abi.encodeCall(oracle.spot, (FEED));
        uint256 served;
        uint256 refused;
        for (uint256 gas_ = 2_000; gas_ < 50_000; gas_ += 331) {
            (bool success, bytes memory answer) = address(oracle).staticcall{gas: gas_}(data);
            if (bytes4(answer) == Errors.InsufficientGas.selector) ++refused;
            if (!success) continue;
            ++served;
            (uint256 price,) = abi.decode(answer, (uint256, uint256));
            vm.assertEq(price, 3_000e18);
        }
        vm.assertTrue(served > 10 && refused > 10);
        first.setSpot(FEED, 0, 0);
        (bool both,) = address(oracle).staticcall{gas: 50_000}(data);
        vm.assertTrue(both);
    }
}
