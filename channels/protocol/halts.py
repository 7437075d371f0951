"""The circuit breaker's marks on a channel: why it trades less than it could, or not at all.

A channel bears one `Halt` a cause. The strictest says what may be traded; each is lifted for
itself, so that the end of one cause never lifts another, and no rule lifts an operator's word.

Source: design, protocol.md "Margin in every state", circuit breaker.
"""

from __future__ import annotations

from enum import IntEnum

import attrs

__all__ = ["BY_HAND", "Cause", "Halt", "Mode", "strictest"]


class Mode(IntEnum):
    """The circuit breaker's word on new trades. Never blocks a defence."""

    NORMAL = 0
    REDUCE_ONLY = 1
    HALTED = 2


class Cause(IntEnum):
    """Why a channel is halted or reduced. Numbers are stored: never reuse one."""

    OPERATOR = 0
    """The owner's word for this channel."""
    KILL_SWITCH = 1
    """The owner's word for every channel of the peer."""
    NO_CONFIRM = 2
    """An Accept of ours was not confirmed in time."""
    PRICE = 3
    """Our market source has no fresh price."""
    JUMP = 4
    """The spot moved beyond a band between two looks."""
    LIMIT = 5
    """A limit of ours is breached."""
    CHAIN = 6
    """The newest head is old: we do not know what the chain shows."""
    ENDPOINT = 7
    """The endpoint fails, lies, or cannot say which chain is the one."""
    DISPUTE = 8
    """A channel with this counterparty is in dispute."""
    MARKS = 9
    """The two sides do not agree on marks."""


BY_HAND = frozenset({Cause.OPERATOR, Cause.KILL_SWITCH})
"""Causes that only the owner lifts."""


@attrs.frozen(kw_only=True)
class Halt:
    """What one cause allows, and why."""

    cause: Cause
    mode: Mode
    reason: str


def strictest(halts: tuple[Halt, ...]) -> Halt | None:
    """The halt that decides: of the strictest mode the one of the lowest number; None if none."""
    return max(halts, key=lambda each: (each.mode, -each.cause), default=None)
