"""One desk as a process: a peer, a monitor and a strategy on one store, until it is killed.

``python -m tests.soak.desk CONFIG`` imports everything once and forks the desk; when that dies of
SIGKILL, or finds no endpoint to start with, it forks it again on the same store. Commands are JSON
lines on standard input, answers JSON lines on standard output; what happens goes to a log of JSON
lines, which outlives the process.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
import sys
import time
import traceback
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
import trio

from channels.chain import Attester, Finality, LocalAccount, OracleDomain, open_chain, open_provider
from channels.cli.demo.market import Market, MarketView, settlement_average
from channels.dispute import Monitor, open_monitor
from channels.errors import ChannelsError, EndpointError
from channels.peer import CreditPolicy, Peer, open_peer
from channels.peer.flat_market import SpreadMaker
from channels.protocol.changes import Trade
from channels.protocol.channel import Timing
from channels.protocol.eip712 import address
from channels.protocol.messages import OpenRequest
from channels.protocol.signing import LocalSigner
from channels.protocol.terms import RiskParams, Terms
from channels.protocol.types import Portfolio, feed_id
from channels.storage import open_store
from channels.units import WAD
from tests.soak.market import AttestedPrices, open_market
from tests.soak.strategy import Strategy, described

UNIT: Final = 10**6
DEPOSIT: Final = 6_000 * UNIT
TOP_UP: Final = 3_000 * UNIT
FINALITY: Final = 20
"""Blocks on top: as deep as the deepest reorganisation."""
NO_ENDPOINT: Final = 75
PAUSE: Final = 0.3
WILLING: Final = 0.8
CREDIT: Final = CreditPolicy(
    remark_interval=300, remark_patience=60, margin_due=3_600, auto_top_up=TOP_UP
)

TIMING: Final = Timing(void_grace=4 * 3_600)
"""A jump of the clock alone must not end in a dispute for want of a Confirm."""


@attrs.define
class Log:
    """Lines on disk as soon as they are written: a killed process loses none."""

    file: int
    generation: int

    def write(self, kind: str, **values: Any) -> None:
        """One line."""
        line = {"kind": kind, "generation": self.generation, **values}
        os.write(self.file, json.dumps(line, default=str).encode() + b"\n")


class Desk:
    """What the director asks for. Every method without underscore is a command."""

    def __init__(self, peer: Peer, strategy: Strategy, config: dict[str, Any], log: Log) -> None:
        self._peer = peer
        self._strategy = strategy
        self._config = config
        self._log = log
        self._trading: trio.CancelScope | None = None

    async def trade(self) -> None:
        """Trade in every channel until told to stop; answers when it has stopped."""
        with trio.CancelScope() as self._trading:
            await self._strategy.run(self._peer)

    async def stop(self) -> None:
        """Begin nothing new."""
        if self._trading is not None:
            self._trading.cancel()

    async def open(self, terms: dict[str, Any], risk: str) -> str:
        """Open a channel on these terms, but for their salt."""
        channel = await self._peer.open(
            peer=self._config["counterparty"],
            terms=_terms(terms),
            risk=risk_of(risk),
            deposit=DEPOSIT,
            timeout=300,
        )
        return channel.channel_id.hex()

    async def states(self) -> dict[str, tuple[str, int, str]]:
        """Phase, newest nonce and portfolio of every channel."""
        return {
            each.channel_id.hex(): (
                each.phase.name,
                each.state.ledger.full.state.nonce,
                each.portfolio.struct_hash.hex(),
            )
            for each in self._peer.channels
        }

    async def dispute(self, channel: str) -> None:
        """Give a channel to the chain."""
        await self._peer.channel(bytes.fromhex(channel)).dispute()

    async def finish(self, channel: str) -> None:
        """Settle all that has expired, off chain, and close."""
        held = self._peer.channel(bytes.fromhex(channel))
        await held.wait_idle(10)
        await self._strategy.settle_expired(held)
        await held.close(10)


def risk_of(feed: str) -> tuple[RiskParams, ...]:
    """Margin parameters with little between initial and maintenance margin: calls are wanted."""
    return (RiskParams(feed=feed_id(feed), im_factor=WAD * 102 // 100),)


def _terms(values: dict[str, Any]) -> Terms:
    as_bytes = {key: bytes.fromhex(each) for key, each in values.items() if isinstance(each, str)}
    return Terms(**{**values, **as_bytes, "salt": secrets.token_bytes(32)})


def tell(**values: Any) -> None:
    """One line to the director."""
    os.write(1, json.dumps(values).encode() + b"\n")


async def accept_opening(request: OpenRequest) -> bool:
    """Equal deposits, as everybody here makes them."""
    return request.opening.deposit_a == request.opening.deposit_b == DEPOSIT


async def run_desk(config: dict[str, Any], market: Market, log: Log, ready: trio.Event) -> None:
    """Work until the commands end."""
    wallet = LocalAccount(bytes.fromhex(config["wallet"]))
    domain = OracleDomain(
        chain_id=config["chain_id"], oracle=address(bytes.fromhex(config["oracle"]))
    )
    prices = AttestedPrices(
        market, [Attester(bytes.fromhex(each), domain) for each in config["attesters"]]
    )
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        providers = [await enter(open_provider(each, request_timeout=2)) for each in config["rpc"]]
        store = await enter(open_store(config["store"]))
        chain = await enter(
            open_chain(
                providers[0] if len(providers) == 1 else providers,
                adjudicator=address(bytes.fromhex(config["adjudicator"])),
                account=wallet,
                store=store.records("transactions"),
                finality=Finality.depth(FINALITY),
                poll_interval=0.1,
            )
        )
        monitor = await enter(open_monitor(chain, records=store.records("monitor"), prices=prices))

        def clock() -> float:
            return chain.head.timestamp

        async def settlement(feed: bytes, expiry: int) -> int | None:
            return settlement_average(market, expiry) if expiry <= clock() else None

        rng = Random(f"{config['seed']} {config['name']} {log.generation}")

        async def accept_trade(trade: Trade, portfolio: Portfolio) -> bool:
            return rng.random() < WILLING

        view = MarketView(market, clock)
        peer = await enter(
            open_peer(
                signer=LocalSigner(bytes.fromhex(config["signer"])),
                wallet=wallet,
                chain=chain,
                store=store,
                listen=config["listen"],
                market=view,
                maker=SpreadMaker(view, good_for=60),
                accept_opening=accept_opening,
                accept_trade=accept_trade,
                settlement_price=settlement,
                clock=clock,
                credit=CREDIT,
                timing=TIMING,
                monitor=monitor,
            )
        )
        nursery = await enter(trio.open_nursery())
        nursery.start_soon(_log_events, peer, log)
        nursery.start_soon(_log_monitor, monitor, log)
        if config["counterparty"]:
            nursery.start_soon(_stay_connected, peer, config["counterparty"], log)
        strategy = Strategy(market=market, clock=clock, rng=rng, last=config["last"], log=log.write)
        desk = Desk(peer, strategy, config, log)
        ready.set()
        tell(ready=log.generation)
        await _obey_all(desk, nursery)
        nursery.cancel_scope.cancel()


async def _obey_all(desk: Desk, nursery: trio.Nursery) -> None:
    buffer = b""
    async with trio.lowlevel.FdStream(os.dup(0)) as commands:
        async for received in commands:
            *lines, buffer = (buffer + received).split(b"\n")
            for line in lines:
                nursery.start_soon(_obey, desk, json.loads(line))


async def _obey(desk: Desk, command: dict[str, Any]) -> None:
    try:
        answer = await getattr(desk, command["do"])(*command["with"])
        tell(id=command["id"], answer=answer)
    except ChannelsError as error:
        tell(id=command["id"], error=described(error))


async def _stay_connected(peer: Peer, place: str, log: Log) -> None:
    try:
        await peer.connect(place)
    except ChannelsError as error:  # it goes on trying
        log.write("refused", action="connect", error=described(error))


async def _log_events(peer: Peer, log: Log) -> None:
    async with peer.events() as events:
        async for event in events:
            log.write(
                "event",
                event=type(event.notice).__name__,
                channel=event.channel_id.hex(),
                time=peer.now(),
                text=str(event.notice)[:2_000],
            )


async def _log_monitor(monitor: Monitor, log: Log) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_log_alerts, monitor, log)
        async for report in monitor.reports:
            log.write("report", report=type(report).__name__, text=str(report)[:500])


async def _log_alerts(monitor: Monitor, log: Log) -> None:
    async for alert in monitor.alerts:
        log.write(
            "alert",
            alert=alert.code.name,
            level=alert.level.name,
            channel=(alert.channel_id or b"").hex(),
            text=alert.text,
            facts=dict(alert.facts),
        )


def live(config: dict[str, Any], market: Market, generation: int) -> int:
    """One life of the desk: its exit code."""
    file = os.open(config["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    ready = trio.Event()
    status = 0
    try:
        trio.run(run_desk, config, market, Log(file, generation), ready)
    except* EndpointError:
        if ready.is_set():
            raise
        status = NO_ENDPOINT
    return status


def main(path: str) -> None:
    """Fork the desk until it ends for another reason than the two."""
    config = json.loads(Path(path).read_text())
    market = open_market(config["market"], config["start"])
    for generation in itertools.count():
        child = os.fork()
        if child == 0:
            try:
                os._exit(live(config, market, generation))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        tell(born=child)
        _, status = os.waitpid(child, 0)
        ended = os.waitstatus_to_exitcode(status)
        tell(ended=ended)
        if ended == NO_ENDPOINT:
            time.sleep(PAUSE)  # a supervisor does not start again at once what cannot start
        elif ended != -signal.SIGKILL:
            sys.exit(ended)


if __name__ == "__main__":
    main(sys.argv[1])
