"""The signing rules, held against a journal: what this side signed, and whether it ever might.

A journal tells what was signed, in which order and at which head, but not what the chain showed
then. So a signature counts as a breach only if no chain would have allowed it: one that had
recorded nothing, or any state that both had signed by then, as final. Rule 5 needs the deposits,
which no journal holds, and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from channels.errors import SigningRefusedError
from channels.protocol.channel import OPEN_PHASES, Phase
from channels.protocol.effects import Deed
from channels.protocol.ledger import BoxClock, Entry, Full, Ledger
from channels.protocol.rules import Candidate, Circumstances, check
from channels.protocol.types import Portfolio, State

__all__ = ["SigningReplay"]

_AFTER_ALL_BOXES = 1 << 64


class SigningReplay:
    """One channel's ledger, built again from its journal."""

    def __init__(self, empty: Ledger, max_in_flight: int) -> None:
        """Begin with nothing signed."""
        self._ledger = empty
        self._max_in_flight = max_in_flight
        self._last_time = 0

    @property
    def full(self) -> Full:
        """F."""
        return self._ledger.full

    def take(
        self, deed: Deed, entries: Iterable[Entry], before: Phase, *, signed_now: frozenset[int]
    ) -> Iterator[str]:
        """Follow what one step signed; why each signature of ours among it was not allowed.

        Args:
            deed: what the step was.
            entries: all that it signed.
            before: the phase it began in.
            signed_now: nonces that this side signed in it, and not before.
        """
        affirmed: Portfolio | None = None
        for each in entries:
            if each.nonce in signed_now:
                candidate = Candidate(
                    value=each.value,
                    affirms=affirmed,
                    quote=each.quote,
                    recovers=deed is Deed.RECOVERING,
                )
                objection = self._objection(candidate, each.signed_at, before)
                if objection is not None:
                    yield objection
            if isinstance(each.value, State) and not each.permanent and each.co_signed:
                affirmed = each.portfolio
            if each.nonce > self._ledger.nonce or not isinstance(each.value, State):
                self._ledger = self._ledger.with_entry(each)
            self._last_time = max(self._last_time, each.signed_at)

    def make_full(self, entry: Entry) -> None:
        """F becomes ``entry``."""
        if isinstance(entry.value, State) and entry.nonce > self._ledger.nonce:
            full = Full(state=entry.value, mine=entry.mine, theirs=entry.theirs)
            self._ledger = self._ledger.with_full(full)

    def _objection(self, candidate: Candidate, signed_at: int, before: Phase) -> str | None:
        objections = []
        for clock in self._possible_clocks(signed_at):
            around = Circumstances(
                ledger=self._ledger,
                clock=clock,
                max_in_flight=self._max_in_flight,
                disputed=not candidate.recovers and before not in OPEN_PHASES,
                recovering=candidate.recovers,
                within_limits=lambda _: True,
            )
            try:
                check(candidate, around)
            except SigningRefusedError as refused:
                objections.append(str(refused.args[0]))
            else:
                return None
        return f"signed at nonce {candidate.value.nonce}: {objections[0]}"

    def _possible_clocks(self, signed_at: int) -> Iterator[BoxClock]:
        """What the chain may have shown, the likeliest first.

        The head's time is known of what this side began; a countersignature bears none.
        """
        recorded = [
            self._ledger.nonce,
            *(each.nonce for each in self._ledger.entries if each.co_signed),
        ]
        times = (signed_at,) if signed_at else (self._last_time, _AFTER_ALL_BOXES)
        for nonce in recorded:
            for time in times:
                yield BoxClock(
                    head_time=time, final_time=time, recorded=nonce, final_recorded=nonce
                )
