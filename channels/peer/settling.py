"""Settlement by both signatures once positions expire: tried until both know the same price.

Level-triggered like credit: each look does what is due, so nothing has to be set again after a
restart. A first, B where A is late. What cannot be agreed on is told after a grace and loses
nothing: the contract settles it at the oracle's price after a dispute.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import attrs

from channels.errors import IllegalCommandError, InvalidValueError, SigningRefusedError
from channels.peer.callbacks import ask
from channels.peer.desk_news import SettlementOverdue
from channels.peer.policy import SettlementSource
from channels.peer.runner import Runner
from channels.peer.tasks import Tell
from channels.protocol.changes import Marks, Settlement
from channels.protocol.channel import OPEN_PHASES, Channel, Phase
from channels.protocol.effects import ChangeRejected, Notice, ProposalLapsed
from channels.protocol.events import Draft, ProposeChange
from channels.protocol.messages import Reason
from channels.protocol.types import Party
from channels.units import HOUR

__all__ = ["SettlementPolicy", "Settling"]

PRICE_PATIENCE: Final = 10.0
"""Seconds that a settlement source may take to answer."""

_DISAGREES: Final = frozenset({Reason.PRICE, Reason.MARKS})
"""Why a peer declines that knows of the expiry. Any other reason the next head may take away: its
own head was older than ours, or something else was in flight."""


@attrs.frozen(kw_only=True)
class SettlementPolicy:
    """When we propose to settle what has expired, in seconds of chain time.

    Attributes:
        retry: between two proposals of one settlement on whose price we do not agree.
        patience: that B leaves to A before it proposes itself.
        grace: after expiry, from which on an open settlement is told.

    Raises:
        InvalidValueError: a figure out of range.
    """

    retry: int = 60
    patience: int = 30
    grace: int = HOUR

    def __attrs_post_init__(self) -> None:
        if self.retry <= 0 or self.patience < 0 or self.grace <= 0:
            raise InvalidValueError("retry and grace are above 0, patience is 0 or more")


@attrs.define
class _Attempt:
    """What was tried for one expiry of one channel; all of it may be lost with the process."""

    tried: bool = False
    again_at: int = 0
    missing: str = "not proposed yet"
    told: bool = False


class Settling:
    """Every channel's expired positions. ``marks_for`` gives our marks of what stays open."""

    hears: Final = (ChangeRejected, ProposalLapsed)

    def __init__(
        self,
        *,
        policy: SettlementPolicy,
        source: SettlementSource,
        marks_for: Callable[[Channel], Marks],
        tell: Tell,
    ) -> None:
        self.policy = policy
        self._source = source
        self._marks_for = marks_for
        self._tell = tell
        self._attempts: dict[tuple[bytes, bytes, int], _Attempt] = {}

    async def look(self, runner: Runner) -> None:
        """Propose what is due in a channel; one settlement at a time.

        Raises:
            ChannelsError: the source or the market fails; the next look tries again.
        """
        channel = runner.channel
        if channel.phase not in OPEN_PHASES or channel.head is None:
            return
        now = channel.head.timestamp
        expired = {
            (each.feed, each.expiry) for each in channel.portfolio.positions if each.expiry <= now
        }
        self._forget(runner.channel_id, expired)
        for feed, expiry in sorted(expired, key=lambda each: (each[1], each[0])):
            key = (runner.channel_id, feed, expiry)
            attempt = self._attempts.setdefault(key, _Attempt())
            if now >= expiry + self.policy.grace and not attempt.told:
                attempt.told = True
                overdue = SettlementOverdue(feed=feed, expiry=expiry, text=attempt.missing)
                self._tell(runner.channel_id, overdue)
            if await self._try(runner, attempt, feed, expiry, now):
                return

    async def _try(
        self, runner: Runner, attempt: _Attempt, feed: bytes, expiry: int, now: int
    ) -> bool:
        """Propose one settlement, if it is ours to; True if it is on its way."""
        patience = 0 if runner.channel.side is Party.A else self.policy.patience
        if runner.channel.phase is not Phase.IDLE or now < expiry + patience:
            return False
        if now < attempt.again_at:
            return False
        price = await ask("settlement_price", lambda: self._source(feed, expiry), PRICE_PATIENCE)
        if price is None:
            attempt.missing = "we do not know the price yet"
            return False
        change = Settlement(feed=feed, expiry=expiry, price=price)
        attempt.tried, attempt.again_at = True, now + self.policy.retry
        attempt.missing = "the counterparty has not answered"
        with suppress(IllegalCommandError, SigningRefusedError):  # something else went first
            draft = Draft(change=change, marks=self._marks_for(runner.channel))
            await runner.feed(ProposeChange(draft=draft, now=now))
            return True
        attempt.again_at = 0
        return False

    def on_notice(self, runner: Runner, notice: Notice) -> None:
        """Remember why the peer did not sign; what another change overtook is proposed again."""
        tried = (
            attempt
            for (identity, _, _), attempt in self._attempts.items()
            if identity == runner.channel_id and attempt.tried
        )
        match notice:
            case ChangeRejected():
                for each in tried:
                    each.missing = f"the counterparty: {notice.reason.name} {notice.text}"
                    if notice.reason not in _DISAGREES:
                        each.again_at = runner.channel.clock.head_time + 1
            case ProposalLapsed(overtaken=True):
                for each in tried:
                    each.again_at = 0

    def _forget(self, identity: bytes, expired: set[tuple[bytes, int]]) -> None:
        for key in [each for each in self._attempts if each[0] == identity]:
            if key[1:] not in expired:
                del self._attempts[key]
