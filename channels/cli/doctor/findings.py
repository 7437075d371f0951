"""What the doctor finds: how bad it is, what it is, and what to do about it."""

from __future__ import annotations

from enum import IntEnum

import attrs

from channels.errors import BugError, ChannelsError

__all__ = ["Finding", "Severity", "error", "of_error", "ok", "warning"]


class Severity(IntEnum):
    """How bad a finding is."""

    OK = 0
    WARNING = 1
    """It works, and may cease to."""
    ERROR = 2
    """Something does not work: this **may lose funds**."""


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at. Whatever is not well comes with its ``remedy``."""

    check: str
    severity: Severity
    text: str
    remedy: str = ""

    def __attrs_post_init__(self) -> None:
        if self.severity is not Severity.OK and not self.remedy:
            raise BugError(f"a finding without a remedy: {self.text}")


def ok(check: str, text: str) -> Finding:
    """All is well with it."""
    return Finding(check=check, severity=Severity.OK, text=text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """It works, and may cease to."""
    return Finding(check=check, severity=Severity.WARNING, text=text, remedy=remedy)


def error(check: str, text: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check=check, severity=Severity.ERROR, text=text, remedy=remedy)


def of_error(check: str, raised: ChannelsError, remedy: str) -> Finding:
    """What an error of this library's says; ``remedy`` where it names none."""
    return error(check, str(raised.args[0]), raised.next_step or remedy)
