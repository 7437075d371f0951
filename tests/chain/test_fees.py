"""What is bid, against figures worked out by hand and against a market that rises for 40 blocks."""

from __future__ import annotations

from fractions import Fraction

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.chain.fees import GWEI, Bid, FeePolicy, Market, Urgency
from channels.chain.market import FeeHistory, read_history, read_market
from channels.chain.rpc import Rpc
from channels.errors import EndpointError

SLOT = 12
DAY = 86_400
POLICY = FeePolicy(limit=100_000 * GWEI)
TIPS = (2 * GWEI, 3 * GWEI, 5 * GWEI)
WINDOW = Urgency(opened=0, deadline=DAY)
GOAL = 77_760  # nine tenths of a day

fees = st.integers(1, 10**15)
bids = st.builds(lambda a, b: Bid(max_fee=max(a, b), priority_fee=min(a, b)), fees, fees)
markets = st.builds(
    lambda base, tips: Market(base_fee=base, tips=tuple(sorted(tips))),
    fees,
    st.tuples(fees, fees, fees),
)
urgencies = st.none() | st.builds(
    lambda opened, span: Urgency(opened=opened, deadline=opened + span),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)


def market(base_fee: int) -> Market:
    return Market(base_fee=base_fee, tips=TIPS)


def test_the_goal_keeps_a_tenth_of_the_window_and_five_minutes_at_least() -> None:
    assert WINDOW.goal == GOAL
    assert Urgency(opened=1_000, deadline=1_000 + 2_400).goal == 1_000 + 2_100
    assert Urgency(opened=1_000, deadline=1_000 + 400).goal == 1_000 + 200
    assert Urgency(opened=1_000, deadline=1_000).elapsed(1_000) == 100


@pytest.mark.parametrize(
    ("passed", "tip"),
    [(0, 2), (24, 2), (25, 3), (49, 3), (50, 5), (74, 5), (75, 5), (100, 5)],
)
def test_the_tip_grows_with_the_time_that_has_passed(passed: int, tip: int) -> None:
    now = GOAL * passed // 100 + 1
    bid = POLICY.first(market(30 * GWEI), POLICY.limit, urgency=WINDOW, now=now)
    assert bid.priority_fee == tip * GWEI


def test_the_cap_outlasts_twenty_full_blocks() -> None:
    bid = POLICY.first(market(30 * GWEI), POLICY.limit, urgency=WINDOW, now=0)
    rise = Fraction(9, 8) ** 20
    assert round(float(rise), 2) == 10.55
    assert 0 <= bid.max_fee - bid.priority_fee - 30 * GWEI * rise < 1


def test_the_cap_outlasts_the_blocks_that_are_left() -> None:
    bid = POLICY.first(market(64 * GWEI), POLICY.limit, urgency=WINDOW, now=GOAL - 2 * SLOT)
    assert bid.max_fee == (81 + 5) * GWEI


def test_a_limit_leaves_room_for_the_replacements_to_come() -> None:
    limit = 50 * GWEI
    bid = POLICY.first(market(20 * GWEI), limit, urgency=WINDOW, now=0)
    for now in (GOAL // 4, GOAL // 2, GOAL * 3 // 4):
        raised = POLICY.raised(bid, market(20 * GWEI), limit, urgency=WINDOW, now=now)
        assert raised is not None
        assert raised.priority_fee > bid.priority_fee
        bid = raised
    assert bid.max_fee <= limit


def test_after_three_quarters_the_tip_grows_by_a_quarter_with_every_block() -> None:
    now = GOAL * 3 // 4
    before = Bid(max_fee=400 * GWEI, priority_fee=8 * GWEI)
    assert POLICY.is_low(before, market(GWEI), WINDOW, now)
    raised = POLICY.raised(before, market(GWEI), POLICY.limit, urgency=WINDOW, now=now)
    assert raised == Bid(max_fee=450 * GWEI, priority_fee=10 * GWEI)


def test_what_suffices_is_left_alone() -> None:
    bid = POLICY.first(market(30 * GWEI), POLICY.limit, urgency=WINDOW, now=0)
    assert not POLICY.is_low(bid, market(300 * GWEI), WINDOW, 10 * SLOT)
    assert POLICY.is_low(bid, market(320 * GWEI), WINDOW, 10 * SLOT)
    assert POLICY.is_low(bid, market(30 * GWEI), WINDOW, GOAL // 4)


@given(bids, markets, fees, urgencies, st.integers(0, 2 * 10**6))
def test_every_replacement_raises_both_fees_by_an_eighth_within_the_limit(
    before: Bid, now_market: Market, limit: int, urgency: Urgency | None, now: int
) -> None:
    policy = FeePolicy(limit=10**15, least_priority_fee=1)
    raised = policy.raised(before, now_market, limit, urgency=urgency, now=now)
    if raised is None:
        assert before.max_fee * 9 > limit * 8 or before.max_fee + 1 > limit
        return
    assert raised.max_fee * 8 >= before.max_fee * 9
    assert raised.priority_fee * 8 >= before.priority_fee * 9
    assert raised.priority_fee <= raised.max_fee <= limit


@given(markets, fees, urgencies, st.integers(0, 2 * 10**6))
def test_a_first_bid_is_within_its_limit_and_buys_the_next_block_if_it_can(
    now_market: Market, limit: int, urgency: Urgency | None, now: int
) -> None:
    policy = FeePolicy(limit=10**15, least_priority_fee=1)
    bid = policy.first(now_market, limit, urgency=urgency, now=now)
    assert bid.priority_fee <= bid.max_fee <= limit
    if limit >= now_market.base_fee * 9 // 8 + bid.priority_fee:
        assert bid.max_fee >= now_market.base_fee + bid.priority_fee


# ---------------------------------------------------------------- forty blocks of +12.5 %


@attrs.define
class Rise:
    """A transaction of 64,000 gas while the base fee rises as fast as EIP-1559 lets it.

    Blocks take it from the ``free``-th on, if it then pays. ``cost`` in wei; ``replacements`` and
    the block that holds it are counted.
    """

    limit: int
    free: int
    base_fee: int = 30 * GWEI
    gas: int = 64_000
    cost: int = 0
    replacements: int = 0
    mined: int | None = None
    alerts: int = 0

    def run(self, blocks: int, rise: Fraction = Fraction(9, 8)) -> None:
        base_fee, now = self.base_fee, 0
        bid = POLICY.first(market(base_fee), self.limit, urgency=WINDOW, now=now)
        for number in range(blocks):
            if number >= self.free and bid.max_fee >= base_fee + POLICY.least_priority_fee:
                self.cost = self.gas * min(bid.max_fee, base_fee + bid.priority_fee)
                self.mined = number
                return
            now += SLOT
            if number < 40:
                base_fee = int(base_fee * rise)
            else:
                base_fee = max(int(base_fee / rise), self.base_fee)
            if POLICY.is_low(bid, market(base_fee), WINDOW, now):
                raised = POLICY.raised(bid, market(base_fee), self.limit, urgency=WINDOW, now=now)
                if raised is None:
                    self.alerts += 1
                else:
                    bid = raised
                    self.replacements += 1


@pytest.mark.parametrize(("free", "replacements"), [(0, 0), (15, 0), (21, 1), (39, 1)])
def test_a_cap_set_high_at_once_needs_no_more_than_one_replacement(
    free: int, replacements: int
) -> None:
    rise = Rise(limit=POLICY.limit, free=free)
    rise.run(41)
    assert (rise.mined, rise.replacements, rise.alerts) == (free, replacements, 0)
    base_fee = 30 * GWEI * Fraction(9, 8) ** free
    assert abs(rise.cost - 64_000 * (base_fee + TIPS[0])) < 64_000 * GWEI


def test_a_budget_is_honoured_told_of_when_it_is_used_up_and_serves_when_fees_fall() -> None:
    budget = 10**16
    early = Rise(limit=budget // 64_000, free=12)
    early.run(120)
    # 156 Gwei buy the blocks up to the thirteenth: 30 x 1.125^14 = 156.1.
    assert (early.mined, early.alerts) == (12, 0)
    assert early.cost <= budget
    late = Rise(limit=budget // 64_000, free=20)
    late.run(120)
    # From then on nothing does, until as many falls after the fortieth rise.
    assert late.mined is not None
    assert 40 + 25 <= late.mined <= 40 + 28
    assert late.alerts >= late.mined - 20
    assert late.cost <= budget


# ---------------------------------------------------------------- what the endpoint tells


class Told:
    """An endpoint that answers with what it is made of."""

    def __init__(self, **answers: object) -> None:
        self._answers = answers

    async def make_request(self, method: str, params: object) -> dict[str, object]:
        if method in self._answers:
            return {"result": self._answers[method]}
        return {"error": {"code": -32_601, "message": "no such method"}}


def told(**history: object) -> Rpc:
    whole = {
        "baseFeePerGas": ["0xa", "0xb", "0xc", "0xd", "0xe"],
        "gasUsedRatio": [0.5, 0, 1, 0.1],
        "reward": [["0x1", "0x2", "0x3"], ["0x0"] * 3, ["0x5", "0x6", "0x7"], ["0x4"] * 3],
    }
    return Rpc(Told(eth_feeHistory={**whole, **history}, eth_maxPriorityFeePerGas="0x63"))  # type: ignore[arg-type]


async def test_the_market_is_the_median_of_the_blocks_that_were_not_empty() -> None:
    assert await read_market(told(), POLICY, 9) == Market(base_fee=14, tips=(4, 4, 4))
    history = FeeHistory(next_base_fee=7, tips=((1, 2, 3), (5, 6, 7), (9, 10, 11)))
    assert history.market == Market(base_fee=7, tips=(5, 6, 7))


async def test_without_a_history_the_suggestion_counts() -> None:
    empty = told(gasUsedRatio=[0, 0, 0, 0])
    assert await read_market(empty, POLICY, 9) == Market(base_fee=14, tips=(99, 99, 99))
    silent = Rpc(Told(eth_maxPriorityFeePerGas="0x63"))  # type: ignore[arg-type]
    assert await read_market(silent, POLICY, 80) == Market(base_fee=90, tips=(99, 99, 99))
    assert (await read_market(Rpc(Told()), POLICY, 80)).tips[0] == GWEI  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [{"baseFeePerGas": []}, {"gasUsedRatio": ["half"]}, {"reward": [["0x1"]] * 4}, {"reward": 7}],
)
async def test_a_history_that_is_none_is_the_endpoints_trouble(wrong: dict[str, object]) -> None:
    with pytest.raises(EndpointError):
        await read_history(told(**wrong))
