"""A trading floor: a chain in this process with the contracts on it, and traders around it.

Every trader has a wallet, a signer, a chain connection and a store of its own, and talks to the
others over sockets. Time stands still but for a slot a block, unless it is moved on purpose.
Nothing here is for real money: all keys are public.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from channels.bots.surface_market import TimedMarket
from channels.chain.accounts import LocalAccount
from channels.chain.attestations import Attester, OracleDomain, SettlementPrice, submission
from channels.chain.client import EthereumChain, open_chain
from channels.chain.contracts import OracleReader, PriceStatus, Token
from channels.chain.deploy import Deployment, deploy, send_now
from channels.chain.embedded import EmbeddedChain
from channels.chain.heads import Finality
from channels.chain.rpc import Rpc
from channels.dispute import Monitor, open_monitor
from channels.errors import BugError, InvalidValueError, PeerTimeoutError
from channels.peer import CreditPolicy, MarkSource, Peer, PeerChannel, default_terms, open_peer
from channels.protocol.channel import OPEN_PHASES, Phase
from channels.protocol.eip712 import Address
from channels.protocol.messages import OpenRequest
from channels.protocol.signing import LocalSigner
from channels.protocol.terms import RiskParams, Terms
from channels.protocol.types import feed_id
from channels.storage import Store, open_store
from channels.units import DAY

__all__ = ["PATIENT", "UNIT", "Floor", "Task", "Trader", "open_floor"]

UNIT: Final = 10**6
"""Base units of the floor's test dollar per 1.0 of price: it has six decimals."""

Task = Callable[..., Awaitable[None]]
"""Runs with a peer, its only argument, until cancelled; says when it has started, as Trio does."""

_SLOT: Final = 12

PATIENT: Final = CreditPolicy(remark_interval=_SLOT, remark_patience=400 * DAY)
"""Marks of every block, and always proposed by A: nobody is late on a floor."""

_ATTESTER: Final = b"\x01" * 32
_FIRST_SIGNER: Final = 0x0A
_TICK: Final = 0.1
_LOOK: Final = 0.5
_CHALLENGE_DELAY: Final = 1_800
_GENESIS: Final = 1_767_225_600


@attrs.frozen(kw_only=True)
class Trader:
    """Somebody on the floor, at work. ``monitor`` is None unless one was asked for."""

    name: str
    signer: LocalSigner
    wallet: LocalAccount
    chain: EthereumChain
    store: Store
    peer: Peer
    monitor: Monitor | None

    @property
    def address(self) -> str:
        """Where it listens."""
        if self.peer.listening is None:
            raise BugError(f"{self.name} does not listen")
        return self.peer.listening


class Floor:
    """The chain, its contracts, and who is there. Made by `open_floor`."""

    def __init__(
        self,
        *,
        provider: EmbeddedChain,
        deployment: Deployment,
        feed: str,
        start: int,
        stack: AsyncExitStack,
        patience: float,
    ) -> None:
        self.provider = provider
        self.deployment = deployment
        self.feed = feed
        self.risk = (RiskParams(feed=feed_id(feed)),)
        self.traders: list[Trader] = []
        self.oracle = OracleReader(Rpc(provider), deployment.oracle)
        self._start = start
        self._stack = stack
        self._patience = patience
        self._opened = 0
        domain = OracleDomain(chain_id=deployment.chain_id, oracle=deployment.oracle)
        self._attester = Attester(_ATTESTER, domain)

    def clock(self) -> float:
        """Time of the newest block that any trader has seen, Unix seconds."""
        return max((each.chain.head.timestamp for each in self.traders), default=self._start)

    async def join(
        self,
        name: str,
        *,
        market: MarkSource,
        funds: int,
        store: str | Path = ":memory:",
        listen: str | None = "127.0.0.1:0",
        monitored: bool = False,
        tasks: Sequence[Task] = (),
        **options: Any,
    ) -> Trader:
        """Bring a trader on, who stays until the floor closes. Not from within a nursery of yours.

        Args:
            name: what it is called.
            market: its marks, which are dated by its own clock.
            funds: base units minted to its wallet, which the Adjudicator may pull.
            store: where its database is.
            listen: address to accept others on.
            monitored: whether a dispute monitor defends its channels.
            tasks: to start with the peer, that follow its events; they end with it.
            options: what else `channels.open_peer` gets; ``credit`` is `PATIENT` unless given.
        """
        place = len(self.traders)
        wallet = self.provider.accounts[place + 1]
        signer = LocalSigner(bytes([_FIRST_SIGNER + place]) * 32)
        rpc, token = Rpc(self.provider), Token(Rpc(self.provider), self.deployment.token)
        await send_now(rpc, self.provider.accounts[0], token.mint(wallet.address, funds))
        await send_now(rpc, wallet, token.approve(self.deployment.adjudicator, funds))
        kept = await self._stack.enter_async_context(open_store(store))
        chain = await self._stack.enter_async_context(
            open_chain(
                self.provider,
                adjudicator=self.deployment.adjudicator,
                account=wallet,
                store=kept.records("transactions"),
                finality=Finality.depth(0),
                poll_interval=0.05,
            )
        )
        monitor = None
        if monitored:
            monitor = await self._stack.enter_async_context(
                open_monitor(chain, records=kept.records("monitor"))
            )

        def clock() -> float:
            return chain.head.timestamp

        peer = await self._stack.enter_async_context(
            open_peer(
                wallet=wallet,
                chain=chain,
                store=kept,
                listen=listen,
                market=TimedMarket(market, clock),
                clock=clock,
                monitor=monitor,
                **{
                    "signer": signer,
                    "accept_opening": self._agreeable,
                    "credit": PATIENT,
                    **options,
                },
            )
        )
        if tasks:
            nursery = await self._stack.enter_async_context(trio.open_nursery())
            self._stack.callback(nursery.cancel_scope.cancel)
            for task in tasks:
                await nursery.start(task, peer)
        trader = Trader(
            name=name,
            signer=signer,
            wallet=wallet,
            chain=chain,
            store=kept,
            peer=peer,
            monitor=monitor,
        )
        self.traders.append(trader)
        return trader

    async def _agreeable(self, request: OpenRequest) -> bool:
        """Whether an opening is on the floor's own terms, with the same stake from both."""
        opening = request.opening
        named, deposit = opening.terms, opening.deposit_a
        a, b = (named.party_a, named.signer_a), (named.party_b, named.signer_b)
        return named == self._terms(a, b, deposit, named.salt) and opening.deposit_b == deposit

    def _terms(
        self, a: tuple[Address, Address], b: tuple[Address, Address], deposit: int, salt: bytes
    ) -> Terms:
        return default_terms(
            party_a=a[0],
            party_b=b[0],
            signer_a=a[1],
            signer_b=b[1],
            collateral=self.deployment.token,
            unit=UNIT,
            oracle=self.deployment.oracle,
            risk=self.risk,
            stale_penalty=deposit // 20,
            salt=salt,
        )

    def terms(self, a: Trader, b: Trader, deposit: int) -> Terms:
        """Terms of one more channel between two traders, of whom each brings ``deposit``."""
        self._opened += 1
        parties = [(each.wallet.address, each.peer.address) for each in (a, b)]
        return self._terms(parties[0], parties[1], deposit, self._opened.to_bytes(32, "big"))

    async def open(self, a: Trader, b: Trader, *, deposit: int) -> PeerChannel:
        """Open a channel between two traders; the first's side of it."""
        return await a.peer.open(
            peer=b.address,
            terms=self.terms(a, b, deposit),
            risk=self.risk,
            deposit=deposit,
        )

    async def move_to(
        self,
        time: int,
        *,
        market: Callable[[], object] | None = None,
        remark: bool = True,
    ) -> None:
        """Move the chain's clock, wait until every trader has seen it, and have new marks signed.

        Waits first until nothing is in flight: a change that is half signed when its box passes
        goes to the chain. A leap ends in ordinary slots: who sees a block first would else be
        further ahead of the others than they take for honest.

        Args:
            time: of the new head, Unix seconds. Transactions mined on the way may make it later.
            market: moves the market. It is called a slot before ``time``, when marks of that moment
                are signed: nobody has anything to do about the new market before the last block.
            remark: whether to wait for new marks; else the traders' own schedules are left to it.

        Raises:
            InvalidValueError: not later than the newest block.
        """
        now, slot = await self.provider.time(), self.provider.slot
        if time <= now:
            raise InvalidValueError(f"time only moves forward: {time} is not after {now}")
        if market is None:
            await self._step(time - slot)
        else:
            await self._step(time - 2 * slot)
            if await self._step(time - slot):
                await self.remark()
            await self._quiet()
            market()
        if not await self._step(time):
            await self.provider.mine()
            await self.everyone_saw(time)
        if remark:
            await self.remark()

    async def _step(self, time: int) -> bool:
        """Move the clock there, unless it has got there; whether it had not."""
        await self._quiet()
        now = await self.provider.time()
        if time <= now:
            return False
        await self.provider.advance_time(to=time)
        await self.everyone_saw(time)
        return True

    async def _quiet(self) -> None:
        """Wait until nothing is in flight or about to be; it still is not when this returns."""
        while self._busy() or self._looking():
            async with self.ticking():
                while busy := self._busy():
                    with suppress(PeerTimeoutError):  # it may end instead, and never be idle
                        await busy[0].wait_idle(_LOOK)
                for peer in self._looking():
                    await peer.looked()

    def _busy(self) -> list[PeerChannel]:
        return [each for each in self._open_channels() if each.phase is not Phase.IDLE]

    def _looking(self) -> list[Peer]:
        return [each.peer for each in self.traders if each.peer.looking]

    async def remark(self) -> None:
        """Wait until the traders' own schedules have brought marks of now to all that is open."""
        now = await self.provider.time()
        async with self.ticking():
            for trader in self.traders:
                trader.peer.look()
                async with trader.peer.events() as events:
                    for channel in trader.peer.channels:
                        while _is_stale(channel, now):
                            await events.receive()

    @asynccontextmanager
    async def ticking(self) -> AsyncIterator[None]:
        """Let blocks be made while the block lasts, once it has lasted longer than our patience.

        Where two proposals crossed, and one is turned down, the other may wait for its box to pass.
        """

        async def tick() -> None:
            await trio.sleep(self._patience)
            while True:
                await self.provider.mine()
                await trio.sleep(_TICK)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            yield
            nursery.cancel_scope.cancel()

    async def everyone_saw(self, time: int) -> None:
        """Wait until every channel that is open has taken in a block of at least this time."""
        for channel in self._open_channels():
            await channel.wait_for_head(time)

    def _open_channels(self) -> list[PeerChannel]:
        held = (channel for trader in self.traders for channel in trader.peer.channels)
        return [channel for channel in held if channel.phase in OPEN_PHASES]

    async def attest(self, expiry: int, price: int) -> None:
        """Put a settlement price, WAD, on the oracle, and wait out the time to challenge it."""
        signed = [
            self._attester.attest(
                SettlementPrice(feed=feed_id(self.feed), time=expiry, price=price)
            )
        ]
        intent = submission(self.deployment.oracle, signed)
        await send_now(Rpc(self.provider), self.provider.accounts[0], intent)
        await self.move_to(await self.provider.time() + _CHALLENGE_DELAY)

    async def attested(self, feed: bytes, expiry: int) -> int | None:
        """The settlement price that stands on the oracle; a source for `channels.open_peer`."""
        found = await self.oracle.settlement_price(feed, expiry)
        return found.price if found.status is PriceStatus.KNOWN else None

    async def balance(self, trader: Trader) -> int:
        """Base units in a trader's wallet."""
        return await Token(Rpc(self.provider), self.deployment.token).balance(trader.wallet.address)

    async def left_in_contract(self) -> int:
        """Base units that the Adjudicator holds."""
        token = Token(Rpc(self.provider), self.deployment.token)
        return await token.balance(self.deployment.adjudicator)


def _is_stale(channel: PeerChannel, now: int) -> bool:
    """Whether something is open that has not expired, on marks older than this time."""
    held = channel.portfolio
    live = any(each.expiry > now for each in held.positions)
    return channel.phase in OPEN_PHASES and live and held.marked_at < now


@asynccontextmanager
async def open_floor(
    feed: str, *, start: int = _GENESIS, traders: int = 8, patience: float = 5.0
) -> AsyncIterator[Floor]:
    """Deploy the contracts on a chain of this process, and let traders join while the block lasts.

    Args:
        feed: name of the one feed that is traded here.
        start: Unix time at which the chain begins.
        traders: most that can join.
        patience: seconds that something may take before the chain's time goes on by itself.
    """
    provider = EmbeddedChain(genesis_time=start, accounts=traders + 1, slot=_SLOT)
    attesters = [LocalAccount(_ATTESTER).address]
    deployment = await deploy(
        provider,
        provider.accounts[0],
        attesters=attesters,
        challenge_delay=_CHALLENGE_DELAY,
    )
    async with AsyncExitStack() as stack:
        yield Floor(
            provider=provider,
            deployment=deployment,
            feed=feed,
            start=await provider.time(),
            stack=stack,
            patience=patience,
        )
