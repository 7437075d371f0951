"""What comes in one burst: channels are answered at once, each in order, and a Ping last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from channels.errors import BadNonceError, BadProposalError, ChannelsError, StorageError
from channels.peer.session import MOST_AT_ONCE, Session, error_message
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.signing import LocalSigner
from channels.transport.link import Link
from channels.transport.memory import memory_links

ONE, TWO = b"\x01" * 32, b"\x02" * 32
SIGNER = LocalSigner(b"\x03" * 32).address
Handle = Callable[[Session, m.Message], Awaitable[None]]


def said(channel_id: bytes, text: str) -> bytes:
    return codec.encode(m.Error(channel_id=channel_id, reason=m.Reason.BUSY, text=text))


PING = codec.encode(m.Ping(token=7))


async def heard_of(burst: list[bytes], handle: Handle) -> Link:
    """Have a session take in one burst; the other end of its link."""
    ours, theirs = memory_links()
    session = Session(ours, SIGNER, "", stranger=False)
    await theirs.send(burst)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run, handle)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return theirs


async def test_a_channel_that_waits_holds_up_no_other_and_a_ping_is_last() -> None:
    order: list[str] = []
    two_is_done = trio.Event()

    async def handle(_: Session, message: m.Message) -> None:
        if isinstance(message, m.Ping):
            order.append("ping")
            return
        assert isinstance(message, m.Error)
        if message.channel_id == ONE:
            await two_is_done.wait()
        order.append(message.text)
        if message.text == "second of two":
            two_is_done.set()

    burst = [PING, said(ONE, "one"), said(TWO, "first of two"), said(TWO, "second of two")]
    await heard_of(burst, handle)
    assert order == ["first of two", "second of two", "one", "ping"]


async def test_no_more_than_so_many_are_answered_at_once() -> None:
    begun = 0

    async def handle(_: Session, message: m.Message) -> None:
        nonlocal begun
        begun += 1
        await trio.sleep_forever()

    await heard_of([said(bytes([each]) * 32, "") for each in range(1, 100)], handle)
    assert begun == MOST_AT_ONCE


async def test_one_channel_s_fault_is_named_and_the_others_are_answered() -> None:
    answered: list[bytes] = []

    async def handle(_: Session, message: m.Message) -> None:
        assert isinstance(message, m.Error)
        if message.channel_id == ONE:
            raise BadProposalError("not like this")
        await trio.lowlevel.checkpoint()
        answered.append(message.channel_id)

    theirs = await heard_of([said(ONE, ""), b"rubbish", said(TWO, "")], handle)
    assert answered == [TWO]
    complaints = {}
    for _ in range(2):
        complaint = codec.decode(await theirs.receive())
        assert isinstance(complaint, m.Error)
        complaints[complaint.channel_id] = complaint.text
    assert complaints.keys() == {bytes(32), ONE}
    assert "not like this" in complaints[ONE]


async def test_our_own_failure_ends_the_session_with_its_own_error() -> None:
    async def handle(_: Session, message: m.Message) -> None:
        raise StorageError("disk full")

    with pytest.raises(BaseExceptionGroup) as caught:
        await heard_of([said(ONE, ""), said(TWO, "")], handle)
    ends, rest = caught.value.split(StorageError)
    assert ends is not None
    assert rest is None
    assert isinstance(ends.exceptions[0], ChannelsError)


def test_a_peer_is_told_its_own_faults_and_not_ours() -> None:
    ours = error_message(bytes(32), StorageError("cannot write /home/alice/alice.db: disk full"))
    assert ours.reason is m.Reason.BUSY
    assert "alice" not in ours.text
    assert "Storage" not in ours.text
    theirs = error_message(bytes(32), BadNonceError("nonce 7; allowed are 8 to 24"))
    assert theirs.reason is m.Reason.PROTOCOL
    assert theirs.text == "BadNonceError: nonce 7; allowed are 8 to 24"
