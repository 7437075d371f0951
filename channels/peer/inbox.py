"""What counterparties say: to whom in this process each message goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

import trio

from channels.errors import PeerError, UnexpectedMessageError
from channels.peer.openings import Openings
from channels.peer.runner import Runner
from channels.peer.session import Session
from channels.peer.tasks import NO_CHANNEL, Tell
from channels.protocol import messages as m
from channels.protocol.channel import OPEN_PHASES, Channel, Phase
from channels.protocol.effects import Outcome

__all__ = ["Inbox"]

MOST_TALK: Final = 64
TALK_TIME: Final = 60.0
"""Messages about marks and margin that one channel takes within so many seconds: nothing in them is
signed and nothing runs out, yet a margin call costs a durable write and a report asks our market.
"""

_OfNoChannel = m.Ping | m.Pong | m.Hello | m.Challenge | m.OpenRequest
_OF_NO_CHANNEL: Final = (m.Ping, m.Pong, m.Hello, m.Challenge, m.OpenRequest)
_TALK: Final = frozenset({m.MarginCall, m.MarkReport, m.DisputeNotice})
_UNJUDGED: Final = OPEN_PHASES | {Phase.RECOVERING}


class Inbox:
    """Hands each message to the opening or the channel it concerns."""

    def __init__(self, *, runners: Mapping[bytes, Runner], openings: Openings, tell: Tell) -> None:
        self._runners = runners
        self._openings = openings
        self._tell = tell
        self._talk: dict[bytes, deque[float]] = {}

    async def take(self, session: Session, message: m.Message) -> Outcome | None:
        """Have a message answered, or fed to its channel; then what came of it.

        Raises:
            PeerError: it is at fault, or of no channel of this counterparty's.
        """
        if isinstance(message, _OF_NO_CHANNEL):
            await self._answer(session, message)
            return None
        runner = self._runners.get(message.channel_id)
        if runner is None:
            self._turn_away(session, message, message.channel_id)
            return None
        if runner.counterparty != session.signer:
            raise UnexpectedMessageError("a channel of another counterparty")
        kind = type(message)
        if kind is m.OpenAccept and runner.channel.phase is not Phase.ASKED:
            return None
        if kind in _TALK:
            self._bound_talk(message.channel_id)
        if runner.channel.head is None:
            await runner.wait_until(_can_judge)
        reply = session if kind is m.Reestablish else None
        return await runner.feed(message, reply=reply)

    async def _answer(self, session: Session, message: _OfNoChannel) -> None:
        match message:
            case m.Ping():
                session.post_message(m.Pong(token=message.token))
            case m.OpenRequest():
                await self._openings.on_request(session, message)
            case m.Pong() | m.Hello() | m.Challenge():
                pass

    def _turn_away(self, session: Session, message: m.Message, identity: bytes) -> None:
        """Answer what is said of a channel that we do not have."""
        match message:
            case m.Error():
                error = PeerError(f"the peer complains: {message.reason.name} {message.text}")
                self._tell(NO_CHANNEL, error)
            case m.Reestablish() | m.RecoverRequest():
                # No fault of the peer's: we may have declined it, or lost our data.
                text = f"no channel 0x{identity.hex()}"
                session.post_message(
                    m.Error(channel_id=identity, reason=m.Reason.NOT_OPEN, text=text)
                )
            case _:
                raise UnexpectedMessageError(f"no channel 0x{identity.hex()}")

    def _bound_talk(self, channel_id: bytes) -> None:
        talk = self._talk.setdefault(channel_id, deque(maxlen=MOST_TALK))
        now = trio.current_time()
        if len(talk) == MOST_TALK and now < talk[0] + TALK_TIME:
            raise UnexpectedMessageError(
                f"over {MOST_TALK} messages about marks and margin in {TALK_TIME:g} s"
            )
        talk.append(now)


def _can_judge(channel: Channel) -> bool:
    """Whether what the peer says can be held against the chain: not before it was read."""
    return channel.head is not None or channel.phase not in _UNJUDGED
