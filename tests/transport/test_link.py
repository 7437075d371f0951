"""A link over memory streams, on a clock that jumps: orders, limits, and every way to die."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest
import trio
import trio.testing

from channels.errors import (
    ChannelsError,
    FrameError,
    FrameTooLargeError,
    FrameTruncatedError,
    InvalidValueError,
    LinkClosedError,
    PeerTimeoutError,
)
from channels.transport import Link, LinkLimits, encode_frames
from channels.transport.memory import memory_links

Clock = trio.testing.MockClock  # every test takes the clock that jumps

MemoryPair = tuple[
    Link, "trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]"
]


def link_and_stream(limits: LinkLimits | None = None) -> MemoryPair:
    """A link, and the bare stream at its other end."""
    ours, theirs = trio.testing.memory_stream_pair()
    return Link(ours, limits=limits, remote="mallory"), theirs


async def expect_dead(link: Link, *, fault: str | None = None) -> LinkClosedError:
    """A dead link says why, to everybody and for ever."""
    for use in (lambda: link.send([b"x"]), link.receive):
        with pytest.raises(LinkClosedError) as caught:
            await use()
    assert link.death is not None
    if fault is not None:
        assert caught.value.fault == fault
    assert caught.value.args[0] == link.death.args[0]
    return caught.value


class SlowStream(trio.abc.Stream):
    """A stream that takes a second a send, and notes what it is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = trio.Event()
        self.pause = 1.0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with trio.move_on_after(self.pause):
            await self.closed.wait()
            raise trio.ClosedResourceError
        self.sent.append(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self.closed.wait()
        raise trio.ClosedResourceError

    async def aclose(self) -> None:
        self.closed.set()
        await trio.lowlevel.checkpoint()


# Frames


async def test_frames_both_ways_in_order(autojump_clock: Clock) -> None:
    alice, bob = memory_links()
    frames = [bytes([n]) * (n + 1) for n in range(100)]
    await alice.send(frames[:50])
    await alice.send(frames[50:])
    await bob.send([b"back"])
    await alice.send([])
    assert [await bob.receive() for _ in frames] == frames
    assert await alice.receive() == b"back"


async def test_a_burst_is_one_send(autojump_clock: Clock) -> None:
    stream = SlowStream()
    await Link(stream).send([b"a", b"b", b"c"])
    assert stream.sent == [encode_frames([b"a", b"b", b"c"])]


async def test_bursts_that_queue_go_out_together_and_unmixed(autojump_clock: Clock) -> None:
    stream = SlowStream()
    link = Link(stream)

    async def send(task: int, after: float) -> None:
        await trio.sleep(after)
        await link.send([bytes([task])] * 3)
        done.append(task)

    done: list[int] = []
    async with trio.open_nursery() as nursery:
        for task, after in enumerate([0, 0.1, 0.2, 0.3, 1.5, 1.6]):
            nursery.start_soon(send, task, after)
    assert stream.sent == [
        encode_frames([bytes([0])] * 3),
        encode_frames([bytes([task]) for task in (1, 2, 3) for _ in range(3)]),
        encode_frames([bytes([task]) for task in (4, 5) for _ in range(3)]),
    ]
    assert done[0] == 0
    assert set(done[1:4]) == {1, 2, 3}


async def test_joined_bursts_stay_bounded(autojump_clock: Clock) -> None:
    stream = SlowStream()
    link = Link(stream)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(link.send, [bytes(60_000)])
    assert sum(map(len, stream.sent)) == 20 * 60_004
    assert max(map(len, stream.sent)) <= 1 << 18


async def test_a_bad_frame_of_ours_is_not_sent_and_costs_nothing(autojump_clock: Clock) -> None:
    alice, bob = memory_links()
    with pytest.raises(InvalidValueError):
        await alice.send([b"good", b""])
    await alice.send([b"next"])
    assert await bob.receive() == b"next"


async def test_one_receiver_at_a_time(autojump_clock: Clock) -> None:
    alice, bob = memory_links()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bob.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await bob.receive()
        await alice.send([b"x"])


async def test_buffered_frames_do_not_starve_others(autojump_clock: Clock) -> None:
    alice, bob = memory_links()
    await alice.send([b"x"] * 1_000)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(1_000):
            await bob.receive()
        nursery.cancel_scope.cancel()
    assert turns >= 1_000 // 32


# What a peer may send


@pytest.mark.parametrize(
    ("rubbish", "error"),
    [
        (b"\0\0\0\0", FrameError),
        (b"\0\1\0\1", FrameTooLargeError),
        (b"GET / HTTP/1.1\r\n\r\n", FrameTooLargeError),
        (b"\0\0", FrameTruncatedError),
        (b"\0\0\0\5abc", FrameTruncatedError),
    ],
)
@pytest.mark.parametrize("dribble", [False, True])
async def test_rubbish_kills_after_the_frames_before_it(
    autojump_clock: Clock, rubbish: bytes, error: type[FrameError], dribble: bool
) -> None:
    link, peer = link_and_stream()
    data = encode_frames([b"one", b"two"]) + rubbish
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            with contextlib.suppress(trio.BrokenResourceError):  # may hang up before our end
                for chunk in [bytes([byte]) for byte in data] if dribble else [data]:
                    await peer.send_all(chunk)
                    await trio.lowlevel.checkpoint()
            await peer.send_stream.aclose()

        nursery.start_soon(send)
        assert await link.receive() == b"one"
        assert await link.receive() == b"two"
        with pytest.raises(error) as caught:
            await link.receive()
    assert type(caught.value) is error
    assert await peer.receive_some() == b""  # we hung up
    dead = await expect_dead(link, fault="the peer's")
    assert dead.__cause__ is caught.value


async def test_a_clean_end_is_no_broken_frame(autojump_clock: Clock) -> None:
    alice, bob = memory_links()
    await alice.send([b"last"])
    await alice.aclose()
    assert await bob.receive() == b"last"
    with pytest.raises(LinkClosedError, match="peer closed"):
        await bob.receive()
    await expect_dead(bob, fault="the peer's")
    await expect_dead(alice, fault="ours")


async def test_sending_to_one_who_left(autojump_clock: Clock) -> None:
    alice, bob = memory_links()
    await bob.aclose()
    with pytest.raises(LinkClosedError, match="broke"):
        await alice.send([b"x"])
    await expect_dead(alice)


async def test_idle_is_timed_by_whole_frames(autojump_clock: Clock) -> None:
    link, peer = link_and_stream(LinkLimits(idle=10))
    data = encode_frames([b"slow but in time", b"too slow"])

    async def dribble() -> None:
        for number, byte in enumerate(data):
            await trio.sleep(0.45 if number < 20 else 0.9)  # 20 bytes in 9 s; 12 in 10.8
            await peer.send_all(bytes([byte]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dribble)
        nursery.start_soon(expect_silence, link)
        start = trio.current_time()
        assert await link.receive() == b"slow but in time"
        before = trio.current_time()
        with pytest.raises(LinkClosedError, match="10 s"):
            await link.receive()
        assert isinstance(link.death, PeerTimeoutError)
        assert trio.current_time() - before == pytest.approx(10.0)
        assert before - start == pytest.approx(20 * 0.45)
        nursery.cancel_scope.cancel()
    await expect_dead(link)


async def expect_silence(link: Link) -> None:
    with pytest.raises(PeerTimeoutError, match=f"mallory in {link.limits.idle:g} s"):
        await link.watch()


async def test_the_time_between_receives_is_ours_and_not_the_peers(autojump_clock: Clock) -> None:
    alice, bob = memory_links(limits=LinkLimits(idle=5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bob.watch)
        await alice.send([b"a", b"b"])
        assert await bob.receive() == b"a"
        await trio.sleep(100)
        assert await bob.receive() == b"b"
        await alice.send([b"c"])
        await trio.sleep(100)
        assert await bob.receive() == b"c"
        nursery.cancel_scope.cancel()


# Stalled peers


async def test_a_peer_that_does_not_read_is_given_up(autojump_clock: Clock) -> None:
    alice, _ = memory_links(unbuffered=True, limits=LinkLimits(send=7))
    errors: list[ChannelsError] = []

    async def use(action: Callable[[], object]) -> None:
        try:
            await action()  # type: ignore[misc]  # both are async
        except ChannelsError as error:
            errors.append(error)

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, alice.receive)
        for _ in range(3):
            nursery.start_soon(use, lambda: alice.send([b"x"]))
    assert trio.current_time() - start == pytest.approx(7)
    kinds = [type(error) for error in errors]
    assert sorted(kinds, key=str) == sorted([PeerTimeoutError] + [LinkClosedError] * 3, key=str)
    assert {error.args[0] for error in errors} == {"memory:2 has not read for 7 s"}
    await expect_dead(alice, fault="the peer's")


async def test_a_slow_reader_is_not_a_stalled_one(autojump_clock: Clock) -> None:
    stream = SlowStream()
    stream.pause = 6.9
    link = Link(stream, limits=LinkLimits(send=7))
    for _ in range(5):
        await link.send([b"x"])
    assert len(stream.sent) == 5


# Cancellation


async def test_a_send_cancelled_midway_kills_the_link_for_all(autojump_clock: Clock) -> None:
    stream = SlowStream()
    link = Link(stream)
    outcomes: list[str] = []

    async def queued() -> None:
        await trio.sleep(0.1)
        with pytest.raises(LinkClosedError, match="cancelled midway"):
            await link.send([b"queued"])
        outcomes.append("queued")

    async def receiving() -> None:
        with pytest.raises(LinkClosedError, match="cancelled midway"):
            await link.receive()
        outcomes.append("receiving")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiving)
        nursery.start_soon(queued)
        with trio.move_on_after(0.5) as scope:
            await link.send([b"midway"])
        assert scope.cancelled_caught
    assert sorted(outcomes) == ["queued", "receiving"]
    assert stream.sent == []
    assert stream.closed.is_set()
    await expect_dead(link, fault="ours")


async def test_a_send_cancelled_before_it_began_sends_nothing_and_kills_nothing(
    autojump_clock: Clock,
) -> None:
    stream = SlowStream()
    link = Link(stream)
    with trio.CancelScope() as scope:
        scope.cancel()
        await link.send([b"never"])
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.send, [b"first"])
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.5) as scope:
            await link.send([b"queued"])
        assert scope.cancelled_caught
    assert stream.sent == [encode_frames([b"first"])]
    assert link.death is None


async def test_a_burst_cancelled_in_anothers_send_kills(autojump_clock: Clock) -> None:
    """It may have left in part: the link must not go on as if it had not."""
    stream = SlowStream()
    link = Link(stream)
    errors: list[str] = []

    async def leads() -> None:
        try:
            await link.send([b"leads"])
        except LinkClosedError as error:
            errors.append(str(error.args[0]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.send, [b"first"])
        await trio.sleep(0.1)
        nursery.start_soon(leads)
        await trio.sleep(0.1)
        with trio.move_on_after(1.3) as scope:
            await link.send([b"joined to it"])
        assert scope.cancelled_caught
    assert errors == ["a send was cancelled midway"]
    assert stream.sent == [encode_frames([b"first"])]
    assert stream.closed.is_set()
    await expect_dead(link, fault="ours")


async def test_the_next_writer_cancelled_before_it_runs_leaves_the_turn_to_others(
    autojump_clock: Clock,
) -> None:
    stream = SlowStream()
    link = Link(stream)
    scopes = [trio.CancelScope() for _ in range(2)]

    async def first() -> None:
        await link.send([b"first"])
        scopes[0].cancel()  # the second is awake already, and has not run yet

    async def send(frame: bytes, scope: trio.CancelScope) -> None:
        with scope:
            await link.send([frame])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await trio.sleep(0.1)
        nursery.start_soon(send, b"second", scopes[0])
        await trio.sleep(0.1)
        nursery.start_soon(send, b"third", scopes[1])
    assert [scope.cancelled_caught for scope in scopes] == [True, False]
    assert stream.sent == [encode_frames([b"first"]), encode_frames([b"third"])]
    await link.send([b"fourth"])
    assert link.death is None


async def test_cancelling_receive_loses_nothing(autojump_clock: Clock) -> None:
    link, peer = link_and_stream()
    data = encode_frames([bytes([n]) * 5 for n in range(40)])
    got: list[bytes] = []
    async with trio.open_nursery() as nursery:

        async def dribble() -> None:
            for byte in data:
                await trio.sleep(0.1)
                await peer.send_all(bytes([byte]))

        nursery.start_soon(dribble)
        while len(got) < 40:
            with trio.move_on_after(0.25):
                got.append(await link.receive())
    assert got == [bytes([n]) * 5 for n in range(40)]


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_is_cancelled_the_other_side_sees_a_consistent_story(
    autojump_clock: Clock, seed: int
) -> None:
    """A cancelled send of a living link was not sent; what returned was sent once, in order."""
    chance = random.Random(seed)
    stream = SlowStream()
    link = Link(stream)
    returned: list[tuple[int, int]] = []
    not_sent: list[tuple[int, int]] = []
    doubtful: list[tuple[int, int]] = []

    async def send(task: int) -> None:
        for turn in range(8):
            await trio.sleep(chance.uniform(0, 3))
            frames = [bytes([task, turn, part]) for part in range(3)]
            try:
                with trio.move_on_after(chance.choice([0, 0.3, 1.5, 50, 50, 50])) as scope:
                    await link.send(frames)
                    returned.append((task, turn))
            except LinkClosedError:
                doubtful.append((task, turn))
                return
            if scope.cancelled_caught:
                (not_sent if link.death is None else doubtful).append((task, turn))

    async with trio.open_nursery() as nursery:
        for task in range(6):
            nursery.start_soon(send, task)
    data = b"".join(stream.sent)
    frames = [tuple(data[at + 4 : at + 7]) for at in range(0, len(data), 7)]
    sent = [frame[:2] for frame in frames[::3]]
    assert frames == [(*burst, part) for burst in sent for part in range(3)]
    assert len(set(sent)) == len(sent)
    assert set(returned) <= set(sent)
    assert not set(not_sent) & set(sent)
    assert set(sent) <= set(returned) | set(doubtful)
    for task in range(6):
        turns = [turn for who, turn in sent if who == task]
        assert turns == sorted(turns)
    if link.death is None:
        assert not doubtful
    else:
        await expect_dead(link, fault="ours")


# Closing


async def test_closing_ends_everything_and_can_be_repeated(autojump_clock: Clock) -> None:
    stream = SlowStream()
    stream.pause = 100
    endings: list[str] = []

    async def use(action: Callable[[], object]) -> None:
        try:
            await action()  # type: ignore[misc]  # both are async
        except LinkClosedError as error:
            endings.append(error.fault)

    async with trio.open_nursery() as nursery:
        async with Link(stream) as link:
            nursery.start_soon(use, link.receive)
            nursery.start_soon(use, lambda: link.send([b"writing"]))
            nursery.start_soon(use, lambda: link.send([b"queued"]))
            await trio.testing.wait_all_tasks_blocked()
            assert link.death is None
        await link.aclose()
    assert endings == ["ours"] * 3
    assert stream.sent == []
    await expect_dead(link, fault="ours")


async def test_a_goodbye_that_hangs_is_cut_short(autojump_clock: Clock) -> None:
    class Clinging(SlowStream):
        async def aclose(self) -> None:
            try:
                await trio.sleep(1_000)
            finally:
                self.closed.set()

    stream = Clinging()
    link = Link(stream, limits=LinkLimits(close=3))
    start = trio.current_time()
    await link.aclose()
    assert trio.current_time() - start == pytest.approx(3)
    assert stream.closed.is_set()
