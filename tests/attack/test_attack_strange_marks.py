"""Named attack: a good price on marks that are nobody's.

Margin is reckoned from the marks of the state. A maker whose quote marks the spot where its own
position is worth most would need less margin than the market says, and its taker more.
"""

from __future__ import annotations

import attrs
import pytest
from trio.testing import MockClock

from channels import FlatMarket, Leg, MakerQuote, Put, QuoteRequest, RiskPolicy, Side
from channels.errors import RejectedError
from channels.protocol.changes import Marks
from channels.protocol.channel import Phase
from channels.testing import UNIT, FakeChain, PeerOptions, linked_peers
from channels.units import WAD


@attrs.define
class BentMaker:
    """Sells puts at $40 each, on a spot of its own making."""

    market: FlatMarket
    spot: int

    def marks(self, request: QuoteRequest) -> Marks:
        held = {each.series for each in request.portfolio.positions}
        honest = self.market.marks({*held, *(leg.series for leg in request.legs)})
        return attrs.evolve(honest, spots=dict.fromkeys(honest.spots, self.spot))

    async def __call__(self, request: QuoteRequest) -> MakerQuote | None:
        prices = (40 * WAD,) * len(request.legs)
        return MakerQuote(prices=prices, marks=self.marks(request), least=WAD // 2)


def bent(spot: int) -> tuple[FakeChain, PeerOptions, BentMaker]:
    chain = FakeChain()
    market = FlatMarket({"ETH-USD": 3_000}, clock=chain.clock)
    maker = BentMaker(market, spot * WAD)
    return chain, {"market": market, "maker": maker}, maker


@pytest.mark.parametrize("part", [1, "0.5"], ids=["whole", "part"])
async def test_attack_a_quote_on_strange_marks_is_declined(
    autojump_clock: MockClock, part: int | str
) -> None:
    chain, bob, maker = bent(spot=3_100)
    async with linked_peers(chain=chain, bob=bob) as pair:
        channel = await pair.open(deposit=10_000 * UNIT)
        before = channel.portfolio
        put = Put(pair.feed, strike=3_000, expiry=pair.next_expiry())
        quotes = await channel.request_quote([Leg(put, quantity=2)], Side.BUY)
        with pytest.raises(RejectedError, match=f"spot {3_100 * WAD}, ours {3_000 * WAD}"):
            await quotes.best().accept(part)
        assert channel.portfolio == before
        signed = [each for each in channel.state.ledger.entries if each.mine and each.change]
        assert not signed, "nothing of the trade bears our signature"

        maker.spot = 3_000 * WAD
        await channel.wait_idle()
        quotes = await channel.request_quote([Leg(put, quantity=2)], Side.BUY)
        await quotes.best().accept(part)
        assert channel.phase is Phase.IDLE
        assert [each.quantity for each in channel.portfolio.positions] == [
            2 * WAD if part == 1 else WAD
        ]


async def test_a_tolerance_is_the_takers_own(autojump_clock: MockClock) -> None:
    chain, bob, _ = bent(spot=3_100)
    wide = RiskPolicy(spot_tolerance=WAD * 4 // 100)
    async with linked_peers(chain=chain, bob=bob, alice={"policy": wide}) as pair:
        channel = await pair.open(deposit=10_000 * UNIT)
        put = Put(pair.feed, strike=3_000, expiry=pair.next_expiry())
        quotes = await channel.request_quote([Leg(put, quantity=2)], Side.BUY)
        await quotes.best().accept()
        assert [each.price for each in channel.portfolio.spots] == [3_100 * WAD]
