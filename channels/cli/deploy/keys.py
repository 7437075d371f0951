"""The key that pays for a deployment: from the environment or an encrypted file, never an argument.

What stands on a command line can be read by every process of the machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from channels.chain.accounts import LocalAccount
from channels.errors import SignerError
from channels.signers import PASSPHRASE_VARIABLE, decrypt_keystore, environment_or_ask

__all__ = ["KEY_VARIABLE", "read_account"]

KEY_VARIABLE: Final = "OPTION_CHANNELS_KEY"
"""Environment variable with the private key, hexadecimal."""


def read_account(keystore: Path | None) -> LocalAccount | None:
    """The account of the keystore if there is one, else of the environment; None if of neither.

    Raises:
        SignerError: no keystore, or the passphrase is wrong, or the key is none.
    """
    if keystore is not None:
        return LocalAccount(decrypt_keystore(keystore, environment_or_ask(PASSPHRASE_VARIABLE)))
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
