"""What a peer does for each channel unasked: look at market, margin and chain, and act on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs

from channels.peer.breaker import Breaker
from channels.peer.credit import Credit
from channels.peer.credit_policy import BreakerPolicy, CreditPolicy
from channels.peer.desk import Desk
from channels.peer.marks import Disagreement
from channels.peer.notices import Listener
from channels.peer.rounds import Rounds
from channels.peer.runner import Runner
from channels.peer.settling import Settling
from channels.peer.setup import PeerSetup
from channels.peer.tasks import Tasks, Tell
from channels.protocol.calls import Call
from channels.protocol.changes import Marks
from channels.protocol.channel import Channel

__all__ = ["Duties"]


class Duties:
    """Credit and circuit breaker of all channels, and the rounds that show them each channel.

    A policy of None leaves that duty undone. ``own_marks``, ``quoting`` and ``submit`` are as in
    `Credit`. ``desk`` names limits where the breaker's policy has no source of its own.
    """

    def __init__(
        self,
        *,
        setup: PeerSetup,
        runners: Mapping[bytes, Runner],
        credit: CreditPolicy | None,
        breaker: BreakerPolicy | None,
        desk: Desk | None,
        settling: Settling | None,
        own_marks: Callable[[Channel], Awaitable[Marks | None]],
        quoting: Callable[[bytes], bool],
        submit: Callable[[bytes, Call, bytes], None],
        tasks: Tasks,
        tell: Tell,
    ) -> None:
        self._credit = (
            None
            if credit is None
            else Credit(
                policy=credit,
                tolerance=setup.policy,
                own_marks=own_marks,
                quoting=quoting,
                submit=submit,
                tasks=tasks,
                tell=tell,
            )
        )
        self._settling = settling
        if breaker is not None and breaker.limit is None and desk is not None:
            breaker = attrs.evolve(breaker, limit=desk.over_credit)
        guard = (
            None
            if breaker is None
            else Breaker(
                policy=breaker,
                chain=setup.chain,
                runners=runners,
                now=setup.now,
                disputed_marks=self._disputed,
            )
        )
        self.rounds = Rounds(
            runners=runners,
            own_marks=own_marks,
            credit=self._credit,
            breaker=guard,
            settling=self._settling,
            tasks=tasks,
            interval=(BreakerPolicy() if breaker is None else breaker).look_interval,
        )

    def disagreement(self, identity: bytes) -> Disagreement:
        """What of a channel's marks the two sides do not agree on, as we see it."""
        return Disagreement() if self._credit is None else self._credit.disagreement(identity)

    @property
    def listeners(self) -> list[Listener]:
        """Those of the duties that are done, in the order in which they are told."""
        told = (self._credit, self._settling, self.rounds)
        return [each for each in told if each is not None]

    def _disputed(self, identity: bytes) -> str:
        return "" if self._credit is None else self._credit.disputed(identity)
