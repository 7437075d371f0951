"""A ledger as bytes: each portfolio once, in front, and states that name theirs by its hash.

A portfolio is by far the longest part of a record and of a journal entry, and mostly carried by
several states. By its hash each of them is what its signatures say, no more and no less.
"""

from __future__ import annotations

from typing import Any, Final

from channels.errors import MalformedMessageError
from channels.protocol.codec import CHANGE, CLOSING, HASH, PORTFOLIO, SIGNATURE, pack
from channels.protocol.ledger import Entry, Full, Ledger
from channels.protocol.schema import (
    BOOLEAN,
    U64,
    U128,
    Kind,
    enum,
    fixed,
    many,
    optional,
    remembered,
    struct,
    union,
)
from channels.protocol.types import Closing, Party, Portfolio, State, Withdrawal

__all__ = [
    "ENTRIES",
    "ENTRIES_IN_FULL",
    "LEDGER",
    "LEDGER_IN_FULL",
    "PORTFOLIOS",
    "carried_by",
    "check_carried",
    "place_portfolios",
]

_CLOSING: Final = 1
_WITHDRAWAL: Final = 2
"""Tags of what an entry holds; 0 is a state."""
_MOST: Final = 256
"""Entries in a ledger: far above what ``max_in_flight`` allows."""


def _placed(item: Any) -> Portfolio:
    """What `place_portfolios` has put here: nothing that msgpack reads is a portfolio."""
    if not isinstance(item, Portfolio):
        raise MalformedMessageError("a state's portfolio is missing")
    return item


def _signed_kinds(portfolio: Kind) -> tuple[Kind, Kind]:
    """F and an entry, with the portfolio in their states as ``portfolio`` has it."""
    state = struct(State, HASH, U64, U64, portfolio)
    withdrawal = struct(Withdrawal, state, U128, U128)
    value = union(
        {0: (State, state), _CLOSING: (Closing, CLOSING), _WITHDRAWAL: (Withdrawal, withdrawal)}
    )
    signatures = optional(SIGNATURE), optional(SIGNATURE)
    entry = struct(Entry, value, *signatures, optional(CHANGE), optional(fixed(16)), U64, BOOLEAN)
    return struct(Full, state, *signatures), entry


def _ledger_kinds(portfolio: Kind) -> tuple[Kind, Kind]:
    """Entries and the ledger. Most of them are what they were in the record before."""
    full, entry = map(remembered, _signed_kinds(portfolio))
    entries = many(entry, _MOST)
    return entries, struct(Ledger, enum(Party), full, entries, U64)


PORTFOLIOS: Final = many(PORTFOLIO, _MOST)
"""Those that stand in front."""

ENTRIES, LEDGER = _ledger_kinds(Kind(lambda value: pack(value.struct_hash), _placed))
ENTRIES_IN_FULL, LEDGER_IN_FULL = _ledger_kinds(PORTFOLIO)
"""As they were before portfolios stood in front: every state has its own in it."""


def carried_by(*holders: Full | Entry) -> tuple[Portfolio, ...]:
    """Every portfolio in these, once, in the order in which they come."""
    found: dict[bytes, Portfolio] = {}
    for each in holders:
        value = each.state if isinstance(each, Full) else each.value
        if not isinstance(value, Closing):
            portfolio = (value.state if isinstance(value, Withdrawal) else value).portfolio
            found[portfolio.struct_hash] = portfolio
    return tuple(found.values())


def check_carried(portfolios: tuple[Portfolio, ...], *holders: Full | Entry) -> None:
    """Check that what stood in front is what `carried_by` has written there.

    Raises:
        MalformedMessageError: it is not.
    """
    if portfolios != carried_by(*holders):
        raise MalformedMessageError("portfolios that no state carries, or in another order")


def place_portfolios(
    portfolios: tuple[Portfolio, ...], entries: list[Any], *states: list[Any]
) -> None:
    """Put portfolios in place of their hashes, the last items of states, in arrays that were read.

    Raises:
        TypeError, IndexError: those are no arrays of entries and states.
    """
    known = {each.struct_hash: each for each in portfolios}
    values = [entry[0] for entry in entries]
    within = [each[1] if each[0] == _WITHDRAWAL else each for each in values if each[0] != _CLOSING]
    for state in (*states, *within):
        state[-1] = known.get(state[-1])
