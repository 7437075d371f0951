"""Positions and spots for the tests: the least that the pricing functions ask for."""

from __future__ import annotations

from typing import Any

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


@attrs.frozen(kw_only=True)
class Risk:
    """Margin parameters with the defaults of risk.md, written down once more."""

    feed: bytes = ETH
    price_range: int = 20 * 10**16
    vol_up: int = 45 * 10**16
    vol_down: int = 30 * 10**16
    look_ahead: int = 172_800
    calendar: int = 25 * 10**16
    strike: int = 10 * 10**16
    carry_base: int = 5 * 10**15
    carry_slope: int = 3 * 10**16
    short_minimum: int = 10**16
    im_factor: int = 125 * 10**16
    shift_base: int = 12 * 10**15
    shift_per_root_hour: int = 25 * 10**15
    run_off_factor: int = 2 * 10**18


def risk_with(name: str, value: int) -> Risk:
    """The defaults with one parameter changed."""
    changes: dict[str, Any] = {name: value}
    return attrs.evolve(Risk(), **changes)
