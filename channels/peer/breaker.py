"""The circuit breaker: from what is seen of market, chain and counterparty to a channel's halts.

`decide` is pure and says which causes stand now; `Breaker` sets those and lifts the ones it set
before, each for itself. Causes that only the owner lifts it leaves alone. A halt never keeps a
defence, a void, an affirmation or new marks from being signed: the machine sees to that.

Source: design, protocol.md "Margin in every state".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import attrs

from channels.peer.chain_watch import Chain
from channels.peer.credit_policy import BreakerPolicy
from channels.peer.runner import Runner
from channels.protocol.changes import Marks
from channels.protocol.channel import Channel, Phase
from channels.protocol.codec import MAX_TEXT
from channels.protocol.events import SetMode
from channels.protocol.halts import BY_HAND, Cause, Halt, Mode
from channels.protocol.types import feed_name
from channels.units import WAD, from_wad

__all__ = ["Breaker", "Seen", "decide", "jumped"]

STRICTNESS: Final[Mapping[Cause, Mode]] = {
    Cause.NO_CONFIRM: Mode.REDUCE_ONLY,
    Cause.PRICE: Mode.HALTED,
    Cause.JUMP: Mode.HALTED,
    Cause.LIMIT: Mode.REDUCE_ONLY,
    Cause.CHAIN: Mode.HALTED,
    Cause.ENDPOINT: Mode.HALTED,
    Cause.DISPUTE: Mode.REDUCE_ONLY,
    Cause.MARKS: Mode.REDUCE_ONLY,
}
"""What each cause leaves. Halted where we cannot tell what a trade is worth, or whether it stands;
else the counterparty may still take risk off."""


@attrs.frozen(kw_only=True)
class Seen:
    """All that the breaker looks at besides the channel. Times in Unix seconds.

    ``head_time`` is the newest block's; ``trouble`` what is wrong with the endpoint, empty if
    nothing is. ``marked_at`` is our own marks' time, None if none were asked for; ``no_price`` why
    there are none. ``jump`` names a spot that jumped less than the policy's ``calm`` ago.
    """

    now: int
    head_time: int
    trouble: str = ""
    marked_at: int | None = None
    no_price: str = ""
    jump: str = ""
    limit: str = ""
    marks_disputed: str = ""
    disputed_elsewhere: str = ""


def decide(policy: BreakerPolicy, channel: Channel, seen: Seen) -> tuple[Halt, ...]:
    """The halts that rules put on ``channel``, in the order of their causes."""
    return tuple(
        Halt(cause=cause, mode=STRICTNESS[cause], reason=reason[:MAX_TEXT])
        for cause, reason in _causes(policy, channel, seen)
        if reason
    )


def _causes(policy: BreakerPolicy, channel: Channel, seen: Seen) -> Iterator[tuple[Cause, str]]:
    unconfirmed = channel.halt(Cause.NO_CONFIRM)
    if unconfirmed is not None and channel.phase is not Phase.IDLE:
        yield Cause.NO_CONFIRM, unconfirmed.reason
    age = 0 if seen.marked_at is None else seen.now - seen.marked_at
    old = f"our own marks are {age} s old" if age > policy.price_age else ""
    yield Cause.PRICE, seen.no_price or old
    yield Cause.JUMP, seen.jump
    yield Cause.LIMIT, seen.limit
    lag = seen.now - seen.head_time
    late = lag > policy.head_slots * channel.timing.slot
    yield Cause.CHAIN, f"our newest head is {lag} s old" if late else ""
    yield Cause.ENDPOINT, seen.trouble
    own = "this channel is in dispute" if channel.phase is Phase.DISPUTED else ""
    yield Cause.DISPUTE, own or seen.disputed_elsewhere
    yield Cause.MARKS, seen.marks_disputed


def jumped(policy: BreakerPolicy, before: Mapping[bytes, int], now: Mapping[bytes, int]) -> str:
    """Which spot moved beyond the band between two looks, in words; empty if none."""
    for feed, spot in now.items():
        last = before.get(feed, spot)
        if abs(spot - last) * WAD > policy.jump * last:
            return f"{feed_name(feed)} jumped from {from_wad(last)} to {from_wad(spot)}"
    return ""


@attrs.define
class _Market:
    """What one channel's earlier looks saw of the market."""

    spots: dict[bytes, int] = attrs.Factory(dict)
    jump: str = ""
    jumped_at: int = 0


class Breaker:
    """Looks at every channel; ``disputed_marks`` says which are in dispute in a channel."""

    def __init__(
        self,
        *,
        policy: BreakerPolicy,
        chain: Chain,
        runners: Mapping[bytes, Runner],
        now: Callable[[], int],
        disputed_marks: Callable[[bytes], str],
    ) -> None:
        self.policy = policy
        self._chain = chain
        self._runners = runners
        self._now = now
        self._disputed_marks = disputed_marks
        self._markets: dict[bytes, _Market] = {}

    async def look(self, runner: Runner, marks: Marks | None, no_price: str) -> None:
        """Set the halts that stand now and lift those that stood; ``marks`` are our own.

        Raises:
            StorageError: not stored; the channel's halts are as they were.
        """
        stands = decide(self.policy, runner.channel, self._seen(runner, marks, no_price))
        by_cause = {each.cause: each for each in stands}
        for halt in runner.channel.halts:
            if halt.cause not in by_cause and halt.cause not in BY_HAND:
                await runner.feed(SetMode(mode=Mode.NORMAL, reason="over", cause=halt.cause))
        for cause, halt in by_cause.items():
            if runner.channel.halt(cause) is None:
                await runner.feed(SetMode(mode=halt.mode, reason=halt.reason, cause=cause))

    def _seen(self, runner: Runner, marks: Marks | None, no_price: str) -> Seen:
        channel, now = runner.channel, self._now()
        trouble = self._chain.trouble
        limit = None if self.policy.limit is None else self.policy.limit(channel)
        return Seen(
            now=now,
            head_time=self._chain.head.timestamp,
            trouble="" if trouble is None else str(trouble.args[0]),
            marked_at=None if marks is None else marks.marked_at,
            no_price=no_price,
            jump=self._jump(runner.channel_id, marks, now),
            limit=limit or "",
            marks_disputed=self._disputed_marks(runner.channel_id),
            disputed_elsewhere=self._disputed_elsewhere(runner),
        )

    def _jump(self, identity: bytes, marks: Marks | None, now: int) -> str:
        market = self._markets.setdefault(identity, _Market())
        if marks is not None:
            jump = jumped(self.policy, market.spots, marks.spots)
            market.spots = dict(marks.spots)
            if jump:
                market.jump, market.jumped_at = jump, now
        if market.jump and now - market.jumped_at >= self.policy.calm:
            market.jump = ""
        return market.jump

    def _disputed_elsewhere(self, runner: Runner) -> str:
        for identity, other in self._runners.items():
            if other.channel.phase is not Phase.DISPUTED or other is runner:
                continue
            if other.counterparty == runner.counterparty:
                return f"channel 0x{identity.hex()[:8]} with this counterparty is in dispute"
        return ""
