"""Which Chainlink rounds prove a settlement price: found by reading the feed, not by trying.

A round id holds a phase in its upper 16 bits and the aggregator's own round, from 1 on, in the
lower 64. Within a phase times only rise, so the round live at a time is found by bisection; rounds
may be missing, at most three in a row.

Source: `contracts/src/interfaces/IChainlinkOracle.sol`, ``IAggregatorProxy.sol``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from channels.chain.abi import encode_words, selector
from channels.chain.oracles import ChainlinkOracleReader, SettlementRounds
from channels.chain.rpc import Rpc
from channels.chain.views import read_view
from channels.errors import ContractRevertedError, InvalidValueError
from channels.protocol.eip712 import Address
from channels.protocol.types import feed_name

__all__ = ["Round", "find_rounds"]

_WINDOW: Final = 1_800
"""Seconds that are averaged."""
_LATENESS: Final = 300
"""What the round live at the start may be older than a heartbeat, seconds."""
_MOST_STEPS: Final = 4
"""How far ahead a successor is looked for, as the contract does."""

_ROUND: Final = selector("getRoundData(uint80)")
_PHASE: Final = selector("phaseId()")


@attrs.frozen(kw_only=True)
class Round:
    """One round of an aggregator, by its own number within the phase."""

    number: int
    started_at: int
    updated_at: int


async def find_rounds(rpc: Rpc, oracle: Address, feed: bytes, time: int) -> SettlementRounds:
    """The rounds with which `record_settlement` proves the price of ``feed`` at ``time``.

    They prove it if there is such a price; the contract says so where there is none.

    Raises:
        EndpointError: no answer.
        InvalidValueError: the oracle does not serve the feed, or no phase of it was live then.
    """
    reader = ChainlinkOracleReader(rpc, oracle)
    source = await reader.source(feed)
    if source is None:
        raise InvalidValueError(f"the oracle does not serve {feed_name(feed)}")
    start = time - _WINDOW
    aggregators = _Aggregators(rpc, source.proxy)
    older: list[int] = []
    for phase in range(1, await aggregators.phase() + 1):
        live = await aggregators.last(phase, lambda each: each.updated_at <= start)
        number = 0 if live is None else live.number
        if live is not None and live.updated_at + source.heartbeat + _LATENESS >= start:
            uptime = await reader.sequencer_feed()
            return SettlementRounds(
                first=phase << 64 | number,
                older=tuple(older),
                sequencer_round=0 if uptime is None else await _uptime_round(rpc, uptime, start),
            )
        older.append(phase << 64 | number)
    raise InvalidValueError(
        f"no round of {feed_name(feed)} was live, and not stale, at {start}",
        next_step="there is no such price: wait for the last resort",
    )


async def _uptime_round(rpc: Rpc, uptime: Address, start: int) -> int:
    aggregators = _Aggregators(rpc, uptime)
    phase = await aggregators.phase()
    live = await aggregators.last(phase, lambda each: 0 < each.started_at <= start)
    return phase << 64 | (0 if live is None else live.number)


class _Aggregators:
    """The aggregators behind one proxy, phase by phase."""

    def __init__(self, rpc: Rpc, proxy: Address) -> None:
        self._rpc = rpc
        self._proxy = proxy

    async def phase(self) -> int:
        """The phase that serves now."""
        return (await read_view(self._rpc, self._proxy, _PHASE, "phaseId")).unsigned(16)

    async def last(self, phase: int, early: Callable[[Round], bool]) -> Round | None:
        """The last round of ``phase`` for which ``early`` holds, as it does for all before it."""
        found = await self._early(phase, 1, early)
        if found is None:
            return None
        step = 1
        while (later := await self._early(phase, found.number + step, early)) is not None:
            found, step = later, 2 * step
        beyond = found.number + step  # the last one is `found` or after it, and before this
        while found.number + 1 < beyond:
            middle = (found.number + beyond) // 2
            later = await self._early(phase, middle, early)
            if later is None:
                beyond = middle
            else:
                found = later
        return found

    async def _early(self, phase: int, number: int, early: Callable[[Round], bool]) -> Round | None:
        """The first round from ``number`` on, if ``early`` holds for it."""
        for each in range(number, number + _MOST_STEPS):
            if (found := await self._round(phase, each)) is not None:
                return found if early(found) else None
        return None

    async def _round(self, phase: int, number: int) -> Round | None:
        """A round; None if it is missing: aggregators revert then, or answer zeros."""
        data = _ROUND + encode_words(phase << 64 | number)
        try:
            words = await read_view(self._rpc, self._proxy, data, "getRoundData")
        except ContractRevertedError:
            return None
        words.word()
        words.word()
        found = Round(number=number, started_at=words.unsigned(), updated_at=words.unsigned())
        return found if found.updated_at else None
