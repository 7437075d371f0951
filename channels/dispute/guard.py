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
    Submit,
    WakeAt,
)
from channels.dispute.agenda import Reason
from channels.dispute.decision import Policy, decide, phase_at
from channels.dispute.evidence import Watched
from channels.dispute.ports import ChainPort
from channels.dispute.reports import DisputeFound, DutyDone, DutySubmitted, Report, Stream
from channels.dispute.runoff import Bucket, PriceFact, PriceStatus
from channels.errors import BugError, ContractRevertedError, InvalidValueError
from channels.protocol.calls import Checkpoint, Settle
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelView, Head, OnChainPhase

__all__ = ["Guard", "Outlook", "PriceBook", "Station", "Voice"]

_LOG: Final = logging.getLogger("channels.dispute")
_LEVELS: Final = {
    Level.INFO: logging.INFO,
    Level.WARNING: logging.WARNING,
    Level.CRITICAL: logging.CRITICAL,
}
_MOST_ROUNDS: Final = 4
_MOST_KEYS: Final = 16
_AGAIN: Final = b"/again"


class Voice:
    """Where alerts and reports go: two bounded streams, and alerts to the log as well."""

    def __init__(self) -> None:
        self.alerts: Stream[Alert] = Stream()
        self.reports: Stream[Report] = Stream()

    def alert(self, alert: Alert) -> None:
        """Tell once; whether it was told before is the caller's to know."""
        where = "" if alert.channel_id is None else f" channel 0x{alert.channel_id.hex()}"
        facts = "".join(f" {name}={value}" for name, value in alert.facts)
        _LOG.log(_LEVELS[alert.level], "%s:%s %s%s", alert.code.name, where, alert.text, facts)
        self.alerts.put(alert)

    def report(self, report: Report) -> None:
        """Tell of work done."""
        self.reports.put(report)


class PriceBook:
    """Settlement prices as of one head, each asked for once, whoever needs it."""

    def __init__(self, chain: ChainPort) -> None:
        self._chain = chain
        self._head = b""
        self._known: dict[tuple[Address, Bucket], PriceFact] = {}

    async def ask(self, oracle: Address, bucket: Bucket, head: Head) -> PriceFact:
        """What ``oracle`` says at ``head``. One that fails counts as not knowing, as on chain."""
        if head.hash != self._head:
            self._head, self._known = head.hash, {}
        known = self._known.get((oracle, bucket))
        if known is not None:
            return known
        try:
            answer = await self._chain.oracle(oracle).settlement_price(*bucket, head.hash)
            status, price = PriceStatus(answer.status), answer.price
        except ContractRevertedError:
            status, price = PriceStatus.UNSET, 0
        needs_price = status in (PriceStatus.KNOWN, PriceStatus.LAST_RESORT)
        if needs_price and not 0 < price < 1 << 128:
            status, price = PriceStatus.UNSET, 0
        fact = PriceFact(status=status, price=price if needs_price else 0)
        if head.hash == self._head:
            self._known[oracle, bucket] = fact
        return fact


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


class Guard:
    """A watched channel. One task looks at it at a time."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.view: ChannelView | None = None
        self.read_number = -1
        self._read_hash = b""
        self._recorded: deque[bytes] = deque(maxlen=4)
        self._raised: frozenset[Alert] = frozenset()
        self._wanted: dict[bytes, float] = {}
        self._asked: dict[bytes, _Asked] = {}
        self._refused: dict[bytes, str] = {}
        self._was = OnChainPhase.NONE

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

    async def look(self, head: Head, reason: Reason, station: Station) -> Outlook:
        """Do what must be done at ``head``.

        Raises:
            ChainError: a read failed. Look again at the next head.
            OurError: the chain's own store did not take a job. Look again at the next head.
        """
        if reason is Reason.READ or self.view is None:
            await self._read(head, station)
        actions = await self._decide(head, station)
        if self._read_hash != head.hash and any(isinstance(each, Submit) for each in actions):
            # Never send on what was read earlier: look immediately before.
            await self._read(head, station)
            actions = await self._decide(head, station)
        submits = [each for each in actions if isinstance(each, Submit)]
        self._note_done(head, submits, station)
        self._raise([each for each in actions if isinstance(each, Alert)], submits, station)
        for each in submits:
            await self._submit(each, head, station)
        waits = any(isinstance(each, NeedPrice) for each in actions)
        return Outlook(
            each_head=Reason.READ if submits else Reason.DECIDE if waits else None,
            timer=min((each.time for each in actions if isinstance(each, WakeAt)), default=None),
        )

    def job_refused(self, key: bytes, reason: str) -> None:
        """The chain does not take a transaction; told of at the next look, if still wanted then."""
        self._refused[_duty_key(key)] = reason

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
        actions: tuple[Action, ...] = ()
        for _ in range(_MOST_ROUNDS):
            actions = decide(self.watched, self.view, head, prices=known, policy=station.policy)
            wanted = [each.bucket for each in actions if isinstance(each, NeedPrice)]
            unasked = [each for each in wanted if each not in known]
            if not unasked:
                break
            for bucket in unasked:
                known[bucket] = await station.prices.ask(self.watched.terms.oracle, bucket, head)
        return actions

    def _raise(self, alerts: list[Alert], submits: list[Submit], station: Station) -> None:
        """Tell of what was not told at the last look."""
        now = {
            *alerts,
            *(
                Alert(
                    level=Level.CRITICAL if each.duty is Duty.REFUTE else Level.WARNING,
                    code=AlertCode.DUTY_DELAYED,
                    text="the chain does not take our transaction; it is tried again at every head",
                    channel_id=self.watched.channel_id,
                    facts=(("duty", each.duty.name), ("reason", self._refused[each.key])),
                )
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
            station.jobs[key] = self
            try:
                await station.chain.submit(submit.call, key=key)
            except InvalidValueError:
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
            if self._shows(asked.submit):
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

    def _shows(self, submit: Submit) -> bool:
        view, call = self.view, submit.call
        if view is None or view.phase is OnChainPhase.CLOSED:
            return view is not None
        if isinstance(call, Checkpoint):
            return view.nonce >= call.newest.state.nonce
        return isinstance(call, Settle) and view.portfolio_hash != call.portfolio.struct_hash


def _duty_key(key: bytes) -> bytes:
    """The key a duty asks under, of one it had to be asked again under."""
    return key[: -len(_AGAIN) - 1] if key[-len(_AGAIN) - 1 : -1] == _AGAIN else key
