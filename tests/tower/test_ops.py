"""What ships for operators, held against the code: handbook, alerts, unit and container."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from channels.cli.tower import tower
from channels.errors import InvalidValueError
from channels.tower.config import _KEYS, read_config
from tests.conftest import ROOT

HANDBOOK: Final = (ROOT / "docs" / "how-to" / "run-a-tower.md").read_text("utf-8")
ALERTS: Final = (ROOT / "channels" / "tower" / "ops" / "alerts.yml").read_text("utf-8")


def section(title: str) -> str:
    """A section of the handbook."""
    _, _, rest = HANDBOOK.partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    named = set(re.findall(r'runbook: "([a-z-]+)"', ALERTS))
    written = set(re.findall(r"^### (.+)$", section("When an alert fires"), re.MULTILINE))
    assert named == written
    assert len(re.findall(r"- alert:", ALERTS)) == len(re.findall(r"runbook:", ALERTS))


def test_the_configuration_of_the_handbook_is_read(tmp_path: Path) -> None:
    sample = re.findall(r"```text\n(.*?)```", section("Configure"), re.DOTALL)[0]
    path = tmp_path / "tower.toml"
    path.write_text(sample)
    found = read_config(path)
    assert found.book == tmp_path / "book.db"
    assert found.policy.canary is not None
    shared = re.findall(r"```text\n(.*?)```", section("Two processes on PostgreSQL"), re.DOTALL)[0]
    alone = re.sub(r"^(book|jobs) .*\n", "", sample, flags=re.MULTILINE)
    path.write_text(shared + alone)
    found = read_config(path)
    assert (found.database, found.replica) == ("postgresql://tower@db.example/tower", "left")
    assert found.lease == 15
    for key in _KEYS:
        assert f"{key} = " in HANDBOOK or f"`{key}`" in HANDBOOK or f"[{key}]" in HANDBOOK, key


@pytest.mark.parametrize(
    "wrong",
    ['database = "mysql://x"\n', 'database = "env:NOT_SET"\n', "lease = 1\n"],
)
def test_a_database_that_cannot_be_is_refused(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "tower.toml"
    needed = (
        'rpc = ["http://one"]\nadjudicator = "0x' + "11" * 20 + '"\n'
        'signer = "env:A"\ngas_account = "env:B"\n'
    )
    path.write_text(needed)
    assert read_config(path).database is None
    path.write_text(wrong + needed)
    with pytest.raises(InvalidValueError):
        read_config(path)
    path.write_text('database = "postgresql://x"\nbook = "b.db"\n' + needed)
    with pytest.raises(InvalidValueError, match="neither book nor jobs"):
        read_config(path)


def test_unit_and_container_call_what_there_is() -> None:
    unit = (ROOT / "contrib" / "option-channels-tower.service").read_text("utf-8")
    container = (ROOT / "contrib" / "tower.Containerfile").read_text("utf-8")
    start = re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)[0]
    called = [shlex.split(start)[1:]]
    for instruction in ("ENTRYPOINT", "HEALTHCHECK .*CMD"):
        listed = re.findall(rf"^{instruction} \[(.+)\]$", container, re.MULTILINE)[0]
        called.append(re.findall(r'"([^"]+)"', listed)[1:])
    called[1] += re.findall(r'"([^"]+)"', re.findall(r"^CMD \[(.+)\]$", container, re.MULTILINE)[0])
    assert [words[:2] for words in called] == [
        ["tower", "run"],
        ["tower", "run"],
        ["tower", "status"],
    ]
    for words in called:
        command = tower.commands[words[1]]
        options = {each for option in command.params for each in option.opts}
        assert {word for word in words if word.startswith("--")} <= options
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = re.findall(r"/src\[([a-z,]+)\]", container)[0].split(",")
    assert set(extras) <= set(setup["options.extras_require"])
