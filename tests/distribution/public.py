"""What the package says is public: its modules, and which of them are packages."""

from __future__ import annotations

import re
from typing import Final

from tests.conftest import ROOT

__all__ = ["MODULES", "PACKAGES", "in_order"]

_FILES: Final = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "channels").rglob("*.py")
    if path.name != "__main__.py"
)

PACKAGES: Final = [".".join(path.parent.parts) for path in _FILES if path.name == "__init__.py"]
MODULES: Final = sorted(
    [
        *PACKAGES,
        *(".".join(path.with_suffix("").parts) for path in _FILES if path.name != "__init__.py"),
    ]
)


def in_order(name: str) -> tuple[int, tuple[str | int, ...]]:
    """Sort key of ``__all__``: constants, then classes, then functions; U8 before U16."""
    rank = 0 if name.isupper() else 1 if name[0].isupper() else 2
    parts = re.split(r"(\d+)", name)
    return rank, tuple(int(part) if part.isdigit() else part for part in parts)
