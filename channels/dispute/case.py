"""What a decision rests on: the facts of one channel at one head, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import attrs

from channels.chain.fees import Urgency
from channels.dispute.actions import Alert, AlertCode, Duty, Fact, Level, Submit
from channels.dispute.evidence import Held, Watched
from channels.dispute.margin_times import MarginTimes
from channels.dispute.runoff import Bucket, PriceFact, Prices, recover_portfolio
from channels.dispute.shortfall import SpotFact, Spots
from channels.protocol.calls import Checkpoint
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.protocol.types import Party, Portfolio

__all__ = ["Case", "Policy", "phase_at"]


@attrs.frozen(kw_only=True)
class Policy:
    """When to call for help, how long to wait for company, and what to do beside the defence.

    ``alert_percent`` of the window, or of a cure, without what it is for is an emergency.
    ``settle_patience``: seconds for which a priced position waits for others of its kind that are
    not priced yet, so that one transaction settles them all.
    ``margin``: call a counterparty that is short of margin, and close it out if it stays so.
    ``least_release``: in run-off, the least amount, base units, for which our own party's one
    release is asked for, where this chain's account is that party; None: never.
    """

    alert_percent: int = 75
    settle_patience: int = 600
    margin: bool = True
    least_release: int | None = None

    def last_part(self, span: int) -> int:
        """How much of a span is left when it becomes an emergency, seconds."""
        return span * (100 - self.alert_percent) // 100


def phase_at(view: ChannelView, time: int) -> OnChainPhase:
    """Phase at ``time`` of a channel whose storage was read earlier and has not changed since."""
    if view.phase is OnChainPhase.DISPUTED and time >= view.deadline:
        return OnChainPhase.RUN_OFF
    return view.phase


@attrs.frozen(kw_only=True)
class Case:
    """All that a decision rests on.

    ``prices`` and ``spots`` hold what was asked for so far, as of ``head``. ``account`` sends what
    is submitted; None: not known.
    """

    watched: Watched
    view: ChannelView
    head: Head
    prices: Prices
    spots: Spots
    policy: Policy
    account: Address | None = None

    @property
    def time(self) -> int:
        """Chain time of the newest block."""
        return self.head.timestamp

    @property
    def phase(self) -> OnChainPhase:
        """The phase that counts at the head."""
        return phase_at(self.view, self.time)

    @property
    def alarm_time(self) -> int:
        """From here on an unanswered dispute is an emergency."""
        return self.view.deadline - self.last_part(self.watched.terms.dispute_window)

    def last_part(self, span: int) -> int:
        """How much of a span is left when it becomes an emergency, seconds."""
        return self.policy.last_part(span)

    @cached_property
    def margin_times(self) -> MarginTimes:
        """When margin calls are decided and lapse."""
        return MarginTimes(terms=self.watched.terms, view=self.view)

    @cached_property
    def horizon(self) -> int:
        """Latest expiry that settles now."""
        return self.margin_times.horizon(self.time)

    @cached_property
    def acceptable(self) -> tuple[Held, ...]:
        """Evidence that the contract would still take, newest first."""
        return self.watched.acceptable(self.view.nonce, self.time)

    @cached_property
    def portfolio(self) -> Portfolio | None:
        """The portfolio recorded, or worked out from an earlier one; None if it is not known."""
        recorded = self.watched.recorded_portfolio(self.view)
        if recorded is not None or self.phase is not OnChainPhase.RUN_OFF:
            return recorded
        return recover_portfolio(
            self.watched.known_portfolios(),
            self.view.portfolio_hash,
            self.horizon,
            self.prices,
            self.watched.terms.unit,
        )

    @property
    def may_call(self) -> tuple[Party, ...]:
        """Whose margin is ours to call: the counterparty's; for one of neither side, both."""
        side = self.watched.side
        return tuple(Party) if side is None else (side.other,)

    def alert(
        self,
        level: Level,
        code: AlertCode,
        text: str,
        *facts: Fact,
        figures: tuple[Fact, ...] = (),
    ) -> Alert:
        """An alert about this channel."""
        return Alert(
            level=level,
            code=code,
            text=text,
            channel_id=self.watched.channel_id,
            facts=facts,
            figures=figures,
        )

    def checkpoint(self, duty: Duty, newest: Held) -> Submit:
        """Have ``newest`` recorded, within its box and within the window."""
        # The machine of a peer in this process asks under the same key: one transaction for both.
        nonce = newest.state.nonce.to_bytes(8, "big")
        return Submit(
            duty=duty,
            call=Checkpoint(terms=self.watched.terms, newest=newest),
            key=b"checkpoint" + self.watched.channel_id + nonce,
            urgency=self._urgency(newest),
        )

    def _urgency(self, newest: Held) -> Urgency | None:
        ends = [newest.state.valid_until] if newest.state.valid_until else []
        opened = self.watched.affirm_by
        if self.phase is OnChainPhase.DISPUTED:
            ends.append(self.view.deadline)
            opened = self.view.deadline - self.watched.terms.dispute_window
        if not ends:
            return None
        deadline = min(ends)
        return Urgency(opened=min(opened, deadline), deadline=deadline, stake=self.view.pot)

    def fresh_spots(self, feeds: Iterable[bytes]) -> dict[bytes, SpotFact] | None:
        """Those spots of ``feeds`` that the contract would take; None before all were asked for."""
        facts, max_age = {}, self.watched.terms.max_price_age
        for feed in feeds:
            if feed not in self.spots:
                return None
            fact = self.spots[feed]
            if fact is not None and fact.usable(self.time, max_age):
                facts[feed] = fact
        return facts

    def price(self, bucket: Bucket) -> PriceFact:
        """What the oracle says of a settlement price, as far as it was asked."""
        return self.prices.get(bucket, PriceFact())
