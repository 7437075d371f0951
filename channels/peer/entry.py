"""`open_peer`: from what the owner gives to a peer at work, for the time of an ``async with``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from channels.chain.tasks import open_tasks
from channels.dispute import Monitor
from channels.peer.chain_watch import Chain
from channels.peer.credit_policy import BreakerPolicy, CreditPolicy
from channels.peer.desk import DeskPolicy
from channels.peer.makers import Maker
from channels.peer.network import Network, SocketNetwork
from channels.peer.peer import Peer
from channels.peer.policy import (
    MarkSource,
    OpeningDecision,
    RiskPolicy,
    SettlementSource,
    TradeDecision,
)
from channels.peer.recovery import StateSource
from channels.peer.session import LIMITS
from channels.peer.settling import SettlementPolicy
from channels.peer.setup import PeerSetup
from channels.protocol.channel import Timing
from channels.protocol.signing import LocalSigner, Signer
from channels.storage import Store, open_store
from channels.transport.limits import LinkLimits

__all__ = ["open_peer"]

DEFAULT_CREDIT: Final = CreditPolicy()
DEFAULT_BREAKER: Final = BreakerPolicy()
DEFAULT_SETTLEMENT: Final = SettlementPolicy()
SIGNATURES_IN_A_BOX: Final = 12
"""An Accept makes two, and has to be made within a third of the box."""
WALLET_TIMEOUT: Final = 60.0
"""Seconds for a signature on an Opening: a person may have to consent, and no channel waits."""


@asynccontextmanager
async def open_peer(
    *,
    signer: Signer,
    chain: Chain,
    store: str | Path | Store,
    wallet: Signer | None = None,
    listen: str | None = None,
    market: MarkSource | None = None,
    maker: Maker | None = None,
    policy: RiskPolicy | None = None,
    credit: CreditPolicy | None = DEFAULT_CREDIT,
    breaker: BreakerPolicy | None = DEFAULT_BREAKER,
    timing: Timing | None = None,
    accept_opening: OpeningDecision | None = None,
    accept_trade: TradeDecision | None = None,
    settlement_price: SettlementSource | None = None,
    clock: Callable[[], float] = time.time,
    limits: LinkLimits = LIMITS,
    tls: bool = True,
    network: Network | None = None,
    monitor: Monitor | None = None,
    sources: StateSource | None = None,
    desk: DeskPolicy | None = None,
    settlement: SettlementPolicy | None = DEFAULT_SETTLEMENT,
) -> AsyncIterator[Peer]:
    """Run a peer for the time of an ``async with``.

    Args:
        signer: the session key that signs states; a signature that takes more than a twelfth of a
            box fails with `SignerError`, and nothing is signed or sent.
        chain: an open `channels.chain.EthereumChain`.
        store: path of the database, or an open store.
        wallet: the key that owns deposits and signs Openings, within a minute; the signer itself
            unless given.
        listen: address to accept counterparties on: ``host:port``, ``[::1]:port``, ``unix:/path``.
        market: our own marks; without them nothing is traded or re-marked.
        maker: names prices when a counterparty asks.
        policy: tolerances and limits.
        credit: when we re-mark, call for margin and dispute; None: never by ourselves, and **a
            counterparty that falls short may lose us funds**.
        breaker: what stops a channel from trading; None: only the owner and the protocol do.
        timing: box and slot of the chain.
        accept_opening: decides whether we open when asked; without it we never do.
        accept_trade: decides on trades proposed without a request; without it we decline.
        settlement_price: the price we stand by for a settlement off chain.
        clock: Unix seconds; of the chain where its time is not the world's.
        limits: times and rates of every connection.
        tls: whether TCP goes over TLS 1.3; both peers must agree. Without it anybody on the way
            reads all, and can pass for either side. Unix sockets never do.
        network: what others are reached over in place of sockets; `channels.testing` brings one.
        monitor: an open `channels.dispute.Monitor`: defends every channel of this peer.
        settlement: when we propose to settle what has expired, at ``settlement_price``; None: never
            by ourselves.
        desk: limits and market-maker protection over all channels; None: each stands alone.
        sources: asks our towers and copies for states when our data is in doubt; None: only the
            counterparty is asked, and one that shows less than it has **may lose us funds**.

    Raises:
        StorageError: the database cannot be opened, or another process holds it.
    """
    timing = Timing() if timing is None else timing
    setup = PeerSetup(
        signer=_in_time(signer, timing.box / SIGNATURES_IN_A_BOX),
        wallet=_in_time(signer if wallet is None else wallet, WALLET_TIMEOUT),
        chain=chain,
        market=market,
        maker=maker,
        policy=RiskPolicy() if policy is None else policy,
        timing=timing,
        accept_opening=accept_opening,
        accept_trade=accept_trade,
        settlement_price=settlement_price,
        clock=clock,
        limits=limits,
        network=SocketNetwork(tls=tls) if network is None else network,
        monitor=monitor,
        desk=desk,
        settlement=settlement,
        sources=sources,
    )
    async with AsyncExitStack() as stack:
        if not isinstance(store, Store):
            store = await stack.enter_async_context(open_store(store))
        nursery = await stack.enter_async_context(open_tasks())
        peer = Peer(nursery=nursery, store=store, setup=setup, credit=credit, breaker=breaker)
        await peer.start(listen)
        yield peer


def _in_time(key: Signer, seconds: float) -> Signer:
    """The key with a deadline: **one that hangs would hold up a channel's answer to a dispute**."""
    if isinstance(key, LocalSigner):
        return key  # in this process's memory: it cannot hang
    from channels.signers.deadline import DeadlineSigner  # costs more than the peer itself

    return DeadlineSigner(key, seconds)
