"""The journal: append-only, hash-chained, and verified without the process that wrote it.

The hash of an entry is ``keccak(previous || seq || len(channel_id) || channel_id || time || kind ||
body)``, integers big-endian in 8, 1, 8 and 4 bytes. The first entry's previous hash is the random
id of the store, so that entries of one store prove nothing in another.

A chain shows that nothing before a known head was changed. Who can write the whole file can write a
new chain; keep a ``JournalHead`` elsewhere and verify against it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import attrs

from channels.errors import JournalBrokenError, StorageError
from channels.protocol.eip712 import keccak

__all__ = ["JournalBrokenError", "JournalEntry", "JournalHead", "entry_hash", "verify_journal"]

COLUMNS: Final = "seq, channel_id, time, kind, body, hash"
"""Columns of the journal in the order of an entry's fields."""


@attrs.frozen(kw_only=True)
class JournalHead:
    """The newest entry of a journal: its number and hash; number 0 and the store's id if none."""

    seq: int
    hash: bytes


@attrs.frozen(kw_only=True)
class JournalEntry:
    """One entry. ``seq`` counts from 1; ``time`` is nanoseconds since 1970 by our own clock.

    ``channel_id`` is empty for what concerns no one channel. The clock may have stepped back
    between entries; their order is that of ``seq``.
    """

    seq: int
    channel_id: bytes
    time: int
    kind: int
    body: bytes
    hash: bytes

    @classmethod
    def of_row(cls, row: tuple[int, bytes | None, int, int, bytes, bytes]) -> JournalEntry:
        """Make the entry of a database row of ``COLUMNS``."""
        seq, channel_id, time, kind, body, hash_ = row
        return cls(
            seq=seq, channel_id=channel_id or b"", time=time, kind=kind, body=body, hash=hash_
        )


def entry_hash(
    previous: bytes, seq: int, channel_id: bytes, time: int, kind: int, body: bytes
) -> bytes:
    """Hash of an entry, which its successor repeats.

    Raises:
        OverflowError: a number outside its field.
    """
    return keccak(
        b"".join(
            (
                previous,
                seq.to_bytes(8, "big"),
                len(channel_id).to_bytes(1, "big"),
                channel_id,
                time.to_bytes(8, "big"),
                kind.to_bytes(4, "big"),
                body,
            )
        )
    )


def check_entry(previous: JournalHead, entry: JournalEntry) -> JournalHead:
    """Check that ``entry`` follows ``previous``; return it as the new head.

    Raises:
        JournalBrokenError: an entry is missing, or this one was changed.
    """
    expected = previous.seq + 1
    if entry.seq != expected:
        raise JournalBrokenError(f"journal entry {expected} is missing", seq=expected)
    try:
        found = entry_hash(
            previous.hash, entry.seq, entry.channel_id, entry.time, entry.kind, entry.body
        )
    except OverflowError:
        found = b""
    if found != entry.hash:
        raise JournalBrokenError(f"journal entry {expected} is not what was written", seq=expected)
    return JournalHead(seq=entry.seq, hash=entry.hash)


def verify_journal(path: str | Path, *, known: JournalHead | None = None) -> Iterator[JournalEntry]:
    """Iterate over the journal of the store at ``path``, checking every entry before it is given.

    Reads only, in one snapshot; works on a backup, on the store of a stopped process and beside a
    running one. With ``known``, a head kept from an earlier time, a journal that lost its end or
    was written anew is noticed too. The check is complete only when the iterator is exhausted.

    Raises:
        JournalBrokenError: at the first entry that does not hold, which it names.
        StorageError: the file is no readable store.
    """
    uri = Path(path).resolve().as_uri() + "?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            yield from _verified(connection, known)
    except sqlite3.Error as error:
        raise StorageError(f"cannot read the journal of {path}: {error}") from error


def _verified(connection: sqlite3.Connection, known: JournalHead | None) -> Iterator[JournalEntry]:
    row = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
    if row is None:
        raise JournalBrokenError("the store has lost the id its journal begins with", seq=1)
    head = JournalHead(seq=0, hash=row[0])
    _check_known(head, known)
    for found in connection.execute(f"SELECT {COLUMNS} FROM journal ORDER BY seq"):  # noqa: S608
        entry = JournalEntry.of_row(found)
        head = check_entry(head, entry)
        _check_known(head, known)
        yield entry
    if known is not None and head.seq < known.seq:
        raise JournalBrokenError(
            f"the journal ends before entry {known.seq}, which was known", seq=head.seq + 1
        )


def _check_known(head: JournalHead, known: JournalHead | None) -> None:
    if known is not None and known.seq == head.seq and known.hash != head.hash:
        raise JournalBrokenError(f"journal entry {head.seq} is not the known one", seq=head.seq)
