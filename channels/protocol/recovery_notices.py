"""What a recovery tells whoever embeds the peer."""

from __future__ import annotations

import attrs

from channels.protocol.types import Portfolio

__all__ = ["PeerRecovering", "Recovered", "RecoveryFailed", "RecoveryNeeded"]


@attrs.frozen(kw_only=True)
class RecoveryNeeded:
    """A newer state of ours exists than the ones we hold: our data is old or lost."""

    newest_known: int
    shown: int


@attrs.frozen(kw_only=True)
class PeerRecovering:
    """The peer has lost data: nothing is signed until the newest state is final on chain again."""


@attrs.frozen(kw_only=True)
class Recovered:
    """The newest state that was found is final on chain, at ``nonce``; trading may go on.

    ``voided`` are nonces of ours that it passed and that carried another portfolio: those changes
    came to nothing. Changes that were lost with the data, and of which the other side never had the
    Confirm, have come to nothing as well.
    """

    nonce: int
    portfolio: Portfolio
    voided: tuple[int, ...]


@attrs.frozen(kw_only=True)
class RecoveryFailed:
    """No recovery within `Timing.recovery_time`: we dispute on ``nonce``, the best we know.

    Something newer may be filed against us, and that **may cost the stale penalty**.
    """

    nonce: int
