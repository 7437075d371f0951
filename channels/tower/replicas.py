"""Several towers as one: a state is protected when enough of them have given a receipt.

::

    async with open_protection(clients, signer=signer, domain=domain) as protection:
        receipts = await protection.protected(evidence_of(channel))

The first ``active`` towers have everything; the others are spares. One that lies, or whose
heartbeats stop, is left, and a spare is handed everything in its place.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import time_ns

import attrs
import trio

from channels.chain.tasks import open_tasks
from channels.dispute import Evidence
from channels.dispute.evidence import Held
from channels.errors import (
    AppointmentRefusedError,
    InvalidValueError,
    NotProtectedError,
    PeerError,
    TowerFaultError,
)
from channels.protocol.eip712 import Address
from channels.protocol.facts import Head
from channels.protocol.signing import Signer
from channels.protocol.terms import Domain, channel_id
from channels.tower.appointments import CustomerPolicy, make_appointment, newest_states
from channels.tower.client import Recovered, TowerClient
from channels.tower.kept import Holding
from channels.tower.signed import SignedReceipt

__all__ = ["Protection", "ProtectionPolicy", "open_protection"]


@attrs.frozen(kw_only=True)
class ProtectionPolicy:
    """``needed`` receipts protect; ``active`` towers have everything.

    A tower is left whose newest heartbeat is older than ``stale_after`` seconds of chain time, or,
    where no chain is at hand, that gives no new one for as long by our clock. Looked at every
    ``look_every`` seconds. ``patience``: seconds for one tower's receipt.
    """

    customer: CustomerPolicy = attrs.field(factory=CustomerPolicy)
    needed: int = 1
    active: int = 2
    stale_after: float = 300.0
    look_every: float = 30.0
    patience: float = 20.0

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.needed <= self.active:
            raise InvalidValueError("at least one receipt is needed, and no more than are active")


@attrs.define
class _Cover:
    """What is handed over of one channel: appointments by their state's hash."""

    evidence: Evidence
    holdings: dict[bytes, Holding] = attrs.field(factory=dict)
    receipts: dict[bytes, dict[Address, SignedReceipt]] = attrs.field(factory=dict)


class Protection:
    """A customer's towers. Make one with `open_protection`; `protected` is what a peer waits on."""

    def __init__(
        self,
        clients: Sequence[TowerClient],
        *,
        signer: Signer,
        domain: Domain,
        policy: ProtectionPolicy,
        nursery: trio.Nursery,
        on_trouble: Callable[[TowerClient, Exception], Awaitable[None]] | None,
        head: Callable[[], Head] | None,
        sequence: Callable[[], int],
    ) -> None:
        self._spares = list(clients)
        self._active: list[TowerClient] = []
        self._signer = signer
        self._domain = domain
        self._policy = policy
        self._nursery = nursery
        self._on_trouble = on_trouble
        self._head = head
        self._next = sequence
        self._sequence = 0
        self._covers: dict[bytes, _Cover] = {}
        self._busy: dict[bytes, trio.Lock] = {}
        self._since: dict[bytes, tuple[int, float]] = {}
        self._fill()

    @property
    def towers(self) -> tuple[TowerClient, ...]:
        """Those that have everything."""
        return tuple(self._active)

    def receipts(self, channel: bytes) -> tuple[SignedReceipt, ...]:
        """Receipts in hand for what was handed over last of a channel."""
        return tuple(each for held in self.receipts_by_tower(channel).values() for each in held)

    def receipts_by_tower(self, channel: bytes) -> Mapping[Address, tuple[SignedReceipt, ...]]:
        """The same, by the address that signs for the tower."""
        cover, found = self._covers.get(channel), dict[Address, tuple[SignedReceipt, ...]]()
        for held in () if cover is None else cover.receipts.values():
            for tower, signed in held.items():
                found[tower] = (*found.get(tower, ()), signed)
        return found

    async def protected(self, evidence: Evidence) -> tuple[SignedReceipt, ...]:
        """Hand the newest states over; return when each has as many receipts as are needed.

        The other towers are handed them meanwhile. What was handed over before is not again. Of
        newer states that are handed over meanwhile, their receipts are waited for: a tower that has
        those takes none of these.

        Raises:
            NotProtectedError: fewer towers took one of them; those that did have given receipts.
            SignerError: an appointment could not be signed.
        """
        channel = channel_id(self._domain, evidence.terms)
        async with self._busy.setdefault(channel, trio.Lock()):
            cover = await self._prepare(channel, evidence)
        while True:
            try:
                for state_hash in tuple(cover.holdings):
                    await self._hand_over(cover, state_hash)
            except NotProtectedError:
                if not self._is_superseded(cover):
                    raise
                cover = self._covers[channel]
            else:
                return self.receipts(channel)

    async def recover(self, channel: bytes) -> Recovered:
        """The newest that any tower gives back of a channel; portfolios are opened by the signer.

        Raises:
            NotProtectedError: none gives anything.
        """
        found: list[Recovered] = []
        for client in (*self._active, *self._spares):
            try:
                with trio.fail_after(self._policy.patience):
                    found.append(await client.recover(self._signer, channel))
            except (PeerError, trio.TooSlowError) as error:
                await self._tell(client, error)
        if not found:
            raise NotProtectedError(f"no tower gives channel 0x{channel.hex()} back")
        self._sequence = max(self._sequence, *(each.sequence for each in found))
        return max(found, key=lambda each: max(state.state.nonce for state in each.evidence.states))

    # ---- handing over

    async def _prepare(self, channel: bytes, evidence: Evidence) -> _Cover:
        """Make the appointments that are not made yet; those of older states are dropped."""
        before = self._covers.get(channel) or _Cover(evidence)
        cover = _Cover(evidence)
        for state in newest_states(evidence):
            key = state.state.struct_hash
            made = before.holdings.get(key)
            cover.holdings[key] = made or await self._make(evidence, state)
            cover.receipts[key] = before.receipts.get(key, {})
        self._covers[channel] = cover
        return cover

    async def _make(self, evidence: Evidence, state: Held) -> Holding:
        self._sequence = max(self._sequence + 1, self._next())
        return await make_appointment(
            evidence,
            state,
            signer=self._signer,
            domain=self._domain,
            sequence=self._sequence,
            policy=self._policy.customer,
        )

    async def _hand_over(self, cover: _Cover, state_hash: bytes) -> None:
        """Hand one appointment to every active tower; return when enough have given a receipt."""
        receipts, news = cover.receipts[state_hash], trio.Event()
        clients = [each for each in self._active if each.tower not in receipts]
        waiting = len(clients)
        failures: list[Exception] = []

        async def hand_to(client: TowerClient) -> None:
            nonlocal waiting
            try:
                receipts[client.tower] = await self._register(client, cover.holdings[state_hash])
            except (PeerError, trio.TooSlowError) as error:
                failures.append(error)
                if not (isinstance(error, AppointmentRefusedError) and self._is_superseded(cover)):
                    await self._tell(client, error)
                if isinstance(error, TowerFaultError):
                    await self._leave(client)
            waiting -= 1
            news.set()

        for client in clients:
            self._nursery.start_soon(hand_to, client)
        while len(receipts) < self._policy.needed:
            if not waiting:
                said = "; ".join(str(each) or repr(each) for each in failures)
                raise NotProtectedError(
                    f"{len(receipts)} of {self._policy.needed} towers have it: {said}"
                )
            await news.wait()
            news = trio.Event()

    def _is_superseded(self, cover: _Cover) -> bool:
        """Whether other states of its channel, which are newer, were handed over since."""
        newest = self._covers[channel_id(self._domain, cover.evidence.terms)]
        return newest.holdings.keys() != cover.holdings.keys()

    async def _register(self, client: TowerClient, holding: Holding) -> SignedReceipt:
        with trio.fail_after(self._policy.patience):
            return await client.register(holding)

    # ---- looking after the towers

    def _fill(self) -> None:
        while self._spares and len(self._active) < self._policy.active:
            self._active.append(self._spares.pop(0))

    async def _leave(self, client: TowerClient) -> None:
        """Leave a tower; a spare takes its place and is handed everything."""
        if client not in self._active:
            return
        self._active.remove(client)
        self._since.pop(client.tower, None)
        for cover in self._covers.values():
            for receipts in cover.receipts.values():
                receipts.pop(client.tower, None)
        known = set(self._active)
        self._fill()
        for spare in self._active:
            if spare not in known:
                self._nursery.start_soon(self._hand_everything, spare)

    async def _hand_everything(self, client: TowerClient) -> None:
        for cover in tuple(self._covers.values()):
            for key, holding in cover.holdings.items():
                try:
                    cover.receipts[key][client.tower] = await self._register(client, holding)
                except (PeerError, trio.TooSlowError) as error:
                    await self._tell(client, error)

    async def run(self) -> None:
        """Look at heartbeats, for ever."""
        while True:
            await trio.sleep(self._policy.look_every)
            await self.look()

    async def look(self) -> None:
        """Look at every active tower's heartbeat once, and leave those that are to be left."""
        async with trio.open_nursery() as nursery:
            for client in tuple(self._active):
                nursery.start_soon(self._look_at, client)

    async def _look_at(self, client: TowerClient) -> None:
        try:
            with trio.fail_after(self._policy.patience):
                await client.heartbeat()
        except TowerFaultError as error:
            await self._tell(client, error)
            await self._leave(client)
            return
        except (PeerError, trio.TooSlowError) as error:
            await self._tell(client, error)
        silence = self._silence(client)
        if silence > self._policy.stale_after:
            fault = TowerFaultError(f"no heartbeat of {client.url} for {silence:.0f} seconds")
            await self._tell(client, fault)
            await self._leave(client)

    def _silence(self, client: TowerClient) -> float:
        """Seconds since the tower last said where the chain is."""
        beat = client.last_beat
        if self._head is not None and beat is not None:
            return self._head().timestamp - beat.heartbeat.head_time
        number = 0 if beat is None else beat.heartbeat.sequence
        known = self._since.get(client.tower)
        if known is None or known[0] != number:
            known = self._since[client.tower] = (number, trio.current_time())
        return trio.current_time() - known[1]

    async def _tell(self, client: TowerClient, error: Exception) -> None:
        if self._on_trouble is not None:
            self._nursery.start_soon(partial(self._on_trouble, client, error))


@asynccontextmanager
async def open_protection(
    clients: Sequence[TowerClient],
    *,
    signer: Signer,
    domain: Domain,
    policy: ProtectionPolicy | None = None,
    on_trouble: Callable[[TowerClient, Exception], Awaitable[None]] | None = None,
    head: Callable[[], Head] | None = None,
    sequence: Callable[[], int] = lambda: time_ns() // 1_000,
) -> AsyncIterator[Protection]:
    """Use these towers, in order of preference, for the time of an ``async with``.

    Args:
        clients: the towers.
        signer: the channel signer's key, which signs appointments.
        domain: of the Adjudicator.
        policy: how many must have what.
        on_trouble: is told when a tower fails or is left; must not raise.
        head: our own view of the chain, to compare heartbeats with.
        sequence: a number that grows; microseconds, so that it does after a loss of data too.
    """
    async with open_tasks() as nursery:
        protection = Protection(
            clients,
            signer=signer,
            domain=domain,
            policy=policy or ProtectionPolicy(),
            nursery=nursery,
            on_trouble=on_trouble,
            head=head,
            sequence=sequence,
        )
        nursery.start_soon(protection.run)
        yield protection
