"""Opening a channel: what we ask of a counterparty, and whether we grant what it asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from channels.errors import (
    ChannelsError,
    InvalidValueError,
    UnexpectedMessageError,
)
from channels.peer.callbacks import ask
from channels.peer.connections import reestablish
from channels.peer.runner import Runner
from channels.peer.session import Session
from channels.peer.setup import PeerSetup
from channels.peer.tasks import Tasks, Tell
from channels.protocol import messages as m
from channels.protocol.effects import Outcome
from channels.protocol.opening import ask_opening, grant_opening
from channels.protocol.terms import Opening, RiskParams, Terms, channel_id
from channels.protocol.types import Party

__all__ = ["Openings"]

OPENING_LIFETIME: Final = 3_600
"""Seconds for which both signatures on an Opening let it be mined."""
MAX_DECIDING: Final = 16
"""Openings that may wait for the owner's code."""


class Openings:
    """Channels that are not open yet. ``adopt`` stores a new one and lets its message leave."""

    def __init__(
        self,
        *,
        setup: PeerSetup,
        runners: Mapping[bytes, Runner],
        adopt: Callable[[Outcome], Awaitable[Runner]],
        tasks: Tasks,
        tell: Tell,
    ) -> None:
        self._setup = setup
        self._runners = runners
        self._adopt = adopt
        self._tasks = tasks
        self._tell = tell
        self._deciding: set[bytes] = set()

    async def ask(
        self,
        *,
        side: Party,
        terms: Terms,
        risk: Sequence[RiskParams],
        deposits: Mapping[Party, int],
    ) -> Runner:
        """Ask the counterparty of these terms for a channel; the channel, asked for.

        Raises:
            InvalidValueError: terms that the contract would refuse, or of a channel we have.
        """
        chain = self._setup.chain
        opening = Opening(
            terms=terms,
            deposit_a=deposits[Party.A],
            deposit_b=deposits[Party.B],
            valid_until=chain.head.timestamp + OPENING_LIFETIME,
        )
        step = ask_opening(
            domain=chain.domain,
            side=side,
            opening=opening,
            risk=tuple(risk),
            timing=self._setup.timing,
        )
        if channel_id(chain.domain, terms) in self._runners:
            raise InvalidValueError("a channel on these terms exists", next_step="change the salt")
        return await self._adopt(step.finish(()))

    def side_in(self, terms: Terms) -> Party:
        """Which side of the terms is ours.

        Raises:
            InvalidValueError: neither; or it pays another wallet than ours.
        """
        for side in Party:
            if terms.signer(side) == self._setup.signer.address:
                if terms.party(side) != self._setup.wallet.address:
                    raise InvalidValueError(
                        f"the terms pay 0x{terms.party(side).hex()}, not our wallet",
                        next_step="open_peer(wallet=...) with the key that owns the deposit",
                    )
                return side
        raise InvalidValueError("neither signer of the terms is ours")

    async def on_request(self, session: Session, request: m.OpenRequest) -> None:
        """Begin to decide on an opening, once; of one that we know, say again what stands."""
        identity = channel_id(self._setup.chain.domain, request.opening.terms)
        runner = self._runners.get(identity)
        if runner is not None:
            if runner.counterparty != session.signer:
                raise UnexpectedMessageError("a channel of another counterparty")
            await reestablish(runner, session)
        elif identity not in self._deciding:
            if len(self._deciding) >= MAX_DECIDING:
                text = "too many openings wait for a decision"
                session.post_message(
                    m.OpenReject(channel_id=identity, reason=m.Reason.BUSY, text=text)
                )
                return
            self._deciding.add(identity)
            self._tasks.start(identity, partial(self._decide, identity, session, request))

    async def _decide(self, identity: bytes, session: Session, request: m.OpenRequest) -> None:
        try:
            objection = await self._objection(session, request)
            if objection is None:
                step = grant_opening(
                    domain=self._setup.chain.domain, request=request, timing=self._setup.timing
                )
                signature = await self._setup.wallet.sign(step.sign[0])
                await self._adopt(step.finish((signature,)))
        except InvalidValueError as error:
            objection = m.Reason.INVALID, str(error.args[0])
        except ChannelsError as error:
            self._tell(identity, error)
            objection = m.Reason.BUSY, "we cannot decide for now"
        finally:
            self._deciding.discard(identity)
        if objection is not None:
            reason, text = objection
            session.post_message(m.OpenReject(channel_id=identity, reason=reason, text=text))

    async def _objection(
        self, session: Session, request: m.OpenRequest
    ) -> tuple[m.Reason, str] | None:
        terms = request.opening.terms
        side = self.side_in(terms)
        if side is request.requester or terms.signer(side.other) != session.signer:
            return m.Reason.INVALID, "the terms name other signers than ours and yours"
        head = self._setup.chain.head
        if request.opening.valid_until > head.timestamp + 2 * OPENING_LIFETIME:
            return m.Reason.INVALID, "an Opening that stays valid for too long"
        decide = self._setup.accept_opening
        if decide is None or not await ask(
            "accept_opening", lambda: decide(request), OPENING_LIFETIME
        ):
            return m.Reason.DECLINED, "we do not open on these terms"
        return None
