"""How a command fails: one line for a person on standard error, or a JSON document for a machine.

Exit status 1 says that it failed, 2 that it was called wrongly, 130 that it was interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from channels.errors import ChannelsError, OurError
from channels.version import VERSION

__all__ = ["Failure", "failing", "printable"]


class Failure(click.ClickException):
    """The errors that ended a command, and are no fault of its code's."""

    def __init__(self, *errors: ChannelsError) -> None:
        super().__init__("\n".join(printable(str(each)) for each in errors))
        self.errors = errors
        context = click.get_current_context(silent=True)
        self.machine = context is not None and bool(context.params.get("as_json"))

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell it; on standard output, in one line, where ``--json`` was given."""
        if not self.machine:
            for each in self.message.splitlines():
                click.echo(f"Error: {each}", file=file, err=file is None)
            return
        first = self.errors[0]
        told = {
            "type": type(first).__name__,
            "message": str(first),
            "fault": first.fault,
            "next_step": first.next_step,
        }
        click.echo(json.dumps({"version": VERSION, "error": told}), file=file)


@contextmanager
def failing() -> Iterator[None]:
    """Have this library's errors, and the system's, end the command without a traceback.

    Raises:
        Failure: for them, several at once too.
        SystemExit: 130, for Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except ChannelsError as error:
        raise Failure(error) from error
    except BrokenPipeError:
        raise  # nobody reads what we print any more, as with `| head`
    except OSError as error:
        raise Failure(_of_system(error)) from error
    except BaseExceptionGroup as group:
        # Several tasks ended at once; an interrupt of one of them was meant for all.
        if group.split(KeyboardInterrupt)[0] is not None:
            raise SystemExit(130) from None
        known, unknown = group.split((ChannelsError, OSError, SystemExit))
        if known is None or unknown is not None:
            raise
        told = list(_told(known))
        if not told:  # Rich exits when nobody reads any more: there is no one to tell either
            raise SystemExit(1) from None
        raise Failure(*told) from group


def _of_system(error: OSError) -> ChannelsError:
    return OurError(
        f"{error.filename or 'the system'}: {error.strerror or error}",
        next_step="see whether that place is there, and this user may use it",
    )


def _told(group: BaseExceptionGroup[BaseException]) -> Iterator[ChannelsError]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _told(each)
        elif isinstance(each, ChannelsError):
            yield each
        elif isinstance(each, OSError) and not isinstance(each, BrokenPipeError):
            yield _of_system(each)


def printable(text: str) -> str:
    """One line of text that does nothing to a terminal: some of it comes from counterparties."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
