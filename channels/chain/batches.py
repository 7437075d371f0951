"""Many checkpoints in one transaction: what a storm of disputes is answered with.

A batch is a job of its own whose members stay jobs: each ends by itself once the batch is final.
The contract skips what it would refuse, so one bad member keeps no other from being recorded.

Source: design, watchtower.md "Engine" (Responder); `checkpointMany` in `IAdjudicator.sol`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from channels.chain.abi import encode_arguments, encode_array
from channels.chain.bindings import FUNCTIONS, SELECTORS
from channels.chain.fees import Urgency
from channels.chain.lanes import place
from channels.chain.records import JobRecord
from channels.chain.rpc import Receipt

__all__ = ["LEAST_MEMBERS", "MOST_MEMBERS", "batches_of", "is_recorded_by", "may_join"]

LEAST_MEMBERS: Final = 4
"""Fewer waiting checkpoints go each for itself."""

MOST_MEMBERS: Final = 40
"""So that a batch fits a block with room to spare: some two million gas."""

_CHECKPOINT: Final = SELECTORS["checkpoint"]


def may_join(job: JobRecord) -> bool:
    """Whether a job is a checkpoint for which nothing was signed yet."""
    return not job.attempts and job.data[:4] == _CHECKPOINT and bool(job.channel)


def batches_of(jobs: Iterable[JobRecord], sequence: int) -> list[JobRecord]:
    """Put checkpoints together, the most urgent first; those with time to spare by themselves.

    ``sequence`` is the highest one given so far. Jobs that are left over go each for itself.
    """
    made: list[JobRecord] = []
    ordered = sorted(jobs, key=place)
    for hurried in (True, False):
        alike = [each for each in ordered if (each.urgency is not None) is hurried]
        if len(alike) < LEAST_MEMBERS:
            continue
        for start in range(0, len(alike), MOST_MEMBERS):
            members = alike[start : start + MOST_MEMBERS]
            if len(members) > 1:
                made.append(_batch(members, sequence + len(made) + 1))
    return made


def _batch(members: Sequence[JobRecord], sequence: int) -> JobRecord:
    first = members[0]
    limits = [each.fee_limit for each in members if each.fee_limit]
    name = FUNCTIONS["checkpoint_many"].partition("(")[0]
    tails = {0: encode_array(members, lambda each: each.data[4:])}
    return JobRecord(
        key=b"batch" + sequence.to_bytes(8, "big"),
        sequence=sequence,
        name=name,
        to=first.to,
        data=SELECTORS["checkpoint_many"] + encode_arguments((0,), tails),
        value=0,
        answer=None,
        repeatable=True,
        gas=0,
        fee_limit=min(limits, default=0),
        anyone=all(each.anyone for each in members),
        urgency=None if first.urgency is None else _urgency(members),
        batch=True,
        members=tuple(each.key for each in members),
    )


def _urgency(members: Sequence[JobRecord]) -> Urgency | None:
    """That of the most urgent, for all that is at stake."""
    most = members[0].urgency
    if most is None:
        return None
    stakes = (0 if each.urgency is None else each.urgency.stake for each in members)
    return attrs.evolve(most, stake=sum(stakes))


def is_recorded_by(receipt: Receipt, member: JobRecord) -> bool:
    """Whether a mined batch has recorded this member's state."""
    return any(log.topics[1:2] == (member.channel,) for log in receipt.logs)
