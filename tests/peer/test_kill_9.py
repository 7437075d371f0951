"""kill -9 of either peer at every persist and send boundary of a trade.

Each case keeps one channel alive through all of it. A first run counts the boundaries that the
victim passes; then, one boundary after the other, the victim is a real process that sends itself
SIGKILL there and is started again from its store. After each: both stand on the same state, and
trade. At the end, every signature either side put on the wire or into its journal is held against
the one digest that its nonce may have.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.records import decode_journal_entry
from channels.protocol.signing import Signature, recover
from channels.protocol.types import Party
from channels.storage import verify_journal
from tests.chain.world import World, anvil_world
from tests.conftest import ROOT
from tests.peer.world import open_channel, traders

pytestmark = pytest.mark.anvil

PATIENCE = 180


class KilledError(Exception):
    """The process that was to answer is dead."""


class RefusedError(Exception):
    """The process could not do what it was told."""


class Child:
    """A trader's process, and its successors."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._answers: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self._number = 0
        self._ready = trio.Event()
        self.address: str | None = None
        self._deaths = 0
        self._died = trio.Event()

    async def listen(self) -> None:
        """Read what the process says, until it ends."""
        assert self._process.stdout is not None
        buffer = b""
        async for received in self._process.stdout:
            *lines, buffer = (buffer + received).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))

    def _hear(self, said: dict[str, Any]) -> None:
        if "ready" in said:
            self.address = said["ready"]
            self._ready.set()
        elif "ended" in said:
            assert said["ended"] in (0, -signal.SIGKILL), f"ended with {said['ended']}"
            self._deaths += 1
            self._ready = trio.Event()
            self._died.set()
            self._died = trio.Event()
            for waiting in self._answers.values():
                waiting.close()
            self._answers.clear()
        elif said["id"] in self._answers:
            self._answers.pop(said["id"]).send_nowait(said)

    async def died(self, times: int) -> None:
        """Wait until it has died so many times."""
        with trio.fail_after(PATIENCE):
            while self._deaths < times:
                await self._died.wait()

    async def ready(self) -> None:
        with trio.fail_after(PATIENCE):
            await self._ready.wait()

    async def ask(self, do: str, *values: Any) -> Any:
        """Have something done; raises KilledError if the process dies of it."""
        assert self._process.stdin is not None
        self._number += 1
        number = self._number
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._answers[number] = send
        command = json.dumps({"id": number, "do": do, "with": values})
        await self._process.stdin.send_all(command.encode() + b"\n")
        try:
            with trio.fail_after(PATIENCE):
                said = await receive.receive()
        except trio.EndOfChannel:
            raise KilledError from None
        finally:
            self._answers.pop(number, None)
        if "error" in said:
            raise RefusedError(said["error"])
        return said["answer"]


@asynccontextmanager
async def child(config: dict[str, Any], path: Path) -> AsyncIterator[Child]:
    await trio.Path(path).write_text(json.dumps(config))
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.peer.child", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    async with trio.open_nursery() as nursery:
        started = Child(process)
        nursery.start_soon(started.listen)
        try:
            yield started
        finally:
            with trio.CancelScope(shield=True):
                if process.stdin is not None:
                    await process.stdin.aclose()  # the trader ends, and then what forks it
                with trio.move_on_after(PATIENCE):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            nursery.cancel_scope.cancel()


@attrs.frozen(kw_only=True)
class Cast:
    """Two processes with an open channel. Alice connects and begins everything; Bob listens."""

    world: World
    folder: Path
    leader: Child
    victim: Child
    survivor: Child

    async def reunite(self) -> None:
        """Connect them, once the victim is up again."""
        await self.victim.ready()
        listening = self.survivor if self.leader is self.victim else self.victim
        await self.leader.ask("greet", listening.address)

    async def settled(self) -> None:
        """Wait until nothing is in flight, and check that both stand on the same states."""
        for each in (self.survivor, self.victim):
            await each.ask("settle")
        assert await self.survivor.ask("settle") == await self.victim.ask("settle")


@asynccontextmanager
async def cast(url: str, folder: Path, *, leads: bool) -> AsyncIterator[Cast]:
    async with anvil_world(url) as world:
        a, b = traders(world, folder)
        async with b.running(), a.running() as alice:
            channel = await open_channel(alice, b)
        config = {
            side: {
                "rpc": url,
                "adjudicator": world.deployment.adjudicator.hex(),
                "wallet": account._key.secret.hex(),
                "signer": signer._key.secret.hex(),
                "store": str(trader.store_path),
                "wire": str(folder / f"{trader.name}.wire"),
                "channel": channel.channel_id.hex(),
                "listen": None if side is Party.A else "127.0.0.1:0",
            }
            for side, account, signer, trader in (
                (Party.A, world.a, world.signer_a, a),
                (Party.B, world.b, world.signer_b, b),
            )
        }
        async with (
            child(config[Party.A], folder / "alice.json") as alices,
            child(config[Party.B], folder / "bob.json") as bobs,
        ):
            victim, survivor = (alices, bobs) if leads else (bobs, alices)
            roles = Cast(
                world=world, folder=folder, leader=alices, victim=victim, survivor=survivor
            )
            await survivor.ready()
            await roles.reunite()
            yield roles


Place = tuple[bytes, int]
"""A channel and a nonce in it."""


def signatures_on_wire(path: Path) -> Iterator[tuple[Place, Signature]]:
    """Every state signature that reached whoever kept this record."""
    for line in path.read_text().split():
        message = codec.decode(bytes.fromhex(line))
        channel_id = getattr(message, "channel_id", b"")
        for nonce, signature in signatures_in(message):
            yield (channel_id, nonce), signature


def signatures_in(message: m.Message) -> Iterator[tuple[int, Signature]]:
    match message:
        case m.Propose(proposal=proposal):
            yield proposal.nonce, proposal.signature
        case m.Quote(sides=sides):
            yield from ((side.nonce, side.signature) for side in sides)
        case m.Accept() as accept:
            yield accept.nonce, accept.signature
            if accept.affirmation is not None:
                yield accept.affirmation_nonce, accept.affirmation
        case m.Reject(void=Signature() as void, void_nonce=nonce):
            yield nonce, void
        case m.CloseRequest(closing=closing, signature=signature):
            yield closing.nonce, signature
        case m.Confirm(nonce=nonce, signature=signature):
            yield nonce, signature
        case m.Void(nonce=nonce, signature=signature):
            yield nonce, signature


def check_signatures(folder: Path, world: World) -> int:
    """Hold every signature against the one digest of its nonce; how many there were."""
    digests: dict[Place, set[bytes]] = {}
    signed: list[tuple[Party, Place, Signature]] = []
    for name, side in (("alice", Party.A), ("bob", Party.B)):
        for entry in verify_journal(folder / f"{name}.db"):
            for each in decode_journal_entry(entry.body)[2]:
                place = (entry.channel_id, each.nonce)
                digests.setdefault(place, set()).add(world.domain.digest(each.value))
                signed += [(side, place, each.mine)] if each.mine is not None else []
                signed += [(side.other, place, each.theirs)] if each.theirs is not None else []
        wire = signatures_on_wire(folder / f"{name}.wire")
        signed += [(side.other, place, signature) for place, signature in wire]
    assert [place for place, each in digests.items() if len(each) > 1] == []
    signers = {Party.A: world.signer_a.address, Party.B: world.signer_b.address}
    for party, place, signature in signed:
        (digest,) = digests[place]
        assert recover(signature, digest) == signers[party]
    return len(signed)


LEAST_BOUNDARIES = 6
DEEDS = ("propose", "quote", "refused", "open", "close")


@pytest.mark.parametrize("leads", [True, False], ids=["initiator", "responder"])
async def test_kill_9_at_every_boundary(leads: bool, anvil_url: str, tmp_path: Path) -> None:
    async with cast(anvil_url, tmp_path, leads=leads) as roles:
        deaths = 0
        try:
            for deed in DEEDS:
                passed = await count_boundaries(roles, deed)
                assert len(passed) >= LEAST_BOUNDARIES, passed
                for number in range(1, len(passed) + 1):
                    deaths += await die_at(roles, deed, number, deaths + 1)
                    await roles.leader.ask("propose")
                    await roles.settled()
        finally:
            signatures = check_signatures(tmp_path, roles.world)
        assert signatures > 4 * deaths > 4 * LEAST_BOUNDARIES * len(DEEDS)


async def prepare(roles: Cast, deed: str) -> list[str]:
    """What the deed needs: a Closing, a channel of its own."""
    if deed != "close":
        return []
    opened = await roles.leader.ask("open")
    await roles.settled()
    return [opened]


async def count_boundaries(roles: Cast, deed: str) -> list[str]:
    values: list[Any] = [PATIENCE] if deed == "quote" else await prepare(roles, deed)
    await roles.victim.ask("arm", 0)
    await roles.leader.ask(deed, *values)
    await roles.settled()
    passed: list[str] = await roles.victim.ask("disarm")
    return passed


async def die_at(roles: Cast, deed: str, number: int, deaths: int) -> bool:
    """Kill the victim at a boundary; False if it passed fewer this time.

    Frames that leave together are one boundary, and on a busy machine more do.
    """
    values = await prepare(roles, deed)
    await roles.victim.ask("arm", number)
    done, died = trio.Event(), False

    async def play() -> None:
        await until_killed(roles.leader, deed, *values)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(play)
        died = await died_before(roles.victim, deaths, done)
        if not died:
            died = await dies_still(roles, deaths)
        if died:
            await roles.victim.died(deaths)
            await roles.reunite()
        await roles.settled()
    return died


async def died_before(victim: Child, deaths: int, done: trio.Event) -> bool:
    """Wait for whichever comes first; whether that was its death."""
    first = trio.Event()
    died = False

    async def dies() -> None:
        nonlocal died
        await victim.died(deaths)
        died = True
        first.set()

    async def ends() -> None:
        await done.wait()
        first.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dies)
        nursery.start_soon(ends)
        await first.wait()
        nursery.cancel_scope.cancel()
    return died


async def dies_still(roles: Cast, deaths: int) -> bool:
    """The deed is done as the leader sees it: whether the victim dies of what is left of it."""
    survived = trio.Event()

    async def rest() -> None:
        with suppress(KilledError):
            await roles.settled()
            await roles.victim.ask("disarm")
            survived.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(rest)
        # Who died is up again soon, and would answer in its place.
        died = await died_before(roles.victim, deaths, survived)
        nursery.cancel_scope.cancel()
    return died


async def until_killed(leader: Child, deed: str, *values: str) -> None:
    """What the leader hears of it is its own business; where both stand is not."""
    with suppress(KilledError, RefusedError):
        await leader.ask(deed, *values)
