"""One of two processes that are one tower, with a death of its own choice.

``python -m tests.tower.replica_process JSON``: prints one JSON document a line. ``fate`` names what
happens at the transaction number ``fatal``: ``before`` and ``after`` it was sent the process kills
itself, ``sleep`` stops it before, until somebody lets it go on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, Final

import trio

from channels.chain import EthereumChain, Finality, LocalAccount, RecordStore, open_chain
from channels.chain.provider import TrioHTTPProvider, open_provider
from channels.dispute import Pace
from channels.protocol.signing import LocalSigner
from channels.tower.book import open_book
from channels.tower.fenced import FencedRecords
from channels.tower.lease import open_lease
from channels.tower.policy import TowerPolicy
from channels.tower.postgres import PostgresDatabase
from channels.tower.replica import ReplicaSetup, open_replica
from channels.tower.server import ServerConfig, serve_tower
from channels.tower.service import Tower

SEND: Final = "eth_sendRawTransaction"


class Fated(TrioHTTPProvider):
    """An endpoint whose user does not live to see the end."""

    fate = ""
    fatal = 0
    sent: ClassVar[set[str]] = set()

    async def make_request(self, method: Any, params: Any) -> Any:
        if method != SEND:
            return await super().make_request(method, params)
        (raw,) = params
        due = raw not in self.sent and len(self.sent) + 1 == self.fatal
        self.sent.add(raw)
        if due and self.fate == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if due and self.fate == "sleep":
            say(sleeping=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        answer = await super().make_request(method, params)
        if due and self.fate == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


def say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


@asynccontextmanager
async def open_fated(config: dict[str, Any], store: RecordStore) -> AsyncIterator[EthereumChain]:
    if isinstance(store, FencedRecords):
        say(acts=True)
    async with (
        open_provider(config["rpc"]) as plain,
        open_chain(
            Fated(config["rpc"], plain._client),
            adjudicator=bytes.fromhex(config["adjudicator"]),  # type: ignore[arg-type]
            account=LocalAccount(bytes.fromhex(config["gas"])),
            store=store,
            finality=Finality.depth(2),
            poll_interval=0.05,
        ) as chain,
    ):
        yield chain


async def run(config: dict[str, Any]) -> None:
    Fated.fate, Fated.fatal = config["fate"], config["fatal"]
    database = await trio.to_thread.run_sync(PostgresDatabase, config["database"])
    setup = ReplicaSetup(
        open_chain=partial(open_fated, config),
        signer=LocalSigner(bytes.fromhex(config["signer"])),
        policy=TowerPolicy(pace=Pace(retry_after=0.1), beat_every=1),
    )
    async with (
        open_book(database) as book,
        open_lease(database, me=config["name"], term=6.0) as lease,
        open_replica(database, book, lease, setup) as replica,
        trio.open_nursery() as nursery,
    ):
        server = ServerConfig(bind="127.0.0.1:0")
        url = await nursery.start(serve_tower, lambda: replica.tower, server)
        say(url=url)
        while True:
            changed, tower = replica.changed, replica.tower
            if tower is not None:
                say(role=tower.defence.role)
                nursery.start_soon(say_when_ready, tower)
            await changed.wait()


async def say_when_ready(tower: Tower) -> None:
    await tower.ready()
    say(ready=tower.defence.role)


if __name__ == "__main__":
    trio.run(run, json.loads(sys.argv[1]))
