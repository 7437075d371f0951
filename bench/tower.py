"""A watchtower's cost: disk and memory for many channels, restart, an idle block, appointments.

The channels are real to the book: each has its own terms, a state with two signatures, and a sealed
portfolio or none. 100,000 of them, with disk and memory scaled up to a million beside them; with
the environment variable BENCH_TOWER_FULL set a million, which takes ten minutes.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from bench.results import Result
from bench.timing import seconds
from channels.chain.fees import Urgency
from channels.chain.heads import ChainUpdate
from channels.chain.jobs import Intent, JobUpdate
from channels.dispute.ports import JobsPort, OraclePort, UpdateLike
from channels.protocol.calls import Call, Checkpoint
from channels.protocol.eip712 import Address, keccak
from channels.protocol.facts import ChainEvent, ChannelView, Head, OnChainPhase
from channels.protocol.signing import LocalSigner
from channels.protocol.terms import Domain, RiskParams, Terms, channel_id, hash_risk_params
from channels.protocol.types import feed_id, hash_state
from channels.protocol.watching import Appointment
from channels.storage import open_store
from channels.tower.book import open_book
from channels.tower.content import Content
from channels.tower.intake import IntakePolicy
from channels.tower.kept import Holding, Kept
from channels.tower.service import TowerPolicy, open_tower
from channels.tower.writes import Cursor, Keep, Progress, Write

__all__ = ["measure"]

MILLION: Final = 1_000_000
FULL: Final = "BENCH_TOWER_FULL"
SEALED: Final = (0, 250)
"""Bytes of a sealed portfolio: kept by the customer itself, and of one position; 110 for more."""
AT_ONCE: Final = 32
"""Customers who ask at once."""

_GIB: Final = float(2**30)
_A: Final = LocalSigner(b"\x01" * 32)
_B: Final = LocalSigner(b"\x02" * 32)
_TOWER: Final = LocalSigner(b"\x03" * 32)
_DOMAIN: Final = Domain(chain_id=1, adjudicator=Address(b"\x0a" * 20))
_NOW: Final = 1_800_000_000
_RISK: Final = hash_risk_params((RiskParams(feed=feed_id("ETH-USD")),))
_POLICY: Final = TowerPolicy(intake=IntakePolicy(quota=2 * MILLION, prepaid=10**30))


def _terms(number: int) -> Terms:
    return Terms(
        party_a=Address(keccak(b"a%d" % number)[:20]),
        party_b=Address(keccak(b"b%d" % number)[:20]),
        signer_a=_A.address,
        signer_b=_B.address,
        collateral=Address(b"\x05" * 20),
        unit=10**6,
        oracle=Address(b"\x06" * 20),
        dispute_window=86_400,
        cure_window=86_400,
        settlement_grace=432_000,
        max_price_age=3_900,
        max_mark_age=172_800,
        max_tenor=34_560_000,
        max_in_flight=16,
        stale_penalty=5 * 10**8,
        default_penalty_bps=500,
        risk_hash=_RISK,
        salt=keccak(b"salt%d" % number),
    )


def _holding(number: int, nonce: int, *, signed: bool, sealed: int = 0) -> Holding:
    """An appointment; unsigned ones are for filling a book, which checks nothing."""
    terms = _terms(number)
    identity = channel_id(_DOMAIN, terms)
    portfolio = keccak(b"%d/%d" % (number, nonce))
    struct = hash_state(identity, nonce, 0, portfolio)
    digest = keccak(b"\x19\x01" + _DOMAIN.separator + struct)
    some = _A.sign_digest(b"\x01" * 32)
    content = Content(
        terms=terms,
        signature_a=_A.sign_digest(digest) if signed else some,
        signature_b=_B.sign_digest(digest) if signed else some,
        portfolio=os.urandom(sealed),
    )
    appointment = Appointment(
        channel_id=identity,
        nonce=nonce,
        valid_until=0,
        portfolio_hash=portfolio,
        duties=0,
        gas_budget=10**16,
        sequence=nonce,
        content_hash=content.hash,
    )
    signature = _A.sign_digest(_DOMAIN.digest(appointment)) if signed else some
    return Holding(appointment=appointment, signature=signature, content=content.packed)


class _StillChain:  # it answers the same whatever it is asked
    """A chain on which every channel is open and blocks come when they are told to."""

    domain = _DOMAIN
    account = _TOWER.address
    trouble = None

    def __init__(self) -> None:
        self.head = _head(100)
        self.followed = trio.Event()  # tower and monitor read the blocks
        self._readers: list[trio.MemorySendChannel[UpdateLike]] = []

    def mine(self) -> None:
        self.head = _head(self.head.number + 1)
        for each in self._readers:
            each.send_nowait(ChainUpdate(head=self.head))

    @property
    def transactions(self) -> JobsPort:
        raise NotImplementedError

    def updates(self, since: int | None = None) -> AsyncIterator[UpdateLike]:  # noqa: ARG002
        give, take = trio.open_memory_channel[UpdateLike](1_000)
        self._readers.append(give)
        if len(self._readers) == 2:
            self.followed.set()
        return take

    async def view(self, channel_id: bytes, block: bytes | None = None) -> ChannelView:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        return ChannelView(phase=OnChainPhase.OPEN, contribution_a=10**10, contribution_b=10**10)

    async def dispute_count(self, block: bytes | None = None) -> int:  # noqa: ARG002
        return 0

    async def block_hash(self, number: int) -> bytes:
        return _head(number).hash

    async def events_between(self, first: int, last: int) -> tuple[ChainEvent, ...]:  # noqa: ARG002
        return ()

    async def would_record(self, call: Checkpoint) -> bool:  # noqa: ARG002
        return True

    async def gas_balance(self) -> int:
        return 10**18

    def set_budget(self, channel_id: bytes, wei: int) -> None:
        pass

    def oracle(self, address: Address) -> OraclePort:
        raise NotImplementedError

    async def submit(self, call: Call, *, key: bytes, urgency: Urgency | None = None) -> None:
        raise NotImplementedError

    async def transact(self, intent: Intent, *, key: bytes) -> None:
        raise NotImplementedError

    def job_updates(self) -> AbstractContextManager[AsyncIterator[JobUpdate]]:
        return _no_jobs()


@contextmanager
def _no_jobs() -> Iterator[AsyncIterator[JobUpdate]]:
    give, take = trio.open_memory_channel[JobUpdate](0)
    yield take
    give.close()


def _head(number: int) -> Head:
    return Head(
        number=number,
        hash=keccak(b"block %d" % number),
        parent_hash=keccak(b"block %d" % (number - 1)),
        timestamp=_NOW + 12 * number,
        final_number=number - 1,
        final_timestamp=_NOW + 12 * (number - 1),
    )


@attrs.frozen
class _Many:
    """Many entries in one write, to fill a book in a reasonable time."""

    every: list[Kept]

    def write(self, transaction: Any) -> int:
        for each in self.every:
            Keep(each).write(transaction)
        return 0


async def _fill(path: Path, count: int, sealed: int) -> None:
    async with open_book(path) as book:
        for start in range(0, count, 1_000):
            page = [
                Kept(customer=_A.address, pot=10**10).with_holding(
                    _holding(n, 1, signed=False, sealed=sealed)
                )
                for n in range(start, min(start + 1_000, count))
            ]
            write: Write = _Many(page)
            await book.write(write)
        cursor = Cursor(number=99, hash=_head(99).hash, disputes=0)
        await book.write(Progress(cursor=cursor))


async def _watch(folder: Path, appointments: int) -> dict[str, float]:
    """Open a filled book, mine idle blocks, and take appointments."""
    found: dict[str, float] = {}
    chain = _StillChain()
    updates = [_holding(n, 2, signed=True) for n in range(appointments)]
    started = time.perf_counter()
    async with (
        open_store(folder / "jobs.db") as store,
        open_book(folder / "book.db") as book,
        open_tower(
            chain, book, records=store.records("monitor"), signer=_TOWER, policy=_POLICY
        ) as tower,
    ):
        await chain.followed.wait()
        chain.mine()
        await tower.ready()
        found["restart"] = time.perf_counter() - started
        blocks = []
        for _ in range(50):
            changed = tower.lookout.changed
            began = time.perf_counter()
            chain.mine()
            await changed.wait()
            blocks.append(time.perf_counter() - began)
        found["block"] = statistics.median(blocks)
        waits: list[float] = []
        queue = iter(updates)

        async def customer() -> None:
            for each in queue:
                began = time.perf_counter()
                await tower.accept(each.appointment, each.signature, each.content)
                waits.append(time.perf_counter() - began)

        began, busy = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(customer)
        found["rate"] = len(waits) / (time.perf_counter() - began)
        found["core_rate"] = len(waits) / (time.process_time() - busy)
        found["p99"] = sorted(waits)[len(waits) * 99 // 100]
        found["entries"] = book.entries
    found["resident"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    return found


def _child(what: str, folder: Path, count: int, appointments: int) -> dict[str, float]:
    """In a process of its own, so that what filled the book is not counted as memory."""
    command = [
        sys.executable,
        "-m",
        "bench.tower",
        what,
        str(folder),
        str(count),
        str(appointments),
    ]
    answer = subprocess.run(
        command, check=True, timeout=1_800, capture_output=True, text=True
    ).stdout
    found: dict[str, float] = json.loads(answer)
    return found


def measure() -> list[Result]:
    """Disk, memory, restart, idle block, appointments a second and their receipts."""
    count = MILLION if os.environ.get(FULL) else 100_000
    appointments = int(2_000 * seconds(1.0)) or 200
    with tempfile.TemporaryDirectory() as name:
        disk = []
        for sealed in reversed(SEALED):
            folder = Path(tempfile.mkdtemp(dir=name))
            _child("fill", folder, count, sealed)
            disk.append((folder / "book.db").stat().st_size)
        found = _child("watch", folder, count, appointments)
        empty = Path(tempfile.mkdtemp(dir=name))
        base = _child("watch", empty, 0, 1)["resident"]
    scale = MILLION / count
    resident = base + (found["resident"] - base) * scale
    many = f"{count:,} channels"
    sealed_disk, bare_disk = (each * scale / _GIB for each in disk)
    return [
        Result(
            name=f"tower: disk, {many} as 1,000,000, hashes alone",
            value=bare_disk,
            unit="GiB",
            target=1.0,
        ),
        Result(
            name=f"tower: disk, {many} as 1,000,000, with a sealed portfolio of one position",
            value=sealed_disk,
            unit="GiB",
        ),
        Result(
            name=f"tower: resident, {many} as 1,000,000",
            value=resident / _GIB,
            unit="GiB",
            target=1.5,
        ),
        Result(
            name=f"tower: ready after restart, {many}",
            value=found["restart"],
            unit="s",
            target=30.0,
        ),
        Result(
            name=f"tower: idle block, {many}", value=found["block"] * 1e3, unit="ms", target=20.0
        ),
        Result(
            name=f"tower: appointments, {AT_ONCE} at once, a second of one core",
            value=found["core_rate"],
            unit="1/s",
            target=1_000.0,
        ),
        Result(
            name=f"tower: appointments, {AT_ONCE} at once, a second of the clock",
            value=found["rate"],
            unit="1/s",
        ),
        Result(
            name=f"tower: receipt p99, {AT_ONCE} at once",
            value=found["p99"] * 1e3,
            unit="ms",
            target=50.0,
        ),
    ]


def _main() -> None:
    what, folder, count, more = sys.argv[1:5]
    if what == "fill":
        trio.run(_fill, Path(folder) / "book.db", int(count), int(more))
        print(json.dumps({}))
    else:
        print(json.dumps(trio.run(_watch, Path(folder), int(more))))


if __name__ == "__main__":
    _main()
