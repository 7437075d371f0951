"""How commands fail: one line or one document, an exit status, and never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result

from channels.cli.failing import failing
from channels.cli.main import main
from channels.errors import PeerError, SignerError, StorageError

LOCKED = StorageError("the disk is full", next_step="free it")
DUMB = SignerError("the key hangs")


def run(error: BaseException, *words: str) -> Result:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def command(as_json: bool) -> None:
        del as_json
        with failing():
            raise error

    return CliRunner().invoke(command, list(words))


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("tasks", [BaseExceptionGroup("within", list(errors))])


@pytest.mark.parametrize("wrapped", [lambda error: error, group])
def test_an_error_is_a_line_with_its_next_step(wrapped: Callable[..., BaseException]) -> None:
    done = run(wrapped(LOCKED))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "Error: the disk is full (free it)\n"


@pytest.mark.parametrize("wrapped", [lambda error: error, group])
def test_for_a_machine_it_is_a_document(wrapped: Callable[..., BaseException]) -> None:
    done = run(wrapped(LOCKED), "--json")
    assert (done.exit_code, done.stderr) == (1, "")
    assert json.loads(done.stdout)["error"] == {
        "type": "StorageError",
        "message": "the disk is full (free it)",
        "fault": "ours",
        "next_step": "free it",
    }


def test_of_several_all_are_told() -> None:
    done = run(group(LOCKED, DUMB))
    assert done.stderr == "Error: the disk is full (free it)\nError: the key hangs\n"


def test_what_a_counterparty_says_stays_one_line() -> None:
    done = run(PeerError("no\nError: yes\x1b[2J"))
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_the_systems_errors_name_their_place() -> None:
    done = run(OSError(28, "No space left on device", "/somewhere"))
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: /somewhere: No space left on device (see whether")


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), group(KeyboardInterrupt()), group(KeyboardInterrupt(), LOCKED)]
)
def test_an_interrupt_says_nothing(error: BaseException) -> None:
    done = run(error)
    assert (done.exit_code, done.output) == (130, "")


@pytest.mark.parametrize("error", [group(SystemExit(1)), group(BrokenPipeError())])
def test_where_nobody_reads_nothing_is_said(error: BaseException) -> None:
    done = run(error)
    assert (done.exit_code, done.output) == (1, "")


@pytest.mark.parametrize("error", [RuntimeError("x"), group(RuntimeError("x"), LOCKED)])
def test_a_bug_keeps_its_traceback(error: BaseException) -> None:
    assert run(error).exception is error


def test_help_lists_every_command_once_and_cuts_nothing_short() -> None:
    told = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    assert told.count("...") == 1, "in the usage alone"
    assert "Others" not in told
    for name, command in main.commands.items():
        lines = [line for line in told.splitlines() if line.split()[:1] == [name]]
        assert len(lines) == (0 if command.hidden else 1), name


def test_every_command_speaks_to_machines() -> None:
    """`tower run` and `tower export` always do."""

    def leaves(command: click.Command, name: str) -> dict[str, click.Command]:
        if not isinstance(command, click.Group):
            return {name: command}
        found = [leaves(each, f"{name} {inner}") for inner, each in command.commands.items()]
        return {key: value for each in found for key, value in each.items()}

    without = {
        name
        for name, command in leaves(main, "").items()
        if not command.hidden and "as_json" not in {each.name for each in command.params}
    }
    assert without == {" tower run", " tower export"}
