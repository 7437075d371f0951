"""Bidirectional state channels that carry peer-to-peer options.

Two counterparties lock collateral in one contract, then trade options with each other at network
speed. Start with `open_peer`; `channels.errors` names everything that can go wrong.

The names below are imported when they are first used, so that ``import channels.protocol`` and
``import channels.pricing`` stay light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from channels.version import VERSION

if TYPE_CHECKING:
    from channels.peer import Authorisation as Authorisation
    from channels.peer import BestPrice as BestPrice
    from channels.peer import BreakerPolicy as BreakerPolicy
    from channels.peer import BusinessEvent as BusinessEvent
    from channels.peer import CreditPolicy as CreditPolicy
    from channels.peer import Desk as Desk
    from channels.peer import DeskPolicy as DeskPolicy
    from channels.peer import DropCopy as DropCopy
    from channels.peer import EventKind as EventKind
    from channels.peer import FlatMarket as FlatMarket
    from channels.peer import HedgeLeg as HedgeLeg
    from channels.peer import Leg as Leg
    from channels.peer import LimitReached as LimitReached
    from channels.peer import LimitSource as LimitSource
    from channels.peer import MakerQuote as MakerQuote
    from channels.peer import MarkSource as MarkSource
    from channels.peer import Peer as Peer
    from channels.peer import PeerChannel as PeerChannel
    from channels.peer import PeerEvent as PeerEvent
    from channels.peer import ProtectionReset as ProtectionReset
    from channels.peer import ProtectionTripped as ProtectionTripped
    from channels.peer import Quote as Quote
    from channels.peer import QuoteRequest as QuoteRequest
    from channels.peer import Quotes as Quotes
    from channels.peer import QuoteTakenLate as QuoteTakenLate
    from channels.peer import RiskPolicy as RiskPolicy
    from channels.peer import SettlementOverdue as SettlementOverdue
    from channels.peer import SettlementPolicy as SettlementPolicy
    from channels.peer import SettlementSource as SettlementSource
    from channels.peer import Side as Side
    from channels.peer import SpreadMaker as SpreadMaker
    from channels.peer import StateSource as StateSource
    from channels.peer import best_price as best_price
    from channels.peer import default_terms as default_terms
    from channels.peer import open_peer as open_peer
    from channels.peer import recover_channels as recover_channels
    from channels.pricing.instruments import Call as Call
    from channels.pricing.instruments import DigitalCall as DigitalCall
    from channels.pricing.instruments import DigitalPut as DigitalPut
    from channels.pricing.instruments import Forward as Forward
    from channels.pricing.instruments import Put as Put
    from channels.protocol.signing import LocalSigner as LocalSigner
    from channels.protocol.terms import RiskParams as RiskParams
    from channels.protocol.terms import Terms as Terms

__version__ = VERSION

_HOMES = {
    "Authorisation": "channels.peer",
    "BestPrice": "channels.peer",
    "BreakerPolicy": "channels.peer",
    "BusinessEvent": "channels.peer",
    "Call": "channels.pricing.instruments",
    "CreditPolicy": "channels.peer",
    "Desk": "channels.peer",
    "DeskPolicy": "channels.peer",
    "DigitalCall": "channels.pricing.instruments",
    "DigitalPut": "channels.pricing.instruments",
    "DropCopy": "channels.peer",
    "EventKind": "channels.peer",
    "FlatMarket": "channels.peer",
    "Forward": "channels.pricing.instruments",
    "HedgeLeg": "channels.peer",
    "Leg": "channels.peer",
    "LimitReached": "channels.peer",
    "LimitSource": "channels.peer",
    "LocalSigner": "channels.protocol.signing",
    "MakerQuote": "channels.peer",
    "MarkSource": "channels.peer",
    "Peer": "channels.peer",
    "PeerChannel": "channels.peer",
    "PeerEvent": "channels.peer",
    "ProtectionReset": "channels.peer",
    "ProtectionTripped": "channels.peer",
    "Put": "channels.pricing.instruments",
    "Quote": "channels.peer",
    "QuoteRequest": "channels.peer",
    "QuoteTakenLate": "channels.peer",
    "Quotes": "channels.peer",
    "RiskParams": "channels.protocol.terms",
    "RiskPolicy": "channels.peer",
    "SettlementOverdue": "channels.peer",
    "SettlementPolicy": "channels.peer",
    "SettlementSource": "channels.peer",
    "Side": "channels.peer",
    "SpreadMaker": "channels.peer",
    "StateSource": "channels.peer",
    "Terms": "channels.protocol.terms",
    "best_price": "channels.peer",
    "default_terms": "channels.peer",
    "open_peer": "channels.peer",
    "recover_channels": "channels.peer",
}

__all__ = [
    "Authorisation",
    "BestPrice",
    "BreakerPolicy",
    "BusinessEvent",
    "Call",
    "CreditPolicy",
    "Desk",
    "DeskPolicy",
    "DigitalCall",
    "DigitalPut",
    "DropCopy",
    "EventKind",
    "FlatMarket",
    "Forward",
    "HedgeLeg",
    "Leg",
    "LimitReached",
    "LimitSource",
    "LocalSigner",
    "MakerQuote",
    "MarkSource",
    "Peer",
    "PeerChannel",
    "PeerEvent",
    "ProtectionReset",
    "ProtectionTripped",
    "Put",
    "Quote",
    "QuoteRequest",
    "QuoteTakenLate",
    "Quotes",
    "RiskParams",
    "RiskPolicy",
    "SettlementOverdue",
    "SettlementPolicy",
    "SettlementSource",
    "Side",
    "SpreadMaker",
    "StateSource",
    "Terms",
    "best_price",
    "default_terms",
    "open_peer",
    "recover_channels",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'channels' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
