"""When margin calls can be made, are decided, and lapse: what follows from the stored ends alone.

Source: design, adjudication.md "Margin call in full"; docs/decisions/0011-margin-calls-on-chain.md;
`contracts/src/libraries/MarginCalls.sol`.
"""

from __future__ import annotations

import attrs

from channels.protocol.facts import ChannelView
from channels.protocol.terms import Terms
from channels.protocol.types import Party

__all__ = ["MarginTimes"]


@attrs.frozen(kw_only=True)
class MarginTimes:
    """The margin calls of one channel. All times are of the chain, Unix seconds."""

    terms: Terms
    view: ChannelView

    def decided_from(self, party: Party) -> int:
        """When a call on ``party`` is decided, if it alone is called."""
        return max(self.view.cure_end(party), self.view.deadline)

    def lapses(self, party: Party) -> int:
        """When a call on ``party`` is void if nobody has closed out by then."""
        return self.decided_from(party) + self.terms.settlement_grace

    def is_undecided(self, party: Party, time: int) -> bool:
        """Whether ``party`` was called, and the call has not lapsed at ``time``."""
        return self.view.cure_end(party) != 0 and time < self.lapses(party)

    def close_out_from(self, party: Party) -> int:
        """First time at which a call on ``party`` can be decided.

        Half of the grace later where a call on the other goes first.
        """
        starts, other_end = self.decided_from(party), self.view.cure_end(party.other)
        goes_second = 0 < other_end < self.view.cure_end(party)
        if goes_second and starts < self.lapses(party.other):
            starts += self.terms.settlement_grace // 2
        return starts

    @property
    def together(self) -> bool:
        """Whether both were called, the later before the earlier's cure had ended."""
        first, last = sorted((self.view.cure_end_a, self.view.cure_end_b))
        return first != 0 and last - first <= self.terms.cure_window

    def in_the_way(self, party: Party, time: int) -> Party | None:
        """Whose undecided call keeps ``party`` from being called at ``time``; None: nobody's."""
        if self.is_undecided(party, time):
            return party
        if self.together and self.is_undecided(party.other, time):
            return party.other
        return None

    @property
    def oldest_marks(self) -> int:
        """Marks older than this make nobody short: they were stale when the dispute was filed."""
        return self.view.deadline - self.terms.dispute_window - self.terms.max_mark_age

    def horizon(self, time: int) -> int:
        """Latest expiry that settles at ``time``: not after the end of an undecided cure."""
        ends = (self.view.cure_end(each) for each in Party if self.is_undecided(each, time))
        return min((time, *ends))

    def next_lapse(self, time: int) -> int | None:
        """Earliest lapse of an undecided call, which holds later expiries back; None: no call."""
        lapses = (self.lapses(each) for each in Party if self.is_undecided(each, time))
        return min(lapses, default=None)
