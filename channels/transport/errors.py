"""Errors of a connection; those of a frame are in ``channels.errors``."""

from __future__ import annotations

from channels.errors import PeerError

__all__ = ["FloodError", "LinkClosedError"]


class LinkClosedError(PeerError):
    """The connection has ended, or never began; ``fault`` says whose doing it was.

    Whether the other side got what was sent last is unknown: after reconnecting, Reestablish finds
    out. To take it for received, or for lost, **may lose funds**.
    """

    next_step = "reconnect and reestablish; the channel itself is as it was before"

    def __init__(self, message: str, *, fault: str = PeerError.fault) -> None:
        super().__init__(message)
        self.fault = fault


class FloodError(PeerError):
    """The counterparty kept sending above the rate limit, and was dropped."""

    next_step = "reconnect later; raise the limit if the traffic was legitimate"
