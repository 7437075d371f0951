"""Notebooks run from top to bottom, draw what they promise, and are kept without their outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import ROOT

NOTEBOOKS: Final = sorted((ROOT / "notebooks").glob("*.ipynb"))
PICTURES: Final = {"surface_to_settlement": 5}
"""Figures that each one shows: smiles, surface, option, hedge and margin."""

RUN: Final = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=240, kernel_name="python3").execute(cwd=sys.argv[2])
nbformat.write(notebook, sys.argv[3])
"""


def _cells(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_every_notebook_is_known() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(PICTURES)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs(notebook: Path) -> None:
    for cell in _cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(notebook: Path, tmp_path: Path) -> None:
    """On the market that it brings along, in an empty folder."""
    pytest.importorskip("nbclient", reason="the extra `dev` brings it")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPTION_CHANNELS_")}
    executed = tmp_path / "executed.ipynb"
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(notebook), str(tmp_path), str(executed)],
        cwd=tmp_path,
        env={**environment, "IPYTHONDIR": str(tmp_path / "ipython")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = [output for cell in _cells(executed) for output in cell["outputs"]]
    drawn = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(drawn) == PICTURES[notebook.stem]
    printed = "".join("".join(output.get("text", "")) for output in outputs)
    here, there = (
        float(line.split(":")[1])
        for line in printed.splitlines()
        if line.startswith(("worked out here:", "paid on chain:"))
    )
    assert here == pytest.approx(there, abs=1e-3)
