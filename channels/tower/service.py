"""The tower: takes appointments, watches the chain, defends with the monitor, and says so, signed.

::

    async with (
        open_book("tower.db") as book,
        open_tower(chain, book, records=store.records("monitor"), signer=signer) as tower,
    ):
        receipt = await tower.accept(appointment, signature, content)

The monitor of `channels.dispute` does the defending, for those channels alone that have something
to defend: nothing is in memory of the others. A receipt is signed after the appointment is durable,
and after the monitor has it where the channel is disputed already.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import attrs
import trio

from channels.chain.jobs import JobBroadcast, JobFailed, JobFinal
from channels.chain.tasks import open_tasks
from channels.dispute import (
    Alert,
    AlertCode,
    ChannelFinished,
    DisputeFound,
    Duty,
    DutyDone,
    DutySubmitted,
    Level,
    Monitor,
    Pace,
    Policy,
    PriceSource,
    Report,
    open_monitor,
)
from channels.dispute.ports import RecordsPort
from channels.errors import AppointmentRefusedError, StorageError
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.protocol.signing import Signature, Signer
from channels.protocol.watching import Appointment
from channels.tower.book import Book
from channels.tower.clerk import Clerk
from channels.tower.intake import Account, IntakePolicy, Refusal
from channels.tower.kept import Kept
from channels.tower.lookout import Concern, Lookout
from channels.tower.ports import TowerChain
from channels.tower.pulse import Pulse
from channels.tower.signed import SignedHeartbeat, SignedReceipt
from channels.tower.tally import Tally
from channels.tower.writes import Forget, Progress, Release

__all__ = ["Tower", "TowerPolicy", "open_tower"]

_LOG: Final = logging.getLogger("channels.tower")

_NO_ACCOUNT: Final = Account()


@attrs.frozen(kw_only=True)
class TowerPolicy:
    """How a tower works. ``beat_every``: blocks from one heartbeat to the next.

    Of several towers of one customer each has another ``rank``: it waits ``rank * stagger`` seconds
    of chain time after a filing, a quarter of the window at most, so that one of them pays.
    ``least_reserve``: wei that the gas account should have; below it somebody is told.
    """

    intake: IntakePolicy = attrs.field(factory=IntakePolicy)
    monitor: Policy = attrs.field(factory=Policy)
    pace: Pace = attrs.field(factory=Pace)
    beat_every: int = 5
    rank: int = 0
    stagger: int = 120
    least_reserve: int = 10**17


class Tower:
    """A watchtower. Make one with `open_tower`.

    ``tally`` counts its work.
    """

    def __init__(
        self,
        chain: TowerChain,
        book: Book,
        monitor: Monitor,
        signer: Signer,
        policy: TowerPolicy,
        nursery: trio.Nursery,
        on_alert: Callable[[Alert], Awaitable[None]] | None,
    ) -> None:
        self.book = book
        self.monitor = monitor
        self.policy = policy
        self.tally = Tally()
        self.lookout = Lookout(
            chain,
            book,
            tally=self.tally,
            concern=self._see_to,
            at_head=self._at_head,
            alert=self._alert,
            retry_after=policy.pace.retry_after,
        )
        self._pulse = Pulse(chain, book, signer=signer, every=policy.beat_every, alert=self._alert)
        self._clerk = Clerk(
            chain,
            book,
            signer=signer,
            policy=policy.intake,
            tally=self.tally,
            defend=self._defend_new,
        )
        self._chain = chain
        self._signer = signer
        self._nursery = nursery
        self._on_alert = on_alert
        self._undefended: dict[bytes, Concern] = {}
        self._staggered: list[tuple[int, bytes]] = []

    @property
    def beat(self) -> SignedHeartbeat | None:
        """The newest heartbeat; None before the first, and while it is not sure of itself."""
        return self._pulse.beat

    @property
    def reserve(self) -> int:
        """What the gas account had at the newest heartbeat, wei."""
        return self._pulse.reserve

    @property
    def address(self) -> Address:
        """The key that signs receipts and heartbeats."""
        return self._signer.address

    @property
    def gas_account(self) -> Address:
        """The account that pays. It has no authority over any channel."""
        return self._chain.account

    @property
    def degraded(self) -> bool:
        """Whether a dispute may have been missed, or the book takes no more writes."""
        return self.lookout.degraded or self.monitor.degraded or self.book.failed is not None

    @property
    def undefended(self) -> int:
        """Disputed channels that the monitor does not have: not yet its turn, or in trouble."""
        return len(self._undefended)

    @property
    def disputes(self) -> dict[bytes, ChannelView]:
        """Watched channels that are in their window, as last read."""
        found = {}
        for channel_id in self.monitor.channels:
            reading = self.monitor.reading(channel_id)
            if reading is not None and reading[0].phase is OnChainPhase.DISPUTED:
                found[channel_id] = reading[0]
        return found

    @property
    def deadlines(self) -> list[int]:
        """When their windows end, chain time."""
        return [each.deadline for each in self.disputes.values()]

    @property
    def head(self) -> Head:
        """The newest block."""
        return self._chain.head

    @property
    def trouble(self) -> Exception | None:
        """What is wrong with the endpoints right now."""
        return self._chain.trouble

    @property
    def chain(self) -> TowerChain:
        """The chain it watches."""
        return self._chain

    async def ready(self) -> None:
        """Wait until everything that was missed has been taken in."""
        await self.lookout.ready.wait()
        await self.monitor.ready()

    async def accept(
        self, appointment: Appointment, signature: Signature, content: bytes
    ) -> SignedReceipt:
        """Take an appointment. On return it is durable, and the receipt is the tower's word.

        Raises:
            AppointmentRefusedError: not taken; the channel is not protected by it.
            StorageError: not stored, so not taken.
            ChainError: the chain could not be asked; try again.
            SignerError: no receipt; what was handed over is kept all the same.
        """
        if self.lookout.taken is None:
            raise AppointmentRefusedError(Refusal.NOT_READY, "the chain is being caught up with")
        return await self._clerk.accept(appointment, signature, content)

    async def forget(self, key: bytes) -> None:
        """Stop watching for a customer: **it may lose funds** from now on; its receipts are void.

        Raises:
            StorageError: it is watched on.
        """
        await self._clerk.forget(key)
        channel_id = key[:32]
        if not self.book.keys(channel_id):
            await self.monitor.forget(channel_id)
            await self.book.write(Release(channel_id))
            self._undefended.pop(channel_id, None)

    async def _defend_new(self, kept: Kept, view: ChannelView | None) -> None:
        """An appointment is durable: the monitor has it before its receipt, if it needs it now."""
        channel_id = kept.channel_id
        if kept.rival is not None:
            self._alert(
                Alert(
                    level=Level.CRITICAL,
                    code=AlertCode.RIVAL_STATES,
                    text="two states were co-signed at one nonce: a signer's key is in other hands",
                    channel_id=channel_id,
                    facts=(("nonce", kept.rival.appointment.nonce),),
                )
            )
        if (
            (view is not None and view.phase is not OnChainPhase.OPEN)
            or self.lookout.disputed_lately(channel_id)
            or self.monitor.watched(channel_id) is not None
        ):
            block = self._chain.head.number
            await self.book.write(Progress(concerned=(channel_id,), block=block))
            await self._defend(Concern(channel_id=channel_id))

    # ---- defending

    async def _see_to(self, concern: Concern) -> None:
        """Hand a channel to the monitor, at once or when this tower's turn comes."""
        channel_id = concern.channel_id
        wait = self.policy.rank * self.policy.stagger
        if wait and concern.deadline and self.monitor.watched(channel_id) is None:
            try:
                window = self._kept(channel_id)[0].terms.dispute_window
            except (StorageError, IndexError):
                window = 0
            turn = concern.deadline - window + min(wait, window // 4)
            self._undefended[channel_id] = concern
            heapq.heappush(self._staggered, (turn, channel_id))
            return
        await self._defend(concern)

    async def _defend(self, concern: Concern) -> None:
        """Hand a channel to the monitor. What fails is tried again at the next head."""
        channel_id = concern.channel_id
        self._undefended[channel_id] = concern
        try:
            held = self._kept(channel_id)
            self._chain.set_budget(channel_id, sum(each.budget for each in held))
            for each in held:
                evidence = each.evidence
                shown = (*evidence.portfolios, *concern.portfolios)
                side = each.side if len(held) == 1 else None
                await self.monitor.watch(attrs.evolve(evidence, portfolios=shown, side=side))
        except Exception as error:  # one channel's fault must not leave the others undefended
            guarded = self.monitor.watched(channel_id) is not None
            self._alert(
                Alert(
                    level=Level.WARNING if guarded else Level.CRITICAL,
                    code=AlertCode.STORE_TROUBLE,
                    text=f"a disputed channel is handed over again at the next head: {error!r}",
                    channel_id=channel_id,
                )
            )
            return
        self._undefended.pop(channel_id, None)

    def _kept(self, channel_id: bytes) -> list[Kept]:
        """What is kept of a channel, for either side."""
        found = (self.book.kept(key) for key in self.book.keys(channel_id))
        return [each for each in found if each is not None]

    async def _at_head(self, head: Head) -> None:
        """What is due now: turns, boxes, what failed before, and the heartbeat."""
        waiting = {channel_id for _, channel_id in self._staggered}
        while self._staggered and self._staggered[0][0] <= head.timestamp:
            waiting.discard(heapq.heappop(self._staggered)[1])
        for channel_id in [each for each in self._undefended if each not in waiting]:
            await self._defend(self._undefended[channel_id])
        for channel_id in self.book.due(head.timestamp):
            if self.monitor.watched(channel_id) is None:
                await self._defend(Concern(channel_id=channel_id))
        try:
            await self._let_go(head)
        except StorageError as error:  # they stay in memory; what is defended stays so
            _LOG.warning("channels with nothing left to do are not let go: %s", error)
        self._nursery.start_soon(
            partial(
                self._pulse.at_head,
                head,
                disputes=self.lookout.disputes,
                sure=not self.degraded and not self._undefended,
            )
        )

    async def _let_go(self, head: Head) -> None:
        """Forget, in memory, channels with nothing left to do: the book keeps them."""
        for channel_id in self.monitor.channels:
            found = self.monitor.reading(channel_id)
            if found is None or found[1] > head.final_number:
                continue
            view = found[0]
            affirming = any(
                each.affirm_by and each.newest.appointment.nonce > view.nonce
                for each in self._kept(channel_id)
            )
            if (
                view.phase is OnChainPhase.OPEN
                and not affirming
                and not self.lookout.disputed_lately(channel_id)
            ):
                await self.monitor.forget(channel_id)
                await self.book.write(Release(channel_id))

    # ---- telling

    async def start(self) -> None:
        """Hand the monitor what an earlier run knew to be disputed, then follow the chain."""
        for channel_id, _ in self.book.disputes():
            await self._defend(Concern(channel_id=channel_id))
        self._nursery.start_soon(self.lookout.run)
        self._nursery.start_soon(self._heed_reports)
        self._nursery.start_soon(self._heed_alerts)
        self._nursery.start_soon(self._heed_jobs)

    async def _heed_reports(self) -> None:
        async for report in self.monitor.reports:
            await self._heed(report)

    async def _heed(self, report: Report) -> None:
        match report:
            case DisputeFound():
                self.tally.duties["found"] += 1
            case DutySubmitted():
                self.tally.duties[report.duty.name.lower()] += 1
                if report.duty is Duty.REFUTE:
                    self.tally.responses.add(report.seconds)
            case DutyDone():
                self.tally.duties["done"] += 1
            case ChannelFinished():
                try:
                    for key in self.book.keys(report.channel_id):
                        await self.book.write(Forget(key))
                    await self.book.write(Release(report.channel_id))
                except StorageError as error:
                    text = f"a channel that has ended is still in the book: {error}"
                    self._alert(Alert(level=Level.WARNING, code=AlertCode.STORE_TROUBLE, text=text))

    async def _heed_jobs(self) -> None:
        """Count replacements: another transaction of the same job under the same nonce."""
        sent: dict[bytes, tuple[int, bytes]] = {}
        with self._chain.job_updates() as updates:
            async for update in updates:
                if isinstance(update, JobBroadcast):
                    before = sent.get(update.key)
                    sent[update.key] = now = (update.nonce, update.transaction_hash)
                    if before is not None and before != now and before[0] == now[0]:
                        self.tally.replacements += 1
                elif isinstance(update, JobFinal | JobFailed):
                    sent.pop(update.key, None)

    async def _heed_alerts(self) -> None:
        async for alert in self.monitor.alerts:
            self._tell(alert)

    def _alert(self, alert: Alert) -> None:
        """An alert of the tower's own; those of the monitor come by its stream."""
        self.monitor.voice.alert(alert)

    def _tell(self, alert: Alert) -> None:
        self.tally.alerts[alert.code.name.lower(), alert.level.name.lower()] += 1
        if self._on_alert is not None:
            self._nursery.start_soon(_guarded, self._on_alert, alert)


async def _guarded(on_alert: Callable[[Alert], Awaitable[None]], alert: Alert) -> None:
    """Whoever is told must not be able to end the defence."""
    try:
        await on_alert(alert)
    except Exception:
        _LOG.exception("an alert could not be passed on")


@asynccontextmanager
async def open_tower(
    chain: TowerChain,
    book: Book,
    *,
    records: RecordsPort,
    signer: Signer,
    policy: TowerPolicy | None = None,
    prices: PriceSource | None = None,
    on_alert: Callable[[Alert], Awaitable[None]] | None = None,
) -> AsyncIterator[Tower]:
    """Run a tower for the time of an ``async with``.

    Args:
        chain: a `channels.tower.chain.BudgetedChain`, or what does the same.
        book: what it keeps.
        records: a namespace of a store, for the monitor alone.
        signer: signs receipts and heartbeats; a key that can do nothing else.
        policy: how it works.
        prices: as `open_monitor`.
        on_alert: is told of every alert, each in a task of its own; what it raises is logged.

    Raises:
        SchemaVersionError: the records are of another version.
        StorageError: the records cannot be read.
    """
    policy = policy or TowerPolicy()
    async with (
        open_monitor(
            chain, records=records, policy=policy.monitor, pace=policy.pace, prices=prices
        ) as monitor,
        open_tasks() as nursery,
    ):
        tower = Tower(chain, book, monitor, signer, policy, nursery, on_alert)
        await tower.start()
        yield tower
