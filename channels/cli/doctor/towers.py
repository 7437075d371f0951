"""Checks of the towers: whether they are alive, and have given their word for the newest states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import httpx
import trio

from channels.cli.desk.towers import Receipts, read_receipts
from channels.cli.doctor.findings import Finding, error, of_error, ok, warning
from channels.cli.doctor.ground import Ground, TowerSeen
from channels.dispute import evidence_of
from channels.errors import BadSignatureError, ChannelsError, InvalidValueError
from channels.protocol.channel import Channel
from channels.protocol.eip712 import Address
from channels.protocol.signing import check_digest
from channels.protocol.terms import Domain
from channels.tower.appointments import newest_states
from channels.tower.client import TowerClient
from channels.tower.replicas import ProtectionPolicy
from channels.tower.signed import SignedReceipt

__all__ = ["check_towers", "see_tower"]

_STALE: Final = ProtectionPolicy().stale_after
_ANOTHER: Final = "see whether it runs and its address is right; else name another under [towers]"
_HAND_OVER: Final = "run `option-channels serve`, which hands it over, and see what the towers say"


async def see_tower(
    http: httpx.AsyncClient, url: str, tower: Address, domain: Domain, patience: float
) -> TowerSeen:
    """Ask a tower for its heartbeat; the one that signs must be ``tower``."""
    try:
        with trio.fail_after(patience):
            found = await TowerClient(http, url, tower, domain).heartbeat()
    except trio.TooSlowError:
        return TowerSeen(url=url, trouble=f"no answer within {patience:g} s")
    except ChannelsError as raised:
        return TowerSeen(url=url, trouble=str(raised.args[0]))
    return TowerSeen(url=url, beat=found.heartbeat)


async def check_towers(ground: Ground) -> list[Finding]:
    """Whether each tower is alive, and enough of them have receipted each channel's newest state.

    Asks the towers nothing but their heartbeat: receipts are read from the folder.
    """
    await trio.lowlevel.checkpoint()
    settings = ground.home.towers
    if not settings.at:
        return [ok("towers", "none is named: channels are defended while `serve` or `watch` runs")]
    found = [_alive(each, ground) for each in ground.towers]
    try:
        receipts = read_receipts(ground.home.folder)
    except InvalidValueError as raised:
        return [*found, of_error("towers", raised, _HAND_OVER)]
    return [*found, *(_protected(each, receipts, ground) for each in ground.channels)]


def _alive(seen: TowerSeen, ground: Ground) -> Finding:
    if seen.beat is None:
        return warning("towers", f"{seen.url}: {seen.trouble}", _ANOTHER)
    now = ground.now if ground.chain is None else ground.chain.head.timestamp
    age = int(now) - seen.beat.head_time
    if age > _STALE:
        return warning("towers", f"{seen.url}: its heartbeat is {age} s old", _ANOTHER)
    return ok("towers", f"{seen.url} watches {seen.beat.channels} channels, as of {age} s ago")


def _protected(channel: Channel, receipts: Receipts, ground: Ground) -> Finding:
    """Whether as many towers as are needed have each state that is worth defending with."""
    settings, which = ground.home.towers, f"0x{channel.channel_id.hex()[:8]}"
    held = receipts.get(channel.channel_id, {})
    counts, why = [], []
    states = newest_states(evidence_of(channel))
    for state in states:
        nonce, good = state.state.nonce, 0
        for url, tower in settings.at.items():
            lacks = list(_lacks(held.get(url, ()), nonce, tower, channel.domain, int(ground.now)))
            good += not lacks
            why += [f"{url}: {each}" for each in lacks]
        counts.append(good)
    if not states:
        return ok("towers", f"{which}: nothing is signed yet that a tower could defend")
    if min(counts) >= settings.needed:
        return ok("towers", f"{which}: {min(counts)} towers have nonce {states[-1].state.nonce}")
    return error(
        "towers",
        f"{which}: {min(counts)} of {settings.needed} towers have it: {'; '.join(why)}",
        _HAND_OVER,
    )


def _lacks(
    receipts: tuple[SignedReceipt, ...], nonce: int, tower: Address, domain: Domain, now: int
) -> Iterator[str]:
    """Why these receipts of one tower are not its word for this nonce; nothing if they are."""
    if not receipts:
        yield "no receipt"
        return
    newest = max(receipts, key=lambda each: each.receipt.nonce)
    good = [each for each in receipts if each.receipt.nonce >= nonce]
    if not good:
        yield f"its receipt is for nonce {newest.receipt.nonce}, the newest is {nonce}"
    elif all(each.receipt.valid_to < now for each in good):
        yield "its receipt has run out"
    else:
        try:
            check_digest(good[0].signature, domain.digest(good[0].receipt), tower)
        except BadSignatureError:
            yield "its receipt is signed by another"
