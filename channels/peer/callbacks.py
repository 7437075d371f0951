"""Asking the owner's own code: makers, decisions, market data.

Whatever it raises comes out as an error of ours and ends that one question, never the peer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from channels.errors import ChannelsError, OurError

__all__ = ["ask", "ask_now"]

T = TypeVar("T")


async def ask(what: str, question: Callable[[], Awaitable[T]], timeout: float) -> T:
    """Ask, and wait at most ``timeout`` seconds for the answer; ``what`` names who is asked.

    Raises:
        ChannelsError: as raised by the owner's code.
        OurError: it raised anything else, which is the cause, or did not answer in time.
    """
    with trio.move_on_after(timeout):
        try:
            return await question()
        except ChannelsError:
            raise
        except Exception as error:
            raise _raised(what, error) from error
    raise OurError(f"{what} did not answer within {timeout:g} s")


def ask_now(what: str, question: Callable[[], T]) -> T:
    """Ask what answers without waiting; errors as for `ask`."""
    try:
        return question()
    except ChannelsError:
        raise
    except Exception as error:
        raise _raised(what, error) from error


def _raised(what: str, error: Exception) -> OurError:
    return OurError(
        f"{what} raised {type(error).__name__}: {error}",
        next_step="the error's __cause__ has the traceback",
    )
