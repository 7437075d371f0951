"""A web3 provider over httpx that runs under Trio.

web3's own HTTP provider is tied to aiohttp. This one makes `web3.AsyncWeb3` work under plain Trio
for everything but two calls of web3's that reach for asyncio by name:
``wait_for_transaction_receipt`` (wait for a job of `channels.chain.transactions` instead) and
``batch_requests`` (use ``make_batch_request`` here).

Source: design, protocol.md "Chain access".
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx
from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from channels.errors import EndpointError
from channels.foreign_json import parse_json

__all__ = ["TrioHTTPProvider", "open_provider"]

DEFAULT_TIMEOUT: Final = 10.0
"""Seconds that one exchange may take."""

MAX_ANSWER: Final = 64 * 1024 * 1024
"""Bytes that one answer may have."""


class TrioHTTPProvider(AsyncJSONBaseProvider):
    """JSON-RPC over HTTP under Trio. Make one with `open_provider`.

    Errors name the endpoint by host alone: the rest of a URL often is a secret.
    """

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        super().__init__()
        self.endpoint_uri = url
        self._client = client
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        self._ids = itertools.count(1)

    def __repr__(self) -> str:
        return f"TrioHTTPProvider({self._host})"

    @property
    def host(self) -> str:
        """Host and port of the endpoint: what may be shown of its URL."""
        return self._host

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Send one request.

        Raises:
            EndpointError: no answer in time, or one that is not JSON-RPC's to this request.
        """
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        answer = await self._post(request, method)
        if not isinstance(answer, dict) or answer.get("id") != request["id"]:
            raise EndpointError(f"{self._host} answered {method} with something else")
        return cast(RPCResponse, answer)

    async def make_batch_request(
        self, requests: Sequence[tuple[RPCEndpoint, Any]]
    ) -> list[RPCResponse]:
        """Send several requests in one exchange; answers come in the order of the requests.

        Raises:
            EndpointError: no answer in time, or not one answer to each request.
        """
        if not requests:
            return []
        batch = [
            {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
            for method, params in requests
        ]
        answer = await self._post(batch, f"a batch of {len(batch)}")
        by_id = {
            each.get("id"): each
            for each in (answer if isinstance(answer, list) else ())
            if isinstance(each, dict)
        }
        if set(by_id) != {request["id"] for request in batch}:
            raise EndpointError(f"{self._host} answered a batch with something else")
        return [cast(RPCResponse, by_id[request["id"]]) for request in batch]

    async def _post(self, body: object, what: str) -> object:
        content = self._encode(body)
        try:
            async with self._client.stream(
                "POST",
                str(self.endpoint_uri),
                content=content,
                headers={"Content-Type": "application/json"},
            ) as response:
                raw = await self._read(response, what)
        except httpx.TimeoutException as error:
            raise EndpointError(f"{self._host} did not answer {what} in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EndpointError(
                f"{self._host} could not be asked {what}: {type(error).__name__}"
            ) from error
        try:
            return parse_json(raw)
        except ValueError as error:
            raise EndpointError(
                f"{self._host} answered {what} with status {response.status_code} and no JSON"
            ) from error

    async def _read(self, response: httpx.Response, what: str) -> bytes:
        if response.status_code in (401, 403, 429) or response.status_code >= 500:
            raise EndpointError(f"{self._host} refused {what}: status {response.status_code}")
        chunks, size = [], 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > MAX_ANSWER:
                raise EndpointError(f"{self._host} answered {what} with over {MAX_ANSWER} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    @staticmethod
    def _encode(body: object) -> bytes:
        return json.dumps(body, separators=(",", ":"), default=_plain).encode()


def _plain(value: object) -> object:
    """What JSON has for a value that web3 leaves in a request's parameters."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be sent to an endpoint")


@asynccontextmanager
async def open_provider(
    url: str, *, request_timeout: float = DEFAULT_TIMEOUT, headers: dict[str, str] | None = None
) -> AsyncIterator[TrioHTTPProvider]:
    """Connect to the endpoint at ``url``; connections close with the block.

    ``request_timeout`` is seconds for each of connecting, sending, reading a chunk and waiting for
    a free connection.
    """
    # As many as are ever open: to open one anew for a request costs more than the request.
    limits = httpx.Limits(max_connections=16, max_keepalive_connections=16)
    async with httpx.AsyncClient(timeout=request_timeout, headers=headers, limits=limits) as client:
        yield TrioHTTPProvider(url, client)
