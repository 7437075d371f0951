"""The status page: plain HTML, no script, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Final

from channels.protocol.eip712 import checksum
from channels.tower.service import Tower

__all__ = ["status_page"]

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Watchtower</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto }}
table {{ border-collapse: collapse; width: 100% }} th {{ text-align: left; font-weight: 600 }}
td, th {{ padding: .25rem .5rem; border-bottom: 1px solid #ddd; vertical-align: top }}
td {{ font-variant-numeric: tabular-nums; overflow-wrap: anywhere }}
.good {{ color: #176f2c }} .bad {{ color: #b3261e }}
</style></head><body>
<h1>Watchtower</h1>
<p class="{mood}">{word}</p>
<table>{rows}</table>
<h2>Disputes</h2>
<table><tr><th>Channel</th><th>Recorded</th><th>Seconds left</th></tr>{disputes}</table>
</body></html>
"""


def _row(name: str, value: object) -> str:
    return f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"


def status_page(tower: Tower, now: float) -> str:
    """What an operator wants to see at a glance. ``now`` is Unix time."""
    head, beat = tower.head, tower.beat
    rows = [
        _row("Tower", checksum(tower.address)),
        _row("Gas account", checksum(tower.gas_account)),
        _row("Gas reserve", f"{tower.reserve / 1e18:.6f} ether"),
        _row("Channels watched", tower.book.entries),
        _row("Head", f"{head.number}, {now - head.timestamp:.0f} s old"),
        _row("Final", head.final_number),
        _row("Disputes counted", tower.lookout.disputes),
        _row("Endpoints", "all well" if tower.trouble is None else tower.trouble),
        _row("Heartbeat", "none" if beat is None else f"number {beat.heartbeat.sequence}"),
        _row("Store root", "0x" + tower.book.root.hex()),
        _row("Appointments taken", tower.tally.appointments["accepted"]),
    ]
    disputes = [
        f"<tr><td>0x{channel_id.hex()}</td><td>{view.nonce}</td>"
        f"<td>{view.deadline - head.timestamp}</td></tr>"
        for channel_id, view in sorted(tower.disputes.items(), key=lambda each: each[1].deadline)
    ]
    well = not tower.degraded
    return _PAGE.format(
        mood="good" if well else "bad",
        word="Watching; nothing was missed."
        if well
        else "Degraded: a dispute may have been missed.",
        rows="".join(rows),
        disputes="".join(disputes) or '<tr><td colspan="3">none</td></tr>',
    )
