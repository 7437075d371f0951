// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Signatures} from "../src/libraries/Signatures.sol";
import {HashingHarness} from "./utils/HashingHarness.sol";
import {Test} from "./utils/Test.sol";

/// @notice Rule 9: low-s, no zero address, both parities. What `open` takes of wallets is in Open.t.sol.
contract SignaturesTest is Test {
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    uint256 private constant TOP = 1 << 255;

    HashingHarness private harness = new HashingHarness();

    function testFuzz_recoversItsSigner(uint256 key, bytes32 digest) public view {
        key = bound(key, 1, ORDER - 1);
        (bytes32 r, bytes32 vs) = vm.signCompact(key, digest);
        vm.assertEq(harness.recover(digest, r, vs), vm.addr(key));
        (uint8 v, bytes32 longR, bytes32 s) = vm.sign(key, digest);
        vm.assertEq(longR, r);
        vm.assertEq(uint256(vs), uint256(s) | uint256(v - 27) << 255);
    }

    /// @dev The other form of the same signature, order - s with the other parity, recovers the same key in ecrecover.
    function testFuzz_refusesHighS(uint256 key, bytes32 digest) public view {
        key = bound(key, 1, ORDER - 1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        uint256 high = ORDER - uint256(s);
        vm.assertEq(ecrecover(digest, 55 - v, r, bytes32(high)), vm.addr(key));
        // 2^255 - 1 is above half the order, so some high s fit 255 bits; the others cannot even be written.
        if (high < TOP) {
            vm.assertEq(harness.recover(digest, r, bytes32(high | uint256(28 - v) << 255)), address(0));
        }
    }

    function test_halfOrderIsTheLimit() public view {
        vm.assertEq(Signatures.HALF_ORDER, ORDER / 2);
        bytes32 r = bytes32(uint256(0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798));
        vm.assertTrue(harness.recover("digest", r, bytes32(ORDER / 2)) != address(0));
        vm.assertEq(harness.recover("digest", r, bytes32(ORDER / 2 + 1)), address(0));
    }

    function test_zeroAndGarbageRecoverNobody() public view {
        vm.assertEq(harness.recover("digest", 0, 0), address(0));
        vm.assertEq(harness.recover("digest", bytes32(uint256(1)), 0), address(0));
        vm.assertEq(harness.recover("digest", bytes32(ORDER), bytes32(uint256(1))), address(0));
        vm.assertEq(harness.recover("digest", bytes32(type(uint256).max), bytes32(uint256(1))), address(0));
    }

    function testFuzz_flippedParityIsSomebodyElse(uint256 key, bytes32 digest) public view {
        key = bound(key, 1, ORDER - 1);
        (bytes32 r, bytes32 vs) = vm.signCompact(key, digest);
        vm.assertTrue(harness.recover(digest, r, bytes32(uint256(vs) ^ TOP)) != vm.addr(key));
    }
}
