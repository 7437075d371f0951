"""The tower: takes appointments, watches the chain, defends, and says so, signed.

::

    async with (
        open_book("tower.db") as book,
        open_tower(chain, book, records=store.records("monitor"), signer=signer) as tower,
    ):
        receipt = await tower.accept(appointment, signature, content)

A receipt is signed after the appointment is durable, and after the defence has it where the channel
is disputed already.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio

from channels.chain.tasks import open_tasks
from channels.dispute import Alert, AlertCode, Level, Monitor, PriceSource, open_monitor
from channels.dispute.guard import Voice
from channels.dispute.ports import RecordsPort
from channels.errors import AppointmentRefusedError, IllegalCommandError, StorageError
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.protocol.signing import Signature, Signer
from channels.protocol.watching import Appointment
from channels.tower.book import Book
from channels.tower.clerk import Clerk
from channels.tower.defence import Defence
from channels.tower.heeding import count_replacements, heed_reports, pass_on_alerts
from channels.tower.holder import Holder
from channels.tower.intake import Refusal
from channels.tower.kept import Kept
from channels.tower.lookout import Lookout
from channels.tower.policy import TowerPolicy
from channels.tower.ports import TowerChain
from channels.tower.pulse import Pulse
from channels.tower.signed import SignedHeartbeat, SignedReceipt
from channels.tower.standby import Standby
from channels.tower.tally import Tally

__all__ = ["Tower", "TowerPolicy", "open_standby", "open_tower"]

_LOG: Final = logging.getLogger("channels.tower")


class Tower:
    """A watchtower. Make one with `open_tower` or `open_standby`.

    ``tally`` counts its work; ``defence`` is what it does about disputes.
    """

    def __init__(
        self,
        chain: TowerChain,
        book: Book,
        defence: Defence,
        *,
        signer: Signer,
        policy: TowerPolicy,
        tally: Tally,
        alert: Callable[[Alert], None],
        nursery: trio.Nursery,
    ) -> None:
        self.book = book
        self.chain = chain
        self.defence = defence
        self.policy = policy
        self.tally = tally
        self.lookout = Lookout(
            chain,
            book,
            tally=tally,
            concern=defence.see_to,
            at_head=self._at_head,
            alert=alert,
            retry_after=policy.pace.retry_after,
        )
        self._pulse = Pulse(chain, book, signer=signer, every=policy.beat_every, alert=alert)
        self._clerk = Clerk(
            chain,
            book,
            signer=signer,
            policy=policy.intake,
            tally=tally,
            defend=self._defend_new,
            file=self._file,
        )
        self._signer = signer
        self._nursery = nursery
        self._alert = alert

    @property
    def monitor(self) -> Monitor:
        """What defends here.

        Raises:
            IllegalCommandError: another process holds the lease and defends.
        """
        if self.defence.monitor is None:
            raise IllegalCommandError("a tower on standby has no monitor")
        return self.defence.monitor

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
        return self.chain.account

    @property
    def degraded(self) -> bool:
        """Whether a dispute may have been missed, or the book takes no more writes."""
        return self.lookout.degraded or self.defence.degraded or self.book.failed is not None

    @property
    def undefended(self) -> int:
        """Disputed channels that the monitor does not have: not yet its turn, or in trouble."""
        return self.defence.undefended

    @property
    def disputes(self) -> dict[bytes, ChannelView]:
        """Watched channels that are in their window, as last read."""
        return self.defence.disputes

    @property
    def deadlines(self) -> list[int]:
        """When their windows end, chain time."""
        return [each.deadline for each in self.disputes.values()]

    @property
    def head(self) -> Head:
        """The newest block."""
        return self.chain.head

    @property
    def trouble(self) -> Exception | None:
        """What is wrong with the endpoints right now."""
        return self.chain.trouble

    async def ready(self) -> None:
        """Wait until everything that was missed has been taken in."""
        await self.lookout.ready.wait()
        await self.defence.ready()

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

    async def file_dispute(self, key: bytes) -> None:
        """File a dispute for a customer, at its word. On return that is durable.

        Raises:
            AppointmentRefusedError: it has not authorised any.
            StorageError: it is not noted.
        """
        await self._clerk.file_dispute(key)

    async def forget(self, key: bytes) -> None:
        """Stop watching for a customer: **it may lose funds** from now on; its receipts are void.

        Raises:
            StorageError: it is watched on.
        """
        await self._clerk.forget(key)
        channel_id = key[:32]
        if not await self.book.ask(lambda book: book.keys(channel_id)):
            await self.defence.forget(channel_id)

    async def _file(self, kept: Kept) -> None:
        """The defence has a channel for which a dispute is to be filed."""
        await self.defence.take(kept, urgent=True)

    async def _defend_new(self, kept: Kept, view: ChannelView | None) -> None:
        """An appointment is durable: the defence has it before its receipt, if it needs it now."""
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
        disputed = view is not None and view.phase is not OnChainPhase.OPEN
        urgent = disputed or channel_id in self.lookout.disputed_lately
        await self.defence.take(kept, urgent=urgent)

    async def start(self) -> None:
        """Take up what an earlier run knew to be disputed, then follow the chain."""
        await self.defence.start()
        self._nursery.start_soon(self.lookout.run)

    async def _at_head(self, head: Head) -> None:
        """What is due at a head, and the heartbeat."""
        try:
            await self.book.refresh()
        except StorageError as error:
            _LOG.warning("what other processes have written is not taken in: %s", error)
        await self.defence.at_head(head, self.lookout.disputed_lately)
        self._nursery.start_soon(
            partial(
                self._pulse.at_head,
                head,
                disputes=self.lookout.disputes,
                sure=not self.degraded and self.defence.sure,
            )
        )


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
    """Run a tower that acts, for the time of an ``async with``.

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
    tally = Tally()
    async with (
        open_monitor(
            chain, records=records, policy=policy.monitor, pace=policy.pace, prices=prices
        ) as monitor,
        open_tasks() as nursery,
    ):
        alert = monitor.voice.alert
        tower = Tower(
            chain,
            book,
            Holder(chain, book, monitor, policy=policy, alert=alert),
            signer=signer,
            policy=policy,
            tally=tally,
            alert=alert,
            nursery=nursery,
        )
        await tower.start()
        nursery.start_soon(heed_reports, monitor.reports, book, tally, alert, policy.canary)
        nursery.start_soon(count_replacements, chain, tally)
        nursery.start_soon(pass_on_alerts, monitor.alerts, tally, on_alert)
        yield tower


@asynccontextmanager
async def open_standby(
    chain: TowerChain,
    book: Book,
    *,
    held: Callable[[], Awaitable[bool]],
    signer: Signer,
    policy: TowerPolicy | None = None,
    on_alert: Callable[[Alert], Awaitable[None]] | None = None,
) -> AsyncIterator[Tower]:
    """Run a tower that lets another process act, for the time of an ``async with``.

    Args:
        chain: as `open_tower`; nothing is sent through it.
        book: in a database that the processes share.
        held: tells whether a process holds the lease and acts.
        signer: as `open_tower`, and the same key.
        policy: as `open_tower`.
        on_alert: as `open_tower`.
    """
    policy = policy or TowerPolicy()
    tally, voice = Tally(), Voice()
    async with open_tasks() as nursery:
        tower = Tower(
            chain,
            book,
            Standby(chain, book, held=held),
            signer=signer,
            policy=policy,
            tally=tally,
            alert=voice.alert,
            nursery=nursery,
        )
        await tower.start()
        nursery.start_soon(pass_on_alerts, voice.alerts, tally, on_alert)
        yield tower
