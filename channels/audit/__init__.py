"""The audit trail: a store's journal verified without the process that wrote it, and told in files.

`audit` checks the hash chain, every signature and the order of signing, and replays the journal to
the state that stands. `lots` follows each trade through netting; `write_tables` writes CSV.
"""

from __future__ import annotations

from channels.audit.lots import Lot, LotClosed, lots
from channels.audit.replay import AuditReport, ChannelHistory, Finding, Settled, audit
from channels.audit.tables import TABLES, write_tables

__all__ = [
    "TABLES",
    "AuditReport",
    "ChannelHistory",
    "Finding",
    "Lot",
    "LotClosed",
    "Settled",
    "audit",
    "lots",
    "write_tables",
]
