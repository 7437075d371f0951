"""What the owner gave a peer: keys, chain, market, policy, and the code that decides."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from channels.dispute import Monitor
from channels.peer.chain_watch import Chain
from channels.peer.desk import DeskPolicy
from channels.peer.makers import Maker
from channels.peer.network import Network
from channels.peer.policy import (
    MarkSource,
    OpeningDecision,
    RiskPolicy,
    SettlementSource,
    TradeDecision,
)
from channels.peer.recovery import StateSource
from channels.peer.settling import SettlementPolicy
from channels.protocol.channel import Timing
from channels.protocol.signing import Signer
from channels.transport.limits import LinkLimits

__all__ = ["PeerSetup"]


@attrs.frozen(kw_only=True)
class PeerSetup:
    """What `open_peer` was given; see there."""

    signer: Signer
    wallet: Signer
    chain: Chain
    market: MarkSource | None
    maker: Maker | None
    policy: RiskPolicy
    timing: Timing
    accept_opening: OpeningDecision | None
    accept_trade: TradeDecision | None
    settlement_price: SettlementSource | None
    clock: Callable[[], float]
    limits: LinkLimits
    network: Network
    monitor: Monitor | None
    sources: StateSource | None
    desk: DeskPolicy | None = None
    settlement: SettlementPolicy | None = None

    def now(self) -> int:
        """Our clock, Unix seconds."""
        return int(self.clock())
