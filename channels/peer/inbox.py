"""What counterparties say: to whom in this process each message goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Final

import trio

from channels.errors import PeerError, UnexpectedMessageError
from channels.peer.openings import Openings
from channels.peer.runner import Runner
from channels.peer.session import Session
from channels.peer.tasks import NO_CHANNEL, Tell
from channels.protocol import messages as m
from channels.protocol.channel import OPEN_PHASES, Channel, Phase

__all__ = ["Inbox"]

MOST_TALK: Final = 64
TALK_TIME: Final = 60.0
"""Messages about marks and margin that one channel takes within so many seconds: nothing in them is
signed and nothing runs out, yet a margin call costs a durable write and a report asks our market.
"""


class Inbox:
    """Hands each message to the opening or the channel it concerns."""

    def __init__(self, *, runners: Mapping[bytes, Runner], openings: Openings, tell: Tell) -> None:
        self._runners = runners
        self._openings = openings
        self._tell = tell
        self._talk: dict[bytes, deque[float]] = {}

    async def take(self, session: Session, message: m.Message) -> None:
        """Have a message answered, or fed to its channel.

        Raises:
            PeerError: it is at fault, or of no channel of this counterparty's.
        """
        match message:
            case m.Ping():
                session.post_message(m.Pong(token=message.token))
            case m.Pong() | m.Hello() | m.Challenge():
                pass
            case m.OpenRequest():
                await self._openings.on_request(session, message)
            case m.Error() if message.channel_id not in self._runners:
                error = PeerError(f"the peer complains: {message.reason.name} {message.text}")
                self._tell(NO_CHANNEL, error)
            case m.Reestablish() | m.RecoverRequest() if message.channel_id not in self._runners:
                # No fault of the peer's: we may have declined it, or lost our data.
                text = f"no channel 0x{message.channel_id.hex()}"
                error_of = partial(m.Error, channel_id=message.channel_id, text=text)
                session.post_message(error_of(reason=m.Reason.NOT_OPEN))
            case _:
                runner = self._runners.get(message.channel_id)
                if runner is None:
                    raise UnexpectedMessageError(f"no channel 0x{message.channel_id.hex()}")
                if runner.counterparty != session.signer:
                    raise UnexpectedMessageError("a channel of another counterparty")
                if isinstance(message, m.OpenAccept) and runner.channel.phase is not Phase.ASKED:
                    return
                if isinstance(message, m.MarginCall | m.MarkReport | m.DisputeNotice):
                    self._bound_talk(message.channel_id)
                await runner.wait_until(_can_judge)
                reply = session if isinstance(message, m.Reestablish) else None
                await runner.feed(message, reply=reply)

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
    return channel.head is not None or channel.phase not in OPEN_PHASES | {Phase.RECOVERING}
