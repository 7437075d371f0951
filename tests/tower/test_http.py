"""Customers and their towers over HTTP, with a real chain below."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from channels.chain import LocalAccount
from channels.dispute import Evidence
from channels.errors import (
    AppointmentRefusedError,
    LinkClosedError,
    NotProtectedError,
    TowerFaultError,
)
from channels.protocol.calls import CoSigned
from channels.protocol.signing import LocalSigner
from channels.tower.client import TowerClient
from channels.tower.http import HttpPolicy, tower_app
from channels.tower.replicas import ProtectionPolicy, open_protection
from channels.tower.signed import SignedHeartbeat
from channels.transport.limits import RateLimit
from tests.chain.world import World
from tests.tower.world import (
    PATIENCE,
    Stand,
    file_stale,
    fresh_signer,
    open_channel,
    tower_of,
    until_recorded,
    world_account,
)

NOW = 1_800_000_000.0
OPS = Path(__file__).parents[2] / "channels" / "tower" / "ops"
SHIPPED = [(OPS / name).read_text() for name in ("alerts.yml", "grafana.json")]


def http_to(stand: Stand, policy: HttpPolicy | None = None) -> httpx.AsyncClient:
    """A client whose requests go to the tower's application without a socket."""
    app: Any = tower_app(stand.tower, policy, clock=lambda: NOW)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tower")


def client_of(stand: Stand, http: httpx.AsyncClient) -> TowerClient:
    domain = stand.world.domain
    return TowerClient(http, "http://tower", stand.tower.address, domain, clock=lambda: NOW)


@asynccontextmanager
async def towers(world: World, folder: Path, count: int) -> AsyncIterator[Sequence[Stand]]:
    """Several towers, each with a key, a gas account and files of its own."""
    if count == 0:
        yield []
        return
    (folder / str(count)).mkdir()
    async with (
        tower_of(
            world,
            folder / str(count),
            signer=fresh_signer(),
            account=LocalAccount(world_account(world, 1 + count)),
        ) as stand,
        towers(world, folder, count - 1) as others,
    ):
        yield [*others, stand]


async def test_a_customer_who_lost_everything_but_its_key_gets_its_state_back(
    world: World, tmp_path: Path
) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
        http_to(stand) as http,
    ):
        channel = await open_channel(world, bob)
        await stand.caught_up()
        permanent = channel.state(40)
        boxed = channel.state(42, valid_until=channel.now + 3_000)
        client = client_of(stand, http)
        async with open_protection(
            [client], signer=world.signer_a, domain=world.domain
        ) as protection:
            receipts = await protection.protected(
                Evidence(terms=channel.terms, states=(channel.state(7), permanent, boxed))
            )
        assert [each.receipt.nonce for each in receipts] == [40, 42]
        # The tower has no strike of it: its book does not hold the portfolio's bytes.
        strike = (3_000 * 10**18).to_bytes(16, "big")
        assert strike not in (tmp_path / "book.db-wal").read_bytes()

        # Everything is lost but the key.
        key = LocalSigner(world.signer_a._key.secret)
        other = client_of(stand, http)
        assert await other.channels(key) == (channel.id,)
        found = (await other.recover(key, channel.id)).evidence
        assert found.terms == channel.terms
        assert set(found.states) == {permanent, boxed}
        assert all(isinstance(each, CoSigned) for each in found.states)
        # Nobody else gets it.
        with pytest.raises(AppointmentRefusedError, match="no such channel"):
            await other.recover(world.signer_b, channel.id)

        async with open_protection([other], signer=key, domain=world.domain) as again:
            recovered = await again.recover(channel.id)
            assert set(recovered.evidence.states) == {permanent, boxed}


async def test_the_counterparty_cannot_push_a_customer_out_of_the_same_tower(
    world: World, tmp_path: Path
) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
    ):
        channel = await open_channel(world, bob)
        await stand.caught_up()
        accept = stand.tower.accept
        hostile = channel.offer(channel.state(9), sequence=2**64 - 1, signer=world.signer_b)
        await accept(hostile.appointment, hostile.signature, hostile.content)
        mine = channel.offer(channel.state(40), sequence=1)
        await accept(mine.appointment, mine.signature, mine.content)
        assert stand.book.entries == 2
        await stand.tower.forget(hostile.appointment.channel_id + b"\x01")
        assert stand.book.entries == 1
        await file_stale(bob, channel, 3)
        await until_recorded(bob, channel, 40)


async def test_protected_means_as_many_receipts_as_were_asked_for(
    world: World, tmp_path: Path
) -> None:
    async with world.open(world.b) as bob, towers(world, tmp_path, 2) as stands:
        channel = await open_channel(world, bob)
        for each in stands:
            await each.caught_up()
        async with http_to(stands[0]) as one, http_to(stands[1]) as two:
            clients = [client_of(stands[0], one), client_of(stands[1], two)]
            policy = ProtectionPolicy(needed=2, active=2)
            async with open_protection(
                clients, signer=world.signer_a, domain=world.domain, policy=policy
            ) as protection:
                evidence = Evidence(terms=channel.terms, states=(channel.state(40),))
                receipts = await protection.protected(evidence)
                assert {each.receipt.nonce for each in receipts} == {40}
                assert len(receipts) == 2
                # Asked for again, nothing is handed over again.
                assert await protection.protected(evidence) == receipts
                assert [each.tower.tally.appointments["accepted"] for each in stands] == [1, 1]
                await file_stale(bob, channel, 3)
                await until_recorded(bob, channel, 40)

            async with open_protection(
                clients[:1], signer=world.signer_a, domain=world.domain, policy=policy
            ) as protection:
                newer = Evidence(terms=channel.terms, states=(channel.state(50),))
                with pytest.raises(NotProtectedError, match="1 of 2"):
                    await protection.protected(newer)


class Liar(TowerClient):
    """A tower whose answers are changed on their way."""

    def __init__(self, honest: TowerClient, change: Any) -> None:
        super().__init__(honest._http, honest.url, honest.tower, honest._domain, clock=lambda: NOW)
        self._change = change

    async def _ask(self, method: str, path: str, **options: Any) -> Any:
        return self._change(json.loads(json.dumps(await super()._ask(method, path, **options))))


def changed(*path: str, to: Any) -> Any:
    def change(answer: Any) -> Any:
        place = answer
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = to
        return answer

    return change


async def test_a_tower_that_lies_is_caught_and_left(world: World, tmp_path: Path) -> None:
    async with world.open(world.b) as bob, towers(world, tmp_path, 1) as (stand,):
        channel = await open_channel(world, bob)
        await stand.head()
        async with http_to(stand) as http:
            honest = client_of(stand, http)
            offer = channel.offer(channel.state(40))
            lies: list[Any] = [
                changed("receipt", "nonce", to="39"),
                changed("receipt", "validTo", to="1"),
                changed("signature", to="0x" + "11" * 64),
                changed("receipt", to={}),
                lambda _: [],
            ]
            for lie in lies:
                with pytest.raises(TowerFaultError):
                    await Liar(honest, lie).register(offer)
            other = attrs.evolve(
                offer, appointment=attrs.evolve(offer.appointment, sequence=2, gas_budget=1)
            )
            answer = await honest.register(offer)
            replay = changed("receipt", "sequence", to=str(answer.receipt.sequence))
            with pytest.raises((TowerFaultError, AppointmentRefusedError)):
                await Liar(honest, replay).register(other)

            told: list[Exception] = []

            async def note(_: TowerClient, error: Exception) -> None:
                told.append(error)

            liar = Liar(honest, changed("receipt", "nonce", to="1"))
            async with open_protection(
                [liar, honest],
                signer=world.signer_a,
                domain=world.domain,
                policy=ProtectionPolicy(needed=1, active=1),
                on_trouble=note,
            ) as protection:
                evidence = Evidence(terms=channel.terms, states=(channel.state(44),))
                with pytest.raises(NotProtectedError):
                    await protection.protected(evidence)
                assert protection.towers == (honest,)
                assert await protection.protected(evidence)
            assert isinstance(told[0], TowerFaultError)


async def test_forked_and_stale_heartbeats_are_noticed(world: World, tmp_path: Path) -> None:
    async with world.open(world.b) as bob, towers(world, tmp_path, 2) as stands:
        channel = await open_channel(world, bob)
        for each in stands:
            await each.head()
            await each.head()
        async with http_to(stands[0]) as one, http_to(stands[1]) as two:
            clients = [client_of(stands[0], one), client_of(stands[1], two)]
            first = await beat_of(clients[0], stands[0])
            forged = attrs.evolve(first.heartbeat, channels=7)
            signer: Any = stands[0].tower._signer
            fork = SignedHeartbeat(
                heartbeat=forged, signature=signer.sign_digest(world.domain.digest(forged))
            )
            with pytest.raises(TowerFaultError, match="two different"):
                clients[0].take_heartbeat(fork)
            with pytest.raises(TowerFaultError, match="not by the tower"):
                clients[1].take_heartbeat(first)

            heads = [stands[0].tower.head]
            async with open_protection(
                clients,
                signer=world.signer_a,
                domain=world.domain,
                policy=ProtectionPolicy(needed=1, active=1, stale_after=300.0),
                head=lambda: heads[0],
            ) as protection:
                await protection.protected(
                    Evidence(terms=channel.terms, states=(channel.state(40),))
                )
                await protection.look()
                assert protection.towers == (clients[0],)
                # The chain has gone on for longer than the tower's newest heartbeat may be old.
                heads[0] = attrs.evolve(heads[0], timestamp=heads[0].timestamp + 400)
                await protection.look()
                assert protection.towers == (clients[1],)
                with trio.fail_after(PATIENCE):
                    while not stands[1].tower.tally.appointments["accepted"]:
                        await stands[1].head()


async def beat_of(client: TowerClient, stand: Stand) -> SignedHeartbeat:
    with trio.fail_after(PATIENCE):
        while True:
            try:
                return await client.heartbeat()
            except LinkClosedError:
                await stand.head()


async def test_a_heartbeat_commits_to_what_is_held(world: World, tmp_path: Path) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
        http_to(stand) as http,
    ):
        channel = await open_channel(world, bob)
        await stand.caught_up()
        client = client_of(stand, http)
        await client.register(channel.offer(channel.state(40)))
        kept = stand.book.kept(channel.id + b"\x00")
        assert kept is not None
        with trio.fail_after(PATIENCE):
            while stand.tower.beat is None or stand.tower.beat.heartbeat.channels == 0:
                await stand.head()
        beat = await client.heartbeat()
        assert beat.heartbeat.dispute_count == 0
        assert await client.holds(kept, beat)
        newer = kept.with_holding(channel.offer(channel.state(50), sequence=2))
        assert not await client.holds(newer, beat)


async def test_limits_and_malformed_requests_have_names(world: World, tmp_path: Path) -> None:
    policy = HttpPolicy(
        body=2_000, rate=RateLimit(frames=0.001, bytes=1e9, burst=12_000.0, patience=600.0)
    )
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
        http_to(stand, policy) as http,
    ):
        channel = await open_channel(world, bob)
        await stand.caught_up()
        path = f"/v1/channels/0x{channel.id.hex()}"

        async def answer(method: str, where: str, **options: Any) -> tuple[int, str]:
            response = await http.request(method, where, **options)
            return response.status_code, response.json().get("error", "")

        assert await answer("PUT", path, content=b"{") == (400, "malformed")
        assert await answer("PUT", path, content=b"[" * 1_500) == (400, "malformed")
        assert await answer("PUT", path, content=b"{}") == (400, "malformed")
        assert await answer("PUT", path, content=b"1" * 2_001) == (413, "too_large")
        assert await answer("PUT", "/v1/channels/0x12", content=b"{}") == (400, "malformed")
        assert await answer("GET", path) == (401, "unsigned")
        stale = {"x-tower-time": str(int(NOW) - 301), "x-tower-signature": "0x" + "11" * 64}
        assert await answer("GET", path, headers=stale) == (401, "stale")
        assert await answer("GET", "/v1/proof/0x00") == (400, "malformed")
        assert (await answer("GET", "/v1/tower"))[0] == 200
        assert (await answer("GET", "/readyz"))[0] == 200
        # Twelve requests a burst: two are left.
        assert (await answer("GET", "/v1/disputes"))[0] == 200
        assert (await answer("GET", "/healthz"))[0] == 200
        assert await answer("GET", "/healthz") == (429, "too_many")


async def test_forgetting_takes_the_newest_appointment(world: World, tmp_path: Path) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
        http_to(stand) as http,
    ):
        channel = await open_channel(world, bob)
        await stand.caught_up()
        client = client_of(stand, http)
        old = channel.offer(channel.state(40))
        new = channel.offer(channel.state(41), sequence=2)
        await client.register(old)
        await client.register(new)
        with pytest.raises(AppointmentRefusedError, match="since"):
            await client.forget(world.signer_a, old)
        with pytest.raises(AppointmentRefusedError, match="no such channel"):
            await client.forget(world.signer_b, new)
        await client.forget(world.signer_a, new)
        assert stand.book.entries == 0


async def test_every_path_is_described_and_every_metric_is_told(
    world: World, tmp_path: Path
) -> None:
    async with (
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
        http_to(stand) as http,
    ):
        document = (await http.get("/v1/openapi.json")).json()
        app: Any = tower_app(stand.tower)
        served = {
            (route.path, method.lower())
            for route in app.routes
            for method in route.methods - {"HEAD"}
        }
        described = {
            (path, method) for path, methods in document["paths"].items() for method in methods
        }
        assert described == served
        text = (await http.get("/metrics")).text
        names = {
            line.split()[2].removeprefix("option_channels_tower_")
            for line in text.splitlines()
            if line.startswith("# TYPE")
        }
        known = {name.removesuffix("_total") for name in names}
        for shipped in SHIPPED:
            used = set(re.findall(r"option_channels_tower_([a-z_]+)", shipped))
            assert {re.sub("_(total|bucket|sum|count)$", "", name) for name in used} <= known
        page = await http.get("/")
        assert "No new block for" in page.text
