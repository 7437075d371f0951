"""Whom a desk opens with that nobody sits at: how much of ours, against how much of theirs."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from channels.protocol.eip712 import Address
from channels.protocol.terms import Opening
from channels.protocol.types import Party
from channels.units import WAD

__all__ = ["Admission", "Locked"]


@attrs.frozen(kw_only=True)
class Locked:
    """What of ours a channel holds, base units, and with which signer."""

    counterparty: Address
    ours: int


class Admission:
    """Bounds what strangers can have us lock by asking.

    Args:
        most: of ours with one counterparty, in all its channels together, base units.
        ratio: its deposit to ours, at least, WAD. A channel in which it has little at stake is one
            that it can afford to lose.
    """

    def __init__(self, *, most: int, ratio: int) -> None:
        self._most = most
        self._ratio = ratio
        self._granted: dict[bytes, tuple[Locked, int]] = {}

    def admits(
        self,
        opening: Opening,
        identity: bytes,
        side: Party,
        *,
        held: Mapping[bytes, Locked],
        now: int,
    ) -> bool:
        """Whether we, party ``side``, open the channel of this id; what we admit is remembered.

        ``held`` are the channels there are, by id. One that was admitted counts from then on, there
        or not, until it can no longer be opened.
        """
        ours, theirs = opening.deposit_a, opening.deposit_b
        if side is Party.B:
            ours, theirs = theirs, ours
        if theirs * WAD < ours * self._ratio:
            return False
        counterparty = opening.terms.signer(side.other)
        self._granted = {
            each: (locked, until)
            for each, (locked, until) in self._granted.items()
            if until >= now and each not in held
        }
        standing = {**{each: locked for each, (locked, _) in self._granted.items()}, **held}
        standing.pop(identity, None)
        already = sum(each.ours for each in standing.values() if each.counterparty == counterparty)
        if already + ours > self._most:
            return False
        locked = Locked(counterparty=counterparty, ours=ours)
        self._granted[identity] = (locked, opening.valid_until)
        return True
