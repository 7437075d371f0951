"""``option-channels replay`` as a user meets it: two days of the built-in fall."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from channels.audit import audit
from channels.cli.main import main
from channels.cli.replaying import books, report

UNIT = 10**6
FUNDS = 1_000_000 * UNIT


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["replay", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replay")


@pytest.fixture(scope="module")
def document(folder: Path) -> Any:
    done = run(
        *("--days", "2", "--json", "--keep", folder / "stores"),
        *("--csv", folder / "csv", "--plot", folder / "plot.svg"),
    )
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_everything_reconciles(document: Any) -> None:
    assert document["reconciled"] is True
    profits = {each["name"]: each["profit"] for each in document["traders"]}
    assert set(profits) == {"maker-1", "maker-2", "maker-3", "taker-1", "taker-2"}
    assert sum(profits.values()) == 0
    assert len(set(profits.values())) == 5, "everybody traded"
    for each in document["traders"]:
        assert sum(each["explained"].values()) == each["profit"]
        assert each["errors"] == []


def test_the_fall_calls_for_margin_and_every_call_is_met(document: Any) -> None:
    totals = document["totals"]
    assert totals["margin_calls"] == totals["cured"] > 0
    assert totals["disputes"] == totals["halts"] == 0
    assert document["spot"]["lowest"] < 0.65 * document["spot"]["first"]
    called = [each for each in document["traders"] if each["margin_calls"]]
    assert all(each["worst_margin_use"] > 1 for each in called)


def test_puts_gain_in_a_fall_by_delta_and_gamma(document: Any) -> None:
    """The first taker buys puts only: what he gains, spot and curvature explain."""
    hedger = next(each for each in document["traders"] if each["name"] == "taker-1")
    assert hedger["profit"] > 0
    assert hedger["explained"]["delta"] > 0
    assert hedger["explained"]["gamma"] > 0
    assert hedger["explained"]["theta"] < 0
    assert hedger["explained"]["trades"] < 0, "he pays the makers' edge"


def test_the_stores_are_kept_and_sound(document: Any, folder: Path) -> None:
    for each in document["traders"]:
        found = audit(folder / "stores" / f"{each['name']}.db")
        assert found.sound
        assert all(history.phase.name == "CLOSED" for history in found.histories)


def test_the_files_tell_the_same(document: Any, folder: Path) -> None:
    trades = rows(folder / "csv" / "trades.csv")
    assert len(trades) == document["totals"]["trades"]
    premium = sum(abs(int(each["premium_from_taker"])) for each in trades)
    assert premium == document["totals"]["premium"]
    samples = rows(folder / "csv" / "samples.csv")
    assert len(samples) == 9 * 5
    assert all(
        sum(int(each["profit"]) for each in samples if each["time"] == time) <= 0
        for time in {each["time"] for each in samples}
    ), "both sides round down"
    trails = list((folder / "csv" / "taker-1").glob("*/cashflows.csv"))
    cash = sum(int(each["cash"]) for path in trails for each in rows(path))
    assert cash == next(e["profit"] for e in document["traders"] if e["name"] == "taker-1")
    assert len(trails) == 3
    assert (folder / "plot.svg").read_text().count("maker-1") == 1


def test_the_same_seed_makes_the_same_trades(document: Any, folder: Path) -> None:
    """Legs and sizes; a quote's last digits depend on the block it was made at."""
    done = run("--days", "1", "--csv", folder / "once", "--channels", "1", "--takers", "1")
    again = run("--days", "1", "--csv", folder / "again", "--channels", "1", "--takers", "1")
    other = run(
        *("--days", "1", "--csv", folder / "other", "--channels", "1", "--takers", "1"),
        *("--seed", "2"),
    )
    assert done.exit_code == again.exit_code == other.exit_code == 0, done.output

    def legs(name: str) -> list[tuple[str, str]]:
        (path,) = (folder / name / "taker-1").glob("*/trades.csv")
        return [(each["instrument"], each["quantity"]) for each in rows(path)]

    assert legs("once") == legs("again") != legs("other")
    assert "Reconciled to the unit" in done.output


def test_books_that_do_not_balance_end_in_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(kept: books.Books, *arguments: Any, **options: Any) -> Any:
        less = attrs.evolve(kept, dealt=kept.dealt[1:])
        return books.reconcile(less, *arguments, **options)

    monkeypatch.setattr(report, "reconcile", forgetful)
    done = run("--days", "1", "--takers", "1", "--makers", "1")
    assert done.exit_code == 1
    assert "DO NOT BALANCE" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--channels", "4"), "--channels 4 with 3 makers"),
        (("--from", "2026-01-20"), "--from and --to need --market"),
        (("--days", "1", "--plot", "picture.txt"), "endings .png"),
    ],
)
def test_what_cannot_be_played_is_refused(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_a_folder_with_something_in_it_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    done = run("--days", "1", "--keep", tmp_path)
    assert done.exit_code == 1
    assert "is not empty" in done.output


@pytest.mark.parametrize("option", ["--keep", "--csv", "--plot"])
def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "picture.svg"
    done = run("--days", "1", "--makers", "1", "--takers", "1", option, place)
    assert done.exit_code == 1
    assert f"cannot write {tmp_path / 'file'}" in done.output
    assert "name a place that can be written to" in done.output
