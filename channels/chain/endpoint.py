"""One endpoint of several: what it is taken for, and what it has failed."""

from __future__ import annotations

from enum import Enum
from typing import Final

import attrs
import trio
from web3.types import RPCResponse

from channels.chain.json_values import shown
from channels.chain.rpc import Block, Rpc

__all__ = ["Endpoint", "EndpointStatus", "Standing", "may_be_elsewhere"]

_ASK_THE_NEXT: Final = ("header not found", "unknown block", "block not found", "missing trie node")
"""Refusals that only say that this endpoint does not have the block."""

_MAY_BE_ELSEWHERE: Final = frozenset({"eth_getBlockByHash", "eth_getTransactionByHash"})
"""Questions to which null may only mean that this endpoint lags."""

_SHUNNED: Final = 4.0
_SHUNNED_LONGEST: Final = 64.0
_MOST_FAILURES: Final = 8
"""Seconds for which who failed a request is not asked first, after one failure and after many."""


class Standing(Enum):
    """What an endpoint is taken for."""

    GOOD = "good"
    LAGGING = "lagging"
    SILENT = "silent"
    FORKED = "forked"


@attrs.frozen(kw_only=True)
class EndpointStatus:
    """One endpoint as the last survey found it. ``head`` is the newest block it showed."""

    name: str
    standing: Standing
    head: Block | None = None
    trouble: str = ""


@attrs.define(kw_only=True)
class Endpoint:
    """One endpoint of a pool. Times are Trio's: ``moved_at`` of its last higher head."""

    name: str
    rpc: Rpc
    status: EndpointStatus
    moved_at: float = 0.0
    failures: int = 0
    shunned_until: float = 0.0

    def is_now(self, standing: Standing, trouble: str = "") -> None:
        """What it is taken for from here on, and why."""
        self.status = attrs.evolve(self.status, standing=standing, trouble=trouble)

    def failed(self, trouble: str) -> None:
        """It did not answer what it should: not asked first again for a while, longer each time.

        It may answer every survey, and nothing else.
        """
        now = trio.current_time()
        if now >= self.shunned_until:  # of many requests under way that fail, the first counts
            pause = min(_SHUNNED * 2.0**self.failures, _SHUNNED_LONGEST)
            self.failures = min(self.failures + 1, _MOST_FAILURES)
            self.shunned_until = now + pause
        self.was_silent(trouble)

    def was_silent(self, trouble: str) -> None:
        """It did not answer. Who is on another fork stays there: silence is no way back."""
        if self.status.standing is not Standing.FORKED:
            self.is_now(Standing.SILENT, trouble)

    def answered(self) -> None:
        """It answered a request; what it failed is forgotten after a good while."""
        if trio.current_time() >= self.shunned_until + _SHUNNED_LONGEST:
            self.failures = 0

    def showed(self, head: Block) -> None:
        """It shows this head."""
        now, last = trio.current_time(), self.status.head
        if last is None or head.number > last.number:
            self.moved_at = now
        forked = self.status.standing is Standing.FORKED  # until it is voted in again
        shunned = now < self.shunned_until
        standing = Standing.FORKED if forked else Standing.SILENT if shunned else Standing.GOOD
        trouble = self.status.trouble if forked or shunned else ""
        self.status = attrs.evolve(self.status, head=head, standing=standing, trouble=trouble)


def may_be_elsewhere(method: str, answer: RPCResponse) -> bool:
    """Whether an answer says no more than that this endpoint does not have what was asked for."""
    error = answer.get("error")
    if error:
        return any(text in shown(error).lower() for text in _ASK_THE_NEXT)
    return method in _MAY_BE_ELSEWHERE and answer.get("result") is None
