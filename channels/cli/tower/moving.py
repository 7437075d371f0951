"""A tower's book as lines of JSON: to move it, to look into it, to merge one into another."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import click

from channels.cli.desk.options import as_json, show
from channels.cli.desk.options import run as run_command
from channels.cli.failing import failing
from channels.errors import ChannelsError, InvalidValueError

__all__ = ["export", "import_"]


@click.command()
@click.argument("book")
@click.argument("file", type=click.File("w", lazy=False), default="-")
def export(book: str, file: Any) -> None:
    """Write every entry of BOOK to FILE, one JSON document a line. The tower may run.

    BOOK is a file, or the address of a PostgreSQL (postgresql://).
    """
    from channels.tower.reading import read_book

    with failing(), read_book(book) as reader:
        for key in reader.every_key():
            kept = reader.kept(key)
            if kept is not None:
                line = {
                    "channel": "0x" + kept.channel_id.hex(),
                    "side": kept.side.name,
                    "record": "0x" + kept.record.hex(),
                }
                file.write(json.dumps(line) + "\n")


@click.command("import")
@click.argument("book")
@click.argument("file", type=click.File("r"), default="-")
@as_json
def import_(book: str, file: Any, as_json: bool) -> None:
    """Read entries from FILE into BOOK, a file or a PostgreSQL, which no tower may be using.

    Of an entry that BOOK has too, the one made later stays. The next run reads every channel from
    the contract, because nobody knows what was missed.
    """
    run_command(_import, book, file, as_json)


async def _import(place: str, file: Any, machine: bool) -> None:
    from channels.tower.book import open_book
    from channels.tower.kept import Kept
    from channels.tower.reading import BookReader
    from channels.tower.wire import read_hex
    from channels.tower.writes import ForgetCursor, Keep

    taken = left = 0
    async with open_book(place) as book:
        for number, line in enumerate(file, 1):
            try:
                kept = Kept.read(read_hex(json.loads(line)["record"]))
            except (ChannelsError, ValueError, KeyError, TypeError) as error:
                raise InvalidValueError(f"line {number} is no entry: {error}") from error
            held = await book.ask(partial(BookReader.kept, key=kept.key))
            newest = 0 if held is None else held.latest.appointment.sequence
            if kept.latest.appointment.sequence <= newest:
                left += 1
                continue
            await book.write(Keep(kept))
            taken += 1
        await book.write(ForgetCursor())
    show(
        machine,
        {"taken": taken, "left": left},
        f"{taken} entries taken, {left} left as they are newer here",
    )
