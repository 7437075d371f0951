"""The kill switch: one word of the owner that halts every channel, those to come included."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from channels.errors import IllegalCommandError
from channels.peer.runner import Runner
from channels.protocol.codec import MAX_TEXT
from channels.protocol.events import CancelProposals, SetMode
from channels.protocol.halts import Cause, Mode

__all__ = ["KillSwitch"]


class KillSwitch:
    """Whether the owner has stopped all trading, and why; stored with each channel."""

    def __init__(self, runners: Mapping[bytes, Runner]) -> None:
        self._runners = runners
        self.reason: str | None = None

    def resume(self) -> None:
        """After a start: what stood when we stopped stands."""
        for runner in self._runners.values():
            halt = runner.channel.halt(Cause.KILL_SWITCH)
            if halt is not None:
                self.reason = halt.reason

    async def kill(self, reason: str) -> None:
        """Halt every channel, then ask for every quote and proposal of ours to be turned down.

        Raises:
            StorageError: a channel's halt is not stored; those before it are.
        """
        self.reason = reason[:MAX_TEXT]
        for runner in list(self._runners.values()):
            await self.halt(runner)
        for runner in list(self._runners.values()):
            with suppress(IllegalCommandError):  # not open: nothing waits for an answer
                await runner.feed(CancelProposals())

    async def halt(self, runner: Runner) -> None:
        """Halt one channel, if the switch is on."""
        if self.reason is not None:
            await runner.feed(
                SetMode(mode=Mode.HALTED, reason=self.reason, cause=Cause.KILL_SWITCH)
            )

    async def revive(self) -> None:
        """Lift the switch from every channel; other halts stand."""
        self.reason = None
        for runner in list(self._runners.values()):
            await runner.feed(SetMode(mode=Mode.NORMAL, reason="revived", cause=Cause.KILL_SWITCH))
