"""``option-channels backtest`` as a user meets it."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from channels.cli.main import main

from .values import write_file

SPOTS = [100, 96, 97, 90, 104, 99, 98, 101, 102, 80, 84]
MODELS = ["ours 0.20 / 2 d", "ours 0.16 / 1 d", "ours 0.12 / 12 h"]
VENUES = ["Deribit PM", "Derive PMRM2", "Derive SRM"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["backtest", *map(str, arguments)])


@pytest.fixture(scope="module")
def eth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_file(tmp_path_factory.mktemp("market") / "eth.csv", SPOTS)


def test_the_document_has_every_model_at_every_horizon(eth: Path, tmp_path: Path) -> None:
    done = run("--market", eth, "--json", "--csv", tmp_path / "out")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["markets"] == [
        {"underlying": "ETH", "snapshots": 11, "from": "2026-03-18", "to": "2026-03-20"}
    ]
    assert document["models"] == [*MODELS, *VENUES]
    assert [(row["model"], row["hours"]) for row in document["coverage"]] == [
        (model, hours) for model in document["models"] for hours in (6, 12, 24, 48)
    ]
    assert all(0 < row["median_margin"] < 1 for row in document["coverage"])
    assert {each["portfolio"] for each in document["examples"]} >= {"straddle, week"}
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["coverage.csv", "families.csv", "observations.csv"]
    with (tmp_path / "out" / "observations.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == document["portfolio_snapshots"]
    for hours in (6, 48):  # counted once more from the file
        for row in document["coverage"]:
            known = [line for line in lines if line[f"loss {hours} h"]]
            if row["hours"] == hours:
                margin = f"margin {row['model']}"
                beyond = [
                    line
                    for line in known
                    if float(line[f"loss {hours} h"]) > float(line[margin]) + 1e-4
                ]
                assert (row["misses"], row["portfolios"]) == (len(beyond), len(known))


def test_the_same_seed_gives_the_same_document(eth: Path) -> None:
    first, again, other = (
        json.loads(run("--market", eth, "--json", "--every", "5", "--seed", seed).stdout)
        for seed in ("1", "1", "2")
    )
    for each in (first, again, other):
        del each["seconds"]
    assert first == again
    assert first["coverage"] != other["coverage"]


def test_the_tables_fit_eighty_columns(eth: Path) -> None:
    done = run("--market", eth, "--every", "5")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert all(any(model in line for line in lines) for model in (*MODELS, *VENUES))


def test_faults_are_told_in_a_line(eth: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text(eth.read_text().replace("implied_volatility", "iv", 1))
    done = run("--market", broken)
    assert done.exit_code == 1
    assert "broken.csv, line 1: no column implied_volatility" in done.stderr
    done = run("--market", eth, "--market", eth)
    assert done.exit_code == 1
    assert "two files for one underlying" in done.stderr
    done = run("--market", broken, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"]["type"] == "InvalidValueError"
    assert run("--market", tmp_path / "none.csv").exit_code == 2
    assert run().exit_code == 2


def test_snapshots_too_far_apart_are_refused(tmp_path: Path) -> None:
    done = run("--market", write_file(tmp_path / "eth.csv", [100, 100], step=3 * 86_400))
    assert done.exit_code == 1
    assert "no snapshot has another one" in done.stderr


def test_nothing_is_written_where_nothing_can_be(eth: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("--market", eth, "--every", "5", "--csv", tmp_path / "file" / "below")
    assert done.exit_code == 1
    assert "cannot write" in done.stderr


def test_an_interrupted_run_leaves_nothing(
    eth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("channels.backtest.run_backtest", interrupted)
    done = run("--market", eth, "--csv", tmp_path / "out")
    assert (done.exit_code, done.output) == (130, "")
    assert list(tmp_path.iterdir()) == []


def test_the_plot_is_asked_for_before_the_work(
    eth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "channels.backtest.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = run("--market", eth, "--plot", tmp_path / "picture.png")
    assert done.exit_code == 2
    assert "option-channels[plot]" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_plot_is_drawn(eth: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert run("--market", eth, "--plot", tmp_path / "picture.gif").exit_code == 2
    done = run("--market", eth, "--every", "5", "--plot", tmp_path / "picture.svg")
    assert done.exit_code == 0, done.output
    assert "Derive SRM" in (tmp_path / "picture.svg").read_text()
