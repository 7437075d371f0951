"""Making a change stand: propose, wait, propose again where another change went first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from channels.errors import IllegalCommandError, PeerTimeoutError, RejectedError
from channels.peer.proposing import collided, may_propose, proposed_nonce
from channels.peer.standing import Standing
from channels.peer.waiting import ChangeOutcome
from channels.protocol import events
from channels.protocol.changes import Change
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import (
    ChangeConfirmed,
    ChangeRejected,
    ProposalLapsed,
    RecordedOnChain,
)

__all__ = ["ANSWER_TIMEOUT", "Proposer"]

ANSWER_TIMEOUT: Final = 30.0
"""Seconds to wait for a peer's answer, beyond which its box will end the matter."""


class Proposer(Standing):
    """The part of a handle that proposes changes."""

    async def _propose(
        self, build: Callable[[Channel], events.Draft], timeout: float
    ) -> ChangeConfirmed:
        deadline = trio.current_time() + timeout
        with trio.move_on_at(deadline):
            while True:
                if self._runner.channel.phase is not Phase.IDLE:
                    await self._runner.wait_until(lambda each: each.phase is not Phase.RECEIVED)
                    await self._runner.wait_until(may_propose)
                draft = build(self.state)
                try:
                    outcome = await self._runner.feed(
                        events.ProposeChange(draft=draft, now=self._peer.now())
                    )
                except IllegalCommandError:
                    if may_propose(self.state):
                        raise
                    continue
                nonce = proposed_nonce(outcome.channel)
                with self._outcomes.change(nonce) as answer:
                    notice = await answer.wait()
                if not isinstance(notice, ProposalLapsed):
                    return self._confirmed(notice, nonce, draft.change, ours=True)
                if not (notice.overtaken or collided(self.state, nonce)):
                    raise PeerTimeoutError("the peer neither accepted nor rejected in the box")
        raise PeerTimeoutError(
            f"no answer within {timeout:g} s",
            next_step="what was proposed may still come to stand until its box passes: wait_idle",
        )

    def _confirmed(
        self, notice: ChangeOutcome, nonce: int, change: Change | None, *, ours: bool
    ) -> ChangeConfirmed:
        """What a change came to, if it stands.

        Raises:
            RejectedError: it does not.
        """
        match notice:
            case ChangeConfirmed():
                return notice
            case RecordedOnChain():
                return ChangeConfirmed(
                    nonce=nonce,
                    proposal=nonce,
                    change=change,
                    ours=ours,
                    portfolio=self.portfolio,
                )
            case ChangeRejected():
                raise RejectedError(f"{notice.reason.name} {notice.text}".strip())
            case ProposalLapsed():
                raise RejectedError("the proposal was withdrawn")
