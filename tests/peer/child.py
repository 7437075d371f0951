"""Run by test_kill_9: one trader as a process that kills itself with SIGKILL where it is told to.

``python -m tests.peer.child CONFIG`` imports everything once and forks the trader; when the trader
dies of SIGKILL it forks it again, from the same store. Commands are JSON lines on standard input,
answers JSON lines on standard output. Boundaries are counted from the command ``arm`` on: before
and after each commit of the store, before and after each send.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from channels.chain import Finality, LocalAccount, open_chain, open_provider
from channels.errors import ChannelsError
from channels.peer import Leg, Peer, PeerChannel, open_peer
from channels.pricing.instruments import Put
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.changes import Trade
from channels.protocol.effects import Deed
from channels.protocol.eip712 import address
from channels.protocol.signing import LocalSigner
from channels.protocol.types import Portfolio
from channels.storage import AppendJournal, Store, Write, open_store
from channels.transport.link import Link
from tests.peer.world import DAY, FEED_NAME, HOUR, RISK, WAD, FairMaker, Market

REFUSED: Final = 2
"""Quantity of a trade that is declined."""
PATIENCE: Final = 20.0


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


def _kind(write: Write) -> str:
    return Deed(write.kind).name if isinstance(write, AppendJournal) else type(write).__name__


def hook_commits() -> None:
    commit = Store.commit

    async def hooked(self: Store, batch: Iterable[Write]) -> None:
        batch = tuple(batch)
        label = f"commit {_kind(batch[-1])}"
        boundaries.at(f"before {label}")
        await commit(self, batch)
        boundaries.at(f"after {label}")

    Store.commit = hooked  # type: ignore[method-assign]


def hook_link(wire: Path) -> None:
    """Boundaries at every send; and every received frame on record before it is looked at."""
    send, receive = Link.send, Link.receive
    file = os.open(wire, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def hooked_send(self: Link, frames: Sequence[bytes]) -> None:
        names = [type(codec.decode(frame)).__name__ for frame in frames]
        label = "+".join(name for name in names if name not in ("Ping", "Pong", "Reestablish"))
        if label:
            boundaries.at(f"before send {label}")
        await send(self, frames)
        if label:
            boundaries.at(f"after send {label}")

    async def hooked_receive(self: Link) -> bytes:
        frame = await receive(self)
        os.write(file, frame.hex().encode() + b"\n")
        return frame

    Link.send = hooked_send  # type: ignore[method-assign]
    Link.receive = hooked_receive  # type: ignore[method-assign]


class Trading:
    """What the trader does when told. Every method without underscore is a command."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    @property
    def _channel(self) -> PeerChannel:
        (channel,) = self._peer.channels
        return channel

    def _legs(self, quantity: int) -> list[m.Leg]:
        expiry = (self._channel.portfolio.marked_at or self._peer.now()) // DAY * DAY
        held = self._channel.portfolio.positions
        at = held[0].expiry if held else expiry + 30 * DAY + 8 * HOUR
        bought = bool(held) and self._channel.side.sign * held[0].quantity > 0
        return [Leg(Put(FEED_NAME, strike=3_000, expiry=at), quantity=-quantity if bought else quantity)]

    async def arm(self, at: int) -> None:
        boundaries.armed, boundaries.passed = at, []

    async def disarm(self) -> list[str]:
        boundaries.armed = None
        return boundaries.passed

    async def settle(self) -> dict[str, Any]:
        """Where we stand as soon as nothing is in flight."""
        await self._channel.wait_idle(PATIENCE)
        full = self._channel.state.ledger.full
        digest = self._channel.state.domain.digest(full.state)
        return {"nonce": full.state.nonce, "digest": digest.hex()}

    async def propose(self) -> None:
        await self._channel.propose_trade(self._legs(1), [120 * WAD])

    async def refused(self) -> None:
        try:
            await self._channel.propose_trade(self._legs(REFUSED), [120 * WAD])
        except ChannelsError as error:
            if "declined" not in str(error) and "did not ask" not in str(error):
                raise

    async def quote(self) -> None:
        quotes = await self._channel.request_quote(self._legs(1), ttl=1)
        await quotes.best().accept()


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


async def trader(config: dict[str, Any]) -> None:
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
        async with open_peer(
            signer=LocalSigner(bytes.fromhex(config["signer"])),
            wallet=wallet,
            chain=chain,
            store=store,
            listen=config["listen"],
            market=market,
            maker=FairMaker(market),
            accept_trade=_accept_trade,
            clock=market.clock,
        ) as peer, trio.open_nursery() as nursery:
            if config["connect"] is not None:
                await peer.connect(config["connect"])
            tell(ready=peer.listening)
            trading = Trading(peer)
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
            hook_link(Path(config["wire"]))
            trio.run(trader, config)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ended = os.waitstatus_to_exitcode(status)
        tell(ended=ended)
        if ended != -signal.SIGKILL:
            sys.exit(ended)


if __name__ == "__main__":
    main(sys.argv[1])
