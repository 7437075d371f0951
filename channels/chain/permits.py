"""ERC-2612 permits: a signature in place of an approval, so that opening takes one transaction.

Source: EIP-2612, https://eips.ethereum.org/EIPS/eip-2612
"""

from __future__ import annotations

from typing import Final

import attrs
from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError

from channels.chain.abi import encode_words, selector
from channels.chain.reverts import reverts_explained
from channels.chain.rpc import Rpc
from channels.chain.views import read_view
from channels.errors import EndpointError, InvalidValueError
from channels.protocol.bounds import fixed_bytes, unsigned
from channels.protocol.calls import Permit
from channels.protocol.eip712 import (
    Address,
    address_word,
    checksum,
    digest,
    domain_separator,
    keccak,
    type_hash,
    word,
)
from channels.protocol.signing import LocalSigner

__all__ = ["TokenPermit", "sign_permit"]

_PERMIT_TYPE_HASH: Final = type_hash(
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)
_NAME: Final = selector("name()")
_NONCES: Final = selector("nonces(address)")
_SEPARATOR: Final = selector("DOMAIN_SEPARATOR()")
_VERSIONS: Final = ("1", "2")
"""Versions of their domain that tokens use."""


@attrs.frozen(kw_only=True)
class TokenPermit:
    """What ``owner`` signs so that ``spender`` may take ``value`` until ``deadline``."""

    owner: Address
    spender: Address
    value: int
    nonce: int
    deadline: int

    def __attrs_post_init__(self) -> None:
        fixed_bytes(20, owner=self.owner, spender=self.spender)
        unsigned(256, value=self.value, nonce=self.nonce, deadline=self.deadline)

    @property
    def struct_hash(self) -> bytes:
        """EIP-712 hash."""
        return keccak(
            _PERMIT_TYPE_HASH
            + address_word(self.owner)
            + address_word(self.spender)
            + word(self.value)
            + word(self.nonce)
            + word(self.deadline)
        )


async def sign_permit(
    rpc: Rpc, token: Address, owner: LocalSigner, spender: Address, *, value: int, deadline: int
) -> Permit:
    """Sign leave for ``spender`` to take ``value`` of ``token`` from ``owner``, until ``deadline``.

    Good once, and only while the owner presents no other. It commits to this token on the
    endpoint's chain, whatever the endpoint says of its domain.

    Raises:
        EndpointError: no answer.
        ContractRevertedError: the token does not know ERC-2612.
        InvalidValueError: it has a domain of another form.
    """
    separator = await _domain(rpc, token)
    words = await read_view(rpc, token, _NONCES + encode_words(owner.address), "nonces")
    permit = TokenPermit(
        owner=owner.address,
        spender=spender,
        value=value,
        nonce=words.unsigned(),
        deadline=deadline,
    )
    signature = owner.sign_digest(digest(separator, permit.struct_hash))
    return Permit(value=value, deadline=deadline, signature=signature)


async def _domain(rpc: Rpc, token: Address) -> bytes:
    """The token's domain separator, made here; what the token says of it only confirms it."""
    told = (await read_view(rpc, token, _SEPARATOR, "DOMAIN_SEPARATOR")).word()
    with reverts_explained("name"):
        raw = await rpc.call(token, _NAME)
    try:
        name = str(abi_decode(["string"], raw)[0])
    except (DecodingError, UnicodeDecodeError) as error:
        raise EndpointError("malformed contract data: a token's name") from error
    chain_id = await rpc.chain_id()
    for version in _VERSIONS:
        separator = domain_separator(name, version, chain_id, token)
        if separator == told:
            return separator
    raise InvalidValueError(
        f"the token at {checksum(token)} has a permit domain of another form",
        next_step="approve the Adjudicator instead",
    )
