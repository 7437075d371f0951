"""A peer: the glue between the pure machine, its store, its counterparties and the chain.

Data flows one way: bytes or chain facts in, `channels.protocol.machine.step`, effects out. What
must be durable is made durable first; then messages leave, calls are submitted, notices are told.
"""

from __future__ import annotations

from channels.peer.credit_policy import BreakerPolicy, CreditPolicy, LimitSource
from channels.peer.entry import open_peer
from channels.peer.flat_market import FlatMarket, SpreadMaker
from channels.peer.handle import PeerChannel
from channels.peer.makers import MakerQuote, QuoteRequest
from channels.peer.news import PeerEvent
from channels.peer.peer import Peer
from channels.peer.policy import MarkSource, RiskPolicy, SettlementSource, default_terms
from channels.peer.quotes import Leg, Quote, Quotes

__all__ = [
    "BreakerPolicy",
    "CreditPolicy",
    "FlatMarket",
    "Leg",
    "LimitSource",
    "MakerQuote",
    "MarkSource",
    "Peer",
    "PeerChannel",
    "PeerEvent",
    "Quote",
    "QuoteRequest",
    "Quotes",
    "RiskPolicy",
    "SettlementSource",
    "SpreadMaker",
    "default_terms",
    "open_peer",
]
