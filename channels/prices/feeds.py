"""Where an attester's prices come from: fixed ones, a file that grows, an HTTP endpoint.

A feed is any ``async`` function from a feed's id to its price, WAD. It raises when it does not
know: no price is signed then.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal, InvalidOperation, localcontext
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from channels.errors import EndpointError, InvalidValueError
from channels.foreign_json import parse_json
from channels.protocol.types import feed_id, feed_name
from channels.units import to_wad

__all__ = ["FixedFeed", "HttpFeed", "LinesFeed", "PriceFeed"]

PriceFeed = Callable[[bytes], Awaitable[int]]
"""The price of a feed now, WAD. Raises `channels.errors.ChannelsError` if it is not known."""

_TAIL: Final = 64 * 1024
_PLACES: Final = Decimal(1).scaleb(-18)
_DIGITS: Final = 60


def _price(value: object, where: str) -> int:
    try:
        with localcontext(prec=_DIGITS):
            price = int(to_wad(Decimal(str(value)).quantize(_PLACES)))
    except (InvalidOperation, InvalidValueError):
        price = 0
    if not 0 < price < 1 << 128:
        raise InvalidValueError(f"{where}: {value!r} is no price")
    return price


class FixedFeed:
    """Prices that never change, by feed name, decimal: for tests.

    Raises:
        InvalidValueError: a price that is none.
    """

    def __init__(self, prices: Mapping[str, str]) -> None:
        self._prices = {feed_id(name): _price(text, name) for name, text in prices.items()}

    async def __call__(self, feed: bytes) -> int:
        """The price of ``feed``.

        Raises:
            EndpointError: there is none.
        """
        await trio.lowlevel.checkpoint()
        if feed not in self._prices:
            raise EndpointError(f"no price for {feed_name(feed)}")
        return self._prices[feed]


class LinesFeed:
    """The newest price in a file of JSON lines, to which another program appends.

    A line is ``{"feed": "ETH-USD", "time": 1800000000, "price": "3000.50"}``.

    Args:
        path: the file.
        most_age: seconds after which a price is too old to be signed.
        clock: Unix time.
    """

    def __init__(
        self, path: Path, *, most_age: int = 60, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._most_age = most_age
        self._clock = clock

    async def __call__(self, feed: bytes) -> int:
        """The price of ``feed``.

        Raises:
            EndpointError: the file cannot be read, or has no price that is new enough.
            InvalidValueError: the newest line of the feed has none.
        """
        name, now = feed_name(feed), self._clock()
        for line in reversed(await trio.to_thread.run_sync(self._tail)):
            try:
                found = parse_json(line.encode(), parse_float=str)
            except ValueError:
                continue  # a line that is being written, or was cut at the beginning of the tail
            if isinstance(found, dict) and found.get("feed") == name:
                at = found.get("time")
                if not isinstance(at, int) or not now - self._most_age <= at <= now + 1:
                    break
                return _price(found.get("price"), str(self._path))
        raise EndpointError(
            f"{self._path} has no price of {name} that is new enough",
            next_step="see whether the program that writes it runs",
        )

    def _tail(self) -> list[str]:
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _TAIL))
                return file.read().decode("utf-8", "replace").splitlines()
        except OSError as error:
            raise EndpointError(f"{self._path} cannot be read: {error.strerror}") from error


class HttpFeed:
    """A price in the JSON that a URL answers with.

    Args:
        client: makes the requests; has a timeout.
        url: ``{feed}`` in it stands for the feed's name.
        path: keys and list places, joined with dots, such as ``data.0.price``.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, path: str) -> None:
        self._client = client
        self._url = url
        self._path = tuple(path.split("."))

    async def __call__(self, feed: bytes) -> int:
        """The price of ``feed``.

        Raises:
            EndpointError: no answer, or no price in it.
        """
        try:
            response = await self._client.get(self._url.replace("{feed}", feed_name(feed)))
            response.raise_for_status()
            found: Any = parse_json(response.content, parse_float=str)
            for key in self._path:
                found = found[int(key)] if isinstance(found, list) else found[key]
            return _price(found, ".".join(self._path))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EndpointError(f"the price feed does not answer: {error!r}") from error
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise EndpointError(
                f"the price feed answers without {'.'.join(self._path)}: {error}",
                next_step="correct --path",
            ) from error
