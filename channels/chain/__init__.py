"""The chain under Trio: contracts, heads, transactions. The only package that imports web3.

`open_chain` gives an `EthereumChain`; `load_deployment` says where the contracts stand.
`EmbeddedChain` is a chain to try it on, and `channels.chain.deploy.deploy` puts the contracts
there. The names below load when first used, so that nobody pays for the embedded chain who does
not use it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from channels.chain.accounts import LocalAccount as LocalAccount
    from channels.chain.accounts import TransactionSigner as TransactionSigner
    from channels.chain.attestations import Attester as Attester
    from channels.chain.attestations import OracleDomain as OracleDomain
    from channels.chain.attestations import SettlementPrice as SettlementPrice
    from channels.chain.attestations import SpotPrice as SpotPrice
    from channels.chain.chainlink_rounds import find_rounds as find_rounds
    from channels.chain.client import EthereumChain as EthereumChain
    from channels.chain.client import open_chain as open_chain
    from channels.chain.control import AnvilControl as AnvilControl
    from channels.chain.control import ChainControl as ChainControl
    from channels.chain.deployments import Deployment as Deployment
    from channels.chain.deployments import load_deployment as load_deployment
    from channels.chain.embedded import EmbeddedChain as EmbeddedChain
    from channels.chain.fees import FeePolicy as FeePolicy
    from channels.chain.heads import ChainUpdate as ChainUpdate
    from channels.chain.heads import Finality as Finality
    from channels.chain.lens import LensReader as LensReader
    from channels.chain.oracle_events import decode_oracle_event as decode_oracle_event
    from channels.chain.oracles import AttestedOracleReader as AttestedOracleReader
    from channels.chain.oracles import ChainlinkOracleReader as ChainlinkOracleReader
    from channels.chain.oracles import FallbackOracleReader as FallbackOracleReader
    from channels.chain.oracles import record_known_price as record_known_price
    from channels.chain.oracles import record_settlement as record_settlement
    from channels.chain.oracles import verify_round as verify_round
    from channels.chain.permits import sign_permit as sign_permit
    from channels.chain.provider import TrioHTTPProvider as TrioHTTPProvider
    from channels.chain.provider import open_provider as open_provider
    from channels.chain.readers import AdjudicatorReader as AdjudicatorReader
    from channels.chain.readers import RiskEngineReader as RiskEngineReader
    from channels.chain.records import MemoryRecordStore as MemoryRecordStore
    from channels.chain.records import RecordStore as RecordStore

__all__ = [
    "AdjudicatorReader",
    "AnvilControl",
    "AttestedOracleReader",
    "Attester",
    "ChainControl",
    "ChainUpdate",
    "ChainlinkOracleReader",
    "Deployment",
    "EmbeddedChain",
    "EthereumChain",
    "FallbackOracleReader",
    "FeePolicy",
    "Finality",
    "LensReader",
    "LocalAccount",
    "MemoryRecordStore",
    "OracleDomain",
    "RecordStore",
    "RiskEngineReader",
    "SettlementPrice",
    "SpotPrice",
    "TransactionSigner",
    "TrioHTTPProvider",
    "decode_oracle_event",
    "find_rounds",
    "load_deployment",
    "open_chain",
    "open_provider",
    "record_known_price",
    "record_settlement",
    "sign_permit",
    "verify_round",
]

_HOMES = {
    "AdjudicatorReader": "readers",
    "AnvilControl": "control",
    "AttestedOracleReader": "oracles",
    "Attester": "attestations",
    "ChainControl": "control",
    "ChainlinkOracleReader": "oracles",
    "ChainUpdate": "heads",
    "Deployment": "deployments",
    "EmbeddedChain": "embedded",
    "EthereumChain": "client",
    "FallbackOracleReader": "oracles",
    "FeePolicy": "fees",
    "Finality": "heads",
    "LensReader": "lens",
    "LocalAccount": "accounts",
    "MemoryRecordStore": "records",
    "OracleDomain": "attestations",
    "RecordStore": "records",
    "RiskEngineReader": "readers",
    "SettlementPrice": "attestations",
    "SpotPrice": "attestations",
    "TransactionSigner": "accounts",
    "TrioHTTPProvider": "provider",
    "decode_oracle_event": "oracle_events",
    "find_rounds": "chainlink_rounds",
    "load_deployment": "deployments",
    "open_chain": "client",
    "open_provider": "provider",
    "record_known_price": "oracles",
    "record_settlement": "oracles",
    "sign_permit": "permits",
    "verify_round": "oracles",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
