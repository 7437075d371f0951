"""Print constraints that pin every requirement of ``setup.cfg`` to the oldest version it allows.

``make test-oldest`` installs the library under them and runs the tests, so that a lower bound which
does not work is found here and not by a user. Only what ``setup.cfg`` names is pinned; what those
need in turn is pip's choice.

    python tools/oldest.py --extra plot > constraints.txt
"""

from __future__ import annotations

import argparse
import configparser
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

__all__ = ["BoundError", "constraints", "requirements"]

SETUP: Final = Path(__file__).resolve().parents[1] / "setup.cfg"
_FROM: Final = (">=", "~=", "==")


class BoundError(ValueError):
    """A requirement without a lower bound, or two that contradict each other."""


def requirements(setup: Path, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """Yield what the library requires, and what these extras add; our own name is followed.

    Raises:
        KeyError: there is no such extra.
    """
    settings = configparser.ConfigParser()
    settings.read(setup)
    own = canonicalize_name(settings["metadata"]["name"])
    yield from map(Requirement, settings["options"]["install_requires"].split("\n")[1:])
    for extra in extras:
        for line in filter(None, settings["options.extras_require"][extra].split("\n")):
            requirement = Requirement(line)
            if canonicalize_name(requirement.name) == own:
                inner = [each for each in requirement.extras if each != extra]
                yield from requirements(setup, sorted(inner))
            else:
                yield requirement


def constraints(wanted: Iterable[Requirement]) -> list[str]:
    """Return ``name==version`` lines, sorted: the lowest version that each requirement allows.

    Raises:
        BoundError: a requirement without a lower bound.
    """
    lowest: dict[str, Version] = {}
    for requirement in wanted:
        bounds = [Version(each.version) for each in requirement.specifier if each.operator in _FROM]
        if not bounds:
            raise BoundError(f"{requirement} has no lower bound")
        name = canonicalize_name(requirement.name)
        lowest[name] = max(*bounds, lowest.get(name, bounds[0]), bounds[0])
    return [f"{name}=={lowest[name]}" for name in sorted(lowest)]


def main() -> None:
    """Print the constraints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--extra", action="append", default=[], metavar="NAME")
    print(*constraints(requirements(SETUP, parser.parse_args().extra)), sep="\n")


if __name__ == "__main__":
    main()
