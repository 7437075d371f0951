"""Settlements between the parties: of what has expired, at the price both know, whoever is short.

An expired position has no risk left and no choice: its value is the payoff at the settlement price.
To settle it takes nothing from anybody that it had, whatever margin it meets (protocol.md, rule 5).
"""

from __future__ import annotations

import pytest

from channels.errors import InvalidValueError
from channels.protocol.changes import Change, Remark, Settlement
from channels.protocol.channel import Phase
from channels.protocol.effects import ChangeConfirmed, ProposalLapsed
from channels.protocol.types import Party
from tests.protocol.build import (
    DEPOSIT,
    ETH,
    EXPIRY,
    UNIT,
    WAD,
    is_covered,
    make_draft,
    make_leg,
    make_trade,
)
from tests.protocol.world import World, opened

A, B = Party.A, Party.B
SOLD = make_trade(make_leg(-12, price=100))
"""A sells twelve puts struck at 3,000: all that its deposit covers."""


def short_at_expiry(*, spot: int) -> World:
    """A's position has moved against it before it expired: A is below its initial margin."""
    world = opened()
    world.trade(A, SOLD)
    world.mine(EXPIRY - world.chain.time - 60)
    world.remark(A, spot=spot)
    assert not is_covered(world.alice.channel.portfolio, DEPOSIT, A)
    world.mine(60)
    return world


@pytest.mark.parametrize("side", list(Party))
@pytest.mark.parametrize("price", [2_700, 2_000, 1_500])
def test_who_is_short_settles_what_has_expired(side: Party, price: int) -> None:
    world = short_at_expiry(spot=2_700)
    world.trade(side, Settlement(feed=ETH, expiry=EXPIRY, price=price * WAD))
    for peer in world.peers:
        assert peer.channel.portfolio.positions == ()
        assert peer.channel.portfolio.net_to_b == 12 * (3_000 - price - 100) * UNIT
        assert isinstance(peer.told(ChangeConfirmed)[-1].change, Settlement)


@pytest.mark.parametrize("side", list(Party))
def test_what_is_left_may_need_more_margin_without_what_has_expired(side: Party) -> None:
    """The expired put bought covered the one sold in the scan; paid, it is worth no less."""
    world = opened()
    later = EXPIRY + 30 * 86_400
    near, far = make_leg(18, price=100), make_leg(-18, price=200, expiry=later)
    world.trade(A, make_trade(near, far))
    world.mine(EXPIRY - world.chain.time - 60)
    world.remark(A, spot=2_500)
    world.mine(60)
    before = world.alice.channel.portfolio
    world.trade(side, Settlement(feed=ETH, expiry=EXPIRY, price=2_500 * WAD), spot=2_500)
    after = world.bob.channel.portfolio
    assert after.margin(A) > before.margin(A)
    assert not is_covered(after, DEPOSIT, A)
    assert [each.expiry for each in after.positions] == [later]
    assert after.net_to_b == before.net_to_b - 18 * 500 * UNIT


@pytest.mark.parametrize("settler", list(Party))
@pytest.mark.parametrize("first", list(Party))
def test_a_remark_that_crosses_a_settlement_costs_latency_and_no_more(
    first: Party, settler: Party
) -> None:
    """The higher nonce goes first, whichever it is, whoever is short; the other is made again."""
    world = short_at_expiry(spot=2_700)
    settlement = Settlement(feed=ETH, expiry=EXPIRY, price=1_500 * WAD)
    wanted: dict[Party, Change] = {settler: settlement, settler.other: Remark()}
    for side in (first, first.other):
        world.propose(side, wanted[side], spot=2_600)
    world.deliver_all()
    (waiting,) = [peer for peer in world.peers if peer.waiting]
    went_first = wanted[waiting.side.other]
    world.answer(waiting.side)
    world.deliver_all()
    assert world.phases == [Phase.IDLE, Phase.IDLE]
    (lapsed,) = waiting.told(ProposalLapsed)
    assert lapsed.overtaken
    if went_first is not settlement:
        world.trade(settler, settlement, spot=2_600)
    for peer in world.peers:
        assert peer.channel.portfolio.positions == ()
        assert peer.channel.portfolio.net_to_b == 12 * (3_000 - 1_500 - 100) * UNIT


def test_nothing_is_settled_before_it_expires() -> None:
    world = opened()
    world.trade(A, SOLD)
    world.mine(EXPIRY - 1 - world.chain.time)
    with pytest.raises(InvalidValueError, match="before its expiry"):
        world.propose(A, Settlement(feed=ETH, expiry=EXPIRY, price=3_000 * WAD))
    assert world.phases == [Phase.IDLE, Phase.IDLE]
    draft = make_draft(world.alice.channel.portfolio, SOLD, world.chain.time)
    assert draft.marks.marked_at < EXPIRY
