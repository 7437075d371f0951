"""What a tower signs, with the signature: receipts and heartbeats."""

from __future__ import annotations

import attrs

from channels.protocol.signing import Signature
from channels.protocol.watching import Heartbeat, Receipt

__all__ = ["SignedHeartbeat", "SignedReceipt"]


@attrs.frozen(kw_only=True)
class SignedReceipt:
    """A receipt. Who has one is protected, and can show it."""

    receipt: Receipt
    signature: Signature


@attrs.frozen(kw_only=True)
class SignedHeartbeat:
    """A heartbeat."""

    heartbeat: Heartbeat
    signature: Signature
