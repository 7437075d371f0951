"""A peer in one process: its channels, its counterparties, and the chain.

Everything runs in the nursery of `open_peer`: tasks end with the ``async with``.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from channels.dispute import Monitor
from channels.errors import (
    ChannelsError,
    IllegalCommandError,
    InvalidValueError,
    PeerError,
    UnexpectedMessageError,
)
from channels.peer.chain_watch import Chain, watch_chain
from channels.peer.connections import CONNECT_TIMEOUT, Connections
from channels.peer.decisions import Decisions
from channels.peer.defence import Defence
from channels.peer.handle import PeerChannel
from channels.peer.makers import Maker
from channels.peer.openings import Openings
from channels.peer.policy import (
    MarkSource,
    OpeningDecision,
    RiskPolicy,
    SettlementSource,
    TradeDecision,
)
from channels.peer.runner import Runner
from channels.peer.session import LIMITS, Session
from channels.peer.setup import PeerSetup
from channels.peer.tasks import NO_CHANNEL, Tasks
from channels.peer.waiting import Outcomes
from channels.protocol import messages as m
from channels.protocol import records
from channels.protocol.changes import Marks
from channels.protocol.channel import OPEN_PHASES, Channel, Phase, Timing
from channels.protocol.effects import Notice, Outcome
from channels.protocol.eip712 import Address
from channels.protocol.events import ChainSeen, RestoredFromBackup, Resume
from channels.protocol.signing import Signer
from channels.protocol.terms import RiskParams, Terms
from channels.protocol.types import Series
from channels.storage import Store, open_store
from channels.transport.limits import LinkLimits

__all__ = ["Peer", "PeerEvent", "open_peer"]

EVENT_BUFFER: Final = 4_096


@attrs.frozen(kw_only=True)
class PeerEvent:
    """Something that happened in one channel.

    ``sequence`` counts up by one; a gap shows that this reader was too slow.
    """

    sequence: int
    channel_id: bytes
    notice: Notice | ChannelsError


class Peer:
    """Our side of any number of channels. Made by `open_peer`."""

    def __init__(self, *, nursery: trio.Nursery, store: Store, setup: PeerSetup) -> None:
        self._nursery = nursery
        self._store = store
        self._setup = setup
        self._chain = setup.chain
        self._signer = setup.signer
        self._wallet = setup.wallet
        self._runners: dict[bytes, Runner] = {}
        self._outcomes: dict[bytes, Outcomes] = {}
        self._subscribers: set[trio.MemorySendChannel[PeerEvent]] = set()
        self._sequence = 0
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
        self._decisions = Decisions(
            setup=setup, handle=self._handle, tasks=self._tasks, tell=self._tell
        )
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

        A reader that falls `EVENT_BUFFER` events behind misses some: the sequence shows the gap.
        """
        send, receive = trio.open_memory_channel[PeerEvent](EVENT_BUFFER)
        self._subscribers.add(send)
        try:
            async with receive:
                yield receive
        finally:
            self._subscribers.discard(send)
            send.close()

    def marks_for(self, channel: Channel, more: Iterable[Series]) -> Marks:
        """Our own marks for what is open in ``channel`` and for the series of ``more``.

        Raises:
            IllegalCommandError: this peer was opened without a market.
        """
        series = sorted({*(each.series for each in channel.portfolio.positions), *more})
        if self._setup.market is None:
            raise IllegalCommandError(
                "no market to mark with", next_step="pass market= to open_peer"
            )
        return self._setup.market.marks(series)

    # -- channels

    def _adopt(self, channel: Channel) -> Runner:
        runner = self._runner_of(channel)
        self._runners[channel.channel_id] = runner
        self._outcomes[channel.channel_id] = Outcomes()
        return runner

    async def _adopt_new(self, outcome: Outcome) -> Runner:
        """Store a new channel, then let its first message leave. A failure leaves no channel."""
        await self._runner_of(outcome.channel).perform(outcome)
        return self._adopt(outcome.channel)

    def _runner_of(self, channel: Channel) -> Runner:
        return Runner(
            channel,
            outbound=self._connections.line(channel.terms.signer(channel.side.other)),
            signer=self._signer,
            wallet=self._wallet,
            store=self._store,
            submit=lambda call, key: self._tasks.start(
                channel.channel_id, partial(self._chain.submit, call, key=key)
            ),
            notify=self._on_notice,
            stored=self._defence.stored,
        )

    def _handle(self, runner: Runner) -> PeerChannel:
        return PeerChannel(self, runner, self._outcomes[runner.channel_id])

    # -- messages

    async def _on_message(self, session: Session, message: m.Message) -> None:
        match message:
            case m.Ping():
                session.post_message(m.Pong(token=message.token))
            case m.Pong() | m.Hello():
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

    def _tell(self, channel_id: bytes, notice: Notice | ChannelsError) -> None:
        self._sequence += 1
        event = PeerEvent(sequence=self._sequence, channel_id=channel_id, notice=notice)
        for subscriber in self._subscribers:
            try:
                subscriber.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                continue

    def _on_notice(self, runner: Runner, notice: Notice) -> None:
        identity = runner.channel_id
        outcomes = self._outcomes[identity]
        outcomes.tell(notice)
        self._tell(identity, notice)
        self._decisions.on_notice(runner, outcomes, notice)

    # -- the chain

    async def _on_chain(self, identity: bytes, event: ChainSeen) -> None:
        runner = self._runners[identity]
        await self._tasks.guarded(runner.channel_id, partial(runner.feed, event))

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
        self._nursery.start_soon(self._defence.run)
        await self._nursery.start(watch_chain, self._chain, self._watched, self._on_chain)
        for runner in list(self._runners.values()):
            await self._tasks.guarded(runner.channel_id, partial(runner.feed, Resume()))
            await self._tasks.guarded(
                runner.channel_id, partial(self._decisions.decline_forgotten, runner)
            )
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


@asynccontextmanager
async def open_peer(
    *,
    signer: Signer,
    chain: Chain,
    store: str | Path | Store,
    wallet: Signer | None = None,
    listen: str | None = None,
    market: MarkSource | None = None,
    maker: Maker | None = None,
    policy: RiskPolicy | None = None,
    timing: Timing | None = None,
    accept_opening: OpeningDecision | None = None,
    accept_trade: TradeDecision | None = None,
    settlement_price: SettlementSource | None = None,
    clock: Callable[[], float] = time.time,
    limits: LinkLimits = LIMITS,
    monitor: Monitor | None = None,
) -> AsyncIterator[Peer]:
    """Run a peer for the time of an ``async with``.

    Args:
        signer: the session key that signs states.
        chain: an open `channels.chain.EthereumChain`.
        store: path of the database, or an open store.
        wallet: the key that owns deposits and signs Openings; the signer itself unless given.
        listen: address to accept counterparties on: ``host:port``, ``[::1]:port``, ``unix:/path``.
        market: our own marks; without them nothing is traded or re-marked.
        maker: names prices when a counterparty asks.
        policy: tolerances and limits.
        timing: box and slot of the chain.
        accept_opening: decides whether we open when asked; without it we never do.
        accept_trade: decides on trades proposed without a request; without it we decline.
        settlement_price: the price we stand by for a settlement off chain.
        clock: Unix seconds; of the chain where its time is not the world's.
        limits: times and rates of every connection.
        monitor: an open `channels.dispute.Monitor`: defends every channel of this peer.

    Raises:
        StorageError: the database cannot be opened, or another process holds it.
    """
    setup = PeerSetup(
        signer=signer,
        wallet=signer if wallet is None else wallet,
        chain=chain,
        market=market,
        maker=maker,
        policy=RiskPolicy() if policy is None else policy,
        timing=Timing() if timing is None else timing,
        accept_opening=accept_opening,
        accept_trade=accept_trade,
        settlement_price=settlement_price,
        clock=clock,
        limits=limits,
        monitor=monitor,
    )
    failure: BaseException | None = None
    async with AsyncExitStack() as stack:
        if not isinstance(store, Store):
            store = await stack.enter_async_context(open_store(store))
        try:
            async with trio.open_nursery() as nursery:
                peer = Peer(nursery=nursery, store=store, setup=setup)
                try:
                    await peer.start(listen)
                    yield peer
                except BaseException as error:
                    failure = error
                    raise
                finally:
                    nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            # What the block raised is the caller's own; only our tasks' failures come as a group.
            if failure is not None and group.exceptions == (failure,):
                raise failure from failure.__cause__
            raise
