"""Signatures against eth-account, and every form the contract refuses."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio
from eth_account import Account
from eth_keys.datatypes import PrivateKey as EthKey

from channels.errors import BadSignatureError, InvalidValueError
from channels.protocol.eip712 import keccak
from channels.protocol.signing import (
    LocalSigner,
    Signable,
    Signature,
    check_signature,
    recover,
)
from channels.protocol.terms import Domain
from channels.protocol.types import Party, State
from tests.protocol.build import DOMAIN, ID, SIGNERS, STRANGER, key, place

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
SIGNER = SIGNERS[Party.A]
STATE = State(channel_id=ID, nonce=1)


def digests(count: int) -> list[bytes]:
    rng = random.Random(20)
    return [rng.randbytes(32) for _ in range(count)]


def test_the_same_signatures_as_eth_keys() -> None:
    """RFC 6979 leaves no choice: both libraries make the same r, s and v."""
    for number, digest in enumerate(digests(100)):
        secret = keccak(b"%d" % number)
        ours = LocalSigner(secret).sign_digest(digest)
        theirs = EthKey(secret).sign_msg_hash(digest)
        assert ours.expanded()[:64] == theirs.to_bytes()[:64]
        assert ours.expanded()[64] == 27 + theirs.v


def test_eth_account_recovers_our_signatures() -> None:
    for digest in digests(50):
        signature = SIGNER.sign_digest(digest)
        found = Account._recover_hash(digest, signature=signature.expanded())
        assert bytes.fromhex(found[2:]) == SIGNER.address
        assert recover(signature, digest) == SIGNER.address


def test_addresses_are_those_of_eth_account() -> None:
    for name in ("one", "two", "three"):
        expected = Account.from_key(keccak(name.encode())).address
        assert key(name).address == bytes.fromhex(expected[2:])


def test_s_is_low_and_the_parity_stands_on_top() -> None:
    parities = set()
    for digest in digests(64):
        signature = SIGNER.sign_digest(digest)
        vs = int.from_bytes(signature.vs, "big")
        assert vs % 2**255 <= ORDER // 2
        parities.add(vs >> 255)
        assert signature.r + signature.vs == signature.compact
    assert parities == {0, 1}


def test_expanded_and_back() -> None:
    for digest in digests(20):
        signature = SIGNER.sign_digest(digest)
        wide = signature.expanded()
        assert len(wide) == 65
        assert Signature.from_expanded(wide) == signature
        assert Signature.from_expanded(wide[:64] + bytes([wide[64] - 27])) == signature


@pytest.mark.parametrize("v", [2, 26, 29, 35, 255])
def test_another_v_is_refused(v: int) -> None:
    wide = SIGNER.sign_digest(bytes(32)).expanded()
    with pytest.raises(InvalidValueError):
        Signature.from_expanded(wide[:64] + bytes([v]))


@pytest.mark.parametrize("length", [0, 63, 64, 66, 130])
def test_another_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidValueError):
        Signature.from_expanded(bytes(length))
    if length != 64:
        with pytest.raises(InvalidValueError):
            Signature(bytes(length))


@pytest.mark.parametrize("value", [None, "x" * 64, bytearray(64)])
def test_a_signature_is_bytes(value: object) -> None:
    with pytest.raises(InvalidValueError):
        Signature(value)  # type: ignore[arg-type]


def _other_root(digest: bytes) -> tuple[bytes, int, int]:
    wide = SIGNER.sign_digest(digest).expanded()
    s = int.from_bytes(wide[32:64], "big")
    return wide[:32], ORDER - s, 1 - (wide[64] - 27)


def test_a_high_s_is_refused_in_either_form() -> None:
    """The other root is a valid ECDSA signature of the same digest: only EIP-2 forbids it."""
    digest = keccak(b"digest")
    r, s, parity = _other_root(digest)
    valid_elsewhere = Account._recover_hash(
        digest, signature=r + s.to_bytes(32, "big") + bytes([27 + parity])
    )
    assert bytes.fromhex(valid_elsewhere[2:]) == SIGNER.address
    with pytest.raises(InvalidValueError, match="EIP-2"):
        Signature.from_expanded(r + s.to_bytes(32, "big") + bytes([27 + parity]))
    if s < 2**255:
        with pytest.raises(BadSignatureError, match="EIP-2"):
            recover(Signature(r + (s | parity << 255).to_bytes(32, "big")), digest)


def test_a_flipped_parity_is_another_signer() -> None:
    """Verifying with a known key would not notice; the chain recovers, and would."""
    for digest in digests(30):
        raw = bytearray(SIGNER.sign_digest(digest).compact)
        raw[32] ^= 0x80
        with suppress(BadSignatureError):
            assert recover(Signature(bytes(raw)), digest) != SIGNER.address


@pytest.mark.parametrize(
    "compact",
    [
        bytes(64),
        bytes(32) + (1).to_bytes(32, "big"),
        (1).to_bytes(32, "big") + bytes(32),
        ORDER.to_bytes(32, "big") + (1).to_bytes(32, "big"),
        b"\xff" * 32 + (1).to_bytes(32, "big"),
        (5).to_bytes(32, "big") + (1).to_bytes(32, "big"),  # no point has this x
        (1).to_bytes(32, "big") + (ORDER // 2 + 1).to_bytes(32, "big"),
        b"\xff" * 64,
    ],
)
def test_what_no_key_can_have_made(compact: bytes) -> None:
    with pytest.raises(BadSignatureError) as caught:
        recover(Signature(compact), keccak(b"digest"))
    assert caught.value.fault == "the peer's"


def test_any_bytes_recover_to_somebody_else_or_to_nobody() -> None:
    rng = random.Random(7)
    for _ in range(300):
        with suppress(BadSignatureError):
            assert recover(Signature(rng.randbytes(64)), rng.randbytes(32)) != SIGNER.address


def test_check_signature() -> None:
    signable = Signable(DOMAIN, STATE)
    signature = SIGNER.sign_digest(signable.digest)
    check_signature(signature, signable, SIGNER.address)
    elsewhere = Domain(chain_id=DOMAIN.chain_id + 1, adjudicator=DOMAIN.adjudicator)
    other_contract = Domain(chain_id=DOMAIN.chain_id, adjudicator=place("other"))
    for wrong in (
        Signable(elsewhere, STATE),
        Signable(other_contract, STATE),
        Signable(DOMAIN, State(channel_id=ID, nonce=2)),
        Signable(DOMAIN, State(channel_id=bytes(32), nonce=1)),
    ):
        with pytest.raises(BadSignatureError, match="expected"):
            check_signature(signature, wrong, SIGNER.address)
    with pytest.raises(BadSignatureError):
        check_signature(signature, signable, STRANGER.address)


@pytest.mark.parametrize(
    "secret", [b"", bytes(31), bytes(33), bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32]
)
def test_what_is_no_key(secret: bytes) -> None:
    with pytest.raises(InvalidValueError):
        LocalSigner(secret)


def test_the_smallest_and_the_largest_key() -> None:
    for number in (1, ORDER - 1):
        signer = LocalSigner(number.to_bytes(32, "big"))
        expected = Account.from_key(number.to_bytes(32, "big")).address
        assert signer.address == bytes.fromhex(expected[2:])


def test_generated_keys_differ() -> None:
    assert len({LocalSigner.generate().address for _ in range(5)}) == 5


def test_neither_key_nor_signature_prints_a_secret() -> None:
    secret = keccak(b"secret")
    assert secret.hex() not in repr(LocalSigner(secret))
    assert repr(LocalSigner(secret)) == f"LocalSigner(0x{LocalSigner(secret).address.hex()})"
    assert repr(Signature(bytes(64))) == f"Signature({'00' * 64})"


def test_sign_is_sign_digest_of_the_domain() -> None:
    signable = Signable(DOMAIN, STATE)
    made = trio.run(SIGNER.sign, signable)
    assert made == SIGNER.sign_digest(DOMAIN.digest(STATE))
