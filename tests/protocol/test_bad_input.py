"""What a faulty or hostile peer can send: every piece is refused by name, and nothing changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.errors import (
    BadNonceError,
    BadProposalError,
    BadSignatureError,
    ChannelsError,
    MalformedMessageError,
    MessageError,
    NonCanonicalError,
    PeerError,
    SigningRefusedError,
    UnexpectedMessageError,
    UnknownMessageError,
    UnsupportedVersionError,
)
from channels.pricing import Kind
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.changes import Change, Remark, Settlement, Trade
from channels.protocol.channel import Mode, Phase
from channels.protocol.codec import MAX_FRAME, PROTOCOL_VERSION, decode, encode
from channels.protocol.effects import ProposalReceived
from channels.protocol.machine import step
from channels.protocol.messages import Reason
from channels.protocol.records import encode_channel
from channels.protocol.signing import Signature
from channels.protocol.terms import Domain
from channels.protocol.types import Closing, Party, Portfolio, Position, Spot, State, Withdrawal
from tests.protocol.build import (
    BTC,
    DOMAIN,
    ETH,
    EXPIRY,
    ID,
    RISK,
    SIGNERS,
    STRANGER,
    STRIKE,
    T0,
    TIMING,
    UNIT,
    WAD,
    make_leg,
    make_opening,
    make_terms,
    make_trade,
    place,
    spare,
)
from tests.protocol.world import Peer, World, half_signed, opened, signed

A, B = Party.A, Party.B
ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


@pytest.fixture
def world() -> World:
    """Both IDLE; F at nonce 2 with one put bought by A."""
    made = opened()
    made.trade(A)
    return made


def refused(peer: Peer, message: m.Message, error: type[ChannelsError], match: str) -> None:
    """The machine raises this error, which blames the peer, and the channel is as before."""
    before, stored = peer.channel, encode_channel(peer.channel)
    with pytest.raises(error, match=match) as caught:
        step(peer.channel, decode(encode(message)))
    assert caught.value.fault == "the peer's"
    assert caught.value.next_step
    assert peer.channel == before
    assert encode_channel(peer.channel) == stored


def rejected(world: World, proposal: m.HalfSigned, reason: Reason, *, to: Party = B) -> m.Reject:
    """The machine answers with a Reject that names the reason; F and the mode do not move."""
    peer = world.peer(to)
    before, told = peer.channel, len(peer.told(ProposalReceived))
    peer.handle(decode(encode(m.Propose(channel_id=ID, proposal=proposal))))
    answer = decode(world.wires[to.other].pop())
    assert isinstance(answer, m.Reject)
    assert (answer.nonce, answer.reason) == (proposal.nonce, reason), answer.text
    assert answer.text
    assert peer.channel.ledger.full == before.ledger.full
    assert peer.channel.mode is before.mode
    assert len(peer.told(ProposalReceived)) == told, "nobody is asked to decide"
    return answer


def propose(proposal: m.HalfSigned, channel: bytes = ID) -> m.Propose:
    return m.Propose(channel_id=channel, proposal=proposal)


# ---------------------------------------------------------------- bytes that are no message


def all_messages() -> dict[str, m.Message]:
    """One message of every type, with every optional field filled."""
    world = opened()
    world.trade(A)
    one = half_signed(world, A)
    sig = one.signature
    closing = Closing(channel_id=ID, nonce=3, valid_until=T0, net_to_b=-1)
    leg = m.Leg(feed=ETH, kind=Kind.PUT, expiry=EXPIRY, strike=STRIKE, quantity=-WAD)
    settlement = Settlement(feed=ETH, expiry=EXPIRY, price=WAD)
    found: tuple[m.Message, ...] = (
        m.Hello(
            signer=place("a"),
            chain_id=2**255,
            adjudicator=place("b"),
            software="tests",
            challenge=bytes(range(32)),
            proof=sig,
        ),
        m.Challenge(challenge=bytes(range(32))),
        m.Reestablish(channel_id=ID, nonce=2, valid_until=1, portfolio_hash=bytes(32), proof=sig),
        m.Ping(token=2**64 - 1),
        m.Pong(token=0),
        m.Error(channel_id=ID, reason=Reason.PROTOCOL, text="é"),
        m.OpenRequest(requester=A, opening=make_opening(), risk=RISK),
        m.OpenAccept(channel_id=ID, signature=sig.expanded()),
        m.OpenReject(channel_id=ID, reason=Reason.LIMIT, text=""),
        m.Opened(channel_id=ID),
        m.Propose(channel_id=ID, proposal=one),
        m.Accept(channel_id=ID, nonce=1, signature=sig, affirmation_nonce=2, affirmation=sig),
        m.Confirm(channel_id=ID, nonce=2, signature=sig),
        m.Reject(channel_id=ID, nonce=1, reason=Reason.PRICE, text="no", void_nonce=2, void=sig),
        m.Void(channel_id=ID, nonce=2, signature=sig),
        m.Cancel(channel_id=ID, nonce=2**64 - 1),
        m.MarkReport(
            channel_id=ID,
            wants_answer=False,
            marked_at=1,
            spots=(Spot(feed=ETH, price=WAD),),
            series=(
                m.SeriesReport(
                    feed=ETH,
                    kind=Kind.CALL,
                    expiry=EXPIRY,
                    strike=STRIKE,
                    forward=2**128 - 1,
                    vol=WAD,
                    carry=-(2**127),
                ),
            ),
        ),
        m.MarginCall(channel_id=ID, nonce=2, amount=2**128 - 1, due_by=1),
        m.DisputeNotice(
            channel_id=ID,
            nonce=2,
            positions=(
                m.DisputedPosition(
                    feed=ETH,
                    kind=Kind.PUT,
                    expiry=EXPIRY,
                    strike=STRIKE,
                    mine=-(2**127),
                    yours=2**127 - 1,
                ),
            ),
        ),
        m.RequestForQuote(channel_id=ID, request_id=bytes(16), legs=(leg,), time_to_live=5),
        m.Quote(
            channel_id=ID,
            request_id=bytes(16),
            expires_at=T0,
            sides=(attrs.evolve(one, change=settlement), attrs.evolve(one, change=Remark())),
        ),
        m.QuoteReject(channel_id=ID, request_id=bytes(16), reason=Reason.PRICE, text="x" * 400),
        m.CloseRequest(channel_id=ID, closing=closing, signature=sig),
        m.WithdrawRequest(
            channel_id=ID,
            withdrawal=Withdrawal(
                state=State(channel_id=ID, nonce=3), amount_a=2**128 - 1, amount_b=0
            ),
            signature=sig,
        ),
        m.RecoverRequest(channel_id=ID, wants_risk=True),
        m.RecoverOffer(
            channel_id=ID,
            nonce=2,
            valid_until=0,
            portfolio=one.portfolio,
            mine=sig,
            yours=sig,
            seen=2**64 - 1,
            risk=RISK,
        ),
        m.Recover(
            channel_id=ID, nonce=2**32, valid_until=T0, portfolio_hash=bytes(32), signature=sig
        ),
        m.RecoverAccept(channel_id=ID, nonce=2**32, signature=sig),
    )
    return {type(each).__name__: each for each in found}


SAMPLES = all_messages()


def test_there_is_a_sample_of_every_message() -> None:
    assert set(SAMPLES) == {kind.__name__ for kind in m.Message.__args__}


@pytest.mark.parametrize("name", SAMPLES)
def test_round_trip(name: str) -> None:
    message = SAMPLES[name]
    assert decode(encode(message)) == message
    assert encode(decode(encode(message))) == encode(message)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_truncation_is_refused(name: str) -> None:
    payload = encode(SAMPLES[name])
    for length in range(len(payload)):
        with pytest.raises(MessageError) as caught:
            decode(payload[:length])
        assert caught.value.fault == "the peer's"


@pytest.mark.parametrize("name", SAMPLES)
def test_anything_behind_the_message_is_refused(name: str) -> None:
    for tail in (b"\x00", b"\xc0", encode(SAMPLES[name])):
        with pytest.raises(MalformedMessageError):
            decode(encode(SAMPLES[name]) + tail)


def _paths(item: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    if path:
        yield path
    if isinstance(item, list):
        for index, each in enumerate(item):
            yield from _paths(each, (*path, index))


def _at(item: Any, path: tuple[int, ...]) -> Any:
    for index in path:
        item = item[index]
    return item


def _with(item: Any, path: tuple[int, ...], value: Any) -> Any:
    copy = list(item)
    head, *rest = path
    copy[head] = _with(copy[head], tuple(rest), value) if rest else value
    return copy


WRONG: tuple[Any, ...] = (
    None, True, False, -1, 2**64 - 1, 1.5, "", "text", b"", b"x", bytes(33), [], [[]], [0],
)  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_wrong_types_in_every_field(name: str) -> None:
    """A field may only take what encodes back to the same bytes; all else is malformed."""
    item = msgpack.unpackb(encode(SAMPLES[name]))
    refusals = 0
    for path in _paths(item):
        for wrong in WRONG:
            if type(wrong) is type(_at(item, path)) and wrong == _at(item, path):
                continue
            payload = msgpack.packb(_with(item, path, wrong))
            try:
                assert encode(decode(payload)) == payload
            except (MalformedMessageError, UnknownMessageError, UnsupportedVersionError):
                refusals += 1
    assert refusals > 15


@pytest.mark.parametrize("name", SAMPLES)
def test_a_field_missing_or_superfluous(name: str) -> None:
    item = msgpack.unpackb(encode(SAMPLES[name]))
    for wrong in (item[:-1], [*item, 0], [*item, None]):
        with pytest.raises(MessageError):
            decode(msgpack.packb(wrong))
    for path in _paths(item):
        held = _at(item, path)
        if not isinstance(held, list):
            continue
        for wrong in ([*held, 0], [*held, None]):
            with pytest.raises(MessageError):
                decode(msgpack.packb(_with(item, path, wrong)))
        payload = msgpack.packb(_with(item, path, held[:-1]))
        with suppress(MessageError):
            assert encode(decode(payload)) == payload, "a shorter list of many, else an error"


@pytest.mark.parametrize("tag", [0, 14, 26, 33, 42, 127, 2**63, -1])
def test_unknown_tags(tag: int) -> None:
    with pytest.raises(UnknownMessageError, match=str(tag)):
        decode(msgpack.packb([tag, PROTOCOL_VERSION, 1]))


@pytest.mark.parametrize("version", [0, 2, 255, -1, "1", None, True, 1.0, [1]])
def test_other_versions(version: object) -> None:
    with pytest.raises(UnsupportedVersionError):
        decode(msgpack.packb([3, version, 1]))


NON_CANONICAL = {
    "integer too wide": b"\x93\x03\x01\xcc\x07",
    "integer as signed": b"\x93\x03\x01\xd0\x07",
    "tag too wide": b"\x93\xcc\x03\x01\x07",
    "array 16": b"\xdc\x00\x03\x03\x01\x07",
    "array 32": b"\xdd\x00\x00\x00\x03\x03\x01\x07",
}


@pytest.mark.parametrize("payload", NON_CANONICAL.values(), ids=NON_CANONICAL.keys())
def test_one_message_has_one_encoding(payload: bytes) -> None:
    """All of these are Ping(7) in some msgpack."""
    assert decode(b"\x93\x03\x01\x07") == m.Ping(token=7)
    with pytest.raises(NonCanonicalError):
        decode(payload)


def test_bytes_too_wide() -> None:
    payload = encode(SAMPLES["Opened"])
    assert payload[3:5] == b"\xc4\x20"
    with pytest.raises(NonCanonicalError):
        decode(payload[:3] + b"\xc5\x00\x20" + payload[5:])


RUBBISH = {
    "nothing": b"",
    "no array": b"\x01",
    "nil": b"\xc0",
    "a map": b"\x81\x03\x01",
    "an empty map": b"\x80",
    "an extension": b"\xd4\x01\x00",
    "a timestamp": b"\xd6\xff\x00\x00\x00\x00",
    "never used byte": b"\xc1",
    "no fields": b"\x90",
    "a tag alone": b"\x91\x03",
    "a float tag": b"\x93\xcb\x40\x08\x00\x00\x00\x00\x00\x00\x01\x07",
    "a boolean tag": b"\x93\xc3\x01\x07",
    "deep nesting": b"\x91" * 5_000 + b"\x00",
    "deeper nesting": b"\x91" * 60_000,
    "a long array announced": b"\xdd\xff\xff\xff\xff",
    "long bytes announced": b"\xc6\xff\xff\xff\xff",
    "text that is no UTF-8": b"\x93\x03\x01\xa1\xff",
    "lone surrogate": b"\x93\x03\x01\xa3\xed\xa0\x80",
    "three hundred items": b"\xdc\x01\x2c" + b"\x00" * 300,
    "not a number": b"\x93\x03\x01\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
}


@pytest.mark.parametrize("payload", RUBBISH.values(), ids=RUBBISH.keys())
def test_rubbish(payload: bytes) -> None:
    with pytest.raises(MalformedMessageError) as caught:
        decode(payload)
    assert caught.value.fault == "the peer's"


def test_text_too_long() -> None:
    item = msgpack.unpackb(encode(SAMPLES["Error"]))
    item[-1] = "x" * 401
    with pytest.raises(MalformedMessageError):
        decode(msgpack.packb(item))


def test_an_array_too_long() -> None:
    world = opened()
    one = half_signed(world, A)
    item = msgpack.unpackb(encode(propose(one)))
    position = item[3][3][5][0]
    item[3][3][5] = [position] * 129
    with pytest.raises(MalformedMessageError):
        decode(msgpack.packb(item))


def test_more_bytes_than_a_frame_holds() -> None:
    with pytest.raises(PeerError):
        decode(b"\x93\x03\x01\xc6\x00\x01\x00\x00" + bytes(MAX_FRAME))


def test_the_largest_legal_message_fits_a_frame() -> None:
    """Two sides, each with 128 positions on 128 feeds and 20 legs: within 64 KiB."""
    feeds = [number.to_bytes(32, "big") for number in range(1, 129)]
    position = Position(feed=ETH, kind=1, expiry=2**64 - 1, strike=1, quantity=1, vol=1, carry=1)
    portfolio = Portfolio(
        spots=tuple(Spot(feed=feed, price=1) for feed in feeds),
        positions=tuple(attrs.evolve(position, feed=feed) for feed in feeds),
        marked_at=2**64 - 1,
    )
    change = make_trade(*[make_leg(1, strike=number, price=0) for number in range(1, 21)])
    side = m.HalfSigned(
        nonce=2**64 - 1,
        valid_until=2**64 - 1,
        change=change,
        portfolio=portfolio,
        signature=Signature(bytes(64)),
    )
    quote = m.Quote(channel_id=ID, request_id=bytes(16), expires_at=2**64 - 1, sides=(side, side))
    assert decode(encode(quote)) == quote
    assert len(encode(quote)) <= MAX_FRAME == 64 * 1_024


def test_positions_out_of_order_or_twice_or_empty() -> None:
    world = opened()
    legs = (make_leg(1, strike=STRIKE), make_leg(1, strike=STRIKE + WAD))
    one = half_signed(world, A, make_trade(*legs))
    item = msgpack.unpackb(encode(propose(one)))
    positions = item[3][3][5]
    assert len(positions) == 2
    zero = [*positions[0][:4], bytes(16), *positions[0][5:]]
    for wrong in (positions[::-1], [positions[0]] * 2, [zero, positions[1]]):
        item[3][3][5] = wrong
        with pytest.raises(MalformedMessageError):
            decode(msgpack.packb(item))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.binary(max_size=400))
def test_any_bytes_give_a_message_or_a_peer_error(payload: bytes) -> None:
    began = time.thread_time()
    with suppress(PeerError):
        assert encode(decode(payload)) == payload
    assert time.thread_time() - began < 1


ITEMS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=70)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=8),
    max_leaves=30,
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from([*range(45)]), st.lists(ITEMS, max_size=8))
def test_any_msgpack_gives_a_message_or_a_peer_error(tag: int, fields: list[Any]) -> None:
    payload = msgpack.packb([tag, PROTOCOL_VERSION, *fields])
    with suppress(PeerError):
        assert encode(decode(payload)) == payload


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(SAMPLES)),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_any_mutation_gives_a_message_or_a_peer_error(
    name: str, mutations: list[tuple[int, int]]
) -> None:
    payload = bytearray(encode(SAMPLES[name]))
    for place_, value in mutations:
        payload[place_ % len(payload)] = value
    with suppress(PeerError):
        assert encode(decode(bytes(payload))) == bytes(payload)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(SAMPLES)),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), max_size=3),
    st.sampled_from([Phase.IDLE, Phase.PROPOSED, Phase.RECEIVED, Phase.ACCEPTED]),
)
def test_a_mutated_message_never_breaks_the_machine(
    name: str, mutations: list[tuple[int, int]], phase: Phase
) -> None:
    payload = bytearray(encode(SAMPLES[name]))
    for place_, value in mutations:
        payload[place_ % len(payload)] = value
    if phase not in _CHANNELS:
        _CHANNELS[phase] = _channel_in(phase)
    with suppress(PeerError, SigningRefusedError):
        step(_CHANNELS[phase], decode(bytes(payload)))


_CHANNELS: dict[Phase, Any] = {}


def _channel_in(phase: Phase) -> Any:
    world = opened()
    world.trade(A)
    if phase is Phase.IDLE:
        return world.alice.channel
    world.propose(B)
    if phase is Phase.PROPOSED:
        return world.bob.channel
    world.deliver_all()
    if phase is Phase.ACCEPTED:
        world.answer(A)
    return world.alice.channel


# ---------------------------------------------------------------- nonces


def test_a_nonce_of_the_wrong_parity(world: World) -> None:
    for nonce in (4, 6):
        proposal = half_signed(world, A, nonce=nonce)
        refused(world.bob, propose(proposal), BadNonceError, "does not sign first")
    ours = half_signed(world, B, nonce=3)
    refused(world.alice, propose(ours), BadNonceError, "does not sign first")


def test_a_nonce_of_the_wrong_parity_in_a_closing(world: World) -> None:
    closing = Closing(channel_id=ID, nonce=4, valid_until=world.chain.time + 60, net_to_b=0)
    request = m.CloseRequest(channel_id=ID, closing=closing, signature=signed(A, closing))
    refused(world.bob, request, BadNonceError, "nonce 4")


def test_a_nonce_that_jumps_beyond_what_may_be_in_flight(world: World) -> None:
    """F at 2, maxInFlight 16: the first signer of a boxed state may reach 16, not 17."""
    for nonce in (17, 19, 2**64 - 1):
        proposal = half_signed(world, A, nonce=nonce)
        refused(world.bob, propose(proposal), BadNonceError, "allowed are 3 to 16")
    world.bob.handle(propose(half_signed(world, A, nonce=15)))
    assert world.bob.phase is Phase.RECEIVED


def test_a_closing_beyond_what_may_be_in_flight(world: World) -> None:
    """Rule 2 holds for a Closing as for a state: the first signature reaches F + 16 - 2."""
    world.trade(A, make_trade(make_leg(-1, price=100)))
    closing = Closing(channel_id=ID, nonce=2**64 - 1, valid_until=world.chain.time + 60, net_to_b=0)
    request = m.CloseRequest(channel_id=ID, closing=closing, signature=signed(A, closing))
    refused(world.bob, request, BadNonceError, "nonce")


def test_a_nonce_reused_is_equivocation(world: World) -> None:
    first = half_signed(world, A, nonce=3)
    world.bob.handle(propose(first))
    other = half_signed(world, A, make_trade(make_leg(2)), nonce=3)
    assert other.signature != first.signature
    refused(world.bob, propose(other), BadNonceError, "two different states at nonce 3")
    longer = half_signed(world, A, nonce=3, valid_until=first.valid_until + 1)
    refused(world.bob, propose(longer), BadNonceError, "two different states at nonce 3")


def test_a_nonce_reused_in_one_quote(world: World) -> None:
    sides = (half_signed(world, A), half_signed(world, A, make_trade(make_leg(-1))))
    assert sides[0].nonce == sides[1].nonce
    twice = m.Quote(channel_id=ID, request_id=bytes(16), expires_at=0, sides=sides)
    refused(world.bob, twice, BadNonceError, "two different states")


def test_a_nonce_reused_by_a_closing(world: World) -> None:
    world.bob.handle(propose(half_signed(world, A, nonce=3)))
    closing = Closing(channel_id=ID, nonce=3, valid_until=world.chain.time + 60, net_to_b=0)
    request = m.CloseRequest(channel_id=ID, closing=closing, signature=signed(A, closing))
    refused(world.bob, request, BadNonceError, "nonce 3")


def test_a_nonce_below_f_is_a_replay_without_effect(world: World) -> None:
    before = world.bob.channel
    old = half_signed(world, A, nonce=1)
    assert world.bob.handle(propose(old)) == ()
    assert world.bob.channel == before


def test_an_accept_of_what_was_not_proposed(world: World) -> None:
    world.propose(A)
    state = State(channel_id=ID, nonce=5)
    for nonce in (4, 5, 99):
        accept = m.Accept(
            channel_id=ID,
            nonce=nonce,
            signature=signed(B, state),
            affirmation_nonce=nonce + 1,
            affirmation=signed(B, state),
        )
        refused(world.alice, accept, BadNonceError, f"nonce {nonce}")


def _accept_for(world: World, nonce: int, **changes: Any) -> m.Accept:
    entry = world.alice.channel.ledger.entry(nonce)
    assert entry is not None
    assert isinstance(entry.value, State)
    affirmation = State(
        channel_id=ID,
        nonce=changes.get("affirmation_nonce", nonce + 1),
        portfolio=changes.pop("portfolio", entry.value.portfolio),
    )
    accept = m.Accept(
        channel_id=ID,
        nonce=nonce,
        signature=signed(B, entry.value),
        affirmation_nonce=affirmation.nonce,
        affirmation=signed(B, affirmation),
    )
    return attrs.evolve(accept, **changes)


def test_an_affirmation_of_the_wrong_parity_or_too_low(world: World) -> None:
    nonce = world.propose(A)
    assert nonce == 3
    for wrong in (0, 2, 3, 5, 7):
        accept = _accept_for(world, nonce, affirmation_nonce=wrong)
        refused(world.alice, accept, BadNonceError, f"affirmation of 3 at {wrong}")


def test_an_affirmation_beyond_what_may_be_in_flight(world: World) -> None:
    """F at 2 and maxInFlight 16: 18 is the last that A may sign, and kept for a void."""
    nonce = world.propose(A)
    for wrong in (18, 20):
        accept = _accept_for(world, nonce, affirmation_nonce=wrong)
        refused(world.alice, accept, BadNonceError, f"affirmation of 3 at {wrong}")
    world.alice.handle(_accept_for(world, nonce, affirmation_nonce=16))
    assert world.alice.channel.ledger.nonce == 16


def test_attack_late_accept_that_leaves_no_nonce_for_the_void(world: World) -> None:
    """Affirmed as high as may be in flight, too late: A would owe a void that rule 2 forbids."""
    nonce = world.propose(A)
    highest = world.alice.channel.ledger.nonce + world.alice.channel.terms.max_in_flight
    accept = _accept_for(world, nonce, affirmation_nonce=highest)
    world.disconnect()
    world.mine(60, blocks=3, censor=True)
    world.deliver(A, encode(accept))
    world.mine(60, blocks=6, censor=True)
    assert world.alice.phase is Phase.IDLE
    assert world.propose(A) > nonce


def test_a_void_is_left_after_the_highest_honest_affirmation() -> None:
    """Silence has used up all nonces but the last two: the Accept comes late, the void fits."""
    world = World(make_opening(terms=make_terms(max_in_flight=8))).open()
    for unanswered in (1, 3):
        assert world.propose(A) == unanswered
        world.disconnect()
        world.wait_out_box(censor=True)
        world.reconnect()
        world.wires[B].clear()
    assert world.propose(A) == 5
    world.deliver_all()
    world.answer(B)
    world.disconnect()
    world.mine(60, blocks=5, censor=True)
    world.reconnect()
    world.deliver_all()
    world.mine(60, blocks=2, censor=True)
    world.deliver_all()
    assert world.phases == [Phase.IDLE, Phase.IDLE]
    assert world.alice.channel.ledger.nonce == world.bob.channel.ledger.nonce == 7


def test_an_accept_without_affirmation(world: World) -> None:
    nonce = world.propose(A)
    accept = _accept_for(world, nonce, affirmation=None)
    refused(world.alice, accept, UnexpectedMessageError, "without affirmation")


def test_an_affirmation_of_another_portfolio(world: World) -> None:
    nonce = world.propose(A)
    accept = _accept_for(world, nonce, portfolio=Portfolio())
    refused(world.alice, accept, BadSignatureError, "signed by")


def test_a_confirm_of_what_we_never_signed(world: World) -> None:
    for nonce in (4, 3, 2**64 - 1):
        state = State(channel_id=ID, nonce=nonce)
        confirm = m.Confirm(channel_id=ID, nonce=nonce, signature=signed(A, state))
        refused(world.bob, confirm, BadNonceError, f"nonce {nonce}")


def test_a_confirm_of_our_boxed_proposal(world: World) -> None:
    nonce = world.propose(A)
    value = world.alice.channel.ledger.entry(nonce)
    assert value is not None
    confirm = m.Confirm(channel_id=ID, nonce=nonce, signature=signed(B, value.value))
    refused(world.alice, confirm, BadNonceError, f"nonce {nonce}")


def test_a_reject_of_what_was_not_proposed(world: World) -> None:
    world.propose(A)
    for nonce in (4, 5):
        reject = m.Reject(
            channel_id=ID, nonce=nonce, reason=Reason.PRICE, text="", void_nonce=0, void=None
        )
        refused(world.alice, reject, BadNonceError, f"nonce {nonce}")


def test_a_void_of_the_wrong_parity(world: World) -> None:
    state = State(channel_id=ID, nonce=5, portfolio=world.bob.channel.portfolio)
    void = m.Void(channel_id=ID, nonce=5, signature=signed(B, state))
    refused(world.alice, void, BadNonceError, "nonce 5")


def test_a_void_beyond_what_may_be_in_flight(world: World) -> None:
    """Rule 2 refuses the Confirm; our own refusal, and nothing changes."""
    state = State(channel_id=ID, nonce=2**64 - 2, portfolio=world.bob.channel.portfolio)
    void = m.Void(channel_id=ID, nonce=state.nonce, signature=signed(B, state))
    before = world.alice.channel
    with pytest.raises(ChannelsError, match="signing rule 2"):
        world.alice.handle(void)
    assert world.alice.channel == before


# ---------------------------------------------------------------- signatures


def flipped(signature: Signature) -> Signature:
    raw = bytearray(signature.compact)
    raw[32] ^= 0x80
    return Signature(bytes(raw))


def high(signature: Signature) -> Signature:
    """The same signature with the other root: s above half the order, the parity turned."""
    vs = int.from_bytes(signature.vs, "big")
    parity, s = vs >> 255, vs & (2**255 - 1)
    other = ORDER - s
    assert other >= 2**255 or other > ORDER // 2
    return Signature(signature.r + ((other | (1 - parity) << 255) % 2**256).to_bytes(32, "big"))


SIGNATURE_FAULTS: dict[str, Callable[[Signature], Signature]] = {
    "v flipped": flipped,
    "s high": high,
    "r zero": lambda s: Signature(bytes(32) + s.vs),
    "s zero": lambda s: Signature(s.r + bytes(32)),
    "r beyond the field": lambda s: Signature(b"\xff" * 32 + s.vs),
    "s at its largest": lambda s: Signature(s.r + b"\xff" * 32),
    "all zero": lambda s: Signature(bytes(64)),
    "one bit": lambda s: Signature(bytes([s.compact[0] ^ 1]) + s.compact[1:]),
}


def messages_with_signatures(world: World) -> Iterator[tuple[Peer, m.Message, tuple[str, ...]]]:
    """Messages of the other side that would be taken, and where their signatures stand."""
    yield world.bob, propose(half_signed(world, A)), ("proposal", "signature")
    void = State(channel_id=ID, nonce=4, portfolio=world.bob.channel.portfolio)
    yield (
        world.alice,
        m.Void(channel_id=ID, nonce=4, signature=signed(B, void)),
        ("signature",),
    )
    nonce = world.propose(A)
    accept = _accept_for(world, nonce)
    yield world.alice, accept, ("signature",)
    yield world.alice, accept, ("affirmation",)
    reject = m.Reject(
        channel_id=ID,
        nonce=nonce,
        reason=Reason.PRICE,
        text="",
        void_nonce=4,
        void=signed(B, void),
    )
    yield world.alice, reject, ("void",)
    world.deliver_all()
    world.answer(B)
    confirm = State(channel_id=ID, nonce=4, portfolio=_portfolio_at(world.bob, 4))
    yield (
        world.bob,
        m.Confirm(channel_id=ID, nonce=4, signature=signed(A, confirm)),
        ("signature",),
    )


def _portfolio_at(peer: Peer, nonce: int) -> Portfolio:
    entry = peer.channel.ledger.entry(nonce)
    assert entry is not None
    assert isinstance(entry.value, State)
    return entry.value.portfolio


@pytest.mark.parametrize("fault", SIGNATURE_FAULTS)
def test_faulty_signatures_in_every_message(world: World, fault: str) -> None:
    count = 0
    for peer, message, path in messages_with_signatures(world):
        step(peer.channel, message)
        broken = _change_signature(message, path, SIGNATURE_FAULTS[fault])
        refused(peer, broken, BadSignatureError, ".")
        count += 1
    assert count == 6


def _change_signature(
    value: Any, path: tuple[str, ...], change: Callable[[Signature], Signature]
) -> Any:
    name, *rest = path
    held = getattr(value, name)
    new = _change_signature(held, tuple(rest), change) if rest else change(held)
    return attrs.evolve(value, **{name: new})


def test_another_key(world: World) -> None:
    for wrong in (STRANGER, SIGNERS[B]):
        proposal = half_signed(world, A, signer=wrong)
        refused(world.bob, propose(proposal), BadSignatureError, "signed by")


def test_a_state_signed_for_another_chain(world: World) -> None:
    elsewhere = Domain(chain_id=1, adjudicator=DOMAIN.adjudicator)
    proposal = half_signed(world, A, domain=elsewhere)
    refused(world.bob, propose(proposal), BadSignatureError, "another key, state, channel, contr")


def test_a_state_signed_for_another_contract(world: World) -> None:
    elsewhere = Domain(chain_id=DOMAIN.chain_id, adjudicator=place("another adjudicator"))
    proposal = half_signed(world, A, domain=elsewhere)
    refused(world.bob, propose(proposal), BadSignatureError, "another key, state, channel, contr")


def test_a_state_signed_for_another_channel(world: World) -> None:
    proposal = half_signed(world, A, channel=b"\x11" * 32)
    refused(world.bob, propose(proposal), BadSignatureError, "another key, state, channel, contr")


def test_a_message_that_names_another_channel(world: World) -> None:
    for name, message in SAMPLES.items():
        if not hasattr(message, "channel_id"):
            continue
        elsewhere: Any = message
        moved = attrs.evolve(elsewhere, channel_id=b"\x11" * 32)
        before = world.bob.channel
        with pytest.raises(PeerError) as caught:
            step(world.bob.channel, moved)
        assert isinstance(caught.value, BadProposalError | UnexpectedMessageError), name
        assert world.bob.channel == before


def test_a_message_that_names_no_channel(world: World) -> None:
    """Only an Error may name none: every other message belongs to a channel."""
    one = half_signed(world, A)
    refused(world.bob, propose(one, channel=bytes(32)), BadProposalError, "channel")


def test_a_closing_of_another_channel_in_our_envelope(world: World) -> None:
    closing = Closing(
        channel_id=b"\x11" * 32, nonce=3, valid_until=world.chain.time + 60, net_to_b=0
    )
    request = m.CloseRequest(channel_id=ID, closing=closing, signature=signed(A, closing))
    refused(world.bob, request, BadProposalError, "another channel")


def test_an_opening_signed_by_another_key() -> None:
    world = World()
    other = STRANGER.sign_digest(DOMAIN.digest(world.chain.opening))
    accept = m.OpenAccept(channel_id=ID, signature=other.expanded())
    refused(world.alice, accept, BadSignatureError, "signed by")
    bad_v = m.OpenAccept(channel_id=ID, signature=other.expanded()[:64] + b"\x02")
    refused(world.alice, bad_v, BadSignatureError, "65 bytes")


def test_another_state_at_the_permanent_nonce(world: World) -> None:
    shown = m.Reestablish(
        channel_id=ID, nonce=2, valid_until=0, portfolio_hash=b"\x01" * 32, proof=None
    )
    refused(world.bob, shown, BadProposalError, "nonce 2")


# ---------------------------------------------------------------- boxes


@pytest.mark.parametrize("extra", [1, 10**6])
def test_a_box_beyond_ours_is_not_accepted(world: World, extra: int) -> None:
    """Allowed is up to head + box + two slots: beyond it a free option would last too long."""
    latest = world.chain.time + TIMING.box + 2 * TIMING.slot
    step(world.bob.channel, propose(half_signed(world, A, valid_until=latest)))
    before = world.bob.channel.ledger.full
    signed_before = len(world.bob.emitted)
    proposal = half_signed(world, A, valid_until=latest + extra)
    with suppress(PeerError):
        world.bob.handle(propose(proposal))
    for nonce in world.bob.waiting:
        with pytest.raises(SigningRefusedError):
            world.bob.handle(e.Answer(nonce=nonce, accept=True, now=world.chain.time))
    assert world.bob.channel.ledger.full == before
    countersigned = [each.value.nonce for each in world.bob.emitted[signed_before:]]
    assert proposal.nonce not in countersigned


def test_a_proposal_without_a_box(world: World) -> None:
    proposal = half_signed(world, A, valid_until=0)
    refused(world.bob, propose(proposal), BadProposalError, "box until 0")


def _close_request(until: int, net_to_b: int = 0) -> m.CloseRequest:
    closing = Closing(channel_id=ID, nonce=1, valid_until=until, net_to_b=net_to_b)
    return m.CloseRequest(channel_id=ID, closing=closing, signature=signed(A, closing))


def test_a_closing_without_a_box() -> None:
    refused(opened().bob, _close_request(0), BadProposalError, "until 0")


def test_a_closing_beyond_an_hour_is_not_countersigned() -> None:
    """Heads may differ between honest peers: nobody is blamed, and nothing is signed."""
    world = opened()
    latest = world.chain.time + 3_600 + 2 * TIMING.slot
    world.bob.handle(_close_request(latest + 1))
    with pytest.raises(SigningRefusedError, match=str(latest + 1)):
        world.bob.handle(e.Answer(nonce=1, accept=True, now=world.chain.time))
    assert world.bob.emitted == []
    other = opened()
    other.bob.handle(_close_request(latest))
    other.bob.handle(e.Answer(nonce=1, accept=True, now=other.chain.time))
    assert len(other.bob.emitted) == 1


# ---------------------------------------------------------------- content


def _portfolio_faults(right: Portfolio) -> dict[str, Portfolio]:
    """Every single field of a portfolio changed; all validly signed by the proposer."""
    position, spot = right.positions[0], right.spots[0]

    def with_position(**changes: Any) -> Portfolio:
        return attrs.evolve(right, positions=(attrs.evolve(position, **changes),))

    extra = Position(feed=ETH, kind=0, expiry=EXPIRY, strike=STRIKE, quantity=1, vol=WAD, carry=0)
    return {
        "net_to_b one up": attrs.evolve(right, net_to_b=right.net_to_b + 1),
        "net_to_b one down": attrs.evolve(right, net_to_b=right.net_to_b - 1),
        "net_to_b beyond its bound": attrs.evolve(right, net_to_b=2**126 + 1),
        "margin_a one up": attrs.evolve(right, margin_a=right.margin_a + 1),
        "margin_a one down": attrs.evolve(right, margin_a=max(0, right.margin_a - 1))
        if right.margin_a
        else attrs.evolve(right, margin_a=2),
        "margin_b one up": attrs.evolve(right, margin_b=right.margin_b + 1),
        "margin_b one down": attrs.evolve(right, margin_b=right.margin_b - 1),
        "marked an hour later": attrs.evolve(right, marked_at=right.marked_at + 3_600),
        "marked an hour earlier": attrs.evolve(right, marked_at=right.marked_at - 3_600),
        "marked at zero": attrs.evolve(right, marked_at=0),
        "no spot": attrs.evolve(right, spots=()),
        "one spot more": attrs.evolve(right, spots=(Spot(feed=BTC, price=WAD), spot)),
        "spot of another feed": attrs.evolve(right, spots=(Spot(feed=BTC, price=spot.price),)),
        "spot price": attrs.evolve(right, spots=(Spot(feed=ETH, price=spot.price + WAD),)),
        "no position": attrs.evolve(right, positions=()),
        "one position more": attrs.evolve(right, positions=(extra, position)),
        "feed": with_position(feed=BTC),
        "kind": with_position(kind=0),
        "unknown kind": with_position(kind=200),
        "expiry": with_position(expiry=EXPIRY + 3_600),
        "strike": with_position(strike=STRIKE + 1),
        "quantity one up": with_position(quantity=position.quantity + 1),
        "quantity one down": with_position(quantity=position.quantity - 1),
        "quantity of the other sign": with_position(quantity=-position.quantity),
        "vol without its margin": with_position(vol=position.vol * 2),
        "carry without its margin": with_position(carry=10**17),
        "vol out of the domain": with_position(vol=2**128 - 1),
    }


FAULTS = sorted(_portfolio_faults(half_signed(opened(), A).portfolio))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_portfolio_that_is_not_the_announced_change(world: World, fault: str) -> None:
    right = half_signed(world, A)
    wrong = half_signed(world, A, portfolio=_portfolio_faults(right.portfolio)[fault])
    assert wrong.portfolio != right.portfolio
    answer = rejected(world, wrong, Reason.INVALID)
    assert answer.void is not None, "nothing of ours is alive: rule 3 allows the void"


def test_the_right_portfolio_passes(world: World) -> None:
    """The faults above start from a proposal that is taken."""
    world.bob.handle(propose(half_signed(world, A)))
    assert world.bob.phase is Phase.RECEIVED


ANNOUNCED: dict[str, Change] = {
    "no trade but a re-mark": Remark(),
    "another size": make_trade(make_leg(2)),
    "another side": make_trade(make_leg(-1)),
    "another price": make_trade(make_leg(1, price=101)),
    "another strike": make_trade(make_leg(1, strike=STRIKE + WAD)),
    "another expiry": make_trade(make_leg(1, expiry=EXPIRY + 3_600)),
    "another feed": make_trade(make_leg(1, feed=BTC)),
    "another kind": make_trade(make_leg(1, kind=Kind.DIGITAL_PUT)),
    "one leg more": make_trade(make_leg(1), make_leg(1, strike=STRIKE + WAD)),
    "a settlement": Settlement(feed=ETH, expiry=EXPIRY, price=STRIKE),
    "a settlement of nothing": Settlement(feed=BTC, expiry=EXPIRY, price=STRIKE),
}


@pytest.mark.parametrize("announced", ANNOUNCED)
def test_an_announcement_of_something_else(world: World, announced: str) -> None:
    rejected(world, half_signed(world, A, announced=ANNOUNCED[announced]), Reason.INVALID)


def _with_premium(premium: int) -> Trade:
    return attrs.evolve(make_trade(), premium=premium)


@pytest.mark.parametrize("off", [-2, 2, 10**9])
def test_a_premium_at_odds_with_the_legs(world: World, off: int) -> None:
    """A base unit a leg is rounding; more is not."""
    exact = 100 * UNIT
    right = half_signed(world, A)
    wrong = attrs.evolve(right.portfolio, net_to_b=right.portfolio.net_to_b + off)
    change = _with_premium(exact + off)
    rejected(world, half_signed(world, A, change, portfolio=wrong), Reason.INVALID)


def test_a_proposal_that_changes_nothing(world: World) -> None:
    same = half_signed(world, A, Remark(), portfolio=world.bob.channel.portfolio)
    rejected(world, same, Reason.INVALID)


def test_marks_of_the_past_or_of_the_future(world: World) -> None:
    first = half_signed(world, A).portfolio
    back = attrs.evolve(world.bob.channel.portfolio, marked_at=first.marked_at - 1)
    rejected(world, half_signed(world, A, Remark(), portfolio=back), Reason.INVALID)


def test_marks_beyond_the_box(world: World) -> None:
    late = world.chain.time + TIMING.box + 1
    future = attrs.evolve(world.bob.channel.portfolio, marked_at=late)
    proposal = half_signed(world, A, Remark(), portfolio=future)
    rejected(world, proposal, Reason.INVALID)


def test_an_expiry_between_hours_cannot_be_settled(world: World) -> None:
    rejected(world, half_signed(world, A, make_trade(make_leg(expiry=EXPIRY + 1))), Reason.INVALID)


def test_an_expiry_beyond_the_tenor_or_in_the_past(world: World) -> None:
    beyond = (world.chain.time + 400 * 86_400) // 3_600 * 3_600 + 3_600
    rejected(world, half_signed(world, A, make_trade(make_leg(expiry=beyond))), Reason.INVALID)


def test_an_expiry_in_the_past(world: World) -> None:
    past = make_trade(make_leg(expiry=T0 - 3_600, price=0))
    rejected(world, half_signed(world, A, past), Reason.INVALID)


def test_a_feed_without_margin_parameters(world: World) -> None:
    unknown = b"DOGE-USD".ljust(32, b"\x00")
    change = make_trade(make_leg(feed=unknown))
    right = half_signed(world, A).portfolio
    position = attrs.evolve(right.positions[0], feed=unknown)
    forged = attrs.evolve(
        right, positions=(position,), spots=(Spot(feed=unknown, price=right.spots[0].price),)
    )
    rejected(world, half_signed(world, A, change, portfolio=forged), Reason.INVALID)


@pytest.mark.parametrize("kind", [Kind.CALL, Kind.FORWARD])
def test_an_unbounded_short_needs_margin(kind: Kind) -> None:
    """The loss has no bound, and a margin it has: of one unit, and not of a hundred."""
    for units, covered in ((1, True), (100, False)):
        world = opened_with()
        change = make_trade(make_leg(units, kind=kind, price=0))
        proposal = half_signed(world, A, change)
        if covered:
            world.bob.handle(propose(proposal))
            assert world.bob.phase is Phase.RECEIVED
        else:
            rejected(world, proposal, Reason.MARGIN)


@pytest.mark.parametrize(
    ("puts", "covered"), [(11, True), (12, False)], ids=["covered", "one too many"]
)
def test_equity_covers_the_initial_margin(world: World, puts: int, covered: bool) -> None:
    """B is short one put; twelve need 8,575.49 beside what they are worth, thirteen 9,290.12."""
    proposal = half_signed(world, A, make_trade(make_leg(puts)))
    if covered:
        world.bob.handle(propose(proposal))
        assert world.bob.phase is Phase.RECEIVED
    else:
        rejected(world, proposal, Reason.MARGIN)


def test_margin_off_by_one_unit_of_cash() -> None:
    """B may sell two puts of 5,000 for nothing with just what they need, not with a unit less."""
    change = make_trade(make_leg(2, strike=5_000 * WAD, price=0))
    needed = -spare(half_signed(opened_with(), A, change).portfolio, 0, B)
    for missing, taken in ((0, True), (1, False)):
        world = opened_with(deposit_b=needed - missing)
        proposal = half_signed(world, A, change)
        if taken:
            world.bob.handle(propose(proposal))
            assert world.bob.phase is Phase.RECEIVED
        else:
            rejected(world, proposal, Reason.MARGIN)


def opened_with(**changes: int) -> World:
    return World(make_opening(**changes)).open()


def test_a_trade_in_a_halted_channel(world: World) -> None:
    world.bob.handle(e.SetMode(mode=Mode.HALTED, reason="operator"))
    rejected(world, half_signed(world, A), Reason.LIMIT)


def test_more_risk_in_a_channel_that_only_reduces(world: World) -> None:
    world.bob.handle(e.SetMode(mode=Mode.REDUCE_ONLY, reason="operator"))
    rejected(world, half_signed(world, A), Reason.LIMIT)


def test_less_risk_in_a_channel_that_only_reduces(world: World) -> None:
    world.bob.handle(e.SetMode(mode=Mode.REDUCE_ONLY, reason="operator"))
    world.bob.handle(propose(half_signed(world, A, make_trade(make_leg(-1)))))
    assert world.bob.phase is Phase.RECEIVED


def test_a_closing_that_pays_something_else(world: World) -> None:
    world.trade(A, make_trade(make_leg(-1, price=110)))
    stands = world.bob.channel.portfolio.net_to_b
    assert stands == -10 * UNIT
    for wrong in (stands + 1, stands - 1, 0):
        closing = Closing(
            channel_id=ID,
            nonce=A.next_nonce(world.bob.channel.ledger.highest_seen),
            valid_until=world.chain.time + 60,
            net_to_b=wrong,
        )
        world.bob.handle(
            m.CloseRequest(channel_id=ID, closing=closing, signature=signed(A, closing))
        )
        answer = decode(world.wires[A].pop())
        assert isinstance(answer, m.Reject)
        assert answer.reason is Reason.INVALID
        assert not [each for each in world.bob.emitted if isinstance(each.value, Closing)]


def test_a_closing_with_open_positions(world: World) -> None:
    closing = Closing(
        channel_id=ID,
        nonce=3,
        valid_until=world.chain.time + 60,
        net_to_b=world.bob.channel.portfolio.net_to_b,
    )
    world.bob.handle(m.CloseRequest(channel_id=ID, closing=closing, signature=signed(A, closing)))
    answer = decode(world.wires[A].pop())
    assert isinstance(answer, m.Reject)
    assert answer.reason is Reason.INVALID
