"""Settlement at expiry by itself: once both know the price, and told where they do not agree."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from channels.errors import InvalidValueError, RejectedError
from channels.peer.credit_policy import CreditPolicy
from channels.peer.desk_news import SettlementOverdue
from channels.peer.settling import SettlementPolicy, Settling
from channels.peer.waiting import Outcomes
from channels.protocol.changes import Settlement, marks_of
from channels.protocol.channel import Phase
from channels.protocol.effects import (
    ChangeConfirmed,
    ChangeRejected,
    ProposalLapsed,
    RecordedOnChain,
)
from channels.protocol.events import ProposeChange
from channels.protocol.messages import Reason
from channels.protocol.types import Party
from tests.chain.world import World
from tests.peer.test_credit_rules import Line
from tests.peer.world import FEED, FEED_NAME, HOUR, UNIT, WAD, Desk, put, trade, trading
from tests.protocol.build import EXPIRY
from tests.protocol.world import opened

BY_ITSELF = {"settlement": SettlementPolicy()}


@attrs.define
class Source:
    """A settlement price that may not be known yet."""

    price: int | None = None

    async def __call__(self, feed: bytes, expiry: int) -> int | None:
        return self.price


async def settled_to(desk: Desk) -> Settlement:
    while True:
        confirmed = await desk.told(ChangeConfirmed)
        if isinstance(confirmed.change, Settlement):
            return confirmed.change


async def declined_for_its_price(desk: Desk) -> str:
    """What the counterparty says; before, it may decline because it has yet to see the expiry."""
    while True:
        rejected = await desk.told(ChangeRejected)
        if rejected.reason is Reason.PRICE:
            return rejected.text


async def test_what_expires_is_settled_by_itself(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, alice=BY_ITSELF, bob=BY_ITSELF) as pair:
        done = await trade(pair.alice, 2)
        expiry = done.legs[0].expiry
        pair.a.market.spot = pair.b.market.spot = 2_900 * WAD
        await pair.travel(to=expiry + 12)
        assert await settled_to(pair.bob) == Settlement(feed=FEED, expiry=expiry, price=2_900 * WAD)
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()
        assert ours.portfolio.net_to_b == done.premium - 200 * UNIT


async def test_settling_by_hand_what_is_settled_already(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, alice=BY_ITSELF) as pair:
        expiry = (await trade(pair.alice)).legs[0].expiry
        await pair.travel(to=expiry + 12)
        confirmed = await pair.channel.settle(FEED_NAME, expiry, 3_000 * WAD)
        again = await pair.channel.settle(FEED_NAME, expiry, 3_000 * WAD)
        assert again == confirmed
        with pytest.raises(InvalidValueError, match="settled already, at 3000"):
            await pair.channel.settle(FEED_NAME, expiry, 2_999 * WAD)
        with pytest.raises(InvalidValueError, match="no position"):
            await pair.channel.settle(FEED_NAME, expiry - HOUR, 3_000 * WAD)


@pytest.mark.parametrize("credit", [None, CreditPolicy()])
async def test_by_hand_and_by_itself_on_both_sides_at_once(
    world: World, tmp_path: Path, credit: CreditPolicy | None
) -> None:
    """One settlement, and everybody who asked for it is told of that one."""
    everything = {"settlement": SettlementPolicy(patience=0), "credit": credit}
    async with trading(world, tmp_path, alice=everything, bob=everything) as pair:
        done = await trade(pair.alice)
        expiry = done.legs[0].expiry
        pair.a.market.spot = pair.b.market.spot = 2_990 * WAD
        confirmed: list[ChangeConfirmed] = []

        async def by_hand(desk: Desk) -> None:
            for each in (pair.alice, pair.bob):
                await each.channel.wait_for_head(expiry)
            confirmed.append(await desk.channel.settle(FEED_NAME, expiry, 2_990 * WAD))

        async with trio.open_nursery() as nursery:
            for desk in (pair.alice, pair.bob, pair.alice, pair.bob):
                nursery.start_soon(by_hand, desk)
            nursery.start_soon(partial(pair.travel, to=expiry + 12))
        ours, _ = await pair.settled()
        assert len({(each.nonce, each.proposal) for each in confirmed}) == 1
        assert ours.portfolio.positions == ()
        assert ours.portfolio.net_to_b == done.premium - 10 * UNIT


def test_what_the_chain_recorded_is_settled_too() -> None:
    settlement = Settlement(feed=FEED, expiry=HOUR, price=WAD)
    outcomes = Outcomes()
    outcomes.tell(RecordedOnChain(nonce=7, change=settlement))
    assert outcomes.settled[FEED, HOUR].nonce == 7


async def test_every_expiry_one_after_the_other(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, alice=BY_ITSELF) as pair:
        first, second, later = (put(pair.alice, days=days) for days in (2, 3, 20))
        for leg in (first, second, later):
            await pair.channel.propose_trade([leg], [100 * WAD])
        await pair.travel(to=second.expiry + 12)
        settled = [await settled_to(pair.bob) for _ in range(2)]
        assert [each.expiry for each in settled] == [first.expiry, second.expiry]
        ours, _ = await pair.settled()
        assert [each.expiry for each in ours.portfolio.positions] == [later.expiry]


async def test_b_settles_where_a_does_not(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, bob=BY_ITSELF) as pair:
        expiry = (await trade(pair.alice)).legs[0].expiry
        await pair.travel(to=expiry + 12)
        assert pair.bob.channel.portfolio.positions != ()
        await pair.travel(to=expiry + 30)
        assert (await settled_to(pair.alice)).expiry == expiry


async def test_tried_again_until_both_know_the_price(world: World, tmp_path: Path) -> None:
    ours, theirs = Source(), Source()
    async with trading(
        world,
        tmp_path,
        alice={**BY_ITSELF, "settlement_price": ours},
        bob={"settlement_price": theirs},
    ) as pair:
        expiry = (await trade(pair.alice)).legs[0].expiry
        await pair.travel(to=expiry + 12)
        ours.price = 2_950 * WAD
        await pair.travel(by=12)
        text = await declined_for_its_price(pair.alice)
        assert text == f"settlement price {2_950 * WAD}, ours None"
        theirs.price = 2_950 * WAD
        await pair.travel(by=60)
        assert (await settled_to(pair.bob)).price == 2_950 * WAD


async def test_what_cannot_be_agreed_on_is_told_after_the_grace(
    world: World, tmp_path: Path
) -> None:
    ours, theirs = Source(2_950 * WAD), Source(2_951 * WAD)
    async with trading(
        world,
        tmp_path,
        alice={**BY_ITSELF, "settlement_price": ours},
        bob={**BY_ITSELF, "settlement_price": theirs},
    ) as pair:
        expiry = (await trade(pair.alice)).legs[0].expiry
        await pair.travel(to=expiry + 12)
        assert str(2_951 * WAD) in await declined_for_its_price(pair.alice)
        await pair.quiet()
        # At once: both propose it, decline what crossed, and are free when its box has passed.
        await pair.travel(to=expiry + HOUR, in_flight=True)
        told = await pair.alice.told(SettlementOverdue)
        assert (told.feed, told.expiry) == (FEED, expiry)
        assert f"PRICE settlement price {2_950 * WAD}, ours {2_951 * WAD}" in told.text


async def test_an_unknown_price_is_told_after_the_grace(world: World, tmp_path: Path) -> None:
    policy = SettlementPolicy(grace=600)
    unknown = {"settlement": policy, "settlement_price": Source()}
    async with trading(world, tmp_path, alice=unknown) as pair:
        expiry = (await trade(pair.alice)).legs[0].expiry
        await pair.travel(to=expiry + 12)
        await pair.travel(to=expiry + 600)
        assert (await pair.alice.told(SettlementOverdue)).text == "we do not know the price yet"


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        (ProposalLapsed(nonces=(3,), overtaken=True), 0),
        (ProposalLapsed(nonces=(3,), overtaken=False), 60),
        (ChangeRejected(nonce=3, reason=Reason.INVALID, text="nothing to settle yet"), 1),
        (ChangeRejected(nonce=3, reason=Reason.BUSY, text=""), 1),
        (ChangeRejected(nonce=3, reason=Reason.PRICE, text="ours 7"), 60),
    ],
)
async def test_what_was_not_signed_is_proposed_again_when_it_may_be(
    answer: ProposalLapsed | ChangeRejected, again: int
) -> None:
    """At once where another change went first; at the next head where the peer may not have seen
    the expiry; after a retry's time where it names another price."""
    here = opened()
    here.trade(Party.A)
    here.mine(EXPIRY - here.chain.time)
    line = Line(here.alice.channel)
    settling = Settling(
        policy=SettlementPolicy(),
        source=Source(2_950 * WAD),
        marks_for=lambda channel: marks_of(channel.portfolio),
        tell=lambda *_: None,
    )
    runner: Any = line
    await settling.look(runner)
    assert line.channel.phase is Phase.PROPOSED
    idle, head = here.alice.channel, here.alice.channel.head
    assert head is not None
    settling.on_notice(runner, answer)
    for after in range(again + 1):
        assert line.said(ProposeChange) == 1
        later = attrs.evolve(head, number=head.number + after, timestamp=head.timestamp + after)
        line.channel = attrs.evolve(idle, head=later)
        await settling.look(runner)
    assert line.said(ProposeChange) == 2


async def test_a_remark_made_before_the_expiry_is_judged_by_the_market_then(
    world: World, tmp_path: Path
) -> None:
    """It crosses the settlement of the side whose clock is past the expiry: a refusal ties both."""
    async with trading(world, tmp_path) as pair:
        expiry = (await trade(pair.alice)).legs[0].expiry
        pair.a.market.spot = pair.b.market.spot = 2_800 * WAD
        await pair.travel(to=expiry + 5)
        series = {each.series for each in pair.channel.portfolio.positions}
        marks = attrs.evolve(pair.a.market.marks(series), marked_at=expiry - 1)
        wrong = attrs.evolve(marks, spots={FEED: 2_700 * WAD})
        with pytest.raises(RejectedError, match="MARKS"):
            await pair.channel.remark(wrong)
        await pair.channel.remark(marks)
        _, theirs = await pair.settled()
        assert theirs.portfolio.spots[0].price == 2_800 * WAD


@pytest.mark.parametrize("wrong", [{"retry": 0}, {"patience": -1}, {"grace": 0}])
def test_policies_that_make_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidValueError):
        SettlementPolicy(**wrong)
