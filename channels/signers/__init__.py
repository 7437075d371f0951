"""Where a key may be kept: an encrypted file, the environment, a remote signer, a PKCS#11 token.

All of them are `channels.protocol.signing.Signer`. `open_signer` opens any of them by its address;
`DeadlineSigner` bounds how long a channel waits for one.
"""

from __future__ import annotations

from channels.signers.deadline import DeadlineSigner
from channels.signers.keystore import create_keystore, decrypt_keystore, load_keystore
from channels.signers.passphrases import (
    SecretSource,
    ask,
    environment_or_ask,
    from_environment,
    from_file,
)
from channels.signers.pkcs11 import Pkcs11Key, Pkcs11Signer, open_pkcs11_signer
from channels.signers.remote import RemoteSigner, open_remote_signer
from channels.signers.typed_data import typed_data
from channels.signers.uris import PASSPHRASE_VARIABLE, open_signer

__all__ = [
    "PASSPHRASE_VARIABLE",
    "DeadlineSigner",
    "Pkcs11Key",
    "Pkcs11Signer",
    "RemoteSigner",
    "SecretSource",
    "ask",
    "create_keystore",
    "decrypt_keystore",
    "environment_or_ask",
    "from_environment",
    "from_file",
    "load_keystore",
    "open_pkcs11_signer",
    "open_remote_signer",
    "open_signer",
    "typed_data",
]
