"""What is written to a tower's book, as values; each knows the statements it comes to.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

import sqlite3
from typing import Protocol

import attrs

from channels.tower.kept import Kept
from channels.tower.merkle import bucket_of

__all__ = [
    "CountBeat",
    "CountReceipt",
    "Cursor",
    "Forget",
    "ForgetCursor",
    "Keep",
    "Progress",
    "Release",
    "Transaction",
    "Write",
]


@attrs.frozen
class Transaction:
    """An open transaction, and the buckets of the store tree that change in it."""

    database: sqlite3.Connection
    touched: set[int] = attrs.field(factory=set)


class Write(Protocol):
    """One write. What it returns is told to whoever asked for it, once it is durable."""

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""


def count(database: sqlite3.Connection, what: str) -> int:
    """Raise one of the counters of ``meta``, and return it."""
    row = database.execute(
        "UPDATE meta SET value = value + 1 WHERE key = ? RETURNING value", (what,)
    ).fetchone()
    return int(row[0])


def _book_budget(database: sqlite3.Connection, customer: bytes, channels: int, wei: int) -> None:
    row = database.execute(
        "SELECT channels, committed FROM accounts WHERE customer = ?", (customer,)
    ).fetchone()
    before, committed = (0, 0) if row is None else (row[0], int.from_bytes(row[1], "big"))
    if before + channels == 0:
        database.execute("DELETE FROM accounts WHERE customer = ?", (customer,))
        return
    database.execute(
        "INSERT INTO accounts VALUES (?, ?, ?) ON CONFLICT (customer) DO UPDATE"
        " SET channels = excluded.channels, committed = excluded.committed",
        (customer, before + channels, (committed + wei).to_bytes(24, "big")),
    )


def _take_out(database: sqlite3.Connection, key: bytes) -> int | None:
    """Take an entry's budget from its customer's account; return the number of its record."""
    row = database.execute(
        "SELECT number, customer, budget FROM entries JOIN records USING (number) WHERE key = ?",
        (key,),
    ).fetchone()
    if row is None:
        return None
    number, customer, budget = row
    _book_budget(database, customer, -1, -int.from_bytes(budget, "big"))
    return int(number)


@attrs.frozen
class Keep:
    """Keep this, in place of what was kept of the entry. Returns the number of its receipt."""

    kept: Kept

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        database, kept = transaction.database, self.kept
        key, budget = kept.key, kept.budget
        row = (kept.customer, budget.to_bytes(16, "big"), kept.record)
        number = _take_out(database, key)
        if number is None:
            number = database.execute(
                "INSERT INTO records (customer, budget, record) VALUES (?, ?, ?)", row
            ).lastrowid
            count(database, "entries")
        else:
            database.execute(
                "UPDATE records SET customer = ?, budget = ?, record = ? WHERE number = ?",
                (*row, number),
            )
        database.execute(
            "INSERT INTO entries VALUES (?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET leaf = excluded.leaf",
            (key, kept.leaf, number),
        )
        _book_budget(database, kept.customer, 1, budget)
        if kept.affirm_by:
            database.execute("INSERT OR REPLACE INTO due VALUES (?, ?)", (key, kept.affirm_by))
        else:
            database.execute("DELETE FROM due WHERE key = ?", (key,))
        transaction.touched.add(bucket_of(key))
        return count(database, "receipts")


@attrs.frozen
class Forget:
    """Delete an entry."""

    key: bytes

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        database = transaction.database
        number = _take_out(database, self.key)
        if number is None:
            return 0
        database.execute("DELETE FROM records WHERE number = ?", (number,))
        database.execute("DELETE FROM entries WHERE key = ?", (self.key,))
        database.execute("DELETE FROM due WHERE key = ?", (self.key,))
        database.execute("UPDATE meta SET value = value - 1 WHERE key = 'entries'")
        transaction.touched.add(bucket_of(self.key))
        return 0


@attrs.frozen
class CountReceipt:
    """A receipt for what is kept already. Returns its number."""

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        return count(transaction.database, "receipts")


@attrs.frozen
class CountBeat:
    """A heartbeat is about to be signed. Returns its number."""

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        return count(transaction.database, "beats")


@attrs.frozen(kw_only=True)
class Cursor:
    """How far the chain was taken in, for good: a final block, and the disputes up to it."""

    number: int
    hash: bytes
    disputes: int


@attrs.frozen(kw_only=True)
class Progress:
    """A block was taken in: how far that is, and what the monitor has to see to from now on.

    Facts and cursor are one transaction: after a crash neither is without the other.
    """

    cursor: Cursor | None = None
    concerned: tuple[bytes, ...] = ()
    block: int = 0

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        database = transaction.database
        database.executemany(
            "INSERT OR IGNORE INTO disputes VALUES (?, ?)",
            [(each, self.block) for each in self.concerned],
        )
        if self.cursor is not None:
            database.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [
                    ("cursor", self.cursor.number),
                    ("cursor_hash", self.cursor.hash),
                    ("cursor_disputes", self.cursor.disputes),
                ],
            )
        return 0


@attrs.frozen
class ForgetCursor:
    """Nobody knows how far the chain was taken in: the next run reads every channel."""

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        transaction.database.execute("DELETE FROM meta WHERE key LIKE 'cursor%'")
        return 0


@attrs.frozen
class Release:
    """The monitor has nothing more to do for a channel."""

    channel_id: bytes

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        transaction.database.execute(
            "DELETE FROM disputes WHERE channel_id = ?", (self.channel_id,)
        )
        return 0
