"""One reader's way along the chain: every block once, in order, and back where it reorganises."""

from __future__ import annotations

from collections import deque

import trio

from channels.chain.heads import ChainUpdate, HeadFollower
from channels.chain.rpc import Block
from channels.errors import EndpointError, ReorgTooDeepError

__all__ = ["Subscription"]


class Subscription:
    """An async iterator of `ChainUpdate`s. It never ends.

    Keeps (number, hash) of what it delivered and was not final then: as many as the chain has
    unfinished blocks, however slowly it is read. Cancelling a wait loses nothing.
    """

    def __init__(self, follower: HeadFollower, since: int | None) -> None:
        """Begin with block ``since``, or with the present head.

        A reader that resumes gives the block after the last *final* one it has taken in: an
        unfinished one it knew may be gone.
        """
        self._follower = follower
        self._generation = follower.generation
        window = follower.window
        self._since = min(window.tip.number if since is None else since, window.tip.number + 1)
        self._path = deque(
            (number, window.blocks[number].hash) for number in range(window.base, self._since)
        )

    async def __aenter__(self) -> Subscription:
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Nothing to release: a subscription is only a place on the chain."""

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> ChainUpdate:
        """The next block, as soon as there is one.

        Raises:
            ReorgTooDeepError: what was final no longer is. This iterator is of no more use.
        """
        while True:
            changed = self._follower.changed
            try:
                update = await self._next()
            except EndpointError:
                # The follower reports it; here it only means later.
                await trio.sleep(self._follower.poll_interval)
                continue
            if update is not None:
                return update
            await changed.wait()

    async def _next(self) -> ChainUpdate | None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._follower.generation != self._generation:
            raise ReorgTooDeepError("blocks that were final were replaced")
        path = list(self._path)
        rewound = False
        while path and not await self._is_canonical(*path[-1]):
            path.pop()
            rewound = True
        if self._path and not path:
            raise ReorgTooDeepError("every block this reader knows was replaced")
        if not path:
            if self._since > self._follower.tip.number:
                return None
            return await self._deliver(path, self._since, None)
        ancestor = path[-1][0]
        if ancestor < self._follower.tip.number:
            return await self._deliver(path, ancestor + 1, ancestor if rewound else None)
        if not rewound:
            return None
        window = self._follower.window
        head = window.head(await self._follower.block_at(ancestor))
        self._commit(path)
        return ChainUpdate(head=head, rewound_to=ancestor)

    async def _is_canonical(self, number: int, block_hash: bytes) -> bool:
        follower = self._follower
        if number > follower.tip.number:
            return False
        return (await follower.block_at(number)).hash == block_hash

    async def _deliver(
        self, path: list[tuple[int, bytes]], number: int, rewound_to: int | None
    ) -> ChainUpdate:
        follower = self._follower
        block: Block = await follower.block_at(number)
        if path and block.parent_hash != path[-1][1]:
            raise EndpointError(f"block {number} does not follow block {path[-1][0]}")
        events = await follower.events_of(block)
        if number > follower.tip.number or (
            number >= follower.window.base and not follower.has_block(number, block.hash)
        ):
            raise EndpointError("the chain moved while it was read")
        head = follower.window.head(block)
        self._commit([*path, (number, block.hash)])
        return ChainUpdate(head=head, events=events, rewound_to=rewound_to)

    def _commit(self, path: list[tuple[int, bytes]]) -> None:
        final = self._follower.window.final.number
        while len(path) > 1 and path[1][0] <= final:
            del path[0]
        self._path = deque(path)
