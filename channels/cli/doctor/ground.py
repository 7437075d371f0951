"""What every check may look at: the folder, the clock, the chain if it can be reached."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import attrs

from channels.chain.deployments import Deployment
from channels.chain.rpc import Block, Provider, Rpc
from channels.cli.desk.home import Home
from channels.errors import StorageError
from channels.protocol import records
from channels.protocol.channel import Channel, Phase
from channels.protocol.facts import ChannelView
from channels.protocol.watching import Heartbeat
from channels.storage.offline import stored_channels

__all__ = ["Connect", "Endpoint", "Ground", "OnChain", "TowerSeen", "open_channels"]

Connect = Callable[[str], AbstractAsyncContextManager[Provider]]
"""Opens the endpoint of a URL."""


@attrs.frozen(kw_only=True)
class Endpoint:
    """One endpoint as it answered; ``trouble`` if it did not. ``final``: its newest final block."""

    name: str
    rpc: Rpc | None = None
    chain_id: int = 0
    head: Block | None = None
    final: Block | None = None
    trouble: str = ""


@attrs.frozen(kw_only=True)
class OnChain:
    """The chain by an endpoint that is on the right one. ``views`` by channel id."""

    rpc: Rpc
    head: Block
    views: dict[bytes, ChannelView]


@attrs.frozen(kw_only=True)
class TowerSeen:
    """One tower as it answered; ``trouble`` if it gave no heartbeat that it signed."""

    url: str
    beat: Heartbeat | None = None
    trouble: str = ""


@attrs.frozen(kw_only=True)
class Ground:
    """What the checks look at. ``now`` by this machine's clock; ``chain`` None: out of reach."""

    home: Home
    deployment: Deployment
    now: float
    endpoints: tuple[Endpoint, ...]
    channels: tuple[Channel, ...]
    chain: OnChain | None
    towers: tuple[TowerSeen, ...] = ()


def open_channels(store: Path) -> tuple[Channel, ...]:
    """The channels of a store that have not ended; none if there is no store, or it is damaged.

    What is damaged is for the check of the store to tell.
    """
    try:
        stored = stored_channels(store).values() if store.exists() else ()
        found = [records.decode_channel(each) for each in stored]
    except StorageError:
        return ()
    return tuple(each for each in found if each.phase not in (Phase.CLOSED, Phase.ABANDONED))
