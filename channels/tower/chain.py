"""An `EthereumChain` as a tower uses it: every channel's fees bounded by its own budget."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from channels.chain import EthereumChain
from channels.chain.bindings import encode_call
from channels.chain.contracts import OracleReader
from channels.chain.events import read_events
from channels.chain.fees import Urgency
from channels.chain.jobs import Intent, JobStream
from channels.chain.rpc import CallFailedError
from channels.chain.transactions import TransactionManager
from channels.dispute.ports import UpdateLike
from channels.errors import EndpointError
from channels.protocol.calls import Call, Checkpoint
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChainEvent, ChannelView, Head
from channels.protocol.terms import Domain, channel_id

__all__ = ["BudgetedChain"]

_LONGEST_RANGE: Final = 1_000
"""Blocks asked for at once: more than this, endpoints refuse."""


class BudgetedChain:
    """The chain of a tower's gas accounts. A channel without a budget is bounded by the fee policy.

    When a budget is too small for the fees of the day, the transaction waits and the monitor says
    so; it is not dropped, and holds up no other.
    """

    def __init__(self, chain: EthereumChain) -> None:
        self._chain = chain
        self._budgets: dict[bytes, int] = {}

    @property
    def domain(self) -> Domain:
        """What signatures must be for."""
        return self._chain.domain

    @property
    def head(self) -> Head:
        """The newest block."""
        return self._chain.head

    @property
    def account(self) -> Address:
        """The gas account."""
        return self._chain.account

    @property
    def trouble(self) -> Exception | None:
        """What is wrong with the endpoints right now."""
        return self._chain.trouble

    @property
    def transactions(self) -> TransactionManager:
        """The jobs."""
        return self._chain.transactions

    def updates(self, since: int | None = None) -> AsyncIterator[UpdateLike]:
        """Every block from ``since`` on."""
        return self._chain.updates(since)

    async def view(self, channel_id: bytes, block: bytes | None = None) -> ChannelView:
        """A channel's storage."""
        return await self._chain.view(channel_id, block)

    async def dispute_count(self, block: bytes | None = None) -> int:
        """Disputes ever filed."""
        return await self._chain.dispute_count(block)

    def oracle(self, address: Address) -> OracleReader:
        """An oracle."""
        return self._chain.oracle(address)

    async def submit(self, call: Call, *, key: bytes, urgency: Urgency | None = None) -> None:
        """Accept a call, at no more than what is left of the channel's budget."""
        terms = getattr(call, "terms", None)
        budget = None if terms is None else self._budgets.get(channel_id(self.domain, terms))
        wei = 0 if budget is None else max(budget, 1)  # 0 stands for no bound
        await self._chain.submit(call, key=key, urgency=urgency, budget=wei)

    async def transact(self, intent: Intent, *, key: bytes) -> None:
        """Accept any other transaction."""
        await self._chain.transact(intent, key=key)

    def job_updates(self) -> JobStream:
        """What becomes of the jobs."""
        return self._chain.job_updates()

    # ---- a tower's own

    async def block_hash(self, number: int) -> bytes:
        """Hash of a block of the present chain."""
        block = await self._chain.rpc.block(number)
        if block is None:
            raise EndpointError(f"the endpoint has no block {number}")
        return block.hash

    async def events_between(self, first: int, last: int) -> tuple[ChainEvent, ...]:
        """The contract's events in these blocks, both included, oldest first."""
        events: list[ChainEvent] = []
        for start in range(first, last + 1, _LONGEST_RANGE):
            end = min(start + _LONGEST_RANGE - 1, last)
            logs = await self._chain.rpc.logs_between(start, end, self.domain.adjudicator)
            events += await read_events(self._chain.rpc, logs)
        return tuple(events)

    async def would_record(self, call: Checkpoint) -> bool:
        """Whether the contract would record this state now, as of the head."""
        encoded = encode_call(call)
        try:
            answer = await self._chain.rpc.call(
                self.domain.adjudicator, encoded.data, sender=self.account
            )
        except CallFailedError:
            return False
        return answer == encoded.answer

    async def gas_balance(self) -> int:
        """What the gas accounts have together, wei."""
        rpc, accounts = self._chain.rpc, self._chain.transactions.accounts
        return sum([await rpc.balance(each) for each in accounts])

    def set_budget(self, channel_id: bytes, wei: int) -> None:
        """The most to pay for all transactions of a channel together, from now on."""
        self._budgets[channel_id] = wei
