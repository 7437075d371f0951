"""Two traders by command line, for every test here."""

from __future__ import annotations

from tests.cli.test_desk import shell, traders

__all__ = ["shell", "traders"]
