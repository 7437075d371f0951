"""A tower's book as lines of JSON: to move it, to look into it, to merge one into another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from channels.cli.desk.options import run as run_command
from channels.errors import ChannelsError, InvalidValueError

__all__ = ["export", "import_"]


@click.command()
@click.argument("book", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("file", type=click.File("w", lazy=False), default="-")
def export(book: Path, file: Any) -> None:
    """Write every entry of BOOK to FILE, one JSON document a line. The tower may run."""
    from channels.tower.reading import read_book

    try:
        with read_book(book) as reader:
            for key in reader.every_key():
                kept = reader.kept(key)
                if kept is not None:
                    line = {
                        "channel": "0x" + kept.channel_id.hex(),
                        "side": kept.side.name,
                        "record": "0x" + kept.record.hex(),
                    }
                    file.write(json.dumps(line) + "\n")
    except ChannelsError as error:
        raise click.ClickException(str(error)) from error


@click.command("import")
@click.argument("book", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("file", type=click.File("r"), default="-")
def import_(book: Path, file: Any) -> None:
    """Read entries from FILE into BOOK, which no tower may be using.

    Of an entry that BOOK has too, the one made later stays. The next run reads every channel from
    the contract, because nobody knows what was missed.
    """
    run_command(_import, book, file)


async def _import(path: Path, file: Any) -> None:
    from channels.tower.book import open_book
    from channels.tower.kept import Kept
    from channels.tower.wire import read_hex
    from channels.tower.writes import ForgetCursor, Keep

    taken = left = 0
    async with open_book(path) as book:
        for number, line in enumerate(file, 1):
            try:
                kept = Kept.read(read_hex(json.loads(line)["record"]))
            except (ChannelsError, ValueError, KeyError, TypeError) as error:
                raise InvalidValueError(f"line {number} is no entry: {error}") from error
            held = book.kept(kept.key)
            newest = 0 if held is None else held.latest.appointment.sequence
            if kept.latest.appointment.sequence <= newest:
                left += 1
                continue
            await book.write(Keep(kept))
            taken += 1
        await book.write(ForgetCursor())
    click.echo(f"{taken} entries taken, {left} left as they are newer here")
