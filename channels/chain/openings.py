"""Finding a signer's channels on chain, and the terms of each in the transaction that opened it.

Terms are neither stored nor emitted by the contract: they are eighteen words of the transaction's
input, whatever wrapper (a Safe, a bundler) carried them, and they hash to the channel's id.

Source: design, adjudication.md "Types".
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import attrs

from channels.chain.abi import TERMS_WORDS, Words, read_terms
from channels.chain.events import decode_event
from channels.chain.rpc import Rpc
from channels.errors import ChannelsError, EndpointError
from channels.protocol.eip712 import Address, address_word
from channels.protocol.facts import ChannelOpened
from channels.protocol.terms import Domain, Terms, channel_id

__all__ = ["FoundOpening", "find_openings", "find_terms"]

_SIGNER_A_WORD: Final = 2
"""Where the signer of A stands among the words of the terms."""


@attrs.frozen(kw_only=True)
class FoundOpening:
    """A channel as its opening shows it; deposits in base units."""

    channel_id: bytes
    terms: Terms
    deposit_a: int
    deposit_b: int


async def find_openings(
    rpc: Rpc, domain: Domain, signer: Address, *, first: int, last: int, span: int
) -> AsyncIterator[FoundOpening]:
    """Every channel of ``signer`` that was opened in blocks ``first`` to ``last``, both included.

    Raises:
        EndpointError: no answer; a log without its transaction, or without the terms in it.
    """
    for start in range(first, last + 1, span):
        stop = min(start + span - 1, last)
        for log in await rpc.logs_between(start, stop, domain.adjudicator):
            event = decode_event(log)
            if not isinstance(event, ChannelOpened):
                continue
            if signer not in (event.signer_a, event.signer_b):
                continue
            transaction = await rpc.transaction(log.transaction_hash)
            if transaction is None:
                raise EndpointError("the endpoint has a log but not its transaction")
            terms = find_terms(transaction.data, domain, event)
            if terms is None:
                raise EndpointError(
                    f"no terms of channel 0x{event.channel_id.hex()} in its transaction",
                    next_step="ask another endpoint; a contract that composed them holds them",
                )
            yield FoundOpening(
                channel_id=event.channel_id,
                terms=terms,
                deposit_a=event.deposit_a,
                deposit_b=event.deposit_b,
            )


def find_terms(transaction_input: bytes, domain: Domain, opened: ChannelOpened) -> Terms | None:
    """The terms that hash to the channel's id, anywhere in the input; None if they are not there.

    They may begin at any byte: a wrapper's own arguments need not end on a word.
    """
    wanted = address_word(opened.signer_a) + address_word(opened.signer_b)
    place = transaction_input.find(wanted)
    while place >= 0:
        start = place - 32 * _SIGNER_A_WORD
        if start >= 0:
            terms = _read(transaction_input[start : start + 32 * TERMS_WORDS])
            if terms is not None and channel_id(domain, terms) == opened.channel_id:
                return terms
        place = transaction_input.find(wanted, place + 1)
    return None


def _read(data: bytes) -> Terms | None:
    try:
        return read_terms(Words(data))
    except ChannelsError:
        return None  # the two addresses stood somewhere else
