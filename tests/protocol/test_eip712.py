"""Our hand-laid EIP-712 words against eth-account's general encoder, on random values.

The type strings below are written from adjudication.md, not taken from the code under test.
"""

from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
from eth_account._utils.encode_typed_data.encoding_and_hashing import hash_domain, hash_struct
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak as eth_keccak

from channels.protocol.eip712 import digest, keccak, type_hash
from channels.protocol.terms import (
    DisputeAuthorisation,
    Domain,
    Opening,
    RiskParams,
    Terms,
    hash_risk_params,
)
from channels.protocol.types import Closing, Portfolio, Position, Spot, State, Withdrawal
from tests.protocol.build import place

COUNT = 60
"""Random values of each of the ten types."""

TYPES_TEXT = """
Terms(address partyA,address partyB,address signerA,address signerB,address collateral,uint128 unit,address oracle,uint32 disputeWindow,uint32 cureWindow,uint32 settlementGrace,uint32 maxPriceAge,uint32 maxMarkAge,uint32 maxTenor,uint16 maxInFlight,uint128 stalePenalty,uint16 defaultPenaltyBps,bytes32 riskHash,bytes32 salt)
Position(bytes32 feed,uint8 kind,uint64 expiry,uint128 strike,int128 quantity,uint128 vol,int128 carry)
Spot(bytes32 feed,uint128 price)
Portfolio(int128 netToB,uint128 marginA,uint128 marginB,uint64 markedAt,Spot[] spots,Position[] positions)
State(bytes32 channelId,uint64 nonce,uint64 validUntil,Portfolio portfolio)
Opening(Terms terms,uint128 depositA,uint128 depositB,uint64 validUntil)
Withdrawal(State state,uint128 amountA,uint128 amountB)
Closing(bytes32 channelId,uint64 nonce,uint64 validUntil,int128 netToB)
DisputeAuthorisation(bytes32 channelId,address delegate,uint64 minNonce,uint64 validUntil)
RiskParams(bytes32 feed,uint64 priceRange,uint64 volUp,uint64 volDown,uint64 lookAhead,uint64 calendar,uint64 strike,uint64 carryBase,uint64 carrySlope,uint64 shortMinimum,uint64 imFactor,uint64 shiftBase,uint64 shiftPerRootHour,uint64 runOffFactor)
"""  # noqa: E501


def _parse(line: str) -> tuple[str, list[dict[str, str]]]:
    name, rest = line.rstrip(")").split("(")
    pairs = [field.split(" ") for field in rest.split(",")]
    return name, [{"type": kind, "name": label} for kind, label in pairs]


TYPES = dict(_parse(line) for line in TYPES_TEXT.strip().splitlines())
CLASSES: dict[str, Any] = {
    each.__name__: each
    for each in (
        Terms, Position, Spot, Portfolio, State, Opening, Withdrawal, Closing,
        DisputeAuthorisation, RiskParams,
    )
}  # fmt: skip


def _random_field(rng: random.Random, kind: str, name: str) -> Any:
    if kind.startswith("bytes"):
        return rng.randbytes(32)
    if kind == "address":
        return rng.randbytes(20)
    if kind.startswith("uint"):
        bits = int(kind[4:])
        return rng.choice([0, 1, 2**bits - 1, rng.getrandbits(bits), rng.getrandbits(bits)])
    if kind.startswith("int"):
        bits = int(kind[3:])
        drawn = rng.getrandbits(bits) - 2 ** (bits - 1)
        found = rng.choice([-1, 1, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, drawn])
        return found or 1 if name == "quantity" else found
    if kind == "Spot[]":
        return _sorted_distinct(rng, "Spot", lambda each: each.feed)
    if kind == "Position[]":
        return _sorted_distinct(rng, "Position", lambda each: each.series)
    return random_value(rng, kind)


def _sorted_distinct(rng: random.Random, name: str, order: Any) -> tuple[Any, ...]:
    drawn = {
        order(each): each for each in (random_value(rng, name) for _ in range(rng.randint(0, 5)))
    }
    return tuple(drawn[each] for each in sorted(drawn))


def random_value(rng: random.Random, name: str) -> Any:
    """A value of the type ``name``, its extremes included."""
    cls = CLASSES[name]
    labels = [field.name for field in attrs.fields(cls)]
    values = [_random_field(rng, each["type"], each["name"]) for each in TYPES[name]]
    return cls(**dict(zip(labels, values, strict=True)))


def plain(value: Any, name: str) -> dict[str, Any]:
    """The dictionary that eth-account wants, field by field in the order of the type."""
    fields = attrs.fields(type(value))
    assert len(fields) == len(TYPES[name])
    made = {}
    for field, declared in zip(fields, TYPES[name], strict=True):
        held, kind = getattr(value, field.name), declared["type"]
        if kind.endswith("[]"):
            held = [plain(each, kind[:-2]) for each in held]
        elif kind in TYPES:
            held = plain(held, kind)
        elif kind == "address":
            held = "0x" + held.hex()
        made[declared["name"]] = held
    return made


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)


@pytest.mark.parametrize("name", CLASSES)
def test_fields_are_those_of_the_design_in_their_order(name: str) -> None:
    ours = [field.name for field in attrs.fields(CLASSES[name])]
    assert ours == [_snake(each["name"]) for each in TYPES[name]]


def _reached(name: str) -> dict[str, list[dict[str, str]]]:
    """The type and all it refers to: eth-account wants one root."""
    found = {name: TYPES[name]}
    for each in TYPES[name]:
        inner = each["type"].removesuffix("[]")
        if inner in TYPES:
            found |= _reached(inner)
    return found


@pytest.mark.parametrize("name", CLASSES)
def test_struct_hashes(name: str) -> None:
    rng = random.Random(name)
    for _ in range(COUNT):
        value = random_value(rng, name)
        assert value.struct_hash == hash_struct(name, _reached(name), plain(value, name))


@pytest.mark.parametrize(
    "name", ["State", "Opening", "Withdrawal", "Closing", "DisputeAuthorisation"]
)
def test_digests(name: str) -> None:
    """Everything a key signs, in random domains."""
    rng = random.Random("digest " + name)
    for _ in range(COUNT):
        value = random_value(rng, name)
        domain = Domain(chain_id=rng.getrandbits(256), adjudicator=place(str(rng.random())))
        message = encode_typed_data(
            full_message={
                "types": {"EIP712Domain": DOMAIN_FIELDS, **_reached(name)},
                "primaryType": name,
                "domain": _domain(domain),
                "message": plain(value, name),
            }
        )
        assert message.header == domain.separator
        assert message.body == value.struct_hash
        assert domain.digest(value) == eth_keccak(b"\x19\x01" + message.header + message.body)
        assert digest(domain.separator, value.struct_hash) == domain.digest(value)


DOMAIN_FIELDS = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]


def _domain(domain: Domain) -> dict[str, Any]:
    return {
        "name": "OptionChannels",
        "version": "1",
        "chainId": domain.chain_id,
        "verifyingContract": "0x" + domain.adjudicator.hex(),
    }


def test_domains() -> None:
    rng = random.Random(4)
    for _ in range(COUNT):
        domain = Domain(
            chain_id=rng.getrandbits(rng.choice([1, 64, 256])), adjudicator=place(str(rng.random()))
        )
        assert domain.separator == hash_domain(_domain(domain))


def test_the_array_of_risk_parameters() -> None:
    """EIP-712: an array's hash is that of its elements' hashes, end to end; ours sorts by feed."""
    rng = random.Random(5)
    for count in (1, 2, 7):
        params = [random_value(rng, "RiskParams") for _ in range(count)]
        in_order = sorted(params, key=lambda each: each.feed)
        hashes = [
            hash_struct("RiskParams", _reached("RiskParams"), plain(p, "RiskParams"))
            for p in in_order
        ]
        assert hash_risk_params(params) == eth_keccak(b"".join(hashes))


def test_each_field_changes_the_hash() -> None:
    rng = random.Random(6)
    for name, cls in CLASSES.items():
        value = random_value(rng, name)
        for field, declared in zip(attrs.fields(cls), TYPES[name], strict=True):
            held = getattr(value, field.name)
            other = held
            while other == held:
                other = _random_field(rng, declared["type"], declared["name"])
            assert attrs.evolve(value, **{field.name: other}).struct_hash != value.struct_hash


def test_keccak_is_eth_utils() -> None:
    for data in (b"", b"abc", bytes(1_000)):
        assert keccak(data) == eth_keccak(data)
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_type_hashes_sort_what_they_refer_to() -> None:
    assert type_hash("A(B b,C c)", "C(uint8 x)", "B(uint8 x)") == keccak(
        b"A(B b,C c)B(uint8 x)C(uint8 x)"
    )
