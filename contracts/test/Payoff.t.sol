// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Contributions, ContributionsLibrary} from "../src/libraries/Contributions.sol";
import {Payoff} from "../src/libraries/Payoff.sol";
import {HashingHarness} from "./utils/HashingHarness.sol";
import {Test} from "./utils/Test.sol";

/// @notice What positions pay, against another 512-bit arithmetic and against the laws payoffs obey.
contract PayoffTest is Test {
    uint128 private constant K = 3_000e18;
    uint128 private constant UNIT = 1e6;
    int256 private constant CAP = 2 ** 119 - 1;

    HashingHarness private harness = new HashingHarness();

    function payoff(uint8 kind, int128 quantity, uint128 price) private view returns (int256) {
        return harness.payoff(kind, K, quantity, price, UNIT);
    }

    function test_call() public view {
        vm.assertEq(payoff(0, 10e18, 3_100e18), 1_000e6);
        vm.assertEq(payoff(0, -10e18, 3_100e18), -1_000e6);
        vm.assertEq(payoff(0, 10e18, K), 0);
        vm.assertEq(payoff(0, 10e18, 2_900e18), 0);
    }

    function test_put() public view {
        vm.assertEq(payoff(1, 10e18, 2_900e18), 1_000e6);
        vm.assertEq(payoff(1, -10e18, 2_900e18), -1_000e6);
        vm.assertEq(payoff(1, 10e18, K), 0);
        vm.assertEq(payoff(1, 10e18, 3_100e18), 0);
    }

    function test_digitals_payOneUnit_theCallAtTheStrikeToo() public view {
        vm.assertEq(payoff(2, 10e18, K), 10e6);
        vm.assertEq(payoff(3, 10e18, K), 0);
        vm.assertEq(payoff(2, -10e18, K + 1), -10e6);
        vm.assertEq(payoff(2, 10e18, K - 1), 0);
        vm.assertEq(payoff(3, 10e18, K - 1), 10e6);
    }

    function test_forward_bothSigns() public view {
        vm.assertEq(payoff(4, 10e18, 3_100e18), 1_000e6);
        vm.assertEq(payoff(4, -10e18, 3_100e18), -1_000e6);
        vm.assertEq(payoff(4, 10e18, 2_900e18), -1_000e6);
        vm.assertEq(payoff(4, -10e18, 2_900e18), 1_000e6);
        vm.assertEq(payoff(4, 10e18, K), 0);
    }

    function test_magnitudeIsTruncated_towardsZeroOnBothSides() public view {
        // 1.999999999... base units.
        vm.assertEq(payoff(0, 1e18, K + 2e12 - 1), 1);
        vm.assertEq(payoff(0, -1e18, K + 2e12 - 1), -1);
        vm.assertEq(payoff(4, 1e18, K - 2e12 + 1), -1);
        vm.assertEq(payoff(0, 1, type(uint128).max), int256((uint256(type(uint128).max) - K) * UNIT / 1e36));
    }

    /// @dev 2^66 x 2^64 x 2^126 is 2^256, 0 to one who multiplies in one word.
    function test_saturates_whereOneWordWouldWrap() public view {
        vm.assertEq(harness.payoff(0, 0, 2 ** 66, 2 ** 64, 2 ** 126), CAP);
        vm.assertEq(harness.payoff(0, 0, type(int128).min, type(uint128).max, type(uint128).max), -CAP);
        vm.assertEq(harness.payoff(0, 0, type(int128).max, type(uint128).max, 0), 0);
        // One below, at and above the cap, exactly.
        vm.assertEq(harness.payoff(0, 0, 1e18, 1e18, 2 ** 119 - 2), CAP - 1);
        vm.assertEq(harness.payoff(0, 0, 1e18, 1e18, 2 ** 119 - 1), CAP);
        vm.assertEq(harness.payoff(0, 0, 1e18, 1e18, 2 ** 119), CAP);
    }

    function testFuzz_unknownKindPaysNothing(uint8 kind, uint128 k, int128 q, uint128 s, uint128 unit) public view {
        vm.assume(kind > 4);
        vm.assertEq(harness.payoff(kind, k, q, s, unit), 0);
    }

    function testFuzz_equalsAnotherArithmetic(
        uint8 kind,
        uint128 k,
        int128 q,
        uint128 s,
        uint128 unit,
        uint8[4] memory sizes
    ) public view {
        kind = kind % 5;
        // Every order of magnitude, not only the largest.
        (k, s, unit) = (k >> sizes[0] % 128, s >> sizes[1] % 128, unit >> sizes[2] % 128);
        q = q / int128(int256(1) << sizes[3] % 126);
        uint256 size = q < 0 ? uint256(-int256(q)) : uint256(int256(q));
        uint256 perUnit;
        int256 sign = q < 0 ? -1 : int256(1);
        if (kind == 0) perUnit = s > k ? s - k : 0;
        if (kind == 1) perUnit = k > s ? k - s : 0;
        if (kind == 2) perUnit = s >= k ? 1e18 : 0;
        if (kind == 3) perUnit = s < k ? 1e18 : 0;
        if (kind == 4) perUnit = s > k ? s - k : k - s;
        if (kind == 4 && s < k) sign = -sign;
        uint256 magnitude = Math.saturatingMul(size, perUnit);
        (uint256 high,) = Math.mul512(magnitude, unit);
        magnitude = high >= 1e36 ? type(uint256).max : Math.mulDiv(magnitude, unit, 1e36);
        if (magnitude > uint256(CAP)) magnitude = uint256(CAP);
        vm.assertEq(harness.payoff(kind, k, q, s, unit), sign * int256(magnitude));
    }

    /// @dev What one side receives the other pays: the books of A and B are each other's mirror.
    function testFuzz_oneSidesGainIsTheOthersLoss(uint8 kind, uint128 k, int128 q, uint128 s, uint128 unit)
        public
        view
    {
        vm.assume(q != type(int128).min);
        vm.assertEq(harness.payoff(kind, k, q, s, unit), -harness.payoff(kind, k, -q, s, unit));
    }

    function testFuzz_callLessPutIsTheForward(uint128 k, int128 q, uint128 s, uint128 unit) public view {
        vm.assertEq(
            harness.payoff(0, k, q, s, unit) - harness.payoff(1, k, q, s, unit), harness.payoff(4, k, q, s, unit)
        );
    }

    function testFuzz_digitalsAddUpToOne(uint128 k, int128 q, uint128 s, uint128 unit) public view {
        vm.assertEq(
            harness.payoff(2, k, q, s, unit) + harness.payoff(3, k, q, s, unit), harness.payoff(2, 0, q, s, unit)
        );
    }

    /// @dev With |netToB| <= 2^126, 128 positions of any payoff never saturate, so their order does not matter.
    function test_128LargestPayoffsFromTheLargestNetFit() public view {
        int256 net = 2 ** 126;
        for (uint256 i; i < 128; ++i) {
            net = harness.moveNet(int128(net), -CAP);
        }
        vm.assertEq(net, 2 ** 126 + 128 * CAP);
        net = -(2 ** 126);
        for (uint256 i; i < 128; ++i) {
            net = harness.moveNet(int128(net), CAP);
        }
        vm.assertEq(net, -(2 ** 126) - 128 * CAP);
    }

    function test_moveNet_saturates() public view {
        vm.assertEq(harness.moveNet(type(int128).max, -1), type(int128).max);
        vm.assertEq(harness.moveNet(type(int128).min, 1), type(int128).min);
    }

    // ---- cash

    function testFuzz_cash_addsUpToThePot(int128 ofA, int128 ofB, int128 netToB) public pure {
        (ofA, ofB) = contributions(ofA, ofB);
        Contributions packed = ContributionsLibrary.pack(ofA, ofB);
        vm.assertEq(packed.contributionA(), ofA);
        vm.assertEq(packed.contributionB(), ofB);
        uint256 pot = packed.pot();
        vm.assertEq(pot, uint256(int256(ofA) + ofB));
        (uint256 a, uint256 b) = packed.cash(netToB);
        vm.assertEq(a + b, pot);
        int256 unclamped = int256(ofA) - netToB;
        if (unclamped <= 0) vm.assertEq(a, 0);
        else if (uint256(unclamped) >= pot) vm.assertEq(b, 0);
        else vm.assertEq(a, uint256(unclamped));
    }

    /// @dev Any pair whose sum is a possible pot.
    function contributions(int128 ofA, int128 ofB) private pure returns (int128, int128) {
        int256 pot = bound(int256(ofB), 0, CAP);
        int256 a = bound(int256(ofA), pot - type(int128).max, type(int128).max);
        return (int128(a), int128(pot - a));
    }

    function pack(int256 ofA, int256 ofB) external pure returns (Contributions) {
        return ContributionsLibrary.pack(ofA, ofB);
    }

    function test_contributions_bounds() public {
        this.pack(CAP, 0);
        this.pack(type(int128).max, -type(int128).max);
        bytes4 tooLarge = bytes4(keccak256("PotTooLarge()"));
        vm.expectRevert(tooLarge);
        this.pack(CAP, 1);
        vm.expectRevert(tooLarge);
        this.pack(int256(type(int128).max) + 1, -type(int128).max);
        vm.expectRevert(tooLarge);
        this.pack(-type(int128).max, int256(type(int128).max) + 1);
    }
}
