"""What must be done about one channel at one head: a pure function of what is known.

`decide` reads nothing and remembers nothing. Asked again with the same facts it answers the same,
and each `Submit` carries a key that makes asking twice the same as asking once; so a monitor that
crashes, is told a head twice, or loses an answer simply asks again. A duty ends when the chain
shows its effect, never because something was sent.

Source: design, watchtower.md "Engine", adjudication.md "Calls".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from channels.dispute.actions import (
    Action,
    AlertCode,
    Duty,
    Fact,
    Level,
    NeedPrice,
    Submit,
    SubmitPrice,
    WakeAt,
)
from channels.dispute.case import Case, Policy
from channels.dispute.evidence import Watched
from channels.dispute.filing_duty import file_dispute
from channels.dispute.margin_duty import call_margin, close_out, watch_our_call
from channels.dispute.release_duty import release
from channels.dispute.runoff import (
    Bucket,
    Prices,
    PriceStatus,
    expired_buckets,
    settles_from,
)
from channels.dispute.shortfall import Spots
from channels.protocol.calls import Settle
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelView, Head, OnChainPhase

__all__ = ["decide"]

_Task = Callable[[Case], Iterator[Action]]


def decide(
    watched: Watched,
    view: ChannelView,
    head: Head,
    *,
    prices: Prices | None = None,
    spots: Spots | None = None,
    policy: Policy | None = None,
    account: Address | None = None,
) -> tuple[Action, ...]:
    """What must be done now, and when to look again.

    Args:
        watched: the evidence held.
        view: the channel's storage, at ``head`` or unchanged since.
        head: the newest block; its time counts, ours does not.
        prices: what the oracle said at ``head``, of the buckets that `NeedPrice` named.
        spots: what it said of the spots that `NeedSpot` named.
        policy: thresholds.
        account: sends what is submitted; a release is asked for only if that is our own party.
    """
    case = Case(
        watched=watched,
        view=view,
        head=head,
        prices=prices or {},
        spots=spots or {},
        policy=policy or Policy(),
        account=account,
    )
    return tuple(action for task in _TASKS[case.phase] for action in _carry_out(task, case))


def _carry_out(task: _Task, case: Case) -> list[Action]:
    """What ``task`` wants. A fault in it must keep nothing else undone: **may lose funds**."""
    wanted: list[Action] = []
    try:
        wanted.extend(task(case))  # what came before a fault stays
    except Exception as error:  # whatever it is, it is ours
        name = task.__name__.strip("_").replace("_", " ")
        text = f"a bug in option-channels, tried again at every head, in {name}: {error!r}"
        wanted += [case.alert(Level.CRITICAL, AlertCode.BUG, text), WakeAt(time=case.time + 1)]
    return wanted


# ---------------------------------------------------------------- any time before the end


def _watch_rivals(case: Case) -> Iterator[Action]:
    rival = case.watched.rival
    if rival is not None:
        yield case.alert(
            Level.CRITICAL,
            AlertCode.RIVAL_STATES,
            "two states were co-signed at one nonce: a signer's key is in other hands",
            ("nonce", rival.state.nonce),
        )


def _watch_our_age(case: Case) -> Iterator[Action]:
    recorded, newest = case.view.nonce, case.watched.newest_nonce
    if recorded > newest:
        yield case.alert(
            Level.WARNING,
            AlertCode.EVIDENCE_MISSING,
            "the chain records a newer state than any held here: hand over the newest evidence",
            ("recorded", recorded),
            ("newest", newest),
        )


def _record_boxed(case: Case) -> Iterator[Action]:
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


def _refute(case: Case) -> Iterator[Action]:
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


def _watch_portfolio(case: Case) -> Iterator[Action]:
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


def _watch_loss(case: Case) -> Iterator[Action]:
    permanent = case.watched.permanent_nonce
    if permanent > case.view.nonce:
        yield case.alert(
            Level.CRITICAL,
            AlertCode.STALE_STANDS,
            "the window ended on an older state than we hold: only a Closing by both can mend it",
            ("recorded", case.view.nonce),
            ("newest", permanent),
        )


def _settle(case: Case) -> Iterator[Action]:
    portfolio = case.portfolio
    if portfolio is None:
        yield from _miss_portfolio(case)
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
        if each in case.prices:
            yield SubmitPrice(bucket=each)
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
    lapse = case.margin_times.next_lapse(case.time)
    later += [lapse] if lapse is not None and case.horizon < case.time else []
    later += [max(each[1], case.view.deadline) + case.policy.settle_patience for each in due]
    yield from (WakeAt(time=each) for each in later if each > case.time)


def _waited_enough(case: Case, due: list[Bucket]) -> bool:
    earliest = min(expiry for _, expiry in due)
    return case.time >= max(earliest, case.view.deadline) + case.policy.settle_patience


def _miss_portfolio(case: Case) -> Iterator[Action]:
    """Ask for the prices that may tell it, and say that it is missing."""
    candidates = case.watched.known_portfolios()
    buckets = {each for one in candidates for each in expired_buckets(one, case.horizon)}
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


_TASKS: Final[dict[OnChainPhase, tuple[_Task, ...]]] = {
    OnChainPhase.NONE: (),
    OnChainPhase.OPEN: (_watch_rivals, _watch_our_age, _record_boxed, file_dispute),
    OnChainPhase.DISPUTED: (
        _watch_rivals,
        _watch_our_age,
        _refute,
        _watch_portfolio,
        watch_our_call,
        call_margin,
    ),
    # Margin before settling: settling leaves another portfolio, and what was asked for before it,
    # in nonces before its own, still stands on this one.
    OnChainPhase.RUN_OFF: (
        _watch_rivals,
        _watch_loss,
        watch_our_call,
        close_out,
        call_margin,
        _settle,
        release,
    ),
    OnChainPhase.CLOSED: (),
}
