// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IChainlinkOracle} from "../src/interfaces/IChainlinkOracle.sol";
import {Status} from "../src/interfaces/IOracle.sol";
import {ChainlinkOracle} from "../src/oracles/ChainlinkOracle.sol";
import {FakeProxy} from "./utils/FakeProxy.sol";
import {Test} from "./utils/Test.sol";

/// @notice Sequences of rounds as Chainlink's feeds report them (ids of phase and round, a heartbeat of an hour, a new
/// round at a deviation of 0.5 %), with gaps and changes of phase; and any sequence, whatever the caller names.
/// @dev Each average is computed twice over without the contract's walk: as a literal, by intervals in exact fractions
/// outside Solidity, and by asking of every second of the window which round was live.
contract ChainlinkOracleSequencesTest is Test {
    bytes32 private constant FEED = "BTC-USD";
    uint64 private constant T = 1_774_598_400;
    uint64 private constant S = T - 30 minutes;
    uint32 private constant HEARTBEAT = 1 hours;
    uint256 private constant MOST_AGE = HEARTBEAT + 5 minutes;

    struct Row {
        uint80 id;
        /// Eight decimals.
        int256 answer;
        uint256 updatedAt;
    }

    FakeProxy private proxy;
    ChainlinkOracle private oracle;
    Row[] private rows;
    uint80[] private older;

    function setUp() public {
        vm.warp(T + 2 hours);
        proxy = new FakeProxy(8);
        IChainlinkOracle.Feed[] memory feeds = new IChainlinkOracle.Feed[](1);
        feeds[0] = IChainlinkOracle.Feed(FEED, address(proxy), HEARTBEAT);
        oracle = new ChainlinkOracle(feeds, address(0), 3 days);
    }

    function id(uint80 phase, uint80 round) private pure returns (uint80) {
        return phase << 64 | round;
    }

    /// @dev Reports a round `offset` seconds after the window's start.
    function row(uint80 id_, int256 answer, int256 offset) private {
        uint256 time = uint256(int256(uint256(S)) + offset);
        rows.push(Row(id_, answer, time));
        proxy.set(id_, answer, time);
    }

    /// @dev The rounds of one phase.
    function roundsOf(uint256 phase) private view returns (Row[] memory its) {
        its = new Row[](rows.length);
        uint256 length;
        for (uint256 i; i < rows.length; ++i) {
            if (rows[i].id >> 64 == phase) its[length++] = rows[i];
        }
        assembly ("memory-safe") {
            mstore(its, length)
        }
    }

    /// @dev The last of these rounds by `second`; all zeros if there is none.
    function liveAt(Row[] memory its, uint256 second) private pure returns (Row memory live) {
        for (uint256 i; i < its.length; ++i) {
            if (its[i].updatedAt <= second) live = its[i];
        }
    }

    /// @dev Whether `phase` was live, and not stale, at the window's start.
    function wasServing(uint256 phase) private view returns (bool) {
        return liveAt(roundsOf(phase), S).updatedAt + MOST_AGE >= S;
    }

    /// @dev WAD average over the 1,800 seconds of the window.
    function averageOf(uint256 phase) private view returns (uint256) {
        Row[] memory its = roundsOf(phase);
        uint256 sum;
        for (uint256 second = S; second < T; ++second) {
            sum += uint256(liveAt(its, second).answer);
        }
        return sum * 1e10 / 1_800;
    }

    function settles(uint80 first, uint256 expected) private {
        vm.assertEq(averageOf(first >> 64), expected);
        vm.assertEq(oracle.recordSettlement(FEED, T, first, older, 0), expected);
        (Status status, uint256 price) = oracle.settlementPrice(FEED, T);
        vm.assertEq(uint256(status), uint256(Status.Known));
        vm.assertEq(price, expected);
    }

    /// @dev Every phase before the sixth has long stopped; the fourth never reported.
    function sixth() private {
        proxy.setPhase(6);
        uint80[5] memory last = [uint80(1_021), 8_114, 15_733, 0, 22_406];
        for (uint80 phase = 1; phase <= 5; ++phase) {
            uint80 round = last[phase - 1];
            older.push(id(phase, round));
            if (round != 0) row(id(phase, round), 1_000e8, -int256(uint256(6 - phase)) * 200 days);
        }
    }

    // ---- sequences

    function test_sequence_quiet_oneRoundAHeartbeat() public {
        sixth();
        row(id(6, 13_526), 3_019.55e8, -6_550);
        row(id(6, 13_527), 3_012.41e8, -2_950);
        row(id(6, 13_528), 3_009.87e8, 650);
        row(id(6, 13_529), 3_017.03e8, 4_250);
        settles(id(6, 13_527), 3_010.787222222222222222e18);
    }

    /// @dev A crash and what follows: a round at every half a percent, two of them in the last blocks.
    function test_sequence_crash_aRoundAtEveryDeviation() public {
        sixth();
        row(id(6, 901), 3_000e8, -1_212);
        row(id(6, 902), 2_998.12e8, -12);
        row(id(6, 903), 2_983.1e8, 84);
        row(id(6, 904), 2_967.55e8, 132);
        row(id(6, 905), 2_952.4e8, 168);
        row(id(6, 906), 2_936.01e8, 204);
        row(id(6, 907), 2_951.2e8, 288);
        row(id(6, 908), 2_966.44e8, 600);
        row(id(6, 909), 2_951.01e8, 1_044);
        row(id(6, 910), 2_966e8, 1_788);
        row(id(6, 911), 2_981e8, 1_812);
        settles(id(6, 902), 2_957.661733333333333333e18);
    }

    /// @dev One, two and three rounds missing, just before the window, in it, and at its end.
    function test_sequence_gaps() public {
        proxy.setMissingRevert(true);
        row(id(1, 40), 1_888.88e8, -50);
        row(id(1, 42), 1_880.12e8, -40);
        row(id(1, 45), 1_870.5e8, 300);
        row(id(1, 46), 1_879.9e8, 301);
        row(id(1, 50), 1_889.5e8, 900);
        row(id(1, 52), 1_900.01e8, 1_799);
        row(id(1, 56), 1_910e8, 1_801);
        settles(id(1, 42), 1_884.737283333333333333e18);
    }

    /// @dev The new phase, set up beside the old one, takes over in the window: the old one's last round counts on.
    function test_sequence_phaseReplacedInTheWindow() public {
        row(id(1, 70), 64_000.12e8, -600);
        row(id(1, 71), 64_321e8, 260);
        row(id(1, 72), 63_999.5e8, 700);
        row(id(2, 1), 64_340e8, 240);
        row(id(2, 2), 64_010e8, 690);
        row(id(2, 3), 64_350e8, 1_500);
        row(id(2, 4), 64_400e8, 5_100);
        proxy.setPhase(2);
        settles(id(1, 70), 64_078.178444444444444444e18);
    }

    /// @dev The same, but the old one goes on reporting.
    function test_sequence_phaseReplaced_theOldOneGoesOn() public {
        row(id(1, 70), 64_000.12e8, -600);
        row(id(1, 71), 63_999.5e8, 700);
        row(id(1, 72), 64_320e8, 1_400);
        row(id(1, 73), 64_800e8, 2_900);
        row(id(2, 1), 64_340e8, 240);
        row(id(2, 2), 64_350e8, 3_840);
        proxy.setPhase(2);
        settles(id(1, 70), 64_070.963333333333333333e18);
    }

    /// @dev Replaced before the window: the old phase serves until it is a heartbeat and five minutes old, not a second
    /// longer.
    function test_sequence_phaseReplacedBeforeTheWindow() public {
        row(id(1, 99), 65_000e8, -3_900);
        row(id(2, 1), 64_555e8, -3_615);
        row(id(2, 2), 64_410e8, -15);
        row(id(2, 3), 64_087.9e8, 420);
        row(id(2, 4), 64_100e8, 4_020);
        proxy.setPhase(2);
        older.push(id(1, 99));
        vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.OlderPhaseServes.selector, id(1, 99)));
        oracle.recordSettlement(FEED, T, id(2, 2), older, 0);
        delete rows;
        row(id(1, 99), 65_000e8, -3_901);
        row(id(2, 1), 64_555e8, -3_615);
        row(id(2, 2), 64_410e8, -15);
        row(id(2, 3), 64_087.9e8, 420);
        settles(id(2, 2), 64_163.056666666666666666e18);
    }

    /// @dev A round that timed out carries the answer of an earlier one: of no effect, whichever of them is live first.
    function test_sequence_roundsCarriedOver() public {
        row(id(1, 21), 412.1e8, -4_700);
        row(id(1, 22), 412.1e8, -500);
        row(id(1, 23), 412.1e8, 640);
        row(id(1, 24), 414.2e8, 1_000);
        row(id(1, 25), 414.2e8, 1_900);
        proxy.setCarriedFrom(id(1, 22), id(1, 21));
        proxy.setCarriedFrom(id(1, 23), id(1, 21));
        settles(id(1, 22), 413.033333333333333333e18);
    }

    /// @dev Zeros around the window do not count; one in it makes the price unprovable, and stays out of its last resort.
    function test_sequence_zeroAnswers() public {
        row(id(1, 10), 0, -200);
        row(id(1, 11), 2_500e8, -100);
        row(id(1, 12), 2_513e8, 1_000);
        row(id(1, 13), 0, 1_801);
        uint256 snapshot = vm.snapshotState();
        settles(id(1, 11), 2_505.777777777777777777e18);
        vm.revertToState(snapshot);

        proxy.set(id(1, 13), 0, S + 1_790);
        proxy.set(id(1, 14), 2_514e8, S + 1_850);
        vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.InvalidAnswer.selector, id(1, 13), int256(0)));
        oracle.recordSettlement(FEED, T, id(1, 11), older, 0);
        vm.warp(T + 3 days);
        oracle.recordLastResort(FEED, T);
        vm.expectRevert(abi.encodeWithSelector(IChainlinkOracle.InvalidAnswer.selector, id(1, 13), int256(0)));
        oracle.verifyRound(FEED, T, id(1, 13));
        oracle.verifyRound(FEED, T, id(1, 12));
        vm.warp(T + 4 days);
        (Status status, uint256 price) = oracle.settlementPrice(FEED, T);
        vm.assertEq(uint256(status), uint256(Status.LastResort));
        vm.assertEq(price, 2_513e18);
    }

    // ---- any sequence

    /// @dev Three phases with gaps, begun and ended anywhere. The rounds that the definition names prove its price, if it
    /// has one; whatever else the caller names proves that price or nothing.
    function testFuzz_onePriceWhateverTheCallerNames(uint256 seed) public {
        proxy.setPhase(3);
        for (uint80 phase = 1; phase <= 3; ++phase) {
            uint256 word = uint256(keccak256(abi.encode(seed, phase)));
            int256 begins = int256(word % 9_000) - 7_200;
            int256 ends = phase == 3 ? int256(5_400) : begins + int256((word >> 32) % 7_200);
            uint80 round;
            for (int256 offset = begins; offset < ends; offset += int256(60 + word % 1_500)) {
                word = uint256(keccak256(abi.encode(word)));
                round += 1 + uint80((word >> 32) % 4);
                row(id(phase, round), int256(1e8 + (word >> 64) % 1e12), offset);
            }
        }
        uint80 serving = 1;
        while (serving <= 3 && !wasServing(serving)) ++serving;
        // The third phase is the present one: of it a round after the window is wanted.
        uint256 expected;
        if (serving < 3 || (serving == 3 && rows[rows.length - 1].updatedAt > T)) {
            expected = averageOf(serving);
            for (uint80 phase = 1; phase < serving; ++phase) {
                older.push(atTheStart(phase));
            }
            uint256 snapshot = vm.snapshotState();
            vm.assertEq(oracle.recordSettlement(FEED, T, atTheStart(serving), older, 0), expected);
            vm.revertToState(snapshot);
        }
        for (uint256 i; i < 40; ++i) {
            uint256 word = uint256(keccak256(abi.encode(seed, "caller", i)));
            uint80 phase = 1 + uint80(word % 3);
            uint80[] memory given = new uint80[](phase - 1);
            for (uint80 each = 1; each < phase; ++each) {
                given[each - 1] = near(each, word >> (16 * each));
            }
            uint256 snapshot = vm.snapshotState();
            try oracle.recordSettlement(FEED, T, near(phase, word >> 64), given, 0) returns (uint256 price) {
                vm.assertEq(price, expected);
            } catch {}
            vm.revertToState(snapshot);
        }
    }

    /// @dev The last round of `phase` at the window's start, stale or not; with none the phase alone.
    function atTheStart(uint80 phase) private view returns (uint80) {
        return id(phase, uint64(liveAt(roundsOf(phase), S).id));
    }

    /// @dev That round, or up to three beside it.
    function near(uint80 phase, uint256 word) private view returns (uint80) {
        uint80 right = uint64(atTheStart(phase));
        uint80 step = uint80(word % 4);
        return id(phase, word & 4 == 0 ? right + step : right > step ? right - step : 0);
    }
}
