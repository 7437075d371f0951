"""The Adjudicator's events, from logs to facts.

An event that tells of a recorded state carries the hash of its portfolio alone. Where the call
brought the whole of it (a dispute, a withdrawal) it is in the input of the transaction, possibly
within a wrapper's, and is found there by that hash.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import trio

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
    ClosedOut,
    Deposited,
    DisputeStarted,
    MarginCalled,
    PayoutClaimed,
    PayoutDeferred,
    PositionsSettled,
    Released,
    Withdrawn,
)
from channels.protocol.types import EMPTY_PORTFOLIO, Party, Portfolio, State

__all__ = ["decode_event", "find_portfolio", "read_events"]

_READERS: Final = 8


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


def _of_channel(log: Log) -> dict[str, Any]:
    return {"channel_id": log.topics[1], **_place(log)}


def _opened(log: Log, words: Words) -> ChainEvent:
    return ChannelOpened(
        signer_a=_topic_address(log.topics[2]),
        signer_b=_topic_address(log.topics[3]),
        deposit_a=words.unsigned(128),
        deposit_b=words.unsigned(128),
        **_of_channel(log),
    )


def _deposited(log: Log, words: Words) -> ChainEvent:
    return Deposited(party=_party(words), amount=words.unsigned(), **_of_channel(log))


def _withdrawn(log: Log, words: Words) -> ChainEvent:
    return Withdrawn(paid_a=words.unsigned(), paid_b=words.unsigned(), **_of_channel(log))


def _settled(log: Log, words: Words) -> ChainEvent:
    portfolio = read_portfolio(words.at(words.unsigned()))
    return PositionsSettled(portfolio=portfolio, **_of_channel(log))


def _margin_called(log: Log, words: Words) -> ChainEvent:
    return MarginCalled(
        party=_party(words),
        cure_end=words.unsigned(32),
        equity=words.signed(256),
        maintenance=words.unsigned(),
        **_of_channel(log),
    )


def _closed_out(log: Log, words: Words) -> ChainEvent:
    return ClosedOut(
        party=_party(words),
        value=words.signed(256),
        penalty=words.unsigned(),
        **_of_channel(log),
    )


def _released(log: Log, words: Words) -> ChainEvent:
    return Released(party=_party(words), amount=words.unsigned(), **_of_channel(log))


def _closed(log: Log, words: Words) -> ChainEvent:
    return ChannelClosed(paid_a=words.unsigned(), paid_b=words.unsigned(), **_of_channel(log))


def _deferred(log: Log, words: Words) -> ChainEvent:
    return PayoutDeferred(
        token=_topic_address(log.topics[1]),
        payee=_topic_address(log.topics[2]),
        amount=words.unsigned(),
        **_place(log),
    )


def _claimed(log: Log, words: Words) -> ChainEvent:
    return PayoutClaimed(
        token=_topic_address(log.topics[1]),
        payee=_topic_address(log.topics[2]),
        recipient=words.address(),
        amount=words.unsigned(),
        **_place(log),
    )


def _checkpointed(log: Log, words: Words, data: bytes | None) -> ChainEvent:
    nonce, portfolio_hash = words.unsigned(64), words.word()
    return Checkpointed(
        nonce=nonce,
        portfolio_hash=portfolio_hash,
        portfolio=_recorded(portfolio_hash, data),
        **_of_channel(log),
    )


def _disputed(log: Log, words: Words, data: bytes | None) -> ChainEvent:
    filer, nonce, portfolio_hash = _party(words), words.unsigned(64), words.word()
    return DisputeStarted(
        count=int.from_bytes(log.topics[2], "big"),
        filer=filer,
        nonce=nonce,
        deadline=words.unsigned(32),
        portfolio=_recorded(portfolio_hash, data) if nonce else EMPTY_PORTFOLIO,
        **_of_channel(log),
    )


def _recorded(portfolio_hash: bytes, data: bytes | None) -> Portfolio | None:
    if portfolio_hash == EMPTY_PORTFOLIO.struct_hash:
        return EMPTY_PORTFOLIO
    return None if data is None else find_portfolio(data, portfolio_hash)


_ARTIFACT: Final = load_artifact("Adjudicator")
_PLAIN: Final[dict[bytes, tuple[int, Callable[[Log, Words], ChainEvent]]]] = {
    _ARTIFACT.topic("Opened"): (4, _opened),
    _ARTIFACT.topic("Deposited"): (2, _deposited),
    _ARTIFACT.topic("Withdrawn"): (2, _withdrawn),
    _ARTIFACT.topic("Settled"): (2, _settled),
    _ARTIFACT.topic("MarginCalled"): (2, _margin_called),
    _ARTIFACT.topic("ClosedOut"): (2, _closed_out),
    _ARTIFACT.topic("Released"): (2, _released),
    _ARTIFACT.topic("Closed"): (2, _closed),
    _ARTIFACT.topic("PayoutDeferred"): (3, _deferred),
    _ARTIFACT.topic("Claimed"): (3, _claimed),
}
_WITH_INPUT: Final[dict[bytes, tuple[int, Callable[[Log, Words, bytes | None], ChainEvent]]]] = {
    _ARTIFACT.topic("Checkpointed"): (2, _checkpointed),
    _ARTIFACT.topic("Disputed"): (3, _disputed),
}
"""Decoders by topic, with the number of topics; the latter look into the transaction's input."""


def decode_event(log: Log, transaction_input: bytes | None = None) -> ChainEvent | None:
    """Decode a log of the Adjudicator; None for what is none of its events.

    ``transaction_input`` is where the portfolio of a recorded state is looked for.

    Raises:
        EndpointError: the log is not what the contract would have emitted.
    """
    topic = log.topics[0] if log.topics else b""
    try:
        if topic in _WITH_INPUT:
            count, decode_with = _WITH_INPUT[topic]
            _require_topics(log, count)
            return decode_with(log, Words(log.data), transaction_input)
        if topic in _PLAIN:
            count, decode = _PLAIN[topic]
            _require_topics(log, count)
            return decode(log, Words(log.data))
    except InvalidValueError:
        pass  # A portfolio that no honest party signs: strangers' channel, and not to stop ours.
    return None


def _require_topics(log: Log, count: int) -> None:
    if len(log.topics) != count:
        raise EndpointError(f"a log with {len(log.topics)} topics where {count} belong")


_MAX_CANDIDATES: Final = 64
"""Places tried in one input: a hostile one could hold thousands."""


def _withdrawn_state(words: Words) -> State:
    return read_state(words.at(words.unsigned()))


_CARRIERS: Final[dict[bytes, Callable[[Words], State]]] = {
    SELECTORS["dispute_with"]: read_state,
    SELECTORS["dispute_for"]: read_state,
    SELECTORS["withdraw"]: _withdrawn_state,
}
"""Functions that take terms and then the offset of what holds a whole state, by selector."""

_CARRIER: Final = re.compile(b"(?=(" + b"|".join(map(re.escape, _CARRIERS)) + b"))", re.DOTALL)


def find_portfolio(transaction_input: bytes, portfolio_hash: bytes) -> Portfolio | None:
    """The portfolio of this hash in the input of a dispute or withdrawal, plain or in a wrapper's.

    None if it is not there: a dispute on what is recorded and a checkpoint carry none.
    """
    for tried, found in enumerate(_CARRIER.finditer(transaction_input)):
        if tried == _MAX_CANDIDATES:
            break
        arguments = Words(transaction_input[found.start() + 4 :])
        try:
            head = arguments.at(TERMS_WORDS * 32)
            portfolio = _CARRIERS[found[1]](arguments.at(head.unsigned())).portfolio
            if portfolio.struct_hash == portfolio_hash:
                return portfolio
        except ChannelsError:
            continue  # these four bytes were something else
    return None


async def read_events(rpc: Rpc, logs: tuple[Log, ...]) -> tuple[ChainEvent, ...]:
    """Decode logs of the Adjudicator, fetching the transactions that recorded a state.

    Raises:
        EndpointError: no answer, or malformed logs.
    """
    inputs = await _inputs(
        rpc,
        dict.fromkeys(
            log.transaction_hash for log in logs if log.topics and log.topics[0] in _WITH_INPUT
        ),
    )
    events = (decode_event(log, inputs.get(log.transaction_hash)) for log in logs)
    return tuple(each for each in events if each is not None)


async def _inputs(rpc: Rpc, hashes: Iterable[bytes]) -> dict[bytes, bytes]:
    """Inputs of transactions, some at once: a block may hold a thousand disputes."""
    waiting, found = deque(hashes), dict[bytes, bytes]()
    failures: list[EndpointError] = []

    async def fetch() -> None:
        while waiting and not failures:
            transaction_hash = waiting.popleft()
            try:
                transaction = await rpc.transaction(transaction_hash)
            except EndpointError as error:
                failures.append(error)
                return
            if transaction is None:
                failures.append(EndpointError("the endpoint has a log but not its transaction"))
                return
            found[transaction_hash] = transaction.data

    async with trio.open_nursery() as nursery:
        for _ in range(min(_READERS, len(waiting))):
            nursery.start_soon(fetch)
    if failures:
        raise failures[0]
    return found
