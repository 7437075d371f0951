"""Ctrl-C, where a library would have none of it, and where nobody waits for one."""

from __future__ import annotations

import signal
from contextlib import suppress

import pytest
import trio

from channels.cli.interrupts import run_interruptible

PATIENCE = 30


async def interrupted_in_a_deaf_task() -> None:
    """The interrupt is raised in a task that goes on, as an HTTP server's start does."""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:

            async def deaf() -> None:
                with suppress(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGINT)
                await trio.sleep_forever()

            nursery.start_soon(deaf)
            await trio.sleep_forever()


async def seven(more: int) -> int:
    return 7 + more


def test_an_interrupt_that_somebody_swallows_ends_the_command() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_interruptible(interrupted_in_a_deaf_task)


def test_what_the_command_returns_is_returned_and_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert run_interruptible(seven, 1) == 8
    assert signal.getsignal(signal.SIGINT) is before


def test_a_process_that_ignores_interrupts_goes_on_doing_so() -> None:
    """As one that a shell put in the background."""

    async def told() -> str:
        signal.raise_signal(signal.SIGINT)
        await trio.lowlevel.checkpoint()
        return "went on"

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_interruptible(told) == "went on"
    finally:
        signal.signal(signal.SIGINT, before)


async def test_in_a_thread_a_command_runs_as_well() -> None:
    assert await trio.to_thread.run_sync(run_interruptible, seven, 0) == 7
