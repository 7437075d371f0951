"""What must survive: one SQLite file a process, group commit, and a hash-chained journal.

Nothing here knows what a record means. What it promises: when ``Store.commit`` has returned, the
batch survives a crash of this process and of the machine, whole; when it has raised, no signature
that depends on the batch may leave the process, or it **may lose funds**.
"""

from __future__ import annotations

from channels.storage.journal import JournalEntry, JournalHead, verify_journal
from channels.storage.store import Records, Store, open_store
from channels.storage.writes import AppendJournal, DeleteRecord, PutChannel, PutRecord, Write

__all__ = [
    "AppendJournal",
    "DeleteRecord",
    "JournalEntry",
    "JournalHead",
    "PutChannel",
    "PutRecord",
    "Records",
    "Store",
    "Write",
    "open_store",
    "verify_journal",
]
