"""A tower as a process that kills itself with SIGKILL where it is told to.

``python -m tests.faults.child`` imports everything once, reads one life a line from standard input
and forks a tower for it; what happens to that tower comes as JSON lines on standard output. It may
die on either side of every commit of its two databases, of every signature (receipts, heartbeats,
transactions), of every broadcast: these points are counted from its birth.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any, Final

import trio

from channels.chain import Finality, LocalAccount, open_chain
from channels.chain.accounts import UnsignedTransaction
from channels.chain.endpoints import open_endpoints
from channels.dispute import Pace
from channels.errors import AppointmentRefusedError
from channels.protocol.eip712 import address
from channels.protocol.signing import LocalSigner, Signable, Signature
from channels.protocol.watching import Appointment
from channels.storage import open_store
from channels.tower.book import open_book
from channels.tower.chain import BudgetedChain
from channels.tower.service import TowerPolicy, open_tower

POLL: Final = 0.03
POLICY: Final = TowerPolicy(pace=Pace(retry_after=0.2), beat_every=1)


class Points:
    """Where the process may die; ``deadly`` is the number of the one to die at, 0: none."""

    deadly = 0
    passed = 0
    told = False

    def at(self, label: str) -> None:
        self.passed += 1
        if self.told:
            tell(point=label)
        if self.passed == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)


points = Points()


def tell(**values: Any) -> None:
    os.write(1, json.dumps(values).encode() + b"\n")


class MortalConnection(sqlite3.Connection):
    """A database whose owner may die on either side of a commit."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql != "COMMIT":
            return super().execute(sql, *parameters)
        points.at("before a commit")
        cursor = super().execute(sql, *parameters)
        points.at("after a commit")
        return cursor


class MortalSigner:
    def __init__(self, key: LocalSigner) -> None:
        self._key = key
        self.address = key.address

    async def sign(self, signable: Signable) -> Signature:
        name = type(signable.value).__name__
        points.at(f"before a {name} is signed")
        signature = await self._key.sign(signable)
        points.at(f"after a {name} is signed")
        return signature


class MortalAccount(LocalAccount):
    async def sign_transaction(self, transaction: UnsignedTransaction) -> bytes:
        points.at("before a transaction is signed")
        raw = await super().sign_transaction(transaction)
        points.at("after a transaction is signed")
        return raw


class MortalPool:
    """Endpoints whose user may die on either side of a broadcast."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    async def make_request(self, method: Any, params: Any) -> Any:
        if method != "eth_sendRawTransaction":
            return await self._pool.make_request(method, params)
        points.at("before a broadcast")
        answer = await self._pool.make_request(method, params)
        points.at("after a broadcast")
        return answer


def fill_the_disk() -> None:
    """From now on no file takes another byte."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


async def live(config: dict[str, Any]) -> None:
    """Take the appointments given, say which have a receipt, and defend."""
    folder = Path(config["folder"])
    finality = Finality.depth(config["finality"])
    async with (
        open_store(folder / "jobs.db") as store,
        open_book(folder / "book.db") as book,
        open_endpoints(config["rpc"], finality=finality, interval=0.2, patience=60.0) as pool,
        open_chain(
            MortalPool(pool),
            adjudicator=address(bytes.fromhex(config["adjudicator"])),
            account=MortalAccount(bytes.fromhex(config["account"])),
            store=store.records("jobs"),
            finality=finality,
            poll_interval=POLL,
        ) as chain,
        open_tower(
            BudgetedChain(chain),
            book,
            records=store.records("monitor"),
            signer=MortalSigner(LocalSigner(bytes.fromhex(config["signer"]))),
            policy=POLICY,
        ) as tower,
    ):
        await tower.ready()
        for number, offer in enumerate(config["offers"]):
            fields: dict[str, Any] = {
                key: bytes.fromhex(each) if isinstance(each, str) else each
                for key, each in offer["appointment"].items()
            }
            try:
                signed = await tower.accept(
                    Appointment(**fields),
                    Signature(bytes.fromhex(offer["signature"])),
                    bytes.fromhex(offer["content"]),
                )
            except AppointmentRefusedError as error:
                tell(refused=number, why=str(error))
            else:
                tell(receipt=number, nonce=signed.receipt.nonce)
        if config.get("full_disk"):
            fill_the_disk()
        tell(ready=points.passed)
        await trio.sleep_forever()


def main() -> None:
    """One life a line."""
    connect = sqlite3.connect
    sqlite3.connect = lambda *given, **named: connect(
        *given, **{"factory": MortalConnection, **named}
    )
    for line in sys.stdin:
        config = json.loads(line)
        process = os.fork()
        if process == 0:
            points.deadly, points.told = config.get("deadly", 0), config.get("told", False)
            tell(born=os.getpid())
            trio.run(live, config)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        tell(ended=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
