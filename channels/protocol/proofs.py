"""What a signer signs to show that a connection is its own.

The server proves that the TLS certificate of the connection is its own. The client proves that it
speaks to the holder of that certificate: a man in the middle, who needs a certificate of his own,
has nothing to relay. Neither proof can be used again: each covers a challenge that its receiver has
just made.

Sources: EIP-712; RFC 5929 "tls-server-end-point" for the hash of the certificate.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cached_property
from typing import Final

import attrs

from channels.protocol.bounds import fixed_bytes
from channels.protocol.eip712 import Address, address_word, keccak, type_hash, word

__all__ = ["Role", "SessionProof"]

_TYPE_HASH: Final = type_hash(
    "SessionProof(uint8 role,bytes32 certificate,bytes32 clientChallenge,"
    "bytes32 serverChallenge,address client)"
)


class Role(IntEnum):
    """Who proves itself."""

    CLIENT = 0
    """The side that connected."""
    SERVER = 1


@attrs.frozen(kw_only=True)
class SessionProof:
    """One side's word that this connection is its own; the contract knows no such struct.

    ``certificate`` is the SHA-256 of the server's certificate in DER, 32 zero bytes on a connection
    without TLS. ``client`` is the signer that the client names. Each side's challenge is 32 random
    bytes, made for this connection alone.
    """

    role: Role
    certificate: bytes
    client_challenge: bytes
    server_challenge: bytes
    client: Address

    def __attrs_post_init__(self) -> None:
        fixed_bytes(
            32,
            certificate=self.certificate,
            client_challenge=self.client_challenge,
            server_challenge=self.server_challenge,
        )
        fixed_bytes(20, client=self.client)

    @cached_property
    def struct_hash(self) -> bytes:
        """EIP-712 hash of this proof."""
        return keccak(
            _TYPE_HASH
            + word(self.role)
            + self.certificate
            + self.client_challenge
            + self.server_challenge
            + address_word(self.client)
        )
