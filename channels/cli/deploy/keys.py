"""The key that pays for a deployment: from the environment or an encrypted file, never an argument.

What stands on a command line can be read by every process of the machine.
"""

from __future__ import annotations

import getpass
import json
import os
from pathlib import Path
from typing import Final

from eth_account import Account

from channels.chain.accounts import LocalAccount
from channels.errors import InvalidValueError, SignerError

__all__ = ["KEY_VARIABLE", "PASSPHRASE_VARIABLE", "read_account"]

KEY_VARIABLE: Final = "OPTION_CHANNELS_KEY"
"""Environment variable with the private key, hexadecimal."""

PASSPHRASE_VARIABLE: Final = "OPTION_CHANNELS_PASSPHRASE"  # noqa: S105  (its name)
"""Environment variable with the passphrase of the keystore; without it, it is asked for."""


def read_account(keystore: Path | None) -> LocalAccount | None:
    """The account of the keystore if there is one, else of the environment; None if of neither.

    Raises:
        SignerError: no keystore, or the passphrase is wrong, or the key is none.
    """
    if keystore is not None:
        return _of_keystore(keystore)
    text = os.environ.get(KEY_VARIABLE)
    if not text:
        return None
    try:
        return LocalAccount(bytes.fromhex(text.strip().removeprefix("0x")))
    except ValueError:  # whose message may hold the key
        raise SignerError(
            f"{KEY_VARIABLE} holds no private key",
            next_step="set it to 64 hexadecimal digits",
        ) from None


def _of_keystore(path: Path) -> LocalAccount:
    try:
        keyfile = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SignerError(f"{path} is no keystore: {error}") from error
    passphrase = os.environ.get(PASSPHRASE_VARIABLE)
    if passphrase is None:
        passphrase = getpass.getpass(f"Passphrase of {path}: ")
    try:
        return LocalAccount(bytes(Account.decrypt(keyfile, passphrase)))
    except InvalidValueError:
        raise SignerError(f"{path} holds no private key") from None
    except ValueError as error:
        raise SignerError(
            f"{path} cannot be decrypted: {error}", next_step="check the passphrase"
        ) from error
    except (KeyError, TypeError, NotImplementedError) as error:
        raise SignerError(f"{path} is no keystore: {type(error).__name__}") from error
