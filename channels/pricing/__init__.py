"""Pricing and margin: the numbers that both parties and the contract compute to the same digit.

Everything here is a pure function of its arguments; time and market data are passed in. What is
signed or paid is computed in integers. Formulas, error budget and domain:
docs/explanation/pricing.md.

For trading there is a second engine, in floats, that never enters a signed state:
`channels.pricing.scalar` (price and Greeks of one option), `channels.pricing.implied_vol`,
`channels.pricing.arrays` and `channels.pricing.array_vol` (the same on NumPy arrays), and `Book`
(whole books and scenario grids). The last three need the extra ``numpy``.

Names that need attrs or NumPy are imported at their first use, so that importing prices alone
stays cheap.
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
    from channels.pricing.book import Book
    from channels.pricing.close_out import (
        MAX_SHIFT,
        ShiftedPosition,
        close_out_shift,
        close_out_value,
        run_off_lock,
        shifted_positions,
    )
    from channels.pricing.feed_margin import FeedMargin, Scenario
    from channels.pricing.greeks import Greeks, per_day, per_vol_point
    from channels.pricing.implied_vol import ImpliedVol, VolStatus
    from channels.pricing.losses import BucketLoss, largest_losses
    from channels.pricing.margin import MarginModel, Margins
    from channels.pricing.portfolio import (
        PortfolioValue,
        PositionLike,
        SpotLike,
        portfolio_value,
        position_price,
    )
    from channels.pricing.risk_array import Node
    from channels.pricing.risk_params import RISK_BOUNDS, RiskParamsLike, risk_by_feed
    from channels.pricing.scan_margin import PartyMargin, ScanMargin

__all__ = [
    "MAX_CARRY",
    "MAX_PAYOFF",
    "MAX_PRICE",
    "MAX_SHIFT",
    "MAX_TENOR",
    "MAX_VOL",
    "RISK_BOUNDS",
    "Book",
    "BucketLoss",
    "FeedMargin",
    "Greeks",
    "ImpliedVol",
    "Kind",
    "MarginModel",
    "Margins",
    "Node",
    "PartyMargin",
    "PortfolioValue",
    "PositionLike",
    "RiskParamsLike",
    "ScanMargin",
    "Scenario",
    "ShiftedPosition",
    "SpotLike",
    "VolStatus",
    "close_out_shift",
    "close_out_value",
    "forward_price",
    "implied_carry",
    "intrinsic",
    "largest_losses",
    "payoff",
    "per_day",
    "per_vol_point",
    "portfolio_value",
    "position_price",
    "price",
    "risk_by_feed",
    "run_off_lock",
    "settlement_payoff",
    "shifted_positions",
]

_HOME: Final = {
    "MAX_SHIFT": "close_out",
    "RISK_BOUNDS": "risk_params",
    "Book": "book",
    "BucketLoss": "losses",
    "FeedMargin": "feed_margin",
    "Greeks": "greeks",
    "ImpliedVol": "implied_vol",
    "MarginModel": "margin",
    "Margins": "margin",
    "Node": "risk_array",
    "PartyMargin": "scan_margin",
    "PortfolioValue": "portfolio",
    "PositionLike": "portfolio",
    "RiskParamsLike": "risk_params",
    "ScanMargin": "scan_margin",
    "Scenario": "feed_margin",
    "ShiftedPosition": "close_out",
    "SpotLike": "portfolio",
    "VolStatus": "implied_vol",
    "close_out_shift": "close_out",
    "close_out_value": "close_out",
    "largest_losses": "losses",
    "per_day": "greeks",
    "per_vol_point": "greeks",
    "portfolio_value": "portfolio",
    "position_price": "portfolio",
    "risk_by_feed": "risk_params",
    "run_off_lock": "close_out",
    "shifted_positions": "close_out",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
