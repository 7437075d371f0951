"""Fakes for tests of code that uses channels: the contract, a token and an oracle in memory.

`ModelAdjudicator` decides what the contract would; `ModelToken` and `ModelOracle` are what it
works with. Nothing here does input or output, waits, or looks at a clock. Amounts are base units.

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

from channels.testing.adjudicator import ModelAdjudicator
from channels.testing.oracle import Answer, ModelOracle, Status
from channels.testing.record import ChannelRecord
from channels.testing.refusals import Refusal, RefusedError
from channels.testing.token import UNLIMITED, ModelToken

__all__ = [
    "UNLIMITED",
    "Answer",
    "ChannelRecord",
    "ModelAdjudicator",
    "ModelOracle",
    "ModelToken",
    "Refusal",
    "RefusedError",
    "Status",
]
