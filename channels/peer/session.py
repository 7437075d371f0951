"""One connection to one counterparty: who it is, what it may say, and frames in both directions.

One task reads, one writes. What the peer gets wrong is answered with an Error that names it, and
costs it a strike; too many end the connection. Nothing it sends changes a channel unless the
channel's own machine takes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from channels.errors import (
    ChannelsError,
    FrameError,
    OurError,
    PeerError,
    PeerTimeoutError,
    StorageError,
    UnexpectedMessageError,
)
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.eip712 import Address
from channels.protocol.types import Domain
from channels.transport.link import Link

__all__ = ["SOFTWARE", "Session", "greet"]

SOFTWARE: Final = "option-channels/0.1"
MAX_STRIKES: Final = 16
MAX_QUEUED: Final = 4_096
"""Frames queued for a peer that does not read; beyond, the connection is given up."""
HELLO_TIMEOUT: Final = 10.0


async def greet(link: Link, *, signer: Address, domain: Domain) -> Address:
    """Say hello and hear it; the counterparty's signer.

    Raises:
        PeerError: no hello in time, or one of another chain or contract.
    """
    hello = m.Hello(
        signer=signer,
        chain_id=domain.chain_id,
        adjudicator=domain.adjudicator,
        software=SOFTWARE,
    )
    await link.send([codec.encode(hello)])
    with trio.move_on_after(HELLO_TIMEOUT):
        heard = codec.decode(await link.receive())
        if not isinstance(heard, m.Hello):
            raise UnexpectedMessageError(f"{type(heard).__name__} before Hello")
        if (heard.chain_id, heard.adjudicator) != (domain.chain_id, domain.adjudicator):
            raise UnexpectedMessageError(
                f"the peer is on chain {heard.chain_id}, contract 0x{heard.adjudicator.hex()}",
                next_step="agree on one Adjudicator",
            )
        return heard.signer
    raise PeerTimeoutError(f"no Hello within {HELLO_TIMEOUT:g} s")


class Session:
    """A greeted connection. ``post`` queues frames and never blocks."""

    def __init__(self, link: Link, signer: Address, address: str) -> None:
        self.signer = signer
        self.address = address
        self._link = link
        self._queued: list[bytes] = []
        self._wake = trio.Event()
        self._strikes = 0
        self._overflow = False

    def post(self, frames: list[bytes]) -> None:
        """Queue frames behind what is queued."""
        self._queued.extend(frames)
        self._overflow = len(self._queued) > MAX_QUEUED
        self._wake.set()

    def post_message(self, message: m.Message) -> None:
        """Queue one message."""
        self.post([codec.encode(message)])

    async def run(self, handle: Callable[[Session, m.Message], Awaitable[None]]) -> None:
        """Read and write until the connection ends.

        Raises:
            PeerError: the peer broke the framing, flooded, or did not read.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            try:
                await self._read(handle)
            finally:
                nursery.cancel_scope.cancel()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            if self._overflow:
                raise PeerTimeoutError(f"the peer left {len(self._queued)} frames unread")
            frames, self._queued = self._queued, []
            if frames:
                await self._link.send(frames)

    async def _read(self, handle: Callable[[Session, m.Message], Awaitable[None]]) -> None:
        while True:
            frame = await self._link.receive()
            channel_id = bytes(32)
            try:
                message = codec.decode(frame)
                channel_id = getattr(message, "channel_id", channel_id)
                await handle(self, message)
            except (FrameError, StorageError):
                raise
            except (PeerError, OurError) as error:
                self._complain(channel_id, error)

    def _complain(self, channel_id: bytes, error: ChannelsError) -> None:
        """Name what was wrong; a fault of the peer's costs it a strike."""
        ours = isinstance(error, OurError)
        if not ours:
            self._strikes += 1
            if self._strikes > MAX_STRIKES:
                raise error
        reason = m.Reason.BUSY if ours else m.Reason.PROTOCOL
        text = f"{type(error).__name__}: {error.args[0]}"
        self.post_message(m.Error(channel_id=channel_id, reason=reason, text=text))
