"""The logs of one block as several endpoints tell them: all of them, less what is no log at all.

A log that only some tell is believed enough to be read; one that cannot be read is nobody's event.
Were it kept, whoever invents one would keep its block, and all after it, from being taken in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from channels.chain.events import read_events
from channels.chain.rpc import Log, Rpc, checked_logs
from channels.errors import EndpointError
from channels.protocol.eip712 import Address

__all__ = ["logs_told", "union_of"]

Told = dict[Log, Any]
"""Each log, and how JSON-RPC writes it."""


def logs_told(result: object, block_hash: bytes, address: Address) -> Told:
    """What one endpoint tells.

    Raises:
        EndpointError: not logs, or not of this block and contract.
    """
    if not isinstance(result, list):
        raise EndpointError("eth_getLogs was not answered with a list")
    return {checked_logs([raw], address, block_hash)[0]: raw for raw in result}


async def union_of(rpc: Rpc, told: Sequence[Told]) -> tuple[list[Any], bool]:
    """All that is told, as JSON-RPC writes it, and whether all told the same."""
    common = set.intersection(*(set(each) for each in told))
    union = {log: raw for each in told for log, raw in each.items()}
    readable = [raw for log, raw in union.items() if log in common or await _is_readable(rpc, log)]
    return readable, len(common) == len(union)


async def _is_readable(rpc: Rpc, log: Log) -> bool:
    try:
        await read_events(rpc, (log,))
    except EndpointError:
        return False
    return True
