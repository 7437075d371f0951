"""Following the chain's head: hash-linked, through reorganisations, for several readers at once.

One `HeadFollower` polls an endpoint and keeps the blocks from the newest final one to the head,
linked by their hashes, with the Adjudicator's events of each. Blocks are compared by hash; that an
endpoint marks logs as removed is not relied on. Readers pull from it at their own pace: each
`Subscription` keeps no more than the hashes of the unfinished blocks it has delivered, so a slow
one costs no memory, misses nothing, and fetches again what the follower no longer keeps.

Source: design, protocol.md "Chain access".
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from channels.chain.events import read_events
from channels.chain.rpc import Block, BlockId, Rpc
from channels.errors import EndpointError, InvalidValueError, ReorgTooDeepError
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChainEvent, Head

__all__ = ["ChainUpdate", "Finality", "HeadFollower"]

_LAG_POLLS: Final = 3
"""A head that is an ancestor of ours is a lagging endpoint; seen so many times, a rollback."""

_MOST_SALVAGED: Final = 10_000
"""Blocks that are remembered of polls that failed."""

_FORWARD_GAP: Final = 64
"""Further behind than this, blocks are followed upwards by number before downwards by hash."""

_BACKOFF: Final = 1.5
_LONGEST_PAUSE: Final = 30.0


@attrs.frozen
class Finality:
    """Which blocks are taken for final. Make one with `tag` or `depth`."""

    name: str | None = None
    confirmations: int = 0

    @classmethod
    def tag(cls, name: str = "finalized") -> Finality:
        """Those up to the endpoint's block of this tag: proof-of-stake finality."""
        return cls(name=name)

    @classmethod
    def depth(cls, confirmations: int) -> Finality:
        """Those with so many blocks on top; 0: the head itself, for chains that never reorganise.

        Raises:
            InvalidValueError: negative.
        """
        if confirmations < 0:
            raise InvalidValueError("confirmations are 0 or more")
        return cls(confirmations=confirmations)

    def block(self, head: int) -> BlockId:
        """The newest final block, as an endpoint is asked for it, under a head of this number."""
        return self.name if self.name is not None else max(head - self.confirmations, 0)


@attrs.frozen(kw_only=True)
class ChainUpdate:
    """One block, as a reader should take it in.

    If ``rewound_to`` is a number, everything learnt from blocks above it is void: undo that first.
    ``head`` then is the next block of the chain that counts now, or, if that chain has no further
    block yet, block ``rewound_to`` itself, without events.
    """

    head: Head
    events: tuple[ChainEvent, ...] = ()
    rewound_to: int | None = None


class _MovedError(EndpointError):
    """The chain moved while it was read; the next poll starts over."""


@attrs.frozen(kw_only=True)
class _Window:
    """The linked blocks from ``base``, final when taken in, to the tip."""

    blocks: dict[int, Block]
    events: dict[bytes, tuple[ChainEvent, ...]]
    base: int
    tip: Block
    final: Block

    def has(self, number: int, block_hash: bytes) -> bool:
        block = self.blocks.get(number)
        return block is not None and block.hash == block_hash

    def head(self, block: Block) -> Head:
        final = self.final if self.final.number < block.number else block
        return Head(
            number=block.number,
            hash=block.hash,
            parent_hash=block.parent_hash,
            timestamp=block.timestamp,
            final_number=final.number,
            final_timestamp=final.timestamp,
        )


@attrs.frozen
class _Salvage:
    """What polls that failed have read, for the next one to get farther.

    Far behind, at an endpoint that fails now and then, no single poll would ever read everything.
    """

    blocks: dict[bytes, Block] = attrs.Factory(dict)
    children: dict[bytes, Block] = attrs.Factory(dict)
    events: dict[bytes, tuple[ChainEvent, ...]] = attrs.Factory(dict)

    @property
    def size(self) -> int:
        return len(self.blocks) + len(self.events)

    def put(self, block: Block) -> None:
        self.blocks[block.hash] = self.children[block.parent_hash] = block

    def clear(self) -> None:
        for each in (self.blocks, self.children, self.events):
            each.clear()


class HeadFollower:
    """Keeps the unfinished part of the chain and tells its readers of every change.

    `start` it, then `run` it in a nursery. ``trouble`` is the endpoint's last failure while it
    lasts, and None while all is well; ``last_answer`` is the Trio time of the last good poll.
    """

    def __init__(
        self,
        rpc: Rpc,
        contract: Address,
        *,
        finality: Finality,
        poll_interval: float = 1.0,
    ) -> None:
        self.trouble: EndpointError | ReorgTooDeepError | None = None
        self.last_answer = -1.0
        self.poll_interval = poll_interval
        self.generation = 0
        self._rpc = rpc
        self._contract = contract
        self._finality = finality
        self._window: _Window | None = None
        self._changed = trio.Event()
        self._lagging = 0
        self._salvage = _Salvage()

    # ---- what readers use

    @property
    def head(self) -> Head:
        """The newest block."""
        return self.window.head(self.window.tip)

    @property
    def tip(self) -> Block:
        """Header of the newest block."""
        return self.window.tip

    @property
    def window(self) -> _Window:
        """The kept blocks."""
        if self._window is None:
            raise InvalidValueError("the follower has not been started")
        return self._window

    @property
    def changed(self) -> trio.Event:
        """Set at the next change of the chain. Take it before looking, wait on it after."""
        return self._changed

    def is_final(self, number: int) -> bool:
        """Whether block ``number`` of the present chain is final."""
        return number <= self.window.final.number

    def has_block(self, number: int, block_hash: bytes) -> bool:
        """Whether this block is one of the kept ones, that is, between final and head."""
        return self.window.has(number, block_hash)

    def kept(self, block_hash: bytes) -> Block | None:
        """The block of this hash, if it is one of the kept ones."""
        blocks = self.window.blocks.values()
        return next((each for each in blocks if each.hash == block_hash), None)

    async def block_at(self, number: int) -> Block:
        """A block of the present chain by number, kept or fetched.

        Raises:
            EndpointError: no answer, or no such block.
        """
        kept = self.window.blocks.get(number)
        return kept if kept is not None else await self._fetch(number)

    async def events_of(self, block: Block) -> tuple[ChainEvent, ...]:
        """The contract's events in a block, kept or fetched."""
        kept = self.window.events.get(block.hash)
        return kept if kept is not None else await self._read_events(block)

    # ---- running

    async def start(self) -> None:
        """Take in the blocks from the newest final one to the head.

        Raises:
            EndpointError: no answer.
        """
        tip = await self._fetch("latest")
        final = await self._final_block(tip)
        blocks, block = [tip], tip
        while block.number > final.number:
            block = await self._parent(block)
            blocks.append(block)
        if block.hash != final.hash:
            raise _MovedError("the chain moved while it was read")
        events = {each.hash: await self._salvaged_events(each) for each in blocks}
        self._window = _Window(
            blocks={each.number: each for each in blocks},
            events=events,
            base=final.number,
            tip=tip,
            final=final,
        )
        self._salvage.clear()
        self._announce()

    async def run(self) -> None:
        """Poll for ever. Failures are kept in ``trouble`` and tried again, at growing intervals."""
        pause = self.poll_interval
        while True:
            if self.trouble is None and not self._lagging:
                pause = self.poll_interval
                await self._rpc.wait_for_block(self.tip.hash, pause)
            else:
                await trio.sleep(pause)
                pause = min(pause * _BACKOFF, max(_LONGEST_PAUSE, self.poll_interval))
            before = self._salvage.size
            try:
                await self.poll()
            except _MovedError:
                continue
            except EndpointError as error:
                self.trouble = error
                if self._salvage.size > before:
                    pause = self.poll_interval
                if self._salvage.size > _MOST_SALVAGED:
                    self._salvage.clear()

    async def poll(self) -> None:
        """Look once, and take in what changed.

        Raises:
            EndpointError: no answer, or a wrong one. Nothing changed.
        """
        window = self.window
        tip = await self._fetch("latest")
        if tip.hash == window.tip.hash:
            self._well()
            return
        if tip.number < window.tip.number and window.has(tip.number, tip.hash):
            self._lagging += 1
            if self._lagging < _LAG_POLLS:
                return
        try:
            changed = await self._extended(window, tip)
        except ReorgTooDeepError as error:
            # Whoever relied on finality must stop; the defence of what is on chain goes on.
            await self.start()
            self.generation += 1
            self.trouble = error
            self._announce()
            return
        self._window = changed
        self._salvage.clear()
        self._well()
        self._announce()

    def _well(self) -> None:
        self.trouble, self._lagging = None, 0
        self.last_answer = trio.current_time()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _extended(self, window: _Window, tip: Block) -> _Window:
        """The window moved to ``tip``. Changes nothing; may be abandoned halfway."""
        if tip.number < window.final.number:
            text = f"the endpoint is back at block {tip.number}, long final"
            if self._rpc.is_contested:  # two chains, and whose is shorter may be the honest one
                raise ReorgTooDeepError(text)
            raise EndpointError(text)
        blocks = dict(window.blocks)
        top = window.tip
        while tip.number - top.number > _FORWARD_GAP:
            block = self._salvage.children.get(top.hash) or await self._fetch(top.number + 1)
            if block.parent_hash != top.hash:
                break
            self._salvage.put(block)
            blocks[block.number] = top = block
        branch = [tip]
        while not self._links(blocks, branch[-1]):
            if branch[-1].number <= window.final.number + 1:
                raise ReorgTooDeepError(
                    f"block {window.final.number} was final and is no longer on the chain"
                )
            branch.append(await self._parent(branch[-1]))
        for number in [each for each in blocks if each >= branch[-1].number]:
            del blocks[number]
        blocks |= {each.number: each for each in branch}
        final = await self._next_final(window, blocks, tip)
        events = {}
        for number in sorted(blocks):
            block = blocks[number]
            known = window.events.get(block.hash)
            events[block.hash] = await self._salvaged_events(block) if known is None else known
        return _Window(
            blocks={number: each for number, each in blocks.items() if number >= final.number},
            events={
                block.hash: events[block.hash]
                for number, block in blocks.items()
                if number >= final.number
            },
            base=final.number,
            tip=tip,
            final=final,
        )

    @staticmethod
    def _links(blocks: dict[int, Block], block: Block) -> bool:
        same = blocks.get(block.number)
        if same is not None and same.hash == block.hash:
            return True
        parent = blocks.get(block.number - 1)
        return parent is not None and parent.hash == block.parent_hash

    async def _next_final(self, window: _Window, blocks: dict[int, Block], tip: Block) -> Block:
        if self._finality.name is None:
            number = max(tip.number - self._finality.confirmations, window.final.number)
            return blocks[number]
        final = await self._fetch(self._finality.name)
        if final.number <= window.final.number:
            return window.final
        known = blocks.get(final.number)
        if known is None or known.hash != final.hash:
            raise _MovedError("the final block is not on the chain of the newest one")
        return final

    async def _final_block(self, tip: Block) -> Block:
        return await self._fetch(self._finality.block(tip.number))

    async def _fetch(self, block: BlockId) -> Block:
        found = await self._rpc.block(block)
        if found is None:
            raise _MovedError(f"the endpoint has no block {block!r}")
        return found

    async def _parent(self, block: Block) -> Block:
        salvaged = self._salvage.blocks.get(block.parent_hash)
        parent = await self._fetch(block.parent_hash) if salvaged is None else salvaged
        if parent.number != block.number - 1:
            raise EndpointError(f"block {block.number} has a parent numbered {parent.number}")
        self._salvage.put(parent)
        return parent

    async def _salvaged_events(self, block: Block) -> tuple[ChainEvent, ...]:
        events = self._salvage.events.get(block.hash)
        if events is None:
            events = self._salvage.events[block.hash] = await self._read_events(block)
        return events

    async def _read_events(self, block: Block) -> tuple[ChainEvent, ...]:
        return await read_events(self._rpc, await self._rpc.logs(block.hash, self._contract))
