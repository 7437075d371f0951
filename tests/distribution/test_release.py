"""The release script: what stops a release, in a small repository of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from channels.version import VERSION
from tests.conftest import ROOT
from tools.release import ReleaseError, changelog_section, check, main, stated_version

CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.3] - 2026-11-30

### Added

- A thing.

## [1.2.2] - 2026-10-01

- An older thing.
"""


def _git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    unsigned = ("-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false")
    subprocess.run(
        ["git", "-C", str(root), *who, *unsigned, *words], check=True, capture_output=True
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository that is ready to be released as 1.2.3."""
    (tmp_path / "channels").mkdir()
    (tmp_path / "channels" / "version.py").write_text('VERSION: Final = "1.2.3"\n')
    (tmp_path / "setup.cfg").write_text("[metadata]\nversion = attr: channels.version.VERSION\n")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "--quiet", "--message", "Ready")
    return tmp_path


def test_what_is_ready_passes_and_yields_its_changes(repository: Path) -> None:
    assert check(repository, "1.2.3") == "### Added\n\n- A thing."


def test_another_version_is_refused(repository: Path) -> None:
    with pytest.raises(ReleaseError, match=r"says 1\.2\.3, not 1\.3\.0"):
        check(repository, "1.3.0")


def test_a_second_place_for_the_version_is_refused(repository: Path) -> None:
    (repository / "setup.cfg").write_text("[metadata]\nversion = 1.2.3\n")
    with pytest.raises(ReleaseError, match=r"setup\.cfg does not say"):
        check(repository, "1.2.3")


@pytest.mark.parametrize("stray", ["stray.txt", "channels/version.py"])
def test_a_tree_that_is_not_clean_is_refused(repository: Path, stray: str) -> None:
    with (repository / stray).open("a") as file:
        file.write("# changed\n")
    with pytest.raises(ReleaseError, match="not clean"):
        check(repository, "1.2.3")


def test_a_version_that_is_tagged_is_refused(repository: Path) -> None:
    _git(repository, "tag", "v1.2.3")
    with pytest.raises(ReleaseError, match=r"tag v1\.2\.3"):
        check(repository, "1.2.3")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CHANGELOG.replace("[1.2.3] - 2026-11-30", "[1.2.3]"), "no section"),
        (CHANGELOG.replace("### Added\n\n- A thing.\n", ""), "no section"),
        (CHANGELOG.replace("## [Unreleased]\n", "## [Unreleased]\n\n- New.\n"), "Unreleased"),
    ],
    ids=["no date", "no changes", "changes left"],
)
def test_a_changelog_that_is_not_ready_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ReleaseError, match=reason):
        changelog_section(text, "1.2.3")


def test_the_command_says_what_is_missing(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["1.3.0"], root=repository) == 1
    assert "not released: channels/version.py says 1.2.3" in capsys.readouterr().err
    assert not (repository / "dist").exists()


def test_a_full_dist_is_refused_before_anything_is_built(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / ".git" / "info" / "exclude").write_text("dist/\n")
    (repository / "dist").mkdir()
    (repository / "dist" / "old.whl").touch()
    assert main(["1.2.3"], root=repository) == 1
    assert "dist/ holds old.whl" in capsys.readouterr().err


def test_this_repository_states_its_version_once() -> None:
    assert stated_version(ROOT) == VERSION
