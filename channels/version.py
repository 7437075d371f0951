"""Which version of the library this is."""

from __future__ import annotations

from typing import Final

__all__ = ["VERSION"]

VERSION: Final = "0.1.0"
"""As in the package's metadata; deployments are salted with it, and records name it."""
