"""A chain in this process, and two peers on it that talk over TCP: what the examples begin with.

Alice and Bob each have a wallet with test dollars, a signer, a chain of their own to read, a store
in memory, and a view of the market. Bob quotes. Time stands still unless it is moved on purpose.
Nothing here is for real money: the keys are public.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import attrs

from channels import RiskParams, Terms
from channels.bots import Floor, Trader, open_floor
from channels.chain import EthereumChain
from channels.peer import FlatMarket, Peer, SpreadMaker
from channels.storage import Store
from channels.units import DAY, HOUR

__all__ = ["FEED", "USD", "Local", "dollars", "next_expiry", "open_local"]

USD: Final = 10**6
"""Base units of the test dollar per 1.0 of price: it has six decimals."""

FEED: Final = "ETH-USD"

_WALLET: Final = 50_000 * USD
_STAKE: Final = 10_000 * USD


@attrs.frozen(kw_only=True)
class Local:
    """Two peers, ready to open a channel on ``terms``, with a stake of 10,000 dollars each.

    ``risk`` are the margin parameters that the terms commit to.
    """

    floor: Floor
    market: FlatMarket
    terms: Terms
    traders: tuple[Trader, Trader]

    @property
    def risk(self) -> tuple[RiskParams, ...]:
        """The margin parameters that the terms commit to."""
        return self.floor.risk

    @property
    def alice(self) -> Peer:
        """The one who asks for prices."""
        return self.traders[0].peer

    @property
    def bob(self) -> Peer:
        """The one who names them."""
        return self.traders[1].peer

    @property
    def alice_chain(self) -> EthereumChain:
        """What a dispute monitor of Alice's reads."""
        return self.traders[0].chain

    @property
    def alice_store(self) -> Store:
        """Where a dispute monitor of Alice's keeps its records."""
        return self.traders[0].store

    @property
    def bob_address(self) -> str:
        """Where Bob listens."""
        return self.traders[1].address

    @property
    def next_expiry(self) -> int:
        """The next eight o'clock UTC that is at least a day away."""
        return next_expiry(self.floor)

    async def move_to(self, time: int, *, spot: int) -> None:
        """Move the chain's clock and the spot; return when both peers have seen the block."""
        await self.floor.move_to(time, market=partial(self.market.set_spot, FEED, spot))

    async def balances(self) -> tuple[int, int]:
        """Test dollars in Alice's and in Bob's wallet, base units."""
        alice, bob = [await self.floor.balance(each) for each in self.traders]
        return alice, bob


def next_expiry(floor: Floor, days: int = 1) -> int:
    """The next eight o'clock UTC that is at least so many days away."""
    return (int(floor.clock()) + (days + 1) * DAY - 8 * HOUR) // DAY * DAY + 8 * HOUR


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
    async with open_floor(FEED) as floor:
        market = FlatMarket({FEED: spot}, vol=vol, clock=floor.clock)
        alice = await floor.join("Alice", market=market, funds=_WALLET)
        bob = await floor.join(
            "Bob",
            market=market,
            funds=_WALLET,
            maker=SpreadMaker(market),
            settlement_price=market.settlement_price,
        )
        yield Local(
            floor=floor,
            market=market,
            terms=floor.terms(alice, bob, _STAKE),
            traders=(alice, bob),
        )
