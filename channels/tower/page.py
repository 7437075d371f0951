"""The status page: plain HTML, no script, nothing from elsewhere.

It is read at a glance, on a phone too, in light and in dark: what is wrong comes first and in
colour, and every colour has a word beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from typing import Final

import attrs

from channels.protocol.eip712 import checksum
from channels.protocol.facts import ChannelView
from channels.tower.service import Tower
from channels.tower.tally import Answer

__all__ = ["status_page"]

_LATE_HEAD: Final = 60
"""Seconds after which a head is late; the alert rules say the same."""
_ETHER: Final = 10**18

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="12">
<meta name="color-scheme" content="light dark">
<style>
:root {{ --ink: #1b1c1e; --soft: #5c6067; --line: #dcdee2; --paper: #fff; --card: #f6f7f9;
  --good: #12662a; --warn: #8a5300; --bad: #b3261e }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e7ea; --soft: #9ba1aa;
  --line: #33373d; --paper: #15171a; --card: #1e2125; --good: #6fd38a; --warn: #f0b45c;
  --bad: #ff8a80 }} }}
* {{ box-sizing: border-box }}
body {{ font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem }}
h1 {{ font-size: 1.4rem; margin: 0 }}
h2 {{ font-size: 1.05rem; margin: 2rem 0 .5rem }}
.state {{ margin: .25rem 0 1.5rem; font-weight: 600 }}
.cards {{ display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)) }}
.card {{ background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .75rem 1rem; margin: 0 }}
.card dt {{ color: var(--soft); font-size: .85rem }}
.card dd {{ margin: 0; font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums }}
.card .note {{ color: var(--soft); font-size: .85rem; font-weight: 400 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; font-variant-numeric: tabular-nums }}
th {{ font-weight: 500; color: var(--soft) }}
code {{ font: .9em ui-monospace, monospace; overflow-wrap: anywhere }}
.good {{ color: var(--good) }} .warn {{ color: var(--warn) }} .bad {{ color: var(--bad) }}
@media (max-width: 40rem) {{
  thead {{ display: none }}
  .disputes tr {{ display: block; border-bottom: 1px solid var(--line); padding: .5rem 0 }}
  .disputes td {{ display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: 0;
    text-align: right }}
  .disputes td::before {{ content: attr(data-name); color: var(--soft); white-space: nowrap }}
  .facts th, .facts td {{ display: block; border: 0; padding: 0 }}
  .facts tr {{ display: block; border-bottom: 1px solid var(--line); padding: .4rem 0 }}
}}
</style></head><body>
<h1>{title}</h1>
<p class="state {mood}">{word}</p>
<dl class="cards">{cards}</dl>
<h2>Disputes</h2>
{disputes}
<h2>Details</h2>
<table class="facts"><tbody>{facts}</tbody></table>
</body></html>
"""

_DISPUTES: Final = """<table class="disputes"><thead><tr><th>Channel</th><th>Filed</th>
<th>Recorded</th><th>We hold</th><th>Window closes</th><th>State</th></tr></thead>
<tbody>{rows}</tbody></table>"""


_MOODS: Final = {
    True: ("good", "answered"),
    False: ("bad", "to be answered"),
    None: ("warn", "the holder's"),
}


@attrs.frozen
class _Card:
    """One figure: its name, how it stands, and what it is compared with."""

    name: str
    value: str
    note: str
    mood: str = ""

    def __str__(self) -> str:
        return (
            f'<div class="card"><dt>{escape(self.name)}</dt>'
            f'<dd class="{self.mood}">{escape(self.value)}</dd>'
            f'<dd class="note">{escape(self.note)}</dd></div>'
        )


def _span(seconds: float) -> str:
    """A time that passes, in two units at most."""
    seconds = round(seconds)
    if seconds < 0:
        return "0 s"
    for size, name, below, under in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if seconds >= size:
            return f"{seconds // size} {name} {seconds % size // below} {under}"
    return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"


def _clock(time: int) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _is_answered(tower: Tower, channel_id: bytes, view: ChannelView) -> bool | None:
    """Whether the newest state we hold is recorded; None: another process knows."""
    watched = None if tower.defence.monitor is None else tower.monitor.watched(channel_id)
    return None if watched is None else view.nonce >= watched.newest_nonce


def _state(tower: Tower, now: float) -> tuple[str, str]:
    """How it stands in a sentence, and how that looks."""
    lag = now - tower.head.timestamp
    open_ones = sum(_is_answered(tower, *each) is False for each in tower.disputes.items())
    if tower.lookout.taken is None:
        return "warn", "Starting: what was missed is being taken in."
    if tower.book.failed is not None:
        return "bad", f"Degraded: nothing is stored any more. {tower.book.failed}"
    if tower.degraded:
        return "bad", "Degraded: a dispute may have been missed."
    if tower.undefended:
        return "bad", f"{tower.undefended} disputed channels are not defended yet."
    if lag > _LATE_HEAD:
        return "bad", f"No new block for {_span(lag)}."
    if open_ones:
        return "warn", f"Disputes to be answered: {open_ones}. Nothing was missed."
    if tower.defence.role == "standby":
        held = "another process holds the lease and acts" if tower.defence.sure else "nobody acts"
        return ("good" if tower.defence.sure else "bad"), f"On standby: {held}."
    return "good", "Watching; nothing was missed."


def _cards(tower: Tower, now: float) -> Iterator[_Card]:
    head, least, beat = tower.head, tower.policy.least_reserve, tower.beat
    lag = now - head.timestamp
    yield _Card(
        "Head",
        f"{_span(lag)} old",
        f"block {head.number}, final {head.final_number}",
        "bad" if lag > _LATE_HEAD else "good",
    )
    yield _Card(
        "Gas reserve",
        f"{tower.reserve / _ETHER:.4f} ether" if beat is not None else "not known",
        f"{least / _ETHER:g} ether wanted",
        "" if beat is None else ("bad" if tower.reserve < least else "good"),
    )
    yield _Card(
        "Endpoints",
        "all well" if tower.trouble is None else "in trouble",
        "" if tower.trouble is None else str(tower.trouble),
        "good" if tower.trouble is None else "bad",
    )
    yield _Card(
        "Heartbeat",
        "none" if beat is None else f"number {beat.heartbeat.sequence}",
        "silent: customers look elsewhere"
        if beat is None
        else f"at block {beat.heartbeat.head_number}",
        "bad" if beat is None else "good",
    )
    yield _Card(
        "Channels watched",
        str(tower.book.entries),
        f"{tower.tally.appointments['accepted']} appointments taken since the start",
    )
    open_disputes = len(tower.disputes)
    nearest = min(tower.deadlines, default=0) - head.timestamp
    yield _Card(
        "In their window",
        str(open_disputes),
        f"the nearest closes in {_span(nearest)}" if open_disputes else "no open dispute",
        "warn" if open_disputes else "",
    )
    yield _answered("Last answer", tower.tally.last_answer, now)
    yield _answered("Last drill", tower.tally.last_drill, now)


def _answered(name: str, answer: Answer | None, now: float) -> _Card:
    if answer is None:
        return _Card(name, "none", "since the start")
    shown = f"recorded {answer.seconds:.1f} s after it was asked for, block {answer.block}"
    return _Card(name, f"{_span(now - answer.time)} ago", shown)


def _dispute(tower: Tower, channel_id: bytes, view: ChannelView) -> str:
    watched = None if tower.defence.monitor is None else tower.monitor.watched(channel_id)
    left = view.deadline - tower.head.timestamp
    mood, state = _MOODS[_is_answered(tower, channel_id, view)]
    cells = (
        ("Channel", f'<code title="0x{channel_id.hex()}">0x{channel_id.hex()[:16]}…</code>'),
        ("Filed", str(view.filed_nonce)),
        ("Recorded", str(view.nonce)),
        ("We hold", "–" if watched is None else str(watched.newest_nonce)),
        ("Window closes", f"in {_span(left)}, {_clock(view.deadline)}"),
        ("State", f'<span class="{mood}">{state}</span>'),
    )
    return "<tr>" + "".join(f'<td data-name="{name}">{text}</td>' for name, text in cells) + "</tr>"


def _facts(tower: Tower) -> Iterator[tuple[str, str]]:
    domain = tower.chain.domain
    yield "Tower", checksum(tower.address)
    yield "Gas account", checksum(tower.gas_account)
    yield "Adjudicator", f"{checksum(domain.adjudicator)} on chain {domain.chain_id}"
    yield "Role", tower.defence.role
    yield "Disputes ever filed", str(tower.lookout.disputes)
    yield "Deepest reorganisation", f"{tower.tally.deepest_reorg} blocks"
    yield "Store root", "0x" + tower.book.root.hex()


def status_page(tower: Tower, now: float) -> str:
    """What an operator wants to see at a glance. ``now`` is Unix time."""
    mood, word = _state(tower, now)
    disputes = sorted(
        tower.disputes.items(),
        key=lambda each: (_is_answered(tower, *each) is True, each[1].deadline),
    )
    rows = "".join(_dispute(tower, channel_id, view) for channel_id, view in disputes)
    return _PAGE.format(
        title="Watchtower",
        mood=mood,
        word=escape(word),
        cards="".join(map(str, _cards(tower, now))),
        disputes=_DISPUTES.format(rows=rows) if rows else "<p>None.</p>",
        facts="".join(
            f"<tr><th>{escape(name)}</th><td><code>{escape(value)}</code></td></tr>"
            for name, value in _facts(tower)
        ),
    )
