"""``option-channels demo``: the whole life of one channel, on a real chain, in a few seconds."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from channels.chain.client import open_chain
from channels.chain.heads import Finality
from channels.cli.demo.counterparty import Bob
from channels.cli.demo.market import MarketView
from channels.cli.demo.report import ConsoleReport, JsonReport, Report
from channels.cli.demo.scenario import Counterparty, Story
from channels.cli.demo.stage import UNIT, Stage, open_stage
from channels.cli.failing import failing
from channels.cli.interrupts import run_interruptible
from channels.dispute import open_monitor
from channels.errors import BugError
from channels.peer import open_peer
from channels.protocol.eip712 import Address
from channels.protocol.signing import LocalSigner
from channels.storage import open_store

__all__ = ["run_demo"]

_BOB_SIGNER = LocalSigner(b"\x0b" * 32)
_ALICE_SIGNER = LocalSigner(b"\x0a" * 32)


class _BobHere:
    """Bob as a task of this process; his sockets are as real as in his own."""

    def __init__(self) -> None:
        self.address = ""
        self.signer: Address = _BOB_SIGNER.address
        self._commands, self._obeyed = trio.open_memory_channel[str](0)
        self._answers, self._heard = trio.open_memory_channel[Mapping[str, Any]](1)

    async def run(self, bob: Bob) -> None:
        await bob.run(self._obeyed, self._answers.send)

    async def hear(self) -> Mapping[str, Any]:
        return await self._heard.receive()

    async def ask(self, command: str) -> Mapping[str, Any]:
        await self._commands.send(command)
        return await self.hear()


class _BobElsewhere:
    """Bob as a process of his own, reached through a pipe."""

    def __init__(self, process: trio.Process) -> None:
        self.address = ""
        self.signer: Address = _BOB_SIGNER.address
        self._process = process
        self._buffer = b""

    async def hear(self) -> Mapping[str, Any]:
        while b"\n" not in self._buffer:
            received = (
                b"" if self._process.stdout is None else await self._process.stdout.receive_some()
            )
            if not received:
                raise BugError("the counterparty's process ended")
            self._buffer += received
        line, self._buffer = self._buffer.split(b"\n", 1)
        heard: Mapping[str, Any] = json.loads(line)
        return heard

    async def ask(self, command: str) -> Mapping[str, Any]:
        if self._process.stdin is None:
            raise BugError("the counterparty's process has no standard input")
        await self._process.stdin.send_all(command.encode() + b"\n")
        return await self.hear()


@asynccontextmanager
async def _bob_here(stage: Stage, folder: Path) -> AsyncIterator[Counterparty]:
    bob = Bob(
        provider=stage.provider,
        adjudicator=stage.deployment.adjudicator,
        wallet=stage.bob,
        signer=_BOB_SIGNER,
        market=stage.market,
        store=folder / "bob.db",
    )
    here = _BobHere()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.run, bob)
        here.address = (await here.hear())["listening"]
        yield here
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _bob_elsewhere(
    stage: Stage, folder: Path, rpc: str, market: Path | None
) -> AsyncIterator[Counterparty]:
    config = folder / "bob.json"
    config.touch(mode=0o600)
    config.write_text(
        json.dumps(
            {
                "rpc": rpc,
                "adjudicator": stage.deployment.adjudicator.hex(),
                "signer": (b"\x0b" * 32).hex(),
                "market": "" if market is None else str(market),
                "market_start": stage.market.start,
                "store": str(folder / "bob.db"),
            }
        )
    )
    command = [sys.executable, "-m", "channels.cli", "counterparty", str(config)]
    async with trio.open_nursery() as nursery:
        start = trio.run_process
        process = await nursery.start(
            lambda task_status: start(
                command,
                stdin=-1,
                stdout=-1,
                check=False,
                task_status=task_status,
            )
        )
        elsewhere = _BobElsewhere(process)
        elsewhere.address = (await elsewhere.hear())["listening"]
        yield elsewhere
        nursery.cancel_scope.cancel()


async def _play(market: Path | None, rpc: str | None, two_processes: bool, report: Report) -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with open_stage(market, rpc) as stage:
            if two_processes and rpc is not None:
                bob_on_stage = _bob_elsewhere(stage, folder, rpc, market)
            else:
                bob_on_stage = _bob_here(stage, folder)
            async with (
                bob_on_stage as bob,
                open_store(folder / "alice.db") as store,
                open_chain(
                    stage.provider,
                    adjudicator=stage.deployment.adjudicator,
                    account=stage.alice,
                    store=store.records("transactions"),
                    finality=Finality.depth(0),
                    poll_interval=0.05,
                ) as chain,
                open_monitor(chain, records=store.records("monitor")) as monitor,
            ):

                def clock() -> float:
                    return chain.head.timestamp

                async with open_peer(
                    signer=_ALICE_SIGNER,
                    wallet=stage.alice,
                    chain=chain,
                    store=store,
                    market=MarketView(stage.market, clock),
                    monitor=monitor,
                    clock=clock,
                    credit=None,  # the story re-marks by hand: its nonces are the same each time
                    settlement=None,
                ) as alice:
                    story = Story(
                        stage=stage,
                        chain=chain,
                        alice=alice,
                        bob=bob,
                        report=report,
                    )
                    reconciliation = await story.tell()
        report.finish(reconciliation)
        return reconciliation.holds


def run_demo(*, market: Path | None, rpc: str | None, two_processes: bool, as_json: bool) -> int:
    """Play the demo; 0 if everything reconciles, else 1."""
    title = "option-channels demo" if market is None else f"option-channels demo: {market.name}"
    report: Report = JsonReport() if as_json else ConsoleReport(title, UNIT)
    with failing():
        balanced = run_interruptible(_play, market, rpc, two_processes, report)
    return 0 if balanced else 1
