"""One watched channel as the monitor works on it: read, decide, tell, submit.

What is decided is in `decision`; this only fetches the facts it asks for and carries the answer
out. A `Guard` holds nothing that must survive but its evidence. Whatever fails raises, and the
monitor looks again at the next head: **a failure that dropped a duty may lose funds**.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

import attrs
import trio

from channels.chain.records import Stage
from channels.dispute.actions import (
    Action,
    Alert,
    AlertCode,
    Duty,
    Level,
    NeedPrice,
    NeedSpot,
    Submit,
    SubmitPrice,
    SubmitSpot,
    WakeAt,
)
from channels.dispute.agenda import Reason
from channels.dispute.case import Policy, phase_at
from channels.dispute.decision import decide
from channels.dispute.evidence import Watched
from channels.dispute.ports import ChainPort
from channels.dispute.price_book import PriceBook
from channels.dispute.reports import DisputeFound, DutyDone, DutySubmitted, Report, Stream
from channels.dispute.runoff import Bucket, PriceFact
from channels.dispute.shortfall import SpotFact
from channels.errors import BugError, ChainError, InvalidValueError
from channels.protocol.calls import CallMargin, Checkpoint, DisputeFor, Release, Settle
from channels.protocol.facts import ChannelView, Head, OnChainPhase

__all__ = ["Guard", "Outlook", "Station", "Voice"]

_LOG: Final = logging.getLogger("channels.dispute")
_LEVELS: Final = {
    Level.INFO: logging.INFO,
    Level.WARNING: logging.WARNING,
    Level.CRITICAL: logging.CRITICAL,
}
_MOST_ROUNDS: Final = 6
_MOST_KEYS: Final = 16
_AGAIN: Final = b"/again"
_ONE_AT_A_TIME: Final = (Duty.CALL_MARGIN, Duty.CLOSE_OUT)
"""What is wanted anew at every price, and is not asked for again while it is under way."""


class Voice:
    """Where alerts and reports go: two bounded streams, and alerts to the log as well."""

    def __init__(self) -> None:
        self.alerts: Stream[Alert] = Stream()
        self.reports: Stream[Report] = Stream()

    def alert(self, alert: Alert) -> None:
        """Tell once; whether it was told before is the caller's to know."""
        where = "" if alert.channel_id is None else f" channel 0x{alert.channel_id.hex()}"
        facts = "".join(f" {name}={value}" for name, value in alert.facts + alert.figures)
        _LOG.log(_LEVELS[alert.level], "%s:%s %s%s", alert.code.name, where, alert.text, facts)
        self.alerts.put(alert)

    def report(self, report: Report) -> None:
        """Tell of work done."""
        self.reports.put(report)


@attrs.frozen(kw_only=True)
class Station:
    """What all guards share. ``jobs`` tells whose duty a transaction was submitted for."""

    chain: ChainPort
    policy: Policy
    voice: Voice
    prices: PriceBook
    jobs: dict[bytes, Guard] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Outlook:
    """When to look at the channel again, after a look that went well."""

    each_head: Reason | None
    timer: int | None


@attrs.frozen(kw_only=True)
class _Asked:
    """A duty under way: when it was first wanted (our clock) and first asked for (chain time)."""

    submit: Submit
    wanted: float
    head_time: int


@attrs.frozen(kw_only=True)
class _Refusal:
    """Why the chain does not take a transaction."""

    reason: str
    exhausted: bool

    def alert(self, channel_id: bytes, duty: Duty) -> Alert:
        """Tell of it. Nothing is dropped."""
        text = "the chain does not take our transaction; it is tried again at every head"
        if self.exhausted:
            text = (
                "what it may cost does not buy our transaction a place: raise its budget, or wait"
            )
        return Alert(
            level=Level.CRITICAL if duty is Duty.REFUTE else Level.WARNING,
            code=AlertCode.BUDGET_EXHAUSTED if self.exhausted else AlertCode.DUTY_DELAYED,
            text=text,
            channel_id=channel_id,
            facts=(("duty", duty.name), ("reason", self.reason)),
        )


class Guard:
    """A watched channel. One task looks at it at a time.

    ``known_nonce`` is that of its owner's newest state, as far as it has been told. ``restored``:
    known from the store alone, of which the owner may have something newer to hand over.
    """

    def __init__(self, watched: Watched, *, restored: bool = False) -> None:
        self.watched = watched
        self.known_nonce = 0
        self._restored = restored
        self._first_head = b""
        self.view: ChannelView | None = None
        self.read_number = -1
        self._read_hash = b""
        self._recorded: deque[bytes] = deque(maxlen=4)
        self._raised: frozenset[Alert] = frozenset()
        self._wanted: dict[bytes, float] = {}
        self._asked: dict[bytes, _Asked] = {}
        self._refused: dict[bytes, _Refusal] = {}
        self._was = OnChainPhase.NONE
        self._trouble: ChainError | None = None

    @property
    def recorded_hashes(self) -> tuple[bytes, ...] | None:
        """Portfolio hashes the chain may have recorded; None if it was not read yet."""
        return None if self.view is None else tuple(self._recorded)

    @property
    def closed(self) -> bool:
        """Whether the channel was paid out, when last read."""
        return self.view is not None and self.view.phase is OnChainPhase.CLOSED

    @property
    def disputed(self) -> bool:
        """Whether it was in its window, when last read."""
        return self.view is not None and self.view.phase is OnChainPhase.DISPUTED

    def in_last_part(self, time: int, policy: Policy) -> bool:
        """Whether the window, when last read, is so far gone that help is called for."""
        if self.view is None:
            return False
        window = self.watched.terms.dispute_window
        return time >= self.view.deadline - policy.last_part(window)

    async def look(self, head: Head, reason: Reason, station: Station) -> Outlook:
        """Do what must be done at ``head``.

        Raises:
            ChainError: a read failed. Look again at the next head.
            OurError: the chain's own store did not take a job. Look again at the next head.
        """
        self._first_head = self._first_head or head.hash
        if reason is Reason.READ or self.view is None:
            await self._read(head, station)
        actions = await self._decide(head, station)
        if self._read_hash != head.hash and any(isinstance(each, Submit) for each in actions):
            # Never send on what was read earlier: look immediately before.
            await self._read(head, station)
            actions = await self._decide(head, station)
        submits = [each for each in actions if isinstance(each, Submit)]
        self._note_done(head, submits, station)
        alerts = [each for each in actions if isinstance(each, Alert)]
        missing = [each for each in alerts if each.code is AlertCode.EVIDENCE_MISSING]
        early = bool(missing) and self._may_still_come(head)
        if early or self.view is None or self.view.nonce <= self.known_nonce:
            alerts = [each for each in alerts if each not in missing]
        self._raise(alerts, submits, station)
        for each in submits:
            await self._submit(each, head, station)
        for wanted in actions:
            if isinstance(wanted, SubmitPrice | SubmitSpot):
                await self._bring(wanted, head, station)
        if self._trouble is not None:
            raise self._trouble
        waits = early or any(isinstance(each, NeedPrice | NeedSpot) for each in actions)
        return Outlook(
            each_head=Reason.READ if submits else Reason.DECIDE if waits else None,
            timer=min((each.time for each in actions if isinstance(each, WakeAt)), default=None),
        )

    def job_refused(self, key: bytes, reason: str, *, exhausted: bool = False) -> None:
        """The chain does not take a transaction; told of at the next look, if still wanted then.

        ``exhausted``: as what it may cost does not buy it a place.
        """
        self._refused[_duty_key(key)] = _Refusal(reason=reason, exhausted=exhausted)

    async def _read(self, head: Head, station: Station) -> None:
        view = await station.chain.view(self.watched.channel_id, head.hash)
        self.view, self.read_number, self._read_hash = view, head.number, head.hash
        if view.nonce and view.portfolio_hash not in self._recorded:
            self._recorded.append(view.portfolio_hash)
        phase = phase_at(view, head.timestamp)
        if phase is OnChainPhase.DISPUTED and self._was is not phase:
            acceptable = self.watched.acceptable(view.nonce, head.timestamp)
            station.voice.report(
                DisputeFound(
                    channel_id=self.watched.channel_id,
                    filer=view.filer,
                    recorded=view.nonce,
                    newest=acceptable[0].state.nonce if acceptable else view.nonce,
                    deadline=view.deadline,
                    head_time=head.timestamp,
                )
            )
        self._was = phase

    async def _decide(self, head: Head, station: Station) -> tuple[Action, ...]:
        if self.view is None:
            raise BugError("a decision without a reading")
        known: dict[Bucket, PriceFact] = {}
        spots: dict[bytes, SpotFact | None] = {}
        asked: set[bytes] = set()
        actions: tuple[Action, ...] = ()
        terms, self._trouble = self.watched.terms, None
        for _ in range(_MOST_ROUNDS):
            actions = decide(
                self.watched,
                self.view,
                head,
                prices=known,
                spots=spots,
                policy=station.policy,
                account=station.chain.account,
            )
            buckets = {each.bucket for each in actions if isinstance(each, NeedPrice)}
            feeds = {each.feed for each in actions if isinstance(each, NeedSpot)}
            if buckets <= known.keys() and feeds <= asked:
                break
            for bucket in sorted(buckets - known.keys()):
                known[bucket] = await station.prices.settlement(terms.oracle, bucket, head)
            for feed in sorted(feeds - asked):
                asked.add(feed)
                try:
                    spots[feed] = await station.prices.spot(terms, feed, head)
                except ChainError as error:
                    self._trouble = error  # no defence rests on a spot: told once all else is done
        return actions

    def _may_still_come(self, head: Head) -> bool:
        """Whether this is the first head since a start: the owner may have more to hand over."""
        return self._restored and head.hash == self._first_head

    def _raise(self, alerts: list[Alert], submits: list[Submit], station: Station) -> None:
        """Tell of what was not told at the last look."""
        now = {
            *alerts,
            *(
                self._refused[each.key].alert(self.watched.channel_id, each.duty)
                for each in submits
                if each.key in self._refused
            ),
        }
        for alert in sorted(now - self._raised, key=lambda each: -each.level):
            station.voice.alert(alert)
        self._raised = frozenset(now)

    async def _submit(self, submit: Submit, head: Head, station: Station) -> None:
        wanted = self._wanted.setdefault(submit.key, trio.current_time())
        for attempt in range(_MOST_KEYS):
            key = submit.key + (_AGAIN + bytes([attempt]) if attempt else b"")
            job = station.chain.transactions.job(key)
            if job is not None and job.stage == Stage.FINAL:
                continue  # final, and yet the chain does not show its effect: it had none
            if job is not None and job.stage == Stage.FAILED and submit.duty in _ONE_AT_A_TIME:
                await station.chain.transactions.forget(key)
            station.jobs[key] = self
            try:
                await station.chain.submit(submit.call, key=key, urgency=submit.urgency)
            except InvalidValueError:
                if submit.duty in _ONE_AT_A_TIME:
                    break  # under way on other scenarios: it has its effect, or it fails
                continue  # the key is taken by other bytes for the same purpose
            break
        else:
            raise BugError(f"{_MOST_KEYS} transactions for {submit.duty.name} had no effect")
        if submit.key not in self._asked:
            self._asked[submit.key] = _Asked(submit=submit, wanted=wanted, head_time=head.timestamp)
            station.voice.report(
                DutySubmitted(
                    channel_id=self.watched.channel_id,
                    duty=submit.duty,
                    key=key,
                    head_number=head.number,
                    head_time=head.timestamp,
                    seconds=trio.current_time() - wanted,
                )
            )

    def _note_done(self, head: Head, submits: list[Submit], station: Station) -> None:
        """Report duties whose effect the chain shows; drop those that something newer replaced."""
        standing = {each.key for each in submits}
        for key in [each for each in self._asked if each not in standing]:
            asked = self._asked.pop(key)
            self._wanted.pop(key, None)
            self._refused.pop(key, None)
            station.jobs.pop(key, None)
            if self._shows(asked):
                station.voice.report(
                    DutyDone(
                        channel_id=self.watched.channel_id,
                        duty=asked.submit.duty,
                        key=key,
                        head_number=head.number,
                        head_time=head.timestamp,
                        seconds=trio.current_time() - asked.wanted,
                        chain_seconds=head.timestamp - asked.head_time,
                    )
                )

    def _shows(self, asked: _Asked) -> bool:
        view, call = self.view, asked.submit.call
        if view is None or view.phase is OnChainPhase.CLOSED:
            return view is not None
        match call:
            case Checkpoint():
                return view.nonce >= call.newest.state.nonce
            case DisputeFor():
                return view.phase is not OnChainPhase.OPEN
            case CallMargin():
                return view.cure_end(call.party) > asked.head_time
            case Release():
                return self.watched.side is not None and view.released(self.watched.side)
            case Settle():
                return view.portfolio_hash != call.portfolio.struct_hash
        return False

    async def _bring(self, wanted: SubmitPrice | SubmitSpot, head: Head, station: Station) -> None:
        """Have the oracle given a price, if anybody offers it."""
        oracle, jobs = self.watched.terms.oracle, station.chain.transactions
        try:
            found = await station.prices.delivery(oracle, wanted, head, jobs)
        except ChainError as error:
            self._trouble = error
            return
        if found is None:
            return
        key, intent = found
        if jobs.job(key) is not None:
            await jobs.forget(key)  # it failed, and what is offered now may be signed otherwise
        await station.chain.transact(intent, key=key)
        station.voice.report(
            DutySubmitted(
                channel_id=self.watched.channel_id,
                duty=Duty.SUBMIT_PRICE,
                key=key,
                head_number=head.number,
                head_time=head.timestamp,
                seconds=0.0,
            )
        )


def _duty_key(key: bytes) -> bytes:
    """The key a duty asks under, of one it had to be asked again under."""
    return key[: -len(_AGAIN) - 1] if key[-len(_AGAIN) - 1 : -1] == _AGAIN else key
