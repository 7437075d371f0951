"""One peer on a fake chain: at work, stopped, started again, or cheating."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, Final, TypedDict

import trio

from channels.dispute import Monitor, open_monitor
from channels.errors import IllegalCommandError
from channels.peer import (
    BreakerPolicy,
    CreditPolicy,
    DeskPolicy,
    MarkSource,
    Peer,
    PeerChannel,
    RiskPolicy,
    SettlementPolicy,
    SettlementSource,
    StateSource,
    open_peer,
)
from channels.peer.makers import Maker
from channels.peer.policy import OpeningDecision, TradeDecision
from channels.protocol.calls import CoSigned, Dispute
from channels.protocol.channel import Timing
from channels.protocol.eip712 import keccak
from channels.protocol.signing import LocalSigner, Signer
from channels.storage import Store
from channels.testing.fake_chain import UNIT, FakeChain
from channels.testing.fake_endpoint import FakeEndpoint
from channels.transport.limits import LinkLimits
from channels.transport.memory import MemoryNetwork

__all__ = ["LinkedPeer", "PeerOptions"]

_FUNDS: Final = 1_000_000 * UNIT


class PeerOptions(TypedDict, total=False):
    """What a linked peer is opened with in place of the defaults; see `channels.open_peer`.

    Two are not `open_peer`'s: ``funds``, base units minted into its wallet; ``monitored``, whether
    a dispute monitor defends its channels (it does).
    """

    signer: Signer
    wallet: Signer
    market: MarkSource | None
    maker: Maker | None
    policy: RiskPolicy | None
    credit: CreditPolicy | None
    breaker: BreakerPolicy | None
    timing: Timing | None
    accept_opening: OpeningDecision | None
    accept_trade: TradeDecision | None
    settlement_price: SettlementSource | None
    limits: LinkLimits
    sources: StateSource | None
    desk: DeskPolicy | None
    settlement: SettlementPolicy | None
    funds: int
    monitored: bool


class LinkedPeer:
    """Somebody on the fake chain, at work or stopped. Its store is in memory and survives a stop.

    Attributes:
        name: what it is called.
        signer: its session key.
        wallet: the key that owns its deposits.
        chain: its way to the chain, which can fail.
        store: its database.
        address: where it listens.
    """

    def __init__(
        self,
        name: str,
        *,
        chain: FakeChain,
        network: MemoryNetwork,
        store: Store,
        nursery: trio.Nursery,
        options: dict[str, Any],
    ) -> None:
        """Fund its wallet. Its keys, unless given, follow from its name."""
        self.name = name
        self.address = f"memory:{name}"
        signer, wallet = (
            LocalSigner(keccak(f"{purpose} of {name}".encode())) for purpose in ("signer", "wallet")
        )
        self.signer: Signer = options.pop("signer", signer)
        self.wallet: Signer = options.pop("wallet", wallet)
        self.chain = FakeEndpoint(chain, self.wallet.address)
        self.store = store
        self._ledger = chain
        self._network = network
        self._nursery = nursery
        self._monitored: bool = options.pop("monitored", True)
        self._options = options
        self._peer: Peer | None = None
        self._monitor: Monitor | None = None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        chain.fund(self.wallet.address, options.pop("funds", _FUNDS))

    @property
    def peer(self) -> Peer:
        """The peer.

        Raises:
            IllegalCommandError: it is stopped.
        """
        if self._peer is None:
            raise IllegalCommandError(f"{self.name} is stopped", next_step="start it")
        return self._peer

    @property
    def monitor(self) -> Monitor:
        """The monitor that defends its channels.

        Raises:
            IllegalCommandError: it has none, or is stopped.
        """
        if self._monitor is None:
            raise IllegalCommandError(f"{self.name} has no monitor at work")
        return self._monitor

    @property
    def running(self) -> bool:
        """Whether it is at work."""
        return self._peer is not None

    @property
    def channel(self) -> PeerChannel:
        """Its side of the first channel that it has.

        Raises:
            IllegalCommandError: it has none, or is stopped.
        """
        channels = self.peer.channels
        if not channels:
            raise IllegalCommandError(f"{self.name} has no channel", next_step="open one")
        return channels[0]

    @property
    def balance(self) -> int:
        """Base units in its wallet."""
        return self._ledger.balance(self.wallet.address)

    async def start(self) -> None:
        """Take it up, on the store that it has.

        Raises:
            IllegalCommandError: it is at work.
        """
        if self.running:
            raise IllegalCommandError(f"{self.name} is at work")
        await self._nursery.start(self._work)

    async def stop(self) -> None:
        """Take it down as a crash does: nothing is said, and nothing more is done.

        Raises:
            IllegalCommandError: it is stopped.
        """
        if not self.running:
            raise IllegalCommandError(f"{self.name} is stopped")
        self._scope.cancel()
        await self._ended.wait()

    async def cheat(self, channel: PeerChannel, state: CoSigned | None) -> None:
        """File a dispute on a state of its choice: an old one, or none. It need not be running.

        Its own monitor would put that right: stop it first, or join it with ``monitored=False``.
        """
        key = b"cheat" + (b"" if state is None else state.state.struct_hash)
        await self.chain.submit(Dispute(terms=channel.terms, newest=state), key=key)

    async def _work(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        try:
            with self._scope:
                async with AsyncExitStack() as stack:
                    if self._monitored:
                        watching = open_monitor(self.chain, records=self.store.records("monitor"))
                        self._monitor = await stack.enter_async_context(watching)
                    self._peer = await stack.enter_async_context(
                        open_peer(
                            signer=self.signer,
                            wallet=self.wallet,
                            chain=self.chain,
                            store=self.store,
                            listen=self.address,
                            network=self._network,
                            clock=self._ledger.clock,
                            monitor=self._monitor,
                            **self._options,
                        )
                    )
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self._peer = self._monitor = None
            self._ended.set()
