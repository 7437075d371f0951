"""A peer: the glue between the pure machine, its store, its counterparties and the chain.

Data flows one way: bytes or chain facts in, `channels.protocol.machine.step`, effects out. What
must be durable is made durable first; then messages leave, calls are submitted, notices are told.
"""

from __future__ import annotations

from channels.peer.best_price import BestPrice, best_price
from channels.peer.credit_policy import BreakerPolicy, CreditPolicy, LimitSource
from channels.peer.delegating import Authorisation
from channels.peer.desk import Desk, DeskPolicy
from channels.peer.desk_news import (
    LimitReached,
    ProtectionReset,
    ProtectionTripped,
    QuoteTakenLate,
    SettlementOverdue,
)
from channels.peer.drop_copy import BusinessEvent, DropCopy, EventKind
from channels.peer.entry import open_peer
from channels.peer.flat_market import FlatMarket, SpreadMaker
from channels.peer.handle import PeerChannel
from channels.peer.makers import MakerQuote, QuoteRequest
from channels.peer.news import PeerEvent
from channels.peer.peer import Peer
from channels.peer.policy import MarkSource, RiskPolicy, SettlementSource, default_terms
from channels.peer.quotes import HedgeLeg, Leg, Quote, Quotes
from channels.peer.recovery import StateSource, recover_channels
from channels.peer.settling import SettlementPolicy
from channels.protocol.messages import Side

__all__ = [
    "Authorisation",
    "BestPrice",
    "BreakerPolicy",
    "BusinessEvent",
    "CreditPolicy",
    "Desk",
    "DeskPolicy",
    "DropCopy",
    "EventKind",
    "FlatMarket",
    "HedgeLeg",
    "Leg",
    "LimitReached",
    "LimitSource",
    "MakerQuote",
    "MarkSource",
    "Peer",
    "PeerChannel",
    "PeerEvent",
    "ProtectionReset",
    "ProtectionTripped",
    "Quote",
    "QuoteRequest",
    "QuoteTakenLate",
    "Quotes",
    "RiskPolicy",
    "SettlementOverdue",
    "SettlementPolicy",
    "SettlementSource",
    "Side",
    "SpreadMaker",
    "StateSource",
    "best_price",
    "default_terms",
    "open_peer",
    "recover_channels",
]
