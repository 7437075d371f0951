"""How much one client may ask: requests and bytes a second, by its address."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from channels.errors import FloodError
from channels.transport.limits import RateLimit, Throttle

__all__ = ["ClientLimits"]

_MOST_CLIENTS: Final = 10_000
_FORGIVEN: Final = 60.0


class ClientLimits:
    """A throttle for every client seen lately; the one not seen for longest gives way."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._clients: OrderedDict[str, Throttle] = OrderedDict()

    def wait(self, client: str, size: int, *, now: float) -> float:
        """Take a request of ``size`` bytes: 0, or the seconds after which to ask again."""
        throttle = self._clients.pop(client, None) or Throttle(self._limit, now=now)
        self._clients[client] = throttle
        while len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        try:
            return throttle.spend(size, now=now)
        except FloodError:
            return _FORGIVEN
