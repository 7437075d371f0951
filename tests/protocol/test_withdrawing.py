"""A Withdrawal in the machine: what it may pay, what it carries, and what it forbids meanwhile."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from channels.errors import (
    BadNonceError,
    BadProposalError,
    BadSignatureError,
    InvalidValueError,
    MarginError,
    SigningRefusedError,
)
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.calls import Withdraw
from channels.protocol.channel import Phase
from channels.protocol.effects import ChangeRejected, Effect, Send, Submit, WithdrawalPaid
from channels.protocol.records import decode_channel, encode_channel
from channels.protocol.rules import Candidate, check
from channels.protocol.types import EMPTY_PORTFOLIO, Party, State, Withdrawal
from tests.protocol.build import FINALITY, ID, UNIT, make_leg, make_trade
from tests.protocol.world import World, opened, signed

A, B = Party.A, Party.B
SUM = 100 * UNIT


def with_positions() -> World:
    world = opened()
    world.trade(A, make_trade(make_leg(1)))
    world.deliver_all()
    return world


def ask(world: World, ours: int = SUM, theirs: int = 0) -> Withdrawal:
    """A asks; what it signed."""
    world.alice.handle(e.RequestWithdrawal(ours=ours, theirs=theirs))
    entry = world.alice.channel.ledger.entries[-1]
    assert isinstance(entry.value, Withdrawal)
    return entry.value


def agreed(world: World) -> Withdrawal:
    """Both signed; it is on its way to the chain."""
    withdrawal = ask(world)
    world.deliver_all()
    world.answer(B)
    world.deliver_all()
    return withdrawal


def test_paid_and_final_is_f_with_the_same_portfolio() -> None:
    world = with_positions()
    before = world.alice.channel
    withdrawal = agreed(world)
    world.mine(blocks=FINALITY + 1)
    for peer in world.peers:
        channel = peer.channel
        assert channel.phase is Phase.IDLE
        assert channel.ledger.nonce == withdrawal.nonce
        assert channel.portfolio == before.portfolio
        assert channel.contribution(A) == before.contribution(A) - SUM
        assert channel.contribution(B) == before.contribution(B)
        (paid,) = peer.told(WithdrawalPaid)
        assert paid == WithdrawalPaid(withdrawal=withdrawal)
    world.trade(B, make_trade(make_leg(-1)))
    world.deliver_all()
    assert world.alice.channel.portfolio == world.bob.channel.portfolio


def test_either_sends_it() -> None:
    world = with_positions()
    agreed(world)
    (call,) = [each.call for each in world.chain.mempool.values()]
    assert isinstance(call, Withdraw)


def test_nothing_is_signed_beside_it() -> None:
    world = with_positions()
    agreed(world)
    for peer in world.peers:
        assert peer.phase is Phase.CLOSING
        state = State(
            channel_id=ID,
            nonce=peer.side.next_nonce(peer.channel.ledger.highest_seen),
            portfolio=peer.channel.portfolio,
        )
        with pytest.raises(SigningRefusedError, match=r"signing rule [36]"):
            check(Candidate(value=state), peer.channel.circumstances)


def test_one_that_lapses_frees_both() -> None:
    world = with_positions()
    agreed(world)
    world.wait_out_box(censor=True)
    world.mine(blocks=FINALITY + 1, censor=True)
    for peer in world.peers:
        assert peer.phase is Phase.IDLE
        assert peer.told(WithdrawalPaid) == []
    world.trade(A, make_trade(make_leg(1)))


def test_declined_without_a_void_and_free_once_its_box_has_passed() -> None:
    world = with_positions()
    ask(world)
    world.deliver_all()
    world.answer(B, accept=False)
    world.deliver_all()
    assert len(world.alice.told(ChangeRejected)) == 1
    assert (world.alice.phase, world.bob.phase) == (Phase.CLOSING, Phase.IDLE)
    world.wait_out_box()
    world.mine(blocks=FINALITY + 1)
    assert world.alice.phase is Phase.IDLE


def test_it_survives_a_restart_of_either() -> None:
    for side in Party:
        world = with_positions()
        withdrawal = agreed(world)
        peer = world.peer(side)
        assert decode_channel(encode_channel(peer.channel)).ledger == peer.channel.ledger
        world.chain.mempool.clear()
        peer.restart()
        world.see()
        resumed = peer.handle(e.Resume())
        assert [each.call for each in resumed if isinstance(each, Submit)] != []
        world.mine(blocks=FINALITY + 1)
        assert peer.channel.ledger.nonce == withdrawal.nonce


@pytest.mark.parametrize(
    ("ours", "theirs", "error"),
    [
        (0, 0, InvalidValueError),
        (-1, 0, InvalidValueError),
        (10**12 * UNIT, 0, InvalidValueError),
        (0, 10**12 * UNIT, InvalidValueError),
    ],
)
def test_no_more_than_cash(ours: int, theirs: int, error: type[Exception]) -> None:
    world = with_positions()
    before = world.alice.channel
    with pytest.raises(error):
        world.alice.handle(e.RequestWithdrawal(ours=ours, theirs=theirs))
    assert world.alice.channel == before


@pytest.mark.parametrize("side", Party)
def test_initial_margin_stays(side: Party) -> None:
    """Of whoever has written the put: its buyer's premium is gone, and cash is less than equity."""
    world = opened()
    world.trade(A, make_trade(make_leg(-side.sign)))
    world.deliver_all()
    channel = world.alice.channel
    spare = channel.equity(side) - channel.portfolio.margin(side)
    over = {side: spare + 1, side.other: 0}
    with pytest.raises(MarginError, match=f"party {side.name}"):
        world.alice.handle(e.RequestWithdrawal(ours=over[A], theirs=over[B]))
    over[side] = spare
    ask(world, over[A], over[B])


def offered(world: World, **changes: Any) -> m.WithdrawRequest:
    """A's request, which Bob gets, in order or not."""
    side, ledger = A, world.bob.channel.ledger
    state = State(
        channel_id=ID,
        nonce=side.next_nonce(ledger.highest_seen),
        valid_until=world.chain.time + 120,
        portfolio=ledger.portfolio,
    )
    fields = {name: changes.pop(name) for name in ("amount_a", "amount_b") if name in changes}
    state = attrs.evolve(state, **changes)
    withdrawal = Withdrawal(state=state, **({"amount_a": SUM, "amount_b": 0} | fields))
    return m.WithdrawRequest(channel_id=ID, withdrawal=withdrawal, signature=signed(A, withdrawal))


def rejection(effects: tuple[Effect, ...]) -> m.Reject:
    sent = [each.message for each in effects if isinstance(each, Send)]
    (found,) = [each for each in sent if isinstance(each, m.Reject)]
    return found


def test_another_portfolio_is_rejected_and_blamed_on_nobody() -> None:
    world = with_positions()
    rejected = rejection(world.bob.handle(offered(world, portfolio=EMPTY_PORTFOLIO)))
    assert (rejected.reason, rejected.void) == (m.Reason.INVALID, None)


def test_what_takes_margin_is_rejected_as_that() -> None:
    world = with_positions()
    channel = world.bob.channel
    spare = channel.equity(B) - channel.portfolio.margin(B)
    rejected = rejection(world.bob.handle(offered(world, amount_a=0, amount_b=spare + 1)))
    assert rejected.reason is m.Reason.MARGIN


def test_what_only_a_faulty_peer_sends() -> None:
    world = with_positions()
    good = offered(world)
    for error, wrong in (
        (BadProposalError, offered(world, valid_until=0)),
        (BadProposalError, offered(world, channel_id=bytes(32))),
        (BadNonceError, offered(world, nonce=good.withdrawal.nonce + 1)),
        (BadNonceError, offered(world, nonce=good.withdrawal.nonce + 100)),
        (BadSignatureError, attrs.evolve(good, signature=signed(B, good.withdrawal))),
        (
            BadSignatureError,
            attrs.evolve(good, withdrawal=attrs.evolve(good.withdrawal, amount_b=1)),
        ),
    ):
        before = world.bob.channel
        with pytest.raises(error):
            world.bob.handle(wrong)
        assert world.bob.channel == before


@pytest.mark.parametrize("seconds", [79, 145])
def test_a_box_with_too_little_or_too_much_left_is_not_countersigned(seconds: int) -> None:
    world = with_positions()
    world.bob.handle(offered(world, valid_until=world.chain.time + seconds))
    with pytest.raises(SigningRefusedError, match="a Withdrawal until"):
        world.answer(B)
    assert world.bob.phase is Phase.RECEIVED


def test_a_second_copy_of_the_request_changes_nothing() -> None:
    world = with_positions()
    request = offered(world)
    world.bob.handle(request)
    before = world.bob.channel
    world.bob.handle(request)
    assert world.bob.channel == before
