"""Leave for somebody else to dispute in our name."""

from __future__ import annotations

import attrs

from channels.protocol.signing import Signature
from channels.protocol.terms import DisputeAuthorisation

__all__ = ["Authorisation"]


@attrs.frozen(kw_only=True)
class Authorisation:
    """A `DisputeAuthorisation` with our signature: what its delegate needs to file a dispute."""

    value: DisputeAuthorisation
    signature: Signature
