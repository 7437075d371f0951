"""What to bid for a place in a block: EIP-1559 fees, wei per gas.

Source: EIP-1559, https://eips.ethereum.org/EIPS/eip-1559
"""

from __future__ import annotations

from typing import Final

import attrs

from channels.errors import InvalidValueError

__all__ = ["Bid", "FeePolicy"]

GWEI: Final = 10**9

_BUMP_EIGHTHS: Final = 9
"""A replacement pays at least 9/8 of what it replaces: nodes ask for 10 %, some for 12.5 %."""


@attrs.frozen(kw_only=True)
class Bid:
    """Maximum and priority fee of a transaction, wei per gas."""

    max_fee: int
    priority_fee: int


@attrs.frozen(kw_only=True)
class FeePolicy:
    """How much to bid, how much at most, and how soon more. Fees in wei per gas.

    ``base_fee_factor`` base fees plus the priority fee are bid: two outlast five full blocks.
    ``replace_after`` blocks unmined, the bid is raised by an eighth, or to what is usual by then.
    """

    limit: int = 500 * GWEI
    least_priority_fee: int = GWEI // 100
    default_priority_fee: int = GWEI
    base_fee_factor: int = 2
    replace_after: int = 3

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.least_priority_fee <= self.limit or self.base_fee_factor < 1:
            raise InvalidValueError("the fee policy leaves no bid possible")
        if self.replace_after < 1:
            raise InvalidValueError("a replacement waits a block at least")

    def first(self, base_fee: int, suggested: int | None, limit: int) -> Bid:
        """What to bid at this base fee, given the endpoint's suggestion for the priority fee."""
        suggestion = self.default_priority_fee if suggested is None else suggested
        priority = min(max(suggestion, self.least_priority_fee), limit)
        return Bid(
            max_fee=min(base_fee * self.base_fee_factor + priority, limit), priority_fee=priority
        )

    def raised(self, before: Bid, base_fee: int, suggested: int | None, limit: int) -> Bid | None:
        """A bid that replaces ``before``: both fees at least 12.5 % up. None: past the limit."""
        usual = self.first(base_fee, suggested, limit)
        max_fee = max(_eighth_more(before.max_fee), usual.max_fee)
        priority = max(_eighth_more(before.priority_fee), usual.priority_fee)
        if max(max_fee, priority) > limit:
            return None
        return Bid(max_fee=max(max_fee, priority), priority_fee=priority)


def _eighth_more(fee: int) -> int:
    return max(-(-fee * _BUMP_EIGHTHS // 8), fee + 1)
