"""One channel at work: steps one event at a time, and performs what each step asks for.

The order is the safety: signatures are made, the channel and the journal are durably stored, and
only then does anything leave this process. **A message sent before its state is stored may lose
funds.** A step that fails anywhere before that leaves the channel as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import trio

from channels.errors import InvalidValueError
from channels.protocol import codec, machine, records
from channels.protocol.calls import Call
from channels.protocol.channel import Channel
from channels.protocol.effects import Notice, Notify, Outcome, Persist, Send, Step, Submit
from channels.protocol.eip712 import Address
from channels.protocol.messages import Message
from channels.protocol.signing import Signature, Signer
from channels.protocol.terms import Opening
from channels.storage import AppendJournal, PutChannel, Store, Write

__all__ = ["Outbound", "Permit", "Runner"]

Permit = Callable[[Channel, machine.Event, Step], AbstractContextManager[None]]
"""Entered before a step's signatures are made and left once it is performed; may refuse."""


class Outbound(Protocol):
    """Where frames to the counterparty go; never blocks, and may lead nowhere."""

    def post(self, frames: list[bytes]) -> None:
        """Queue these frames, in order, behind what is queued."""


class Runner:
    """Owns one channel's state. Everything that happens to the channel comes through `feed`."""

    def __init__(
        self,
        channel: Channel,
        *,
        outbound: Outbound,
        signer: Signer,
        wallet: Signer,
        store: Store,
        submit: Callable[[Call, bytes], None],
        notify: Callable[[Runner, Notice], None],
        stored: Callable[[Runner], None],
        now: Callable[[], int],
        permit: Permit | None = None,
    ) -> None:
        self.channel = channel
        self.channel_id: Final = channel.channel_id
        self.counterparty: Final[Address] = channel.terms.signer(channel.side.other)
        """The other side's signer."""
        self.outbound = outbound
        self._signer = signer
        self._wallet = wallet
        self._store = store
        self._submit = submit
        self._notify = notify
        self._stored = stored
        self._now = now
        self._permit = permit
        self.busy = False
        """Whether an event is being fed; the next has to wait for its turn."""
        self._turns: trio.lowlevel.ParkingLot | None = None
        self._changed: trio.Event | None = None

    async def feed(self, event: machine.Event, *, reply: Outbound | None = None) -> Outcome:
        """Step the channel by one event, and perform the effects.

        Messages go to ``reply`` if given, else to whoever is connected.

        Raises:
            ChannelsError: as `machine.step`; or the desk, the key or the store refused. The channel
                is as it was before, and nothing was sent.
        """
        if self.busy:
            if self._turns is None:
                self._turns = trio.lowlevel.ParkingLot()
            await self._turns.park()  # until whoever is at it hands over
        self.busy = True
        try:
            step = machine.step(self.channel, event, now=self._now())
            if self._permit is None:
                return await self._finish(step, reply)
            with self._permit(self.channel, event, step):
                return await self._finish(step, reply)
        finally:
            if self._turns:
                self._turns.unpark()  # who is woken has the turn: nobody comes between
            else:
                self.busy = False

    async def _finish(self, step: Step, reply: Outbound | None) -> Outcome:
        signatures: list[Signature] = []
        for each in step.sign:
            key = self._wallet if isinstance(each.value, Opening) else self._signer
            signatures.append(await key.sign(each))
        outcome = step.finish(tuple(signatures))
        await self.perform(outcome, reply)
        return outcome

    async def perform(self, outcome: Outcome, reply: Outbound | None = None) -> None:
        """Store first; then send, submit and tell."""
        deeds: list[Persist] = []
        messages: list[Message] = []
        calls: list[Submit] = []
        notices: list[Notice] = []
        for effect in outcome.effects:
            match effect:
                case Persist():
                    deeds.append(effect)
                case Send(message):
                    messages.append(message)
                case Submit():
                    calls.append(effect)
                case Notify(notice):
                    notices.append(notice)
        try:
            batch = self._batch(outcome.channel, deeds) if deeds else []
            frames = list(map(codec.encode, messages))
        except Exception as error:
            raise InvalidValueError(f"a value that no message can hold: {error}") from error
        if batch:
            # Once signed, finish: a half-performed outcome would be a signature that we forgot.
            await self._store.commit(batch, shield=True)
        self.channel = outcome.channel
        if batch:
            self._stored(self)
        for each in calls:
            self._submit(each.call, each.key)
        if frames:
            (self.outbound if reply is None else reply).post(frames)
        for told in notices:
            self._notify(self, told)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _batch(self, channel: Channel, deeds: Sequence[Persist]) -> list[Write]:
        record = records.encode_channel(channel)
        entries = [
            AppendJournal(
                channel_id=self.channel_id,
                kind=int(effect.deed),
                body=records.encode_journal_entry(
                    effect.deed, effect.entries, channel, paid_in=effect.paid_in
                ),
            )
            for effect in deeds
        ]
        return [PutChannel(channel_id=self.channel_id, record=record), *entries]

    async def wait_until(self, condition: Callable[[Channel], bool]) -> Channel:
        """Wait until the channel meets a condition; put a deadline around it."""
        while not condition(self.channel):
            if self._changed is None:
                self._changed = trio.Event()
            await self._changed.wait()
        return self.channel
