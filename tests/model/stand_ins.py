"""What the explorer puts in place of slow parts of the machine: signatures, and margins once each.

A signature here is the signer's address beside the digest. Nobody forges one, because only the
explorer makes them, for a side that may; and two digests never share one. What is lost is the
checking of real curves, which has tests of its own. Margins are the real model's, remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from unittest.mock import patch

from channels.pricing import MarginModel, ScanMargin
from channels.pricing.margin import Margins
from channels.pricing.portfolio import PositionLike, SpotLike
from channels.protocol import channel, lifecycle, rules, signing
from channels.protocol.eip712 import Address
from channels.protocol.signing import Signature
from channels.protocol.terms import RiskParams, Signed
from channels.protocol.types import Party
from tests.protocol.build import DOMAIN, SIGNERS

__all__ = ["Swap", "installed", "signed_by", "without_rule"]

Swap = tuple[object, str, object]
"""A module, a name in it, and what is to stand there."""


def signed_by(side: Party, value: Signed) -> Signature:
    """The stand-in for the signature of ``side`` on ``value``."""
    return Signature(SIGNERS[side].address + bytes(12) + DOMAIN.digest(value))


def _recover(signature: Signature, digest: bytes) -> Address:
    known = signature.compact[32:] == digest
    return Address(signature.compact[:20] if known else bytes(20))


class _Remembered:
    """The real margin model, asked once for each portfolio."""

    def __init__(self, risk: tuple[RiskParams, ...]) -> None:
        self._model = ScanMargin(risk)
        self._known: dict[object, Margins] = {}

    def requirements(
        self,
        positions: Sequence[PositionLike],
        spots: Sequence[SpotLike],
        marked_at: int,
        unit: int,
    ) -> Margins:
        key = (tuple(positions), tuple(spots), marked_at, unit)
        if key not in self._known:
            self._known[key] = self._model.requirements(positions, spots, marked_at, unit)
        return self._known[key]


@lru_cache(maxsize=8)
def _model(risk: tuple[RiskParams, ...]) -> MarginModel:
    return _Remembered(risk)


@contextmanager
def installed(*swaps: Swap) -> Iterator[None]:
    """Put the stand-ins, and ``swaps`` (module, name, value), in place for a while."""
    with ExitStack() as stack:
        for owner, name, value in (
            (signing, "recover", _recover),
            (lifecycle, "recover", _recover),
            (channel, "_margin_model", _model),
            *swaps,
        ):
            stack.enter_context(patch.object(owner, name, value))
        yield


def without_rule(number: int) -> Swap:
    """The swap that removes one signing rule from the machine."""
    kept: tuple[tuple[int, Callable[..., str | None]], ...] = tuple(
        each for each in rules._RULES if each[0] != number
    )
    return (rules, "_RULES", kept)
