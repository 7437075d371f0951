"""A peer in one process: its channels, its counterparties, and the chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from channels.errors import IllegalCommandError, InvalidValueError
from channels.peer.connections import CONNECT_TIMEOUT
from channels.peer.core import Core
from channels.peer.desk import Desk
from channels.peer.drop_copy import DropCopy
from channels.peer.handle import PeerChannel
from channels.peer.news import PeerEvent
from channels.peer.runner import Runner
from channels.protocol.calls import Call
from channels.protocol.eip712 import Address
from channels.protocol.signing import Signable, Signature
from channels.protocol.terms import RiskParams, Terms

__all__ = ["Peer"]


class Peer(Core):
    """Our side of any number of channels. Made by `open_peer`."""

    @property
    def address(self) -> Address:
        """Our signer's address."""
        return self._signer.address

    @property
    def listening(self) -> str | None:
        """Where we accept counterparties; None if nowhere, or not yet."""
        return self._connections.listening

    @property
    def channels(self) -> tuple[PeerChannel, ...]:
        """Every channel in the store, ended ones included."""
        return tuple(self._handle(runner) for runner in self._runners.values())

    def channel(self, channel_id: bytes) -> PeerChannel:
        """The channel of this id.

        Raises:
            InvalidValueError: there is none.
        """
        if channel_id not in self._runners:
            raise InvalidValueError(f"no channel 0x{channel_id.hex()}")
        return self._handle(self._runners[channel_id])

    @property
    def killed(self) -> str | None:
        """Why all trading is stopped by `kill`; None if it is not."""
        return self._kill_switch.reason

    async def kill(self, reason: str) -> None:
        """Stop all trading: halt every channel, now and to come, and take back our quotes.

        What was quoted can be taken until the counterparty has turned it down: see
        `channels.protocol.messages.Cancel`. Defence, voids, affirmations and re-marks go on. It
        stands over a restart, until `revive`.

        Raises:
            StorageError: a channel's halt is not stored; those before it are.
        """
        await self._kill_switch.kill(reason)

    async def revive(self) -> None:
        """Lift what `kill` did; whatever else halts a channel stands."""
        await self._kill_switch.revive()

    @property
    def desk(self) -> Desk:
        """Limits, exposure and protection over all channels.

        Raises:
            IllegalCommandError: this peer was opened without a desk.
        """
        if self._desk is None:
            raise IllegalCommandError("no desk", next_step="pass desk= to open_peer")
        return self._desk

    async def cancel_all(self) -> None:
        """Ask every counterparty to turn down whatever of ours waits for its answer.

        It takes effect with their answers: until then **a quote may still be taken**.
        """
        for runner in list(self._runners.values()):
            await self._quoting.cancel(runner)

    async def cancel_quotes(self, channel_id: bytes, nonce: int | None) -> None:
        """What `PeerChannel.cancel` does."""
        await self._quoting.cancel(self._runners[channel_id], nonce)

    def look(self) -> None:
        """Look at every channel's marks, margin and breaker now: the market has moved.

        Without it that happens at every head and every ``look_interval`` of `BreakerPolicy`.
        """
        self._duties.rounds.look_at_all()

    @property
    def looking(self) -> bool:
        """Whether a look at a channel is under way, of which more may follow."""
        return self._duties.rounds.looking

    async def looked(self) -> None:
        """Wait until every look that has begun is done: what was due is proposed, or said."""
        await self._duties.rounds.looked()

    @property
    def takes_late_quotes(self) -> bool:
        """Whether a quote past its time to live is still taken; see `RiskPolicy`."""
        return self._setup.policy.take_late_quotes

    async def sign(self, signable: Signable) -> Signature:
        """Our signer's signature; on states it is for the machine to ask for, and nobody else.

        Raises:
            SignerError: the key cannot or will not sign.
        """
        return await self._signer.sign(signable)

    async def submit(self, call: Call, key: bytes) -> None:
        """Have the chain do this, once a ``key``, and see it through to finality.

        Raises:
            InvalidValueError: the key names another call.
            StorageError: not stored, so not accepted.
        """
        await self._chain.submit(call, key=key)

    async def connect(self, address: str, *, timeout: float = CONNECT_TIMEOUT) -> Address:
        """Connect to a counterparty and stay connected; its signer.

        Raises:
            InvalidValueError: the address is none.
            PeerTimeoutError: not reachable within ``timeout`` seconds; we go on trying.
        """
        return await self._connections.connect(address, timeout=timeout)

    async def open(
        self,
        *,
        peer: str,
        terms: Terms,
        risk: Sequence[RiskParams],
        deposit: int,
        peer_deposit: int | None = None,
        timeout: float = 600.0,
    ) -> PeerChannel:
        """Open a channel, and wait until both deposits are final on chain.

        Both parties must have allowed the Adjudicator to pull their deposit.

        Args:
            peer: where the counterparty listens.
            terms: name both parties and signers; our side is the one whose signer is ours.
            risk: margin parameters, one set a feed, hashing to the terms' ``risk_hash``.
            deposit: ours, base units.
            peer_deposit: the counterparty's, base units; None: as much as ours.
            timeout: seconds for all of it.

        Raises:
            InvalidValueError: terms that the contract would refuse, or not ours.
            RejectedError: the peer does not open on these terms.
            PeerTimeoutError: the peer cannot be reached, or the chain is slow.
        """
        side = self._openings.side_in(terms)
        theirs = deposit if peer_deposit is None else peer_deposit
        deposits = {side: deposit, side.other: theirs}
        counterparty = await self.connect(peer)
        if counterparty != terms.signer(side.other):
            raise InvalidValueError(
                f"the peer at {peer} signs as 0x{counterparty.hex()}, not as the terms say"
            )
        runner = await self._openings.ask(side=side, terms=terms, risk=risk, deposits=deposits)
        channel = self._handle(runner)
        await channel.wait_open(timeout)
        return channel

    @asynccontextmanager
    async def events(self) -> AsyncIterator[trio.MemoryReceiveChannel[PeerEvent]]:
        """Everything that happens from here on, in order.

        A reader that falls 4,096 events behind misses some: the sequence shows the gap.
        """
        async with self._news.read() as events:
            yield events

    def drop_copy(self, since: int | None = 0) -> DropCopy:
        """Every business event of all channels, from the journal: what was, then what comes.

        No event is missed or given twice, however slow the reader; any number may read.

        Args:
            since: the ``sequence`` of the last event read before; 0: from the first one there is;
                None: only what comes.
        """
        after = self._store.journal_head.seq if since is None else since
        return DropCopy(store=self._store, appended=self._appended, after=after)

    def _handle(self, runner: Runner) -> PeerChannel:
        return PeerChannel(self, runner, self._outcomes[runner.channel_id])
