"""No key holds a channel up for longer than it was given."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

from channels.errors import InvalidValueError, SignerError
from channels.protocol.eip712 import Address
from channels.protocol.signing import LocalSigner, Signable, Signature
from channels.signers import DeadlineSigner, Pkcs11Signer
from tests.signers.world import SECRET, signable


class Slow:
    """Signs after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._local = LocalSigner(SECRET)
        self.address: Address = self._local.address

    async def sign(self, signable: Signable) -> Signature:
        await trio.sleep(self._seconds)
        return await self._local.sign(signable)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_no_time_at_all(seconds: float) -> None:
    with pytest.raises(InvalidValueError, match="no time"):
        DeadlineSigner(Slow(1), seconds)


async def test_in_time(autojump_clock: trio.testing.MockClock) -> None:
    signer, value = DeadlineSigner(Slow(9), 10), signable("State")
    assert await signer.sign(value) == await LocalSigner(SECRET).sign(value)
    assert signer.address == LocalSigner(SECRET).address


async def test_too_late(autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    with pytest.raises(SignerError, match=r"no signature within 10 seconds .see whether"):
        await DeadlineSigner(Slow(1_000), 10).sign(signable("State"))
    assert trio.current_time() - start == pytest.approx(10)


async def test_the_callers_own_deadline_stays_the_callers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with trio.move_on_after(5) as scope:
        await DeadlineSigner(Slow(1_000), 10).sign(signable("State"))
    assert scope.cancelled_caught


class StuckSession:
    """A token's library that does not return before it is let go."""

    def __init__(self) -> None:
        self.address = LocalSigner(SECRET).address
        self.let_go = threading.Event()
        self.calls: list[bytes] = []
        self.at_once = 0

    def sign(self, digest: bytes) -> bytes:
        self.at_once += 1
        assert self.at_once == 1, "two calls at a time"
        self.calls.append(digest)
        self.let_go.wait(60)
        self.at_once -= 1
        return LocalSigner(SECRET).sign_digest(digest).expanded()[:64]


@pytest.fixture
def stuck() -> Iterator[Any]:
    session = StuckSession()
    yield session
    session.let_go.set()


async def test_a_token_that_hangs(stuck: Any, autojump_clock: trio.testing.MockClock) -> None:
    """The channel goes on at once; the next call waits for the one that hangs, in time as well."""
    signer = Pkcs11Signer(stuck, trio.CapacityLimiter(1))
    first, second = signable("State", 1), signable("State", 2)
    for value in (first, second, second):
        with pytest.raises(SignerError, match="no signature within"):
            await DeadlineSigner(signer, 10).sign(value)
    stuck.let_go.set()
    assert await signer.sign(second) == await LocalSigner(SECRET).sign(second)
    assert stuck.calls == [first.digest, second.digest], "who left while waiting asked for nothing"
