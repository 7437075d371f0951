"""The commands of a trader: a folder with keys, a store and a configuration, and work on it."""

from __future__ import annotations

from channels.cli.desk.serving import serve
from channels.cli.desk.setting_up import card, fund, init
from channels.cli.desk.showing import greeks, margin, positions
from channels.cli.desk.trading import close, open_channel, quote, settle, trade
from channels.cli.desk.watching import watch

__all__ = ["COMMANDS"]

COMMANDS = (
    init,
    card,
    fund,
    serve,
    watch,
    open_channel,
    quote,
    trade,
    settle,
    close,
    positions,
    margin,
    greeks,
)
"""Every command of a trader, in the order in which one uses them."""
