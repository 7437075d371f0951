"""Make a release: check the tree, build, test what was built as a user would have it, tag.

    python tools/release.py 0.2.0            a rehearsal: all but the tag
    python tools/release.py 0.2.0 --tag      the same, then the tag

The version stands in ``channels/version.py`` alone, and CHANGELOG.md has a dated section of it. The
wheel and the sdist are built once, into ``dist/``; those very files are tested and are what is to
be published. Nothing is pushed and nothing uploaded. Exit status 1 names what is missing.

Source: docs/how-to/release.md.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["ReleaseError", "changelog_section", "check", "main", "stated_version"]

ROOT: Final = Path(__file__).resolve().parents[1]
_VERSION_LINE: Final = re.compile(r'^VERSION: Final = "([^"]+)"$', re.M)
_SETTING: Final = "version = attr: channels.version.VERSION"


class ReleaseError(Exception):
    """Something is not ready for a release; the message says what, and what to do."""


def stated_version(root: Path) -> str:
    """Return the version that ``channels/version.py`` states.

    Raises:
        ReleaseError: it states none, or the metadata does not take it from there.
    """
    found = _VERSION_LINE.findall((root / "channels" / "version.py").read_text())
    if len(found) != 1:
        raise ReleaseError("channels/version.py does not state one VERSION")
    if _SETTING not in (root / "setup.cfg").read_text().splitlines():
        raise ReleaseError(f"setup.cfg does not say `{_SETTING}`")
    return str(found[0])


def changelog_section(text: str, version: str) -> str:
    """Return what CHANGELOG.md says of a version.

    Raises:
        ReleaseError: no section ``## [version] - YYYY-MM-DD``, an empty one, or changes that are
            still under "Unreleased".
    """
    sections: dict[str, str] = {
        heading: body.strip()
        for heading, body in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    }
    dated = [
        heading
        for heading in sections
        if re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", heading)
    ]
    if len(dated) != 1 or not sections[dated[0]]:
        raise ReleaseError(
            f"CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD` with changes"
        )
    if sections.get("[Unreleased]"):
        raise ReleaseError('CHANGELOG.md has changes under "Unreleased": move them')
    return sections[dated[0]]


def check(root: Path, version: str) -> str:
    """Check that ``root`` is ready to be released as ``version``; return its changes.

    Raises:
        ReleaseError: what is not ready.
    """
    stated = stated_version(root)
    if stated != version:
        raise ReleaseError(f"channels/version.py says {stated}, not {version}")
    changes = changelog_section((root / "CHANGELOG.md").read_text(), version)
    if _git(root, "status", "--porcelain"):
        raise ReleaseError("the tree is not clean: commit or remove what `git status` shows")
    if _git(root, "tag", "--list", f"v{version}"):
        raise ReleaseError(f"there is a tag v{version} already")
    return changes


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _build(root: Path, version: str) -> Path:
    """Build the wheel and the sdist into an empty ``dist/``."""
    folder = root / "dist"
    folder.mkdir(exist_ok=True)
    left = sorted(path.name for path in folder.iterdir())
    if left:
        raise ReleaseError(f"dist/ holds {', '.join(left)}: remove it")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(root)], check=True)
    names = sorted(path.name for path in folder.iterdir())
    wanted = [f"option_channels-{version}-py3-none-any.whl", f"option_channels-{version}.tar.gz"]
    if names != wanted:
        raise ReleaseError(f"built {', '.join(names)}, not {', '.join(wanted)}")
    return folder


def _test(root: Path, folder: Path) -> None:
    """Test those very files as installed."""
    subprocess.run(
        [sys.executable, "-m", "pytest", "tests/distribution/test_wheel.py"],
        cwd=root,
        env={**os.environ, "OPTION_CHANNELS_DIST": str(folder)},
        check=True,
    )


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Rehearse a release, or make one; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version")
    parser.add_argument("--tag", action="store_true", help="tag the commit in the end")
    options = parser.parse_args(arguments)
    try:
        changes = check(root, options.version)
        folder = _build(root, options.version)
        _test(root, folder)
        if options.tag:
            message = f"option-channels {options.version}\n\n{changes}"
            _git(root, "tag", "--annotate", f"v{options.version}", "--message", message)
    except ReleaseError as error:
        print(f"not released: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"not released: {' '.join(map(str, error.cmd))} failed", file=sys.stderr)
        return 1
    done = "tagged" if options.tag else "rehearsed; --tag tags it"
    print(f"{options.version} {done}. To publish: {', '.join(map(str, sorted(folder.iterdir())))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
