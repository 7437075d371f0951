"""What was signed in one channel, by whom, and what of it can still bind.

Three questions decide every signature (design, protocol.md "Signing rules"):

- **F** (`Ledger.full`): the newest portfolio held fully signed and permanent, or final on chain.
- **Alive** (`Ledger.alive`): what this side signed above F and the chain could still accept; a
  Closing or Withdrawal also below F, until the chain itself has recorded something newer
  (docs/decisions/0003-closings-outlive-voids.md).
- **G** (`Ledger.governing`): the newest portfolio held fully signed that the chain, at the newest
  head, could still accept or has recorded; F's if there is none.

A box passes at the head for G and in a final block for Alive: both the cautious way.
"""

from __future__ import annotations

from typing import Final

import attrs

from channels.errors import BugError
from channels.protocol.calls import CoSigned
from channels.protocol.changes import Change
from channels.protocol.evolving import evolve
from channels.protocol.signing import Signature
from channels.protocol.types import Closing, Party, Portfolio, State, Withdrawal

__all__ = ["LEAP", "BoxClock", "Entry", "Full", "Ledger"]

LEAP: Final = 1 << 32
"""How far above F a recovery state lies at least."""


@attrs.frozen(kw_only=True)
class BoxClock:
    """What the chain says about boxes.

    Time of the newest head, time of the newest final block, and the nonces recorded at each.
    """

    head_time: int
    final_time: int
    recorded: int
    final_recorded: int


@attrs.frozen(kw_only=True)
class Full:
    """F: a state that needs nothing more.

    Signatures are None at nonce 0, and may be where the chain itself has recorded the state.
    """

    state: State
    mine: Signature | None = None
    theirs: Signature | None = None


@attrs.frozen(kw_only=True, slots=False)  # for `evolving.evolve`
class Entry:
    """A state, Closing or Withdrawal above F that at least one side signed.

    ``change`` is what a boxed state announced; ``quote`` the request it answers, so that all sides
    of one quote are known as alternatives; ``signed_at`` the head's time when we signed it.
    ``declined`` marks a proposal that was answered with a Reject.
    """

    value: State | Closing | Withdrawal
    mine: Signature | None = None
    theirs: Signature | None = None
    change: Change | None = None
    quote: bytes | None = None
    signed_at: int = 0
    declined: bool = False

    @property
    def nonce(self) -> int:
        """Its place in the order."""
        return self.value.nonce

    @property
    def portfolio(self) -> Portfolio | None:
        """What it would make of the channel; None for what pays out: a Closing or Withdrawal."""
        return self.value.portfolio if isinstance(self.value, State) else None

    @property
    def permanent(self) -> bool:
        """Whether the chain accepts it at any time."""
        return self.value.valid_until == 0

    @property
    def co_signed(self) -> bool:
        """Whether both signed."""
        return self.mine is not None and self.theirs is not None

    def expired(self, time: int) -> bool:
        """Whether its box has passed at ``time``."""
        until = self.value.valid_until
        return until != 0 and time > until


@attrs.frozen(kw_only=True, slots=False)  # for `evolving.evolve`
class Ledger:
    """Every signature above F, and the highest nonce this side ever signed."""

    side: Party
    full: Full
    entries: tuple[Entry, ...] = ()
    highest_mine: int = 0

    @property
    def nonce(self) -> int:
        """Nonce of F."""
        return self.full.state.nonce

    @property
    def portfolio(self) -> Portfolio:
        """Portfolio of F."""
        return self.full.state.portfolio

    @property
    def highest_seen(self) -> int:
        """Highest nonce either side is known to have signed."""
        return max([self.nonce, self.highest_mine, *[each.nonce for each in self.entries]])

    def entry(self, nonce: int) -> Entry | None:
        """The entry at ``nonce``, if any."""
        for each in self.entries:
            if each.value.nonce == nonce:
                return each
        return None

    def recovers(self, entry: Entry) -> bool:
        """Whether an entry is a recovery state: boxed, announcing no change, and far above F."""
        boxed = isinstance(entry.value, State) and not entry.permanent
        return boxed and entry.change is None and entry.nonce >= self.nonce + LEAP

    def recovery_states(self) -> tuple[Entry, ...]:
        """The recovery states that this side signed, dead ones included, lowest first."""
        return tuple(each for each in self.entries if each.mine is not None and self.recovers(each))

    def alive(self, clock: BoxClock) -> list[Entry]:
        """What this side signed and the chain could still accept, lowest first."""
        return [
            each
            for each in self.entries
            if each.mine is not None
            and each.value.nonce > clock.final_recorded
            and not each.expired(clock.final_time)
        ]

    def governing(self, clock: BoxClock) -> Portfolio:
        """Portfolio of G."""
        for each in reversed(self.entries):
            if not isinstance(each.value, State) or each.nonce < clock.recorded:
                continue
            if each.nonce == clock.recorded:
                return each.value.portfolio
            if each.co_signed and not each.expired(clock.head_time):
                return each.value.portfolio
        return self.portfolio

    def carries_another(self, clock: BoxClock, *, sides_of: bytes | None = None) -> bool:
        """Whether anything alive carries a portfolio other than F's, sides of a quote excepted."""
        return any(
            each.portfolio != self.portfolio
            for each in self.alive(clock)
            if sides_of is None or each.quote != sides_of
        )

    def with_entry(self, *entries: Entry) -> Ledger:
        """Add entries, or put a fuller copy in place of the one at its nonce."""
        by_nonce = {each.value.nonce: each for each in self.entries}
        highest, base = self.highest_mine, self.nonce
        for entry in entries:
            nonce = entry.value.nonce
            if nonce <= base and isinstance(entry.value, State):
                raise BugError(f"entry at nonce {nonce} below the permanent {base}")
            by_nonce[nonce] = entry
            if entry.mine is not None and nonce > highest:
                highest = nonce
        ordered = tuple([by_nonce[nonce] for nonce in sorted(by_nonce)])
        return evolve(self, entries=ordered, highest_mine=highest)

    def with_full(self, full: Full) -> Ledger:
        """Raise F, and forget the states it passes.

        A Closing or Withdrawal that this side signed stays: the chain compares its nonce with what
        is recorded, not with F, and would still pay out under it until its box has passed.
        """
        nonce = full.state.nonce
        if nonce <= self.nonce:
            raise BugError(f"F would go back from {self.nonce} to {nonce}")
        kept = [
            each
            for each in self.entries
            if each.value.nonce > nonce
            or (not isinstance(each.value, State) and each.mine is not None)
        ]
        return evolve(self, full=full, entries=tuple(kept))

    def without_dead_closings(self, clock: BoxClock) -> Ledger:
        """Forget Closings below F that the chain can no longer accept."""
        kept = (
            each
            for each in self.entries
            if each.nonce > self.nonce
            or (each.nonce > clock.final_recorded and not each.expired(clock.final_time))
        )
        return evolve(self, entries=tuple(kept))

    def newest_evidence(self, clock: BoxClock) -> CoSigned | None:
        """The newest state with both signatures that the chain would accept at its head."""
        for each in reversed(self.entries):
            if isinstance(each.value, State) and not each.expired(clock.head_time):
                evidence = self._co_signed(each.value, each.mine, each.theirs)
                if evidence is not None:
                    return evidence
        return self._co_signed(self.full.state, self.full.mine, self.full.theirs)

    def _co_signed(
        self, state: State, mine: Signature | None, theirs: Signature | None
    ) -> CoSigned | None:
        if mine is None or theirs is None:
            return None
        a, b = (mine, theirs) if self.side is Party.A else (theirs, mine)
        return CoSigned(state=state, signature_a=a, signature_b=b)
