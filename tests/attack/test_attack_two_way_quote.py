"""Attack: take both sides of a two-way quote, or the second after the first."""

from __future__ import annotations

import pytest

from channels.errors import IllegalCommandError, MarginError, SigningRefusedError
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.channel import Phase
from channels.protocol.codec import decode
from channels.protocol.machine import step
from channels.protocol.types import Party, State
from tests.protocol.build import ID, make_draft, make_leg, make_trade
from tests.protocol.world import World, opened, signed

A, B = Party.A, Party.B
BUY = make_trade(make_leg(1, price=101))


def _quoted(size: int = 1) -> World:
    """B quotes both sides of one put; A holds both at nonces 2 and 4."""
    world = opened()
    _send(world, size)
    world.deliver_all()
    return world


def _send(world: World, size: int) -> None:
    sides = tuple(
        make_draft(
            world.bob.channel.portfolio,
            make_trade(make_leg(sign * size, price=price)),
            world.chain.time,
        )
        for sign, price in ((1, 101), (-1, 99))
    )
    world.bob.handle(
        e.SendQuote(
            request_id=b"r" * 16,
            sides=sides,
            expires_at=world.chain.time + 5,
            now=world.chain.time,
        )
    )


@pytest.mark.parametrize("nonce", [2, 4])
def test_either_side_can_be_taken(nonce: int) -> None:
    world = _quoted()
    world.answer(A, nonce=nonce)
    world.deliver_all()
    for peer in world.peers:
        (position,) = peer.channel.portfolio.positions
        assert position.quantity == (10**18 if nonce == 2 else -(10**18))
        assert peer.phase is Phase.IDLE
        assert peer.channel.ledger.nonce == 5


@pytest.mark.parametrize(("first", "second"), [(2, 4), (4, 2)])
def test_our_machine_takes_one(first: int, second: int) -> None:
    world = _quoted()
    world.answer(A, nonce=first)
    with pytest.raises(IllegalCommandError):
        world.answer(A, nonce=second)
    world.deliver_all()
    with pytest.raises(IllegalCommandError):
        world.answer(A, nonce=second)


@pytest.mark.parametrize(("first", "second"), [(2, 4), (4, 2)])
def test_the_maker_confirms_one(first: int, second: int) -> None:
    """A signs both sides and sends two Accepts with two affirmations: B confirms the first only."""
    world = _quoted()
    accepts = []
    for nonce, affirmed in ((first, 5), (second, 7)):
        entry = world.bob.channel.ledger.entry(nonce)
        assert entry is not None
        assert isinstance(entry.value, State)
        affirmation = State(channel_id=ID, nonce=affirmed, portfolio=entry.value.portfolio)
        accepts.append(
            m.Accept(
                channel_id=ID,
                nonce=nonce,
                signature=signed(A, entry.value),
                affirmation_nonce=affirmed,
                affirmation=signed(A, affirmation),
            )
        )
    world.bob.handle(accepts[0])
    assert world.bob.channel.ledger.nonce == 5
    before = world.bob.channel
    assert world.bob.handle(accepts[1]) == ()
    assert world.bob.channel == before
    assert 7 not in [each.value.nonce for each in world.bob.emitted]


def test_both_sides_count_in_the_makers_margin() -> None:
    """B can be short twelve puts, and so can A; thirteen each way break rule 5 or margin."""
    world = opened()
    with pytest.raises((MarginError, SigningRefusedError)):
        _send(world, 13)
    _send(world, 12)
    assert world.bob.phase is Phase.PROPOSED


def test_a_second_quote_waits_for_the_first() -> None:
    world = opened()
    _send(world, 1)
    draft = make_draft(world.bob.channel.portfolio, BUY, world.chain.time)
    command = e.SendQuote(request_id=b"s" * 16, sides=(draft,), expires_at=0, now=world.chain.time)
    with pytest.raises(IllegalCommandError, match="PROPOSED"):
        step(world.bob.channel, command)


def test_a_reject_declines_every_side() -> None:
    world = _quoted()
    world.answer(A, nonce=2, accept=False)
    with pytest.raises(IllegalCommandError):
        world.answer(A, nonce=4)
    world.deliver_all()
    assert [peer.channel.ledger.nonce for peer in world.peers] == [5, 5]
    assert [peer.phase for peer in world.peers] == [Phase.IDLE, Phase.IDLE]


def test_a_quote_with_two_states_at_one_nonce_buys_nothing() -> None:
    """Both sides at nonce 2: what the taker is shown first is not what it would sign."""
    world = opened()
    _send(world, 1)
    frame = world.wires[A].pop()
    quote = decode(frame)
    assert isinstance(quote, m.Quote)
    sides = []
    for side in quote.sides:
        state = State(
            channel_id=ID, nonce=2, valid_until=side.valid_until, portfolio=side.portfolio
        )
        sides.append(
            m.HalfSigned(
                nonce=2,
                valid_until=side.valid_until,
                change=side.change,
                portfolio=side.portfolio,
                signature=signed(B, state),
            )
        )
    forged = m.Quote(channel_id=ID, request_id=bytes(16), expires_at=0, sides=tuple(sides))
    before = world.alice.channel
    with pytest.raises(Exception, match="two different states") as caught:
        world.alice.handle(forged)
    assert getattr(caught.value, "fault", "") == "the peer's"
    assert world.alice.channel is before
