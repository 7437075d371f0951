"""The interface over TLS and real sockets: its limits, and that it is what its description says."""

from __future__ import annotations

import datetime
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from channels.dispute import Evidence
from channels.errors import AppointmentRefusedError
from channels.tower.client import TowerClient
from channels.tower.http import HttpPolicy, tower_app
from channels.tower.replicas import open_protection
from channels.tower.server import ServerConfig, serve_tower
from channels.transport.limits import RateLimit
from tests.chain.world import World
from tests.tower.world import (
    PATIENCE,
    Channel,
    Stand,
    file_stale,
    fresh_signer,
    open_channel,
    tower_of,
)

HOST: Final = "127.0.0.1"
GENEROUS: Final = HttpPolicy()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for this host, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tower")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "tower.pem", folder / "tower.key"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, secret


@attrs.frozen(eq=False)
class Site:
    """A tower that listens, and a client that trusts its certificate."""

    stand: Stand
    http: httpx.AsyncClient
    port: int
    trust: ssl.SSLContext

    @property
    def client(self) -> TowerClient:
        domain = self.stand.world.domain
        return TowerClient(self.http, str(self.http.base_url), self.stand.tower.address, domain)

    async def answer(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        response = await self.http.request(method, path, **options)
        return response.status_code, response.json()

    async def raw(self, request: bytes) -> bytes:
        """What comes back for these bytes, until the tower closes or has answered."""
        stream = trio.SSLStream(
            await trio.open_tcp_stream(HOST, self.port),
            self.trust,
            server_hostname="localhost",
            https_compatible=True,
        )
        async with stream:
            await stream.send_all(request)
            with trio.fail_after(PATIENCE):
                try:
                    return bytes(await stream.receive_some(65_536))
                except trio.BrokenResourceError:  # closed before all was read is closed at once
                    return b""


@asynccontextmanager
async def site_of(world: World, folder: Path, policy: HttpPolicy = GENEROUS) -> AsyncIterator[Site]:
    certificate, key = self_signed(folder)
    async with (
        tower_of(world, folder, signer=fresh_signer()) as stand,
        trio.open_nursery() as tasks,
    ):
        config = ServerConfig(bind=f"{HOST}:0", certificate=certificate, key=key, http=policy)
        url: str = await tasks.start(serve_tower, stand.tower, config)
        assert url.startswith("https://")
        port = int(url.rpartition(":")[2])
        trust = ssl.create_default_context(cafile=str(certificate))
        async with httpx.AsyncClient(base_url=f"https://localhost:{port}", verify=trust) as http:
            yield Site(stand=stand, http=http, port=port, trust=trust)
        tasks.cancel_scope.cancel()


async def test_a_customer_from_first_to_last_over_tls(world: World, tmp_path: Path) -> None:
    async with world.open(world.b) as bob, site_of(world, tmp_path) as site:
        channel = await open_channel(world, bob)
        await site.stand.caught_up()
        async with open_protection(
            [site.client], signer=world.signer_a, domain=world.domain
        ) as protection:
            await protection.protected(Evidence(terms=channel.terms, states=(channel.state(40),)))
        # A customer who lost everything but the key.
        lost = site.client
        assert await lost.channels(world.signer_a) == (channel.id,)
        recovered = await lost.recover(world.signer_a, channel.id)
        assert set(recovered.evidence.states) == {channel.state(40)}
        with pytest.raises(AppointmentRefusedError, match="no such channel"):
            await lost.recover(world.signer_b, channel.id)
        # Forgotten at the customer's word alone, and only about what it said last.
        newest = channel.offer(channel.state(41), sequence=2**60)
        await lost.register(newest)
        with pytest.raises(AppointmentRefusedError, match="no such channel"):
            await lost.forget(world.signer_b, newest)
        await lost.forget(world.signer_a, newest)
        assert site.stand.book.entries == 0
        assert await lost.channels(world.signer_a) == ()


async def test_who_does_not_speak_tls_learns_nothing(world: World, tmp_path: Path) -> None:
    async with site_of(world, tmp_path) as site:
        stream = await trio.open_tcp_stream(HOST, site.port)
        async with stream:
            await stream.send_all(b"GET /v1/tower HTTP/1.1\r\nHost: x\r\n\r\n")
            with trio.fail_after(PATIENCE):
                answer = await stream.receive_some(65_536)
        assert b"tower" not in answer
        stranger = ssl.create_default_context()
        async with httpx.AsyncClient(verify=stranger) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get(f"https://localhost:{site.port}/v1/tower")
        assert (await site.answer("GET", "/readyz"))[0] == 200


async def test_a_method_that_a_path_has_not_is_told_those_it_has(
    world: World, tmp_path: Path
) -> None:
    async with site_of(world, tmp_path) as site:
        response = await site.http.post("/v1/channels/0x" + "11" * 32)
        assert response.status_code == 405
        allowed = {each.strip() for each in response.headers["allow"].split(",")}
        assert allowed == {"GET", "HEAD", "PUT", "DELETE"}
        head = await site.http.head("/v1/tower")
        assert (head.status_code, head.content) == (200, b"")


async def many(parts: int) -> AsyncIterator[bytes]:
    for _ in range(parts):
        yield b"[" * 10_000


async def test_no_body_is_too_much_for_any_route(world: World, tmp_path: Path) -> None:
    """Too large, nested without end, cut short: each route answers, and the tower lives."""
    async with site_of(world, tmp_path, HttpPolicy(body=100_000)) as site:
        app: Any = tower_app(site.stand.tower)
        for route in app.routes:
            path = route.path.replace("{id}", "0x" + "11" * 32)
            for method in sorted(route.methods - {"HEAD"}):
                for content in (b"[" * 99_999, b'{"a":' * 15_000, b"\xff" * 9, b""):
                    status, text = await _plain(site, method, path, content=content)
                    assert status < 500 or path == "/v1/heartbeat", (method, path, text)
        put = "/v1/channels/0x" + "11" * 32
        too_large = (413, "too_large")
        bodies: list[Any] = [b"1" * 100_001, many(11)]  # its length told, and not
        for each in bodies:
            status, answer = await site.answer("PUT", put, content=each)
            assert (status, answer["error"]) == too_large
        nested = await site.answer("PUT", put, content=b"[" * 99_999)
        assert (nested[0], nested[1]["error"]) == (400, "malformed")
        assert "nested" in nested[1]["message"]
        for garbage in (
            b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
            b"PUT " + put.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"PUT " + put.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9x\r\n\r\n",
        ):
            assert b" 500 " not in await site.raw(garbage)
        assert (await site.answer("GET", "/readyz"))[0] == 200


async def _plain(site: Site, method: str, path: str, **options: Any) -> tuple[int, str]:
    response = await site.http.request(method, path, **options)
    return response.status_code, response.text


async def test_who_asks_too_much_is_told_when_to_come_back(world: World, tmp_path: Path) -> None:
    rate = RateLimit(frames=0.001, bytes=1e9, burst=3_000.0, patience=600.0)
    async with site_of(world, tmp_path, HttpPolicy(rate=rate)) as site:
        statuses = []
        for _ in range(5):
            response = await site.http.get("/v1/tower")
            statuses.append(response.status_code)
        assert statuses == [200, 200, 200, 429, 429]
        assert response.json()["error"] == "too_many"
        assert int(response.headers["retry-after"]) >= 1
        # Another connection is the same client.
        async with httpx.AsyncClient(base_url=site.http.base_url, verify=site.trust) as again:
            assert (await again.get("/v1/tower")).status_code == 429
        assert site.stand.tower.tally.requests["429"] == 3


async def test_answers_are_what_the_description_says(world: World, tmp_path: Path) -> None:
    """Of every route an answer that went well and one that did not, held against its schema."""
    async with world.open(world.b) as bob, site_of(world, tmp_path) as site:
        description = (await site.http.get("/v1/openapi.json")).json()
        channel = await open_channel(world, bob)
        await site.stand.caught_up()
        seen: set[tuple[str, str, str]] = set()

        async def look(response: httpx.Response) -> None:
            path = response.url.path.replace("0x" + channel.id.hex(), "{id}")
            path = path.replace("0x" + "11" * 32, "{id}")
            answers = description["paths"][path][response.request.method.lower()]["responses"]
            status = str(response.status_code)
            status = status if status in answers else "default"
            await response.aread()
            kinds = answers[status]["content"]
            kind = response.headers["content-type"].partition(";")[0]
            assert kind in kinds
            if kind == "application/json":
                schema = {**kinds[kind]["schema"], "components": description["components"]}
                Draft202012Validator(schema).validate(json.loads(response.text))
            seen.add((path, response.request.method, status))

        site.http.event_hooks = {"response": [look]}
        await _ask_everything(site, channel, bob)
    wanted = {
        (path, method.upper(), "200")
        for path, methods in description["paths"].items()
        for method in methods
        if not path.endswith("/dispute")  # takes an authorisation, which has tests of its own
    }
    assert wanted <= seen
    assert {(path, method) for path, method, status in seen if status == "default"} >= {
        ("/v1/channels", "GET"),
        ("/v1/channels/{id}", "PUT"),
        ("/v1/channels/{id}", "GET"),
        ("/v1/channels/{id}", "DELETE"),
        ("/v1/proof/{id}", "GET"),
    }


async def _ask_everything(site: Site, channel: Channel, bob: Any) -> None:
    client, signer = site.client, site.stand.world.signer_a
    mine, other = "/v1/channels/0x" + channel.id.hex(), "/v1/channels/0x" + "11" * 32
    await site.answer("PUT", mine, content=b"{}")
    for path in ("/v1/channels", mine):
        await site.answer("GET", path)
    await site.answer("DELETE", other)
    await site.answer("GET", "/v1/proof/0x" + "11" * 32, params={"side": "C"})
    await client.register(offer := channel.offer(channel.state(40)))
    await client.channels(signer)
    await client.recover(signer, channel.id)
    await file_stale(bob, channel, 3)
    with trio.fail_after(PATIENCE):
        while site.stand.tower.beat is None or not site.stand.tower.disputes:
            await site.stand.head()
    for path in ("/v1/tower", "/v1/heartbeat", "/v1/disputes", "/healthz", "/readyz"):
        await site.answer("GET", path)
    await site.answer("GET", "/v1/proof/0x" + channel.id.hex())
    await site.answer("GET", "/v1/openapi.json")
    for path in ("/metrics", "/"):
        await _plain(site, "GET", path)
    await client.forget(signer, offer)
