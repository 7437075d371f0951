"""A portfolio sealed to its owner: opened with nothing but the signer's key, and by nobody else."""

from __future__ import annotations

import os

import pytest

from channels.chain.bindings import encode_call
from channels.errors import InvalidValueError, SignerError
from channels.protocol.calls import Checkpoint, CoSignedHash
from channels.protocol.signing import LocalSigner, Signable, Signature, check_digest
from channels.tower.sealing import derive_seal
from tests.dispute.build import DOMAIN, ID, TERMS, co_signed, make_portfolio, put
from tests.tower.build import ALICE

PORTFOLIO = make_portfolio(5, put(3), put(-2, strike=2_500))


async def test_the_signer_key_alone_opens_it() -> None:
    sealed = (await derive_seal(ALICE, DOMAIN, ID)).seal(PORTFOLIO)
    again = await derive_seal(LocalSigner(ALICE._key.secret), DOMAIN, ID)
    assert again.open(sealed, PORTFOLIO.struct_hash) == PORTFOLIO


async def test_it_shows_no_strike_and_never_the_same_twice() -> None:
    seal = await derive_seal(ALICE, DOMAIN, ID)
    one, two = seal.seal(PORTFOLIO), seal.seal(PORTFOLIO)
    assert one != two
    for each in (one, two):
        assert (2_500 * 10**18).to_bytes(16, "big") not in each


@pytest.mark.parametrize("at", [0, 5, 20, -1])
async def test_a_changed_byte_is_noticed(at: int) -> None:
    seal = await derive_seal(ALICE, DOMAIN, ID)
    sealed = bytearray(seal.seal(PORTFOLIO))
    sealed[at] ^= 1
    with pytest.raises(InvalidValueError):
        seal.open(bytes(sealed), PORTFOLIO.struct_hash)


async def test_another_key_channel_or_portfolio_opens_nothing() -> None:
    seal = await derive_seal(ALICE, DOMAIN, ID)
    sealed = seal.seal(PORTFOLIO)
    stranger = await derive_seal(LocalSigner.generate(), DOMAIN, ID)
    elsewhere = await derive_seal(ALICE, DOMAIN, bytes(32))
    for other in (stranger, elsewhere):
        with pytest.raises(InvalidValueError):
            other.open(sealed, PORTFOLIO.struct_hash)
    with pytest.raises(InvalidValueError):
        seal.open(sealed, make_portfolio(6).struct_hash)
    with pytest.raises(InvalidValueError):
        seal.open(b"", PORTFOLIO.struct_hash)


class Fickle:
    """A signer whose signatures differ every time, as some hardware's do."""

    address = ALICE.address

    async def sign(self, signable: Signable) -> Signature:
        return Signature(os.urandom(64))


async def test_a_signer_that_is_not_deterministic_is_refused() -> None:
    with pytest.raises(SignerError, match="deterministic"):
        await derive_seal(Fickle(), DOMAIN, ID)


def test_a_sealed_state_has_the_signatures_and_the_calldata_of_the_whole_one() -> None:
    whole = co_signed(9)
    sealed = CoSignedHash(
        state=whole.state.sealed, signature_a=whole.signature_a, signature_b=whole.signature_b
    )
    assert sealed.state.struct_hash == whole.state.struct_hash
    check_digest(sealed.signature_a, DOMAIN.digest(sealed.state), ALICE.address)
    calls = [Checkpoint(terms=TERMS, newest=each) for each in (sealed, whole)]
    assert encode_call(calls[0]) == encode_call(calls[1])
