"""Run by test_kill_9: one trader as a process that kills itself with SIGKILL where it is told to.

``python -m tests.peer.child CONFIG`` imports everything once and forks the trader; when the trader
dies of SIGKILL it forks it again, from the same store. Commands are JSON lines on standard input,
answers JSON lines on standard output. Boundaries are counted from the command ``arm`` on: before
and after each commit of the store, before and after each send.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from channels.chain import Finality, LocalAccount, open_chain, open_provider
from channels.errors import ChannelsError, RejectedError
from channels.peer import Leg, MakerQuote, Peer, PeerChannel, QuoteRequest, open_peer
from channels.pricing.instruments import Put
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.changes import Trade
from channels.protocol.channel import Phase
from channels.protocol.effects import Deed
from channels.protocol.eip712 import address
from channels.protocol.signing import LocalSigner
from channels.protocol.types import Portfolio
from channels.storage import AppendJournal, Store, Write, open_store
from channels.transport.link import Link
from tests.peer.world import (
    DAY,
    FEED_NAME,
    HOUR,
    RISK,
    UNIT,
    WAD,
    FairMaker,
    Market,
    accept_opening,
)

REFUSED: Final = 2
"""Quantity of a trade that is declined."""
SMALL: Final = 1_000 * UNIT
AT_REST: Final = frozenset({Phase.IDLE, Phase.CLOSED, Phase.ABANDONED})
PATIENCE: Final = 120.0
GREETING: Final = 9


class Answered:
    """Whether the newest greeting was answered."""

    def __init__(self) -> None:
        self.pong = trio.Event()


class Boundaries:
    """Where the process may die. ``armed`` is the number of the boundary to die at; 0: none."""

    def __init__(self) -> None:
        self.armed: int | None = None
        self.passed: list[str] = []

    def at(self, label: str) -> None:
        if self.armed is None:
            return
        self.passed.append(label)
        if len(self.passed) == self.armed:
            os.kill(os.getpid(), signal.SIGKILL)


boundaries = Boundaries()


def hook_commits() -> None:
    """Boundaries at every commit of a channel."""
    commit = Store.commit

    async def hooked(self: Store, batch: Iterable[Write], *, shield: bool = False) -> None:
        batch = tuple(batch)
        deeds = "+".join(Deed(each.kind).name for each in batch if isinstance(each, AppendJournal))
        if deeds:
            boundaries.at(f"before commit {deeds}")
        await commit(self, batch, shield=shield)
        if deeds:
            boundaries.at(f"after commit {deeds}")

    Store.commit = hooked  # type: ignore[method-assign]


def hook_link(wire: Path, answered: Answered) -> None:
    """Boundaries at every send; and every received frame on record before it is looked at."""
    send, send_now, receive = Link.send, Link.send_now, Link.receive_burst
    file = os.open(wire, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def named(frames: Sequence[bytes]) -> str:
        names = [type(codec.decode(frame)).__name__ for frame in frames]
        return "+".join(name for name in names if name not in ("Ping", "Pong", "Reestablish"))

    def hooked_send_now(self: Link, frames: Sequence[bytes]) -> bool:
        label = named(frames)
        if label:
            boundaries.at(f"before send {label}")
        sent = send_now(self, frames)
        if label and sent:
            boundaries.at(f"after send {label}")
        return sent

    async def hooked_send(self: Link, frames: Sequence[bytes]) -> None:
        label = named(frames)
        if label:
            boundaries.at(f"before send {label}")
        await send(self, frames)
        if label:
            boundaries.at(f"after send {label}")

    async def hooked_receive(self: Link, most: int) -> list[bytes]:
        frames = await receive(self, most)
        for frame in frames:
            os.write(file, frame.hex().encode() + b"\n")
            if codec.decode(frame) == m.Pong(token=GREETING):
                answered.pong.set()
        return frames

    Link.send = hooked_send  # type: ignore[method-assign]
    Link.send_now = hooked_send_now  # type: ignore[method-assign]
    Link.receive_burst = hooked_receive  # type: ignore[method-assign]


class Trading:
    """What the trader does when told. Every method without underscore is a command."""

    def __init__(self, peer: Peer, config: dict[str, Any], answered: Answered) -> None:
        self._peer = peer
        self._config = config
        self._answered = answered
        self._counterparty = ""

    @property
    def _channel(self) -> PeerChannel:
        return self._peer.channel(bytes.fromhex(self._config["channel"]))

    def _legs(self, quantity: int) -> list[m.Leg]:
        """Buy a put, or sell it again: the position stays within what margin covers."""
        held = self._channel.portfolio.positions
        day = self._peer.now() // DAY * DAY
        expiry = held[0].expiry if held else day + 30 * DAY + 8 * HOUR
        bought = bool(held) and self._channel.side.sign * held[0].quantity > 0
        put = Put(FEED_NAME, strike=3_000, expiry=expiry)
        return [Leg(put, quantity=-quantity if bought else quantity)]

    async def greet(self, place: str) -> None:
        """Connect, and wait until either side has taken in all that the other had to say again."""
        self._counterparty = place
        signer = await self._peer.connect(place)
        self._answered.pong = trio.Event()
        self._peer._connections._sessions[signer][-1].post_message(m.Ping(token=GREETING))
        await self._answered.pong.wait()

    async def arm(self, at: int) -> None:
        boundaries.armed, boundaries.passed = at, []

    async def disarm(self) -> list[str]:
        boundaries.armed = None
        return boundaries.passed

    async def settle(self) -> dict[str, Any]:
        """Where every channel stands as soon as nothing is in flight."""
        return {each.channel_id.hex(): await _settled(each) for each in self._peer.channels}

    async def propose(self) -> None:
        await self._channel.propose_trade(self._legs(1), [_some_price()])

    async def refused(self) -> None:
        try:
            await self._channel.propose_trade(self._legs(REFUSED), [_some_price()])
        except RejectedError:
            return
        raise AssertionError("not refused")

    async def quote(self, patience: int = 1) -> None:
        quotes = await self._channel.request_quote(self._legs(1), ttl=patience)
        await quotes.best().accept()

    async def open(self) -> str:
        """Open one more channel, on the terms of the first."""
        channel = await self._peer.open(
            peer=self._counterparty,
            terms=attrs.evolve(self._channel.terms, salt=secrets.token_bytes(32)),
            risk=RISK,
            deposit=SMALL,
        )
        return channel.channel_id.hex()

    async def close(self, channel: str) -> None:
        await self._peer.channel(bytes.fromhex(channel)).close()


async def _settled(channel: PeerChannel) -> tuple[str, int, str]:
    with trio.fail_after(PATIENCE):
        await channel._runner.wait_until(lambda state: state.phase in AT_REST)
    full = channel.state.ledger.full
    digest = channel.state.domain.digest(full.state)
    return channel.phase.name, full.state.nonce, digest.hex()


def _some_price() -> int:
    """Never the same again, so that no state signed after a restart is one signed before."""
    return 120 * WAD + secrets.randbelow(WAD)


@attrs.frozen
class _FickleMaker:
    """Quotes another price every time."""

    honest: FairMaker

    async def __call__(self, request: QuoteRequest) -> MakerQuote | None:
        quote = await self.honest(request)
        return None if quote is None else attrs.evolve(quote, prices=(_some_price(),))


async def _accept_trade(trade: Trade, portfolio: Portfolio) -> bool:
    return abs(trade.legs[0].quantity) != REFUSED * WAD


def tell(**values: Any) -> None:
    os.write(1, json.dumps(values).encode() + b"\n")


async def _obey(trading: Trading, command: dict[str, Any]) -> None:
    try:
        answer = await getattr(trading, command["do"])(*command["with"])
        tell(id=command["id"], answer=answer)
    except ChannelsError as error:
        tell(id=command["id"], error=f"{type(error).__name__}: {error}")


async def trader(config: dict[str, Any], answered: Answered) -> None:
    wallet = LocalAccount(bytes.fromhex(config["wallet"]))
    async with (
        open_provider(config["rpc"]) as provider,
        open_store(config["store"]) as store,
        open_chain(
            provider,
            adjudicator=address(bytes.fromhex(config["adjudicator"])),
            account=wallet,
            store=store.records("transactions"),
            finality=Finality.depth(0),
            poll_interval=0.05,
        ) as chain,
    ):
        market = Market(clock=lambda: chain.head.timestamp)
        async with (
            open_peer(
                signer=LocalSigner(bytes.fromhex(config["signer"])),
                wallet=wallet,
                chain=chain,
                store=store,
                listen=config["listen"],
                market=market,
                maker=_FickleMaker(FairMaker(market)),
                accept_opening=accept_opening,
                accept_trade=_accept_trade,
                clock=market.clock,
                credit=None,
                breaker=None,
            ) as peer,
            trio.open_nursery() as nursery,
        ):
            tell(ready=peer.listening)
            trading = Trading(peer, config, answered)
            buffer = b""
            async with trio.lowlevel.FdStream(os.dup(0)) as commands:
                async for received in commands:
                    *lines, buffer = (buffer + received).split(b"\n")
                    for line in lines:
                        nursery.start_soon(_obey, trading, json.loads(line))
            nursery.cancel_scope.cancel()


def main(path: str) -> None:
    """Fork the trader until it ends otherwise than by SIGKILL."""
    config = json.loads(Path(path).read_text())
    while True:
        child = os.fork()
        if child == 0:
            hook_commits()
            answered = Answered()
            hook_link(Path(config["wire"]), answered)
            trio.run(trader, config, answered)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ended = os.waitstatus_to_exitcode(status)
        tell(ended=ended)
        if ended != -signal.SIGKILL:
            sys.exit(ended)


if __name__ == "__main__":
    main(sys.argv[1])
