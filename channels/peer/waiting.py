"""Where a caller waits for what becomes of its proposal or its request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import trio

from channels.protocol.changes import Settlement
from channels.protocol.effects import (
    ChangeConfirmed,
    ChangeRejected,
    Notice,
    OpeningEnded,
    ProposalLapsed,
    ProposalReceived,
    QuoteDeclined,
    RecordedOnChain,
)

__all__ = ["Answer", "ChangeOutcome", "Outcomes"]

T = TypeVar("T")

ChangeOutcome = ChangeConfirmed | ChangeRejected | ProposalLapsed | RecordedOnChain
QuoteOutcome = QuoteDeclined | list[ProposalReceived]


class Answer(Generic[T]):
    """One value, set once, awaited by one caller."""

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._value: T | None = None

    def set(self, value: T) -> None:
        """Give the value. A list given again before anybody looked adds to the first."""
        if isinstance(self._value, list) and isinstance(value, list):
            self._value.extend(value)
        elif self._value is None:
            self._value = value
            if self._task is not None:
                trio.lowlevel.reschedule(self._task)
                self._task = None

    async def wait(self) -> T:
        """Wait for the value."""
        while self._value is None:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        return self._value

    def _abort(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def get(self, deadline: float) -> T | None:
        """Wait for the value; None if there is none at ``deadline``, on Trio's clock."""
        with trio.move_on_at(deadline):
            return await self.wait()
        return self._value


class _Waiting:
    """A caller among those who wait for one nonce, for the time of a ``with``."""

    def __init__(self, changes: dict[int, list[Answer[ChangeOutcome]]], nonce: int) -> None:
        self._changes = changes
        self._nonce = nonce
        self._answer: Answer[ChangeOutcome] = Answer()

    def __enter__(self) -> Answer[ChangeOutcome]:
        self._changes.setdefault(self._nonce, []).append(self._answer)
        return self._answer

    def __exit__(self, *_: object) -> None:
        waiting = self._changes[self._nonce]
        waiting.remove(self._answer)
        if not waiting:
            del self._changes[self._nonce]


class Outcomes:
    """The callers waiting in one channel: changes by the proposal's nonce, quotes by request."""

    def __init__(self) -> None:
        self._changes: dict[int, list[Answer[ChangeOutcome]]] = {}
        self._quotes: dict[bytes, Answer[QuoteOutcome]] = {}
        self.settled: dict[tuple[bytes, int], ChangeConfirmed | RecordedOnChain] = {}
        """What both signed to settle since we started, by feed and expiry."""
        self.not_opened = ""
        """Why the opening ended, if it did since we started."""

    def change(self, nonce: int) -> _Waiting:
        """Wait for what becomes of the proposal at ``nonce``."""
        return _Waiting(self._changes, nonce)

    @contextmanager
    def quote(self, request_id: bytes) -> Iterator[Answer[QuoteOutcome]]:
        """Wait for the answer to a request for quote."""
        answer: Answer[QuoteOutcome] = Answer()
        self._quotes[request_id] = answer
        try:
            yield answer
        finally:
            del self._quotes[request_id]

    @property
    def asking(self) -> bool:
        """Whether a request of ours for a quote waits for its answer."""
        return bool(self._quotes)

    def tell(self, notice: Notice) -> None:
        """Wake whoever waits for this."""
        match notice:
            case ChangeConfirmed():
                self._keep_settled(notice)
                self._set(notice.proposal, notice)
            case RecordedOnChain():
                self._keep_settled(notice)
                self._set(notice.nonce, notice)
            case ChangeRejected():
                self._set(notice.nonce, notice)
            case ProposalLapsed():
                for nonce in notice.nonces:
                    self._set(nonce, notice)
            case OpeningEnded():
                self.not_opened = f"{notice.reason.name} {notice.text}".strip()
            case QuoteDeclined():
                self._answer(notice.answer.request_id, notice)

    def _keep_settled(self, notice: ChangeConfirmed | RecordedOnChain) -> None:
        if isinstance(notice.change, Settlement):
            self.settled[notice.change.feed, notice.change.expiry] = notice

    def offer(self, request_id: bytes, side: ProposalReceived) -> bool:
        """Hand one side of a quote to whoever asked; False if nobody waits."""
        return self._answer(request_id, [side])

    def _set(self, nonce: int, notice: ChangeOutcome) -> None:
        for answer in self._changes.get(nonce, ()):
            answer.set(notice)

    def _answer(self, request_id: bytes, value: QuoteOutcome) -> bool:
        answer = self._quotes.get(request_id)
        if answer is None:
            return False
        answer.set(value)
        return True
