"""Whose word a call needs, and until when it is good.

Source: design, adjudication.md rule 9 and "Calls".
"""

from __future__ import annotations

from channels.errors import BadSignatureError
from channels.protocol.eip712 import Address
from channels.protocol.signing import Signature, recover
from channels.protocol.terms import Terms
from channels.protocol.types import Party
from channels.testing.refusals import Refusals
from channels.units import HOUR

__all__ = ["check_box", "check_limit", "check_signers", "is_boxed_out", "recovered", "side_of"]

_NOBODY = Address(bytes(20))


def recovered(signature: Signature | None, digest: bytes) -> Address:
    """Who signed ``digest``; the zero address if nobody can have."""
    if signature is None:
        return _NOBODY
    try:
        return recover(signature, digest)
    except BadSignatureError:
        return _NOBODY


def check_signers(
    refusals: Refusals, terms: Terms, digest: bytes, signatures: tuple[Signature, Signature]
) -> None:
    """Note a signature that is not the signer's of its side."""
    for party, signature in zip(Party, signatures, strict=True):
        expected = terms.signer(party)
        refusals.when(
            recovered(signature, digest) != expected, "InvalidSignature", expected=expected
        )


def is_boxed_out(valid_until: int, now: int) -> bool:
    """Whether a state's box has passed; 0 is permanent."""
    return 0 != valid_until < now


def check_box(refusals: Refusals, valid_until: int, now: int) -> None:
    """Note that the time has passed up to which a word was good; 0 has."""
    refusals.when(valid_until < now, "Expired", validUntil=valid_until)


def check_limit(refusals: Refusals, valid_until: int, now: int) -> None:
    """Note a time limit that has passed, is not set, or is more than an hour ahead."""
    check_box(refusals, valid_until, now)
    refusals.when(valid_until > now + HOUR, "ValidUntilTooFar", validUntil=valid_until)


def side_of(terms: Terms, member: Address) -> Party | None:
    """The side that a party or a signer belongs to; None for a stranger."""
    for party in Party:
        if member in (terms.party(party), terms.signer(party)):
            return party
    return None
