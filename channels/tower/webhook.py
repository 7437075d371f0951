"""Alerts to a webhook: one POST of JSON each, in order, tried a few times, and never in the way.

The webhook is a convenience; what must be noticed is in the metrics too.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import httpx
import trio

from channels.dispute import Alert

__all__ = ["Webhook", "alert_json"]

_LOG: Final = logging.getLogger("channels.tower")
_QUEUE: Final = 1_000
_ATTEMPTS: Final = 5


def alert_json(alert: Alert) -> dict[str, Any]:
    """An alert, for machines."""
    return {
        "code": alert.code.name,
        "level": alert.level.name,
        "text": alert.text,
        "channel": None if alert.channel_id is None else "0x" + alert.channel_id.hex(),
        "facts": {name: str(value) for name, value in alert.facts + alert.figures},
    }


class Webhook:
    """Sends alerts to ``url`` while `run` does."""

    def __init__(
        self, url: str, *, transport: httpx.AsyncBaseTransport | None = None, pause: float = 5.0
    ) -> None:
        self._url = url
        self._transport = transport
        self._pause = pause
        self._give, self._take = trio.open_memory_channel[Alert](_QUEUE)

    async def tell(self, alert: Alert) -> None:
        """Take an alert; dropped, and logged, if a thousand are waiting."""
        try:
            self._give.send_nowait(alert)
        except trio.WouldBlock:
            _LOG.error("the webhook is behind: not told of %s", alert.code.name)

    async def run(self) -> None:
        """Send what was taken, for ever."""
        async with httpx.AsyncClient(timeout=10.0, transport=self._transport) as http:
            async for alert in self._take:
                await self._send(http, alert)

    async def _send(self, http: httpx.AsyncClient, alert: Alert) -> None:
        for attempt in range(_ATTEMPTS):
            if attempt:
                await trio.sleep(self._pause * 2 ** (attempt - 1))
            try:
                answer = await http.post(self._url, json=alert_json(alert))
            except httpx.HTTPError as error:
                _LOG.warning("the webhook does not answer: %r", error)
                continue
            if answer.is_success:
                return
            _LOG.warning("the webhook answers %s", answer.status_code)
