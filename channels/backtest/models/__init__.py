"""The margin models compared: ours with three parameter sets, and three venues' from their papers.

Each says what equity - cash and the value of the positions - a party needs to open a portfolio.
"""

from __future__ import annotations

from typing import Final

from channels.backtest.models.deribit_pm import DeribitPortfolioMargin
from channels.backtest.models.derive_pmrm2 import DerivePortfolioMargin
from channels.backtest.models.derive_srm import DeriveStandardMargin
from channels.backtest.models.model import Model, Requirement, Sides
from channels.backtest.models.ours import ScanModel
from channels.units import DAY, HOUR, WAD

__all__ = [
    "DEFAULT_MODELS",
    "DeribitPortfolioMargin",
    "DerivePortfolioMargin",
    "DeriveStandardMargin",
    "Model",
    "Requirement",
    "ScanModel",
    "Sides",
]

DEFAULT_MODELS: Final[tuple[Model, ...]] = (
    ScanModel(name="ours 0.20 / 2 d"),
    ScanModel(name="ours 0.16 / 1 d", price_range=16 * WAD // 100, look_ahead=DAY),
    ScanModel(name="ours 0.12 / 12 h", price_range=12 * WAD // 100, look_ahead=12 * HOUR),
    DeribitPortfolioMargin(),
    DerivePortfolioMargin(),
    DeriveStandardMargin(),
)
"""What ``option-channels backtest`` compares; the first has the default parameters."""
