"""A trader at work for the time of one command: keys, chain, store, monitor and peer together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from decimal import Decimal
from typing import Final

import attrs
import click
import trio

from channels.chain.accounts import LocalAccount
from channels.chain.client import EthereumChain, open_chain
from channels.chain.contracts import Token
from channels.chain.deployments import Deployment, load_deployment
from channels.chain.endpoints import EndpointPool, open_endpoints
from channels.chain.rpc import Rpc
from channels.cli.desk.admission import Admission, Locked
from channels.cli.desk.home import Home
from channels.cli.desk.towers import HandOver, OnTrouble, open_towers
from channels.cli.failing import printable
from channels.dispute import Monitor, open_monitor
from channels.errors import ChannelsError
from channels.peer import Peer, default_terms, open_peer
from channels.peer.flat_market import FlatMarket, SpreadMaker
from channels.prices import open_sources
from channels.protocol.channel import OPEN_PHASES, Phase
from channels.protocol.eip712 import Address
from channels.protocol.messages import OpenRequest
from channels.protocol.signing import Signer
from channels.protocol.terms import Opening, RiskParams, Terms, channel_id
from channels.protocol.types import Party, feed_id
from channels.signers import environment_or_ask, open_signer
from channels.signers.keystore import decrypt_keystore
from channels.signers.uris import PASSPHRASE_VARIABLE
from channels.storage import Store, open_store
from channels.units import to_wad

__all__ = [
    "Collateral",
    "Desk",
    "Keys",
    "Watch",
    "at_work",
    "collateral_of",
    "on_watch",
    "risk_of",
    "usual_terms",
]

_PARTING: Final = 5.0
_PENALTY_PART: Final = 20
"""The stale penalty is one part in so many of the smaller deposit."""


@attrs.frozen(kw_only=True)
class Collateral:
    """The token that is locked. ``unit`` base units are 1.0."""

    token: Address
    unit: int
    symbol: str = "USD"

    def show(self, amount: int) -> str:
        """An amount of base units for people, to the last digit."""
        places = len(str(self.unit)) - 1
        return f"{Decimal(amount) / self.unit:,.{places}f} {self.symbol}"


async def collateral_of(deployment: Deployment, rpc: Rpc) -> Collateral:
    """The deployment's token.

    Raises:
        InvalidValueError: the deployment has no token.
    """
    address = deployment.token
    return Collateral(token=address, unit=10 ** await Token(rpc, address).decimals())


@attrs.frozen(kw_only=True)
class Keys:
    """A folder's deployment and its opened keys."""

    home: Home
    deployment: Deployment
    signer: Signer
    wallet: LocalAccount

    @classmethod
    @asynccontextmanager
    async def opened(cls, home: Home) -> AsyncIterator[Keys]:
        """Open the keys of a folder; the passphrase comes from the environment, or is asked for.

        Raises:
            SignerError: a key cannot be had.
        """
        wallet = _wallet(home)
        async with open_signer(home.signer) as signer:
            yield cls(
                home=home,
                deployment=load_deployment(home.deployment),
                signer=signer,
                wallet=wallet,
            )

    def endpoints(self) -> AbstractAsyncContextManager[EndpointPool]:
        """The chain's endpoints."""
        return open_endpoints(self.home.rpc, finality=self.home.finality)


def _wallet(home: Home) -> LocalAccount:
    secret = environment_or_ask(PASSPHRASE_VARIABLE)
    return LocalAccount(decrypt_keystore(home.wallet, secret))


def risk_of(home: Home) -> tuple[RiskParams, ...]:
    """Default margin parameters for the feeds of our market, in their order."""
    return tuple(RiskParams(feed=feed) for feed in sorted(feed_id(name) for name in home.spots))


def usual_terms(
    opening: Opening, deployment: Deployment, collateral: Collateral, home: Home
) -> Terms:
    """The terms that ``opening`` would have on our defaults; its stale penalty, if none higher.

    The contract takes windows of an hour and penalties without bound: who asks a desk that nobody
    sits at for those means to use them.
    """
    terms = opening.terms
    return default_terms(
        party_a=terms.party_a,
        party_b=terms.party_b,
        signer_a=terms.signer_a,
        signer_b=terms.signer_b,
        collateral=collateral.token,
        unit=collateral.unit,
        oracle=deployment.oracle,
        risk=risk_of(home),
        stale_penalty=min(
            terms.stale_penalty, min(opening.deposit_a, opening.deposit_b) // _PENALTY_PART
        ),
        salt=terms.salt,
    )


@attrs.frozen(kw_only=True)
class Desk:
    """A trader at work."""

    home: Home
    keys: Keys
    chain: EthereumChain
    peer: Peer
    monitor: Monitor
    market: FlatMarket
    collateral: Collateral


@attrs.frozen(kw_only=True)
class Watch:
    """A folder's channels under guard, with the store and the chain that takes."""

    store: Store
    chain: EthereumChain
    monitor: Monitor
    market: FlatMarket


@asynccontextmanager
async def on_watch(
    home: Home, *, deployment: Deployment | None = None, wallet: LocalAccount | None = None
) -> AsyncIterator[Watch]:
    """Run the monitor over a folder's store while the block lasts. It needs no session key.

    Raises:
        ChannelsError: wallet, chain or store cannot be opened; says which and why.
    """
    deployment = deployment or load_deployment(home.deployment)
    wallet = wallet or _wallet(home)
    market = FlatMarket(home.spots, vol=home.vol)

    async def price_now(feed: bytes) -> int | None:
        return market.spots.get(feed)

    async with (
        open_store(home.store) as store,
        open_chain(
            home.rpc,
            adjudicator=deployment.adjudicator,
            account=wallet,
            store=store.records("transactions"),
            finality=home.finality,
        ) as chain,
        open_sources(chain.rpc, deployment, home.prices, market=price_now) as prices,
        open_monitor(chain, records=store.records("monitor"), prices=prices) as monitor,
    ):
        yield Watch(store=store, chain=chain, monitor=monitor, market=market)


def _complain(where: str, error: ChannelsError) -> None:
    click.echo(printable(f"Warning: {where}: {error}"), err=True)


@asynccontextmanager
async def at_work(
    home: Home, *, listen: str | None = None, on_trouble: OnTrouble = _complain
) -> AsyncIterator[Desk]:
    """Run a peer and its monitor on a folder's store while the block lasts.

    ``on_trouble`` is told what towers did not take, with the tower's URL or the channel's id.

    Raises:
        ChannelsError: keys, chain or store cannot be opened; says which and why.
    """
    async with AsyncExitStack() as stack:
        keys = await stack.enter_async_context(Keys.opened(home))
        watch = await stack.enter_async_context(
            on_watch(home, deployment=keys.deployment, wallet=keys.wallet)
        )
        chain, market = watch.chain, watch.market
        collateral = await collateral_of(keys.deployment, chain.rpc)

        admission = Admission(
            most=home.most_deposit * collateral.unit, ratio=int(to_wad(home.least_peer_deposit))
        )
        started = trio.Event()

        async def accept_opening(request: OpenRequest) -> bool:
            await started.wait()  # until then it is not known what is locked already
            terms = request.opening.terms
            ours = Party.A if terms.signer_a == keys.signer.address else Party.B
            return (
                terms == usual_terms(request.opening, keys.deployment, collateral, home)
                and tuple(sorted(request.risk, key=lambda each: each.feed)) == risk_of(home)
                and admission.admits(
                    request.opening,
                    channel_id(chain.domain, terms),
                    ours,
                    held=_held(peer),
                    now=peer.now(),
                )
            )

        peer = await stack.enter_async_context(
            open_peer(
                signer=keys.signer,
                wallet=keys.wallet,
                chain=chain,
                store=watch.store,
                listen=listen,
                market=market,
                maker=SpreadMaker(market, edge=home.edge),
                accept_opening=accept_opening,
                settlement_price=market.settlement_price,
                monitor=watch.monitor,
            )
        )
        started.set()
        hand_over = await stack.enter_async_context(
            open_towers(
                home.towers,
                folder=home.folder,
                peer=peer,
                signer=keys.signer,
                domain=chain.domain,
                head=lambda: chain.head,
                on_trouble=on_trouble,
            )
        )
        try:
            yield Desk(
                home=home,
                keys=keys,
                chain=chain,
                peer=peer,
                monitor=watch.monitor,
                market=market,
                collateral=collateral,
            )
        finally:
            if listen is None:
                await _part(peer, hand_over)


def _held(peer: Peer) -> dict[bytes, Locked]:
    """What of ours each channel holds that has not ended, or will hold once it is open."""
    held = {}
    for each in peer.channels:
        if each.phase in (Phase.CLOSED, Phase.ABANDONED):
            continue
        side, opening = each.side, each.state.track.opening
        deposit = opening.deposit_a if side is Party.A else opening.deposit_b
        held[each.channel_id] = Locked(
            counterparty=each.terms.signer(side.other),
            ours=max(deposit, each.state.contribution(side)),
        )
    return held


async def _part(peer: Peer, hand_over: HandOver | None) -> None:
    """Let what is in flight come to stand, a new mark for one, and towers have it; then end.

    Else the counterparty, who accepted it and hears no Confirm, has to bring it to the chain.
    """
    with trio.move_on_after(_PARTING, shield=True):
        for each in peer.channels:
            if each.phase in OPEN_PHASES:
                with suppress(ChannelsError):
                    await each.wait_idle(_PARTING)
                if hand_over is not None:
                    await hand_over.cover_or_tell(each)
