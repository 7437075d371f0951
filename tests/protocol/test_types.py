"""What the types refuse, and the one order they allow."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from channels.errors import InvalidValueError
from channels.protocol.eip712 import address, checksum, keccak
from channels.protocol.terms import (
    DisputeAuthorisation,
    Domain,
    Opening,
    RiskParams,
    Terms,
    channel_id,
    hash_risk_params,
)
from channels.protocol.types import (
    EMPTY_PORTFOLIO,
    Closing,
    Party,
    Portfolio,
    Position,
    Spot,
    State,
    Withdrawal,
    feed_id,
    feed_name,
)
from tests.protocol.build import BTC, DOMAIN, ETH, EXPIRY, RISK, STRIKE, WAD, make_terms, place

POSITION = Position(feed=ETH, kind=1, expiry=EXPIRY, strike=STRIKE, quantity=WAD, vol=WAD, carry=0)
ONE_OF_EACH: tuple[Any, ...] = (
    DOMAIN,
    make_terms(),
    RISK[0],
    POSITION,
    Spot(feed=ETH, price=1),
    Portfolio(),
    State(channel_id=bytes(32), nonce=1),
    Opening(terms=make_terms(), deposit_a=1, deposit_b=1, valid_until=1),
    Withdrawal(state=State(channel_id=bytes(32), nonce=1), amount_a=1, amount_b=1),
    Closing(channel_id=bytes(32), nonce=1, valid_until=1, net_to_b=1),
    DisputeAuthorisation(channel_id=bytes(32), delegate=place("d"), min_nonce=1, valid_until=1),
)

BITS: dict[tuple[type, str], int] = {
    # From the EIP-712 types of adjudication.md.
    (Domain, "chain_id"): 256,
    **{(Terms, name): 128 for name in ("unit", "stale_penalty")},
    **{
        (Terms, name): 32
        for name in (
            "dispute_window", "cure_window", "settlement_grace", "max_price_age", "max_mark_age",
            "max_tenor",
        )
    },
    **{(Terms, name): 16 for name in ("max_in_flight", "default_penalty_bps")},
    (Position, "kind"): 8,
    (Position, "expiry"): 64,
    **{(Position, name): 128 for name in ("strike", "vol")},
    **{(Position, name): -128 for name in ("quantity", "carry")},
    (Spot, "price"): 128,
    (Portfolio, "net_to_b"): -128,
    **{(Portfolio, name): 128 for name in ("margin_a", "margin_b")},
    (Portfolio, "marked_at"): 64,
    **{(State, name): 64 for name in ("nonce", "valid_until")},
    **{(Opening, name): 128 for name in ("deposit_a", "deposit_b")},
    (Opening, "valid_until"): 64,
    **{(Withdrawal, name): 128 for name in ("amount_a", "amount_b")},
    **{(Closing, name): 64 for name in ("nonce", "valid_until")},
    (Closing, "net_to_b"): -128,
    **{(DisputeAuthorisation, name): 64 for name in ("min_nonce", "valid_until")},
    **{
        (RiskParams, field.name): 64 for field in attrs.fields(RiskParams) if field.name != "feed"
    },
}  # fmt: skip
"""Width of every integer field; negative where signed."""

WIDTHS: dict[tuple[type, str], int] = {
    **{
        (Terms, name): 20
        for name in ("party_a", "party_b", "signer_a", "signer_b", "collateral", "oracle")
    },
    **{(Terms, name): 32 for name in ("risk_hash", "salt")},
    (Domain, "adjudicator"): 20,
    **{(kind, "feed"): 32 for kind in (Position, Spot, RiskParams)},
    **{(kind, "channel_id"): 32 for kind in (State, Closing, DisputeAuthorisation)},
    (DisputeAuthorisation, "delegate"): 20,
}


def sample(kind: type) -> Any:
    return next(each for each in ONE_OF_EACH if type(each) is kind)


def test_every_field_is_in_one_of_the_tables() -> None:
    nested = {(Portfolio, "spots"), (Portfolio, "positions"), (State, "portfolio"),
              (Opening, "terms"), (Withdrawal, "state")}  # fmt: skip
    fields = {(type(v), f.name) for v in ONE_OF_EACH for f in attrs.fields(type(v))}
    assert fields == set(BITS) | set(WIDTHS) | nested


@pytest.mark.parametrize(("kind", "name"), BITS, ids=lambda part: getattr(part, "__name__", part))
def test_integers_and_their_bounds(kind: type, name: str) -> None:
    bits = BITS[kind, name]
    least, most = (0, 2**bits - 1) if bits > 0 else (-(2 ** (-bits - 1)), 2 ** (-bits - 1) - 1)
    value = sample(kind)
    for good in (least, most):
        assert getattr(attrs.evolve(value, **{name: good}), name) == good
    for bad in (least - 1, most + 1, 1.0, True, "1", None, b"\x01"):
        with pytest.raises(InvalidValueError, match=name):
            attrs.evolve(value, **{name: bad})


@pytest.mark.parametrize(("kind", "name"), WIDTHS, ids=lambda part: getattr(part, "__name__", part))
def test_bytes_and_their_lengths(kind: type, name: str) -> None:
    width = WIDTHS[kind, name]
    value = sample(kind)
    assert getattr(attrs.evolve(value, **{name: b"\x07" * width}), name) == b"\x07" * width
    for bad in (bytes(width - 1), bytes(width + 1), b"", "x" * width, bytearray(width), None):
        with pytest.raises(InvalidValueError, match=name):
            attrs.evolve(value, **{name: bad})


@pytest.mark.parametrize("value", ONE_OF_EACH, ids=lambda value: type(value).__name__)
def test_values_are_frozen_hashable_and_equal_by_value(value: Any) -> None:
    name = attrs.fields(type(value))[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, name, getattr(value, name))
    twin = attrs.evolve(value)
    assert twin == value
    assert hash(twin) == hash(value)


# ---------------------------------------------------------------- portfolios


def position(**changes: Any) -> Position:
    return attrs.evolve(POSITION, **changes)


ORDERED = (
    position(feed=BTC, expiry=EXPIRY + 3_600, kind=4, strike=9),
    position(feed=ETH, expiry=EXPIRY - 3_600, kind=3, strike=9),
    position(feed=ETH, expiry=EXPIRY, kind=0, strike=7),
    position(feed=ETH, expiry=EXPIRY, kind=0, strike=8),
    position(feed=ETH, expiry=EXPIRY, kind=1, strike=1),
)
"""By feed, then expiry, then kind, then strike: each next one is less in all that follows."""


def test_the_canonical_order() -> None:
    assert Portfolio(positions=ORDERED).positions == ORDERED
    for index in range(len(ORDERED) - 1):
        swapped = list(ORDERED)
        swapped[index], swapped[index + 1] = swapped[index + 1], swapped[index]
        with pytest.raises(InvalidValueError, match="canonical order"):
            Portfolio(positions=tuple(swapped))


UNLIKE: list[dict[str, Any]] = [
    {"net_to_b": -1},
    {"margin_a": 4},
    {"margin_b": 4},
    {"marked_at": 4},
    {"spots": ()},
    {"spots": (Spot(feed=BTC, price=5), Spot(feed=ETH, price=6))},
    {"positions": ORDERED[:-1]},
    {"positions": (*ORDERED[:-1], attrs.evolve(ORDERED[-1], vol=ORDERED[-1].vol + 1))},
]


def test_portfolios_are_compared_in_all_their_fields() -> None:
    compared = {name for changes in UNLIKE for name in changes}
    assert compared == {field.name for field in attrs.fields(Portfolio)}


@pytest.mark.parametrize("changes", UNLIKE)
def test_portfolios_are_equal_if_all_that_is_signed_of_them_is(changes: dict[str, Any]) -> None:
    held = Portfolio(
        net_to_b=1,
        margin_a=2,
        margin_b=3,
        marked_at=3,
        spots=(Spot(feed=BTC, price=5), Spot(feed=ETH, price=5)),
        positions=ORDERED,
    )
    twin = attrs.evolve(
        held,
        spots=tuple(map(attrs.evolve, held.spots)),
        positions=tuple(map(attrs.evolve, ORDERED)),
    )
    assert twin == held
    assert (twin.struct_hash, hash(twin)) == (held.struct_hash, hash(held))
    other = attrs.evolve(held, **changes)
    assert other != held
    assert other.struct_hash != held.struct_hash
    as_hashed: object = held.struct_hash
    assert held != as_hashed


def test_one_position_a_series() -> None:
    with pytest.raises(InvalidValueError, match="canonical order"):
        Portfolio(positions=(POSITION, position(quantity=-1)))


def test_no_position_of_nothing() -> None:
    with pytest.raises(InvalidValueError, match="zero"):
        Portfolio(positions=(position(quantity=0),))


def test_at_most_128_of_each() -> None:
    many = tuple(position(strike=number) for number in range(129))
    assert len(Portfolio(positions=many[:128]).positions) == 128
    with pytest.raises(InvalidValueError, match="128"):
        Portfolio(positions=many)
    spots = tuple(Spot(feed=number.to_bytes(32, "big"), price=1) for number in range(129))
    assert len(Portfolio(spots=spots[:128]).spots) == 128
    with pytest.raises(InvalidValueError, match="128"):
        Portfolio(spots=spots)


def test_spots_in_order_one_a_feed() -> None:
    btc, eth = Spot(feed=BTC, price=1), Spot(feed=ETH, price=2)
    made = Portfolio(spots=(btc, eth))
    assert (made.spot(BTC), made.spot(ETH), made.spot(bytes(32))) == (1, 2, None)
    for wrong in ((eth, btc), (eth, eth)):
        with pytest.raises(InvalidValueError, match="feeds"):
            Portfolio(spots=wrong)


def test_margins_by_side() -> None:
    made = Portfolio(margin_a=1, margin_b=2)
    assert [made.margin(side) for side in Party] == [1, 2]
    assert Portfolio() == EMPTY_PORTFOLIO


# ---------------------------------------------------------------- parties, feeds, identifiers


def test_parties_and_their_nonces() -> None:
    """A signs first on odd nonces, B on even ones."""
    assert [Party.A.leads(nonce) for nonce in range(5)] == [False, True, False, True, False]
    for side in Party:
        assert side.other.other is side
        assert side.sign == -side.other.sign
        for above in range(20):
            found = side.next_nonce(above)
            assert side.leads(found)
            assert found - above in (1, 2)
            assert not any(side.leads(between) for between in range(above + 1, found))


def test_terms_by_side() -> None:
    terms = make_terms()
    assert [terms.party(side) for side in Party] == [terms.party_a, terms.party_b]
    assert [terms.signer(side) for side in Party] == [terms.signer_a, terms.signer_b]


@pytest.mark.parametrize("name", ["ETH-USD", "x", "a" * 32])
def test_feeds(name: str) -> None:
    assert feed_id(name) == name.encode() + bytes(32 - len(name))
    assert feed_name(feed_id(name)) == name


@pytest.mark.parametrize("name", ["", "a" * 33, "é", "a\nb", "a\x00"])
def test_what_names_no_feed(name: str) -> None:
    with pytest.raises(InvalidValueError):
        feed_id(name)


@pytest.mark.parametrize("feed", [b"\xff" * 32, bytes(32), b"\x01" + bytes(31)])
def test_feeds_made_otherwise_print_as_digits(feed: bytes) -> None:
    assert feed_name(feed) == "0x" + feed.hex()


def test_the_identifier_depends_on_all_it_names() -> None:
    terms = make_terms()
    elsewhere = (
        (DOMAIN, attrs.evolve(terms, salt=bytes(32))),
        (DOMAIN, attrs.evolve(terms, signer_a=place("x"))),
        (DOMAIN, attrs.evolve(terms, signer_b=place("x"))),
        (attrs.evolve(DOMAIN, chain_id=1), terms),
        (attrs.evolve(DOMAIN, adjudicator=place("x")), terms),
    )
    found = {channel_id(*each) for each in elsewhere}
    assert len(found | {channel_id(DOMAIN, terms)}) == 6
    words = b"".join(
        (
            DOMAIN.chain_id.to_bytes(32, "big"),
            *(bytes(12) + each for each in (DOMAIN.adjudicator, terms.signer_a, terms.signer_b)),
            terms.struct_hash,
        )
    )
    assert channel_id(DOMAIN, terms) == keccak(words)


def test_risk_params_are_hashed_in_the_order_of_their_feeds() -> None:
    assert hash_risk_params(RISK) == hash_risk_params(RISK[::-1])
    for wrong in ((), (RISK[0], RISK[0]), (RISK[0], attrs.evolve(RISK[0], strike=0))):
        with pytest.raises(InvalidValueError):
            hash_risk_params(wrong)


def test_permanent() -> None:
    assert State(channel_id=bytes(32), nonce=1).permanent
    assert not State(channel_id=bytes(32), nonce=1, valid_until=1).permanent


# ---------------------------------------------------------------- addresses


EIP_55 = (
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
)
"""The examples of the EIP."""


@pytest.mark.parametrize("text", EIP_55)
def test_checksums(text: str) -> None:
    assert checksum(address(text)) == text
    assert address(text.lower()) == address(text)
    assert address("0x" + text[2:].upper()) == address(text)
    with pytest.raises(InvalidValueError, match="EIP-55"):
        address("0x" + text[2:].swapcase())


@pytest.mark.parametrize(
    "text", ["", "0x", "0x12", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed00", "0x" + "g" * 40]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidValueError):
        address(text)


@pytest.mark.parametrize("length", [0, 19, 21, 32])
def test_an_address_has_twenty_bytes(length: int) -> None:
    with pytest.raises(InvalidValueError):
        address(bytes(length))
