"""The network in memory: a stream like any other, that can be cut and slowed down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, check_two_way_stream

from channels.errors import InvalidValueError, LinkClosedError, OurError, PeerError
from channels.transport.link import Link
from channels.transport.memory import MemoryNetwork, stream_pair

PLACE = "memory:bob"


async def echo(link: Link) -> None:
    """Send everything back."""
    while True:
        await link.send([await link.receive()])


@asynccontextmanager
async def echoing(network: MemoryNetwork) -> AsyncIterator[list[str]]:
    """Bob, who echoes, and why his links ended."""
    ends: list[str] = []
    async with network.serve(
        PLACE, echo, on_error=lambda _, error: ends.append(type(error).__name__)
    ) as place:
        assert place.address == PLACE
        yield ends


async def test_trio_takes_it_for_a_stream() -> None:
    async def maker() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        return stream_pair()

    await check_two_way_stream(maker, None)


async def test_many_talk_at_once() -> None:
    network = MemoryNetwork()

    async def talk(text: bytes) -> None:
        async with network.connect(PLACE) as link:
            for _ in range(10):
                await link.send([text])
                assert await link.receive() == text

    async with echoing(network) as ends:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(talk, b"%d" % number)
        await trio.testing.wait_all_tasks_blocked()
        assert ends == ["LinkClosedError"] * 20


async def test_what_is_sent_takes_its_time_and_keeps_its_order(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(delay=2)
    async with echoing(network), network.connect(PLACE) as link:
        began = trio.current_time()
        await link.send([b"slow"])
        network.delay = 0.5
        await link.send([b"fast"])
        assert await link.receive() == b"slow"
        assert await link.receive() == b"fast"
        assert trio.current_time() - began == 2 + 0.5, "the second waits for the first, both ways"


async def test_a_cut_breaks_what_there_is_and_keeps_out_what_comes() -> None:
    network = MemoryNetwork()
    async with echoing(network) as ends:
        async with network.connect(PLACE) as link:
            await link.send([b"lost"])
            network.cut()
            assert network.is_cut
            with pytest.raises(LinkClosedError):
                await link.receive()
        with pytest.raises(LinkClosedError, match="cut"):
            async with network.connect(PLACE):
                raise AssertionError("connected")
        network.mend()
        async with network.connect(PLACE) as link:
            await link.send([b"back"])
            assert await link.receive() == b"back"
        await trio.testing.wait_all_tasks_blocked()
        assert ends == ["LinkClosedError"] * 2


async def test_nobody_there() -> None:
    network = MemoryNetwork()
    with pytest.raises(LinkClosedError, match="nobody"):
        async with network.connect(PLACE):
            raise AssertionError("connected")
    async with echoing(network):
        with pytest.raises(OurError, match="somebody"):
            async with network.serve(PLACE, echo):
                raise AssertionError("listening")
    async with echoing(network), network.connect(PLACE) as link:
        await link.send([b"again"])
        assert await link.receive() == b"again"


async def test_an_error_of_ours_ends_the_listening() -> None:
    network = MemoryNetwork()

    async def broken(link: Link) -> None:
        raise ZeroDivisionError

    async def serve() -> None:
        async with network.serve(PLACE, broken):
            async with network.connect(PLACE) as link:
                with pytest.raises(PeerError):
                    await link.receive()
            await trio.sleep_forever()

    with pytest.RaisesGroup(ZeroDivisionError):
        await serve()


@pytest.mark.parametrize("delay", [-0.1, float("inf"), float("nan")])
def test_delays_that_are_none(delay: float) -> None:
    with pytest.raises(InvalidValueError):
        MemoryNetwork(delay=delay)


def test_an_address_has_a_name() -> None:
    with pytest.raises(InvalidValueError):
        MemoryNetwork().check("")
