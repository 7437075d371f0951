"""What strangers can have a serving desk lock by asking."""

from __future__ import annotations

import attrs

from channels.cli.desk.admission import Admission, Locked
from channels.protocol.eip712 import Address
from channels.protocol.terms import Opening
from channels.protocol.types import Party
from tests.protocol.build import SIGNERS, T0, make_opening, make_terms

WAD = 10**18
ALICE = SIGNERS[Party.A].address
"""She asks; we are B."""


def asked(theirs: int, ours: int, *, valid_until: int = T0 + 3_600) -> Opening:
    return make_opening(deposit_a=theirs, deposit_b=ours, valid_until=valid_until)


def admits(
    admission: Admission,
    opening: Opening,
    *,
    identity: int = 1,
    held: dict[bytes, Locked] | None = None,
    now: int = T0,
) -> bool:
    return admission.admits(opening, bytes([identity]) * 32, Party.B, held=held or {}, now=now)


def test_the_counterparty_has_its_share_at_stake() -> None:
    for ratio, theirs, fits in (
        (WAD, 1_000, True),
        (WAD, 999, False),
        (WAD, 1, False),
        (WAD // 2, 500, True),
        (WAD // 2, 499, False),
        (2 * WAD, 1_999, False),
        (0, 0, True),
    ):
        admission = Admission(most=1_000, ratio=ratio)
        assert admits(admission, asked(theirs, 1_000)) is fits, (ratio, theirs)


def test_we_are_asked_as_party_a_too() -> None:
    opening = make_opening(deposit_a=1_000, deposit_b=1)
    admission = Admission(most=1_000, ratio=WAD)
    assert not admission.admits(opening, bytes(32), Party.A, held={}, now=T0)
    assert admission.admits(opening, bytes(32), Party.B, held={}, now=T0)


def test_all_channels_of_one_counterparty_count_together() -> None:
    admission = Admission(most=1_000, ratio=WAD)
    standing = {bytes(32): Locked(counterparty=ALICE, ours=600)}
    assert not admits(admission, asked(401, 401), held=standing)
    assert admits(admission, asked(400, 400), held=standing)
    others = {bytes(32): Locked(counterparty=Address(bytes(20)), ours=10**9)}
    assert admits(Admission(most=1_000, ratio=WAD), asked(1_000, 1_000), held=others)


def test_what_was_granted_counts_before_it_is_a_channel() -> None:
    """Requests that come together, each for all there is."""
    admission = Admission(most=1_000, ratio=WAD)
    assert admits(admission, asked(1_000, 1_000), identity=1)
    assert not admits(admission, asked(1, 1), identity=2)
    assert admits(admission, asked(1_000, 1_000), identity=1), "the same again"


def test_what_was_granted_and_not_opened_counts_no_more() -> None:
    admission = Admission(most=1_000, ratio=WAD)
    assert admits(admission, asked(1_000, 1_000, valid_until=T0 + 10), identity=1)
    again = asked(1_000, 1_000, valid_until=T0 + 99)
    assert not admits(admission, again, identity=2, now=T0 + 10)
    assert admits(admission, again, identity=2, now=T0 + 11)


def test_a_channel_that_was_granted_counts_once() -> None:
    admission = Admission(most=1_000, ratio=WAD)
    assert admits(admission, asked(600, 600), identity=1)
    held = {bytes([1]) * 32: Locked(counterparty=ALICE, ours=600)}
    assert admits(admission, asked(400, 400), identity=2, held=held)


def test_another_signer_is_another_counterparty() -> None:
    admission = Admission(most=1_000, ratio=WAD)
    assert admits(admission, asked(1_000, 1_000), identity=1)
    terms = make_terms(signer_a=Address(bytes(19) + b"\x07"))
    other = attrs.evolve(asked(1_000, 1_000), terms=terms)
    assert admits(admission, other, identity=2)
