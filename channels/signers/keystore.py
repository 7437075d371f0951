"""Keys in encrypted files, in the format that every Ethereum client reads.

Source: Web3 Secret Storage Definition, version 3,
https://ethereum.org/en/developers/docs/data-structures-and-encoding/web3-secret-storage/
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

from coincurve import PrivateKey
from eth_account import Account

from channels.errors import InvalidValueError, SignerError
from channels.protocol.eip712 import Address, address, checksum
from channels.protocol.signing import LocalSigner
from channels.signers.passphrases import SecretSource

__all__ = ["Kdf", "create_keystore", "decrypt_keystore", "load_keystore", "read_address"]

Kdf = Literal["pbkdf2", "scrypt"]
"""Key derivation function: what makes guessing a passphrase slow."""


def create_keystore(
    path: Path,
    passphrase: SecretSource,
    *,
    secret: bytes | None = None,
    kdf: Kdf = "scrypt",
    work: int | None = None,
) -> Address:
    """Encrypt a key into a new file that only this user may read; the key's address.

    The file appears whole and stored, or not at all.

    Args:
        path: where no file is yet.
        passphrase: gives what encrypts. **Forgotten, it loses the key, and the funds with it.**
        secret: the 32-byte private key; a new one from the operating system's entropy unless given.
        kdf: key derivation function.
        work: its work factor: scrypt's n, a power of two, or the rounds of PBKDF2. Unless given,
            one guess takes a good part of a second.

    Raises:
        SignerError: there is a file already, it cannot be written, or the passphrase is empty.
        InvalidValueError: not a valid secp256k1 private key.
    """
    if secret is None:
        secret = PrivateKey().secret
    own = LocalSigner(secret).address
    if path.exists():
        raise _exists(path)
    words = passphrase(f"Passphrase for {path}")
    if not words:
        raise SignerError("the passphrase is empty", next_step="choose one that nobody guesses")
    keyfile = Account.encrypt(secret, words, kdf=kdf, iterations=work)
    try:
        _write_new(path, json.dumps(keyfile).encode())
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise SignerError(
            f"{path} cannot be written: {error}", next_step="choose another place"
        ) from error
    return own


def _exists(path: Path) -> SignerError:
    return SignerError(
        f"there is a file at {path} already; it may hold a key", next_step="choose another name"
    )


def _write_new(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)  # unlike a rename, it replaces nothing
    finally:
        Path(name).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_keystore(path: Path, passphrase: SecretSource) -> LocalSigner:
    """Decrypt a keystore and keep its key in this process's memory.

    Takes as long as one guess at the passphrase does: a good part of a second.

    Raises:
        SignerError: as `decrypt_keystore`.
    """
    return LocalSigner(decrypt_keystore(path, passphrase))


def decrypt_keystore(path: Path, passphrase: SecretSource) -> bytes:
    """Decrypt a keystore: the 32-byte private key.

    Raises:
        SignerError: no keystore there, the passphrase is wrong or cannot be had, or the file holds
            the key of another address than it says.
    """
    keyfile = _read(path)
    words = passphrase(f"Passphrase of {path}")
    try:
        secret = bytes(Account.decrypt(keyfile, words))
        own = LocalSigner(secret).address
    except InvalidValueError:  # whose cause may show the key
        raise _no_keystore(path, "what it holds is no private key") from None
    except (ArithmeticError, LookupError, MemoryError, NotImplementedError, TypeError) as error:
        raise _no_keystore(path, type(error).__name__) from error
    except ValueError as error:
        if str(error) != "MAC mismatch":
            raise _no_keystore(path, str(error)) from error
        raise SignerError(
            f"the passphrase of {path} is wrong", next_step="give the one it was made with"
        ) from error
    stated = keyfile.get("address")
    if stated is not None and str(stated).lower().removeprefix("0x") != own.hex():
        raise SignerError(
            f"{path} says it holds the key of {str(stated)[:42]!r}, and holds that of "
            f"{checksum(own)}",
            next_step="find out who changed it before you use it",
        )
    return secret


def read_address(path: Path) -> Address:
    """The address that a keystore says its key has; asks for no passphrase, and so proves nothing.

    Raises:
        SignerError: no keystore there, or one that keeps its address to itself.
    """
    stated = _read(path).get("address")
    try:
        return address("0x" + str(stated).removeprefix("0x"))
    except InvalidValueError as error:
        raise _no_keystore(path, "it names no address") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        keyfile = json.loads(path.read_bytes())
    except OSError as error:
        raise SignerError(
            f"{path} cannot be read: {error}", next_step="name a keystore that this user may read"
        ) from error
    except ValueError as error:
        raise _no_keystore(path, "it is not JSON") from error
    if not isinstance(keyfile, dict):
        raise _no_keystore(path, "it is not a JSON object")
    return keyfile


def _no_keystore(path: Path, why: str) -> SignerError:
    return SignerError(
        f"{path} is no keystore: {why}", next_step="name a file of the version 3 format"
    )
