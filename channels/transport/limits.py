"""What a connection may cost: times, and the rate at which its frames are taken."""

from __future__ import annotations

import math
from typing import Final

import attrs

from channels.errors import FloodError, InvalidValueError

__all__ = ["LinkLimits", "RateLimit", "Throttle"]

_RECOVERED: Final = 0.5
"""Part of its burst that a peer must have left again before its patience starts anew."""


def _positive(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value > 0:
        raise InvalidValueError(f"{attribute.name} is {value}; it must be above zero")


@attrs.frozen(kw_only=True)
class RateLimit:
    """How fast frames are taken from a peer: a token bucket of frames and one of bytes.

    Above the rate nothing more is read, and so the peer's own sends slow down. One that keeps on
    pushing for ``patience`` is dropped.

    Args:
        frames: per second.
        bytes: of payload per second.
        burst: seconds' worth of both that may come at once after silence.
        patience: seconds of being throttled without relief.

    Raises:
        InvalidValueError: one of them is not above zero.
    """

    frames: float = attrs.field(default=20_000.0, validator=_positive)
    bytes: float = attrs.field(default=50e6, validator=_positive)
    burst: float = attrs.field(default=1.0, validator=_positive)
    patience: float = attrs.field(default=30.0, validator=_positive)


@attrs.frozen(kw_only=True)
class LinkLimits:
    """Times and rates of one connection, in seconds.

    Args:
        handshake: until a connection is made, and the stream's wrapper (TLS) has done its part.
        idle: until a whole frame has come; a frame that trickles in does not extend it.
        send: until a burst has been handed over to the kernel; a peer that does not read fills its
            buffers and runs into this.
        close: for saying goodbye.
        rate: at which frames are taken; None for any.

    Raises:
        InvalidValueError: a time is not above zero.
    """

    handshake: float = attrs.field(default=10.0, validator=_positive)
    idle: float = attrs.field(default=math.inf, validator=_positive)
    send: float = attrs.field(default=20.0, validator=_positive)
    close: float = attrs.field(default=2.0, validator=_positive)
    rate: RateLimit | None = None


class Throttle:
    """The two buckets of one peer. May be in debt: what came is taken, and then paid by waiting."""

    def __init__(self, limit: RateLimit, *, now: float) -> None:
        self._limit = limit
        self._most_frames = limit.frames * limit.burst
        self._most_bytes = limit.bytes * limit.burst
        self._frames = self._most_frames
        self._bytes = self._most_bytes
        self._at = now
        self._in_debt_since: float | None = None

    def spend(self, size: int, *, now: float) -> float:
        """Take one frame of ``size`` bytes; return the seconds to wait before the next.

        Raises:
            FloodError: the peer has been in debt for longer than it is borne.
        """
        limit = self._limit
        elapsed, self._at = now - self._at, now
        frames = min(self._frames + elapsed * limit.frames, self._most_frames)
        size_left = min(self._bytes + elapsed * limit.bytes, self._most_bytes)
        if (
            self._in_debt_since is not None
            and frames >= self._most_frames * _RECOVERED
            and size_left >= self._most_bytes * _RECOVERED
        ):
            self._in_debt_since = None
        self._frames = frames = frames - 1
        self._bytes = size_left = size_left - size
        if frames >= 0 and size_left >= 0:
            return 0.0
        if self._in_debt_since is None:
            self._in_debt_since = now
        elif now - self._in_debt_since > limit.patience:
            raise FloodError(
                f"more than {limit.frames:g} frames or {limit.bytes:g} bytes a second"
                f" for {limit.patience:g} s"
            )
        return max(-frames / limit.frames, -size_left / limit.bytes)
