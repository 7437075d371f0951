"""A node, channels on it, a counterparty that cheats, and towers whose endpoints fail.

Whatever a test does to a tower, `Ground.judge` reads the outcome from the contract alone: no
channel with a receipt stands below its nonce once its window is over, and no collateral is lost.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
import rlp  # type: ignore[import-untyped]
import trio

from channels.chain import (
    AnvilControl,
    EthereumChain,
    Finality,
    LocalAccount,
    RecordStore,
    open_chain,
    open_provider,
)
from channels.chain.accounts import UnsignedTransaction
from channels.chain.bindings import encode_call
from channels.chain.endpoints import EndpointPool, open_endpoints
from channels.chain.fees import FeePolicy
from channels.chain.jobs import Intent
from channels.chain.readers import AdjudicatorReader
from channels.chain.rpc import Provider, Receipt, Rpc
from channels.chain.sending import send_now, sign_now
from channels.dispute import Pace
from channels.protocol.calls import Call, Checkpoint, Dispute
from channels.protocol.eip712 import keccak
from channels.protocol.facts import ChannelView, OnChainPhase
from channels.protocol.signing import LocalSigner, recover
from channels.tower.service import TowerPolicy
from channels.tower.signed import SignedReceipt
from tests.chain.world import ETHER, HOUR, World, anvil_world, new_key
from tests.soak.proxy import FaultProxy, open_proxy
from tests.tower.world import DEPOSIT, Channel, Stand, tower_of

__all__ = [
    "GWEI",
    "LONG",
    "PATIENCE",
    "WINDOW",
    "Ground",
    "Node",
    "Post",
    "deploy_on",
    "open_ground",
    "some_of",
]

LONG: Final = bool(os.environ.get("OPTION_CHANNELS_FUZZ"))
"""Whether this is the long form, of `make fuzz`."""

GWEI: Final = 10**9
WINDOW: Final = 4 * HOUR
PATIENCE: Final = 60.0
ANSWER: Final = 0.5
"""Seconds after which the next endpoint is asked, where one never answers."""
TURN: Final = 0.5
"""Seconds for which an endpoint leads while they disagree."""
POLL: Final = 0.03
DEEPEST: Final = 100
"""Blocks on top of the contracts."""
BUDGET: Final = 10**17
POLICY: Final = TowerPolicy(pace=Pace(retry_after=0.2), beat_every=1)
KEY: Final = LocalSigner(new_key())


def some_of(*cases: Any, besides: Sequence[Any] = ()) -> list[Any]:
    """Cases of the short form, and others ``besides`` in the long one."""
    return [*cases, *(besides if LONG else ())]


@attrs.frozen(kw_only=True)
class PooledWorld(World):
    """The world as a tower's endpoints show it."""

    def open(
        self,
        account: LocalAccount | Sequence[LocalAccount],
        store: RecordStore | None = None,
        finality: Finality | None = None,
        fees: FeePolicy | None = None,
        provider: Provider | None = None,
    ) -> AbstractAsyncContextManager[EthereumChain]:
        assert store is not None
        return open_chain(
            provider or self.provider,
            adjudicator=self.deployment.adjudicator,
            account=account,
            store=store,
            finality=finality,
            poll_interval=POLL,
            fees=fees,
        )


@attrs.frozen(kw_only=True)
class Node:
    """An Anvil node with the contracts, as every test finds it."""

    url: str
    world: World


def deploy_on(url: str) -> Node:
    """Put the contracts on a node, give both parties collateral, and let all of it be final."""

    async def build() -> World:
        async with anvil_world(url) as world:
            await world.control.mine(DEEPEST)
            return world

    return Node(url=url, world=trio.run(build))


@attrs.frozen(kw_only=True)
class Post:
    """A tower at work, and its endpoints."""

    stand: Stand
    proxies: tuple[FaultProxy, ...]
    account: LocalAccount
    pool: EndpointPool

    @property
    def leader(self) -> FaultProxy:
        """The endpoint that is asked first."""
        return next(each for each in self.proxies if str(each.port) in self.pool.leader)

    @property
    def codes(self) -> set[str]:
        """What it has told somebody of."""
        return {each.code.name for each in self.stand.alerts}

    def hurry(self) -> None:
        """From now on ask the next endpoint where one has not answered within `ANSWER`.

        Before, a slow machine would only make an endpoint fail that does not.
        """
        self.pool._patience = ANSWER

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """No request of it reaches the node while the block lasts, and none is under way."""
        async with AsyncExitStack() as stack:
            for proxy in self.proxies:
                await stack.enter_async_context(proxy.held())
            yield


@attrs.define(kw_only=True)
class Ground:
    """What a test stands on.

    ``receipted``: the highest permanent nonce a receipt was given for. ``settled``: channels that
    were judged and left.
    """

    world: World
    url: str
    rng: Random
    channels: dict[bytes, Channel] = attrs.Factory(dict)
    receipted: dict[bytes, int] = attrs.Factory(dict)
    settled: int = 0

    # -- the chain

    @property
    def control(self) -> AnvilControl:
        """The node's own hands."""
        assert isinstance(self.world.control, AnvilControl)
        return self.world.control

    async def rpc(self, method: str, *params: Any) -> Any:
        """Ask the node itself."""
        return await self.world.rpc.request(method, *params)

    async def mine(self, blocks: int = 1) -> None:
        """Mine."""
        await self.control.mine(blocks)

    @asynccontextmanager
    async def by_hand(self) -> AsyncIterator[None]:
        """No block but those asked for, while the block lasts."""
        await self.control.set_auto_mine(False)
        yield
        await self.control.set_auto_mine(True)

    async def account(self) -> LocalAccount:
        """A funded account of its own."""
        account = LocalAccount(new_key())
        await self.rpc("anvil_setBalance", "0x" + account.address.hex(), hex(100 * ETHER))
        return account

    def _intent(self, call: Call) -> Intent:
        encoded = encode_call(call)
        return Intent(name=encoded.name, to=self.world.domain.adjudicator, data=encoded.data)

    async def send(self, call: Call, account: LocalAccount | None = None) -> Receipt:
        """Have a call mined at once; the counterparty's unless another account is given."""
        return await send_now(self.world.rpc, account or self.world.b, self._intent(call))

    async def post(self, call: Call, account: LocalAccount | None = None) -> bytes:
        """Put a call into the mempool; its signed bytes."""
        raw = await sign_now(self.world.rpc, account or self.world.b, self._intent(call))
        await self.world.rpc.send(raw)
        return raw

    async def height(self) -> int:
        """Number of the newest block."""
        return int(await self.rpc("eth_blockNumber"), 16)

    async def raw_transactions(self, first: int, last: int) -> list[str]:
        """Signed bytes of all transactions in these blocks, in order."""
        blocks = [
            await self.rpc("eth_getBlockByNumber", hex(number), False)
            for number in range(first, last + 1)
        ]
        hashes = [each for block in blocks for each in block["transactions"]]
        return [await self.rpc("eth_getRawTransactionByHash", each) for each in hashes]

    async def next_contract(self, account: LocalAccount) -> bytes:
        """Address of the contract that the account's next transaction would create."""
        nonce = await self.world.rpc.nonce(account.address)
        return keccak(rlp.encode([bytes(account.address), nonce]))[12:]

    async def pay_self(self, account: LocalAccount, *, nonce: int) -> None:
        """Put a transaction of an account to itself into the mempool, at a high price."""
        raw = await account.sign_transaction(
            UnsignedTransaction(
                chain_id=self.world.domain.chain_id,
                nonce=nonce,
                to=account.address,
                data=b"",
                value=0,
                gas=21_000,
                max_fee=100 * GWEI,
                priority_fee=50 * GWEI,
            )
        )
        await self.world.rpc.send(raw)

    async def base_fee(self, wei: int) -> None:
        """Base fee of the next block."""
        await self.rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))

    # -- channels

    async def channel(self, **changes: Any) -> Channel:
        """An open channel."""
        terms = self.world.terms(**{"dispute_window": WINDOW, **changes})
        await self.send(await self.world.opening(terms, DEPOSIT))
        channel = Channel(self.world, terms, await self.control.time())
        self.channels[channel.id] = channel
        return channel

    @staticmethod
    def stale(channel: Channel, nonce: int) -> Dispute:
        """What the counterparty files."""
        return Dispute(terms=channel.terms, newest=channel.state(nonce))

    async def file(self, channel: Channel, nonce: int = 3) -> None:
        """The counterparty files an old state, and it is mined."""
        await self.send(self.stale(channel, nonce))

    async def push(self, channel: Channel, nonce: int) -> None:
        """The counterparty has another old state recorded."""
        call = Checkpoint(terms=channel.terms, newest=channel.state(nonce))
        await self.send(call)

    async def view(self, channel: Channel) -> ChannelView:
        """A channel's storage, from the node itself."""
        reader = AdjudicatorReader(self.world.rpc, self.world.domain.adjudicator)
        return await reader.view(channel.id)

    async def hand_over(
        self, post: Post, channel: Channel, nonce: int = 40, **more: Any
    ) -> SignedReceipt:
        """Have a tower take a state, and keep its receipt."""
        await post.stand.caught_up()
        state = channel.state(nonce, valid_until=more.pop("valid_until", 0))
        offer = channel.offer(state, **{"budget": BUDGET, "sequence": nonce, **more})
        signed = await post.stand.tower.accept(offer.appointment, offer.signature, offer.content)
        digest = self.world.domain.digest(signed.receipt)
        assert recover(signed.signature, digest) == post.stand.tower.address
        if not state.state.valid_until:
            self.promise(channel, signed.receipt.nonce)
        return signed

    def promise(self, channel: Channel, nonce: int) -> None:
        """A receipt for this nonce is in the customer's hands."""
        self.receipted[channel.id] = max(nonce, self.receipted.get(channel.id, 0))

    # -- waiting

    async def until(
        self,
        done: Callable[[], Awaitable[bool]],
        *,
        mining: bool = False,
        by: int = 0,
        pause: float = 2 * POLL,
        patience: float = PATIENCE,
    ) -> None:
        """Look until it is so; ``mining`` a block between two looks, ``by`` seconds later each.

        Another process's chain has no event to wait for.
        """
        with trio.fail_after(patience):
            while not await done():
                if mining and by:
                    await self.control.advance_time(by=by)
                elif mining:
                    await self.mine()
                await trio.sleep(pause)

    async def until_recorded(self, channel: Channel, nonce: int = 40, **more: Any) -> None:
        """Wait until the node itself shows this nonce."""

        async def recorded() -> bool:
            return (await self.view(channel)).nonce >= nonce

        await self.until(recorded, **more)

    # -- towers

    @asynccontextmanager
    async def tower(
        self,
        folder: Path,
        *,
        endpoints: int = 2,
        finality: int = 2,
        account: LocalAccount | None = None,
        policy: TowerPolicy = POLICY,
        urls: Sequence[str] | None = None,
        before: Callable[[tuple[FaultProxy, ...]], Awaitable[None]] | None = None,
        **more: Any,
    ) -> AsyncIterator[Post]:
        """Run a tower on the files in ``folder``, behind so many proxies."""
        account = account or await self.account()
        await trio.Path(folder).mkdir(exist_ok=True)
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            proxies = [
                await enter(open_proxy(url, self.rng))
                for url in (urls if urls is not None else [self.url] * endpoints)
            ]
            providers = [await enter(open_provider(each.url)) for each in proxies]
            pool = await enter(
                open_endpoints(
                    providers,
                    finality=Finality.depth(finality),
                    interval=0.1,
                    patience=PATIENCE,
                    turn=TURN,
                )
            )
            values = {each.name: getattr(self.world, each.name) for each in attrs.fields(World)}
            shown = PooledWorld(**{**values, "provider": pool})
            if before is not None:
                await before(tuple(proxies))
            stand = await enter(
                tower_of(
                    shown,
                    folder,
                    signer=more.pop("signer", KEY),
                    account=account,
                    policy=policy,
                    finality=finality,
                    **more,
                )
            )
            stand.world = self.world
            yield Post(stand=stand, proxies=tuple(proxies), account=account, pool=pool)

    async def sent_by(self, account: LocalAccount) -> int:
        """Transactions that an account has had mined."""
        return await self.world.rpc.nonce(account.address)

    # -- the end

    def forget(self) -> None:
        """Leave these channels, already judged, out of what follows."""
        self.settled += len(self.channels)
        self.channels.clear()
        self.receipted.clear()

    async def judge(self) -> None:
        """Let every window end, and read from the contract what became of the receipts."""
        views = {each.id: await self.view(each) for each in self.channels.values()}
        last = max(each.deadline for each in views.values())
        if last > await self.control.time():
            await self.control.advance_time(to=last)
        pots = self.settled * 2 * DEPOSIT
        for channel in self.channels.values():
            view = await self.view(channel)
            pots += view.pot
            assert view.pot == 2 * DEPOSIT
            if channel.id in self.receipted:
                assert view.phase in (OnChainPhase.OPEN, OnChainPhase.RUN_OFF)
                filed = view.phase is OnChainPhase.RUN_OFF
                assert not filed or view.nonce >= self.receipted[channel.id]
        assert await self.world.token.balance(self.world.domain.adjudicator) == pots


@asynccontextmanager
async def open_ground(node: Node, seed: int = 1) -> AsyncIterator[Ground]:
    """The node for one test; it forgets all of it afterwards."""
    async with open_provider(node.url) as provider:
        rpc = Rpc(provider)
        snapshot = await rpc.request("evm_snapshot")
        await rpc.request("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
        await rpc.request("evm_mine")
        world = attrs.evolve(node.world, provider=provider, control=AnvilControl(provider))
        try:
            yield Ground(world=world, url=node.url, rng=Random(seed))
        finally:
            with trio.CancelScope(shield=True):
                await rpc.request("evm_setAutomine", True)
                await rpc.request("anvil_dropAllTransactions")
                assert await rpc.request("evm_revert", snapshot)
