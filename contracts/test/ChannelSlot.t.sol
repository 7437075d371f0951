// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ChannelSlot, ChannelSlotLibrary} from "../src/libraries/ChannelSlot.sol";
import {Party, Phase} from "../src/libraries/Types.sol";
import {Test} from "./utils/Test.sol";

/// @notice Slot 0: every write changes what it says and nothing else.
contract ChannelSlotTest is Test {
    function slotOf(uint8 phase, uint8 filer, uint16 flags, uint32[3] memory times, uint64 nonce, uint64 filed)
        private
        pure
        returns (ChannelSlot)
    {
        return ChannelSlot.wrap(
            uint256(phase % 5) | uint256(filer % 3) << 8 | uint256(flags) << 16 | uint256(times[0]) << 32
                | uint256(times[1]) << 64 | uint256(times[2]) << 96 | uint256(nonce) << 128 | uint256(filed) << 192
        );
    }

    function testFuzz_reads(uint8 p, uint8 f, uint16 flags, uint32[3] memory times, uint64 nonce, uint64 filed)
        public
        pure
    {
        ChannelSlot slot = slotOf(p, f, flags, times, nonce, filed);
        vm.assertEq(uint256(slot.phase()), p % 5);
        vm.assertEq(uint256(slot.filer()), f % 3);
        vm.assertEq(slot.flags(), flags);
        vm.assertEq(slot.settled(), flags & 1 == 1);
        vm.assertEq(slot.released(Party.A), flags & 2 == 2);
        vm.assertEq(slot.released(Party.B), flags & 4 == 4);
        vm.assertEq(slot.deadline(), times[0]);
        vm.assertEq(slot.cureEnd(Party.A), times[1]);
        vm.assertEq(slot.cureEnd(Party.B), times[2]);
        vm.assertEq(slot.nonce(), nonce);
        vm.assertEq(slot.filedNonce(), filed);
    }

    function testFuzz_writes(uint8 p, uint8 f, uint16 flags, uint32[3] memory times, uint64 nonce, uint64 newer)
        public
        pure
    {
        ChannelSlot slot = slotOf(p, f, flags, times, nonce, nonce / 2);
        vm.assertEq(
            ChannelSlot.unwrap(slot.withNonce(newer)), ChannelSlot.unwrap(slotOf(p, f, flags, times, newer, nonce / 2))
        );
        vm.assertEq(
            ChannelSlot.unwrap(slot.afterSettle()),
            ChannelSlot.unwrap(slotOf(uint8(Phase.RunOff), f, flags | 1, times, nonce, nonce / 2))
        );
        ChannelSlot opened = slotOf(uint8(Phase.Open), 0, 0, [uint32(0), 0, 0], nonce, 0);
        vm.assertEq(
            ChannelSlot.unwrap(opened.disputed(Party(1 + f % 2), times[0])),
            ChannelSlot.unwrap(
                slotOf(uint8(Phase.Disputed), 1 + f % 2, 0, [times[0], uint32(0), uint32(0)], nonce, nonce)
            )
        );
    }

    function testFuzz_writesOfMargin(
        uint8 p,
        uint8 f,
        uint16 flags,
        uint32[3] memory times,
        uint64 nonce,
        uint64 filed,
        uint32 end
    ) public pure {
        ChannelSlot slot = slotOf(p, f, flags, times, nonce, filed);
        vm.assertEq(
            ChannelSlot.unwrap(slot.called(Party.A, end)),
            ChannelSlot.unwrap(slotOf(p, f, flags, [times[0], end, times[2]], nonce, filed))
        );
        vm.assertEq(
            ChannelSlot.unwrap(slot.called(Party.B, end)),
            ChannelSlot.unwrap(slotOf(p, f, flags, [times[0], times[1], end], nonce, filed))
        );
        vm.assertEq(
            ChannelSlot.unwrap(slot.afterRelease(Party.A)),
            ChannelSlot.unwrap(slotOf(p, f, flags | 2, times, nonce, filed))
        );
        vm.assertEq(
            ChannelSlot.unwrap(slot.afterRelease(Party.B)),
            ChannelSlot.unwrap(slotOf(p, f, flags | 4, times, nonce, filed))
        );
    }

    /// @dev From the deadline on it *is* run-off, whatever is stored.
    function testFuzz_phaseAt(uint32 deadline, uint256 time) public pure {
        ChannelSlot slot = ChannelSlotLibrary.only(Phase.Open).disputed(Party.A, deadline);
        vm.assertEq(uint256(slot.phaseAt(time)), uint256(time < deadline ? Phase.Disputed : Phase.RunOff));
        for (uint256 p; p < 5; ++p) {
            if (Phase(p) == Phase.Disputed) continue;
            vm.assertEq(uint256(ChannelSlotLibrary.only(Phase(p)).phaseAt(time)), p);
        }
    }
}
