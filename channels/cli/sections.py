"""The list of commands that ``--help`` prints, in the order in which one comes to need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

__all__ = ["SectionedGroup"]


class SectionedGroup(click.Group):
    """A group whose help lists its commands under headings; what has none comes last."""

    def __init__(self, *, sections: Mapping[str, Sequence[str]], **options: Any) -> None:
        super().__init__(**options)
        self.sections = sections

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands and what they do, a heading a section."""
        del ctx
        shown = {name: each for name, each in self.commands.items() if not each.hidden}
        width = max(map(len, shown), default=0)
        placed = {name for names in self.sections.values() for name in names}
        others = sorted(shown.keys() - placed)
        for title, names in {**self.sections, "Others": others}.items():
            rows = [
                (name.ljust(width), shown[name].get_short_help_str(formatter.width - width - 6))
                for name in names
                if name in shown
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
