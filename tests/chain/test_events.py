"""Every event of every contract, encoded by eth-abi from the compiled ABI, read as a fact."""

from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
from eth_abi.abi import encode

from channels.chain.abi import encode_portfolio, selector
from channels.chain.artifacts import canonical_type, load_artifact
from channels.chain.bindings import FUNCTIONS, encode_call
from channels.chain.events import decode_event, find_portfolio
from channels.chain.oracle_events import (
    AttesterDropped,
    LastResortRecorded,
    RoundVerified,
    SettlementRecorded,
    SettlementSubmitted,
    SpotSubmitted,
    decode_oracle_event,
)
from channels.chain.rpc import Log
from channels.errors import EndpointError
from channels.protocol import facts
from channels.protocol.calls import Dispute, DisputeFor, Withdraw
from channels.protocol.eip712 import keccak
from channels.protocol.types import EMPTY_PORTFOLIO, Party, Portfolio
from tests.chain.test_abi import flat
from tests.chain.test_bindings import Made

Names = dict[str, str]

ADJUDICATOR: dict[str, tuple[type, Names]] = {
    "Opened": (
        facts.ChannelOpened,
        {
            "channel_id": "id",
            "signer_a": "signerA",
            "signer_b": "signerB",
            "deposit_a": "depositA",
            "deposit_b": "depositB",
        },
    ),
    "Deposited": (facts.Deposited, {"channel_id": "id", "party": "party", "amount": "amount"}),
    "Checkpointed": (
        facts.Checkpointed,
        {"channel_id": "id", "nonce": "nonce", "portfolio_hash": "portfolioHash"},
    ),
    "Withdrawn": (facts.Withdrawn, {"channel_id": "id", "paid_a": "paidA", "paid_b": "paidB"}),
    "Disputed": (
        facts.DisputeStarted,
        {
            "channel_id": "id",
            "count": "number",
            "filer": "filer",
            "nonce": "nonce",
            "deadline": "deadline",
        },
    ),
    "Settled": (facts.PositionsSettled, {"channel_id": "id", "portfolio": "portfolio"}),
    "MarginCalled": (
        facts.MarginCalled,
        {
            "channel_id": "id",
            "party": "party",
            "cure_end": "cureEnd",
            "equity": "equity",
            "maintenance": "maintenance",
        },
    ),
    "ClosedOut": (
        facts.ClosedOut,
        {"channel_id": "id", "party": "party", "value": "value", "penalty": "penalty"},
    ),
    "Released": (facts.Released, {"channel_id": "id", "party": "party", "amount": "amount"}),
    "Closed": (facts.ChannelClosed, {"channel_id": "id", "paid_a": "paidA", "paid_b": "paidB"}),
    "PayoutDeferred": (
        facts.PayoutDeferred,
        {"token": "token", "payee": "payee", "amount": "amount"},
    ),
    "Claimed": (
        facts.PayoutClaimed,
        {"token": "token", "payee": "payee", "recipient": "to", "amount": "amount"},
    ),
}

_AT = {"feed": "feed", "time": "time"}
_LAST_RESORT = {**_AT, "price": "price", "final_at": "finalAt"}
ORACLES: dict[tuple[str, str], tuple[type, Names]] = {
    ("AttestedOracle", "SpotSubmitted"): (
        SpotSubmitted,
        {"feed": "feed", "observed_at": "observedAt", "count": "count", "price": "price"},
    ),
    ("AttestedOracle", "SettlementSubmitted"): (
        SettlementSubmitted,
        {**_AT, "count": "count", "price": "price", "known_at": "knownAt"},
    ),
    ("AttestedOracle", "AttesterDropped"): (
        AttesterDropped,
        {"round": "round", "attester": "attester"},
    ),
    ("AttestedOracle", "LastResortRecorded"): (
        LastResortRecorded,
        {**_LAST_RESORT, "observed_at": "observedAt"},
    ),
    ("ChainlinkOracle", "SettlementRecorded"): (SettlementRecorded, {**_AT, "price": "price"}),
    ("ChainlinkOracle", "RoundVerified"): (
        RoundVerified,
        {**_AT, "round": "round", "observed_at": "observedAt", "price": "price"},
    ),
    ("ChainlinkOracle", "LastResortRecorded"): (
        LastResortRecorded,
        {**_LAST_RESORT, "observed_at": "observedAt"},
    ),
    ("FallbackOracle", "SettlementRecorded"): (
        SettlementRecorded,
        {**_AT, "price": "price", "by_primary": "byPrimary"},
    ),
    ("FallbackOracle", "LastResortRecorded"): (LastResortRecorded, _LAST_RESORT),
}


def entries(contract: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in load_artifact(contract).abi if each["type"] == "event"}


def drawn(made: Made, kind: str, name: str) -> Any:
    """A value as our facts have it."""
    if name in ("party", "filer"):
        return made.party()
    match kind:
        case "address":
            return made.address()
        case "bytes32":
            return made.bytes(32)
        case "bool":
            return made.random.random() < 0.5
        case "int256":
            return made.random.randint(-(2**255), 2**255 - 1)
        case "tuple":
            return made.portfolio()
    return made.unsigned(int(kind.removeprefix("uint")))


def emitted(value: Any) -> Any:
    """The same as eth-abi wants it."""
    if isinstance(value, Party):
        return 1 if value is Party.A else 2
    return flat(value)


def log_of(entry: dict[str, Any], values: dict[str, Any]) -> Log:
    kinds = {each["name"]: canonical_type(each) for each in entry["inputs"]}
    signature = f"{entry['name']}({','.join(kinds.values())})"
    indexed = [each["name"] for each in entry["inputs"] if each["indexed"]]
    plain = [each["name"] for each in entry["inputs"] if not each["indexed"]]
    topics = [encode([kinds[each]], [emitted(values[each])]) for each in indexed]
    return Log(
        address=Made(1).address(),
        topics=(keccak(signature.encode()), *topics),
        data=encode([kinds[each] for each in plain], [emitted(values[each]) for each in plain]),
        block_number=7,
        block_hash=b"b" * 32,
        transaction_hash=b"t" * 32,
        log_index=5,
    )


def test_no_event_is_left_out() -> None:
    assert set(ADJUDICATOR) == set(entries("Adjudicator"))
    contracts = ("AttestedOracle", "ChainlinkOracle", "FallbackOracle")
    assert set(ORACLES) == {(each, name) for each in contracts for name in entries(each)}


@pytest.mark.parametrize("name", ADJUDICATOR)
def test_every_event_of_the_adjudicator_is_read(name: str) -> None:
    made = Made(len(name))
    kind, fields = ADJUDICATOR[name]
    entry = entries("Adjudicator")[name]
    for _ in range(20):
        values = {each["name"]: drawn(made, each["type"], each["name"]) for each in entry["inputs"]}
        fact = decode_event(log_of(entry, values))
        assert fact is not None
        assert type(fact) is kind
        for field, solidity in fields.items():
            assert getattr(fact, field) == values[solidity], field
        place = (fact.block_number, fact.block_hash, fact.transaction_hash, fact.log_index)
        assert place == (7, b"b" * 32, b"t" * 32, 5)


@pytest.mark.parametrize("event", ORACLES, ids="-".join)
def test_every_event_of_the_oracles_is_read(event: tuple[str, str]) -> None:
    made = Made(len(event[1]))
    kind, fields = ORACLES[event]
    entry = entries(event[0])[event[1]]
    for _ in range(20):
        values = {each["name"]: drawn(made, each["type"], each["name"]) for each in entry["inputs"]}
        log = log_of(entry, values)
        fact = decode_oracle_event(log)
        assert fact is not None
        assert type(fact) is kind
        untold = set(attrs.asdict(fact)) - set(fields)
        assert {field: getattr(fact, field) for field in fields} == {
            field: values[solidity] for field, solidity in fields.items()
        }
        assert all(getattr(fact, each) is None for each in untold)
        assert decode_event(log) is None
        with pytest.raises(EndpointError):
            decode_oracle_event(attrs.evolve(log, topics=log.topics[:2]))


def test_events_of_other_contracts_are_none_of_ours() -> None:
    entry = entries("TestToken")["Transfer"]
    made = Made(3)
    log = log_of(entry, {each["name"]: drawn(made, each["type"], "") for each in entry["inputs"]})
    assert decode_event(log) is None
    assert decode_oracle_event(log) is None
    assert decode_oracle_event(attrs.evolve(log, topics=())) is None


def test_an_event_that_concerns_nobody_is_malformed() -> None:
    entry = entries("Adjudicator")["Released"]
    log = log_of(entry, {"id": bytes(32), "party": Party.A, "amount": 1})
    with pytest.raises(EndpointError, match="neither party"):
        decode_event(attrs.evolve(log, data=bytes(64)))
    with pytest.raises(EndpointError, match="3 is no party"):
        decode_event(attrs.evolve(log, data=(3).to_bytes(32, "big") + bytes(32)))


# ---- portfolios that only the transaction's input carries


def carriers(made: Made) -> list[tuple[Portfolio, bytes]]:
    """Calls that bring a whole portfolio, with it."""
    newest, withdrawal = made.cosigned(), made.withdrawal()
    a, b = made.signature(), made.signature()
    dispute = Dispute(terms=made.terms(), newest=newest)
    delegated = DisputeFor(
        terms=made.terms(), newest=newest, authorisation=made.authorisation(), signature=a
    )
    withdraw = Withdraw(terms=made.terms(), withdrawal=withdrawal, signature_a=a, signature_b=b)
    return [
        (newest.state.portfolio, encode_call(dispute).data),
        (newest.state.portfolio, encode_call(delegated).data),
        (withdrawal.state.portfolio, encode_call(withdraw).data),
    ]


def test_a_recorded_portfolio_is_found_inside_a_wrapper() -> None:
    made = Made(5)
    for _ in range(10):
        for portfolio, data in carriers(made):
            decoys = b"".join(decoy + bytes(7) for _, decoy in carriers(made))
            wrapped = b"\x6a\x76\x12\x02" + bytes(196) + decoys + data + bytes(31)
            assert find_portfolio(wrapped, portfolio.struct_hash) == portfolio
            assert find_portfolio(data, keccak(b"another")) is None
            assert find_portfolio(data[:-40], portfolio.struct_hash) in (None, portfolio)


@pytest.mark.parametrize("name", ["dispute_with", "dispute_for", "withdraw"])
def test_a_selector_that_begins_inside_another_is_not_overlooked(name: str) -> None:
    made = Made(6)
    wanted, data = carriers(made)[["dispute_with", "dispute_for", "withdraw"].index(name)]
    for length in range(1, 4):
        decoy = selector(FUNCTIONS[name])[:length]
        assert find_portfolio(decoy + data, wanted.struct_hash) == wanted


def test_hostile_input_costs_a_bounded_search() -> None:
    assert find_portfolio(b"", keccak(b"x")) is None
    for name in ("dispute_with", "withdraw"):
        assert find_portfolio(selector(FUNCTIONS[name]) * 20_000, keccak(b"x")) is None
    noise = random.Random(1).randbytes(100_000)
    assert find_portfolio(noise, keccak(b"x")) is None


@pytest.mark.parametrize("event", ["Checkpointed", "Disputed"])
def test_an_event_has_the_portfolio_that_its_transaction_brought(event: str) -> None:
    made = Made(7)
    entry = entries("Adjudicator")[event]
    for portfolio, data in carriers(made):
        values = {each["name"]: drawn(made, each["type"], each["name"]) for each in entry["inputs"]}
        values |= {"portfolioHash": portfolio.struct_hash, "nonce": 9}
        log = log_of(entry, values)
        known = portfolio if portfolio == EMPTY_PORTFOLIO else None
        told = decode_event(log, data)
        untold = decode_event(log)
        assert isinstance(told, facts.Checkpointed | facts.DisputeStarted)
        assert isinstance(untold, facts.Checkpointed | facts.DisputeStarted)
        assert (told.portfolio, untold.portfolio) == (portfolio, known)
        empty = {**values, "portfolioHash": EMPTY_PORTFOLIO.struct_hash}
        recorded = decode_event(log_of(entry, empty))
        assert isinstance(recorded, facts.Checkpointed | facts.DisputeStarted)
        assert recorded.portfolio == EMPTY_PORTFOLIO


def test_a_dispute_on_nothing_is_on_the_empty_portfolio() -> None:
    entry = entries("Adjudicator")["Disputed"]
    values = {"id": bytes(32), "number": 1, "filer": Party.B, "nonce": 0, "deadline": 5}
    fact = decode_event(log_of(entry, {**values, "portfolioHash": bytes(32)}))
    assert isinstance(fact, facts.DisputeStarted)
    assert fact.portfolio == EMPTY_PORTFOLIO


def test_strangers_broken_portfolio_does_not_stop_us() -> None:
    made = Made(3)
    portfolio = made.portfolio()
    while len(portfolio.positions) < 2:
        portfolio = made.portfolio()
    data = bytearray((32).to_bytes(32, "big") + encode_portfolio(portfolio))
    first = len(data) - len(portfolio.positions) * 7 * 32
    swapped = data[first : first + 224]
    data[first : first + 224] = data[first + 224 : first + 448]
    data[first + 224 : first + 448] = swapped
    entry = entries("Adjudicator")["Settled"]
    whole = log_of(entry, {"id": bytes(32), "portfolio": portfolio})
    log = attrs.evolve(whole, data=bytes(data))
    assert decode_event(log) is None
    with pytest.raises(EndpointError):
        decode_event(attrs.evolve(log, data=b"\x01"))
    with pytest.raises(EndpointError):
        decode_event(attrs.evolve(log, topics=log.topics[:1]))
    assert decode_event(attrs.evolve(log, topics=(bytes(32),))) is None
    assert decode_event(attrs.evolve(log, topics=())) is None
