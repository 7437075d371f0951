"""The chain as a peer and a monitor use it: one account, one Adjudicator, one or more endpoints.

::

    async with open_chain(provider, adjudicator=address, account=key, store=store) as chain:
        await chain.submit(Checkpoint(terms=terms, newest=state), key=b"...")
        async for update in chain.updates():
            ...

Everything runs in the nursery that `open_chain` opens and closes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio
from web3 import AsyncWeb3

from channels.chain.accounts import TransactionSigner
from channels.chain.artifacts import load_artifact
from channels.chain.bindings import encode_call
from channels.chain.contracts import OracleReader, Token
from channels.chain.endpoints import EndpointPool, EndpointStatus, open_endpoints
from channels.chain.fees import FeePolicy, Urgency
from channels.chain.heads import Finality, HeadFollower
from channels.chain.jobs import Intent, JobFinal, JobMined, JobStream
from channels.chain.provider import open_provider
from channels.chain.readers import AdjudicatorReader, RiskEngineReader
from channels.chain.records import RecordStore
from channels.chain.rpc import BlockId, Provider, Rpc
from channels.chain.subscription import Subscription
from channels.chain.tasks import open_tasks
from channels.chain.transactions import TransactionManager
from channels.chain.witnesses import Witnesses
from channels.errors import EndpointError, InvalidValueError, ReorgTooDeepError
from channels.protocol.calls import Call
from channels.protocol.eip712 import Address, checksum
from channels.protocol.facts import ChannelView, Head
from channels.protocol.terms import Domain, channel_id

__all__ = ["EthereumChain", "open_chain"]


class EthereumChain:
    """One account's view of one Adjudicator. Make one with `open_chain`.

    Reads may raise `channels.errors.EndpointError` at any time; heads and jobs never do, they wait
    and show ``trouble``.
    """

    def __init__(
        self,
        rpc: Rpc,
        domain: Domain,
        follower: HeadFollower,
        transactions: TransactionManager,
        risk_engine: RiskEngineReader,
    ) -> None:
        self.domain = domain
        self.rpc = rpc
        self.transactions = transactions
        self.reader = AdjudicatorReader(rpc, domain.adjudicator)
        self.risk_engine = risk_engine
        self._follower = follower
        self._pool = rpc.provider if isinstance(rpc.provider, EndpointPool) else None
        self._source = (
            self.reader if self._pool is None else Witnesses(self._pool, domain.adjudicator)
        )

    # ---- the head

    @property
    def head(self) -> Head:
        """The newest block known, and the newest final one."""
        return self._follower.head

    @property
    def account(self) -> Address:
        """The account that pays for transactions."""
        return self.transactions.account

    @property
    def trouble(self) -> EndpointError | ReorgTooDeepError | None:
        """What is wrong with the endpoints right now; None if nothing is."""
        disagreement = None if self._pool is None else self._pool.trouble
        return self._follower.trouble or disagreement

    @property
    def endpoints(self) -> tuple[EndpointStatus, ...]:
        """Each endpoint and what it is taken for; empty if there is one alone."""
        return () if self._pool is None else self._pool.statuses

    @property
    def last_answer(self) -> float:
        """Trio time of the endpoint's last good answer about the head."""
        return self._follower.last_answer

    async def wait_for_head(self) -> Head:
        """The newest block known; at once, as an open chain always has one."""
        await trio.lowlevel.checkpoint()
        return self.head

    def updates(self, since: int | None = None) -> Subscription:
        """Every block from ``since`` on (default: the present head), with the contract's events.

        Give the block after the last *final* one that was taken in. Each reader goes at its own
        pace and costs no memory by being slow. Usable as it is or in an ``async with`` block.
        """
        return Subscription(self._follower, since)

    async def wait_until(self, timestamp: int, *, final: bool = False) -> Head:
        """Wait for a block, or a final block, of at least this time."""
        while True:
            changed, head = self._follower.changed, self.head
            if (head.final_timestamp if final else head.timestamp) >= timestamp:
                return head
            await changed.wait()

    # ---- the contract

    async def view(self, channel_id: bytes, block: BlockId | None = None) -> ChannelView:
        """A channel's storage at ``block`` (default: the head), its phase at that block's time."""
        kept = self._follower.kept(block) if isinstance(block, bytes) else None
        if block is None:
            at = self._follower.tip
        elif kept is not None:
            at = kept
        elif isinstance(block, int):
            at = await self._follower.block_at(block)
        else:
            found = await self.rpc.block(block)
            if found is None:
                raise EndpointError(f"the endpoint has no block {block!r}")
            at = found
        return await self._source.view_at(channel_id, at.hash, at.timestamp)

    async def dispute_count(self, block: bytes | None = None) -> int:
        """Disputes ever filed, as of the block of this hash (default: the head)."""
        return await self._source.dispute_count(self.head.hash if block is None else block)

    async def claimable(self, token: Address, payee: Address) -> int:
        """Failed payouts of ``token`` that ``payee`` can claim, base units."""
        return await self.reader.claimable(token, payee, self.head.hash)

    def oracle(self, address: Address) -> OracleReader:
        """An oracle's prices."""
        return OracleReader(self.rpc, address)

    def token(self, address: Address) -> Token:
        """An ERC-20 token."""
        return Token(self.rpc, address)

    # ---- transactions

    async def submit(
        self,
        call: Call,
        *,
        key: bytes,
        fee_limit: int = 0,
        urgency: Urgency | None = None,
        budget: int = 0,
    ) -> None:
        """Accept a call to the Adjudicator; on return it is stored and will be seen through.

        Args:
            call: what to do.
            key: names the job for ever: given again, nothing happens but that urgency and budget
                are what was said last; unless the job had failed.
            fee_limit: the most to pay per gas, wei; 0: as the fee policy says.
            urgency: by when it must be mined; None: there is time.
            budget: what all calls for one channel may cost together, wei; 0: no bound.

        Raises:
            InvalidValueError: the key names another job.
            StorageError: not stored, and must not be done twice (a deposit): not accepted. Any
                other call is accepted all the same, and goes on in memory.
        """
        encoded, terms = encode_call(call), getattr(call, "terms", None)
        intent = Intent(
            name=encoded.name,
            to=self.domain.adjudicator,
            data=encoded.data,
            answer=encoded.answer,
            repeatable=encoded.repeatable,
            fee_limit=fee_limit,
            anyone=encoded.anyone,
            urgency=urgency,
            channel=b"" if terms is None else channel_id(self.domain, terms),
            budget=budget,
        )
        await self.transactions.submit(key, intent)

    async def transact(self, intent: Intent, *, key: bytes) -> None:
        """Accept any other transaction, in the same way."""
        await self.transactions.submit(key, intent)

    async def wait_mined(self, key: bytes) -> JobMined | JobFinal:
        """Wait until a job is mined. Raises as `TransactionManager.wait_mined`."""
        return await self.transactions.wait_mined(key)

    async def wait(self, key: bytes) -> JobFinal:
        """Wait until a job is final. Raises as `TransactionManager.wait`."""
        return await self.transactions.wait(key)

    def job_updates(self) -> JobStream:
        """What becomes of all jobs, from now on; use it in a ``with`` block."""
        return self.transactions.updates()

    def web3(self) -> AsyncWeb3[Any]:
        """A web3 instance on the same endpoint, for what this library does not offer."""
        return AsyncWeb3(self.rpc.provider)


@asynccontextmanager
async def open_chain(
    endpoint: str | Provider | Sequence[str | Provider],
    *,
    adjudicator: Address,
    account: TransactionSigner | Sequence[TransactionSigner],
    store: RecordStore,
    finality: Finality | None = None,
    poll_interval: float = 1.0,
    fees: FeePolicy | None = None,
) -> AsyncIterator[EthereumChain]:
    """Connect to a chain and follow it while the block lasts.

    ``account`` pays; of several, the first for what one party alone may send, each for the rest:
    what is urgent need not wait behind what one of them has sent before.

    ``endpoint`` is a URL, a provider such as an `EmbeddedChain`, or several of them, which are used
    as one (`channels.chain.endpoints`): with one alone, whoever runs it can hide a dispute, and
    that **may lose funds**. ``finality`` defaults to the ``finalized`` tag. ``poll_interval`` in
    seconds.

    Raises:
        EndpointError: no answer.
        InvalidValueError: what stands at ``adjudicator``, or what it takes for its RiskEngine, is
            not the contract of this package.
        StorageError: the records of earlier transactions cannot be read.
    """
    finality = finality if finality is not None else Finality.tag()
    if isinstance(endpoint, str | Sequence):
        opened: AbstractAsyncContextManager[Provider] = (
            open_provider(endpoint)
            if isinstance(endpoint, str)
            else open_endpoints(endpoint, finality=finality, interval=poll_interval)
        )
        async with (
            opened as provider,
            open_chain(
                provider,
                adjudicator=adjudicator,
                account=account,
                store=store,
                finality=finality,
                poll_interval=poll_interval,
                fees=fees,
            ) as chain,
        ):
            yield chain
        return
    rpc = Rpc(endpoint)
    chain_id = await rpc.chain_id()
    await _check_code(rpc, "Adjudicator", adjudicator)
    engine = await AdjudicatorReader(rpc, adjudicator).risk_engine()
    await _check_code(rpc, "RiskEngine", engine)
    follower = HeadFollower(
        rpc,
        adjudicator,
        finality=finality,
        poll_interval=poll_interval,
    )
    await follower.start()
    signers = account if isinstance(account, Sequence) else (account,)
    transactions = TransactionManager(
        rpc, follower, signers, chain_id=chain_id, store=store, fees=fees
    )
    await transactions.start()
    domain = Domain(chain_id=chain_id, adjudicator=adjudicator)
    async with open_tasks() as nursery:
        nursery.start_soon(follower.run)
        nursery.start_soon(transactions.run)
        yield EthereumChain(rpc, domain, follower, transactions, RiskEngineReader(rpc, engine))


async def _check_code(rpc: Rpc, name: str, address: Address) -> None:
    if not load_artifact(name).is_code(await rpc.code(address)):
        raise InvalidValueError(
            f"what stands at {checksum(address)} is not this package's {name}",
            next_step="check the address and the chain; another contract may lose funds",
        )
