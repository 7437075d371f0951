"""What to bid for a place in a block: EIP-1559 fees, wei per gas.

A transaction with a deadline bids a high cap at once, as only the base fee of its block is paid of
it, and a tip that grows with the time that has passed. What it may cost stays a limit throughout.

Source: EIP-1559, https://eips.ethereum.org/EIPS/eip-1559; design, watchtower.md "Engine".
"""

from __future__ import annotations

from typing import Final

import attrs

from channels.errors import InvalidValueError

__all__ = ["TIP_PERCENTILES", "Bid", "FeePolicy", "Market", "Urgency"]

GWEI: Final = 10**9

TIP_PERCENTILES: Final = (50, 75, 90)
"""Of the tips lately paid, those that `Market.tips` tells."""

_BUMP_EIGHTHS: Final = 9
"""A replacement pays at least 9/8 of what it replaces: nodes ask for 10 %, some for 12.5 %."""

_MOST_BLOCKS: Final = 20
"""Blocks of the steepest rise that a cap outlasts."""

_RISES: Final = (25, 50)
"""Percent of the time after which the tip is that of the next percentile."""

_LATE: Final = 75
"""Percent of the time after which the tip grows by a quarter with every block."""

_LEAST_MARGIN: Final = 300


@attrs.frozen(kw_only=True)
class Bid:
    """Maximum and priority fee of a transaction, wei per gas."""

    max_fee: int
    priority_fee: int


@attrs.frozen(kw_only=True)
class Market:
    """Fees of the block to come, wei per gas. ``tips`` at `TIP_PERCENTILES`, lately."""

    base_fee: int
    tips: tuple[int, int, int]


@attrs.frozen(kw_only=True)
class Urgency:
    """By when a transaction must be mined: chain times, Unix seconds.

    A block of time ``deadline`` is too late; ``opened`` is when the time for it began to run.
    ``stake`` is what depends on it, base units of the channel's collateral.
    """

    opened: int
    deadline: int
    stake: int = 0

    @property
    def goal(self) -> int:
        """What is worked to: a tenth of the time before the deadline, and five minutes at least.

        Of times too short for that, half is kept.
        """
        span = max(self.deadline - self.opened, 0)
        return self.deadline - max(span // 10, min(_LEAST_MARGIN, span // 2))

    def elapsed(self, now: int) -> int:
        """How much of the time up to the goal has passed, percent, 0 to 100."""
        span, passed = self.goal - self.opened, now - self.opened
        return 100 if span <= 0 or passed >= span else max(passed, 0) * 100 // span

    def blocks_left(self, now: int, slot: int) -> int:
        """Blocks up to the goal, at ``slot`` seconds each."""
        return max(self.goal - now, 0) // slot


@attrs.frozen(kw_only=True)
class FeePolicy:
    """How much to bid, how much at most, and how soon more. Fees in wei per gas.

    Without a deadline ``base_fee_factor`` base fees plus the priority fee are bid: two outlast five
    full blocks; ``replace_after`` blocks unmined, the bid is raised by an eighth, or to what is
    usual by then. With one, the cap outlasts twenty full blocks, or as many as are left, and a
    replacement is made whenever the bid has become too low. ``slot``: seconds from block to block.
    """

    limit: int = 500 * GWEI
    least_priority_fee: int = GWEI // 100
    default_priority_fee: int = GWEI
    base_fee_factor: int = 2
    replace_after: int = 3
    slot: int = 12

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.least_priority_fee <= self.limit or self.base_fee_factor < 1:
            raise InvalidValueError("the fee policy leaves no bid possible")
        if self.replace_after < 1 or self.slot < 1:
            raise InvalidValueError("a replacement waits a block at least, and a slot a second")

    def market(self, base_fee: int, suggested: int | None) -> Market:
        """The market as seen where no history of fees is told: all tips are the suggested one."""
        tip = self.default_priority_fee if suggested is None else suggested
        return Market(base_fee=base_fee, tips=(tip, tip, tip))

    def first(
        self, market: Market, limit: int, *, urgency: Urgency | None = None, now: int = 0
    ) -> Bid:
        """What to bid on this market.

        A cap cut down by ``limit`` leaves room for later replacements, as long as it buys the next
        block.

        Args:
            market: of the next block.
            limit: most to bid per gas, wei.
            urgency: by when it must be mined; None: there is time.
            now: chain time of the newest block.
        """
        tip = min(self._tip(market, urgency, now), limit)
        if urgency is None:
            return Bid(
                max_fee=min(market.base_fee * self.base_fee_factor + tip, limit), priority_fee=tip
            )
        blocks = min(urgency.blocks_left(now, self.slot), _MOST_BLOCKS)
        cap = -(-market.base_fee * 9**blocks // 8**blocks) + tip
        raises = sum(urgency.elapsed(now) < each for each in (*_RISES, _LATE))
        roomy = max(limit * 8**raises // 9**raises, market.base_fee * 9 // 8 + tip)
        return Bid(max_fee=min(max(cap, market.base_fee + tip), roomy, limit), priority_fee=tip)

    def is_low(self, before: Bid, market: Market, urgency: Urgency, now: int) -> bool:
        """Whether a transaction with a deadline should bid more than it does."""
        if urgency.elapsed(now) >= _LATE:
            return True
        pays_in_full = before.max_fee >= market.base_fee + before.priority_fee
        return not pays_in_full or self._tip(market, urgency, now) >= _eighth_more(
            before.priority_fee
        )

    def raised(
        self,
        before: Bid,
        market: Market,
        limit: int,
        *,
        urgency: Urgency | None = None,
        now: int = 0,
    ) -> Bid | None:
        """A bid that replaces ``before``: both fees at least 12.5 % up. None: past the limit."""
        max_fee, priority = _eighth_more(before.max_fee), _eighth_more(before.priority_fee)
        if max(max_fee, priority) > limit:
            return None
        if urgency is not None and urgency.elapsed(now) >= _LATE:
            priority = max(priority, -(-before.priority_fee * 5 // 4))
        usual = self.first(market, limit, urgency=urgency, now=now)
        priority = min(max(priority, usual.priority_fee), limit)
        return Bid(max_fee=min(max(max_fee, usual.max_fee, priority), limit), priority_fee=priority)

    def buys(self, market: Market, limit: int) -> bool:
        """Whether a bid within ``limit`` can be mined in the next block."""
        return limit >= market.base_fee + self.least_priority_fee

    def _tip(self, market: Market, urgency: Urgency | None, now: int) -> int:
        passed = 0 if urgency is None else urgency.elapsed(now)
        return max(market.tips[sum(passed >= each for each in _RISES)], self.least_priority_fee)


def _eighth_more(fee: int) -> int:
    return max(-(-fee * _BUMP_EIGHTHS // 8), fee + 1)
