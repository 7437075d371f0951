// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IChainlinkOracle} from "../src/interfaces/IChainlinkOracle.sol";
import {Status} from "../src/interfaces/IOracle.sol";
import {Errors} from "../src/libraries/Errors.sol";
import {ChainlinkOracle} from "../src/oracles/ChainlinkOracle.sol";
import {FakeProxy} from "./utils/FakeProxy.sol";
import {Test} from "./utils/Test.sol";

/// @notice Averages, gaps, phases, bad answers, the sequencer, the last resort; and the attacks on them.
contract ChainlinkOracleTest is Test {
    bytes32 private constant FEED = "ETH-USD";
    uint64 private constant T = 1_774_598_400;
    uint64 private constant S = T - 30 minutes;
    uint32 private constant HEARTBEAT = 1 hours;
    uint32 private constant GRACE = 3 days;
    uint80[] private none;

    FakeProxy private proxy;
    FakeProxy private uptime;
    ChainlinkOracle private oracle;

    function setUp() public {
        vm.warp(T + 1 hours);
        proxy = new FakeProxy(8);
        oracle = deploy(address(0));
    }

    function deploy(address sequencer) private returns (ChainlinkOracle) {
        IChainlinkOracle.Feed[] memory feeds = new IChainlinkOracle.Feed[](1);
        feeds[0] = IChainlinkOracle.Feed(FEED, address(proxy), HEARTBEAT);
        return new ChainlinkOracle(feeds, sequencer, GRACE);
    }

    function id(uint80 phase, uint80 round) private pure returns (uint80) {
        return phase << 64 | round;
    }

    /// @dev A round of a phase: `price` whole dollars at `time`.
    function put(uint80 phase, uint80 round, int256 price, uint256 time) private {
        proxy.set(id(phase, round), price * 1e8, time);
    }

    function record(uint80 first) private returns (uint256) {
        return oracle.recordSettlement(FEED, T, first, none, 0);
    }

    function refuses(uint80 first, uint80[] memory older, bytes memory why) private {
        vm.expectRevert(why);
        oracle.recordSettlement(FEED, T, first, older, 0);
    }

    function refuses(uint80 first, bytes memory why) private {
        refuses(first, none, why);
    }

    function one(uint80 a) private pure returns (uint80[] memory ids) {
        ids = new uint80[](1);
        ids[0] = a;
    }

    function notLive(uint80 round) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IChainlinkOracle.NotLive.selector, round, S);
    }

    function assertSettlement(Status status, uint256 price) private view {
        (Status s, uint256 p) = oracle.settlementPrice(FEED, T);
        vm.assertEq(uint256(s), uint256(status));
        vm.assertEq(p, price);
    }

    /// @dev 3,000 for 10 minutes, 3,030 for 15, 3,060 for 5.
    function window() private {
        put(1, 7, 2_900, S - 2 hours);
        put(1, 8, 3_000, S - 20 minutes);
        put(1, 9, 3_030, S + 10 minutes);
        put(1, 10, 3_060, S + 25 minutes);
        put(1, 11, 9_999, T + 1);
    }

    // ---- construction

    function test_construction() public {
        (address served, uint32 heartbeat) = oracle.source(FEED);
        vm.assertEq(served, address(proxy));
        vm.assertEq(heartbeat, HEARTBEAT);
        vm.assertEq(oracle.grace(), GRACE);
        vm.assertEq(oracle.sequencerFeed(), address(0));
        IChainlinkOracle.Feed[] memory feeds = new IChainlinkOracle.Feed[](0);
        bytes memory invalid = abi.encodeWithSelector(IChainlinkOracle.InvalidFeeds.selector);
        vm.expectRevert(invalid);
        new ChainlinkOracle(feeds, address(0), GRACE);
        feeds = new IChainlinkOracle.Feed[](2);
        feeds[0] = feeds[1] = IChainlinkOracle.Feed(FEED, address(proxy), HEARTBEAT);
        vm.expectRevert(invalid);
        new ChainlinkOracle(feeds, address(0), GRACE); // twice
        feeds = new IChainlinkOracle.Feed[](1);
        feeds[0] = IChainlinkOracle.Feed(FEED, address(0), HEARTBEAT);
        vm.expectRevert(invalid);
        new ChainlinkOracle(feeds, address(0), GRACE);
        feeds[0] = IChainlinkOracle.Feed(FEED, address(proxy), 0);
        vm.expectRevert(invalid);
        new ChainlinkOracle(feeds, address(0), GRACE);
        feeds[0].heartbeat = 7 days + 1;
        vm.expectRevert(invalid);
        new ChainlinkOracle(feeds, address(0), GRACE);
        feeds[0] = IChainlinkOracle.Feed(FEED, address(new FakeProxy(19)), HEARTBEAT);
        vm.expectRevert(invalid);
        new ChainlinkOracle(feeds, address(0), GRACE);
        feeds[0].proxy = address(proxy);
        vm.expectRevert(IChainlinkOracle.InvalidGrace.selector);
        new ChainlinkOracle(feeds, address(0), GRACE - 1);
    }

    // ---- the average

    function test_average() public {
        window();
        vm.expectEmit(address(oracle));
        emit IChainlinkOracle.SettlementRecorded(FEED, T, 3_025e18);
        vm.assertEq(record(id(1, 8)), 3_025e18); // (10 x 3,000 + 15 x 3,030 + 5 x 3,060) / 30
        assertSettlement(Status.Known, 3_025e18);
        refuses(id(1, 8), abi.encodeWithSelector(IChainlinkOracle.AlreadyFinal.selector));
    }

    /// @dev Rounds on the two edges: one at the start is live there, one at `time` weighs nothing.
    function test_average_edges() public {
        put(1, 1, 2_000, S - 1);
        put(1, 2, 3_000, S);
        put(1, 3, 5_000, T);
        put(1, 4, 7_000, T + 1);
        refuses(id(1, 1), notLive(id(1, 1)));
        put(1, 2, 3_000, S + 1); // a second late for the start
        refuses(id(1, 2), notLive(id(1, 2)));
        put(1, 2, 3_000, S);
        vm.assertEq(record(id(1, 2)), 3_000e18);
    }

    function test_average_withoutARoundInTheWindow() public {
        put(1, 1, 3_000, S - 10);
        put(1, 2, 9_000, T + 1);
        vm.assertEq(record(id(1, 1)), 3_000e18);
    }

    /// @dev Against the same average summed second by second.
    function testFuzz_average(uint256 seed) public {
        uint80 round = 1;
        uint256 time = S - seed % 3_000;
        uint256[] memory times = new uint256[](64);
        uint256[] memory prices = new uint256[](64);
        while (time <= T) {
            uint256 word = uint256(keccak256(abi.encode(seed, round)));
            (times[round], prices[round]) = (time, 1 + word % 5_000e8);
            proxy.set(id(1, round), int256(prices[round]), time);
            ++round;
            time += 40 + (word >> 128) % 400;
        }
        proxy.set(id(1, round), 1, time);
        uint80 first;
        uint256 sum;
        uint80 live;
        for (uint256 second = S; second < T; ++second) {
            while (live + 1 < round && times[live + 1] <= second) ++live;
            if (first == 0) first = live;
            sum += prices[live];
        }
        vm.assertEq(record(id(1, first)), sum * 1e10 / 1_800);
    }

    function test_decimals() public {
        uint8[3] memory decimals = [0, 6, 18];
        for (uint256 i; i < 3; ++i) {
            proxy = new FakeProxy(decimals[i]);
            oracle = deploy(address(0));
            proxy.set(id(1, 1), int256(3_000 * 10 ** decimals[i]), S);
            proxy.set(id(1, 2), 1, T + 1);
            vm.assertEq(record(id(1, 1)), 3_000e18);
        }
    }

    // ---- what is refused

    function test_onlyTheLiveRound() public {
        window();
        uint80[5] memory others = [id(1, 7), id(1, 9), id(1, 11), id(1, 12), id(1, 0)];
        for (uint256 i; i < others.length; ++i) {
            refuses(others[i], notLive(others[i]));
        }
        refuses(id(0, 8), abi.encodeWithSelector(IChainlinkOracle.PhasesIncomplete.selector));
        refuses(id(2, 8), abi.encodeWithSelector(IChainlinkOracle.PhasesIncomplete.selector));
        refuses(id(2, 8), one(id(1, 8)), abi.encodeWithSelector(IChainlinkOracle.OlderPhaseServes.selector, id(1, 8)));
    }

    /// @dev At most a heartbeat and five minutes old at the start.
    function test_tooOldAtTheStart() public {
        put(1, 1, 3_000, S - HEARTBEAT - 5 minutes - 1);
        put(1, 2, 3_000, T + 1);
        refuses(
            id(1, 1), abi.encodeWithSelector(IChainlinkOracle.TooOld.selector, id(1, 1), S - HEARTBEAT - 5 minutes - 1)
        );
        put(1, 1, 3_000, S - HEARTBEAT - 5 minutes);
        record(id(1, 1));
    }

    function test_notBeforeTheWindowIsOver() public {
        bytes memory early = abi.encodeWithSelector(IChainlinkOracle.WindowNotOver.selector, T);
        window();
        vm.warp(T);
        refuses(id(1, 8), early);
        vm.warp(T + 1);
        put(1, 11, 0, 0); // no round after it yet
        refuses(id(1, 8), early);
        put(1, 11, 3_000, T + 1);
        record(id(1, 8));
    }

    function test_unknownFeedsAndOddTimes() public {
        vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.UnknownFeed.selector, bytes32("X")));
        oracle.recordSettlement("X", T, id(1, 8), none, 0);
        vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.UnknownFeed.selector, bytes32("X")));
        oracle.verifyRound("X", T, id(1, 8));
        uint64[2] memory odd = [T + 1, 0];
        for (uint256 i; i < 2; ++i) {
            bytes memory notFull = abi.encodeWithSelector(IChainlinkOracle.NotFullHour.selector, odd[i]);
            vm.expectRevert(notFull);
            oracle.recordSettlement(FEED, odd[i], id(1, 8), none, 0);
            vm.expectRevert(notFull);
            oracle.verifyRound(FEED, odd[i], id(1, 8));
            vm.expectRevert(notFull);
            oracle.recordLastResort(FEED, odd[i]);
        }
    }

    /// @dev Zero, negative, beyond 128 bits: unprovable, at the start as within; outside the window they do not matter.
    function test_badAnswers() public {
        window();
        int256[4] memory bad = [int256(0), -1, type(int256).max, int256(uint256(2 ** 128) / 1e10 + 1)];
        uint80[2] memory places = [id(1, 8), id(1, 9)];
        for (uint256 i; i < bad.length; ++i) {
            for (uint256 j; j < 2; ++j) {
                uint256 snapshot = vm.snapshotState();
                proxy.set(places[j], bad[i], j == 0 ? S : S + 600);
                refuses(id(1, 8), abi.encodeWithSelector(IChainlinkOracle.InvalidAnswer.selector, places[j], bad[i]));
                vm.revertToState(snapshot);
            }
        }
        proxy.set(id(1, 7), -1, S - 2 hours);
        proxy.set(id(1, 11), 0, T + 1);
        vm.assertEq(record(id(1, 8)), 3_025e18);
    }

    function test_outOfOrder() public {
        window();
        put(1, 10, 3_060, S + 1);
        refuses(id(1, 8), abi.encodeWithSelector(IChainlinkOracle.OutOfOrder.selector, id(1, 10)));
    }

    /// @dev 512 rounds in the window and no more, within a transaction's gas.
    function test_boundedLoop() public {
        put(1, 1, 3_000, S);
        for (uint80 i = 2; i <= 513; ++i) {
            put(1, i, 3_000, S + i);
        }
        put(1, 514, 3_000, T + 1);
        uint256 snapshot = vm.snapshotState();
        uint256 before = gasleft();
        record(id(1, 1));
        vm.assertLe(before - gasleft(), 10_000_000);
        vm.revertToState(snapshot);
        put(1, 514, 3_000, T);
        put(1, 515, 3_000, T + 1);
        refuses(id(1, 1), abi.encodeWithSelector(IChainlinkOracle.TooManyRounds.selector));
    }

    // ---- gaps

    /// @dev Up to three missing rounds in a row, whether they revert or are zeros.
    function test_missingRounds() public {
        for (uint256 i; i < 2; ++i) {
            uint256 snapshot = vm.snapshotState();
            proxy.setMissingRevert(i == 1);
            put(1, 8, 3_000, S);
            put(1, 12, 3_060, S + 15 minutes);
            put(1, 16, 3_000, T + 1);
            vm.assertEq(record(id(1, 8)), 3_030e18);
            vm.revertToState(snapshot);
        }
        // Nobody can leave out what lies behind a gap.
        put(1, 8, 3_000, S - 60);
        put(1, 12, 3_060, S);
        put(1, 13, 3_000, T + 1);
        refuses(id(1, 8), notLive(id(1, 8)));
        // Behind a longer one there is nothing: the window stays open.
        put(1, 13, 0, 0);
        put(1, 17, 3_000, T + 1);
        refuses(id(1, 12), abi.encodeWithSelector(IChainlinkOracle.WindowNotOver.selector, T));
    }

    // ---- phases

    /// @dev The old phase goes on beside the new one: it serves, then as later, whoever asks.
    function test_phases_theOldestThatIsLiveServes() public {
        window();
        put(2, 1, 3_100, S - 60);
        put(2, 2, 3_100, T + 1);
        proxy.setPhase(2);
        refuses(id(2, 1), one(id(1, 8)), abi.encodeWithSelector(IChainlinkOracle.OlderPhaseServes.selector, id(1, 8)));
        vm.assertEq(record(id(1, 8)), 3_025e18);
    }

    /// @dev Replaced in the window: the last round of the phase counts to the end, though none follows.
    function test_phases_replacedInTheWindow() public {
        put(1, 8, 3_000, S - 60);
        put(1, 9, 3_060, S + 15 minutes);
        bytes memory early = abi.encodeWithSelector(IChainlinkOracle.WindowNotOver.selector, T);
        refuses(id(1, 8), early);
        put(2, 1, 3_100, S + 16 minutes);
        put(2, 2, 3_100, T + 1);
        refuses(id(1, 8), early); // not yet confirmed
        proxy.setPhase(2);
        refuses(id(2, 1), one(id(1, 8)), abi.encodeWithSelector(IChainlinkOracle.OlderPhaseServes.selector, id(1, 8)));
        vm.assertEq(record(id(1, 8)), 3_030e18);
    }

    /// @dev An older phase that stopped, or had not begun, is shown to be so, each of them.
    function test_phases_olderOnesStopped() public {
        proxy.setPhase(3);
        put(1, 5, 1_000, S - 10 days);
        put(3, 1, 3_000, S - 60);
        put(3, 2, 3_000, T + 1);
        uint80[] memory older = new uint80[](2);
        (older[0], older[1]) = (id(1, 5), id(2, 0));
        uint256 snapshot = vm.snapshotState();
        vm.assertEq(oracle.recordSettlement(FEED, T, id(3, 1), older, 0), 3_000e18);
        vm.revertToState(snapshot);
        // Out of order, or one left out.
        refuses(id(3, 1), one(id(1, 5)), abi.encodeWithSelector(IChainlinkOracle.PhasesIncomplete.selector));
        (older[0], older[1]) = (older[1], older[0]);
        refuses(id(3, 1), older, abi.encodeWithSelector(IChainlinkOracle.PhasesIncomplete.selector));
        (older[0], older[1]) = (older[1], older[0]);
        // A phase said not to have begun, or shown by a round that was not its last.
        put(2, 1, 3_100, S - 120);
        refuses(id(3, 1), older, notLive(id(2, 0)));
        older[1] = id(2, 1);
        refuses(id(3, 1), older, abi.encodeWithSelector(IChainlinkOracle.OlderPhaseServes.selector, id(2, 1)));
        put(2, 1, 3_100, S - 2 days);
        put(2, 2, 3_100, S - 120);
        refuses(id(3, 1), older, notLive(id(2, 1)));
        put(2, 2, 3_100, S + 1); // it came back, but after the start
        vm.assertEq(oracle.recordSettlement(FEED, T, id(3, 1), older, 0), 3_000e18);
    }

    /// @dev Rule 7: a phase added after the fact, with rounds from before it, changes nothing.
    function test_attack_laterPhaseChangesThePrice() public {
        window();
        uint256 snapshot = vm.snapshotState();
        uint256 before = record(id(1, 8));
        vm.revertToState(snapshot);
        proxy.setPhase(2);
        put(2, 1, 4_000, S - 60);
        put(2, 2, 4_000, T + 1);
        vm.assertEq(record(id(1, 8)), before);
    }

    // ---- the attacks of a caller

    /// @dev With any amount of gas the price is the one with plenty, or the call reverts: no round can be starved into
    /// looking missing.
    function test_attack_roundsStarvedOfGas() public {
        window();
        proxy.setEffort(60_000);
        proxy.setPhase(2); // so that a missing successor would end the window
        bytes memory data = abi.encodeCall(oracle.recordSettlement, (FEED, T, id(1, 8), none, 0));
        uint256 recorded;
        uint256 refused;
        for (uint256 gas_ = 60_000; gas_ < 700_000; gas_ += 3_571) {
            uint256 snapshot = vm.snapshotState();
            (bool success, bytes memory why) = address(oracle).call{gas: gas_}(data);
            if (bytes4(why) == Errors.InsufficientGas.selector) ++refused;
            if (success) {
                ++recorded;
                assertSettlement(Status.Known, 3_025e18);
            }
            vm.revertToState(snapshot);
        }
        vm.assertTrue(recorded > 10 && refused > 10);
    }

    /// @dev A proxy that answers everything with a round, whole or one word short.
    function test_shortAnswersAreMissing() public {
        uint256[5] memory words = [uint256(id(1, 8)), 3_000e8, S, S, id(1, 8)];
        for (uint8 size = 128; size <= 160; size += 32) {
            // PUSH1 size, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN, STOP: gives what follows it.
            vm.etch(address(proxy), abi.encodePacked(hex"60", size, hex"80600a5f395ff300", words));
            if (size == 128) vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.NotBefore.selector, id(1, 8), T));
            oracle.verifyRound(FEED, T, id(1, 8));
        }
    }

    /// @dev The last id a phase can have is followed by none, not by the next phase.
    function test_attack_roundOfAnotherPhaseAsSuccessor() public {
        put(1, type(uint64).max, 3_000, S - 60);
        put(2, 1, 9_000, S - 30);
        put(2, 2, 9_000, T + 1);
        proxy.setPhase(2);
        vm.assertEq(record(id(1, type(uint64).max)), 3_000e18);
    }

    // ---- the sequencer

    function onL2() private {
        window();
        uptime = new FakeProxy(0);
        oracle = deploy(address(uptime));
        uptime.set(id(1, 1), 1, S - 10 days); // down
        uptime.set(id(1, 2), 0, S - 9 days); // up
    }

    function recordOnL2(uint80 sequencerRound) private {
        oracle.recordSettlement(FEED, T, id(1, 8), none, sequencerRound);
    }

    function down(uint80 round) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IChainlinkOracle.SequencerDown.selector, round);
    }

    function test_sequencer_upAllThrough() public {
        onL2();
        uptime.set(id(1, 3), 0, S + 60); // said again
        uptime.set(id(1, 4), 1, T + 1); // down afterwards
        recordOnL2(id(1, 2));
        assertSettlement(Status.Known, 3_025e18);
    }

    function test_sequencer_downInTheWindow() public {
        onL2();
        vm.expectRevert(down(id(1, 1)));
        recordOnL2(id(1, 1));
        vm.expectRevert(down(id(1, 3)));
        recordOnL2(id(1, 3)); // missing
        vm.expectRevert(down(id(0, 0)));
        recordOnL2(0);
        uptime.set(id(1, 3), 1, S + 60);
        vm.expectRevert(down(id(1, 3)));
        recordOnL2(id(1, 2));
        uptime.set(id(1, 4), 0, S + 120); // up again does not heal it
        vm.expectRevert(down(id(1, 3)));
        recordOnL2(id(1, 2));
        vm.expectRevert(down(id(1, 4)));
        recordOnL2(id(1, 4));
    }

    /// @dev The last word of an uptime feed that was replaced says "up" for ever.
    function test_sequencer_onlyThePresentPhase() public {
        onL2();
        uptime.setPhase(2);
        uptime.set(id(2, 1), 1, S + 60);
        vm.expectRevert(down(id(1, 2)));
        recordOnL2(id(1, 2));
    }

    function test_sequencer_tooManyRounds() public {
        onL2();
        for (uint80 i = 3; i < 516; ++i) {
            uptime.set(id(1, i), 0, S);
        }
        vm.expectRevert(IChainlinkOracle.TooManyRounds.selector);
        recordOnL2(id(1, 2));
    }

    function test_sequencer_spot() public {
        onL2();
        vm.warp(T + 30 minutes);
        (uint256 price, uint256 time) = oracle.spot(FEED);
        vm.assertEq(price, 9_999e18);
        vm.assertEq(time, T + 1);
        uptime.set(id(1, 3), 1, T);
        (price, time) = oracle.spot(FEED);
        vm.assertEq(price + time, 0);
        uptime.set(id(1, 4), 0, T + 10);
        vm.warp(T + 10 + 1 hours - 1);
        (price, time) = oracle.spot(FEED);
        vm.assertEq(price + time, 0);
        vm.warp(T + 10 + 1 hours);
        (price,) = oracle.spot(FEED);
        vm.assertEq(price, 9_999e18);
        uptime.set(id(1, 4), 0, T + 10, 0); // not initialised
        (price,) = oracle.spot(FEED);
        vm.assertEq(price, 0);
        vm.expectRevert(down(id(1, 4)));
        recordOnL2(id(1, 4));
    }

    // ---- spot

    function test_spot() public {
        (uint256 price, uint256 time) = oracle.spot(FEED);
        vm.assertEq(price + time, 0); // no round yet
        put(1, 1, 3_000, T);
        (price, time) = oracle.spot(FEED);
        vm.assertEq(price, 3_000e18);
        vm.assertEq(time, T);
        (price, time) = oracle.spot("X");
        vm.assertEq(price + time, 0);
        put(1, 1, 3_000, block.timestamp + 1);
        (price, time) = oracle.spot(FEED);
        vm.assertEq(price + time, 0);
        int256[3] memory bad = [int256(0), -1, type(int256).max];
        for (uint256 i; i < 3; ++i) {
            proxy.set(id(1, 1), bad[i], T);
            (price, time) = oracle.spot(FEED);
            vm.assertEq(price + time, 0);
        }
    }

    /// @dev What the Adjudicator allows it: 50,000 gas, of which real proxies take more than this one.
    function test_gas_views() public {
        onL2();
        recordOnL2(id(1, 2));
        (bool success,) = address(oracle).staticcall{gas: 10_000}(abi.encodeCall(oracle.settlementPrice, (FEED, T)));
        vm.assertTrue(success);
        (success,) = address(oracle).staticcall{gas: 30_000}(abi.encodeCall(oracle.spot, (FEED)));
        vm.assertTrue(success);
    }

    // ---- the last resort

    function toGrace() private {
        vm.warp(T + GRACE);
    }

    function resort() private {
        oracle.recordLastResort(FEED, T);
    }

    function test_attack_lastResortRecordedEarly() public {
        window();
        oracle.verifyRound(FEED, T, id(1, 7));
        vm.warp(T + GRACE - 1);
        vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.GraceNotOver.selector, T + GRACE));
        resort();
        assertSettlement(Status.Unset, 0);
        toGrace();
        resort();
    }

    function test_lastResort_newestVerified_finalADayLater() public {
        window();
        oracle.verifyRound(FEED, T, id(1, 7)); // long before anybody needs it
        toGrace();
        vm.expectEmit(address(oracle));
        emit IChainlinkOracle.LastResortRecorded(FEED, T, S - 2 hours, 2_900e18, T + GRACE + 1 days);
        resort();
        vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.NoNewerObservation.selector, S - 2 hours));
        resort(); // does not start the day anew
        vm.warp(T + GRACE + 1 days - 1);
        vm.expectEmit(address(oracle));
        emit IChainlinkOracle.RoundVerified(FEED, T, id(1, 10), S + 25 minutes, 3_060e18);
        oracle.verifyRound(FEED, T, id(1, 10)); // still counts
        assertSettlement(Status.Unset, 0);
        vm.warp(T + GRACE + 1 days);
        assertSettlement(Status.LastResort, 3_060e18);
        (uint64 observedAt, uint128 price, uint256 finalAt) = oracle.lastResort(FEED, T);
        vm.assertEq(observedAt, S + 25 minutes);
        vm.assertEq(price, 3_060e18);
        vm.assertEq(finalAt, T + GRACE + 1 days);
        bytes memory final_ = abi.encodeWithSelector(IChainlinkOracle.AlreadyFinal.selector);
        vm.expectRevert(final_);
        resort();
        vm.expectRevert(final_);
        oracle.verifyRound(FEED, T, id(1, 10));
        refuses(id(1, 8), final_);
    }

    function test_lastResort_never() public {
        toGrace();
        resort();
        vm.warp(T + GRACE + 1 days);
        assertSettlement(Status.Never, 0);
        oracle.recordLastResort("X", T); // a feed not served, too
    }

    /// @dev One for a time before the oracle was deployed is a price like any, but no last resort for later times.
    function test_lastResort_notTheSettlementsBeforeTheDeployment() public {
        put(1, 1, 2_900, S);
        put(1, 2, 3_000, T + 1);
        record(id(1, 1));
        assertSettlement(Status.Known, 2_900e18);
        vm.warp(T + 1 hours + GRACE);
        oracle.recordLastResort(FEED, T - 1 hours);
        oracle.recordLastResort(FEED, T + 1 hours);
        vm.warp(T + 1 hours + GRACE + 1 days);
        for (uint64 time = T - 1 hours; time <= T + 1 hours; time += 2 hours) {
            (Status status,) = oracle.settlementPrice(FEED, time);
            vm.assertEq(uint256(status), uint256(Status.Never));
        }
    }

    /// @dev Rule 8: `never` is for an oracle that never had a price. Here the proxy answers no more, but an earlier
    /// settlement was recorded while it did.
    function test_lastResort_countsRecordedSettlements() public {
        vm.warp(T - 24 hours); // the first hour counts
        oracle = deploy(address(0));
        vm.warp(T + 1 hours);
        put(1, 1, 2_800, S - 26 hours);
        put(1, 2, 2_801, S - 24 hours);
        put(1, 3, 2_900, S - 1 hours);
        put(1, 4, 3_000, S);
        put(1, 5, 3_060, T + 1);
        put(1, 6, 3_100, T + 2 hours);
        oracle.recordSettlement(FEED, T - 24 hours, id(1, 2), none, 0);
        vm.warp(T + 3 hours);
        oracle.recordSettlement(FEED, T + 1 hours, id(1, 5), none, 0); // after it: never
        uint256 snapshot = vm.snapshotState();
        vm.etch(address(proxy), "");
        toGrace();
        vm.expectEmit(address(oracle));
        emit IChainlinkOracle.LastResortRecorded(FEED, T, T - 24 hours, 2_801e18, T + GRACE + 1 days);
        resort();
        vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.NoNewerObservation.selector, T - 24 hours));
        resort();
        vm.warp(T + GRACE + 1 days);
        assertSettlement(Status.LastResort, 2_801e18);

        // With the proxy, rounds between the two go before it, as does a settlement recorded later.
        vm.revertToState(snapshot);
        toGrace();
        resort();
        vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.NoNewerObservation.selector, T - 24 hours));
        oracle.verifyRound(FEED, T, id(1, 2));
        oracle.recordSettlement(FEED, T - 1 hours, id(1, 3), none, 0);
        vm.warp(T + GRACE + 1 hours);
        vm.expectEmit(address(oracle));
        emit IChainlinkOracle.LastResortRecorded(FEED, T, T - 1 hours, 2_900e18, T + GRACE + 1 days);
        resort();
        oracle.verifyRound(FEED, T, id(1, 4));
        vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.NoNewerObservation.selector, S));
        resort();
        vm.warp(T + GRACE + 1 days);
        assertSettlement(Status.LastResort, 3_000e18);
    }

    function test_attack_lastResortWithAnOlderOrALaterRound() public {
        window();
        oracle.verifyRound(FEED, T, id(1, 9));
        uint80[2] memory notNewer = [id(1, 7), id(1, 9)];
        for (uint256 i; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.NoNewerObservation.selector, S + 10 minutes));
            oracle.verifyRound(FEED, T, notNewer[i]);
        }
        uint80[2] memory after_ = [id(1, 11), id(1, 12)];
        for (uint256 i; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.NotBefore.selector, after_[i], T));
            oracle.verifyRound(FEED, T, after_[i]);
        }
        proxy.set(id(1, 10), -5, S + 25 minutes);
        vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.InvalidAnswer.selector, id(1, 10), int256(-5)));
        oracle.verifyRound(FEED, T, id(1, 10));
    }

    /// @dev A price goes before a last resort until that is final, and rules it out for ever.
    function test_attack_lastResortRacedAgainstALatePrice() public {
        window();
        oracle.verifyRound(FEED, T, id(1, 7));
        toGrace();
        resort();
        vm.warp(T + GRACE + 1 days - 1);
        record(id(1, 8));
        vm.warp(T + GRACE + 9 days);
        assertSettlement(Status.Known, 3_025e18);
        vm.expectRevert(IChainlinkOracle.AlreadyFinal.selector);
        resort();
    }
}
