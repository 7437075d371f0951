"""`open_peer`: from what the owner gives to a peer at work, for the time of an ``async with``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from channels.dispute import Monitor
from channels.peer.chain_watch import Chain
from channels.peer.credit_policy import BreakerPolicy, CreditPolicy
from channels.peer.desk import DeskPolicy
from channels.peer.makers import Maker
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
from channels.protocol.signing import Signer
from channels.storage import Store, open_store
from channels.transport.limits import LinkLimits

__all__ = ["open_peer"]

DEFAULT_CREDIT: Final = CreditPolicy()
DEFAULT_BREAKER: Final = BreakerPolicy()
DEFAULT_SETTLEMENT: Final = SettlementPolicy()


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
    monitor: Monitor | None = None,
    sources: StateSource | None = None,
    desk: DeskPolicy | None = None,
    settlement: SettlementPolicy | None = DEFAULT_SETTLEMENT,
) -> AsyncIterator[Peer]:
    """Run a peer for the time of an ``async with``.

    Args:
        signer: the session key that signs states.
        chain: an open `channels.chain.EthereumChain`.
        store: path of the database, or an open store.
        wallet: the key that owns deposits and signs Openings; the signer itself unless given.
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
        monitor: an open `channels.dispute.Monitor`: defends every channel of this peer.
        settlement: when we propose to settle what has expired, at ``settlement_price``; None: never
            by ourselves.
        desk: limits and market-maker protection over all channels; None: each stands alone.
        sources: asks our towers and copies for states when our data is in doubt; None: only the
            counterparty is asked, and one that shows less than it has **may lose us funds**.

    Raises:
        StorageError: the database cannot be opened, or another process holds it.
    """
    setup = PeerSetup(
        signer=signer,
        wallet=signer if wallet is None else wallet,
        chain=chain,
        market=market,
        maker=maker,
        policy=RiskPolicy() if policy is None else policy,
        timing=Timing() if timing is None else timing,
        accept_opening=accept_opening,
        accept_trade=accept_trade,
        settlement_price=settlement_price,
        clock=clock,
        limits=limits,
        tls=tls,
        monitor=monitor,
        desk=desk,
        settlement=settlement,
        sources=sources,
    )
    failure: BaseException | None = None
    async with AsyncExitStack() as stack:
        if not isinstance(store, Store):
            store = await stack.enter_async_context(open_store(store))
        try:
            async with trio.open_nursery() as nursery:
                peer = Peer(
                    nursery=nursery, store=store, setup=setup, credit=credit, breaker=breaker
                )
                try:
                    await peer.start(listen)
                    yield peer
                except BaseException as error:
                    failure = error
                    raise
                finally:
                    nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            # What the block raised is the caller's own; only our tasks' failures come as a group.
            if failure is not None and group.exceptions == (failure,):
                raise failure from failure.__cause__
            raise
