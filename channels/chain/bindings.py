"""Calls and reads of the Adjudicator, as calldata and values.

Source: design, adjudication.md "Calls"; `contracts/src/interfaces/IAdjudicator.sol`.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Final

import attrs

from channels.chain.abi import (
    TERMS_WORDS,
    Words,
    closing_words,
    encode_arguments,
    encode_bytes,
    encode_portfolio,
    encode_state,
    encode_words,
    selector,
    terms_words,
)
from channels.chain.reverts import reverts_explained
from channels.chain.rpc import BlockId, Rpc
from channels.errors import EndpointError
from channels.protocol.calls import (
    Call,
    Checkpoint,
    Claim,
    Close,
    Deposit,
    Dispute,
    Open,
    Settle,
)
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelView, OnChainPhase
from channels.protocol.terms import Terms
from channels.protocol.types import Party

__all__ = [
    "FUNCTIONS",
    "AdjudicatorReader",
    "EncodedCall",
    "encode_call",
    "party_from_chain",
    "party_to_chain",
]

FUNCTIONS: Final = {
    "open": "open(Terms,uint128,uint128,uint64,bytes,bytes)",
    "deposit": "deposit(Terms,uint8,uint128)",
    "checkpoint": "checkpoint(address,address,bytes32,uint64,uint64,bytes32,bytes32,bytes32,"
    "bytes32,bytes32)",
    "dispute": "dispute(Terms)",
    "dispute_with": "dispute(Terms,State,Signature,Signature)",
    "settle": "settle(Terms,Portfolio)",
    "close": "close(Terms,Closing,Signature,Signature)",
    "claim": "claim(address,address)",
    "channel": "channel(bytes32)",
    "claimable": "claimable(address,address)",
    "dispute_count": "disputeCount()",
    "channel_id": "channelId(Terms)",
    "domain_separator": "domainSeparator()",
    "deployment_chain_id": "deploymentChainId()",
}
"""Every function used here, by our name; tests find each in the compiled ABI."""

SELECTORS: Final = {name: selector(signature) for name, signature in FUNCTIONS.items()}


def party_to_chain(party: Party) -> int:
    """The contract's number for a party: there 0 is nobody, A 1 and B 2."""
    return int(party) + 1


def party_from_chain(number: int) -> Party | None:
    """The party of the contract's number; None for nobody.

    Raises:
        EndpointError: no such number.
    """
    if number not in (0, 1, 2):
        raise EndpointError(f"{number} is no party")
    return None if number == 0 else Party(number - 1)


@attrs.frozen(kw_only=True)
class EncodedCall:
    """A contract call ready to send.

    ``answer`` is what the contract returns if the call has the effect meant; None if it reverts
    otherwise. ``repeatable`` says that mined twice it does no more than mined once.
    """

    name: str
    data: bytes = attrs.field(repr=False)
    answer: bytes | None = None
    repeatable: bool = True


@singledispatch
def encode_call(call: Call) -> EncodedCall:
    """Encode a call of `channels.protocol.calls` for the Adjudicator.

    Raises:
        TypeError: not such a call.
    """
    raise TypeError(f"{type(call).__name__} is no call")


def _encoded(function: str, body: bytes, name: str | None = None) -> EncodedCall:
    return EncodedCall(name=name or function, data=SELECTORS[function] + body)


@encode_call.register
def _open(call: Open) -> EncodedCall:
    opening = call.opening
    fixed = (
        terms_words(opening.terms),
        *(opening.deposit_a, opening.deposit_b, opening.valid_until, 0, 0),
    )
    tails = {4: encode_bytes(call.signature_a), 5: encode_bytes(call.signature_b)}
    return _encoded("open", encode_arguments(fixed, tails))


@encode_call.register
def _deposit(call: Deposit) -> EncodedCall:
    body = terms_words(call.terms) + encode_words(party_to_chain(call.party), call.amount)
    return EncodedCall(name="deposit", data=SELECTORS["deposit"] + body, repeatable=False)


@encode_call.register
def _checkpoint(call: Checkpoint) -> EncodedCall:
    state = call.newest.state
    body = encode_words(
        call.terms.signer_a,
        call.terms.signer_b,
        call.terms.struct_hash,
        state.nonce,
        state.valid_until,
        state.portfolio.struct_hash,
        call.newest.signature_a.compact,
        call.newest.signature_b.compact,
    )
    return EncodedCall(
        name="checkpoint", data=SELECTORS["checkpoint"] + body, answer=encode_words(1)
    )


@encode_call.register
def _dispute(call: Dispute) -> EncodedCall:
    terms = terms_words(call.terms)
    if call.newest is None:
        return _encoded("dispute", terms)
    signatures = (call.newest.signature_a.compact, call.newest.signature_b.compact)
    tails = {1: encode_state(call.newest.state)}
    return _encoded("dispute_with", encode_arguments((terms, 0, *signatures), tails), "dispute")


@encode_call.register
def _close(call: Close) -> EncodedCall:
    return _encoded(
        "close",
        encode_words(
            terms_words(call.terms),
            closing_words(call.closing),
            call.signature_a.compact,
            call.signature_b.compact,
        ),
    )


@encode_call.register
def _settle(call: Settle) -> EncodedCall:
    tails = {1: encode_portfolio(call.portfolio)}
    return _encoded("settle", encode_arguments((terms_words(call.terms), 0), tails))


@encode_call.register
def _claim(call: Claim) -> EncodedCall:
    return _encoded("claim", encode_words(call.token, call.recipient))


class AdjudicatorReader:
    """What the Adjudicator stores, read at a block.

    Every method may raise `channels.errors.EndpointError`.
    """

    def __init__(self, rpc: Rpc, address: Address) -> None:
        self._rpc = rpc
        self.address = address

    async def _read(self, function: str, body: bytes, block: BlockId) -> Words:
        with reverts_explained(function):
            return Words(
                await self._rpc.call(self.address, SELECTORS[function] + body, block=block)
            )

    async def view(self, channel_id: bytes, block: BlockId = "latest") -> ChannelView:
        """A channel's storage at ``block``, its phase at that block's time."""
        header = await self._rpc.block(block)
        if header is None:
            raise EndpointError(f"the endpoint has no block {block!r}")
        return await self.view_at(channel_id, header.hash, header.timestamp)

    async def view_at(self, channel_id: bytes, block_hash: bytes, timestamp: int) -> ChannelView:
        """A channel's storage at the block of this hash and time."""
        words = await self._read("channel", channel_id, block_hash)
        phase = words.unsigned(8)
        nonce, filed_nonce = words.unsigned(64), words.unsigned(64)
        filer = party_from_chain(words.unsigned(8))
        deadline, cure_end_a, cure_end_b = (words.unsigned(32) for _ in range(3))
        words.unsigned(16)  # flags: whether settle ran
        if phase >= len(OnChainPhase):
            raise EndpointError(f"{phase} is no phase")
        if phase == OnChainPhase.DISPUTED and timestamp >= deadline:
            phase = OnChainPhase.RUN_OFF
        return ChannelView(
            phase=OnChainPhase(phase),
            nonce=nonce,
            filed_nonce=filed_nonce,
            filer=filer,
            deadline=deadline,
            cure_end_a=cure_end_a,
            cure_end_b=cure_end_b,
            portfolio_hash=words.word(),
            contribution_a=words.signed(128),
            contribution_b=words.signed(128),
        )

    async def dispute_count(self, block: BlockId = "latest") -> int:
        """Disputes ever filed with this Adjudicator."""
        return (await self._read("dispute_count", b"", block)).unsigned()

    async def claimable(self, token: Address, payee: Address, block: BlockId = "latest") -> int:
        """Failed payouts of ``token`` that ``payee`` can claim, base units."""
        return (await self._read("claimable", encode_words(token, payee), block)).unsigned()

    async def channel_id(self, terms: Terms) -> bytes:
        """Id of the channel of ``terms``, as the contract computes it."""
        return (await self._read("channel_id", terms_words(terms), "latest")).word()

    async def deployment_chain_id(self) -> int:
        """Chain id at deployment, which channel ids are made of."""
        return (await self._read("deployment_chain_id", b"", "latest")).unsigned()

    async def domain_separator(self) -> bytes:
        """EIP-712 domain separator, as the contract computes it."""
        return (await self._read("domain_separator", b"", "latest")).word()


assert TERMS_WORDS == 18  # noqa: S101  (the places in `_open` and `_dispute` count terms as one)
