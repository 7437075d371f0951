"""Run by the installed library's interpreter: import every public module, and print what came."""

from __future__ import annotations

import json
import pkgutil
from importlib import import_module
from importlib.metadata import metadata
from pathlib import Path

import channels


def main() -> None:
    """Print one JSON object: where the library is, its version, and what each module lacks."""
    lacking: dict[str, str | None] = {}
    for found in pkgutil.walk_packages(channels.__path__, "channels."):
        if found.name.endswith(".__main__"):
            continue
        lacking[found.name] = None
        try:
            import_module(found.name)
        except ModuleNotFoundError as error:
            lacking[found.name] = error.name
    told = {
        "where": str(Path(channels.__file__).parent),
        "version": channels.__version__,
        "metadata": metadata("option-channels")["Version"],
        "extras": metadata("option-channels").get_all("Provides-Extra"),
        "lacking": lacking,
        "exported": [name for name in channels.__all__ if hasattr(channels, name)],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
