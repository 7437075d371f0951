// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ChannelView, Party, Phase} from "./Types.sol";

/// @notice Slot 0 of a channel, one word:
///
/// ```
///  255        192 191       128 127      96 95       64 63       32 31    16 15     8 7      0
/// +--------------+-------------+-----------+-----------+-----------+--------+--------+--------+
/// |  filedNonce  |    nonce    |  cureEndB |  cureEndA |  deadline |  flags |  filer |  phase |
/// |      64      |     64      |     32    |     32    |     32    |   16   |    8   |    8   |
/// +--------------+-------------+-----------+-----------+-----------+--------+--------+--------+
/// ```
///
/// flags: bit 0 `settled` (settle ran: somebody has the portfolio), bit 1 `releasedA` and bit 2 `releasedB` (that party
/// has had its release); the others are 0.
type ChannelSlot is uint256;

using ChannelSlotLibrary for ChannelSlot global;

library ChannelSlotLibrary {
    uint256 internal constant FILER = 8;
    uint256 internal constant FLAGS = 16;
    uint256 internal constant DEADLINE = 32;
    uint256 internal constant CURE_END_A = 64;
    uint256 internal constant CURE_END_B = 96;
    uint256 internal constant NONCE = 128;
    uint256 internal constant FILED_NONCE = 192;

    uint256 internal constant SETTLED_FLAG = 1 << FLAGS;
    uint256 internal constant RELEASED_A_FLAG = 2 << FLAGS;
    uint256 internal constant RELEASED_B_FLAG = 4 << FLAGS;

    /// @notice A slot with this phase and nothing else: a fresh channel, or a closed one.
    function only(Phase phase_) internal pure returns (ChannelSlot) {
        return ChannelSlot.wrap(uint256(phase_));
    }

    /// @notice The slot that a view of it was decoded from.
    function pack(ChannelView memory stored) internal pure returns (ChannelSlot) {
        return ChannelSlot.wrap(
            uint256(stored.phase) | uint256(stored.filer) << FILER | uint256(stored.flags) << FLAGS
                | uint256(stored.deadline) << DEADLINE | uint256(stored.cureEndA) << CURE_END_A
                | uint256(stored.cureEndB) << CURE_END_B | uint256(stored.nonce) << NONCE | uint256(stored.filedNonce)
                << FILED_NONCE
        );
    }

    /// @notice The stored phase. Decide by `phaseAt`, not by this.
    function phase(ChannelSlot self) internal pure returns (Phase) {
        // Only this library writes the byte, so it is a valid phase.
        return Phase(uint8(ChannelSlot.unwrap(self)));
    }

    /// @notice The phase at `time`: from the deadline on a disputed channel is in run-off.
    function phaseAt(ChannelSlot self, uint256 time) internal pure returns (Phase) {
        Phase stored = self.phase();
        return stored == Phase.Disputed && time >= self.deadline() ? Phase.RunOff : stored;
    }

    function filer(ChannelSlot self) internal pure returns (Party) {
        return Party(uint8(ChannelSlot.unwrap(self) >> FILER));
    }

    function flags(ChannelSlot self) internal pure returns (uint16) {
        return uint16(ChannelSlot.unwrap(self) >> FLAGS);
    }

    function settled(ChannelSlot self) internal pure returns (bool) {
        return ChannelSlot.unwrap(self) & SETTLED_FLAG != 0;
    }

    function released(ChannelSlot self, Party party) internal pure returns (bool) {
        return ChannelSlot.unwrap(self) & (party == Party.A ? RELEASED_A_FLAG : RELEASED_B_FLAG) != 0;
    }

    function deadline(ChannelSlot self) internal pure returns (uint32) {
        return uint32(ChannelSlot.unwrap(self) >> DEADLINE);
    }

    /// @notice End of the cure of the last margin call on `party`; 0 if it was never called.
    function cureEnd(ChannelSlot self, Party party) internal pure returns (uint32) {
        return uint32(ChannelSlot.unwrap(self) >> (party == Party.A ? CURE_END_A : CURE_END_B));
    }

    function nonce(ChannelSlot self) internal pure returns (uint64) {
        return uint64(ChannelSlot.unwrap(self) >> NONCE);
    }

    function filedNonce(ChannelSlot self) internal pure returns (uint64) {
        return uint64(ChannelSlot.unwrap(self) >> FILED_NONCE);
    }

    function withNonce(ChannelSlot self, uint64 nonce_) internal pure returns (ChannelSlot) {
        uint256 cleared = ChannelSlot.unwrap(self) & ~(uint256(type(uint64).max) << NONCE);
        return ChannelSlot.wrap(cleared | uint256(nonce_) << NONCE);
    }

    /// @notice The slot once a dispute is filed on what it records. Only for an Open channel, whose filer, flags,
    /// deadline and filed nonce are still 0.
    function disputed(ChannelSlot self, Party filer_, uint32 deadline_) internal pure returns (ChannelSlot) {
        uint256 nonce_ = self.nonce();
        return ChannelSlot.wrap(
            uint256(Phase.Disputed) | uint256(filer_) << FILER | uint256(deadline_) << DEADLINE | nonce_ << NONCE
                | nonce_ << FILED_NONCE
        );
    }

    /// @notice The slot once `settle` has run: in run-off, with its flag.
    function afterSettle(ChannelSlot self) internal pure returns (ChannelSlot) {
        return
            ChannelSlot.wrap(
                (ChannelSlot.unwrap(self) & ~uint256(type(uint8).max)) | uint256(Phase.RunOff) | SETTLED_FLAG
            );
    }

    /// @notice The slot once `party` was called for margin.
    function called(ChannelSlot self, Party party, uint32 cureEnd_) internal pure returns (ChannelSlot) {
        uint256 place = party == Party.A ? CURE_END_A : CURE_END_B;
        uint256 cleared = ChannelSlot.unwrap(self) & ~(uint256(type(uint32).max) << place);
        return ChannelSlot.wrap(cleared | uint256(cureEnd_) << place);
    }

    /// @notice The slot once `party` has had its release.
    function afterRelease(ChannelSlot self, Party party) internal pure returns (ChannelSlot) {
        return ChannelSlot.wrap(ChannelSlot.unwrap(self) | (party == Party.A ? RELEASED_A_FLAG : RELEASED_B_FLAG));
    }
}
