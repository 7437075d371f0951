"""Market-maker protection: stop quoting after too many fills in too short a time.

A maker whose price is wrong is hit on all its quotes at once. The protection counts what was traded
within an interval, over all channels, and once a limit is passed it stays tripped for a while, or
until it is reset by hand.
"""

from __future__ import annotations

import attrs

from channels.errors import InvalidValueError

__all__ = ["Fill", "Protection", "ProtectionLimits"]


@attrs.frozen(kw_only=True)
class Fill:
    """A trade on a quote of ours: size without sign, delta and vega signed; ``time`` seconds."""

    time: float
    size: float
    delta: float
    vega: float


@attrs.frozen(kw_only=True)
class ProtectionLimits:
    """Most that may be filled within ``interval`` seconds; ``frozen_for`` seconds off once passed.

    ``size`` is a sum of sizes; ``delta`` and ``vega`` bound the net, without its sign. None: no
    limit. ``frozen_for`` None: until reset by hand.

    Raises:
        InvalidValueError: an interval, a limit or a pause that is not positive.
    """

    interval: float
    frozen_for: float | None = None
    size: float | None = None
    delta: float | None = None
    vega: float | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("interval", "frozen_for", "size", "delta", "vega"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidValueError(f"a {name} of {value}")


@attrs.frozen(kw_only=True)
class Protection:
    """The fills that still count, and whether a limit was passed; `after` makes the next value."""

    limits: ProtectionLimits
    fills: tuple[Fill, ...] = ()
    tripped_at: float | None = None
    reason: str = ""

    def after(self, fill: Fill) -> Protection:
        """Return the protection after one more fill."""
        since = fill.time - self.limits.interval
        fills = (*(each for each in self.fills if each.time > since), fill)
        counted = {
            "size": sum(each.size for each in fills),
            "delta": abs(sum(each.delta for each in fills)),
            "vega": abs(sum(each.vega for each in fills)),
        }
        for name, value in counted.items():
            limit = getattr(self.limits, name)
            if limit is not None and value > limit:
                reason = f"{name} of {value:g} filled within {self.limits.interval:g} s"
                return attrs.evolve(self, fills=fills, tripped_at=fill.time, reason=reason)
        return attrs.evolve(self, fills=fills)

    def quoting(self, now: float) -> bool:
        """Whether quotes may be made at ``now``."""
        if self.tripped_at is None:
            return True
        pause = self.limits.frozen_for
        return pause is not None and now >= self.tripped_at + pause

    def reset(self) -> Protection:
        """Return the protection as it was at first: by hand, once the reason is understood."""
        return Protection(limits=self.limits)
