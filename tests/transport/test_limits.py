"""Throttling by back-pressure, and in the end by dropping."""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing

from channels.errors import FloodError, InvalidValueError, LinkClosedError, PeerError
from channels.transport import Link, LinkLimits, RateLimit
from channels.transport.limits import Throttle
from channels.transport.memory import memory_links

Clock = trio.testing.MockClock  # every test takes the clock that jumps


def limits(**rate: float) -> LinkLimits:
    return LinkLimits(send=1e9, rate=RateLimit(**rate))


async def received_for(link: Link, seconds: float) -> int:
    count = 0
    with trio.move_on_after(seconds):
        while True:
            await link.receive()
            count += 1
    return count


async def flood(link: Link, frame: bytes) -> None:
    with contextlib.suppress(LinkClosedError):
        while True:
            await link.send([frame])


@pytest.mark.parametrize(
    ("size", "per_second"), [(1, 100), (1_000, 50)], ids=["by frames", "by bytes"]
)
async def test_a_flood_is_slowed_to_the_rate(
    autojump_clock: Clock, size: int, per_second: int
) -> None:
    rate = limits(frames=100, bytes=50_000, burst=2, patience=1e6)
    alice, bob = memory_links(limits=rate, unbuffered=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood, alice, bytes(size))
        assert await received_for(bob, 20) == pytest.approx(22 * per_second, rel=0.01)
        await bob.aclose()


async def test_back_pressure_reaches_the_sender(autojump_clock: Clock) -> None:
    """Nothing is read that nobody may have: the sender waits, and nothing piles up here."""
    alice, bob = memory_links(limits=limits(frames=10, patience=1e6), unbuffered=True)
    sent = 0

    async def send() -> None:
        nonlocal sent
        with contextlib.suppress(LinkClosedError):
            while True:
                await alice.send([b"x"])
                sent += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        received = await received_for(bob, 30)
        assert received <= sent <= received + 2
        await bob.aclose()


async def test_who_keeps_flooding_is_dropped(autojump_clock: Clock) -> None:
    alice, bob = memory_links(limits=limits(frames=10, burst=1, patience=30), unbuffered=True)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood, alice, b"x")
        with pytest.raises(FloodError, match="10 frames") as caught:
            await received_for(bob, 1_000)
    assert trio.current_time() - start == pytest.approx(30, abs=1)
    assert isinstance(caught.value, PeerError)
    assert bob.death is caught.value


async def test_bursts_of_an_honest_peer_are_borne_for_ever(autojump_clock: Clock) -> None:
    alice, bob = memory_links(limits=limits(frames=10, burst=2, patience=5))
    async with trio.open_nursery() as nursery:

        async def burst() -> None:
            for _ in range(50):
                await alice.send([b"x"] * 35)
                await trio.sleep(6)
            await alice.aclose()

        nursery.start_soon(burst)
        with pytest.raises(LinkClosedError, match="peer closed"):
            await received_for(bob, 1_000)


async def test_a_throttled_receive_can_be_cancelled_without_loss(autojump_clock: Clock) -> None:
    alice, bob = memory_links(limits=limits(frames=1, burst=1, patience=1e6))
    await alice.send([bytes([n]) for n in range(10)])
    got: list[bytes] = []
    while len(got) < 10:
        with trio.move_on_after(0.4):
            got.append(await bob.receive())
    assert got == [bytes([n]) for n in range(10)]


def test_a_throttle_by_hand() -> None:
    throttle = Throttle(RateLimit(frames=10, bytes=1_000, burst=1, patience=5), now=100.0)
    assert [throttle.spend(1, now=100.0) for _ in range(10)] == [0.0] * 10
    assert throttle.spend(1, now=100.0) == pytest.approx(0.1)
    assert throttle.spend(1, now=100.1) == pytest.approx(0.1)
    assert throttle.spend(1, now=101.2) == 0.0
    assert throttle.spend(3_000, now=102.2) == pytest.approx(2.0)  # below full by the last one


@pytest.mark.parametrize("wrong", [0, -1, float("nan")])
def test_limits_are_above_zero(wrong: float) -> None:
    for field in ("frames", "bytes", "burst", "patience"):
        with pytest.raises(InvalidValueError):
            RateLimit(**{field: wrong})
    for field in ("handshake", "idle", "send", "close"):
        with pytest.raises(InvalidValueError):
            LinkLimits(**{field: wrong})  # type: ignore[arg-type]  # the times, by name
