"""A peer in one process: its channels, its counterparties, and the chain.

Everything runs in the nursery of `channels.peer.open_peer`: tasks end with the ``async with``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio

from channels.errors import (
    IllegalCommandError,
    InvalidValueError,
    PeerError,
    UnexpectedMessageError,
)
from channels.peer.callbacks import ask
from channels.peer.chain_watch import watch_chain
from channels.peer.connections import CONNECT_TIMEOUT, Connections
from channels.peer.credit_policy import BreakerPolicy, CreditPolicy
from channels.peer.decisions import Decisions
from channels.peer.defence import Defence
from channels.peer.duties import Duties
from channels.peer.handle import PeerChannel
from channels.peer.kill_switch import KillSwitch
from channels.peer.marks import live_marks
from channels.peer.news import News, PeerEvent
from channels.peer.openings import Openings
from channels.peer.runner import Runner
from channels.peer.session import Session
from channels.peer.setup import PeerSetup
from channels.peer.tasks import NO_CHANNEL, Tasks
from channels.peer.waiting import Outcomes
from channels.protocol import messages as m
from channels.protocol import records
from channels.protocol.calls import Call
from channels.protocol.changes import Marks
from channels.protocol.channel import OPEN_PHASES, Channel, Phase
from channels.protocol.effects import Notice, Outcome
from channels.protocol.eip712 import Address
from channels.protocol.events import ChainSeen, RestoredFromBackup, Resume
from channels.protocol.terms import RiskParams, Terms
from channels.protocol.types import Series
from channels.storage import Store

__all__ = ["Peer"]

MARKET_PATIENCE: Final = 10.0
"""Seconds that a market source may take to answer."""


class Peer:
    """Our side of any number of channels. Made by `open_peer`."""

    def __init__(
        self,
        *,
        nursery: trio.Nursery,
        store: Store,
        setup: PeerSetup,
        credit: CreditPolicy | None,
        breaker: BreakerPolicy | None,
    ) -> None:
        self._nursery = nursery
        self._store = store
        self._setup = setup
        self._chain = setup.chain
        self._signer = setup.signer
        self._wallet = setup.wallet
        self._runners: dict[bytes, Runner] = {}
        self._outcomes: dict[bytes, Outcomes] = {}
        self._news = News()
        self._tell = self._news.tell
        self._tasks = Tasks(nursery, self._tell)
        self._connections = Connections(
            nursery=nursery,
            setup=setup,
            runners=self._runners,
            on_message=self._on_message,
            tell=self._tell,
        )
        self._openings = Openings(
            setup=setup,
            runners=self._runners,
            adopt=self._adopt_new,
            tasks=self._tasks,
            tell=self._tell,
        )
        self._duties = Duties(
            setup=setup,
            runners=self._runners,
            credit=credit,
            breaker=breaker,
            own_marks=self._own_marks,
            quoting=self._is_quoting,
            submit=self._submit,
            tasks=self._tasks,
            tell=self._tell,
        )
        self._decisions = Decisions(
            setup=setup,
            handle=self._handle,
            disputed=self._duties.disagreement,
            tasks=self._tasks,
            tell=self._tell,
        )
        self._kill_switch = KillSwitch(self._runners)
        self._defence = Defence(monitor=setup.monitor, runners=self._runners, tasks=self._tasks)

    # -- what the owner asks

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

    def now(self) -> int:
        """Our clock, Unix seconds."""
        return self._setup.now()

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

    def look(self) -> None:
        """Look at every channel's marks, margin and breaker now: the market has moved.

        Without it that happens at every head and every ``look_interval`` of `BreakerPolicy`.
        """
        self._duties.rounds.look_at_all()

    @property
    def takes_late_quotes(self) -> bool:
        """Whether a quote past its time to live is still taken; see `RiskPolicy`."""
        return self._setup.policy.take_late_quotes

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
        peer_deposit: int,
        timeout: float = 600.0,
    ) -> PeerChannel:
        """Open a channel, and wait until both deposits are final on chain.

        Both parties must have allowed the Adjudicator to pull their deposit.

        Args:
            peer: where the counterparty listens.
            terms: name both parties and signers; our side is the one whose signer is ours.
            risk: margin parameters, one set a feed, hashing to the terms' ``risk_hash``.
            deposit: ours, base units.
            peer_deposit: the counterparty's, base units.
            timeout: seconds for all of it.

        Raises:
            InvalidValueError: terms that the contract would refuse, or not ours.
            RejectedError: the peer does not open on these terms.
            PeerTimeoutError: the peer cannot be reached, or the chain is slow.
        """
        side = self._openings.side_in(terms)
        deposits = {side: deposit, side.other: peer_deposit}
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

    def marks_for(self, channel: Channel, more: Iterable[Series]) -> Marks:
        """Our own marks for what is open in ``channel`` and for the series of ``more``.

        What has expired keeps the marks it has: there is no market for it.

        Raises:
            IllegalCommandError: this peer was opened without a market.
        """
        if self._setup.market is None:
            raise IllegalCommandError(
                "no market to mark with", next_step="pass market= to open_peer"
            )
        return live_marks(self._setup.market, channel.portfolio, more, self.now())

    # -- channels

    def _adopt(self, channel: Channel) -> Runner:
        runner = self._runner_of(channel)
        self._runners[channel.channel_id] = runner
        self._outcomes[channel.channel_id] = Outcomes()
        return runner

    async def _adopt_new(self, outcome: Outcome) -> Runner:
        """Store a new channel, then let its first message leave. A failure leaves no channel."""
        await self._runner_of(outcome.channel).perform(outcome)
        runner = self._adopt(outcome.channel)
        await self._kill_switch.halt(runner)
        return runner

    def _runner_of(self, channel: Channel) -> Runner:
        return Runner(
            channel,
            outbound=self._connections.line(channel.terms.signer(channel.side.other)),
            signer=self._signer,
            wallet=self._wallet,
            store=self._store,
            submit=partial(self._submit, channel.channel_id),
            notify=self._on_notice,
            stored=self._defence.stored,
        )

    def _submit(self, identity: bytes, call: Call, key: bytes) -> None:
        self._tasks.start(identity, partial(self._chain.submit, call, key=key))

    async def _own_marks(self, channel: Channel) -> Marks | None:
        """Our own marks of what is open and has not expired; None if nothing, or without market."""
        live = any(each.expiry > self.now() for each in channel.portfolio.positions)
        if self._setup.market is None or not live:
            return None

        async def marks() -> Marks:
            return self.marks_for(channel, ())

        return await ask("the market", marks, MARKET_PATIENCE)

    def _is_quoting(self, identity: bytes) -> bool:
        return self._outcomes[identity].asking or self._decisions.quoting(identity)

    def _handle(self, runner: Runner) -> PeerChannel:
        return PeerChannel(self, runner, self._outcomes[runner.channel_id])

    # -- messages

    async def _on_message(self, session: Session, message: m.Message) -> None:
        match message:
            case m.Ping():
                session.post_message(m.Pong(token=message.token))
            case m.Pong() | m.Hello() | m.Challenge():
                pass
            case m.OpenRequest():
                await self._openings.on_request(session, message)
            case m.Error() if message.channel_id not in self._runners:
                error = PeerError(f"the peer complains: {message.reason.name} {message.text}")
                self._tell(NO_CHANNEL, error)
            case m.Reestablish() if message.channel_id not in self._runners:
                # No fault of the peer's: we may have declined it, or lost our data.
                text = f"no channel 0x{message.channel_id.hex()}"
                error_of = partial(m.Error, channel_id=message.channel_id, text=text)
                session.post_message(error_of(reason=m.Reason.NOT_OPEN))
            case _:
                runner = self._runners.get(message.channel_id)
                if runner is None:
                    raise UnexpectedMessageError(f"no channel 0x{message.channel_id.hex()}")
                if runner.counterparty != session.signer:
                    raise UnexpectedMessageError("a channel of another counterparty")
                if isinstance(message, m.OpenAccept) and runner.channel.phase is not Phase.ASKED:
                    return
                await runner.wait_until(_can_judge)
                reply = session if isinstance(message, m.Reestablish) else None
                await runner.feed(message, reply=reply)

    # -- notices

    def _on_notice(self, runner: Runner, notice: Notice) -> None:
        identity = runner.channel_id
        outcomes = self._outcomes[identity]
        outcomes.tell(notice)
        self._tell(identity, notice)
        self._decisions.on_notice(runner, outcomes, notice)
        self._duties.on_notice(runner, notice)

    # -- the chain

    async def _on_chain(self, identity: bytes, event: ChainSeen) -> None:
        runner = self._runners[identity]
        await self._tasks.guarded(runner.channel_id, partial(runner.feed, event))
        self._duties.rounds.look(identity)

    def _watched(self) -> dict[bytes, Phase]:
        return {identity: runner.channel.phase for identity, runner in self._runners.items()}

    async def start(self, listen: str | None) -> None:
        """Take up every stored channel, follow the chain, and listen."""
        for record in self._store.channels().values():
            channel = records.decode_channel(record)
            self._check_ours(channel)
            self._defence.stored(self._adopt(channel))
        if self._store.backup_time is not None:
            await self._distrust_all()
        self._kill_switch.resume()
        self._nursery.start_soon(self._defence.run)
        await self._nursery.start(watch_chain, self._chain, self._watched, self._on_chain)
        for runner in list(self._runners.values()):
            await self._tasks.guarded(runner.channel_id, partial(runner.feed, Resume()))
            await self._tasks.guarded(
                runner.channel_id, partial(self._decisions.decline_forgotten, runner)
            )
        self._nursery.start_soon(self._duties.rounds.run)
        if listen is not None:
            await self._nursery.start(self._connections.listen, listen)

    async def _distrust_all(self) -> None:
        """The store is a restored copy: every open channel stops signing, durably."""
        for runner in self._runners.values():
            if runner.channel.phase in OPEN_PHASES:
                await runner.feed(RestoredFromBackup())
        await self._store.mark_recovered()

    def _check_ours(self, channel: Channel) -> None:
        if channel.domain != self._chain.domain:
            raise InvalidValueError("the store holds channels of another chain or Adjudicator")
        if channel.terms.signer(channel.side) != self._signer.address:
            raise InvalidValueError("the store holds channels of another signer")


def _can_judge(channel: Channel) -> bool:
    """Whether what the peer says can be held against the chain: not before it was read."""
    return channel.head is not None or channel.phase not in OPEN_PHASES
