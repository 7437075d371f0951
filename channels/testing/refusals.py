"""Why the model refuses a call, by the names of the contract's custom errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

import attrs

from channels.errors import ContractRevertedError

__all__ = ["Refusal", "Refusals", "RefusedError"]


@attrs.frozen
class Refusal:
    """One custom error of the contract, with its arguments by their names in Solidity."""

    reason: str
    arguments: Mapping[str, object]

    def __str__(self) -> str:
        shown = (f"{name}={_text(value)}" for name, value in self.arguments.items())
        return f"{self.reason}({', '.join(shown)})"


class RefusedError(ContractRevertedError):
    """The contract would revert; nothing has changed.

    ``refusals`` are all that apply, ``reason`` and ``arguments`` of the first. Where there are
    several, the contract may name any of them.
    """

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        first = refusals[0]
        message = "; ".join(map(str, refusals))
        super().__init__(message, reason=first.reason, arguments=first.arguments)
        self.refusals = tuple(refusals)


@attrs.frozen
class Refusals:
    """Refusals of one call, collected: what can be checked is checked before it is refused.

    >>> refusals = Refusals()
    >>> refusals.when(True, "ZeroAmount")
    >>> refusals.when(False, "PotTooLarge")
    >>> refusals.stop()
    Traceback (most recent call last):
        ...
    channels.testing.refusals.RefusedError: ZeroAmount()
    """

    _found: list[Refusal] = attrs.field(factory=list, init=False)

    def when(self, applies: bool, reason: str, **arguments: object) -> None:
        """Take note of a refusal that applies."""
        if applies:
            self._found.append(Refusal(reason, arguments))

    def stop(self) -> None:
        """Refuse the call if there is a reason to.

        Raises:
            RefusedError: there is.
        """
        if self._found:
            raise RefusedError(self._found)


def _text(value: object) -> str:
    match value:
        case bytes():
            return "0x" + value.hex()
        case IntEnum():
            return value.name
    return str(value)
