"""Where a passphrase or a PIN comes from: the environment, a file, or whoever sits there.

Never an argument: what stands on a command line can be read by every process of the machine.
"""

from __future__ import annotations

import getpass
import os
import warnings
from collections.abc import Callable
from pathlib import Path

from channels.errors import SignerError

__all__ = ["SecretSource", "ask", "environment_or_ask", "from_environment", "from_file"]

SecretSource = Callable[[str], str]
"""Gives the secret. It is told what the secret is for, such as ``Passphrase of key.json``."""


def from_environment(name: str) -> SecretSource:
    """Take the secret from an environment variable.

    It raises `SignerError` when asked, if the variable is not set.
    """

    def secret(purpose: str) -> str:
        found = os.environ.get(name)
        if found is None:
            raise SignerError(f"{purpose}: {name} is not set", next_step=f"set {name}")
        return found

    return secret


def from_file(path: Path) -> SecretSource:
    """Take the secret from the first line of a file.

    It raises `SignerError` when asked, if the file cannot be read as text.
    """

    def secret(purpose: str) -> str:
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SignerError(
                f"{purpose}: {path} cannot be read: {error}",
                next_step="name a file of one line that this user may read",
            ) from error
        return text.partition("\n")[0].removesuffix("\r")

    return secret


def ask(purpose: str) -> str:
    """Ask whoever sits at the terminal, without showing what is typed; else read standard input.

    Raises:
        SignerError: nobody sits there, and nothing is piped in.
    """
    try:
        with warnings.catch_warnings():
            # A pipe shows nothing that is typed, and whoever made it knows that it is one.
            warnings.simplefilter("ignore", getpass.GetPassWarning)
            return getpass.getpass(f"{purpose}: ")
    except EOFError as error:
        raise SignerError(
            f"{purpose}: there is no terminal to ask at",
            next_step="give it in the environment or in a file",
        ) from error


def environment_or_ask(name: str) -> SecretSource:
    """Take the secret from an environment variable if it is set, else ask for it."""

    def secret(purpose: str) -> str:
        return from_environment(name)(purpose) if name in os.environ else ask(purpose)

    return secret
