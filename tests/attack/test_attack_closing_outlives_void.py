"""Attack: keep the other's half-signed Closing, trade on, and close under the old cash.

The chain compares a Closing's nonce with what it has *recorded*, not with what both hold off
chain: a void above it kills nothing (docs/decisions/0003). So while the box of a Closing that we
signed lasts, and nothing newer is final on chain, we sign no other state.
"""

from __future__ import annotations

from contextlib import suppress

import pytest

from channels.errors import OurError, SigningRefusedError
from channels.protocol import events as e
from channels.protocol.calls import Close
from channels.protocol.channel import Phase
from channels.protocol.effects import ChangeRejected
from channels.protocol.types import Closing, Party
from tests.protocol.build import UNIT, make_leg, make_trade
from tests.protocol.world import Transaction, World, opened, signed

A, B = Party.A, Party.B
HOUR = 3_600


def _voided() -> tuple[World, Closing]:
    """A signed a Closing at 1; B rejected it with a void at 2, which both signed: F = 2."""
    world = opened()
    world.alice.handle(e.RequestClose(now=world.chain.time))
    entry = world.alice.channel.ledger.entry(1)
    assert entry is not None
    closing = entry.value
    assert isinstance(closing, Closing)
    world.deliver_all()
    world.answer(B, accept=False)
    world.deliver_all()
    return world, closing


def _mined(world: World, closing: Closing) -> bool:
    """B adds its signature after all, and files the Closing."""
    call = Close(
        terms=world.chain.opening.terms,
        closing=closing,
        signature_a=signed(A, closing),
        signature_b=signed(B, closing),
    )
    world.chain.mempool[b"B"] = Transaction(call, B)
    world.mine()
    return world.chain.paid is not None


def test_the_chain_would_still_pay_under_it() -> None:
    """The danger is real: nothing on chain knows of the void."""
    world, closing = _voided()
    assert _mined(world, closing)
    assert world.chain.paid == {A: 10_000 * UNIT, B: 10_000 * UNIT}


def _signs_nothing(world: World) -> None:
    """Neither of its own accord nor on B's proposal."""
    before = list(world.alice.emitted)
    with pytest.raises(OurError):
        world.propose(A)
    world.alice.waiting.clear()
    with suppress(OurError):
        world.propose(B, make_trade(make_leg(-1)))
    world.deliver_all()
    for nonce in world.alice.waiting:
        with pytest.raises(SigningRefusedError, match="signing rule 6"):
            world.answer(A, nonce=nonce)
    made = [each for each in world.alice.emitted if each not in before]
    assert [each for each in made if each.value.valid_until] == []


def test_no_trade_is_signed_beside_it() -> None:
    """Else B would trade, see the trade go against it, and close as if it had never been."""
    world, _ = _voided()
    _signs_nothing(world)


def test_nor_after_a_restart() -> None:
    world, _ = _voided()
    world.disconnect()
    world.alice.restart()
    world.see()
    world.reconnect()
    world.deliver_all()
    _signs_nothing(world)


def test_nor_when_its_box_is_over_at_the_head_only() -> None:
    world, closing = _voided()
    world.mine(HOUR + 1)
    assert world.chain.time > closing.valid_until
    _signs_nothing(world)
    world.mine(120, blocks=10)
    world.deliver_all()
    assert world.propose(A) > 1


def test_the_asker_is_told_of_the_no() -> None:
    world, _ = _voided()
    assert len(world.alice.told(ChangeRejected)) == 1


def test_nobody_repeats_itself_while_the_closing_lasts() -> None:
    """A void that rule 6 forbids to countersign is not sent with every block for an hour."""
    world, _ = _voided()
    sent = len(world.history)
    world.mine(60, blocks=20)
    world.deliver_all()
    assert len(world.history) - sent <= 4
    assert not world.alice.errors


def test_a_closing_is_not_mined_past_its_box() -> None:
    world, closing = _voided()
    world.mine(HOUR + 1)
    assert not _mined(world, closing)


def test_the_asker_is_free_when_nobody_answers() -> None:
    world = opened()
    world.alice.handle(e.RequestClose(now=world.chain.time))
    world.disconnect()
    world.mine(600, blocks=7 + 4)
    assert world.alice.phase is Phase.IDLE
    assert world.propose(A) == 3
