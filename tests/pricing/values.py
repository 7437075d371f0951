"""Positions and spots for the tests: the least that the pricing functions ask for."""

from __future__ import annotations

import attrs

ETH = b"ETH-USD".ljust(32, b"\0")
BTC = b"BTC-USD".ljust(32, b"\0")


@attrs.frozen(kw_only=True)
class Held:
    feed: bytes = ETH
    kind: int
    expiry: int = 1_774_598_400
    strike: int
    quantity: int
    vol: int = 6 * 10**17
    carry: int = 0


@attrs.frozen(kw_only=True)
class At:
    feed: bytes = ETH
    price: int
