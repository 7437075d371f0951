"""What a peer is made of, and how news flows between the parts.

Everything runs in the nursery of `channels.peer.open_peer`: tasks end with the ``async with``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial

import trio

from channels.errors import IllegalCommandError, InvalidValueError
from channels.peer.callbacks import ask_now
from channels.peer.chain_watch import watch_chain
from channels.peer.connections import Connections
from channels.peer.credit_policy import BreakerPolicy, CreditPolicy
from channels.peer.decisions import Decisions
from channels.peer.defence import Defence
from channels.peer.desk import Desk
from channels.peer.drop_copy import Pulse
from channels.peer.duties import Duties
from channels.peer.handle import PeerChannel
from channels.peer.inbox import Inbox
from channels.peer.kill_switch import KillSwitch
from channels.peer.marks import live_marks, marks_to_book_at
from channels.peer.news import News
from channels.peer.notices import Notices
from channels.peer.openings import Openings
from channels.peer.quoting import Quoting
from channels.peer.recovery import Recoveries
from channels.peer.runner import Runner
from channels.peer.session import Session
from channels.peer.settling import Settling
from channels.peer.setup import PeerSetup
from channels.peer.tasks import Tasks
from channels.peer.waiting import Outcomes
from channels.protocol import messages as m
from channels.protocol import records
from channels.protocol.calls import Call
from channels.protocol.changes import Marks, marks_of
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import Notice, Outcome
from channels.protocol.events import ChainSeen, RestoredFromBackup, Resume
from channels.protocol.types import Portfolio, Series
from channels.storage import Store

__all__ = ["Core"]


class Core(ABC):
    """The parts of a peer at work, and the channels they work on."""

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
        self._openings = Openings(
            setup=setup,
            runners=self._runners,
            adopt=self._adopt_new,
            tasks=self._tasks,
            tell=self._tell,
        )
        self._inbox = Inbox(runners=self._runners, openings=self._openings, tell=self._tell)
        self._connections = Connections(
            nursery=nursery,
            setup=setup,
            runners=self._runners,
            on_message=self._take,
            tell=self._tell,
        )
        self._desk = (
            None
            if setup.desk is None
            else Desk(policy=setup.desk, runners=self._runners, now=setup.now, tell=self._tell)
        )
        self._quoting = Quoting(
            setup=setup,
            runners=self._runners,
            desk=self._desk,
            tasks=self._tasks,
            tell=self._tell,
        )
        self._duties = Duties(
            setup=setup,
            runners=self._runners,
            credit=credit,
            breaker=breaker,
            desk=self._desk,
            settling=self._settling(),
            own_marks=self._own_marks,
            quoting=self._is_quoting,
            submit=self._submit,
            tasks=self._tasks,
            tell=self._tell,
        )
        self._decisions = Decisions(
            setup=setup,
            runners=self._runners,
            outcomes=self._outcomes,
            handle=self._handle,
            disputed=self._duties.disagreement,
            quoting=self._quoting,
            tasks=self._tasks,
            tell=self._tell,
        )
        self._kill_switch = KillSwitch(self._runners)
        self._defence = Defence(monitor=setup.monitor, runners=self._runners, tasks=self._tasks)
        self._recoveries = Recoveries(
            sources=setup.sources, runners=self._runners, tasks=self._tasks, tell=self._tell
        )
        self._notices = Notices((self._quoting, *self._duties.listeners, self._recoveries))
        self._appended = Pulse()

    def now(self) -> int:
        """Our clock, Unix seconds."""
        return self._setup.now()

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

    def marks_to_book_at(self, channel: Channel, series: Iterable[Series]) -> Marks:
        """The marks that a trade of ours in ``series`` is booked at; see `RiskPolicy`.

        Raises:
            IllegalCommandError: this peer was opened without a market.
        """
        own = self.marks_for(channel, series)
        return marks_to_book_at(self._setup.policy, marks_of(channel.portfolio), own)

    def marks_objection(
        self, channel: Channel, portfolio: Portfolio
    ) -> tuple[m.Reason, str] | None:
        """Why the marks the counterparty chose for ``portfolio`` are not ours, if they are not."""
        return self._decisions.marks_objection(channel, portfolio)

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
            stored=self._stored,
            now=self._setup.now,
            permit=None if self._desk is None else self._desk.permit,
        )

    def _settling(self) -> Settling | None:
        policy, source = self._setup.settlement, self._setup.settlement_price
        if policy is None or source is None:
            return None
        return Settling(
            policy=policy,
            source=source,
            marks_for=lambda channel: self.marks_for(channel, ()),
            tell=self._tell,
        )

    def _stored(self, runner: Runner) -> None:
        self._defence.stored(runner)
        self._appended.beat()

    def _submit(self, identity: bytes, call: Call, key: bytes) -> None:
        self._tasks.start(identity, partial(self._chain.submit, call, key=key))

    async def _own_marks(self, channel: Channel) -> Marks | None:
        """Our own marks of what is open and has not expired; None if nothing, or without market."""
        live = any(each.expiry > self.now() for each in channel.portfolio.positions)
        if self._setup.market is None or not live:
            return None
        return ask_now("the market", lambda: self.marks_for(channel, ()))

    def _is_quoting(self, identity: bytes) -> bool:
        return self._outcomes[identity].asking or self._quoting.quoting(identity)

    @abstractmethod
    def _handle(self, runner: Runner) -> PeerChannel:
        """The channel as its owner uses it."""

    # -- messages and notices

    async def _take(self, session: Session, message: m.Message) -> None:
        outcome = await self._inbox.take(session, message)
        if outcome is not None and outcome.channel.phase is Phase.RECEIVED:
            await self._decisions.answer(outcome, at_once=not session.crowded)

    def _on_notice(self, runner: Runner, notice: Notice) -> None:
        identity = runner.channel_id
        self._outcomes[identity].tell(notice)
        self._tell(identity, notice)
        self._notices.tell(runner, notice)

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
            runner = self._adopt(channel)
            self._defence.stored(runner)
            self._quoting.resume(runner)
        if self._store.backup_time is not None:
            await self._distrust_all()
        self._kill_switch.resume()
        self._nursery.start_soon(self._defence.run)
        await self._nursery.start(
            watch_chain, self._chain, self._watched, self._on_chain, self._nursery
        )
        for runner in list(self._runners.values()):
            await self._tasks.guarded(runner.channel_id, partial(runner.feed, Resume()))
            await self._tasks.guarded(
                runner.channel_id, partial(self._decisions.take_up_forgotten, runner)
            )
        self._recoveries.resume()
        self._nursery.start_soon(self._duties.rounds.run)
        if listen is not None:
            await self._nursery.start(self._connections.listen, listen)

    async def _distrust_all(self) -> None:
        """The store is a restored copy: no channel signs until it has recovered, durably."""
        for runner in self._runners.values():
            await runner.feed(RestoredFromBackup())
        await self._store.mark_recovered()

    def _check_ours(self, channel: Channel) -> None:
        if channel.domain != self._chain.domain:
            raise InvalidValueError("the store holds channels of another chain or Adjudicator")
        if channel.terms.signer(channel.side) != self._signer.address:
            raise InvalidValueError("the store holds channels of another signer")
