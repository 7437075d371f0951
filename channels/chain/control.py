"""Test chains that can be told to mine and to move in time: the embedded one, and Anvil."""

from __future__ import annotations

from typing import Protocol

from channels.chain.rpc import Provider, Rpc
from channels.errors import EndpointError, InvalidValueError

__all__ = ["AnvilControl", "ChainControl"]


class ChainControl(Protocol):
    """What a chain for tests and demos can be told. Times are Unix seconds of the chain."""

    async def time(self) -> int:
        """Timestamp of the newest block."""

    async def mine(self, blocks: int = 1) -> None:
        """Mine blocks."""

    async def advance_time(self, *, to: int | None = None, by: int | None = None) -> None:
        """Mine a block whose timestamp is ``to``, or ``by`` seconds after the newest one's.

        Raises:
            InvalidValueError: not later than the newest block.
        """

    async def set_next_time(self, timestamp: int) -> None:
        """Give the next block this timestamp, whatever it will hold."""

    async def reorg(self, depth: int, *, keep: bool = True) -> None:
        """Replace the newest ``depth`` blocks; with ``keep`` their transactions return."""


class AnvilControl:
    """Control of an Anvil node, or of another that speaks Hardhat's and Anvil's methods."""

    def __init__(self, provider: Provider) -> None:
        self._rpc = Rpc(provider)

    async def time(self) -> int:
        """Timestamp of the newest block."""
        block = await self._rpc.block()
        if block is None:
            raise EndpointError("the node has no block")
        return block.timestamp

    async def mine(self, blocks: int = 1) -> None:
        """Mine blocks."""
        await self._rpc.request("hardhat_mine", hex(blocks))

    async def advance_time(self, *, to: int | None = None, by: int | None = None) -> None:
        """Mine a block whose timestamp is ``to``, or ``by`` seconds after the newest one's."""
        now = await self.time()
        target = to if to is not None else now + (by or 0)
        if target <= now:
            raise InvalidValueError(f"time only moves forward: {target} is not after {now}")
        await self.set_next_time(target)
        await self.mine()

    async def set_next_time(self, timestamp: int) -> None:
        """Give the next block this timestamp, whatever it will hold."""
        await self._rpc.request("evm_setNextBlockTimestamp", timestamp)

    async def reorg(self, depth: int, *, keep: bool = True) -> None:
        """Replace the newest ``depth`` blocks by ``depth`` + 1 others.

        With ``keep`` their transactions are sent again first thing. Anvil's own ``anvil_reorg``
        drops them, and makes the very same blocks again of empty ones; so the new ones begin a
        second later.
        """
        # Mining on every transaction happens behind the caller's back: not in the midst of this.
        auto_mine = bool(await self._rpc.request("anvil_getAutomine"))
        await self.set_auto_mine(False)
        try:
            newest = await self._number()
            kept = await self._raw_transactions(newest, depth) if keep else []
            first = await self._rpc.block(newest - depth + 1)
            if first is None:
                raise EndpointError(f"the node has no block {newest - depth + 1}")
            await self.rollback(depth)
            await self.set_next_time(first.timestamp + 1)
            for raw in kept:
                await self._rpc.request("eth_sendRawTransaction", raw)
            await self.mine(depth + 1)
        finally:
            await self.set_auto_mine(auto_mine)

    async def rollback(self, depth: int) -> None:
        """Forget the newest ``depth`` blocks, and put nothing in their place."""
        await self._rpc.request("anvil_rollback", depth)

    async def set_auto_mine(self, enabled: bool) -> None:
        """Mine on every transaction, or only when told."""
        await self._rpc.request("evm_setAutomine", enabled)

    async def _number(self) -> int:
        return int(await self._rpc.request("eth_blockNumber"), 16)

    async def _raw_transactions(self, newest: int, depth: int) -> list[str]:
        raws: list[str] = []
        for number in range(newest - depth + 1, newest + 1):
            block = await self._rpc.request("eth_getBlockByNumber", hex(number), False)
            for transaction_hash in block["transactions"]:
                raw = await self._rpc.request("eth_getRawTransactionByHash", transaction_hash)
                raws.append(str(raw))
        return raws
