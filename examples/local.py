"""A chain in this process, and two peers on it that talk over TCP: what the examples begin with.

Alice and Bob each have a wallet with test dollars, a signer, a chain of their own to read, a store
in memory, and a view of the market. Bob quotes. Time stands still unless it is moved on purpose.
Nothing here is for real money: the keys are public.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import attrs

from channels import (
    LocalSigner,
    MakerQuote,
    QuoteRequest,
    RiskParams,
    Terms,
    default_terms,
    open_peer,
)
from channels.chain import EmbeddedChain, EthereumChain, Finality, LocalAccount, open_chain
from channels.chain.contracts import Token
from channels.chain.deploy import Deployment, deploy, send_now
from channels.chain.rpc import Rpc
from channels.peer import Peer
from channels.pricing import forward_price, price
from channels.protocol.changes import Marks, SeriesMark
from channels.protocol.messages import OpenRequest
from channels.protocol.types import Series, feed_id
from channels.storage import Store, open_store
from channels.units import DAY, HOUR, to_wad

__all__ = ["FEED", "USD", "FlatMarket", "Local", "SpreadMaker", "dollars", "open_local"]

USD: Final = 10**6
"""Base units of the test dollar per 1.0 of price: it has six decimals."""

FEED: Final = "ETH-USD"

_WALLET: Final = 50_000 * USD
_ALICE: Final = LocalSigner(b"\x0a" * 32)
_BOB: Final = LocalSigner(b"\x0b" * 32)


class FlatMarket:
    """A spot that moves when it is told to, and one vol for every series."""

    def __init__(self, spot: int, vol: str) -> None:
        self.spot = int(to_wad(spot))
        self.vol = int(to_wad(vol))
        self.time = 0

    def marks(self, series: Iterable[Series]) -> Marks:
        """Marks of now, for each of these series."""
        return Marks(
            marked_at=self.time,
            spots={feed_id(FEED): self.spot},
            series={each: SeriesMark(vol=self.vol) for each in series},
        )

    async def settlement_price(self, feed: bytes, expiry: int) -> int | None:
        """The price to settle at: here the spot, once ``expiry`` has come."""
        return self.spot if feed == feed_id(FEED) and expiry <= self.time else None


class SpreadMaker:
    """Prices every leg by Black-76 on the market's vol, two vol points to its own side."""

    def __init__(self, market: FlatMarket) -> None:
        self._market = market

    async def __call__(self, request: QuoteRequest) -> MakerQuote | None:
        """Name a price for each leg; + quantity = the other side buys from us."""
        asked = {(leg.feed, leg.expiry, int(leg.kind), leg.strike) for leg in request.legs}
        held = {position.series for position in request.portfolio.positions}
        marks = self._market.marks(asked | held)
        edge = int(to_wad("0.02"))
        prices = []
        for leg in request.legs:
            tau = leg.expiry - marks.marked_at
            forward = forward_price(marks.spots[leg.feed], 0, tau)
            vol = self._market.vol + (edge if leg.quantity > 0 else -edge)
            prices.append(price(leg.kind, forward, leg.strike, vol, tau))
        return MakerQuote(prices=tuple(prices), marks=marks, good_for=10)


@attrs.frozen(kw_only=True)
class Local:
    """Two peers, ready to open a channel on ``terms``.

    ``risk`` are the margin parameters that the terms commit to; ``alice_chain`` and ``alice_store``
    are what a dispute monitor of Alice's needs.
    """

    provider: EmbeddedChain
    deployment: Deployment
    market: FlatMarket
    terms: Terms
    risk: tuple[RiskParams, ...]
    alice: Peer
    bob: Peer
    alice_chain: EthereumChain
    alice_store: Store

    @property
    def bob_address(self) -> str:
        """Where Bob listens."""
        if self.bob.listening is None:
            raise RuntimeError("Bob listens as long as this is open")
        return self.bob.listening

    @property
    def next_expiry(self) -> int:
        """The next eight o'clock UTC that is at least a day away."""
        return (self.market.time + 2 * DAY - 8 * HOUR) // DAY * DAY + 8 * HOUR

    async def move_to(self, time: int, *, spot: int) -> None:
        """Move the chain's clock and the spot; return when both peers have seen the block."""
        await self.provider.advance_time(to=time)
        self.market.time, self.market.spot = time, int(to_wad(spot))
        for peer in (self.alice, self.bob):
            for channel in peer.channels:
                await channel.wait_for_head(time)

    async def balances(self) -> tuple[int, int]:
        """Test dollars in Alice's and in Bob's wallet, base units."""
        token = Token(Rpc(self.provider), self.deployment.token)
        return (
            await token.balance(self.terms.party_a),
            await token.balance(self.terms.party_b),
        )


def dollars(units: int) -> str:
    """Base units as money, to the last digit."""
    whole, part = divmod(abs(units), USD)
    return f"{'-' if units < 0 else ''}${whole:,}.{part:06d}"


@asynccontextmanager
async def open_local(*, spot: int = 3_000, vol: str = "0.60") -> AsyncIterator[Local]:
    """Deploy the contracts on a chain of this process, fund two wallets, and run two peers.

    Args:
        spot: of ETH in dollars, at the start.
        vol: annual, for every series.
    """
    provider = EmbeddedChain()
    keeper, alice, bob = provider.accounts[:3]
    attester = LocalSigner(b"\x01" * 32)
    deployment = await deploy(provider, keeper, attesters=[attester.address])
    for wallet in (alice, bob):
        await _fund(provider, deployment, keeper, wallet)
    market = FlatMarket(spot, vol)
    market.time = await provider.time()
    risk = (RiskParams(feed=feed_id(FEED)),)
    terms = default_terms(
        party_a=alice.address,
        party_b=bob.address,
        signer_a=_ALICE.address,
        signer_b=_BOB.address,
        collateral=deployment.token,
        unit=USD,
        oracle=deployment.oracle,
        risk=risk,
        stale_penalty=500 * USD,
        salt=bytes(32),
    )

    async def accept_opening(request: OpenRequest) -> bool:
        # Everything that matters is in the terms: parties, token, oracle, windows.
        opening = request.opening
        return opening.terms == terms and opening.deposit_a == opening.deposit_b

    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(":memory:")) for _ in range(2)]
        chains = [
            await stack.enter_async_context(
                open_chain(
                    provider,
                    adjudicator=deployment.adjudicator,
                    account=wallet,
                    store=store.records("transactions"),
                    finality=Finality.depth(0),
                    poll_interval=0.05,
                )
            )
            for wallet, store in zip((alice, bob), stores, strict=True)
        ]
        maker = await stack.enter_async_context(
            open_peer(
                signer=_BOB,
                wallet=bob,
                chain=chains[1],
                store=stores[1],
                listen="127.0.0.1:0",
                market=market,
                maker=SpreadMaker(market),
                accept_opening=accept_opening,
                settlement_price=market.settlement_price,
                clock=lambda: chains[1].head.timestamp,
            )
        )
        taker = await stack.enter_async_context(
            open_peer(
                signer=_ALICE,
                wallet=alice,
                chain=chains[0],
                store=stores[0],
                market=market,
                clock=lambda: chains[0].head.timestamp,
            )
        )
        yield Local(
            provider=provider,
            deployment=deployment,
            market=market,
            terms=terms,
            risk=risk,
            alice=taker,
            bob=maker,
            alice_chain=chains[0],
            alice_store=stores[0],
        )


async def _fund(
    provider: EmbeddedChain, deployment: Deployment, keeper: LocalAccount, wallet: LocalAccount
) -> None:
    """Mint test dollars to a wallet, and let the Adjudicator pull them."""
    rpc = Rpc(provider)
    token = Token(rpc, deployment.token)
    await send_now(rpc, keeper, token.mint(wallet.address, _WALLET))
    await send_now(rpc, wallet, token.approve(deployment.adjudicator, _WALLET))
