"""A tower's lives, as whoever kills it sees them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from channels.tower.kept import Holding
from tests.conftest import ROOT
from tests.faults.world import Ground
from tests.tower.world import Channel

__all__ = ["DEEPEST_REORG", "Lives", "Offer", "open_lives"]

PATIENCE: Final = 60.0
DEEPEST_REORG: Final = 3


@attrs.frozen
class Offer:
    """An appointment to be handed over, of a channel and for a nonce."""

    channel: Channel
    nonce: int
    holding: Holding

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        fields = {
            each.name: getattr(self.holding.appointment, each.name)
            for each in attrs.fields(type(self.holding.appointment))
            if each.init
        }
        return {
            "appointment": {
                key: each.hex() if isinstance(each, bytes) else each for key, each in fields.items()
            },
            "signature": self.holding.signature.compact.hex(),
            "content": self.holding.content.hex(),
        }


@attrs.define
class Lives:
    """One tower after another on the same files. ``points`` are those that the last one passed.

    ``deaths`` counts those that died where they were told to.
    """

    ground: Ground
    config: dict[str, Any]
    process: trio.Process
    lines: AsyncIterator[dict[str, Any]]
    deaths: int = 0
    points: list[str] = attrs.Factory(list)
    refusals: list[str] = attrs.Factory(list)
    ready: bool = False
    _pid: int = 0
    _killed: bool = False
    _offers: Sequence[Offer] = ()
    _changed: trio.Event = attrs.Factory(trio.Event)

    @property
    def alive(self) -> bool:
        """Whether there is a tower."""
        return bool(self._pid)

    async def begin(self, offers: Sequence[Offer] = (), **more: Any) -> None:
        """Bear a tower, which is handed these; ``deadly``: the point to die at."""
        assert not self.alive
        self._offers, self.points, self.ready, self.refusals = offers, [], False, []
        config = {**self.config, **more, "offers": [each.told() for each in offers]}
        assert self.process.stdin is not None
        await self.process.stdin.send_all(json.dumps(config).encode() + b"\n")
        await self.until(lambda: self.alive)

    def kill(self) -> None:
        """Kill -9, if it has not done so itself."""
        if self._pid:
            self._killed = True
            os.kill(self._pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill it, and wait until it is dead."""
        self.kill()
        await self.until(lambda: not self.alive)

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait for what it tells."""
        with trio.fail_after(PATIENCE):
            while not done():
                await self._changed.wait()

    async def listen(self) -> None:
        """Hear what the towers tell, to the end.

        Raises:
            AssertionError: one died of something that nobody did to it.
        """
        async for said in self.lines:
            if "born" in said:
                self._pid = said["born"]
            elif "point" in said:
                self.points.append(said["point"])
            elif "receipt" in said:
                offer = self._offers[said["receipt"]]
                assert said["nonce"] == offer.nonce
                self.ground.promise(offer.channel, offer.nonce)
            elif "refused" in said:
                self.refusals.append(said["why"])
            elif "ready" in said:
                self.ready = True
            elif "ended" in said:
                assert said["ended"] == -signal.SIGKILL, f"a tower ended with {said['ended']}"
                self.deaths += not self._killed
                self._pid, self._killed = 0, False
            self._changed.set()
            self._changed = trio.Event()


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[dict[str, Any]]:
    buffer = b""
    while received := await stream.receive_some():
        *lines, buffer = (buffer + received).split(b"\n")
        for line in lines:
            yield json.loads(line)


@asynccontextmanager
async def open_lives(
    ground: Ground, folder: Path, *, clock: str = "", finality: int = 2
) -> AsyncIterator[Lives]:
    """A tower's place in ``folder``, for as many lives as it takes."""
    account = await ground.account()
    await ground.mine(DEEPEST_REORG + 1)  # or a reorganisation would take its ether away
    await trio.Path(folder).mkdir(exist_ok=True)
    config = {
        "rpc": [ground.url, ground.url.replace("127.0.0.1", "localhost")],
        "adjudicator": ground.world.domain.adjudicator.hex(),
        "folder": str(folder),
        "account": account._key.secret.hex(),
        "signer": os.urandom(32).hex(),
        "finality": finality,
    }
    module = ["tests.faults.clocked", clock] if clock else ["tests.faults.child"]
    with (folder / "errors").open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", *module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
        )
    assert process.stdout is not None
    async with trio.open_nursery() as nursery:
        lives = Lives(ground, config, process, _lines(process.stdout))
        nursery.start_soon(lives.listen)
        try:
            yield lives
        finally:
            with trio.CancelScope(shield=True):
                lives.kill()
                if process.stdin is not None:
                    await process.stdin.aclose()
                await process.wait()
            nursery.cancel_scope.cancel()
