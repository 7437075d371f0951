"""Taking appointments: checked, made durable, handed to the defence, and only then receipted.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import attrs
import trio

from channels.errors import AppointmentRefusedError, InvalidValueError
from channels.protocol.calls import Checkpoint
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelView, Head
from channels.protocol.signing import Signable, Signature, Signer
from channels.protocol.types import Party
from channels.protocol.watching import Appointment, Receipt
from channels.tower.book import Book
from channels.tower.content import Content
from channels.tower.intake import (
    Account,
    IntakePolicy,
    Refusal,
    check_offer,
    check_standing,
    signer_of,
)
from channels.tower.kept import Holding, Kept, watch_key
from channels.tower.ports import TowerChain
from channels.tower.signed import SignedReceipt
from channels.tower.tally import Tally
from channels.tower.writes import CountReceipt, Forget, Keep

__all__ = ["Clerk"]


@attrs.frozen(kw_only=True)
class _Taken:
    """What came of an appointment: the number of its receipt, and what is kept of it newly.

    Number 0: another process has just taken one of the same entry, and both must be heeded.
    """

    number: int
    kept: Kept | None = None
    view: ChannelView | None = None


class Clerk:
    """A tower's intake. ``defend`` is told of every entry as it is now, before its receipt.

    ``file`` is told of those for which a dispute is to be filed.
    """

    def __init__(
        self,
        chain: TowerChain,
        book: Book,
        *,
        signer: Signer,
        policy: IntakePolicy,
        tally: Tally,
        defend: Callable[[Kept, ChannelView | None], Awaitable[None]],
        file: Callable[[Kept], Awaitable[None]],
    ) -> None:
        self._chain = chain
        self._book = book
        self._signer = signer
        self._policy = policy
        self._tally = tally
        self._defend = defend
        self._file = file
        self._busy: dict[bytes, trio.Lock] = {}
        self._under_way: Counter[tuple[Address, str]] = Counter()

    async def accept(
        self, appointment: Appointment, signature: Signature, content: bytes
    ) -> SignedReceipt:
        """Take an appointment. Raises as `Tower.accept`."""
        started = trio.current_time()
        try:
            receipt = await self._accept(appointment, signature, content)
        except AppointmentRefusedError as error:
            self._tally.appointments[error.refusal] += 1
            raise
        except Exception:
            self._tally.appointments["failed"] += 1
            raise
        self._tally.appointments["accepted"] += 1
        self._tally.receipts.add(trio.current_time() - started)
        return receipt

    async def _accept(
        self, appointment: Appointment, signature: Signature, content: bytes
    ) -> SignedReceipt:
        customer = signer_of(appointment, signature, self._chain.domain)
        key = _entry(appointment, content, customer)
        holding = Holding(appointment=appointment, signature=signature, content=content)
        async with self._alone(key):
            taken = await self._take(holding, customer, key)
            while not taken.number:
                taken = await self._take(holding, customer, key)
            if taken.kept is not None:
                self._tally.commits.add(self._book.commit_seconds)
                await self._defend(taken.kept, taken.view)
            return await self._receipt(appointment, taken.number)

    async def _take(self, holding: Holding, customer: Address, key: bytes) -> _Taken:
        """Check an appointment against what is kept, and keep it."""
        appointment = holding.appointment
        kept = await self._book.ask(lambda book: book.kept(key))
        if kept is not None and any(each.appointment == appointment for each in kept.holdings):
            # Its answer got lost: asked for again, it is given again.
            return _Taken(number=await self._book.write(CountReceipt()))
        with self._reserve(customer, kept, appointment.gas_budget) as own:
            account = await self._account(customer, kept, own)
            head = self._chain.head
            check_offer(
                holding,
                customer,
                domain=self._chain.domain,
                kept=kept,
                account=account,
                head=head,
                policy=self._policy,
                delegate=self._chain.account,
            )
            view = None if kept is not None else await self._examine(holding, head)
            over = b"" if kept is None else kept.record
            if kept is None:
                kept = Kept(customer=customer, pot=0 if view is None else view.pot)
            kept = kept.with_holding(holding, heard=head.timestamp)
            return _Taken(number=await self._book.write(Keep(kept, over)), kept=kept, view=view)

    async def file_dispute(self, key: bytes) -> None:
        """Note a customer's word that a dispute is to be filed, and have it done.

        Raises:
            AppointmentRefusedError: it has not authorised any.
            StorageError: it is not noted.
        """
        number = 0
        async with self._alone(key):
            while not number:
                before = await self._book.ask(lambda book: book.kept(key))
                if before is None or before.authorised is None:
                    raise AppointmentRefusedError(
                        Refusal.AUTHORISATION, "the newest appointment authorises no dispute"
                    )
                kept = attrs.evolve(before, called=self._chain.head.timestamp)
                number = await self._book.write(Keep(kept, before.record))
            await self._file(kept)

    async def forget(self, key: bytes) -> None:
        """Delete an entry. Raises `StorageError` if it is still there."""
        async with self._alone(key):
            await self._book.write(Forget(key))

    @asynccontextmanager
    async def _alone(self, key: bytes) -> AsyncIterator[None]:
        """One appointment of an entry at a time."""
        lock = self._busy.setdefault(key, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._busy.pop(key, None)

    async def _account(self, customer: Address, kept: Kept | None, own: Account) -> Account:
        """What a customer has here and under way; the entry itself, reserved as ``own``, not.

        What is under way is looked at first: what ends meanwhile counts twice rather than never.
        """
        channels = self._under_way[customer, "channels"] - own.channels
        wei = self._under_way[customer, "wei"] - own.committed
        account = await self._book.ask(lambda book: book.account(customer))
        return Account(
            channels=account.channels + channels - (kept is not None),
            committed=account.committed + wei - (0 if kept is None else kept.budget),
        )

    @contextmanager
    def _reserve(self, customer: Address, kept: Kept | None, budget: int) -> Iterator[Account]:
        """Count what is under way, so that quotas hold for many appointments at once."""
        own = Account(
            channels=int(kept is None), committed=budget - (0 if kept is None else kept.budget)
        )
        more = {(customer, "channels"): own.channels, (customer, "wei"): own.committed}
        self._under_way.update(more)
        try:
            yield own
        finally:
            self._under_way.subtract(more)
            for each in more:
                if not self._under_way[each]:
                    del self._under_way[each]

    async def _examine(self, holding: Holding, head: Head) -> ChannelView:
        """A channel that is new here: look at it on the chain, and try its state out."""
        appointment = holding.appointment
        view = await self._chain.view(appointment.channel_id, head.hash)
        check_standing(holding, view, head, self._policy)
        if appointment.nonce > view.nonce:
            call = Checkpoint(terms=holding.parts.terms, newest=holding.state)
            if not await self._chain.would_record(call):
                raise AppointmentRefusedError(
                    Refusal.WOULD_FAIL, "tried out now, the contract would not record this state"
                )
        return view

    async def _receipt(self, appointment: Appointment, number: int) -> SignedReceipt:
        head = self._chain.head
        receipt = Receipt(
            appointment_hash=appointment.struct_hash,
            channel_id=appointment.channel_id,
            nonce=appointment.nonce,
            valid_from=head.timestamp,
            valid_to=appointment.valid_until or head.timestamp + self._policy.receipt_term,
            accepted_at=head.number,
            longest_response=self._policy.longest_response,
            sequence=number,
        )
        signature = await self._signer.sign(Signable(self._chain.domain, receipt))
        return SignedReceipt(receipt=receipt, signature=signature)


def _entry(appointment: Appointment, content: bytes, customer: Address) -> bytes:
    """The key of the entry that an appointment is for."""
    try:
        terms = Content.read(content).terms
    except InvalidValueError as error:
        raise AppointmentRefusedError(Refusal.MALFORMED, str(error)) from error
    for side in Party:
        if customer == terms.signer(side):
            return watch_key(appointment.channel_id, side)
    raise AppointmentRefusedError(
        Refusal.NOT_A_SIGNER, "signed by neither of the channel's two signers"
    )
