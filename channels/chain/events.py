"""The Adjudicator's events, from logs to facts.

A dispute's event carries the hash of the filed portfolio alone; the portfolio itself is in the
input of the transaction, possibly within a wrapper's, and is found there by that hash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from channels.chain.abi import TERMS_WORDS, Words, read_portfolio, read_state
from channels.chain.artifacts import load_artifact
from channels.chain.bindings import SELECTORS, party_from_chain
from channels.chain.rpc import Log, Rpc
from channels.errors import ChannelsError, EndpointError, InvalidValueError
from channels.protocol.eip712 import Address
from channels.protocol.facts import (
    ChainEvent,
    ChannelClosed,
    ChannelOpened,
    Checkpointed,
    Deposited,
    DisputeStarted,
    PayoutDeferred,
    PositionsSettled,
)
from channels.protocol.types import EMPTY_PORTFOLIO, Party, Portfolio

__all__ = ["decode_event", "find_disputed_portfolio", "read_events"]


def _party(words: Words) -> Party:
    party = party_from_chain(words.unsigned(8))
    if party is None:
        raise EndpointError("an event that concerns neither party")
    return party


def _topic_address(topic: bytes) -> Address:
    return Words(topic).address()


def _place(log: Log) -> dict[str, Any]:
    return {
        "block_number": log.block_number,
        "block_hash": log.block_hash,
        "transaction_hash": log.transaction_hash,
        "log_index": log.log_index,
    }


def _opened(log: Log, words: Words) -> ChainEvent:
    return ChannelOpened(
        channel_id=log.topics[1],
        signer_a=_topic_address(log.topics[2]),
        signer_b=_topic_address(log.topics[3]),
        deposit_a=words.unsigned(128),
        deposit_b=words.unsigned(128),
        **_place(log),
    )


def _deposited(log: Log, words: Words) -> ChainEvent:
    return Deposited(
        channel_id=log.topics[1], party=_party(words), amount=words.unsigned(), **_place(log)
    )


def _checkpointed(log: Log, words: Words) -> ChainEvent:
    return Checkpointed(
        channel_id=log.topics[1],
        nonce=words.unsigned(64),
        portfolio_hash=words.word(),
        **_place(log),
    )


def _settled(log: Log, words: Words) -> ChainEvent:
    portfolio = read_portfolio(words.at(words.unsigned()))
    return PositionsSettled(channel_id=log.topics[1], portfolio=portfolio, **_place(log))


def _closed(log: Log, words: Words) -> ChainEvent:
    return ChannelClosed(
        channel_id=log.topics[1],
        paid_a=words.unsigned(),
        paid_b=words.unsigned(),
        **_place(log),
    )


def _deferred(log: Log, words: Words) -> ChainEvent:
    return PayoutDeferred(
        token=_topic_address(log.topics[1]),
        payee=_topic_address(log.topics[2]),
        amount=words.unsigned(),
        **_place(log),
    )


def _disputed(log: Log, words: Words, portfolio: Portfolio | None) -> DisputeStarted:
    filer, nonce = _party(words), words.unsigned(64)
    words.word()  # the portfolio's hash
    return DisputeStarted(
        channel_id=log.topics[1],
        count=int.from_bytes(log.topics[2], "big"),
        filer=filer,
        nonce=nonce,
        deadline=words.unsigned(32),
        portfolio=portfolio,
        **_place(log),
    )


_MAX_CANDIDATES: Final = 64
"""Places tried in one input: a hostile one could hold thousands."""

_ARTIFACT: Final = load_artifact("Adjudicator")
_DISPUTED: Final = _ARTIFACT.topic("Disputed")
_DECODERS: Final[dict[bytes, tuple[int, Callable[[Log, Words], ChainEvent]]]] = {
    _ARTIFACT.topic("Opened"): (4, _opened),
    _ARTIFACT.topic("Deposited"): (2, _deposited),
    _ARTIFACT.topic("Checkpointed"): (2, _checkpointed),
    _ARTIFACT.topic("Settled"): (2, _settled),
    _ARTIFACT.topic("Closed"): (2, _closed),
    _ARTIFACT.topic("PayoutDeferred"): (3, _deferred),
}


def decode_event(log: Log, transaction_input: bytes | None = None) -> ChainEvent | None:
    """Decode a log of the Adjudicator; None for an event nobody here needs.

    ``transaction_input`` is where a disputed portfolio is looked for.

    Raises:
        EndpointError: the log is not what the contract would have emitted.
    """
    if not log.topics:
        return None
    words = Words(log.data)
    if log.topics[0] == _DISPUTED:
        _require_topics(log, 3)
        return _disputed(log, words, _disputed_portfolio(log, transaction_input))
    if log.topics[0] not in _DECODERS:
        return None
    topics, decoder = _DECODERS[log.topics[0]]
    _require_topics(log, topics)
    try:
        return decoder(log, words)
    except InvalidValueError:
        # A portfolio that no honest party signs: strangers' channel, and not to stop ours.
        return None


def _require_topics(log: Log, count: int) -> None:
    if len(log.topics) != count:
        raise EndpointError(f"a log with {len(log.topics)} topics where {count} belong")


def _disputed_portfolio(log: Log, transaction_input: bytes | None) -> Portfolio | None:
    words = Words(log.data)
    words.word()
    if words.unsigned(64) == 0:
        return EMPTY_PORTFOLIO
    portfolio_hash = words.word()
    if transaction_input is None:
        return None
    return find_disputed_portfolio(transaction_input, portfolio_hash)


def find_disputed_portfolio(transaction_input: bytes, portfolio_hash: bytes) -> Portfolio | None:
    """The portfolio of this hash in the input of a ``dispute``, plain or inside a wrapper's.

    None if it is not there: then the dispute was filed on what is recorded.
    """
    pattern = SELECTORS["dispute_with"]
    place = -1
    for _ in range(_MAX_CANDIDATES):
        place = transaction_input.find(pattern, place + 1)
        if place < 0:
            break
        arguments = Words(transaction_input[place + 4 :])
        try:
            head = arguments.at(TERMS_WORDS * 32)
            portfolio = read_state(arguments.at(head.unsigned())).portfolio
            if portfolio.struct_hash == portfolio_hash:
                return portfolio
        except ChannelsError:
            continue  # these four bytes were something else
    return None


async def read_events(rpc: Rpc, logs: tuple[Log, ...]) -> tuple[ChainEvent, ...]:
    """Decode logs of the Adjudicator, fetching the inputs of disputes.

    Raises:
        EndpointError: no answer, or malformed logs.
    """
    events = []
    for log in logs:
        data = None
        if log.topics and log.topics[0] == _DISPUTED:
            transaction = await rpc.transaction(log.transaction_hash)
            if transaction is None:
                raise EndpointError("the endpoint has a log but not its transaction")
            data = transaction.data
        event = decode_event(log, data)
        if event is not None:
            events.append(event)
    return tuple(events)
