"""What the contract stores of a channel, and the money that follows from it.

Amounts are base units of the collateral; ``net_to_b`` is what A has paid B net. Sources: design,
adjudication.md "Money" and "Margin call in full"; `ChannelSlot.sol` for the flags.
"""

from __future__ import annotations

from typing import Final

import attrs

from channels.protocol.facts import OnChainPhase
from channels.protocol.terms import Terms
from channels.protocol.types import EMPTY_PORTFOLIO, Party

__all__ = ["MAX_POT", "NOTHING", "ChannelRecord"]

MAX_POT: Final = 2**119 - 1
"""Most that a channel holds."""

_SETTLED: Final = 1
_RELEASED: Final = {Party.A: 2, Party.B: 4}


@attrs.frozen(kw_only=True)
class ChannelRecord:
    """A channel's storage. Members are those of the contract's ``ChannelView``.

    ``cure_ends`` are of A and of B, 0 where that party was never called. Contributions are deposits
    less payments: either may be negative, their sum never is.
    """

    phase: OnChainPhase = OnChainPhase.NONE
    nonce: int = 0
    filed_nonce: int = 0
    filer: Party | None = None
    deadline: int = 0
    cure_ends: tuple[int, int] = (0, 0)
    portfolio_hash: bytes = bytes(32)
    contributions: tuple[int, int] = (0, 0)
    settled: bool = False
    released: frozenset[Party] = frozenset()

    @property
    def flags(self) -> int:
        """The flags as the contract packs them."""
        return _SETTLED * self.settled + sum(_RELEASED[party] for party in self.released)

    @property
    def expected_hash(self) -> bytes:
        """Hash of the portfolio recorded: at nonce 0 the empty one's."""
        return self.portfolio_hash if self.nonce else EMPTY_PORTFOLIO.struct_hash

    @property
    def pot(self) -> int:
        """All that the channel holds."""
        return sum(self.contributions)

    def phase_at(self, now: int) -> OnChainPhase:
        """The phase that counts: from its deadline on a disputed channel is in run-off."""
        if self.phase is OnChainPhase.DISPUTED and now >= self.deadline:
            return OnChainPhase.RUN_OFF
        return self.phase

    # ---- money

    def equity(self, party: Party, net_to_b: int) -> int:
        """Cash before any clamp, which is what counts in a margin decision."""
        return self.contributions[party] - party.sign * net_to_b

    def cash(self, net_to_b: int) -> tuple[int, int]:
        """What A and B are paid under ``net_to_b``: within the pot, and all of it."""
        cash_a = max(0, min(self.equity(Party.A, net_to_b), self.pot))
        return cash_a, self.pot - cash_a

    def stale_penalty(self, terms: Terms) -> int:
        """What the filer owes for an old filing, before it is limited by its cash (rule 4)."""
        stale = self.filer is not None and self.nonce - self.filed_nonce > terms.max_in_flight
        return terms.stale_penalty if stale else 0

    def after_stale_penalty(self, cash: tuple[int, int], terms: Terms) -> tuple[int, int]:
        """What A and B are paid of their ``cash`` once the filer has paid what it owes."""
        if self.filer is None:
            return cash
        return moved(cash, self.filer, self.stale_penalty(terms))

    def with_money(self, amount_a: int, amount_b: int) -> ChannelRecord:
        """The record with these amounts put in; negative ones are paid out."""
        of_a, of_b = self.contributions
        return attrs.evolve(self, contributions=(of_a + amount_a, of_b + amount_b))

    @property
    def fits(self) -> bool:
        """Whether the contract can hold these contributions."""
        return self.pot <= MAX_POT and all(
            -(2**127) <= each < 2**127 for each in self.contributions
        )

    # ---- margin calls

    def decided_from(self, party: Party) -> int:
        """When a call on ``party`` can be decided, if it alone is called."""
        return max(self.cure_ends[party], self.deadline)

    def is_undecided(self, party: Party, terms: Terms, now: int) -> bool:
        """Whether ``party`` was called, and the call has not lapsed."""
        return self.cure_ends[party] != 0 and now < self.lapses(party, terms)

    def lapses(self, party: Party, terms: Terms) -> int:
        """When a call on ``party`` lapses."""
        return self.decided_from(party) + terms.settlement_grace

    def close_out_from(self, party: Party, terms: Terms) -> int:
        """When a call on ``party`` can be decided: later if one on the other goes first."""
        starts, other_end = self.decided_from(party), self.cure_ends[party.other]
        goes_second = 0 < other_end < self.cure_ends[party]
        if goes_second and starts < self.lapses(party.other, terms):
            starts += terms.settlement_grace // 2
        return starts

    def called_together(self, terms: Terms) -> bool:
        """Whether both were called, the later before the earlier's cure had ended."""
        first, last = sorted(self.cure_ends)
        return first != 0 and last - first <= terms.cure_window

    def horizon(self, terms: Terms, now: int) -> int:
        """Latest expiry that settles at ``now``: not after the end of an undecided cure."""
        undecided = (self.cure_ends[each] for each in Party if self.is_undecided(each, terms, now))
        return min((now, *undecided))


NOTHING: Final = ChannelRecord()
"""What is stored of a channel never opened."""


def moved(cash: tuple[int, int], payer: Party, amount: int) -> tuple[int, int]:
    """Cash of A and B once ``payer`` has paid the other ``amount``, as far as it can."""
    paid = min(amount, cash[payer])
    return cash[Party.A] - payer.sign * paid, cash[Party.B] + payer.sign * paid
