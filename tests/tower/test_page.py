"""The status page: what it says, that it is sound HTML, and how a browser shows it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from channels.errors import EndpointError
from channels.tower.page import status_page
from tests.chain.world import World
from tests.tower.world import (
    PATIENCE,
    POLICY,
    Stand,
    file_stale,
    fresh_signer,
    open_channel,
    tower_of,
    until_recorded,
)

CHROMIUM: Final = shutil.which("chromium")
NO_CHROMIUM: Final = "no chromium: the distribution's package brings it"
QUIET: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
VOID: Final = {"meta", "br"}


class Reader(HTMLParser):
    """Texts by what they stand in: figures by name, disputes by row; and every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.figures: dict[str, list[str]] = {}
        self.disputes: list[dict[str, str]] = []
        self._name = ""
        self._text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: Sequence[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.disputes.append({})
        if tag in ("dt", "dd", "td", "p"):
            self._text = []
        if tag == "td":
            self._name = dict(attributes).get("data-name") or ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        text = "".join(self._text)
        if tag == "dt":
            self._name = text
            self.figures[text] = []
        elif tag == "dd":
            self.figures[self._name].append(text)
        elif tag == "td" and self._name:
            self.disputes[-1][self._name] = text

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    @property
    def rows(self) -> list[dict[str, str]]:
        return [each for each in self.disputes if each]


@attrs.frozen
class Shown:
    """A page with everything on it: channels, answered and open disputes, lag, little gas."""

    html: str
    answered: bytes
    pending: bytes
    deadline: int


async def busy_page(world: World, stand: Stand) -> Shown:
    async with world.open(world.b) as bob:
        answered, pending, quiet = [await open_channel(world, bob) for _ in range(3)]
        await stand.caught_up()
        for sequence, (channel, budget) in enumerate(
            ((answered, 10**16), (pending, 1), (quiet, 10**16)), 1
        ):
            offer = channel.offer(channel.state(40), sequence=sequence, budget=budget)
            await stand.tower.accept(offer.appointment, offer.signature, offer.content)
        await file_stale(bob, answered, 3)
        await until_recorded(bob, answered, 40)
        await file_stale(bob, pending, 5)
        deadline = (await bob.reader.view(pending.id)).deadline
    with trio.fail_after(PATIENCE):
        await stand.head()  # less than an hour is left of the window
        while len(stand.tower.disputes) < 2 or not stand.tower.tally.last_drill:
            await stand.head()
        while stand.tower.beat is None:
            await stand.head()
    html = status_page(stand.tower, stand.tower.head.timestamp + 95)
    return Shown(html=html, answered=answered.id, pending=pending.id, deadline=deadline)


async def test_the_page_says_what_is_the_matter(world: World, tmp_path: Path) -> None:
    policy = attrs.evolve(POLICY, canary=world.signer_a.address, least_reserve=2_000_000 * 10**18)
    async with tower_of(world, tmp_path, signer=fresh_signer(), policy=policy) as stand:
        shown = await busy_page(world, stand)
        page = Reader(shown.html)
        assert page.open == []
        assert page.links == []
        assert "script" not in page.tags
        assert "No new block for 1 min 35 s." in shown.html
        in_time = status_page(stand.tower, stand.tower.head.timestamp + 9)
        assert "Disputes to be answered: 1." in in_time
        assert page.figures["Head"][0] == "1 min 35 s old"
        assert page.figures["Gas reserve"][0].endswith(" ether")
        assert page.figures["Gas reserve"][1] == "2e+06 ether wanted"
        assert page.figures["Channels watched"][0] == "3"
        assert page.figures["In their window"][0] == "2"
        assert page.figures["Last drill"] == page.figures["Last answer"]
        # What is still to be answered stands first.
        assert [row["State"] for row in page.rows] == ["to be answered", "answered"]
        by_channel = {row["Channel"]: row for row in page.rows}
        row = by_channel[f"0x{shown.pending.hex()[:16]}…"]
        assert (row["Filed"], row["Recorded"], row["We hold"]) == ("5", "5", "40")
        assert row["State"] == "to be answered"
        left = shown.deadline - stand.tower.head.timestamp
        assert left < 3_600
        assert f"in {left // 60} min {left % 60} s" in row["Window closes"]
        assert row["Window closes"].endswith(" UTC")
        row = by_channel[f"0x{shown.answered.hex()[:16]}…"]
        assert (row["Recorded"], row["State"]) == ("40", "answered")
        # What an endpoint says is text, whatever it says.
        stand.chain._follower.trouble = EndpointError("<script>alert(1)</script>")
        hostile = Reader(status_page(stand.tower, 0.0))
        assert "script" not in hostile.tags
        assert "<script>" in hostile.figures["Endpoints"][1]


MEASURE: Final = """<script>document.body.dataset.fits =
document.documentElement.scrollWidth <= innerWidth;
document.body.dataset.paper = getComputedStyle(document.body).backgroundColor;</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
@pytest.mark.parametrize(("width", "dark"), [(360, False), (1_200, True)])
async def test_a_browser_shows_it_whole(
    width: int, dark: bool, world: World, tmp_path: Path
) -> None:
    policy = attrs.evolve(POLICY, canary=world.signer_a.address)
    async with tower_of(world, tmp_path, signer=fresh_signer(), policy=policy) as stand:
        shown = await busy_page(world, stand)
    page = tmp_path / "page.html"
    page.write_text(shown.html.replace("</body>", MEASURE), "utf-8")
    scheme = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0") if dark else ()
    command = [
        str(CHROMIUM),
        *QUIET,
        *scheme,
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},900",
        "--dump-dom",
        page.as_uri(),
    ]
    done = await trio.run_process(
        command, capture_stdout=True, stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    body = done.stdout.decode()
    assert 'data-fits="true"' in body
    light, night = "rgb(255, 255, 255)", "rgb(21, 23, 26)"
    assert f'data-paper="{night if dark else light}"' in body
