"""When this side re-marks, calls for margin, disputes, and stops trading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from channels.errors import InvalidValueError
from channels.protocol.channel import Channel
from channels.units import DAY, WAD

__all__ = ["BreakerPolicy", "CreditPolicy", "LimitSource"]

LimitSource = Callable[[Channel], str | None]
"""From a channel to the limit of ours that it breaches, in words; None if none."""

_MOST_STALE: Final = WAD


@attrs.frozen(kw_only=True)
class CreditPolicy:
    """The schedule of marks, and what follows when they show a party short.

    Attributes:
        remark_interval: seconds of chain time between scheduled re-marks.
        remark_spot_move: relative move of a spot, WAD, at which a re-mark does not wait.
        remark_vol_move: absolute move of a vol, WAD, at which a re-mark does not wait.
        remark_patience: seconds that B leaves to A before it re-marks itself.
        margin_due: seconds from a margin call to its ``due_by``.
        stale_marks: fraction of the terms' ``max_mark_age``, WAD: open positions with older marks
            are a reason to dispute. Beyond 1 the contract takes no margin call on them.
        automatic: whether an unmet call and stale marks end in a dispute without a human. Without
            it they are told, and nothing more: **may lose funds.**
        auto_top_up: most base units by which our contribution is raised above our opening deposit,
            over the channel's life, to cover a shortfall of ours; 0: never by itself.

    Raises:
        InvalidValueError: a figure out of range.
    """

    remark_interval: int = 60
    remark_spot_move: int = WAD // 200
    remark_vol_move: int = WAD * 2 // 100
    remark_patience: int = 30
    margin_due: int = DAY
    stale_marks: int = WAD // 2
    automatic: bool = True
    auto_top_up: int = 0

    def __attrs_post_init__(self) -> None:
        for name in ("remark_interval", "remark_spot_move", "remark_vol_move", "margin_due"):
            if getattr(self, name) <= 0:
                raise InvalidValueError(f"{name} is {getattr(self, name)}; it is above 0")
        for name in ("remark_patience", "auto_top_up"):
            if getattr(self, name) < 0:
                raise InvalidValueError(f"{name} is {getattr(self, name)}; it is 0 or more")
        if not 0 < self.stale_marks <= _MOST_STALE:
            raise InvalidValueError(f"stale_marks is {self.stale_marks}; it is above 0, up to 1")


@attrs.frozen(kw_only=True)
class BreakerPolicy:
    """What stops a channel from trading; see `channels.peer.breaker`.

    Attributes:
        price_age: seconds that our own marks may be older than our clock.
        jump: relative move of a spot between two looks, WAD, beyond which it is not believed.
        calm: seconds without another jump after which it is.
        head_slots: slots that the newest head may be older than our clock.
        limit: names the limit of ours that a channel breaches.
        look_interval: seconds between two looks where no head brings one earlier.

    Raises:
        InvalidValueError: a figure that is not above 0.
    """

    price_age: int = 60
    jump: int = WAD // 10
    calm: int = 60
    head_slots: int = 3
    limit: LimitSource | None = None
    look_interval: float = 5.0

    def __attrs_post_init__(self) -> None:
        for name in ("price_age", "jump", "calm", "head_slots", "look_interval"):
            if getattr(self, name) <= 0:
                raise InvalidValueError(f"{name} is {getattr(self, name)}; it is above 0")
