"""The chain under Trio: contracts, heads, transactions. The only package that imports web3.

`open_chain` gives an `EthereumChain`; `EmbeddedChain` is a chain to try it on, and
`channels.chain.deploy.deploy` puts the contracts there. The names below load when first used, so
that nobody pays for the embedded chain who does not use it.
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
    from channels.chain.client import EthereumChain as EthereumChain
    from channels.chain.client import open_chain as open_chain
    from channels.chain.control import AnvilControl as AnvilControl
    from channels.chain.control import ChainControl as ChainControl
    from channels.chain.deploy import Deployment as Deployment
    from channels.chain.embedded import EmbeddedChain as EmbeddedChain
    from channels.chain.fees import FeePolicy as FeePolicy
    from channels.chain.heads import ChainUpdate as ChainUpdate
    from channels.chain.heads import Finality as Finality
    from channels.chain.provider import TrioHTTPProvider as TrioHTTPProvider
    from channels.chain.provider import open_provider as open_provider
    from channels.chain.records import MemoryRecordStore as MemoryRecordStore
    from channels.chain.records import RecordStore as RecordStore

__all__ = [
    "AnvilControl",
    "Attester",
    "ChainControl",
    "ChainUpdate",
    "Deployment",
    "EmbeddedChain",
    "EthereumChain",
    "FeePolicy",
    "Finality",
    "LocalAccount",
    "MemoryRecordStore",
    "OracleDomain",
    "RecordStore",
    "SettlementPrice",
    "SpotPrice",
    "TransactionSigner",
    "TrioHTTPProvider",
    "open_chain",
    "open_provider",
]

_HOMES = {
    "AnvilControl": "control",
    "Attester": "attestations",
    "ChainUpdate": "heads",
    "Deployment": "deploy",
    "EmbeddedChain": "embedded",
    "EthereumChain": "client",
    "FeePolicy": "fees",
    "Finality": "heads",
    "LocalAccount": "accounts",
    "MemoryRecordStore": "records",
    "OracleDomain": "attestations",
    "RecordStore": "records",
    "SettlementPrice": "attestations",
    "SpotPrice": "attestations",
    "ChainControl": "control",
    "TransactionSigner": "accounts",
    "TrioHTTPProvider": "provider",
    "open_chain": "client",
    "open_provider": "provider",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
