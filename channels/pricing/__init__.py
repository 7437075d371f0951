"""Pricing and margin: the numbers that both parties and the contract compute to the same digit.

Everything here is a pure function of its arguments, in integers; time and market data are passed
in. Formulas, error budget and domain: docs/explanation/pricing.md.

Names that need attrs are imported at their first use, so that importing prices alone stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from channels.pricing.black76 import (
    MAX_CARRY,
    MAX_PRICE,
    MAX_TENOR,
    MAX_VOL,
    forward_price,
    implied_carry,
    price,
)
from channels.pricing.kinds import Kind
from channels.pricing.payoff import MAX_PAYOFF, intrinsic, payoff, settlement_payoff

if TYPE_CHECKING:
    from channels.pricing.losses import BucketLoss, largest_losses
    from channels.pricing.margin import LargestLossMargin, MarginModel, Margins
    from channels.pricing.portfolio import (
        PortfolioValue,
        PositionLike,
        SpotLike,
        portfolio_value,
        position_price,
    )

__all__ = [
    "MAX_CARRY",
    "MAX_PAYOFF",
    "MAX_PRICE",
    "MAX_TENOR",
    "MAX_VOL",
    "BucketLoss",
    "Kind",
    "LargestLossMargin",
    "MarginModel",
    "Margins",
    "PortfolioValue",
    "PositionLike",
    "SpotLike",
    "forward_price",
    "implied_carry",
    "intrinsic",
    "largest_losses",
    "payoff",
    "portfolio_value",
    "position_price",
    "price",
    "settlement_payoff",
]

_HOME: Final = {
    "BucketLoss": "losses",
    "LargestLossMargin": "margin",
    "MarginModel": "margin",
    "Margins": "margin",
    "PortfolioValue": "portfolio",
    "PositionLike": "portfolio",
    "SpotLike": "portfolio",
    "largest_losses": "losses",
    "portfolio_value": "portfolio",
    "position_price": "portfolio",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
