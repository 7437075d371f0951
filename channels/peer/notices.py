"""Who in a peer hears of which notice, looked up by its type."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from channels.peer.runner import Runner
from channels.protocol.effects import Notice

__all__ = ["Listener", "Notices"]


class Listener(Protocol):
    """A part of a peer that takes in what happens in its channels."""

    @property
    def hears(self) -> tuple[type[Notice], ...]:
        """The types of the notices that concern it: it is told of no others."""

    def on_notice(self, runner: Runner, notice: Notice) -> None:
        """Take in what happened in a channel."""


class Notices:
    """Tells listeners, in the order in which they are given."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._by_type: dict[type[Notice], list[Callable[[Runner, Notice], None]]] = {}
        for each in listeners:
            for kind in each.hears:
                self._by_type.setdefault(kind, []).append(each.on_notice)

    def tell(self, runner: Runner, notice: Notice) -> None:
        """Tell whoever hears of this."""
        for hear in self._by_type.get(type(notice), ()):
            hear(runner, notice)
