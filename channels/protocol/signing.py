"""Signatures over the protocol's structs: made, checked, and carried in 64 bytes.

A signature is EIP-2098 compact: r, then s with the recovery bit in its top bit. Low-s (EIP-2) and
the recovery bit are both checked by recovering the signer, because the chain recovers too: a
signature with a flipped bit would verify here against a known key and fail there.

Sources: EIP-2 (low s), EIP-2098 (compact form).
"""

from __future__ import annotations

from typing import Final, Protocol

import attrs
from coincurve import PrivateKey, PublicKey

from channels.errors import BadSignatureError, InvalidValueError
from channels.protocol.eip712 import Address, keccak
from channels.protocol.terms import Domain, Signed

__all__ = [
    "LocalSigner",
    "Signable",
    "Signature",
    "Signer",
    "check_digest",
    "check_signature",
    "recover",
]

_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_HALF_ORDER: Final = _ORDER // 2
_PARITY: Final = 1 << 255


@attrs.frozen(repr=False)
class Signature:
    """An ECDSA signature in EIP-2098 compact form, 64 bytes."""

    compact: bytes

    def __attrs_post_init__(self) -> None:
        if type(self.compact) is not bytes or len(self.compact) != 64:
            raise InvalidValueError("a compact signature has 64 bytes")

    def __repr__(self) -> str:
        return f"Signature({self.compact.hex()})"

    @property
    def r(self) -> bytes:
        """First word."""
        return self.compact[:32]

    @property
    def vs(self) -> bytes:
        """Second word: s, with the recovery bit on top."""
        return self.compact[32:]

    def expanded(self) -> bytes:
        """The usual 65 bytes r, s, v (27 or 28), as wallets and ERC-1271 expect them."""
        vs = int.from_bytes(self.vs, "big")
        parity, s = divmod(vs, _PARITY)
        return self.r + s.to_bytes(32, "big") + bytes([27 + parity])

    @classmethod
    def from_expanded(cls, signature: bytes) -> Signature:
        """Read the usual 65 bytes; v may be 0, 1, 27 or 28.

        Raises:
            InvalidValueError: of another length, another v, or with a high s.
        """
        if len(signature) != 65 or signature[64] not in (0, 1, 27, 28):
            raise InvalidValueError("a signature has 65 bytes, the last one 0, 1, 27 or 28")
        s = int.from_bytes(signature[32:64], "big")
        if s > _HALF_ORDER:
            raise InvalidValueError("the signature's s is high; the contract refuses it (EIP-2)")
        parity = signature[64] % 27
        return cls(signature[:32] + (s | parity << 255).to_bytes(32, "big"))


@attrs.frozen
class Signable:
    """A struct and the domain it is to be signed in."""

    domain: Domain
    value: Signed

    @property
    def digest(self) -> bytes:
        """The 32 bytes that are signed."""
        return self.domain.digest(self.value)


class Signer(Protocol):
    """What holds a key: in memory, in a keystore, in hardware or at a remote signer."""

    @property
    def address(self) -> Address:
        """The key's address."""

    async def sign(self, signable: Signable) -> Signature:
        """Sign one struct.

        Raises:
            SignerError: the key cannot or will not sign. Nothing was signed.
        """


class LocalSigner:
    """A key held in this process's memory."""

    def __init__(self, secret: bytes) -> None:
        """Take the 32-byte private key.

        Raises:
            InvalidValueError: not a valid secp256k1 private key.
        """
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < _ORDER:
            raise InvalidValueError("a private key is 32 bytes, above zero and below the order")
        self._key = PrivateKey(secret)
        self.address: Address = _address_of(self._key.public_key)

    @classmethod
    def generate(cls) -> LocalSigner:
        """Make a new random key from the operating system's entropy."""
        return cls(PrivateKey().secret)

    def __repr__(self) -> str:
        return f"LocalSigner(0x{self.address.hex()})"

    def sign_digest(self, digest: bytes) -> Signature:
        """Sign 32 bytes, deterministically (RFC 6979), low-s."""
        raw = self._key.sign_recoverable(digest, hasher=None)
        return Signature(raw[:32] + bytes([raw[32] | raw[64] << 7]) + raw[33:64])

    async def sign(self, signable: Signable) -> Signature:
        """Sign one struct."""
        return self.sign_digest(signable.digest)


def _address_of(key: PublicKey) -> Address:
    return Address(keccak(key.format(compressed=False)[1:])[12:])


def recover(signature: Signature, digest: bytes) -> Address:
    """Address whose key made ``signature`` over ``digest``, by the rules the contract applies.

    Raises:
        BadSignatureError: r or s is out of range, s is high, or no key can have made it.
    """
    compact = signature.compact
    parity = compact[32] >> 7
    s = int.from_bytes(compact[32:], "big") & (_PARITY - 1)
    if s > _HALF_ORDER:
        raise BadSignatureError("the signature's s is high (EIP-2)")
    raw = compact[:32] + s.to_bytes(32, "big") + bytes([parity])
    try:
        key = PublicKey.from_signature_and_message(raw, digest, hasher=None)
    except Exception as error:  # coincurve raises bare Exception and ValueError alike
        raise BadSignatureError("no key can have made this signature") from error
    return _address_of(key)


def check_signature(signature: Signature, signable: Signable, signer: Address) -> None:
    """Check that ``signer`` signed, exactly as the contract will.

    Raises:
        BadSignatureError: it did not, or the contract would refuse the form.
    """
    check_digest(signature, signable.digest, signer)


def check_digest(signature: Signature, digest: bytes, signer: Address) -> None:
    """Check that ``signer`` signed ``digest``, exactly as the contract will.

    Raises:
        BadSignatureError: it did not, or the contract would refuse the form.
    """
    recovered = recover(signature, digest)
    if recovered != signer:
        raise BadSignatureError(
            f"signed by 0x{recovered.hex()}, expected 0x{signer.hex()}: "
            "another key, state, channel, contract or chain"
        )
