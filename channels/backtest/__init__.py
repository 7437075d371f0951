"""Margin models beside each other on recorded markets: who asks how much, and whose margin misses.

Every snapshot gets the same portfolios; each model says what both sides must cover; a later
snapshot's own marks say what was lost. Integers where the contract decides (ours), floats for the
rest. Method, sources and results: docs/explanation/margin.md.
"""

from __future__ import annotations

from channels.backtest.market import Market, Snapshot, read_market
from channels.backtest.models import DEFAULT_MODELS, Model
from channels.backtest.portfolios import Leg, Portfolio, portfolios_of
from channels.backtest.report import Coverage, coverage, families
from channels.backtest.run import HORIZONS, Observation, run_backtest

__all__ = [
    "DEFAULT_MODELS",
    "HORIZONS",
    "Coverage",
    "Leg",
    "Market",
    "Model",
    "Observation",
    "Portfolio",
    "Snapshot",
    "coverage",
    "families",
    "portfolios_of",
    "read_market",
    "run_backtest",
]
