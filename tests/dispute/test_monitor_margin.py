"""The monitor about margin: what it asks and sends, and what must not keep it from more."""

from __future__ import annotations

import attrs

from channels.chain.jobs import Intent
from channels.dispute import (
    AlertCode,
    Duty,
    DutyDone,
    DutySubmitted,
)
from channels.protocol.calls import CallMargin, CoSigned
from channels.protocol.eip712 import Address
from channels.protocol.facts import OnChainPhase
from channels.protocol.types import Party
from tests.dispute.build import (
    ETH,
    EXPIRY,
    ID,
    RISK,
    TERMS,
    WAD,
    co_signed,
    evidence,
    make_portfolio,
    put,
)
from tests.dispute.conftest import Stand, Standing, filing
from tests.dispute.fakes import FakeChain, SetPrice, SetSpot
from tests.dispute.margin_build import (
    CALM,
    CRASH,
    PUTS,
    STRADDLES,
    SURGE,
    scenarios,
)


@attrs.frozen(kw_only=True)
class Offer:
    price: int
    observed_at: int
    intent: Intent


@attrs.define
class Source:
    """Has prices for the asking; ``broken``: raises instead."""

    price: int = CRASH
    broken: bool = False

    async def spot(self, oracle: Address, feed: bytes, time: int) -> Offer:
        if self.broken:
            raise OSError("no route to the attesters")
        return Offer(price=self.price * WAD, observed_at=time, intent=self._intent("spot"))

    async def settlement(self, oracle: Address, feed: bytes, time: int) -> Intent:
        if self.broken:
            raise OSError("no route to the attesters")
        return self._intent("settlement")

    @staticmethod
    def _intent(name: str) -> Intent:
        return Intent(name=name, to=TERMS.oracle, data=b"")


def sent(chain: FakeChain) -> list[str]:
    return [
        call.name if isinstance(call, Intent) else type(call).__name__ for _, call in chain.sent
    ]


async def disputed(stand: Stand, newest: CoSigned = PUTS) -> None:
    await stand.monitor.watch(evidence(newest, side=Party.A))
    await stand.mine(filing(newest))


async def test_a_call_is_made_once_and_reported(standing: Standing) -> None:
    async with standing() as stand:
        await disputed(stand)
        await stand.mine(SetSpot(feed=ETH, price=CALM))
        assert sent(stand.chain) == []
        await stand.mine(SetSpot(feed=ETH, price=CRASH))
        for _ in range(5):
            await stand.mine()
        assert sent(stand.chain) == ["CallMargin"]
        assert stand.chain.view_now(ID).cure_end_b > stand.chain.time
        done = [each.duty for each in stand.reports if isinstance(each, DutyDone)]
        assert done == [Duty.CALL_MARGIN]
        assert set(stand.codes) == {AlertCode.SPOT_MISSING}


async def test_another_price_makes_no_second_call_while_one_is_under_way(
    standing: Standing,
) -> None:
    assert scenarios(STRADDLES, CRASH) != scenarios(STRADDLES, SURGE)
    async with standing() as stand:
        await disputed(stand, STRADDLES)
        stand.chain.takes = False
        for price in (CRASH, SURGE, CALM, CRASH):
            await stand.mine(SetSpot(feed=ETH, price=price))
        assert sent(stand.chain) == ["CallMargin"]
        stand.chain.takes = True
        for _ in range(3):
            await stand.mine()
        assert stand.chain.view_now(ID).cure_end_b > stand.chain.time


async def test_a_call_that_failed_is_made_anew(standing: Standing) -> None:
    async with standing() as stand:
        await disputed(stand, STRADDLES)
        stand.chain.refuses = True
        await stand.mine(SetSpot(feed=ETH, price=CRASH))
        await stand.mine(SetSpot(feed=ETH, price=SURGE))
        calls = [call for _, call in stand.chain.sent]
        assert len(calls) > 1
        assert len({each.scenarios for each in calls if isinstance(each, CallMargin)}) == 2
        assert AlertCode.DUTY_DELAYED in stand.codes
        stand.chain.refuses = False
        for _ in range(3):
            await stand.mine()
        assert stand.chain.view_now(ID).cure_end_b > stand.chain.time


async def test_a_spot_that_cannot_be_read_keeps_no_answer_from_being_sent(
    standing: Standing,
) -> None:
    async with standing() as stand:
        call = CallMargin(terms=TERMS, risk=RISK, portfolio=PUTS.state.portfolio, party=Party.A)
        newer = co_signed(9, make_portfolio(1, put(5)))
        await stand.monitor.watch(evidence(newer, side=Party.A))
        stand.chain.takes = False
        stand.chain.failing["spot"] = 1_000
        await stand.mine(filing(PUTS))
        await stand.mine(call)
        assert sent(stand.chain) == ["Checkpoint"]
        assert {AlertCode.MARGIN_CALLED, AlertCode.DUTY_DELAYED} <= set(stand.codes)
        stand.chain.takes = True
        stand.chain.failing.clear()
        for _ in range(2):
            await stand.mine()
        assert stand.chain.view_now(ID).nonce == 9


async def test_a_spot_is_brought_only_when_somebody_is_short_at_it(
    standing: Standing,
) -> None:
    source = Source(price=CALM)
    async with standing(prices=source) as stand:
        await disputed(stand)
        await stand.mine(blocks=3)
        assert sent(stand.chain) == []
        source.price = CRASH
        await stand.mine()
        assert sent(stand.chain) == ["spot"]
        submitted = [each.duty for each in stand.reports if isinstance(each, DutySubmitted)]
        assert submitted == [Duty.SUBMIT_PRICE]
        await stand.mine(SetSpot(feed=ETH, price=CRASH))
        assert sent(stand.chain)[-1] == "CallMargin"
        assert AlertCode.SPOT_MISSING not in stand.codes


async def test_a_settlement_price_is_brought_once_and_then_settled(
    standing: Standing,
) -> None:
    async with standing(prices=Source()) as stand:
        await disputed(stand)
        await stand.mine(time=EXPIRY)
        for _ in range(3):
            await stand.mine()
        assert sent(stand.chain) == ["spot", "settlement"]
        await stand.mine(SetPrice(feed=ETH, time=EXPIRY, price=2_000))
        await stand.mine()
        assert sent(stand.chain)[-1] == "Settle"
        assert stand.chain.view_now(ID).phase is OnChainPhase.CLOSED


async def test_a_source_that_fails_holds_up_only_what_waits_for_it(
    standing: Standing,
) -> None:
    source = Source(broken=True)
    async with standing(prices=source) as stand:
        await disputed(stand)
        await stand.mine()
        assert AlertCode.DUTY_DELAYED in stand.codes
        assert AlertCode.BUG not in stand.codes
        newer = co_signed(9, make_portfolio(1, put(5)))
        await stand.monitor.watch(evidence(newer, side=Party.A))
        await stand.mine()
        assert sent(stand.chain) == ["Checkpoint"]
        source.broken = False
        await stand.mine()
        assert sent(stand.chain)[-1] == "spot"


async def test_a_price_that_could_not_be_brought_is_brought_again(standing: Standing) -> None:
    async with standing(prices=Source()) as stand:
        await disputed(stand)
        stand.chain.refuses = True
        await stand.mine(time=EXPIRY)
        for _ in range(2):
            await stand.mine()
        assert sent(stand.chain).count("settlement") > 1
        stand.chain.refuses = False
        before = len(sent(stand.chain))
        for _ in range(3):
            await stand.mine()
        assert len(sent(stand.chain)) <= before + 1


async def test_an_oracle_that_fails_has_no_spot(standing: Standing) -> None:
    async with standing() as stand:
        await disputed(stand)
        stand.chain.failing["oracle"] = 1
        await stand.mine(SetSpot(feed=ETH, price=CRASH))
        assert stand.codes == [AlertCode.SPOT_MISSING]
        assert sent(stand.chain) == []
