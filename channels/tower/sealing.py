"""A portfolio sealed to the customer itself: the tower keeps it and cannot read it.

The key follows from the signer's own key: HKDF-SHA-256 over its signature of a fixed struct. So a
customer who has lost everything but its signer key reads its portfolio again. That takes a signer
whose signatures are deterministic (RFC 6979), as those of keys in memory and of most wallets are;
one that is not is refused, because what it seals it could never open.

Sources: RFC 5869 (HKDF), RFC 8439 (ChaCha20-Poly1305), RFC 6979.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from channels.errors import InvalidValueError, SignerError
from channels.protocol.signing import Signable, Signer
from channels.protocol.terms import Domain
from channels.protocol.types import Portfolio
from channels.protocol.watching import PortfolioKey
from channels.tower.content import pack_portfolio, read_portfolio

__all__ = ["PortfolioSeal", "derive_seal"]

_VERSION: Final = b"\x01"
_NONCE: Final = 12
_INFO: Final = b"option-channels portfolio 1"


class PortfolioSeal:
    """Seals and opens portfolios of one channel. Make one with `derive_seal`."""

    def __init__(self, channel_id: bytes, key: bytes) -> None:
        self._channel_id = channel_id
        self._cipher = ChaCha20Poly1305(key)

    def seal(self, portfolio: Portfolio) -> bytes:
        """Encrypt; bound to the channel and to the portfolio's hash."""
        nonce = os.urandom(_NONCE)
        context = self._channel_id + portfolio.struct_hash
        return _VERSION + nonce + self._cipher.encrypt(nonce, pack_portfolio(portfolio), context)

    def open(self, sealed: bytes, portfolio_hash: bytes) -> Portfolio:
        """Decrypt the portfolio of this hash.

        Raises:
            InvalidValueError: sealed with another key, for another channel or hash, or damaged.
        """
        if sealed[:1] != _VERSION or len(sealed) <= 1 + _NONCE:
            raise InvalidValueError("no sealed portfolio of a version known here")
        nonce, ciphertext = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            packed = self._cipher.decrypt(nonce, ciphertext, self._channel_id + portfolio_hash)
        except InvalidTag as error:
            raise InvalidValueError(
                "the portfolio does not open: another signer's, another state's, or damaged"
            ) from error
        portfolio = read_portfolio(packed)
        if portfolio.struct_hash != portfolio_hash:
            raise InvalidValueError("the portfolio that was sealed is not the one that was signed")
        return portfolio


async def derive_seal(signer: Signer, domain: Domain, channel_id: bytes) -> PortfolioSeal:
    """The seal of ``signer`` for a channel: the same one every time.

    Raises:
        SignerError: the signer does not sign, or not the same twice.
    """
    signable = Signable(domain, PortfolioKey(channel_id=channel_id))
    first, second = await signer.sign(signable), await signer.sign(signable)
    if first != second:
        raise SignerError(
            "this signer's signatures are not deterministic: what it seals it could not open again",
            next_step="hand portfolios over in clear, or keep them elsewhere",
        )
    derivation = HKDF(algorithm=SHA256(), length=32, salt=channel_id, info=_INFO)
    return PortfolioSeal(channel_id, derivation.derive(first.compact))
