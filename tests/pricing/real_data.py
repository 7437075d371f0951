"""Where recorded markets are found, if they are: tests that need them are skipped otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from channels.pricing.marketdata import MarketSnapshot, read_snapshots

ROOT = Path(__file__).resolve().parents[2]


def real_options(asset: str) -> Path:
    """A file of Deribit's option summaries of ``btc`` or ``eth``."""
    data = Path(os.environ.get("OPTION_CHANNELS_DATA", ROOT.parent / "shared" / "data"))
    for path in sorted(data.glob(f"deribit/{asset}_options_*.csv.gz")):
        return path
    pytest.skip(f"no {asset} option data below {data}; set OPTION_CHANNELS_DATA to its folder")


def sample(asset: str, *, every: int = 20) -> Iterator[MarketSnapshot]:
    """Some of the snapshots."""
    return islice(read_snapshots(real_options(asset)), 0, None, every)
