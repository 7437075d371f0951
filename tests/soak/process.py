"""A desk's process as the director sees it: asked for things, and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from tests.conftest import ROOT
from tests.soak.desk import NO_ENDPOINT

__all__ = ["DeskDiedError", "DeskProcess", "RefusedError", "open_desk"]

PATIENCE: Final = 120.0


class DeskDiedError(Exception):
    """The desk that was to answer is dead."""


class RefusedError(Exception):
    """The desk could not do what it was told."""


class DeskProcess:
    """A desk and its successors."""

    def __init__(self, name: str, process: trio.Process, errors: Path) -> None:
        self.name = name
        self.kills = 0
        self.lives = 0
        self._process = process
        self._errors = errors
        self._pid = 0
        self._number = 0
        self._answers: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self._at_work = False
        self._changed = trio.Event()
        self._killed = False
        self._saying = trio.Lock()

    async def listen(self) -> None:
        """Read what it says until it ends.

        Raises:
            AssertionError: it died of something that nobody did to it.
        """
        assert self._process.stdout is not None
        buffer = b""
        async for received in self._process.stdout:
            *lines, buffer = (buffer + received).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))

    def _hear(self, said: dict[str, Any]) -> None:
        if "born" in said:
            self._pid = said["born"]
        elif "ready" in said:
            self.lives += 1
            self._is_at_work(True)
        elif "ended" in said:
            self._on_end(said["ended"])
        elif said["id"] in self._answers:
            self._answers.pop(said["id"]).send_nowait(said)

    def _on_end(self, status: int) -> None:
        ours = status == -signal.SIGKILL and self._killed
        assert ours or status in (0, NO_ENDPOINT), (
            f"{self.name} ended with {status}:\n{self._errors.read_text()}"
        )
        self._pid, self._killed = 0, False
        self._is_at_work(False)
        for waiting in self._answers.values():
            waiting.close()
        self._answers.clear()

    def _is_at_work(self, at_work: bool) -> None:
        self._at_work = at_work
        self._changed.set()
        self._changed = trio.Event()

    def kill(self) -> bool:
        """Kill -9; False if there is none to kill just now."""
        if not self._pid:
            return False
        self._killed = True
        self.kills += 1
        os.kill(self._pid, signal.SIGKILL)
        return True

    async def ready(self) -> None:
        """Wait until it is at work."""
        with trio.fail_after(PATIENCE):
            while not self._at_work:
                await self._changed.wait()

    async def ask(self, do: str, *values: Any) -> Any:
        """Have something done, and wait for as long as that takes.

        Raises:
            DeskDiedError: it died of it, or over it.
            RefusedError: it could not.
        """
        await self.ready()
        self._number += 1
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._answers[self._number] = send
        command = json.dumps({"id": self._number, "do": do, "with": values})
        assert self._process.stdin is not None
        async with self._saying:
            await self._process.stdin.send_all(command.encode() + b"\n")
        try:
            said = await receive.receive()
        except trio.EndOfChannel:
            raise DeskDiedError(f"{self.name} died before it answered {do}") from None
        if "error" in said:
            raise RefusedError(said["error"])
        return said["answer"]


@asynccontextmanager
async def open_desk(config: dict[str, Any], folder: Path) -> AsyncIterator[DeskProcess]:
    """Run a desk for the time of the block."""
    name = config["name"]
    path, errors = folder / f"{name}.json", folder / f"{name}.err"
    path.write_text(json.dumps(config))
    with errors.open("wb") as file:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "tests.soak.desk", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            cwd=ROOT,
        )
    async with trio.open_nursery() as nursery:
        desk = DeskProcess(name, process, errors)
        nursery.start_soon(desk.listen)
        try:
            yield desk
        finally:
            with trio.CancelScope(shield=True):
                if process.stdin is not None:
                    await process.stdin.aclose()  # the desk ends, and then what forks it
                with trio.move_on_after(10):
                    await process.wait()
                if process.returncode is None:
                    desk.kill()
                    process.kill()
            nursery.cancel_scope.cancel()
