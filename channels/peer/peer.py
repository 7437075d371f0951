"""A peer in one process: its channels, its counterparties, and the chain.

Everything runs in the nursery of `open_peer`: tasks end with the ``async with``.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from channels.dispute import Monitor, evidence_of
from channels.errors import (
    BugError,
    ChannelsError,
    IllegalCommandError,
    InvalidValueError,
    OurError,
    PeerError,
    PeerTimeoutError,
    UnexpectedMessageError,
)
from channels.peer.callbacks import ask
from channels.peer.chain_watch import Chain, watch_chain
from channels.peer.handle import PeerChannel, open_series
from channels.peer.makers import Maker, QuoteRequest, trade_draft
from channels.peer.policy import (
    MarkSource,
    OpeningDecision,
    RiskPolicy,
    SettlementSource,
    TradeDecision,
    marks_objection,
)
from channels.peer.runner import Runner
from channels.peer.session import LIMITS, Line, Session, greet
from channels.peer.waiting import Outcomes
from channels.protocol import codec, records
from channels.protocol import messages as m
from channels.protocol.changes import Marks, Remark, Settlement, Trade, marks_of
from channels.protocol.channel import OPEN_PHASES, Channel, Phase, Timing
from channels.protocol.effects import (
    CloseRequested,
    Notice,
    Outcome,
    ProposalReceived,
    QuoteRequested,
)
from channels.protocol.eip712 import Address, keccak
from channels.protocol.events import (
    Answer,
    ChainSeen,
    Connected,
    RefuseQuote,
    RestoredFromBackup,
    Resume,
    SendQuote,
)
from channels.protocol.opening import ask_opening, grant_opening
from channels.protocol.signing import Signer
from channels.protocol.types import Opening, Party, RiskParams, Series, Terms, channel_id
from channels.storage import Store, open_store
from channels.transport.addresses import parse_address
from channels.transport.backoff import Backoff
from channels.transport.endpoints import connect, serve
from channels.transport.limits import LinkLimits
from channels.transport.link import Link

__all__ = ["Peer", "PeerEvent", "open_peer"]

NO_CHANNEL: Final = bytes(32)
NOT_ON_CHAIN: Final = frozenset({Phase.ASKED, Phase.GRANTED, Phase.SUBMITTED, Phase.ABANDONED})
"""Where an event concerns no one channel."""
OPENING_LIFETIME: Final = 3_600
"""Seconds for which both signatures on an Opening let it be mined."""
EVENT_BUFFER: Final = 4_096
CONNECT_TIMEOUT: Final = 10.0
LONGEST_RETRY: Final = 10.0
MAX_UNDECIDED: Final = 16
"""Requests for quotes in one channel, and openings in all, that may wait for the owner's code."""


@attrs.frozen(kw_only=True)
class PeerEvent:
    """Something that happened in one channel.

    ``sequence`` counts up by one; a gap shows that this reader was too slow.
    """

    sequence: int
    channel_id: bytes
    notice: Notice | ChannelsError


@attrs.frozen(kw_only=True)
class PeerSetup:
    """What `open_peer` was given; see there."""

    signer: Signer
    wallet: Signer
    chain: Chain
    market: MarkSource | None
    maker: Maker | None
    policy: RiskPolicy
    timing: Timing
    accept_opening: OpeningDecision | None
    accept_trade: TradeDecision | None
    settlement_price: SettlementSource | None
    clock: Callable[[], float]
    limits: LinkLimits
    monitor: Monitor | None


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
        self._sessions: dict[Address, list[Session]] = {}
        self._dialled: dict[str, PeerError | None] = {}
        self._opening: set[bytes] = set()
        self._quoting: dict[bytes, set[bytes]] = {}
        self._subscribers: set[trio.MemorySendChannel[PeerEvent]] = set()
        self._sequence = 0
        self.listening: str | None = None
        self._new_session = trio.Event()
        self._unguarded: dict[bytes, None] = {}
        self._guard_wanted = trio.Event()

    # -- what the owner asks

    @property
    def address(self) -> Address:
        """Our signer's address."""
        return self._signer.address

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
        return int(self._setup.clock())

    async def connect(self, address: str, *, timeout: float = CONNECT_TIMEOUT) -> Address:
        """Connect to a counterparty and stay connected; its signer.

        Raises:
            InvalidValueError: the address is none.
            PeerTimeoutError: not reachable within ``timeout`` seconds; we go on trying.
        """
        parse_address(address)
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
        side = self._side_in(terms)
        deposits = {side: deposit, side.other: peer_deposit}
        counterparty = await self.connect(peer)
        if counterparty != terms.signer(side.other):
            raise InvalidValueError(
                f"the peer at {peer} signs as 0x{counterparty.hex()}, not as the terms say"
            )
        head = self._chain.head
        opening = Opening(
            terms=terms,
            deposit_a=deposits[Party.A],
            deposit_b=deposits[Party.B],
            valid_until=head.timestamp + OPENING_LIFETIME,
        )
        step = ask_opening(
            domain=self._chain.domain,
            side=side,
            opening=opening,
            risk=tuple(risk),
            timing=self._setup.timing,
        )
        if channel_id(self._chain.domain, terms) in self._runners:
            raise InvalidValueError("a channel on these terms exists", next_step="change the salt")
        channel = self._handle(await self._adopt_new(step.finish(())))
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
        series = open_series(channel.portfolio, more)
        if self._setup.market is None:
            raise IllegalCommandError(
                "no market to mark with", next_step="pass market= to open_peer"
            )
        return self._setup.market.marks(series)

    # -- channels

    def _side_in(self, terms: Terms) -> Party:
        for side in Party:
            if terms.signer(side) == self._signer.address:
                if terms.party(side) != self._wallet.address:
                    raise InvalidValueError(
                        f"the terms pay 0x{terms.party(side).hex()}, not our wallet",
                        next_step="open_peer(wallet=...) with the key that owns the deposit",
                    )
                return side
        raise InvalidValueError("neither signer of the terms is ours")

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
            outbound=Line(self._sessions, channel.terms.signer(channel.side.other)),
            signer=self._signer,
            wallet=self._wallet,
            store=self._store,
            submit=lambda call, key: self._start(
                channel.channel_id, partial(self._chain.submit, call, key=key)
            ),
            notify=self._on_notice,
            stored=self._guard_soon,
        )

    def _handle(self, runner: Runner) -> PeerChannel:
        return PeerChannel(self, runner, self._outcomes[runner.channel_id])

    # -- connections

    async def _stay_connected(self, address: str) -> None:
        backoff = Backoff(longest=LONGEST_RETRY)
        while True:
            began = trio.current_time()
            try:
                async with connect(address, limits=self._setup.limits) as link:
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
        signer = await greet(link, signer=self._signer.address, domain=self._chain.domain)
        session = Session(link, signer, address)
        self._sessions.setdefault(signer, []).append(session)
        self._new_session.set()
        self._new_session = trio.Event()
        try:
            for runner in list(self._runners.values()):
                if runner.counterparty == signer:
                    await self._reestablish(runner, session)
            await session.run(self._on_message)
        except (OurError, BugError) as error:
            self._tell(NO_CHANNEL, error)
        finally:
            self._sessions[signer].remove(session)
            if not self._sessions[signer]:
                del self._sessions[signer]

    async def _reestablish(self, runner: Runner, session: Session) -> None:
        channel = runner.channel
        if channel.phase in (Phase.ASKED, Phase.GRANTED):
            # The peer may never have heard of it. What it has heard already, it hears in vain.
            session.post([codec.encode(each) for each in channel.outbox])
            return
        try:
            await runner.feed(Connected(), reply=session)
        except IllegalCommandError:
            return  # ended, or in dispute: nothing to say about it

    # -- messages

    async def _on_message(self, session: Session, message: m.Message) -> None:
        match message:
            case m.Ping():
                session.post_message(m.Pong(token=message.token))
            case m.Pong() | m.Hello():
                pass
            case m.OpenRequest():
                await self._on_open_request(session, message)
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

    async def _on_open_request(self, session: Session, request: m.OpenRequest) -> None:
        identity = channel_id(self._chain.domain, request.opening.terms)
        runner = self._runners.get(identity)
        if runner is not None:
            if runner.counterparty != session.signer:
                raise UnexpectedMessageError("a channel of another counterparty")
            await self._reestablish(runner, session)
        elif identity not in self._opening:
            if len(self._opening) >= MAX_UNDECIDED:
                raise OurError("too many openings wait for a decision", next_step="ask later")
            self._opening.add(identity)
            self._start(identity, partial(self._decide_opening, identity, session, request))

    async def _decide_opening(
        self, identity: bytes, session: Session, request: m.OpenRequest
    ) -> None:
        try:
            objection = await self._opening_objection(session, request)
            if objection is None:
                step = grant_opening(
                    domain=self._chain.domain, request=request, timing=self._setup.timing
                )
                signature = await self._wallet.sign(step.sign[0])
                await self._adopt_new(step.finish((signature,)))
        except InvalidValueError as error:
            objection = m.Reason.INVALID, str(error.args[0])
        except ChannelsError as error:
            self._tell(identity, error)
            objection = m.Reason.BUSY, "we cannot decide for now"
        finally:
            self._opening.discard(identity)
        if objection is not None:
            reason, text = objection
            session.post_message(m.OpenReject(channel_id=identity, reason=reason, text=text))

    async def _opening_objection(
        self, session: Session, request: m.OpenRequest
    ) -> tuple[m.Reason, str] | None:
        terms = request.opening.terms
        side = self._side_in(terms)
        if side is request.requester or terms.signer(side.other) != session.signer:
            return m.Reason.INVALID, "the terms name other signers than ours and yours"
        head = self._chain.head
        if request.opening.valid_until > head.timestamp + 2 * OPENING_LIFETIME:
            return m.Reason.INVALID, "an Opening that stays valid for too long"
        decide = self._setup.accept_opening
        if decide is None or not await ask(
            "accept_opening", lambda: decide(request), OPENING_LIFETIME
        ):
            return m.Reason.DECLINED, "we do not open on these terms"
        return None

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
        match notice:
            case ProposalReceived(request_id=None):
                self._start(identity, partial(self._decide, runner, notice))
            case ProposalReceived(request_id=bytes(request_id)):
                if not outcomes.offer(request_id, notice):
                    self._start(identity, partial(self._decline_quote, runner, notice.nonce))
            case QuoteRequested():
                self._on_quote_request(runner, notice.request)
            case CloseRequested():
                nonce = notice.closing.nonce
                self._start(identity, partial(self._accept_closing, runner, nonce))

    def _start(self, identity: bytes, work: Callable[[], Awaitable[object]]) -> None:
        self._nursery.start_soon(self._guarded, identity, work)

    async def _guarded(self, identity: bytes, work: Callable[[], Awaitable[object]]) -> None:
        """A decision that fails is told, and never takes the peer down.

        Not even a bug does: the step that met it changed nothing, and a counterparty that knows how
        to cause it could else end every other channel.
        """
        try:
            await work()
        except ChannelsError as error:
            self._tell(identity, error)
        except Exception as error:
            bug = BugError(f"a decision ended in {error!r}")
            bug.__cause__ = error
            self._tell(identity, bug)

    async def _decline_quote(self, runner: Runner, nonce: int) -> None:
        entry = runner.channel.ledger.entry(nonce)
        if entry is not None and not entry.declined:  # declined with the quote's other side
            await self._handle(runner).decline(nonce, text="not asked for")

    async def _accept_closing(self, runner: Runner, nonce: int) -> None:
        await runner.feed(Answer(nonce=nonce, accept=True, now=self.now()))

    async def _decide(self, runner: Runner, proposal: ProposalReceived) -> None:
        """Answer a proposal that no request of ours asked for."""
        handle = self._handle(runner)
        try:
            objection = await self._objection(runner.channel, proposal)
        except ChannelsError as error:
            self._tell(runner.channel_id, error)
            objection = m.Reason.BUSY, "we cannot decide for now"
        if objection is not None:
            await handle.decline(proposal.nonce, *objection)
        else:
            await handle.accept(proposal.nonce)

    async def _objection(
        self, channel: Channel, proposal: ProposalReceived
    ) -> tuple[m.Reason, str] | None:
        market, policy = self._setup.market, self._setup.policy
        if market is None:
            return m.Reason.MARKS, "no market data on our side"
        theirs = marks_of(proposal.portfolio)
        patience = self._setup.timing.confirm_within

        async def judge() -> tuple[m.Reason, str] | None:
            return marks_objection(policy, market.marks(theirs.series), theirs)

        objection = await ask("the market", judge, patience)
        if objection is not None:
            return objection
        match proposal.change:
            case Remark():
                return None
            case Settlement(feed=feed, expiry=expiry, price=price):
                source = self._setup.settlement_price
                if source is None:
                    return m.Reason.PRICE, "no settlement source on our side"
                own = await ask("settlement_price", lambda: source(feed, expiry), patience)
                if own == price:
                    return None
                return m.Reason.PRICE, f"settlement price {price}, ours {own}"
            case Trade() as trade:
                decide = self._setup.accept_trade
                if decide is not None and await ask(
                    "accept_trade", lambda: decide(trade, channel.portfolio), patience
                ):
                    return None
                return m.Reason.DECLINED, "we did not ask for this trade"

    def _on_quote_request(self, runner: Runner, request: m.RequestForQuote) -> None:
        identity = runner.channel_id
        asked = self._quoting.setdefault(identity, set())
        if request.request_id in asked:
            return
        work: Callable[[], Awaitable[object]] = partial(self._quote, runner, request)
        if len(asked) >= MAX_UNDECIDED:
            refuse = RefuseQuote(request_id=request.request_id, reason=m.Reason.BUSY)
            work = partial(runner.feed, refuse)
        else:
            asked.add(request.request_id)
        self._start(identity, work)

    async def _quote(self, runner: Runner, request: m.RequestForQuote) -> None:
        identity = runner.channel_id
        refuse = RefuseQuote(request_id=request.request_id, reason=m.Reason.DECLINED)
        try:
            quote = await self._price(runner.channel, request)
            await runner.feed(refuse if quote is None else quote)
        except ChannelsError:
            await runner.feed(attrs.evolve(refuse, reason=m.Reason.BUSY))
            raise
        finally:
            self._quoting[identity].discard(request.request_id)

    async def _price(self, channel: Channel, request: m.RequestForQuote) -> SendQuote | None:
        """What the maker makes of a request; None for no price."""
        maker = self._setup.maker
        if maker is None:
            return None
        question = QuoteRequest(
            channel_id=channel.channel_id,
            legs=request.legs,
            time_to_live=request.time_to_live,
            side=channel.side,
            portfolio=channel.portfolio,
        )

        async def quote() -> SendQuote | None:
            answer = await maker(question)
            if answer is None:
                return None
            draft = trade_draft(
                trade_id=keccak(channel.channel_id + request.request_id),
                legs=request.legs,
                prices=answer.prices,
                requester=channel.side.other,
                marks=answer.marks,
                unit=channel.terms.unit,
            )
            now = self.now()
            return SendQuote(
                request_id=request.request_id,
                sides=(draft,),
                expires_at=now + min(answer.good_for, request.time_to_live),
                now=now,
            )

        patience = min(request.time_to_live, self._setup.timing.confirm_within)
        return await ask("the maker", quote, patience)

    # -- the defence

    def _guard_soon(self, runner: Runner) -> None:
        if self._setup.monitor is not None and runner.channel.phase not in NOT_ON_CHAIN:
            self._unguarded[runner.channel_id] = None
            self._guard_wanted.set()

    async def _guard(self, monitor: Monitor) -> None:
        """Hand the monitor what each change brought: the newest of every channel, once.

        What it misses when this process dies is in our store, and handed over at the next start.
        """
        while True:
            await self._guard_wanted.wait()
            self._guard_wanted = trio.Event()
            waiting, self._unguarded = list(self._unguarded), {}
            for identity in waiting:
                evidence = evidence_of(self._runners[identity].channel)
                await self._guarded(identity, partial(monitor.watch, evidence))

    # -- the chain

    async def _on_chain(self, identity: bytes, event: ChainSeen) -> None:
        runner = self._runners[identity]
        await self._guarded(runner.channel_id, partial(runner.feed, event))

    def _watched(self) -> dict[bytes, Phase]:
        return {identity: runner.channel.phase for identity, runner in self._runners.items()}

    async def start(self, listen: str | None) -> None:
        """Take up every stored channel, follow the chain, and listen."""
        for record in self._store.channels().values():
            channel = records.decode_channel(record)
            self._check_ours(channel)
            self._guard_soon(self._adopt(channel))
        if self._store.backup_time is not None:
            await self._distrust_all()
        if self._setup.monitor is not None:
            self._nursery.start_soon(self._guard, self._setup.monitor)
        await self._nursery.start(watch_chain, self._chain, self._watched, self._on_chain)
        for runner in list(self._runners.values()):
            await self._guarded(runner.channel_id, partial(runner.feed, Resume()))
            await self._guarded(runner.channel_id, partial(self._decline_forgotten, runner))
        if listen is not None:
            await self._nursery.start(self._listen, listen)

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

    async def _decline_forgotten(self, runner: Runner) -> None:
        """Decline what waited for a decision when we stopped: nobody decides it any more."""
        waiting = (
            each
            for each in runner.channel.ledger.entries
            if each.theirs is not None and each.mine is None and not each.declined
        )
        first = next(waiting, None)
        if runner.channel.phase is Phase.RECEIVED and first is not None:
            await self._handle(runner).decline(first.nonce, m.Reason.BUSY, "we started again")

    async def _listen(
        self, address: str, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with serve(
            address,
            self._serve_link,
            limits=self._setup.limits,
            on_error=lambda _, error: self._tell(NO_CHANNEL, error),
        ) as listening:
            self.listening = listening.address
            task_status.started()
            await trio.sleep_forever()


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
