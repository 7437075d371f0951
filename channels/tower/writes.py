"""What is written to a tower's book, as values; each knows the statements it comes to.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import attrs

from channels.tower.database import Row, Statements
from channels.tower.kept import Kept
from channels.tower.merkle import Pair, bucket_hash, bucket_of

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
    "pairs_of",
]

_LAST_TIME: Final = (1 << 63) - 1
"""The last chain time that a column holds; nothing is due after it."""


@attrs.frozen
class Transaction:
    """An open transaction, its number, and the buckets of the store tree that change in it."""

    statements: Statements
    change: int
    touched: set[int] = attrs.field(factory=set)

    @classmethod
    def begin(cls, statements: Statements) -> Transaction:
        """Number a transaction. From here to its end no other process is in one of these."""
        return cls(statements, count(statements, "changes"))

    def finish(self) -> None:
        """Hash the buckets that have changed."""
        select = self.statements.execute
        self.statements.each(
            "INSERT INTO buckets (bucket, hash, change) VALUES (?, ?, ?)"
            " ON CONFLICT (bucket) DO UPDATE SET hash = excluded.hash, change = excluded.change",
            [
                (each, bucket_hash(pairs_of(select, each)), self.change)
                for each in sorted(self.touched)
            ],
        )


def pairs_of(select: Callable[..., list[Row]], bucket: int) -> list[Pair]:
    """The keys and leaves of a bucket, in the order of their keys."""
    first = bucket.to_bytes(2, "big")
    return [
        (key, leaf)
        for key, leaf in select(
            "SELECT key, leaf FROM entries WHERE key BETWEEN ? AND ? ORDER BY 1",
            first,
            first + b"\xff" * 32,
        )
    ]


class Write(Protocol):
    """One write. What it returns is told to whoever asked for it, once it is durable."""

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""


def count(statements: Statements, what: str, by: int = 1) -> int:
    """Change one of the counters of ``meta``, and return it."""
    ((value,),) = statements.execute(
        "UPDATE meta SET value = value + ? WHERE key = ? RETURNING value", by, what
    )
    return int(value)


def _book_budget(statements: Statements, customer: bytes, channels: int, wei: int) -> None:
    rows = statements.execute(
        "SELECT channels, committed FROM accounts WHERE customer = ?", customer
    )
    before, committed = (rows[0][0], int.from_bytes(rows[0][1], "big")) if rows else (0, 0)
    if before + channels == 0:
        statements.execute("DELETE FROM accounts WHERE customer = ?", customer)
        return
    statements.execute(
        "INSERT INTO accounts (customer, channels, committed) VALUES (?, ?, ?)"
        " ON CONFLICT (customer) DO UPDATE"
        " SET channels = excluded.channels, committed = excluded.committed",
        customer,
        before + channels,
        (committed + wei).to_bytes(24, "big"),
    )


def _held(statements: Statements, key: bytes) -> tuple[int, bytes, bytes, bytes] | None:
    """Number, customer, budget and record of an entry."""
    rows = statements.execute(
        "SELECT number, customer, budget, record"
        " FROM entries JOIN records USING (number) WHERE key = ?",
        key,
    )
    if not rows:
        return None
    number, customer, budget, record = rows[0]
    return int(number), customer, budget, record


def _take_out(statements: Statements, customer: bytes, budget: bytes) -> None:
    """Take an entry's budget from its customer's account."""
    _book_budget(statements, customer, -1, -int.from_bytes(budget, "big"))


@attrs.frozen
class Keep:
    """Keep this, in place of what was kept of the entry. Returns the number of its receipt.

    ``over`` is the record that it follows, empty if none; None: whichever is there. If another one
    is there, because another process was faster, nothing is written, and 0 returned.
    """

    kept: Kept
    over: bytes | None = None

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        statements, kept = transaction.statements, self.kept
        key, budget = kept.key, kept.budget
        held = _held(statements, key)
        if self.over is not None and self.over != (b"" if held is None else held[3]):
            return 0
        row = (kept.customer, budget.to_bytes(16, "big"), kept.record)
        if held is None:
            ((number,),) = statements.execute(
                "INSERT INTO records (customer, budget, record) VALUES (?, ?, ?) RETURNING number",
                *row,
            )
            count(statements, "entries")
        else:
            number, customer, before, _ = held
            _take_out(statements, customer, before)
            statements.execute(
                "UPDATE records SET customer = ?, budget = ?, record = ? WHERE number = ?",
                *row,
                number,
            )
        statements.execute(
            "INSERT INTO entries (key, leaf, number) VALUES (?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET leaf = excluded.leaf",
            key,
            kept.leaf,
            number,
        )
        _book_budget(statements, kept.customer, 1, budget)
        if kept.due:
            statements.execute(
                "INSERT INTO due (key, time) VALUES (?, ?)"
                " ON CONFLICT (key) DO UPDATE SET time = excluded.time",
                key,
                min(kept.due, _LAST_TIME),
            )
        else:
            statements.execute("DELETE FROM due WHERE key = ?", key)
        statements.execute(
            "UPDATE disputes SET change = ? WHERE channel_id = ?",
            transaction.change,
            kept.channel_id,
        )
        transaction.touched.add(bucket_of(key))
        return count(statements, "receipts")


@attrs.frozen
class Forget:
    """Delete an entry."""

    key: bytes

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        statements = transaction.statements
        held = _held(statements, self.key)
        if held is None:
            return 0
        number, customer, budget, _ = held
        _take_out(statements, customer, budget)
        statements.execute("DELETE FROM records WHERE number = ?", number)
        statements.execute("DELETE FROM entries WHERE key = ?", self.key)
        statements.execute("DELETE FROM due WHERE key = ?", self.key)
        count(statements, "entries", -1)
        transaction.touched.add(bucket_of(self.key))
        return 0


@attrs.frozen
class CountReceipt:
    """A receipt for what is kept already. Returns its number."""

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        return count(transaction.statements, "receipts")


@attrs.frozen
class CountBeat:
    """A heartbeat is about to be signed. Returns its number."""

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        return count(transaction.statements, "beats")


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
        statements = transaction.statements
        statements.each(
            "INSERT INTO disputes (channel_id, block, change) VALUES (?, ?, ?)"
            " ON CONFLICT (channel_id) DO NOTHING",
            [(each, self.block, transaction.change) for each in self.concerned],
        )
        if self.cursor is not None:
            statements.execute(
                "INSERT INTO chain_cursor (one, number, hash, disputes) VALUES (1, ?, ?, ?)"
                " ON CONFLICT (one) DO UPDATE SET number = excluded.number,"
                " hash = excluded.hash, disputes = excluded.disputes",
                self.cursor.number,
                self.cursor.hash,
                self.cursor.disputes,
            )
        return 0


@attrs.frozen
class ForgetCursor:
    """Nobody knows how far the chain was taken in: the next run reads every channel."""

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        transaction.statements.execute("DELETE FROM chain_cursor")
        return 0


@attrs.frozen
class Release:
    """The monitor has nothing more to do for a channel."""

    channel_id: bytes

    def write(self, transaction: Transaction) -> int:
        """Carry it out."""
        transaction.statements.execute("DELETE FROM disputes WHERE channel_id = ?", self.channel_id)
        return 0
