"""A trader's towers: every change is handed over to them, and their receipts are kept.

Receipts stand in ``receipts.json`` of the trader's folder, by channel and then by the tower's URL.
They are what shows a tower's fault afterwards, and what `doctor` looks at. Needs no extra.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from channels.chain.tasks import open_tasks
from channels.cli.desk.home import TowerSettings
from channels.dispute import evidence_of
from channels.errors import ChannelsError, InvalidValueError
from channels.peer import Peer, PeerChannel
from channels.protocol.channel import OPEN_PHASES
from channels.protocol.facts import Head
from channels.protocol.signing import Signer
from channels.protocol.terms import Domain
from channels.tower.client import TowerClient
from channels.tower.replicas import Protection, ProtectionPolicy, open_protection
from channels.tower.signed import SignedReceipt
from channels.tower.wire import read_receipt, signed_json

__all__ = ["HandOver", "OnTrouble", "Receipts", "open_towers", "read_receipts"]

Receipts = Mapping[bytes, Mapping[str, tuple[SignedReceipt, ...]]]
"""By channel id and the tower's URL."""

OnTrouble = Callable[[str, ChannelsError], None]
"""Told what failed, with the tower's URL or the channel's id."""

_AGAIN: Final = 5.0
"""Seconds until what no tower took is handed over again."""
_REQUEST: Final = 10.0


def read_receipts(folder: Path) -> Receipts:
    """The receipts kept in a trader's folder; none if there is no such file.

    Raises:
        InvalidValueError: the file is damaged.
    """
    path = folder / "receipts.json"
    if not path.exists():
        return {}
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return {
            bytes.fromhex(channel.removeprefix("0x")): {
                url: tuple(map(read_receipt, receipts)) for url, receipts in found.items()
            }
            for channel, found in raw.items()
        }
    except (OSError, ValueError, AttributeError, TypeError, InvalidValueError) as error:
        raise InvalidValueError(
            f"{path} cannot be read: {error}",
            next_step="remove it, and hand over anew: run `option-channels serve`",
        ) from error


def _write_receipts(folder: Path, receipts: Receipts, domain: Domain) -> None:
    document = {
        "0x" + channel.hex(): {
            url: [signed_json(each, domain) for each in signed] for url, signed in found.items()
        }
        for channel, found in receipts.items()
    }
    path = folder / "receipts.json"
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(document, indent=2), encoding="utf-8")
    beside.replace(path)


class HandOver:
    """Hands the newest state of each channel over. Open one with `open_towers`."""

    def __init__(
        self,
        protection: Protection,
        clients: Iterable[TowerClient],
        folder: Path,
        domain: Domain,
        tell: OnTrouble,
    ) -> None:
        self._protection = protection
        self._tell = tell
        self._urls = {client.tower: client.url for client in clients}
        self._folder = folder
        self._domain = domain
        self._receipts = dict(read_receipts(folder))

    async def cover(self, channel: PeerChannel) -> None:
        """Return once as many towers as are needed have the channel's newest states.

        Raises:
            NotProtectedError: fewer took one of them.
            SignerError: an appointment could not be signed.
        """
        evidence = evidence_of(channel.state)
        if channel.phase not in OPEN_PHASES or not evidence.states:
            return
        try:
            await self._protection.protected(evidence)
        finally:
            self._keep(channel.channel_id)

    async def cover_or_tell(self, channel: PeerChannel) -> bool:
        """As `cover`; what fails is told, and False returned."""
        try:
            await self.cover(channel)
        except ChannelsError as error:
            self._tell("0x" + channel.channel_id.hex()[:8], error)
            return False
        return True

    def _keep(self, channel: bytes) -> None:
        found: dict[str, tuple[SignedReceipt, ...]] = {}
        for tower, signed in self._protection.receipts_by_tower(channel).items():
            found[self._urls[tower]] = signed
        if found != self._receipts.get(channel):
            self._receipts[channel] = found
            _write_receipts(self._folder, self._receipts, self._domain)


@asynccontextmanager
async def open_towers(
    settings: TowerSettings,
    *,
    folder: Path,
    peer: Peer,
    signer: Signer,
    domain: Domain,
    head: Callable[[], Head],
    on_trouble: OnTrouble,
    http: httpx.AsyncClient | None = None,
) -> AsyncIterator[HandOver | None]:
    """Hand every change of the peer's channels over while the block lasts; None without towers.

    Args:
        settings: which towers.
        folder: of the trader: where receipts are kept.
        peer: whose channels.
        signer: the session key: it signs appointments.
        domain: of the contract.
        head: our own view of the chain, to compare heartbeats with.
        on_trouble: is told what failed, with the tower's URL or the channel's id; of the same
            failure once.
        http: makes the requests, instead of a client of its own.
    """
    if not settings.at:
        yield None
        return

    told: dict[str, str] = {}

    def once(where: str, error: ChannelsError) -> None:
        if told.get(where) != str(error):
            told[where] = str(error)
            on_trouble(where, error)

    async def tell(client: TowerClient, error: Exception) -> None:
        if isinstance(error, ChannelsError):
            once(client.url, error)

    async with (
        httpx.AsyncClient(timeout=_REQUEST) if http is None else _borrowed(http) as requests,
        peer.events() as events,
        open_tasks() as nursery,
    ):
        clients = [TowerClient(requests, url, tower, domain) for url, tower in settings.at.items()]
        policy = ProtectionPolicy(needed=settings.needed, active=len(clients))
        async with open_protection(
            clients, signer=signer, domain=domain, policy=policy, on_trouble=tell, head=head
        ) as protection:
            hand_over = HandOver(protection, clients, folder, domain, once)
            nursery.start_soon(_follow, hand_over, peer, events, told)
            yield hand_over
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _borrowed(http: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    yield http


async def _follow(
    hand_over: HandOver,
    peer: Peer,
    events: trio.MemoryReceiveChannel[Any],
    told: dict[str, str],
) -> None:
    """Hand over at the start, after each event, and again where nobody took it."""
    while True:
        done = [await hand_over.cover_or_tell(each) for each in peer.channels]
        if all(done):
            told.clear()
        with trio.move_on_after(float("inf") if all(done) else _AGAIN):
            await events.receive()
