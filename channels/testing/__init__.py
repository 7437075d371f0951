"""Fakes for tests of code that uses channels: linked peers, a chain, the contract.

`linked_peers` gives real peers on a `FakeChain` and a `MemoryNetwork`, without sockets and without
an EVM: what a bot is tested with, under a clock that jumps over every wait.

`ModelAdjudicator` decides what the contract would; `ModelToken` and `ModelOracle` are what it
works with. Those three do no input or output, never wait, and look at no clock. Amounts are base
units.

>>> from channels import LocalSigner, RiskParams, default_terms
>>> from channels.protocol.calls import Dispute, Open, Settle
>>> from channels.protocol.terms import Domain, Opening
>>> from channels.protocol.types import EMPTY_PORTFOLIO, feed_id
>>> alice, bob = LocalSigner(bytes([1] * 32)), LocalSigner(bytes([2] * 32))
>>> domain = Domain(chain_id=1, adjudicator=bytes([3] * 20))
>>> dollars, oracle = ModelToken(bytes([4] * 20)), ModelOracle(bytes([5] * 20))
>>> adjudicator = ModelAdjudicator(domain, tokens=[dollars], oracles=[oracle])
>>> for party in (alice, bob):
...     dollars.mint(party.address, 1_000)
...     dollars.approve(domain.adjudicator, UNLIMITED, sender=party.address)
>>> terms = default_terms(
...     party_a=alice.address, party_b=bob.address, collateral=dollars.address, unit=1,
...     signer_a=alice.address, signer_b=bob.address, oracle=oracle.address,
...     risk=(RiskParams(feed=feed_id("ETH-USD")),), stale_penalty=50,
... )
>>> opening = Opening(terms=terms, deposit_a=600, deposit_b=400, valid_until=100)
>>> signed = [each.sign_digest(domain.digest(opening)).compact for each in (alice, bob)]
>>> channel = adjudicator.open(
...     Open(opening=opening, signature_a=signed[0], signature_b=signed[1]), now=0
... )
>>> adjudicator.channel(terms).pot
1000

Alice disputes with nothing signed; a day later anyone settles, and each has all its money back.

>>> adjudicator.dispute(Dispute(terms=terms, newest=None), sender=alice.address, now=0)
False
>>> settle = Settle(terms=terms, portfolio=EMPTY_PORTFOLIO)
>>> adjudicator.settle(settle, now=86_399)
Traceback (most recent call last):
    ...
channels.testing.refusals.RefusedError: WrongPhase(phase=DISPUTED)
>>> adjudicator.settle(settle, now=86_400)
0
>>> dollars.balance(alice.address), dollars.balance(bob.address)
(1000, 1000)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from channels.testing.adjudicator import ModelAdjudicator
from channels.testing.oracle import Answer, ModelOracle, Status
from channels.testing.record import ChannelRecord
from channels.testing.refusals import Refusal, RefusedError
from channels.testing.token import UNLIMITED, ModelToken

if TYPE_CHECKING:
    from channels.testing.clocks import quiet as quiet
    from channels.testing.clocks import run as run
    from channels.testing.fake_chain import UNIT as UNIT
    from channels.testing.fake_chain import FakeChain as FakeChain
    from channels.testing.fake_endpoint import FakeEndpoint as FakeEndpoint
    from channels.testing.linked import LinkedPeers as LinkedPeers
    from channels.testing.linked import linked_peers as linked_peers
    from channels.testing.linked_peer import LinkedPeer as LinkedPeer
    from channels.testing.linked_peer import PeerOptions as PeerOptions
    from channels.transport.memory import MemoryNetwork as MemoryNetwork

__all__ = [
    "UNIT",
    "UNLIMITED",
    "Answer",
    "ChannelRecord",
    "FakeChain",
    "FakeEndpoint",
    "LinkedPeer",
    "LinkedPeers",
    "MemoryNetwork",
    "ModelAdjudicator",
    "ModelOracle",
    "ModelToken",
    "PeerOptions",
    "Refusal",
    "RefusedError",
    "Status",
    "linked_peers",
    "quiet",
    "run",
]

_HOMES = {
    "UNIT": "channels.testing.fake_chain",
    "FakeChain": "channels.testing.fake_chain",
    "FakeEndpoint": "channels.testing.fake_endpoint",
    "LinkedPeer": "channels.testing.linked_peer",
    "LinkedPeers": "channels.testing.linked",
    "MemoryNetwork": "channels.transport.memory",
    "PeerOptions": "channels.testing.linked_peer",
    "linked_peers": "channels.testing.linked",
    "quiet": "channels.testing.clocks",
    "run": "channels.testing.clocks",
}
"""What is imported when it is first used: the model needs neither Trio nor a peer."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
