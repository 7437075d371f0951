"""Frames on a byte stream: four bytes of big-endian length, then that many bytes of payload.

No I/O here. A frame has 1 to 65,536 bytes of payload; its length is judged before its payload is
buffered, and whatever the chopping, each byte is copied a bounded number of times.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from channels.errors import FrameError, FrameTooLargeError, FrameTruncatedError, InvalidValueError

__all__ = ["HEADER_SIZE", "MAX_FRAME", "FrameDecoder", "encode_frames"]

MAX_FRAME: Final = 65_536
"""Bytes in the longest payload."""

HEADER_SIZE: Final = 4

_LENGTH: Final = struct.Struct(">I")
_pack = _LENGTH.pack
_unpack_from = _LENGTH.unpack_from


def encode_frames(frames: Sequence[bytes]) -> bytes:
    r"""Encode a burst of frames as the bytes of one send.

    Raises:
        InvalidValueError: a frame is empty or longer than ``MAX_FRAME``.

    >>> encode_frames([b"a", b"bc"])
    b'\x00\x00\x00\x01a\x00\x00\x00\x02bc'
    """
    parts: list[bytes] = []
    for frame in frames:
        size = len(frame)
        if not 0 < size <= MAX_FRAME:
            raise InvalidValueError(f"a frame of {size} bytes cannot be sent")
        parts += (_pack(size), frame)
    return b"".join(parts)


class FrameDecoder:
    """Turns received bytes into frames, however they arrive.

    The frames and the error that a stream yields do not depend on how it was chopped: an error is
    raised only after the frames before it have been given.

    Attributes:
        broken: the error of a stream that is no stream of frames, once seen. Nothing that follows
            can be told from rubbish.
    """

    __slots__ = ("_buffer", "_needed", "broken")

    def __init__(self) -> None:
        self.broken: FrameError | None = None
        self._buffer = bytearray()
        self._needed = HEADER_SIZE

    @property
    def buffered(self) -> int:
        """Bytes held of a frame that is not complete; never a whole frame's."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """Take bytes from the stream; return the frames they complete.

        Raises:
            FrameTooLargeError: a frame announces more than ``MAX_FRAME`` bytes.
            FrameError: a frame announces none.
        """
        if self.broken is not None:
            raise self.broken
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._needed:
                return []
            data = bytes(buffer)
            buffer.clear()
        elif type(data) is not bytes:
            data = bytes(data)
        frames: list[bytes] = []
        at, end = 0, len(data)
        while True:
            body = at + HEADER_SIZE
            if body > end:
                self._needed = HEADER_SIZE
                break
            (size,) = _unpack_from(data, at)
            if not 0 < size <= MAX_FRAME:
                return self._break(size, frames)
            if body + size > end:
                self._needed = HEADER_SIZE + size
                break
            at = body + size
            frames.append(data[body:at])
        if at < end:
            buffer += memoryview(data)[at:]
        return frames

    def _break(self, size: int, frames: list[bytes]) -> list[bytes]:
        """Keep the error of a wrong length; raise it unless there are frames to give first."""
        if size:
            self.broken = FrameTooLargeError(
                f"a frame announces {size} bytes, {MAX_FRAME} are allowed"
            )
        else:
            self.broken = FrameError("a frame announces no bytes")
        if not frames:
            raise self.broken
        return frames

    def finish(self) -> None:
        """Say that the stream has ended.

        Raises:
            FrameTruncatedError: it ended inside a frame.
            FrameError: it was broken before.
        """
        if self.broken is None and self._buffer:
            self.broken = FrameTruncatedError(
                f"the stream ended {self._needed - len(self._buffer)} bytes short of a frame's"
                f" {'header' if len(self._buffer) < HEADER_SIZE else 'end'}"
            )
        if self.broken is not None:
            raise self.broken
