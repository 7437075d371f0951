"""Our ABI by hand against eth-abi's and against the compiled contracts."""

from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
from eth_abi.abi import decode, encode

from channels.chain.abi import (
    Words,
    encode_portfolio,
    encode_state,
    expand,
    read_portfolio,
    read_state,
    read_terms,
    selector,
    terms_words,
)
from channels.chain.artifacts import load_artifact
from channels.chain.bindings import FUNCTIONS, encode_call
from channels.chain.events import decode_event, find_disputed_portfolio
from channels.chain.reverts import decode_revert
from channels.chain.rpc import Log
from channels.errors import EndpointError, InvalidValueError
from channels.protocol.calls import (
    Call,
    Checkpoint,
    Claim,
    Close,
    CoSigned,
    Deposit,
    Dispute,
    Open,
    Settle,
)
from channels.protocol.eip712 import Address, checksum
from channels.protocol.signing import Signature
from channels.protocol.terms import Opening, Terms
from channels.protocol.types import Closing, Party, Portfolio, State
from tests.vectors.test_digests import Values

SAMPLES = 150
PORTFOLIO = expand("(Portfolio").removeprefix("(")
STATE = expand("(State").removeprefix("(")
TERMS = expand("(Terms").removeprefix("(")


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


def signature(values: Values) -> Signature:
    return Signature(values.bytes(64))


def cosigned(values: Values) -> CoSigned:
    return CoSigned(
        state=values.state(), signature_a=signature(values), signature_b=signature(values)
    )


def pair(value: Signature) -> tuple[bytes, bytes]:
    return value.r, value.vs


def expected(call: Call) -> tuple[str, list[Any]]:
    """Name and arguments, written out as the interface has them."""
    match call:
        case Open(opening=o, signature_a=a, signature_b=b):
            return "open", [flat(o.terms), o.deposit_a, o.deposit_b, o.valid_until, a, b]
        case Deposit(terms=terms, party=party, amount=amount):
            return "deposit", [flat(terms), 1 if party is Party.A else 2, amount]
        case Checkpoint(terms=terms, newest=newest):
            state = newest.state
            return "checkpoint", [
                *(flat(terms.signer_a), flat(terms.signer_b), terms.struct_hash),
                *(state.nonce, state.valid_until, state.portfolio.struct_hash),
                *(*pair(newest.signature_a), *pair(newest.signature_b)),
            ]
        case Dispute(terms=terms, newest=None):
            return "dispute", [flat(terms)]
        case Dispute(terms=terms, newest=CoSigned() as newest):
            signatures = [pair(newest.signature_a), pair(newest.signature_b)]
            return "dispute_with", [flat(terms), flat(newest.state), *signatures]
        case Close(terms=terms, closing=closing, signature_a=a, signature_b=b):
            return "close", [flat(terms), flat(closing), pair(a), pair(b)]
        case Settle(terms=terms, portfolio=portfolio):
            return "settle", [flat(terms), flat(portfolio)]
        case Claim(token=token, recipient=recipient):
            return "claim", [flat(token), flat(recipient)]
    raise AssertionError(call)


def split(parameters: str) -> list[str]:
    depth, parts = 0, [""]
    for letter in parameters:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def test_every_call_is_encoded_as_eth_abi_would(values: Values) -> None:
    for _ in range(20):
        terms = values.terms()
        calls: list[Call] = [
            Open(
                opening=values.opening(),
                signature_a=values.bytes(65),
                signature_b=random.Random(1).randbytes(values.random.randint(0, 200)),
            ),
            Deposit(terms=terms, party=Party.B, amount=values.unsigned(128)),
            Checkpoint(terms=terms, newest=cosigned(values)),
            Dispute(terms=terms, newest=None),
            Dispute(terms=terms, newest=cosigned(values)),
            Close(
                terms=terms,
                closing=values.closing(),
                signature_a=signature(values),
                signature_b=signature(values),
            ),
            Settle(terms=terms, portfolio=values.portfolio()),
            Claim(token=values.address(), recipient=values.address()),
        ]
        for call in calls:
            name, arguments = expected(call)
            kinds = split(expand(FUNCTIONS[name]).partition("(")[2][:-1])
            assert encode_call(call).data == selector(FUNCTIONS[name]) + encode(kinds, arguments)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_in_the_compiled_abi(name: str) -> None:
    assert load_artifact("Adjudicator").has_function(FUNCTIONS[name])


def test_something_else_is_no_call() -> None:
    with pytest.raises(TypeError):
        encode_call(5)  # type: ignore[arg-type]


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


def test_disputed_portfolio_is_found_inside_a_wrapper(values: Values) -> None:
    call = Dispute(terms=values.terms(), newest=cosigned(values))
    assert call.newest is not None
    portfolio = call.newest.state.portfolio
    data = encode_call(call).data
    decoy = encode_call(Dispute(terms=values.terms(), newest=cosigned(values))).data
    wrapped = b"\x6a\x76\x12\x02" + bytes(196) + decoy + bytes(7) + data + bytes(31)
    assert find_disputed_portfolio(wrapped, portfolio.struct_hash) == portfolio
    assert find_disputed_portfolio(data[:-40], portfolio.struct_hash) in (None, portfolio)
    assert find_disputed_portfolio(b"", portfolio.struct_hash) is None
    hostile = selector(FUNCTIONS["dispute_with"]) * 20_000
    assert find_disputed_portfolio(hostile, portfolio.struct_hash) is None


def test_strangers_broken_portfolio_does_not_stop_us(values: Values) -> None:
    portfolio = values.portfolio()
    while len(portfolio.positions) < 2:
        portfolio = values.portfolio()
    data = bytearray((32).to_bytes(32, "big") + encode_portfolio(portfolio))
    first = len(data) - len(portfolio.positions) * 7 * 32
    swapped = data[first : first + 224]
    data[first : first + 224] = data[first + 224 : first + 448]
    data[first + 224 : first + 448] = swapped
    log = Log(
        address=values.address(),
        topics=(load_artifact("Adjudicator").topic("Settled"), bytes(32)),
        data=bytes(data),
        block_number=1,
        block_hash=bytes(32),
        transaction_hash=bytes(32),
        log_index=0,
    )
    assert decode_event(log) is None
    with pytest.raises(EndpointError):
        decode_event(attrs.evolve(log, data=b"\x01"))
    with pytest.raises(EndpointError):
        decode_event(attrs.evolve(log, topics=log.topics[:1]))
    assert decode_event(attrs.evolve(log, topics=(bytes(32),))) is None
    assert decode_event(attrs.evolve(log, topics=())) is None


@pytest.mark.parametrize(
    ("output", "name", "text"),
    [
        (b"", "Reverted", "Reverted without a reason"),
        (selector("WrongPhase(uint8)") + (4).to_bytes(32, "big"), "WrongPhase", "phase=CLOSED"),
        (
            selector("NonceNotNewer(uint256,uint256)") + encode(["uint256", "uint256"], [7, 5]),
            "NonceNotNewer",
            "recorded=7, given=5",
        ),
        (
            selector("Error(string)") + encode(["string"], ["old style"]),
            "Error",
            "Error('old style')",
        ),
        (selector("Panic(uint256)") + (17).to_bytes(32, "big"), "Panic", "Panic(0x11)"),
        (b"\x01\x02\x03\x04", "Unknown", "unknown error 0x01020304"),
        (selector("WrongPhase(uint8)") + b"\x01", "Unknown", "unknown error"),
    ],
)
def test_reverts_are_decoded(output: bytes, name: str, text: str) -> None:
    decoded = decode_revert(output)
    assert decoded[0] == name
    assert text in decoded[1]


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


def test_types_used_here_are_all_covered(values: Values) -> None:
    assert {type(values.terms()), type(values.closing()), type(values.opening())} == {
        Terms,
        Closing,
        Opening,
    }
    assert decode(["uint8"], bytes(32)) == (0,)
