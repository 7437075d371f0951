"""What must be done about one channel at one head: a pure function of what is known.

`decide` reads nothing and remembers nothing. Asked again with the same facts it answers the same,
and each `Submit` carries a key that makes asking twice the same as asking once; so a monitor that
crashes, is told a head twice, or loses an answer simply asks again. A duty ends when the chain
shows its effect, never because something was sent.

Source: design, watchtower.md "Engine", adjudication.md "Calls".
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import cached_property
from typing import Final

import attrs

from channels.dispute.actions import (
    Action,
    Alert,
    AlertCode,
    Duty,
    Fact,
    Level,
    NeedPrice,
    Submit,
    WakeAt,
)
from channels.dispute.evidence import Watched
from channels.dispute.runoff import (
    Bucket,
    PriceFact,
    Prices,
    PriceStatus,
    expired_buckets,
    horizon,
    recover_portfolio,
    settles_from,
)
from channels.protocol.calls import Checkpoint, CoSigned, Settle
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.protocol.types import Portfolio

__all__ = ["Policy", "decide", "phase_at"]


@attrs.frozen(kw_only=True)
class Policy:
    """When to call for help, and how long to wait for company.

    ``alert_percent`` of the window without our answer on chain is an emergency.
    ``settle_patience``: seconds for which a priced position waits for others of its kind that are
    not priced yet, so that one transaction settles them all.
    """

    alert_percent: int = 75
    settle_patience: int = 600


def phase_at(view: ChannelView, time: int) -> OnChainPhase:
    """Phase at ``time`` of a channel whose storage was read earlier and has not changed since."""
    if view.phase is OnChainPhase.DISPUTED and time >= view.deadline:
        return OnChainPhase.RUN_OFF
    return view.phase


def decide(
    watched: Watched,
    view: ChannelView,
    head: Head,
    *,
    prices: Prices | None = None,
    policy: Policy | None = None,
) -> tuple[Action, ...]:
    """What must be done now, and when to look again.

    Args:
        watched: the evidence held.
        view: the channel's storage, at ``head`` or unchanged since.
        head: the newest block; its time counts, ours does not.
        prices: what the oracle said at ``head``, of the buckets that `NeedPrice` named.
        policy: thresholds.
    """
    case = _Case(
        watched=watched,
        view=view,
        head=head,
        prices=prices or {},
        policy=policy or Policy(),
    )
    duties = _DUTIES[phase_at(view, head.timestamp)]
    return tuple(action for duty in duties for action in duty(case))


@attrs.frozen(kw_only=True)
class _Case:
    """All that a decision rests on."""

    watched: Watched
    view: ChannelView
    head: Head
    prices: Prices
    policy: Policy

    @property
    def time(self) -> int:
        return self.head.timestamp

    @property
    def alarm_time(self) -> int:
        """From here on an unanswered dispute is an emergency."""
        window = self.watched.terms.dispute_window
        return self.view.deadline - window * (100 - self.policy.alert_percent) // 100

    @cached_property
    def horizon(self) -> int:
        return horizon(self.watched.terms, self.view, self.time)

    @cached_property
    def acceptable(self) -> tuple[CoSigned, ...]:
        return self.watched.acceptable(self.view.nonce, self.time)

    def alert(self, level: Level, code: AlertCode, text: str, *facts: Fact) -> Alert:
        return Alert(
            level=level, code=code, text=text, channel_id=self.watched.channel_id, facts=facts
        )

    def checkpoint(self, duty: Duty, newest: CoSigned) -> Submit:
        # The machine of a peer in this process asks under the same key: one transaction for both.
        nonce = newest.state.nonce.to_bytes(8, "big")
        return Submit(
            duty=duty,
            call=Checkpoint(terms=self.watched.terms, newest=newest),
            key=b"checkpoint" + self.watched.channel_id + nonce,
        )

    def price(self, bucket: Bucket) -> PriceFact:
        return self.prices.get(bucket, PriceFact())


# ---------------------------------------------------------------- any time before the end


def _watch_rivals(case: _Case) -> Iterator[Action]:
    rival = case.watched.rival
    if rival is not None:
        yield case.alert(
            Level.CRITICAL,
            AlertCode.RIVAL_STATES,
            "two states were co-signed at one nonce: a signer's key is in other hands",
            ("nonce", rival.state.nonce),
        )


def _watch_our_age(case: _Case) -> Iterator[Action]:
    recorded, newest = case.view.nonce, case.watched.newest_nonce
    if recorded > newest:
        yield case.alert(
            Level.WARNING,
            AlertCode.EVIDENCE_MISSING,
            "the chain records a newer state than any held here: hand over the newest evidence",
            ("recorded", recorded),
            ("newest", newest),
        )


def _record_boxed(case: _Case) -> Iterator[Action]:
    watched, boxed = case.watched, case.watched.boxed
    if boxed is None or not watched.affirm_by or boxed.state.nonce <= case.view.nonce:
        return
    if boxed not in case.acceptable:
        yield case.alert(
            Level.WARNING,
            AlertCode.BOX_MISSED,
            "the box of an unaffirmed state passed before it was recorded: a void is due, or a "
            "dispute",
            ("nonce", boxed.state.nonce),
            ("valid_until", boxed.state.valid_until),
        )
    elif case.time < watched.affirm_by:
        yield WakeAt(time=watched.affirm_by)
    else:
        yield case.checkpoint(Duty.CHECKPOINT_BOXED, boxed)
        yield WakeAt(time=boxed.state.valid_until)


# ---------------------------------------------------------------- within the window


def _refute(case: _Case) -> Iterator[Action]:
    """Send what is newer than recorded. Again at every head: the key makes that harmless."""
    yield WakeAt(time=case.view.deadline)
    if not case.acceptable:
        return
    newest, *older = case.acceptable
    yield case.checkpoint(Duty.REFUTE, newest)
    # Once its box has passed, the permanent state below must take its place, and be in time.
    if older and newest.state.valid_until >= case.alarm_time:
        yield case.checkpoint(Duty.REFUTE, older[0])
    facts: tuple[Fact, ...] = (
        ("recorded", case.view.nonce),
        ("newest", newest.state.nonce),
        ("deadline", case.view.deadline),
    )
    ours = case.view.filer is not None and case.view.filer is case.watched.side
    yield case.alert(
        Level.WARNING,
        AlertCode.STALE_DISPUTE,
        ("our own side" if ours else "somebody") + " disputes on an older state than we hold",
        *facts,
    )
    if case.time < case.alarm_time:
        yield WakeAt(time=case.alarm_time)
        return
    yield case.alert(
        Level.CRITICAL,
        AlertCode.DEADLINE_NEAR,
        "the window is nearly over and our newer state is not on chain: see that it is mined",
        *facts,
    )


def _watch_portfolio(case: _Case) -> Iterator[Action]:
    """Whoever is to settle needs the portfolio: say so while the window leaves time to find it."""
    if case.acceptable or case.watched.recorded_portfolio(case.view) is not None:
        return
    yield case.alert(
        Level.WARNING,
        AlertCode.PORTFOLIO_UNKNOWN,
        "the recorded portfolio is not known here: without it nobody can settle",
        ("recorded", case.view.nonce),
        ("hash", case.view.portfolio_hash.hex()),
    )


# ---------------------------------------------------------------- after the window


def _watch_loss(case: _Case) -> Iterator[Action]:
    permanent = case.watched.permanent_nonce
    if permanent > case.view.nonce:
        yield case.alert(
            Level.CRITICAL,
            AlertCode.STALE_STANDS,
            "the window ended on an older state than we hold: only a Closing by both can mend it",
            ("recorded", case.view.nonce),
            ("newest", permanent),
        )


def _settle(case: _Case) -> Iterator[Action]:
    portfolio = case.watched.recorded_portfolio(case.view)
    if portfolio is None:
        portfolio = yield from _recover(case)
    if portfolio is None:
        return
    buckets = expired_buckets(portfolio, case.horizon)
    grace = case.watched.terms.settlement_grace
    due = [each for each in buckets if settles_from(case.price(each), each[1], grace) <= case.time]
    missing = [each for each in buckets if case.price(each).status is PriceStatus.UNSET]
    if not portfolio.positions or (due and (not missing or _waited_enough(case, due))):
        yield Submit(
            duty=Duty.SETTLE,
            call=Settle(terms=case.watched.terms, portfolio=portfolio),
            key=b"settle" + case.watched.channel_id + portfolio.struct_hash,
        )
    for each in missing:
        yield NeedPrice(bucket=each)
        if case.time >= each[1] + grace:
            yield case.alert(
                Level.WARNING,
                AlertCode.PRICE_OVERDUE,
                "no settlement price within its grace: submit one, or record the last resort",
                ("feed", each[0].hex()),
                ("expiry", each[1]),
            )
    later = [each.expiry for each in portfolio.positions if each.expiry > case.time]
    later += [settles_from(case.price(each), each[1], grace) for each in buckets]
    later += [_call_lapses(case)] if case.horizon < case.time else []
    later += [max(each[1], case.view.deadline) + case.policy.settle_patience for each in due]
    yield from (WakeAt(time=each) for each in later if each > case.time)


def _call_lapses(case: _Case) -> int:
    """Earliest time at which an undecided margin call, which holds later expiries back, lapses."""
    grace, deadline = case.watched.terms.settlement_grace, case.view.deadline
    ends = (case.view.cure_end_a, case.view.cure_end_b)
    lapses = [max(each, deadline) + grace for each in ends if each]
    return min(each for each in lapses if each > case.time)


def _waited_enough(case: _Case, due: list[Bucket]) -> bool:
    earliest = min(expiry for _, expiry in due)
    return case.time >= max(earliest, case.view.deadline) + case.policy.settle_patience


def _recover(case: _Case) -> Generator[Action, None, Portfolio | None]:
    """Work the recorded portfolio out from an earlier one; None if that fails."""
    candidates, last = case.watched.known_portfolios(), case.horizon
    found = recover_portfolio(
        candidates, case.view.portfolio_hash, last, case.prices, case.watched.terms.unit
    )
    if found is None:
        buckets = {each for one in candidates for each in expired_buckets(one, last)}
        for each in sorted(buckets):
            if case.price(each).status is PriceStatus.UNSET:
                yield NeedPrice(bucket=each)
        yield case.alert(
            Level.CRITICAL,
            AlertCode.PORTFOLIO_UNKNOWN,
            "the recorded portfolio is not known here and cannot be settled: find it in the "
            "dispute's calldata, or ask the counterparty",
            ("recorded", case.view.nonce),
            ("hash", case.view.portfolio_hash.hex()),
        )
    return found


_DUTIES: Final[dict[OnChainPhase, tuple[Callable[[_Case], Iterator[Action]], ...]]] = {
    OnChainPhase.NONE: (),
    OnChainPhase.OPEN: (_watch_rivals, _watch_our_age, _record_boxed),
    OnChainPhase.DISPUTED: (_watch_rivals, _watch_our_age, _refute, _watch_portfolio),
    OnChainPhase.RUN_OFF: (_watch_rivals, _watch_loss, _settle),
    OnChainPhase.CLOSED: (),
}
