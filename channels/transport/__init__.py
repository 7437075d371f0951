"""Frames between peers: Trio streams, length-prefixed frames, connecting and serving.

Nothing here knows what a frame means, or who is at the other end: the session layer proves that to
the TLS certificate. A frame that was sent may be lost
and its sender not know: what must not be lost is replayed after Reestablish.
"""

from __future__ import annotations

from channels.transport.backoff import Backoff
from channels.transport.endpoints import Secured, Server, StreamWrapper, connect, serve
from channels.transport.framing import MAX_FRAME, FrameDecoder, encode_frames
from channels.transport.limits import LinkLimits, RateLimit
from channels.transport.link import Link
from channels.transport.tls import ServerTls, dial_tls

__all__ = [
    "MAX_FRAME",
    "Backoff",
    "FrameDecoder",
    "Link",
    "LinkLimits",
    "RateLimit",
    "Secured",
    "Server",
    "ServerTls",
    "StreamWrapper",
    "connect",
    "dial_tls",
    "encode_frames",
    "serve",
]
