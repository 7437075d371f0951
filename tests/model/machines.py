"""The real machine's steps, each worked out once: channels, messages and states by number.

Two channels are the same if the store would hold the same bytes for both and both saw the same of
the chain; two messages, if they are the same bytes on the wire.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

import attrs

from channels.errors import BugError, OurError, PeerError
from channels.protocol import calls, signing
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.channel import Channel, Phase, new_channel
from channels.protocol.codec import decode, encode
from channels.protocol.effects import Effect, Outcome, Persist, Send, Step, Submit
from channels.protocol.machine import Event, step
from channels.protocol.records import decode_channel, encode_channel
from channels.protocol.types import Closing, Party, Portfolio, State
from tests.model.alphabet import TIMES, draft, opening_of
from tests.model.stand_ins import signed_by
from tests.protocol.build import DOMAIN, RISK

__all__ = ["Faulty", "Machines", "Numbered", "Result", "Signature"]

T = TypeVar("T")


class Numbered(Generic[T]):
    """Values by number, each once."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._values: list[T] = []

    def number(self, key: Hashable, value: T) -> int:
        """The number of the value that ``key`` stands for; ``value`` itself if it is new."""
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._values)
            self._values.append(value)
        return found

    def __getitem__(self, number: int) -> T:
        return self._values[number]


class Signature(NamedTuple):
    """What one side signed: the value by number, and F when it did."""

    side: Party
    value: int
    base: int
    base_nonce: int
    quote: bytes | None


class Faulty(Exception):  # noqa: N818 - a finding, not an error of the explorer
    """A step failed with what is neither the peer's fault nor a refusal."""


@attrs.frozen
class Result:
    """One step: the channel after it, what was signed, and the effects behind the Persist.

    ``refused`` names the error of a step that left the channel as it was. Of effects, a message
    counts by its number, a dispute by that of its evidence (-1: none), all other calls as such.
    """

    channel: int
    refused: str = ""
    stored: bool = False
    signed: tuple[Signature, ...] = ()
    effects: tuple[tuple[str, int], ...] = ()


class Machines:
    """Both sides' machines as one table of steps that fills as it is asked."""

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self.opening = opening_of(max_in_flight)
        self.channels: Numbered[Channel] = Numbered()
        self.messages: Numbered[m.Message] = Numbered()
        self.values: Numbered[State | Closing] = Numbered()
        self.portfolios: Numbered[Portfolio] = Numbered()
        self._steps: dict[tuple[int, Hashable], Result] = {}
        self._restarts: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._steps)

    # ---- numbers

    def channel(self, value: Channel) -> int:
        head = value.head
        seen = None if head is None else (head.number, head.timestamp, head.final_number)
        key = (encode_channel(value), seen, value.view, value.final_view)
        return self.channels.number(key, value)

    def message(self, value: m.Message) -> int:
        frame = encode(value)
        return self.messages.number(frame, decode(frame))

    def value(self, value: State | Closing) -> int:
        return self.values.number(value.struct_hash, value)

    def portfolio(self, value: Portfolio) -> int:
        return self.portfolios.number(value.struct_hash, value)

    # ---- steps

    def start(self, side: Party, seen: e.ChainSeen) -> int:
        """A channel that is open and of which nothing is signed yet."""
        fresh = new_channel(
            domain=DOMAIN,
            side=side,
            opening=self.opening,
            risk=RISK,
            timing=TIMES,
            phase=Phase.IDLE,
        )
        return self.step(self.channel(fresh), seen, ("seen", 0)).channel

    def step(self, channel: int, event: Event, key: Hashable) -> Result:
        """What ``event``, which ``key`` stands for, makes of ``channel``.

        Raises:
            Faulty: the machine failed in a way that no input may make it fail.
        """
        known = self._steps.get((channel, key))
        if known is None:
            known = self._steps[channel, key] = self._work_out(channel, event)
        return known

    def hear(self, channel: int, message: int) -> Result:
        """Step with a message."""
        return self.step(channel, self.messages[message], message)

    def change(self, channel: int, name: str) -> Result:
        """Step with a proposal of the named change of F."""
        before = self.channels[channel]
        command = e.ProposeChange(draft=draft(before.portfolio, name), now=_time(before))
        return self.step(channel, command, ("change", name))

    def quote(self, channel: int, names: tuple[str, ...]) -> Result:
        """Step with a quote of the named changes as its sides."""
        before = self.channels[channel]
        command = e.SendQuote(
            request_id=bytes([before.side]) * 16,
            sides=tuple(draft(before.portfolio, name) for name in names),
            expires_at=0,
            now=_time(before),
        )
        return self.step(channel, command, ("quote", names))

    def answer(self, channel: int, nonce: int, *, accept: bool) -> Result:
        """Step with the owner's decision."""
        command = e.Answer(nonce=nonce, accept=accept, now=_time(self.channels[channel]))
        return self.step(channel, command, ("answer", nonce, accept))

    def restart(self, store: int) -> int:
        """The channel as a new process finds it: what the store keeps, and not the chain."""
        if store not in self._restarts:
            stored = decode_channel(encode_channel(self.channels[store]))
            result = self.step(self.channel(stored), e.Resume(), "resume")
            self._restarts[store] = result.channel
        return self._restarts[store]

    def restored(self, copy: int) -> int:
        """The channel as a new process finds it in a copy of a store, its towers asked in vain."""
        result = self.step(self.restart(copy), e.RestoredFromBackup(), "restored")
        return self.step(result.channel, e.StatesFound(states=()), "found nothing").channel

    def undecided(self, channel: int) -> Iterator[int]:
        """Nonces that wait for the owner's decision."""
        here = self.channels[channel]
        if here.phase is Phase.RECEIVED:
            for each in here.ledger.entries:
                if each.theirs is not None and each.mine is None and not each.declined:
                    yield each.nonce

    def _work_out(self, channel: int, event: Event) -> Result:
        before = self.channels[channel]
        try:
            worked_out = step(before, event)
            outcome = worked_out.finish(_signatures(before.side, worked_out))
        except BugError as error:
            raise Faulty(f"{type(event).__name__}: {error}") from error
        except (OurError, PeerError) as error:
            return Result(channel, refused=type(error).__name__)
        except Exception as error:
            raise Faulty(f"{type(event).__name__}: {error!r}") from error
        return Result(
            channel=self.channel(outcome.channel),
            stored=any(isinstance(each, Persist) for each in outcome.effects),
            signed=tuple(self._signed(before, worked_out, outcome)),
            effects=tuple(
                self._effect(each) for each in outcome.effects if isinstance(each, Send | Submit)
            ),
        )

    def _signed(self, before: Channel, worked_out: Step, outcome: Outcome) -> Iterator[Signature]:
        for each in worked_out.sign:
            if isinstance(each.value, State | Closing):
                entry = outcome.channel.ledger.entry(each.value.nonce)
                yield Signature(
                    side=before.side,
                    value=self.value(each.value),
                    base=self.portfolio(before.portfolio),
                    base_nonce=before.ledger.nonce,
                    quote=None if entry is None else entry.quote,
                )

    def _evidence(self, state: object) -> int:
        if not isinstance(state, State):
            raise Faulty(f"evidence without the portfolio that the machine knows: {state}")
        return self.value(state)

    def _effect(self, effect: Effect) -> tuple[str, int]:
        match effect:
            case Send(message=message):
                return ("send", self.message(message))
            case Submit(call=calls.Dispute(newest=newest)):
                return ("dispute", -1 if newest is None else self._evidence(newest.state))
            case Submit(call=calls.Checkpoint(newest=newest)):
                return ("record", self._evidence(newest.state))
            case Submit(call=calls.Close(closing=closing)):
                return ("close", self.value(closing))
            case _:
                raise Faulty(f"an effect that no explored event asks for: {effect}")


def _time(channel: Channel) -> int:
    return 0 if channel.head is None else channel.head.timestamp


def _signatures(side: Party, worked_out: Step) -> tuple[signing.Signature, ...]:
    return tuple(
        signed_by(side, each.value)
        for each in worked_out.sign
        if isinstance(each.value, State | Closing)
    )
