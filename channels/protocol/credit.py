"""Margin calls and disputed marks between the two parties, before anything is on chain.

A call says: your equity is below your maintenance margin, bring this much by then. It binds nobody
and is signed by nobody; what it announces is that its maker will dispute, and call margin on chain,
where everything is decided again at the oracle's price.

Source: design, protocol.md "Margin in every state"; risk.md "Margin".
"""

from __future__ import annotations

import attrs

from channels.errors import BadProposalError, IllegalCommandError, InvalidValueError
from channels.pricing import Kind, forward_price, portfolio_value
from channels.protocol import messages as m
from channels.protocol.changes import Marks, SeriesMark
from channels.protocol.channel import Channel
from channels.protocol.effects import (
    Deed,
    MarginCallCured,
    MarginCallReceived,
    MarginCallSent,
    MarksDisputed,
    MarksReported,
    Notify,
    Persist,
    Send,
    Step,
    done,
)
from channels.protocol.events import DisputeMarks, EndMarginCall, IssueMarginCall, ReportMarks
from channels.protocol.margins import margins_of
from channels.protocol.types import Party, Portfolio, Position, Series, Spot, feed_name

__all__ = [
    "Standing",
    "dispute_marks",
    "disputed_positions",
    "end_margin_call",
    "issue_margin_call",
    "marks_of_report",
    "on_dispute_notice",
    "on_margin_call",
    "on_mark_report",
    "report_marks",
    "standing",
]


@attrs.frozen(kw_only=True)
class Standing:
    """What a party has and what it needs at one set of marks, base units.

    ``equity`` is rounded down and may be negative, both margins are rounded up.
    """

    equity: int
    maintenance: int
    initial: int

    @property
    def short(self) -> bool:
        """Whether the party is in default: equity below maintenance margin."""
        return self.equity < self.maintenance

    @property
    def to_initial(self) -> int:
        """Base units that bring equity to initial margin; 0 if it is there."""
        return max(0, self.initial - self.equity)

    @property
    def to_maintenance(self) -> int:
        """Base units that bring equity to maintenance margin; 0 if it is there."""
        return max(0, self.maintenance - self.equity)


def standing(channel: Channel, party: Party, portfolio: Portfolio | None = None) -> Standing:
    """How ``party`` stands in ``portfolio`` (default: F's), at that portfolio's marks.

    Contributions count as everywhere off chain: deposits once final, payments at once.

    Raises:
        MarginError, PricingDomainError: as the margin model's.
    """
    held = channel.portfolio if portfolio is None else portfolio
    needed = margins_of(held, channel.terms.unit, channel.margin_model)
    a = party is Party.A
    return Standing(
        equity=channel.equity(party, held),
        maintenance=needed.maintenance_a if a else needed.maintenance_b,
        initial=needed.initial_a if a else needed.initial_b,
    )


def issue_margin_call(channel: Channel, command: IssueMarginCall) -> Step:
    """Call the peer for margin, and remember it: a restart goes on with the same call."""
    if channel.call_made is not None:
        raise IllegalCommandError("a margin call on the peer stands", next_step="wait for its end")
    call = m.MarginCall(
        channel_id=channel.channel_id,
        nonce=channel.ledger.nonce,
        amount=command.amount,
        due_by=command.due_by,
    )
    called = attrs.evolve(channel, call_made=call)
    notice = Notify(MarginCallSent(call=call))
    return done(called, Persist(Deed.MARGIN_CALL), Send(call), notice)


def on_margin_call(channel: Channel, message: m.MarginCall) -> Step:
    """The peer calls us; of two calls the newer one is what it will act by.

    Raises:
        BadProposalError: a call in a state that neither of us signed: no newer one would end it.
    """
    if message.nonce > channel.ledger.highest_seen:
        raise BadProposalError(f"a margin call at nonce {message.nonce}, which nobody signed")
    if channel.call_received == message:
        return done(channel)
    called = attrs.evolve(channel, call_received=message)
    return done(called, Persist(Deed.MARGIN_CALL), Notify(MarginCallReceived(call=message)))


def end_margin_call(channel: Channel, command: EndMarginCall) -> Step:
    """The called party is whole again: nothing will be done for this call."""
    call = channel.margin_call(command.called)
    if call is None:
        return done(channel)
    met = (
        attrs.evolve(channel, call_received=None)
        if command.called is channel.side
        else attrs.evolve(channel, call_made=None)
    )
    notice = Notify(MarginCallCured(called=command.called, call=call))
    return done(met, Persist(Deed.MARGIN_CALL), notice)


def report_marks(channel: Channel, command: ReportMarks) -> Step:
    """Tell the peer our own marks of everything open."""
    marks, held = command.marks, channel.portfolio.positions
    if not held:
        raise IllegalCommandError("nothing is open: there are no marks to report")
    report = m.MarkReport(
        channel_id=channel.channel_id,
        wants_answer=command.wants_answer,
        marked_at=marks.marked_at,
        spots=tuple(
            Spot(feed=feed, price=_spot(marks, feed))
            for feed in sorted({each.feed for each in held})
        ),
        series=tuple(_series_report(marks, each) for each in held),
    )
    return done(channel, Send(report))


def _spot(marks: Marks, feed: bytes) -> int:
    if feed not in marks.spots:
        raise InvalidValueError(f"no spot for {feed_name(feed)}")
    return marks.spots[feed]


def _series_mark(marks: Marks, series: Series) -> SeriesMark:
    if series not in marks.series:
        raise InvalidValueError(f"no mark for kind {series[2]}, strike {series[3]}")
    return marks.series[series]


def _series_report(marks: Marks, position: Position) -> m.SeriesReport:
    mark = _series_mark(marks, position.series)
    tau = position.expiry - marks.marked_at
    return m.SeriesReport(
        feed=position.feed,
        kind=Kind(position.kind),
        expiry=position.expiry,
        strike=position.strike,
        forward=forward_price(_spot(marks, position.feed), mark.carry, tau),
        vol=mark.vol,
        carry=mark.carry,
    )


def marks_of_report(report: m.MarkReport) -> Marks:
    """The marks a report tells of."""
    return Marks(
        marked_at=report.marked_at,
        spots={each.feed: each.price for each in report.spots},
        series={
            (each.feed, each.expiry, int(each.kind), each.strike): SeriesMark(
                vol=each.vol, carry=each.carry
            )
            for each in report.series
        },
    )


def on_mark_report(channel: Channel, message: m.MarkReport) -> Step:
    """The peer tells its own marks."""
    return done(channel, Notify(MarksReported(report=message)))


def disputed_positions(
    channel: Channel, series: frozenset[Series], ours: Marks, theirs: Marks
) -> tuple[m.DisputedPosition, ...]:
    """The open positions of ``series``, each with its value at either side's marks.

    Raises:
        InvalidValueError: marks that miss one of them.
        PricingDomainError: marks out of the pricing domain.
    """
    return tuple(
        m.DisputedPosition(
            feed=each.feed,
            kind=Kind(each.kind),
            expiry=each.expiry,
            strike=each.strike,
            mine=_value(each, ours, channel.terms.unit),
            yours=_value(each, theirs, channel.terms.unit),
        )
        for each in channel.portfolio.positions
        if each.series in series
    )


def _value(position: Position, marks: Marks, unit: int) -> int:
    mark = _series_mark(marks, position.series)
    marked = attrs.evolve(position, vol=mark.vol, carry=mark.carry)
    spot = Spot(feed=position.feed, price=_spot(marks, position.feed))
    return portfolio_value([marked], [spot], marks.marked_at, unit).value_rounded_down_a


def dispute_marks(channel: Channel, command: DisputeMarks) -> Step:
    """Tell the peer which of its marks we do not take."""
    if not command.positions:
        raise IllegalCommandError("no position whose marks are in dispute")
    notice = m.DisputeNotice(
        channel_id=channel.channel_id, nonce=channel.ledger.nonce, positions=command.positions
    )
    return done(channel, Send(notice), Notify(MarksDisputed(notice=notice, ours=True)))


def on_dispute_notice(channel: Channel, message: m.DisputeNotice) -> Step:
    """The peer does not take our marks; of nothing that is open, that is no dispute."""
    named = {(each.feed, each.expiry, int(each.kind), each.strike) for each in message.positions}
    if named.isdisjoint(each.series for each in channel.portfolio.positions):
        return done(channel)
    return done(channel, Notify(MarksDisputed(notice=message, ours=False)))
