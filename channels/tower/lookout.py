"""The tower's eyes: every block once, what it concerns looked up in the book, and nothing else.

A block without a dispute costs one small transaction (how far the chain was taken in) whatever the
number of channels. A dispute is stored together with the cursor, so that no crash can come between;
then it is the monitor's. The contract numbers its disputes, and whoever has seen every number has
missed none: a gap, a chain that changed below what was final, or a book without a cursor mean that
every channel is read from the contract again, and until that is done the tower is degraded.

Source: design, watchtower.md "Engine" and "Service".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

import attrs
import trio

from channels.dispute.actions import Alert, AlertCode, Level
from channels.dispute.agenda import DisputeCounter
from channels.dispute.ports import UpdateLike
from channels.errors import ChainError, StorageError
from channels.protocol.facts import (
    ChainEvent,
    ChannelClosed,
    DisputeStarted,
    Head,
    OnChainPhase,
    PayoutClaimed,
    PayoutDeferred,
    PositionsSettled,
)
from channels.protocol.types import Portfolio
from channels.tower.book import Book
from channels.tower.ports import TowerChain
from channels.tower.reading import BookReader
from channels.tower.tally import Tally
from channels.tower.writes import Cursor, Progress

__all__ = ["Concern", "Lookout"]

_RECENT: Final = 256
"""Blocks whose disputes are remembered for appointments that were under way in them."""
_READERS: Final = 16
_WORTH: Final = (OnChainPhase.DISPUTED, OnChainPhase.RUN_OFF, OnChainPhase.CLOSED)


@attrs.frozen(kw_only=True)
class Concern:
    """A channel of the book that the monitor has to see to, and what the chain has shown of it."""

    channel_id: bytes
    portfolios: tuple[Portfolio, ...] = ()
    deadline: int = 0


@attrs.frozen
class _Seen:
    number: int
    hash: bytes
    disputes: int


class Lookout:
    """Follows the chain for a tower.

    ``degraded`` while a dispute may have been missed. ``taken`` is the newest head that was taken
    in; ``changed`` is set at the next one: take it before looking, wait on it after.
    """

    def __init__(
        self,
        chain: TowerChain,
        book: Book,
        *,
        tally: Tally,
        concern: Callable[[Concern], Awaitable[None]],
        at_head: Callable[[Head], Awaitable[None]],
        alert: Callable[[Alert], None],
        retry_after: float,
    ) -> None:
        self.degraded = True
        self.ready = trio.Event()
        self.taken: Head | None = None
        self.changed = trio.Event()
        self.block_seconds = 0.0
        self._chain = chain
        self._book = book
        self._tally = tally
        self._concern = concern
        self._at_head = at_head
        self._alert = alert
        self._retry_after = retry_after
        self._counter = DisputeCounter()
        self._unfinished: deque[_Seen] = deque()
        self._unstored: set[bytes] = set()
        self._recent: deque[tuple[int, bytes]] = deque()

    @property
    def disputes(self) -> int:
        """Disputes ever filed, as counted here."""
        return self._counter.seen or 0

    @property
    def disputed_lately(self) -> frozenset[bytes]:
        """Channels of which one of the newest blocks told a dispute, watched or not."""
        return frozenset(channel_id for _, channel_id in self._recent)

    async def run(self) -> None:
        """Take in every block, for ever; after a failure begin again, and miss nothing."""
        while True:
            try:
                since = await self._catch_up()
                head = self._chain.head
                if head.number < since:
                    await self._look_up(head)
                async for update in self._chain.updates(since):
                    await self._take_in(update)
            except Exception as error:  # whatever it is, nobody else follows the chain for us
                text = f"the chain can be followed no further and is taken up again: {error!r}"
                self._alert(Alert(level=Level.CRITICAL, code=AlertCode.CHAIN_TROUBLE, text=text))
            self.degraded = True
            await trio.sleep(self._retry_after)

    # ---- what was missed

    async def _catch_up(self) -> int:
        """Take in all final blocks since the cursor; return the number of the next block."""
        head, cursor = self._chain.head, await self._book.ask(lambda book: book.cursor)
        final = head.final_number
        final_hash = await self._chain.block_hash(final)
        count = await self._chain.dispute_count(final_hash)
        whole = cursor is None and self._book.entries > 0
        if cursor is not None and cursor.number <= final:
            events = await self._chain.events_between(cursor.number + 1, final)
            known = await self._chain.block_hash(cursor.number) == cursor.hash
            started = [each for each in events if isinstance(each, DisputeStarted)]
            whole = not known or cursor.disputes + len(started) != count
            concerned = await self._concerned(events)
            await self._store(
                concerned, final, Cursor(number=final, hash=final_hash, disputes=count)
            )
            await self._raise_concerns(events, concerned)
        elif cursor is not None:
            whole = True  # the chain is shorter than it was: another one, or an endpoint behind
        if whole:
            self._alert(
                Alert(
                    level=Level.CRITICAL,
                    code=AlertCode.DISPUTES_MISSED,
                    text="what was missed while we were away does not add up: "
                    "every channel is read from the contract",
                    facts=(("counted", count),),
                )
            )
            await self._read_everything()
        self._counter.reconciled(final, count)
        self._unfinished = deque([_Seen(final, final_hash, count)])
        await self._store((), final, Cursor(number=final, hash=final_hash, disputes=count))
        self.degraded = False
        return final + 1

    async def _read_everything(self) -> None:
        """Read every channel from the contract: the last resort, and slow."""
        after = b""
        while keys := await self._book.ask(partial(BookReader.keys_after, after=after)):
            await self._read(keys)
            after = keys[-1]

    async def _read(self, keys: Iterable[bytes]) -> None:
        waiting = iter(keys)

        async def work() -> None:
            for key in waiting:
                channel_id = key[:32]
                view = await self._chain.view(channel_id)
                if view.phase in _WORTH:
                    progress = Progress(concerned=(channel_id,), block=self._chain.head.number)
                    await self._book.write(progress)
                    await self._concern(Concern(channel_id=channel_id, deadline=view.deadline))

        async with trio.open_nursery() as nursery:
            for _ in range(_READERS):
                nursery.start_soon(work)

    # ---- block by block

    async def _take_in(self, update: UpdateLike) -> None:
        started = trio.current_time()
        head = update.head
        if update.rewound_to is not None:
            self._rewind(update.rewound_to)
        for event in update.events:
            if isinstance(event, DisputeStarted):
                self._tally.disputes_seen += 1
                self._counter.saw(event.block_number, event.count)
                self._recent.append((event.block_number, event.channel_id))
        while self._recent and self._recent[0][0] < head.number - _RECENT:
            self._recent.popleft()
        self._unfinished.append(_Seen(head.number, head.hash, self.disputes))
        cursor = None
        while len(self._unfinished) > 1 and self._unfinished[1].number <= head.final_number:
            self._unfinished.popleft()
            done = self._unfinished[0]
            cursor = Cursor(number=done.number, hash=done.hash, disputes=done.disputes)
        self._counter.trim(head.final_number)
        concerned = await self._concerned(update.events)
        await self._store(concerned, head.number, cursor)
        await self._raise_concerns(update.events, concerned)
        if head.hash == self._chain.head.hash:
            await self._compare(head)
            await self._look_up(head)
        self.block_seconds = trio.current_time() - started

    async def _look_up(self, head: Head) -> None:
        """All there is has been taken in."""
        await self._at_head(head)
        self.taken = head
        self.ready.set()
        self.changed.set()
        self.changed = trio.Event()

    def _rewind(self, ancestor: int) -> None:
        """Blocks above this one are gone. What the monitor was given it reads again by itself."""
        while len(self._unfinished) > 1 and self._unfinished[-1].number > ancestor:
            gone = self._unfinished.pop()
            depth = gone.number - ancestor
            self._tally.deepest_reorg = max(self._tally.deepest_reorg, depth)
        self._counter.rewind(ancestor)

    async def _compare(self, head: Head) -> None:
        """Count disputes with the contract: a gap means that an event was withheld."""
        try:
            count = await self._chain.dispute_count(head.hash)
        except ChainError:
            return  # asked again at the next head
        if not self._counter.missed:
            self._counter.compare(count)
        if not self._counter.missed:
            return
        self.degraded = True
        self._alert(
            Alert(
                level=Level.CRITICAL,
                code=AlertCode.DISPUTES_MISSED,
                text="the contract counts other disputes than its events told of: "
                "every channel is read again; distrust this endpoint",
                facts=(("counted", count), ("seen", self.disputes)),
            )
        )
        await self._read_everything()
        self._counter.reconciled(head.number, count)
        self.degraded = False

    # ---- what it concerns

    async def _concerned(self, events: tuple[ChainEvent, ...]) -> tuple[bytes, ...]:
        found = {
            each.channel_id: None
            for each in events
            if isinstance(each, DisputeStarted | ChannelClosed)
        }
        if not found:
            return ()
        return await self._book.ask(lambda book: tuple(each for each in found if book.keys(each)))

    async def _store(self, concerned: tuple[bytes, ...], block: int, cursor: Cursor | None) -> None:
        """Facts and cursor in one transaction; failing must not disarm us.

        Facts that could not be stored go with the next, as the cursor must not pass them by.
        """
        facts = (*sorted(self._unstored.difference(concerned)), *concerned)
        if cursor is None and not facts:
            return
        try:
            await self._book.write(Progress(cursor=cursor, concerned=facts, block=block))
        except StorageError as error:
            self._unstored.update(facts)
            text = f"how far the chain was read is not stored: {error}"
            self._alert(Alert(level=Level.CRITICAL, code=AlertCode.STORE_TROUBLE, text=text))
        else:
            self._unstored.clear()

    async def _raise_concerns(
        self, events: tuple[ChainEvent, ...], concerned: tuple[bytes, ...]
    ) -> None:
        """Hand over what a block concerns; many at once, as each waits for the disk."""
        told: dict[bytes, list[ChainEvent]] = {each: [] for each in concerned}
        for event in events:
            if not isinstance(event, PayoutDeferred | PayoutClaimed) and event.channel_id in told:
                told[event.channel_id].append(event)
        queue = deque(told.items())

        async def work() -> None:
            while queue:
                await self._concern(_shown_of(*queue.popleft()))

        async with trio.open_nursery() as nursery:
            for _ in range(min(_READERS, len(queue))):
                nursery.start_soon(work)


def _shown_of(channel_id: bytes, events: list[ChainEvent]) -> Concern:
    """What these events tell of a channel."""
    shown = (
        each.portfolio for each in events if isinstance(each, DisputeStarted | PositionsSettled)
    )
    deadlines = (each.deadline for each in events if isinstance(each, DisputeStarted))
    return Concern(
        channel_id=channel_id,
        portfolios=tuple(each for each in shown if each is not None),
        deadline=max(deadlines, default=0),
    )
