"""What a peer's desk tells its owner, beside the notices of the machine."""

from __future__ import annotations

import attrs

__all__ = [
    "DeskNotice",
    "LimitReached",
    "ProtectionReset",
    "ProtectionTripped",
    "QuoteTakenLate",
    "SettlementOverdue",
]


@attrs.frozen(kw_only=True)
class LimitReached:
    """A trade was not signed because of a limit of the desk, named in ``text``."""

    text: str


@attrs.frozen(kw_only=True)
class ProtectionTripped:
    """Market-maker protection stopped all quotes, and asked for those in flight to be declined.

    ``until``: Unix time at which it ends by itself; None: with `Desk.reset_protection` only.
    """

    reason: str
    until: float | None


@attrs.frozen(kw_only=True)
class ProtectionReset:
    """Market-maker protection was reset by hand."""


@attrs.frozen(kw_only=True)
class QuoteTakenLate:
    """A quote of ours was taken after its time to live, within its box: it stands all the same.

    ``trade_id`` is the trade's UTI, ``expired_at`` the quote's end and ``taken_at`` our clock when
    we learned of it, Unix seconds. How often one trades with such a counterparty is ours to decide.
    """

    trade_id: bytes
    expired_at: int
    taken_at: int


@attrs.frozen(kw_only=True)
class SettlementOverdue:
    """Positions past ``expiry`` are still not settled off chain; ``text`` says what is missing.

    Nothing is lost by it: `settle` pays them on chain after a dispute, at the oracle's price.
    """

    feed: bytes
    expiry: int
    text: str


DeskNotice = LimitReached | ProtectionTripped | ProtectionReset | QuoteTakenLate | SettlementOverdue
