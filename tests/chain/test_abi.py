"""Our ABI by hand against eth-abi's and against the compiled contracts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from eth_abi.abi import encode

from channels.chain.abi import (
    TERMS_WORDS,
    Words,
    authorisation_words,
    encode_portfolio,
    encode_state,
    encode_withdrawal,
    expand,
    read_portfolio,
    read_state,
    read_terms,
    risk_params_words,
    scenario_words,
    terms_words,
)
from channels.chain.artifacts import NAMES, canonical_type, load_artifact
from channels.errors import EndpointError, InvalidValueError
from channels.protocol.eip712 import Address, checksum
from channels.protocol.scenarios import ScenarioIndex
from channels.protocol.types import Portfolio, State
from tests.vectors.test_digests import Values

SAMPLES = 150
PORTFOLIO = expand("(Portfolio").removeprefix("(")
STATE = expand("(State").removeprefix("(")
TERMS = expand("(Terms").removeprefix("(")
WITHDRAWAL = expand("(Withdrawal").removeprefix("(")
AUTHORISATION = expand("(DisputeAuthorisation").removeprefix("(")
RISK_PARAMS = expand("(RiskParams").removeprefix("(")
SCENARIO = expand("(Scenario").removeprefix("(")


def flat(value: Any) -> Any:
    """A value as eth-abi wants it: nested tuples, addresses as text."""
    if isinstance(value, list | tuple):
        return [flat(each) for each in value]
    if attrs.has(type(value)):
        return tuple(flat(getattr(value, each.name)) for each in attrs.fields(type(value)))
    if isinstance(value, bytes) and len(value) == 20:
        return checksum(Address(value))
    return value


@pytest.fixture
def values() -> Values:
    return Values(3)


def test_encoders_agree_with_eth_abi(values: Values) -> None:
    for _ in range(SAMPLES):
        state, terms = values.state(), values.terms()
        pointer = (32).to_bytes(32, "big")
        assert pointer + encode_state(state) == encode([STATE], [flat(state)])
        portfolio = state.portfolio
        assert pointer + encode_portfolio(portfolio) == encode([PORTFOLIO], [flat(portfolio)])
        assert terms_words(terms) == encode([TERMS], [flat(terms)])


def test_decoders_read_what_eth_abi_wrote(values: Values) -> None:
    for _ in range(SAMPLES):
        state, terms = values.state(), values.terms()
        assert read_state(Words(encode([STATE], [flat(state)])).at(32)) == state
        assert read_terms(Words(encode([TERMS], [flat(terms)]))) == terms
        assert read_portfolio(Words(encode_portfolio(state.portfolio))) == state.portfolio


def test_mutilated_data_is_refused_and_never_crashes(values: Values) -> None:
    generator = random.Random(11)
    for _ in range(SAMPLES):
        state = values.state()
        data = bytearray(encode_state(state))
        for _ in range(20):
            broken = bytearray(data)
            if generator.random() < 0.3:
                del broken[generator.randrange(len(broken)) :]
            else:
                place = generator.randrange(min(len(broken), 640))
                broken[place] ^= 1 << generator.randrange(8)
            try:
                read = read_state(Words(bytes(broken)))
            except (EndpointError, InvalidValueError):
                continue
            assert isinstance(read, State)


def test_absurd_lengths_are_refused_before_anything_is_read() -> None:
    data = bytearray(encode_portfolio(Portfolio()))
    data[6 * 32 : 7 * 32] = (2**200).to_bytes(32, "big")
    with pytest.raises(EndpointError, match="longer than the data"):
        read_portfolio(Words(bytes(data)))


def test_the_compiled_channel_view_is_what_is_read() -> None:
    [entry] = [each for each in load_artifact("Adjudicator").abi if each.get("name") == "channel"]
    kinds = [(each["name"], each["type"]) for each in entry["outputs"][0]["components"]]
    assert kinds == [
        ("phase", "uint8"),
        ("nonce", "uint64"),
        ("filedNonce", "uint64"),
        ("filer", "uint8"),
        ("deadline", "uint32"),
        ("cureEndA", "uint32"),
        ("cureEndB", "uint32"),
        ("flags", "uint16"),
        ("portfolioHash", "bytes32"),
        ("contributionA", "int128"),
        ("contributionB", "int128"),
    ]


def test_static_structs_agree_with_eth_abi(values: Values) -> None:
    for _ in range(SAMPLES):
        granted, risk = values.authorisation(), values.risk()
        assert authorisation_words(granted) == encode([AUTHORISATION], [flat(granted)])
        assert risk_params_words(risk) == encode([RISK_PARAMS], [flat(risk)])
        withdrawal = values.withdrawal()
        pointer = (32).to_bytes(32, "big")
        assert pointer + encode_withdrawal(withdrawal) == encode([WITHDRAWAL], [flat(withdrawal)])
    for node, number, outliving in ((0, 0, False), (0, 17, True), (8, 2, False), (1, 0, True)):
        scenario = ScenarioIndex(node=node, number=number, outliving=outliving)
        assert scenario_words(scenario) == encode([SCENARIO], [(node, number, outliving)])


def test_terms_have_as_many_words_as_readers_skip(values: Values) -> None:
    assert len(terms_words(values.terms())) == TERMS_WORDS * 32


STRUCTS = {
    "Terms": TERMS,
    "State": STATE,
    "Portfolio": PORTFOLIO,
    "Withdrawal": WITHDRAWAL,
    "DisputeAuthorisation": AUTHORISATION,
    "RiskParams": RISK_PARAMS,
    "Scenario": SCENARIO,
    "SignedState": expand("(SignedState").removeprefix("("),
    "Permit": expand("(Permit").removeprefix("("),
    "Closing": expand("(Closing").removeprefix("("),
    "Signature": expand("(Signature").removeprefix("("),
    "Position": expand("(Position").removeprefix("("),
    "Spot": expand("(Spot").removeprefix("("),
}


@pytest.mark.parametrize("name", STRUCTS)
def test_structs_are_written_out_as_compiled(name: str) -> None:
    compiled = {
        kind
        for artifact in map(load_artifact, NAMES)
        for entry in artifact.abi
        for kind in _structs(entry.get("inputs", []), name)
    }
    assert compiled == {STRUCTS[name]}


def _structs(parameters: list[dict[str, Any]], name: str) -> Iterator[str]:
    for each in parameters:
        if each["internalType"].removesuffix("[]").rpartition(".")[2] == f"struct {name}":
            yield canonical_type(each).removesuffix("[]")
        yield from _structs(each.get("components", []), name)
