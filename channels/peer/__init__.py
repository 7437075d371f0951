"""A peer: the glue between the pure machine, its store, its counterparties and the chain.

Data flows one way: bytes or chain facts in, `channels.protocol.machine.step`, effects out. What
must be durable is made durable first; then messages leave, calls are submitted, notices are told.
"""

from __future__ import annotations

from channels.peer.handle import PeerChannel
from channels.peer.makers import MakerQuote, QuoteRequest
from channels.peer.peer import Peer, PeerEvent, open_peer
from channels.peer.policy import MarkSource, RiskPolicy, SettlementSource, default_terms
from channels.peer.quotes import Leg, Quote, Quotes

__all__ = [
    "Leg",
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
    "default_terms",
    "open_peer",
]
