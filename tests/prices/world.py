"""Attesters in this process, each at its own host name, over one clock."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import httpx

from channels.chain import MemoryRecordStore, OracleDomain
from channels.prices import AttesterService, PriceJournal
from channels.prices.serving import attester_app
from channels.protocol.signing import LocalSigner
from channels.protocol.types import feed_id

FEED = feed_id("ETH-USD")
WAD = 10**18
KEYS = tuple(bytes([number]) * 32 for number in (21, 22, 23))


class Hosts(httpx.AsyncBaseTransport):
    """Requests go to whoever has the host name; nobody else can be reached."""

    def __init__(self, hosts: Mapping[str, httpx.AsyncBaseTransport]) -> None:
        self.hosts = dict(hosts)
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if request.url.host not in self.hosts:
            raise httpx.ConnectError("connection refused", request=request)
        return await self.hosts[request.url.host].handle_async_request(request)


@attrs.define
class Feed:
    """A feed that says what it is told to."""

    price: int = 3_000 * WAD

    async def __call__(self, feed: bytes) -> int:
        assert feed == FEED
        return self.price


async def journal_of(
    key: bytes, domain: OracleDomain, records: MemoryRecordStore | None = None
) -> PriceJournal:
    journal = PriceJournal(LocalSigner(key), domain, records or MemoryRecordStore())
    await journal.start()
    return journal


@attrs.define
class Attesters:
    """Several attesters of one oracle."""

    services: list[AttesterService]
    feeds: list[Feed]
    hosts: Hosts

    @classmethod
    async def of(cls, keys: tuple[bytes, ...], domain: OracleDomain) -> Attesters:
        feeds = [Feed() for _ in keys]
        services = [
            AttesterService(await journal_of(key, domain), feed, [FEED])
            for key, feed in zip(keys, feeds, strict=True)
        ]
        return cls(
            services=services,
            feeds=feeds,
            hosts=Hosts(
                {
                    f"attester{number}": httpx.ASGITransport(app=attester_app(each.journal))
                    for number, each in enumerate(services)
                }
            ),
        )

    @property
    def urls(self) -> list[str]:
        return [f"http://attester{number}" for number in range(len(self.services))]

    def say(self, *dollars: int) -> None:
        for feed, price in zip(self.feeds, dollars * len(self.feeds), strict=False):
            feed.price = price * WAD

    async def tick(self, now: int) -> None:
        for each in self.services:
            await each.tick(now)
