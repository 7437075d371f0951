"""What goes wrong, and when: a list of faults made from a seed before anything runs."""

from __future__ import annotations

from random import Random
from typing import Final

import attrs

from tests.soak.proxy import Fault

__all__ = ["Jump", "Kill", "Outage", "Plan", "Reorg", "Scheduled", "Surrender", "make_schedule"]

DESKS: Final = ("alice", "bob")
OUTAGES: Final = tuple(each for each in Fault if each is not Fault.PASS)


@attrs.frozen(kw_only=True)
class Plan:
    """How long, how much and how hard. Times in seconds of our own clock but for ``span``.

    ``span``: chain seconds that all jumps together cover. ``every_*``: mean pause between two.
    """

    seed: int
    channels: int
    duration: float
    span: int
    every_jump: float
    every_kill: float
    every_reorg: float
    every_outage: float
    every_surrender: float


@attrs.frozen(kw_only=True)
class Kill:
    """SIGKILL to one desk."""

    desk: str


@attrs.frozen(kw_only=True)
class Reorg:
    """The newest ``depth`` blocks are replaced; without ``keep`` their transactions are dropped."""

    depth: int
    keep: bool


@attrs.frozen(kw_only=True)
class Outage:
    """Endpoint ``number`` of a desk fails for some seconds."""

    desk: str
    number: int
    fault: Fault
    share: float
    behind: int
    seconds: float


@attrs.frozen(kw_only=True)
class Jump:
    """The chain's clock moves on by some seconds."""

    seconds: int


@attrs.frozen(kw_only=True)
class Surrender:
    """A desk gives one of its channels to the chain."""

    desk: str
    channel: int


Happening = Kill | Reorg | Outage | Jump | Surrender


@attrs.frozen(kw_only=True)
class Scheduled:
    """One thing at one time after the start of trading."""

    at: float
    what: Happening


def make_schedule(plan: Plan) -> tuple[Scheduled, ...]:
    """All of a plan's, in order of time: the same for the same plan."""
    rng = Random(plan.seed)
    jumps = int(plan.duration / plan.every_jump)
    found = [
        Scheduled(at=(number + 1) * plan.every_jump, what=Jump(seconds=plan.span // jumps))
        for number in range(jumps)
    ]
    for every, make in (
        (plan.every_kill, _kill),
        (plan.every_reorg, _reorg),
        (plan.every_outage, _outage),
        (plan.every_surrender, _surrender),
    ):
        at = rng.uniform(0.3, 1.0) * every
        while at < plan.duration:
            found.append(Scheduled(at=at, what=make(rng, plan)))
            at += rng.uniform(0.5, 1.5) * every
    return tuple(sorted(found, key=lambda each: each.at))


def _kill(rng: Random, plan: Plan) -> Kill:
    return Kill(desk=rng.choice(DESKS))


def _reorg(rng: Random, plan: Plan) -> Reorg:
    return Reorg(depth=rng.randint(1, 20), keep=rng.random() < 0.5)


def _outage(rng: Random, plan: Plan) -> Outage:
    return Outage(
        desk=rng.choice(DESKS),
        number=rng.randrange(2),
        fault=rng.choice(OUTAGES),
        share=rng.choice((0.3, 1.0)),
        behind=rng.randint(0, 5),
        seconds=rng.uniform(0.5, 4.0),
    )


def _surrender(rng: Random, plan: Plan) -> Surrender:
    return Surrender(desk=rng.choice(DESKS), channel=rng.randrange(plan.channels))
