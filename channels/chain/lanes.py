"""Which job holds which nonce of which account, as of one block: bookkeeping without I/O.

Every account of ours is a lane, mined in the order of its nonces. A nonce is held by one job at a
time: by whoever bids most for it, as nobody else's transaction would replace that. Its former
holder waits for another one; at most one of the two can be mined under it.

Source: design, watchtower.md "Engine" (Responder).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from channels.chain.records import Attempt, JobRecord, Variant
from channels.protocol.eip712 import Address

__all__ = ["Lanes", "Slot", "place"]

_NO_DEADLINE: Final = 1 << 64


def place(job: JobRecord) -> tuple[int, int, int]:
    """Where a job stands: the earliest deadline first, then the greatest stake, then the oldest."""
    if job.urgency is None:
        return _NO_DEADLINE, 0, job.sequence
    return job.urgency.deadline, -job.urgency.stake, job.sequence


@attrs.frozen(kw_only=True)
class Slot:
    """A nonce that is not used up, and the attempt that holds it."""

    account: Address
    job: JobRecord
    attempt: Attempt

    @property
    def last(self) -> Variant:
        """What was signed for it last."""
        return self.attempt.variants[-1]

    def is_stuck(self, base_fee: int) -> bool:
        """Whether it cannot be mined at this base fee."""
        return self.last.max_fee < base_fee


class Lanes:
    """Our accounts as of one block. ``nonces`` are those mined, ``balances`` in wei.

    ``accounts`` are those that can sign, the first for what it alone may send; ``nonces`` may tell
    of others that earlier runs had. ``depth`` bounds what waits to be mined of each.
    """

    def __init__(
        self,
        accounts: Sequence[Address],
        nonces: dict[Address, int],
        balances: dict[Address, int],
        jobs: Iterable[JobRecord],
        *,
        depth: int,
    ) -> None:
        self.nonces = nonces
        self._accounts = tuple(accounts)
        self._balances = balances
        self._depth = depth
        self._slots: dict[Address, dict[int, Slot]] = {}
        for job in jobs:
            for attempt in job.attempts:
                self.put(job, attempt)

    def account(self, attempt: Attempt) -> Address:
        """Whose nonce it is."""
        return Address(attempt.account) if attempt.account else self._accounts[0]

    def put(self, job: JobRecord, attempt: Attempt) -> None:
        """Take in an attempt: it holds its nonce if it bids most for it."""
        account = self.account(attempt)
        if not self.is_live(attempt) or not attempt.variants:
            return
        slots = self._slots.setdefault(account, {})
        held, offered = slots.get(attempt.nonce), Slot(account=account, job=job, attempt=attempt)
        if held is None or held.job.key == job.key or held.last.max_fee < offered.last.max_fee:
            slots[attempt.nonce] = offered

    def is_live(self, attempt: Attempt) -> bool:
        """Whether its nonce is not used up."""
        return attempt.nonce >= self.nonces[self.account(attempt)]

    def is_next(self, attempt: Attempt) -> bool:
        """Whether nothing of ours has to be mined before it."""
        return attempt.nonce == self.nonces[self.account(attempt)]

    def live(self, job: JobRecord) -> list[Attempt]:
        """Attempts of a job that may still be mined."""
        return [each for each in job.attempts if self.is_live(each)]

    def held(self, job: JobRecord) -> list[Attempt]:
        """Those of them whose nonce no other job has taken."""
        return [each for each in self.live(job) if self._holder(each) == job.key]

    def _holder(self, attempt: Attempt) -> bytes:
        return self._slots[self.account(attempt)][attempt.nonce].job.key

    @property
    def are_empty(self) -> bool:
        """Whether nothing of ours waits to be mined."""
        return not any(self._slots.values())

    def slots(self, account: Address) -> list[Slot]:
        """What waits to be mined of an account, in order."""
        held = self._slots.get(account, {})
        return [held[nonce] for nonce in sorted(held)]

    def next_nonce(self, account: Address) -> int:
        """The first nonce that nothing was signed for: there is never a gap below it."""
        held, nonce = self._slots.get(account, {}), self.nonces[account]
        while nonce in held:
            nonce += 1
        return nonce

    def is_cut_off(self, attempt: Attempt) -> bool:
        """Whether nobody has a transaction for the nonce below that of an account's first.

        What used it was another's and is gone, or an endpoint was wrong about it.
        """
        account = self.account(attempt)
        return not self.is_next(attempt) and attempt.nonce == min(self._slots[account])

    @property
    def room(self) -> int:
        """How many more can be sent now, from all accounts."""
        waiting = (len(self._slots.get(each, {})) for each in self._accounts)
        return sum(max(self._depth - each, 0) for each in waiting)

    def order(self, job: JobRecord) -> int:
        """By what the jobs of one account are seen to: the nonce each is mined under first."""
        return min((each.nonce for each in self.held(job)), default=_NO_DEADLINE)

    def _open_to(self, job: JobRecord) -> tuple[Address, ...]:
        return self._accounts if job.anyone else self._accounts[:1]

    def room_for(self, job: JobRecord, base_fee: int) -> Address | None:
        """The account to send a job from; None: each that may has as many waiting as it may have.

        One that is held up by what cannot be mined comes last, and the emptier before the fuller.
        """
        with_room = [
            each for each in self._open_to(job) if len(self._slots.get(each, {})) < self._depth
        ]

        def worth(account: Address) -> tuple[bool, int]:
            waiting = self.slots(account)
            return any(each.is_stuck(base_fee) for each in waiting), len(waiting)

        return min(with_room, key=worth, default=None)

    def stuck_for(self, job: JobRecord, base_fee: int) -> list[Slot]:
        """Nonces whose holders cannot be mined, for ``job`` to take; first ones first.

        A job that must not be mined twice keeps its nonce: under another it could be.
        """
        found = [
            slot
            for account in self._open_to(job)
            for slot in self.slots(account)
            if slot.job.key != job.key and slot.job.repeatable and slot.is_stuck(base_fee)
        ]
        return sorted(found, key=self._distance)

    def less_urgent_than(self, job: JobRecord) -> list[Slot]:
        """Nonces of jobs that can wait longer, for ``job`` to take; first ones first."""
        found = [
            slot
            for account in self._open_to(job)
            for slot in self.slots(account)
            if slot.job.repeatable and place(slot.job)[0] > place(job)[0]
        ]
        return sorted(found, key=self._distance)

    def _distance(self, slot: Slot) -> int:
        return slot.attempt.nonce - self.nonces[slot.account]

    def holding_up(self, base_fee: int) -> list[Slot]:
        """Stuck nonces with others behind them that could be mined."""
        found = []
        for account in self._accounts:
            waiting = self.slots(account)
            for position, slot in enumerate(waiting):
                behind = waiting[position + 1 :]
                if not slot.is_stuck(base_fee):
                    continue
                if any(not each.is_stuck(base_fee) for each in behind):
                    found.append(slot)
        return found

    def affordable(self, account: Address, *, besides: Attempt | None = None) -> int:
        """What an account has left, wei, if all that waits costs the most it may.

        ``besides``: an attempt that is about to be replaced.
        """
        taken = sum(
            slot.last.gas * slot.last.max_fee + (0 if slot.last.filler else slot.job.value)
            for slot in self._slots.get(account, {}).values()
            if besides is None or slot.attempt.nonce != besides.nonce
        )
        return self._balances.get(account, 0) - taken
