"""Ctrl-C ends a command, wherever it is.

Python raises `KeyboardInterrupt` in whatever runs at that moment. That may be a task of a library
that survives every failure of its own, as the start of an HTTP server does, and the command would
go on as if nobody had pressed anything. So the whole of it is cancelled as well.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from types import FrameType
from typing import Any, TypeVar

import trio

__all__ = ["run_interruptible"]

T = TypeVar("T")


def run_interruptible(command: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Run a command under Trio; what it returns.

    Raises:
        KeyboardInterrupt: for Ctrl-C, alone or in a group.
    """
    return trio.run(partial(_interruptible, command, *arguments))


async def _interruptible(command: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    usual = signal.getsignal(signal.SIGINT)
    if not callable(usual) or threading.current_thread() is not threading.main_thread():
        return await command(*arguments)  # who started us wants no interrupts, or none come here
    token = trio.lowlevel.current_trio_token()
    with trio.CancelScope() as scope:

        def interrupt(number: int, frame: FrameType | None) -> None:
            token.run_sync_soon(scope.cancel)
            usual(number, frame)

        signal.signal(signal.SIGINT, interrupt)
        try:
            return await command(*arguments)
        finally:
            signal.signal(signal.SIGINT, usual)
    raise KeyboardInterrupt
