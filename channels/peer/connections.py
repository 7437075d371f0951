"""Every connection to every counterparty: dialled, accepted, kept up, and found by signer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from itertools import chain
from typing import Final

import trio

from channels.errors import (
    BugError,
    FloodError,
    IllegalCommandError,
    OurError,
    PeerError,
    PeerTimeoutError,
)
from channels.peer.greeting import greet
from channels.peer.runner import Runner
from channels.peer.session import Line, Session
from channels.peer.setup import PeerSetup
from channels.peer.tasks import NO_CHANNEL, Tell
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.channel import Phase
from channels.protocol.eip712 import Address
from channels.protocol.events import Connected
from channels.protocol.proofs import Role
from channels.transport.backoff import Backoff
from channels.transport.link import Link

__all__ = ["CONNECT_TIMEOUT", "Connections", "reestablish"]

CONNECT_TIMEOUT: Final = 10.0
LONGEST_RETRY: Final = 10.0
MAX_SESSIONS: Final = 4
"""Connections of one signer: both may have dialled, and an old one may hang."""
MAX_STRANGERS: Final = 32
"""Connections of signers that share no channel with us, all together."""


class Connections:
    """The sessions we have, by signer. ``runners`` is the peer's own table: we only read it."""

    def __init__(
        self,
        *,
        nursery: trio.Nursery,
        setup: PeerSetup,
        runners: Mapping[bytes, Runner],
        on_message: Callable[[Session, m.Message], Awaitable[None]],
        tell: Tell,
    ) -> None:
        self._nursery = nursery
        self._setup = setup
        self._runners = runners
        self._on_message = on_message
        self._tell = tell
        self._sessions: dict[Address, list[Session]] = {}
        self._dialled: dict[str, PeerError | None] = {}
        self._new_session = trio.Event()
        self.listening: str | None = None

    def line(self, signer: Address) -> Line:
        """Where messages to the counterparty of this signer go."""
        return Line(self._sessions, signer)

    async def connect(self, address: str, *, timeout: float = CONNECT_TIMEOUT) -> Address:
        """Connect to a counterparty and stay connected; its signer.

        Raises:
            InvalidValueError: the address is none.
            PeerTimeoutError: not reachable within ``timeout`` seconds; we go on trying.
        """
        self._setup.network.check(address)
        if address not in self._dialled:
            self._dialled[address] = None
            self._nursery.start_soon(self._stay_connected, address)
        with trio.move_on_after(timeout):
            while True:
                waiting = self._new_session
                for signer, sessions in self._sessions.items():
                    if any(session.address == address for session in sessions):
                        return signer
                await waiting.wait()
        why = self._dialled[address]
        raise PeerTimeoutError(
            f"no peer at {address} within {timeout:g} s" + (f": {why.args[0]}" if why else ""),
            next_step="check the address; is it up?",
        )

    async def listen(
        self, address: str, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept counterparties at ``address`` until cancelled."""
        async with self._setup.network.serve(
            address,
            self._serve_link,
            limits=self._setup.limits,
            on_error=lambda _, error: self._tell(NO_CHANNEL, error),
        ) as listening:
            self.listening = listening.address
            task_status.started()
            await trio.sleep_forever()

    async def _stay_connected(self, address: str) -> None:
        backoff = Backoff(longest=LONGEST_RETRY)
        network, limits = self._setup.network, self._setup.limits
        while True:
            began = trio.current_time()
            try:
                async with network.connect(address, limits=limits) as link:
                    await self._converse(link, address)
            except PeerError as error:
                self._dialled[address] = error
                self._tell(NO_CHANNEL, error)
            if trio.current_time() - began > LONGEST_RETRY:
                backoff.reset()
            await trio.sleep(backoff.next_delay())

    async def _serve_link(self, link: Link) -> None:
        await self._converse(link, "")

    async def _converse(self, link: Link, address: str) -> None:
        """Talk until the connection ends. An error of ours ends it, is told, and ends nothing else.

        Raises:
            PeerError: why the connection ended.
        """
        setup = self._setup
        role = Role.CLIENT if address else Role.SERVER
        try:
            signer = await greet(link, role=role, signer=setup.signer, domain=setup.chain.domain)
            ours = [each for each in self._runners.values() if each.counterparty == signer]
            session = Session(link, signer, address, stranger=not address and not ours)
            self._admit(session)
            try:
                for runner in ours:
                    await reestablish(runner, session)
                await session.run(self._on_message_of)
            finally:
                self._sessions[signer].remove(session)
                if not self._sessions[signer]:
                    del self._sessions[signer]
        except (OurError, BugError) as error:
            self._tell(NO_CHANNEL, error)

    def _admit(self, session: Session) -> None:
        """Count a session in. Where it is one too many, the oldest of its like has to go.

        So neither a counterparty whose old connections hang, nor strangers, keep anybody out.
        """
        same = self._sessions.setdefault(session.signer, [])
        same.append(session)
        strangers: list[Session] = []
        if session.stranger:
            strangers = [each for each in chain(*self._sessions.values()) if each.stranger]
        for group, most in ((same, MAX_SESSIONS), (strangers, MAX_STRANGERS)):
            if len(group) > most:
                oldest = min(group, key=lambda each: each.since)
                oldest.end(FloodError(f"more than {most} connections of its kind"))
        self._new_session.set()
        self._new_session = trio.Event()

    def _on_message_of(self, session: Session, message: m.Message) -> Awaitable[None]:
        if session.stranger:
            runner = self._runners.get(getattr(message, "channel_id", NO_CHANNEL))
            if runner is not None and runner.counterparty == session.signer:
                session.trust()
        return self._on_message(session, message)


async def reestablish(runner: Runner, session: Session) -> None:
    """Say again, on a new connection, what the channel needs the peer to know."""
    channel = runner.channel
    if channel.phase in (Phase.ASKED, Phase.GRANTED):
        # The peer may never have heard of it. What it has heard already, it hears in vain.
        session.post([codec.encode(each) for each in channel.outbox])
        return
    try:
        await runner.feed(Connected(), reply=session)
    except IllegalCommandError:
        return  # ended, or in dispute: nothing to say about it
