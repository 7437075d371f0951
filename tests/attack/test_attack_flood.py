"""Attack: fill a channel's record until it cannot be stored, read or signed on any more."""

from __future__ import annotations

from contextlib import suppress

from channels.errors import PeerError
from channels.protocol import messages as m
from channels.protocol.channel import Phase
from channels.protocol.records import decode_channel, encode_channel
from channels.protocol.types import Closing, Party, State
from tests.protocol.build import ID, TIMING, make_leg, make_trade
from tests.protocol.world import World, half_signed, opened, signed

A, B = Party.A, Party.B


def _close_request(world: World, nonce: int) -> m.CloseRequest:
    closing = Closing(channel_id=ID, nonce=nonce, valid_until=world.chain.time + 60, net_to_b=7)
    return m.CloseRequest(channel_id=ID, closing=closing, signature=signed(A, closing))


def test_three_hundred_closings() -> None:
    """Each wrong, each at a nonce of its own: the record stays readable, the channel usable."""
    world = opened()
    for number in range(300):
        with suppress(PeerError):
            world.bob.handle(_close_request(world, 2 * number + 1))
    record = encode_channel(world.bob.channel)
    assert decode_channel(record).ledger == world.bob.channel.ledger
    assert len(world.bob.channel.ledger.entries) <= world.bob.channel.terms.max_in_flight


def test_a_closing_at_the_highest_nonce_takes_no_nonce_from_us() -> None:
    """Its answer is our Reject or its own fault, never our InvalidValueError or a spent budget."""
    world = opened()
    before = world.bob.channel
    with suppress(PeerError):
        world.bob.handle(_close_request(world, 2**64 - 1))
    assert world.bob.channel.ledger.full == before.ledger.full
    world.mine(60, blocks=8)
    assert world.propose(B) <= 2 + 14


def test_every_nonce_of_the_flight() -> None:
    world = opened()
    for nonce in range(1, 15, 2):
        world.bob.handle(
            m.Propose(
                channel_id=ID,
                proposal=half_signed(world, A, make_trade(make_leg(price=nonce)), nonce=nonce),
            )
        )
    assert world.bob.phase is Phase.RECEIVED
    assert encode_channel(decode_channel(encode_channel(world.bob.channel))) == encode_channel(
        world.bob.channel
    )
    world.mine(TIMING.box, blocks=6)
    world.deliver_all()
    assert world.phases[B] is Phase.IDLE, "all their boxes passed"


def test_an_affirmation_far_ahead_takes_no_nonce_from_us() -> None:
    """B accepts with an affirmation at 2**64 - 2: A keeps the evidence and can still void."""
    world = opened()
    nonce = world.propose(A)
    entry = world.alice.channel.ledger.entry(nonce)
    assert entry is not None
    assert isinstance(entry.value, State)
    far = State(channel_id=ID, nonce=2**64 - 2, portfolio=entry.value.portfolio)
    accept = m.Accept(
        channel_id=ID,
        nonce=nonce,
        signature=signed(B, entry.value),
        affirmation_nonce=far.nonce,
        affirmation=signed(B, far),
    )
    with suppress(PeerError):
        world.alice.handle(accept)
    world.disconnect()
    world.mine(60, blocks=8, censor=True)
    assert world.alice.phase in (Phase.IDLE, Phase.VOIDING)
    assert world.alice.channel.head == world.chain.seen().head, "blind: it refused the head"
    assert max(each.value.nonce for each in world.alice.emitted) <= 16
