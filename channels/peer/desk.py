"""The desk of a peer: limits and market-maker protection over all its channels at once.

Everything that this side signs first or accepts passes `Desk.permit` between the machine's decision
and the key. What one channel is about to sign counts for every other from then on, so that two at
once cannot both use the last of a limit. Voids, affirmations, new marks and settlements always
pass: they are owed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import attrs

from channels.desk import (
    Breach,
    Exposure,
    Fill,
    Holding,
    Limits,
    Measure,
    Protection,
    ProtectionLimits,
    exposures,
)
from channels.desk.exposure import position_greeks, total
from channels.errors import LimitError, SigningRefusedError
from channels.peer.desk_news import LimitReached, ProtectionReset, ProtectionTripped
from channels.peer.quote_book import Offered
from channels.peer.runner import Runner
from channels.peer.tasks import NO_CHANNEL, Tell
from channels.protocol import machine
from channels.protocol.changes import Change, Trade
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import Step
from channels.protocol.eip712 import Address
from channels.protocol.events import Answer, ProposeChange, SendQuote
from channels.protocol.types import Portfolio, Position, State
from channels.units import WAD

__all__ = ["Desk", "DeskPolicy", "by_signer"]

_WITHOUT_RISK = frozenset(
    {Phase.ASKED, Phase.GRANTED, Phase.SUBMITTED, Phase.CLOSED, Phase.ABANDONED}
)


def by_signer(signer: Address) -> str:
    """Name the group of a counterparty that counts by itself: its signer's address."""
    return "0x" + signer.hex()


@attrs.frozen(kw_only=True)
class DeskPolicy:
    """What bounds a peer over all its channels.

    ``group`` names the group of the counterparty with this signer; limits of credit are by group.
    ``protection`` None: quotes are not stopped by fills.
    """

    limits: Limits = attrs.Factory(Limits)
    protection: ProtectionLimits | None = None
    group: Callable[[Address], str] = by_signer


class Desk:
    """Watches every channel of a peer; `Peer.desk`."""

    def __init__(
        self,
        *,
        policy: DeskPolicy,
        runners: Mapping[bytes, Runner],
        now: Callable[[], int],
        tell: Tell,
    ) -> None:
        self.policy = policy
        self._runners = runners
        self._now = now
        self._tell = tell
        self._signing: dict[bytes, list[Portfolio]] = {}
        self._protection = (
            None if policy.protection is None else Protection(limits=policy.protection)
        )

    # -- what the owner sees

    @property
    def holdings(self) -> tuple[Holding, ...]:
        """Every channel with positions, and all that could come to stand in it."""
        return tuple(
            self._holding(runner)
            for runner in self._runners.values()
            if runner.channel.phase not in _WITHOUT_RISK
        )

    @property
    def exposure(self) -> Mapping[bytes, Exposure]:
        """What stands in all channels together, by feed."""
        return total(exposures(each.portfolios[0], each.side) for each in self.holdings)

    @property
    def breaches(self) -> tuple[Breach, ...]:
        """The limits that the desk is beyond now."""
        return self.policy.limits.standing(self.holdings)

    @property
    def protection(self) -> Protection | None:
        """What was filled lately, and whether that tripped the protection; None without any."""
        return self._protection

    @property
    def quoting(self) -> bool:
        """Whether the protection lets us quote."""
        return self._protection is None or self._protection.quoting(self._now())

    def reset_protection(self) -> None:
        """Quote again, and forget what was filled: once the reason is understood."""
        if self._protection is not None:
            self._protection = self._protection.reset()
            self._tell(NO_CHANNEL, ProtectionReset())

    def over_credit(self, channel: Channel) -> str | None:
        """The credit limit that the group of this counterparty is beyond, in words.

        A `LimitSource` of the circuit breaker. Sensitivities are not among its reasons: they can be
        brought back through any channel, and `REDUCE_ONLY` in all of them would forbid the hedge.
        """
        group = self.policy.group(channel.terms.signer(channel.side.other))
        for each in self.breaches:
            if each.measure is Measure.CREDIT and each.group == group:
                return str(each)
        return None

    # -- before anything is signed

    @contextmanager
    def permit(self, channel: Channel, event: machine.Event, step: Step) -> Iterator[None]:
        """Let a step sign what the limits allow, and count it until it is stored.

        Raises:
            LimitError: they do not allow it.
        """
        portfolios = [
            each.value.portfolio
            for each in step.sign
            if isinstance(each.value, State) and not each.value.permanent
        ]
        if not portfolios or not isinstance(_change(channel, event), Trade):
            yield
            return
        if isinstance(event, SendQuote) and not self.quoting:
            raise LimitError(
                "market-maker protection is tripped", next_step="wait, or `reset_protection`"
            )
        for each in portfolios:
            self._check(channel, each)
        pending = self._signing.setdefault(channel.channel_id, [])
        pending.extend(portfolios)
        try:
            yield
        finally:
            for each in portfolios:
                pending.remove(each)

    def _check(self, channel: Channel, after: Portfolio) -> None:
        found = self.policy.limits.breaches(self.holdings, channel.channel_id, after)
        if found:
            text = "; ".join(str(each) for each in found)
            self._tell(channel.channel_id, LimitReached(text=text))
            raise LimitError(text)

    def _holding(self, runner: Runner) -> Holding:
        channel = runner.channel
        return Holding(
            channel_id=channel.channel_id,
            group=self.policy.group(runner.counterparty),
            side=channel.side,
            portfolios=(
                channel.portfolio,
                *_in_flight(channel),
                *self._signing.get(channel.channel_id, ()),
            ),
        )

    # -- what was filled

    def filled(self, runner: Runner, offered: Offered) -> bool:
        """Count a quote of ours that was taken; True if that trips the protection."""
        before = self._protection
        if before is None:
            return False
        now = self._now()
        self._protection = before.after(_fill(runner.channel, offered, now))
        if self._protection.quoting(now) or not before.quoting(now):
            return False
        pause = before.limits.frozen_for
        until = None if pause is None else now + pause
        self._tell(NO_CHANNEL, ProtectionTripped(reason=self._protection.reason, until=until))
        return True


def _change(channel: Channel, event: machine.Event) -> Change | None:
    """The change that a command of ours would sign; a quote's sides are all trades."""
    match event:
        case ProposeChange():
            return event.draft.change
        case SendQuote():
            return event.sides[0].change
        case Answer(accept=True):
            entry = channel.ledger.entry(event.nonce)
            return None if entry is None else entry.change
        case _:
            return None


def _in_flight(channel: Channel) -> Iterator[Portfolio]:
    """What we signed and the chain could still accept; all we signed, while that is unknown."""
    try:
        alive = list(channel.ledger.alive(channel.clock))
    except SigningRefusedError:
        alive = [each for each in channel.ledger.entries if each.mine is not None]
    return (each.value.portfolio for each in alive if isinstance(each.value, State))


def _fill(channel: Channel, offered: Offered, now: int) -> Fill:
    marks, sign = offered.marks, channel.side.sign
    size, delta, vega = 0.0, 0.0, 0.0
    for leg in offered.trade.legs:
        mark = marks.series[leg.series]
        position = Position(
            feed=leg.feed,
            kind=int(leg.kind),
            expiry=leg.expiry,
            strike=leg.strike,
            quantity=leg.quantity,
            vol=mark.vol,
            carry=mark.carry,
        )
        greeks = position_greeks(position, marks.spots[leg.feed], marks.marked_at)
        quantity = sign * leg.quantity / WAD
        size += abs(quantity)
        delta += quantity * greeks.delta
        vega += quantity * greeks.vega
    return Fill(time=now, size=size, delta=delta, vega=vega)
