"""One channel at work: steps one event at a time, and performs what each step asks for.

The order is the safety: signatures are made, the channel and the journal are durably stored, and
only then does anything leave this process. **A message sent before its state is stored may lose
funds.** A step that fails anywhere before that leaves the channel as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

import trio

from channels.errors import InvalidValueError
from channels.protocol import codec, machine, records
from channels.protocol.calls import Call
from channels.protocol.channel import Channel
from channels.protocol.effects import Notice, Notify, Outcome, Persist, Send, Step, Submit
from channels.protocol.eip712 import Address
from channels.protocol.signing import Signable, Signature, Signer
from channels.protocol.terms import Opening
from channels.storage import AppendJournal, PutChannel, Store, Write

__all__ = ["Outbound", "Permit", "Runner"]

Permit = Callable[[Channel, machine.Event, Step], AbstractContextManager[None]]
"""Entered before a step's signatures are made and left once it is performed; may refuse."""

_FREE: Final = nullcontext()


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
        self._lock = trio.Lock()
        self._changed: trio.Event | None = None

    @property
    def channel_id(self) -> bytes:
        """The channel's identifier."""
        return self.channel.channel_id

    async def feed(self, event: machine.Event, *, reply: Outbound | None = None) -> Outcome:
        """Step the channel by one event, and perform the effects.

        Messages go to ``reply`` if given, else to whoever is connected.

        Raises:
            ChannelsError: as `machine.step`; or the desk, the key or the store refused. The channel
                is as it was before, and nothing was sent.
        """
        try:
            self._lock.acquire_nowait()  # mostly free: to wait for it is to let all others run
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            step = machine.step(self.channel, event, now=self._now())
            permit = _FREE if self._permit is None else self._permit(self.channel, event, step)
            with permit:
                signatures: list[Signature] = [await self._sign(each) for each in step.sign]
                outcome = step.finish(tuple(signatures))
                await self.perform(outcome, reply)
        finally:
            self._lock.release()
        return outcome

    async def _sign(self, signable: Signable) -> Signature:
        key = self._wallet if isinstance(signable.value, Opening) else self._signer
        return await key.sign(signable)

    async def perform(self, outcome: Outcome, reply: Outbound | None = None) -> None:
        """Store first; then send, submit and tell."""
        try:
            batch = self._batch(outcome)
            sent = [each.message for each in outcome.effects if isinstance(each, Send)]
            frames = [codec.encode(each) for each in sent]
        except Exception as error:
            raise InvalidValueError(f"a value that no message can hold: {error}") from error
        if batch:
            # Once signed, finish: a half-performed outcome would be a signature that we forgot.
            await self._store.commit(batch, shield=True)
        self.channel = outcome.channel
        if batch:
            self._stored(self)
        for effect in outcome.effects:
            if isinstance(effect, Submit):
                self._submit(effect.call, effect.key)
        if frames:
            (self.outbound if reply is None else reply).post(frames)
        for effect in outcome.effects:
            if isinstance(effect, Notify):
                self._notify(self, effect.notice)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _batch(self, outcome: Outcome) -> list[Write]:
        channel = outcome.channel
        deeds = [effect for effect in outcome.effects if isinstance(effect, Persist)]
        if not deeds:
            return []
        batch: list[Write] = [
            PutChannel(channel_id=channel.channel_id, record=records.encode_channel(channel))
        ]
        batch.extend(
            AppendJournal(
                channel_id=channel.channel_id,
                kind=int(effect.deed),
                body=records.encode_journal_entry(
                    effect.deed, effect.entries, channel, paid_in=effect.paid_in
                ),
            )
            for effect in deeds
        )
        return batch

    async def wait_until(self, condition: Callable[[Channel], bool]) -> Channel:
        """Wait until the channel meets a condition; put a deadline around it."""
        while not condition(self.channel):
            if self._changed is None:
                self._changed = trio.Event()
            await self._changed.wait()
        return self.channel
