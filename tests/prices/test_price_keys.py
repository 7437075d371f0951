"""A price that takes two transactions gets both, each once, however often it is asked for."""

from __future__ import annotations

from typing import cast

import attrs

from channels.chain.jobs import Intent
from channels.chain.records import Stage
from channels.dispute.actions import SubmitPrice
from channels.dispute.ports import ChainPort
from channels.dispute.price_book import PriceBook
from channels.protocol.eip712 import Address
from channels.protocol.facts import Head

ORACLE, BEHIND = Address(b"\x0f" * 20), Address(b"\x0b" * 20)
HEAD = Head(
    number=1,
    hash=b"h" * 32,
    parent_hash=b"p" * 32,
    timestamp=7_300,
    final_number=1,
    final_timestamp=7_300,
)


@attrs.define
class Steps:
    """A source whose next step is what it is told."""

    step: Intent | None = None

    async def spot(self, oracle: Address, feed: bytes, time: int) -> None:
        return None

    async def settlement(self, oracle: Address, feed: bytes, time: int) -> Intent | None:
        assert (oracle, time) == (ORACLE, 7_200)
        return self.step


@attrs.frozen
class Job:
    stage: int


@attrs.define
class Jobs:
    """Jobs by key, each at a stage."""

    stages: dict[bytes, Stage] = attrs.field(factory=dict)

    def job(self, key: bytes) -> Job | None:
        return Job(self.stages[key]) if key in self.stages else None

    async def forget(self, key: bytes) -> None:
        del self.stages[key]


async def test_each_step_goes_out_once() -> None:
    source, jobs = Steps(), Jobs()
    book = PriceBook(cast(ChainPort, None), source)
    wanted = SubmitPrice(bucket=(b"F" * 32, 7_200))
    assert await book.delivery(ORACLE, wanted, HEAD, jobs) is None

    keys = []
    for to in (BEHIND, ORACLE):
        source.step = Intent(name="step", to=to, data=b"")
        found = await book.delivery(ORACLE, wanted, HEAD, jobs)
        assert found is not None
        key, intent = found
        assert intent == source.step
        for under_way in (Stage.INTENT, Stage.SIGNED, Stage.FINAL):
            jobs.stages[key] = under_way
            assert await book.delivery(ORACLE, wanted, HEAD, jobs) is None
        keys.append(key)
    assert len(set(keys)) == 2

    jobs.stages[keys[1]] = Stage.FAILED
    assert await book.delivery(ORACLE, wanted, HEAD, jobs) == (keys[1], source.step)
