"""A trader's towers: what is handed over, what is kept of it, and what happens without them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx
import pytest
import trio
import trio.testing

from channels.cli.desk.home import TowerSettings, check_config
from channels.cli.desk.towers import HandOver, open_towers, read_receipts
from channels.errors import ChannelsError, InvalidValueError, LinkClosedError, NotProtectedError
from channels.protocol.signing import check_digest
from channels.protocol.types import Party
from channels.tower.kept import watch_key
from tests.chain.world import World, embedded_world
from tests.cli.test_doctor import CONFIG
from tests.peer.world import PATIENCE, Pair, trade, trading
from tests.tower.test_http import http_to
from tests.tower.world import Stand, fresh_signer, tower_of

URL = "http://tower"


@pytest.fixture
async def world() -> World:
    return await embedded_world()


@attrs.define
class Line(httpx.AsyncBaseTransport):
    """The way to a tower, which can be cut, and on which a request can fall behind others."""

    http: httpx.AsyncClient
    cut: bool = False
    used: trio.Event = attrs.field(factory=trio.Event)
    behind: list[trio.Event] = attrs.field(factory=list)
    asked: trio.Event = attrs.field(factory=trio.Event)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.cut:
            raise httpx.ConnectError("no way there")
        self.asked.set()
        if self.behind:
            await self.behind.pop().wait()
        response = await self.http.send(request)
        self.used.set()
        return response


@attrs.define
class Scene:
    """Alice and Bob, and a tower of Alice's."""

    pair: Pair
    stand: Stand
    line: Line
    folder: Path
    troubles: list[tuple[str, ChannelsError]] = attrs.field(factory=list)
    unreached: trio.Event = attrs.field(factory=trio.Event)

    def on_trouble(self, where: str, error: ChannelsError) -> None:
        self.troubles.append((where, error))
        if where == URL and isinstance(error, LinkClosedError):
            self.unreached.set()

    @asynccontextmanager
    async def towers(self) -> AsyncIterator[HandOver]:
        alice, world = self.pair.alice, self.pair.world
        async with (
            httpx.AsyncClient(transport=self.line) as http,
            open_towers(
                TowerSettings(at={URL: self.stand.tower.address}),
                folder=self.folder,
                peer=alice.peer,
                signer=world.signer_a,
                domain=world.domain,
                head=lambda: alice.chain.head,
                on_trouble=self.on_trouble,
                http=http,
            ) as hand_over,
        ):
            assert hand_over is not None
            yield hand_over


@asynccontextmanager
async def scene(world: World, folder: Path) -> AsyncIterator[Scene]:
    (folder / "tower").mkdir()
    async with (
        trading(world, folder) as pair,
        tower_of(world, folder / "tower", signer=fresh_signer()) as stand,
        http_to(stand) as http,
    ):
        await stand.caught_up()
        yield Scene(pair, stand, Line(http), folder)


async def test_every_change_is_handed_over_and_its_receipt_kept(
    world: World, tmp_path: Path
) -> None:
    async with scene(world, tmp_path) as here:
        channel, tower = here.pair.channel, here.stand.tower.address
        async with here.towers() as hand_over:
            for quantity in (2, -1):
                await trade(here.pair.alice, quantity)
                await here.pair.settled()
                await hand_over.cover(channel)
                nonce = channel.state.ledger.full.state.nonce
                kept = here.stand.book.kept(watch_key(channel.channel_id, Party.A))
                assert kept is not None
                assert kept.newest.appointment.nonce == nonce
                (signed,) = read_receipts(tmp_path)[channel.channel_id][URL]
                assert signed.receipt.nonce == nonce
                check_digest(signed.signature, world.domain.digest(signed.receipt), tower)
        assert here.troubles == []


async def test_a_state_that_a_newer_one_overtakes_on_the_way_is_protected_by_it(
    world: World, tmp_path: Path
) -> None:
    async with scene(world, tmp_path) as here:
        channel = here.pair.channel
        await trade(here.pair.alice)
        await here.pair.settled()
        arrives = trio.Event()
        here.line.behind.append(arrives)
        async with here.towers() as hand_over:
            with trio.fail_after(PATIENCE):
                await here.line.asked.wait()
            await trade(here.pair.alice)
            await here.pair.settled()
            await hand_over.cover(channel)
            arrives.set()
            await trio.testing.wait_all_tasks_blocked()
            await hand_over.cover(channel)
        (signed,) = read_receipts(tmp_path)[channel.channel_id][URL]
        assert signed.receipt.nonce == channel.state.ledger.full.state.nonce
        assert here.troubles == []


async def test_what_no_tower_took_is_told_and_handed_over_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels.cli.desk.towers._AGAIN", 0.01)
    async with scene(world, tmp_path) as here:
        await trade(here.pair.alice)
        await here.pair.settled()
        here.line.cut = True
        async with here.towers() as hand_over:
            with pytest.raises(NotProtectedError, match="0 of 1 towers have it"):
                await hand_over.cover(here.pair.channel)
            with trio.fail_after(PATIENCE):
                await here.unreached.wait()
            assert read_receipts(tmp_path).get(here.pair.channel.channel_id, {}) == {}
            failures = [(where, str(error)) for where, error in here.troubles]
            assert len(set(failures)) == len(failures), "each is told once"
            here.line.cut = False
            with trio.fail_after(PATIENCE):
                await here.line.used.wait()
            await hand_over.cover(here.pair.channel)
        assert len(read_receipts(tmp_path)[here.pair.channel.channel_id][URL]) == 1


async def test_without_towers_nothing_is_asked(world: World, tmp_path: Path) -> None:
    async with (
        trading(world, tmp_path) as pair,
        open_towers(
            TowerSettings(),
            folder=tmp_path,
            peer=pair.alice.peer,
            signer=world.signer_a,
            domain=world.domain,
            head=lambda: pair.alice.chain.head,
            on_trouble=lambda *_: pytest.fail("nobody was asked"),
        ) as hand_over,
    ):
        assert hand_over is None
    assert not (tmp_path / "receipts.json").exists()


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("at = 1", "at is a table"),
        ("at = {}\nneed = 2", "settings of .towers.: at, needed"),
        ('at = { "ftp://x" = "0x11" }', "is no URL"),
        ('at = { "http://x" = "0x11" }', "towers.at"),
        ('at = { "http://x" = "0x' + "11" * 20 + '" }\nneeded = 0', "needed is 0, of 1 towers"),
        ("needed = true", "needed a number"),
    ],
)
def test_a_configuration_that_is_none(table: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=why):
        check_config(f"{CONFIG}\n[towers]\n{table}\n", tmp_path)
