"""The drop copy: business events of all channels, read from the journal and numbered as it is.

The journal is the stream. A reader keeps nothing but its place in it, so that replay and live are
one and the same: no event is missed, none is given twice, and a slow reader costs no memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from enum import Enum
from typing import Final

import attrs
import trio

from channels.protocol.changes import Change, Remark, Settlement, Trade
from channels.protocol.channel import Phase
from channels.protocol.effects import Deed
from channels.protocol.halts import Halt
from channels.protocol.ledger import Entry
from channels.protocol.messages import MarginCall
from channels.protocol.records import (
    decode_journal_deposit,
    decode_journal_entry,
    decode_journal_stands,
)
from channels.protocol.types import EMPTY_PORTFOLIO, Portfolio, State, Withdrawal
from channels.storage import JournalEntry, Store

__all__ = ["BusinessEvent", "DropCopy", "EventKind", "Pulse"]

_MADE_FULL: Final = (Deed.FULL, Deed.CONFIRMED)
_IN_DISPUTE: Final = frozenset({Phase.DISPUTED, Phase.RUN_OFF})


class EventKind(Enum):
    """What happened."""

    OPENED = "opened"
    TRADE = "trade"
    REMARK = "remark"
    SETTLEMENT = "settlement"
    MARGIN_CALL = "margin call"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    MODE = "mode"
    DISPUTE = "dispute"
    CLOSED = "closed"


_BY_CHANGE: Final[dict[type[Change], EventKind]] = {
    Trade: EventKind.TRADE,
    Remark: EventKind.REMARK,
    Settlement: EventKind.SETTLEMENT,
}


@attrs.frozen(kw_only=True)
class BusinessEvent:
    """One business event of a channel.

    ``sequence`` is the number of its journal entry: it rises, and the entries between are no
    business events. ``time`` is our clock's when it was stored, nanoseconds since 1970. A trade, a
    re-mark and a settlement have the state's ``nonce``, ``change`` and ``portfolio``, seen from A.
    A mode and a margin call have what stands after it: ``halts``, ``call_made``, ``call_received``.
    A deposit and a withdrawal have ``amounts``, base units of A and of B, once they are final.
    """

    sequence: int
    time: int
    channel_id: bytes
    kind: EventKind
    phase: Phase
    nonce: int = 0
    change: Change | None = None
    portfolio: Portfolio | None = None
    halts: tuple[Halt, ...] = ()
    call_made: MarginCall | None = None
    call_received: MarginCall | None = None
    amounts: tuple[int, int] = (0, 0)


class Pulse:
    """Wakes whoever waits for the next beat."""

    def __init__(self) -> None:
        self._event: trio.Event | None = None

    def beat(self) -> None:
        """Wake all that wait now."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait for the next beat."""
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()


@attrs.define
class _Known:
    """Where a channel stood at the last event read, and the last Withdrawal that was signed."""

    portfolio: Portfolio
    phase: Phase
    withdrawal: Withdrawal | None = None


class DropCopy(AsyncIterator[BusinessEvent]):
    """One reader of the journal's business events; iterate with ``async for``, and never ends.

    ``sequence`` is where it stands: kept, it is the next reader's ``since``.
    """

    def __init__(self, *, store: Store, appended: Pulse, after: int) -> None:
        self._store = store
        self._appended = appended
        self.sequence = after
        self._channels: dict[bytes, _Known] = {}
        self._entries: Iterator[JournalEntry] = iter(())

    def __aiter__(self) -> DropCopy:
        return self

    async def __anext__(self) -> BusinessEvent:
        """The next event, as soon as there is one.

        Raises:
            StorageError: the journal cannot be read.
        """
        await trio.lowlevel.checkpoint()
        while True:
            entry = next(self._entries, None)
            if entry is None:
                self._entries = self._store.journal(after=self.sequence)
                entry = next(self._entries, None)
            if entry is None:
                await self._appended.wait()
                continue
            event = self._event(entry)
            self.sequence = entry.seq
            if event is not None:
                return event

    def _event(self, entry: JournalEntry) -> BusinessEvent | None:
        if not entry.channel_id:
            return None
        known = self._known(entry)
        deed, phase, signed = decode_journal_entry(entry.body)
        before, known.phase = known.phase, phase
        event = BusinessEvent(
            sequence=entry.seq,
            time=entry.time,
            channel_id=entry.channel_id,
            kind=EventKind.MODE,
            phase=phase,
        )
        if deed is Deed.CLOSING:
            known.withdrawal = _withdrawal(signed) or known.withdrawal
        if deed is Deed.DEPOSITED:
            return _deposit(event, entry)
        if deed in _MADE_FULL and signed and isinstance(signed[-1].value, State):
            paid = known.withdrawal
            if paid is not None and paid.nonce == signed[-1].nonce:
                return attrs.evolve(
                    event,
                    kind=EventKind.WITHDRAWAL,
                    nonce=paid.nonce,
                    amounts=(paid.amount_a, paid.amount_b),
                )
            portfolio, change = signed[-1].value.portfolio, signed[-1].change
            # What the chain recorded first comes again with its Confirm: it is one change.
            again = portfolio == known.portfolio
            known.portfolio = portfolio
            if change is None or again:
                return None
            return attrs.evolve(
                event,
                kind=_BY_CHANGE[type(change)],
                nonce=signed[-1].nonce,
                change=change,
                portfolio=portfolio,
            )
        stands = decode_journal_stands(entry.body)
        if stands is not None:
            kind = EventKind.MODE if deed is Deed.MODE else EventKind.MARGIN_CALL
            return attrs.evolve(
                event,
                kind=kind,
                halts=stands.halts,
                call_made=stands.call_made,
                call_received=stands.call_received,
            )
        if phase is before:
            return None
        if phase is Phase.CLOSED:
            return attrs.evolve(event, kind=EventKind.CLOSED)
        if phase in _IN_DISPUTE:
            return attrs.evolve(event, kind=EventKind.DISPUTE)
        if deed is Deed.OPENING and phase is Phase.IDLE:
            return attrs.evolve(event, kind=EventKind.OPENED)
        return None

    def _known(self, entry: JournalEntry) -> _Known:
        """Where the channel stood before this entry: read on, or looked up where we began."""
        known = self._channels.get(entry.channel_id)
        if known is None:
            known = self._channels[entry.channel_id] = self._look_up(entry)
        return known

    def _look_up(self, entry: JournalEntry) -> _Known:
        newest = self._store.newest_entry
        full = newest(entry.channel_id, map(int, _MADE_FULL), before=entry.seq)
        last = newest(entry.channel_id, map(int, Deed), before=entry.seq)
        closing = newest(entry.channel_id, [int(Deed.CLOSING)], before=entry.seq)
        signed = () if closing is None else decode_journal_entry(closing.body)[2]
        portfolio, phase = EMPTY_PORTFOLIO, Phase.ASKED
        if full is not None:
            value = decode_journal_entry(full.body)[2][-1].value
            portfolio = value.portfolio if isinstance(value, State) else portfolio
        if last is not None:
            phase = decode_journal_entry(last.body)[1]
        return _Known(portfolio, phase, _withdrawal(signed))


def _withdrawal(signed: tuple[Entry, ...]) -> Withdrawal | None:
    return next((each.value for each in signed if isinstance(each.value, Withdrawal)), None)


def _deposit(event: BusinessEvent, entry: JournalEntry) -> BusinessEvent | None:
    paid_in = decode_journal_deposit(entry.body)
    if paid_in is None or not (paid_in.a or paid_in.b):
        return None  # less than we knew of: what was paid out is told of as a withdrawal
    return attrs.evolve(event, kind=EventKind.DEPOSIT, amounts=(paid_in.a, paid_in.b))
