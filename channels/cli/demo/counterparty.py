"""Bob: a market maker that quotes honestly, until he is told to cheat.

He runs in the demo's process or in one of his own; either way he is reached by commands and answers
with values. His peer talks to Alice's over a TCP socket and nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from channels.chain.accounts import LocalAccount
from channels.chain.client import EthereumChain, open_chain
from channels.chain.heads import Finality
from channels.chain.provider import open_provider
from channels.chain.rpc import Provider
from channels.cli.demo.market import Market, MarketView, settlement_average
from channels.cli.demo.stage import development_accounts, load_market
from channels.errors import ChannelsError
from channels.peer import MakerQuote, Peer, PeerChannel, QuoteRequest, open_peer
from channels.pricing import forward_price, price
from channels.protocol.calls import CoSigned, Dispute
from channels.protocol.eip712 import address
from channels.protocol.messages import OpenRequest
from channels.protocol.signing import LocalSigner
from channels.protocol.types import feed_id
from channels.storage import open_store
from channels.units import to_wad

__all__ = ["Bob", "SpreadMaker", "run_as_process"]

VOL_SPREAD: Final = to_wad("0.015")
"""What Bob adds to his vol when he sells, and takes off when he buys."""


class SpreadMaker:
    """Quotes every leg at Black-76 on his own marks, a vol point and a half to his side."""

    def __init__(self, view: MarketView) -> None:
        self._view = view

    async def __call__(self, request: QuoteRequest) -> MakerQuote | None:
        """Price the legs; refuse nothing the margin allows."""
        held = {each.series for each in request.portfolio.positions}
        asked = [(leg.feed, leg.expiry, int(leg.kind), leg.strike) for leg in request.legs]
        marks = self._view.marks({*held, *asked})
        prices = []
        for leg, series in zip(request.legs, asked, strict=True):
            mark = marks.series[series]
            tau = leg.expiry - marks.marked_at
            edge = VOL_SPREAD if leg.quantity > 0 else -VOL_SPREAD
            forward = forward_price(marks.spots[leg.feed], mark.carry, tau)
            prices.append(price(leg.kind, forward, leg.strike, mark.vol + edge, tau))
        return MakerQuote(prices=tuple(prices), marks=marks, good_for=15)


@attrs.frozen(kw_only=True)
class Bob:
    """What Bob needs to come on stage."""

    provider: Provider
    adjudicator: bytes
    wallet: LocalAccount
    signer: LocalSigner
    market: Market
    store: Path

    async def run(
        self,
        commands: AsyncIterator[str],
        answer: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Listen, quote, and do as told until the commands end."""
        async with (
            open_store(self.store) as store,
            open_chain(
                self.provider,
                adjudicator=address(self.adjudicator),
                account=self.wallet,
                store=store.records("transactions"),
                finality=Finality.depth(0),
                poll_interval=0.05,
            ) as chain,
        ):

            def clock() -> float:
                return chain.head.timestamp

            async def settlement(feed: bytes, expiry: int) -> int | None:
                if feed != feed_id(self.market.feed) or clock() < expiry:
                    return None
                return settlement_average(self.market, expiry)

            async def accept_opening(request: OpenRequest) -> bool:
                return request.opening.deposit_a == request.opening.deposit_b

            view = MarketView(self.market, clock)
            async with open_peer(
                signer=self.signer,
                wallet=self.wallet,
                chain=chain,
                store=store,
                listen="127.0.0.1:0",
                market=view,
                maker=SpreadMaker(view),
                accept_opening=accept_opening,
                settlement_price=settlement,
                clock=clock,
                credit=None,  # the story re-marks by hand: its nonces are the same each time
                settlement=None,
            ) as peer:
                await answer({"listening": peer.listening})
                await _obey(peer, chain, commands, answer)


async def _obey(
    peer: Peer,
    chain: EthereumChain,
    commands: AsyncIterator[str],
    answer: Callable[[Mapping[str, Any]], Awaitable[None]],
) -> None:
    kept: CoSigned | None = None
    async for command in commands:
        channel: PeerChannel = peer.channels[0]
        match command.split():
            case ["wait", timestamp]:
                await channel.wait_for_head(int(timestamp))
                await answer({})
            case ["remember"]:
                await channel.wait_idle()
                kept = channel.state.newest_evidence()
                await answer({"nonce": kept.state.nonce if kept else 0})
            case ["cheat"]:
                call = Dispute(terms=channel.terms, newest=kept)
                await chain.submit(call, key=b"cheat")
                mined = await chain.wait_mined(b"cheat")
                await answer({"gas": mined.gas_used, "block": mined.block_number})
            case ["standing"]:
                state = channel.state
                await answer(
                    {
                        "nonce": state.ledger.nonce,
                        "portfolio": state.portfolio.struct_hash.hex(),
                        "phase": state.phase.name,
                    }
                )
            case _:
                raise ValueError(f"no command {command!r}")


def run_as_process(config: Path) -> None:
    """Run Bob alone: commands are lines on standard input, answers JSON on standard output."""
    trio.run(_run_as_process, json.loads(config.read_text()))


async def _run_as_process(config: Mapping[str, Any]) -> None:
    async with open_provider(config["rpc"]) as provider:
        market_path = Path(config["market"]) if config["market"] else None
        bob = Bob(
            provider=provider,
            adjudicator=bytes.fromhex(config["adjudicator"]),
            wallet=development_accounts(3)[2],
            signer=LocalSigner(bytes.fromhex(config["signer"])),
            market=load_market(market_path, config["market_start"]),
            store=Path(config["store"]),
        )

        async def answer(values: Mapping[str, Any]) -> None:
            sys.stdout.write(json.dumps(values) + "\n")
            sys.stdout.flush()

        async def commands() -> AsyncIterator[str]:
            async for line in trio.wrap_file(sys.stdin):
                yield line.strip()

        try:
            await bob.run(commands(), answer)
        except* ChannelsError as errors:
            sys.exit("; ".join(str(each) for each in errors.exceptions))
