"""One form of address for every place a key may be at.

=============================  =====================================================================
``keystore:key.json``          an encrypted file; ``?passphrase-file=…`` or ``?passphrase-env=…``
``env:NAME``                   a private key in an environment variable, hexadecimal
``https://host/#0x…``          a remote signer, and which of its keys
``pkcs11:token=…;object=…``    a key in a token; ``?module-path=…`` and ``?pin-source=file:…``
=============================  =====================================================================

No address holds a secret, but for a name and a password at a remote signer.

Source: RFC 7512 (pkcs11).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

import trio

from channels.errors import InvalidValueError, SignerError
from channels.protocol.eip712 import address
from channels.protocol.signing import LocalSigner, Signer
from channels.signers.keystore import load_keystore
from channels.signers.passphrases import (
    SecretSource,
    environment_or_ask,
    from_environment,
    from_file,
)
from channels.signers.pkcs11 import Pkcs11Key, open_pkcs11_signer
from channels.signers.remote import DEFAULT_TIMEOUT, open_remote_signer

__all__ = ["MODULE_VARIABLE", "PASSPHRASE_VARIABLE", "PIN_VARIABLE", "open_signer"]

PASSPHRASE_VARIABLE: Final = "OPTION_CHANNELS_PASSPHRASE"  # noqa: S105  (its name)
"""Environment variable with the passphrase of a keystore; without it, it is asked for."""

PIN_VARIABLE: Final = "OPTION_CHANNELS_PIN"
"""Environment variable with the PIN of a token; without it, it is asked for."""

MODULE_VARIABLE: Final = "PKCS11_MODULE"
"""Environment variable with the path of the PKCS#11 library, where an address names none."""

_TOKEN: Final = {"token", "serial", "object", "id", "type"}
_TOKEN_QUERY: Final = {"module-path", "pin-source"}
_KEYSTORE_QUERY: Final = {"passphrase-env", "passphrase-file"}

Opened = AbstractAsyncContextManager[Signer]


def open_signer(
    uri: str, *, secret: SecretSource | None = None, timeout: float = DEFAULT_TIMEOUT
) -> Opened:
    """Open the signer at ``uri`` for the time of an ``async with``.

    Args:
        uri: ``keystore:``, ``env:``, ``http:``, ``https:`` or ``pkcs11:``, as above.
        secret: gives the passphrase or the PIN where the address says nothing about it; unless
            given, the environment, else whoever sits at the terminal.
        timeout: seconds for one signature of a remote signer. Put a `DeadlineSigner` around what a
            channel is to use.

    Raises:
        InvalidValueError: no such address.
        SignerError: on entering the block: there is no key, or it cannot be had.

    >>> import os, trio
    >>> from channels.signers import open_signer
    >>> async def address_at(uri):
    ...     async with open_signer(uri) as signer:
    ...         return signer.address.hex()
    >>> os.environ["CHANNEL_KEY"] = "0x" + "46" * 32
    >>> trio.run(address_at, "env:CHANNEL_KEY")
    '9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f'
    >>> del os.environ["CHANNEL_KEY"]
    """
    scheme, _, rest = uri.partition(":")
    scheme = scheme.lower()
    if scheme in ("http", "https"):
        return _remote(uri, timeout)
    if scheme == "env":
        return _environment(rest)
    if scheme == "keystore":
        return _keystore(rest, secret)
    if scheme == "pkcs11":
        return _pkcs11(rest, secret)
    raise InvalidValueError(
        "a signer's address begins with env:, http:, https:, keystore: or pkcs11:",
        next_step="write keystore:PATH for a key in a file",
    )


def _remote(uri: str, timeout: float) -> Opened:
    url, _, fragment = uri.partition("#")
    signer = address(fragment) if fragment else None
    return open_remote_signer(url, signer=signer, timeout=timeout)


def _environment(name: str) -> Opened:
    if not name:
        raise InvalidValueError("env: wants the name of an environment variable")
    return _opened(partial(_key_of_environment, name))


def _key_of_environment(name: str) -> LocalSigner:
    text = from_environment(name)("private key")
    try:
        return LocalSigner(bytes.fromhex(text.strip().removeprefix("0x")))
    except ValueError:  # whose message may hold the key
        raise SignerError(
            f"{name} holds no private key", next_step="set it to 64 hexadecimal digits"
        ) from None


def _keystore(rest: str, secret: SecretSource | None) -> Opened:
    path, _, query = rest.partition("?")
    options = _attributes(query, "&", _KEYSTORE_QUERY)
    if not path or len(options) > 1:
        raise InvalidValueError(
            "a keystore's address is keystore:PATH, with passphrase-file or passphrase-env or none"
        )
    if "passphrase-file" in options:
        secret = from_file(Path(unquote(options["passphrase-file"])))
    elif "passphrase-env" in options:
        secret = from_environment(unquote(options["passphrase-env"]))
    elif secret is None:
        secret = environment_or_ask(PASSPHRASE_VARIABLE)
    return _opened(partial(load_keystore, Path(unquote(path)), secret))


def _pkcs11(rest: str, secret: SecretSource | None) -> Opened:
    path, _, query = rest.partition("?")
    named, options = _attributes(path, ";", _TOKEN), _attributes(query, "&", _TOKEN_QUERY)
    if named.get("type", "private") != "private":
        raise InvalidValueError("only a private key signs: type=private")
    module = unquote(options.get("module-path", "")) or os.environ.get(MODULE_VARIABLE, "")
    if not module:
        raise InvalidValueError(
            "the address names no PKCS#11 library",
            next_step=f"add ?module-path=/… to it, or set {MODULE_VARIABLE}",
        )
    if "pin-source" in options:
        secret = from_file(Path(unquote(options["pin-source"]).removeprefix("file:")))
    elif secret is None:
        secret = environment_or_ask(PIN_VARIABLE)
    key = Pkcs11Key(
        module=Path(module),
        token=unquote(named["token"]) if "token" in named else None,
        serial=unquote_to_bytes(named["serial"]) if "serial" in named else None,
        label=unquote(named["object"]) if "object" in named else None,
        id=unquote_to_bytes(named["id"]) if "id" in named else None,
    )
    return open_pkcs11_signer(key, secret)


def _attributes(text: str, separator: str, known: set[str]) -> Mapping[str, str]:
    """Names and values, still percent-encoded.

    An attribute that we do not know is refused, as RFC 7512 has it: it may say which key is meant.
    """
    found: dict[str, str] = {}
    for each in text.split(separator) if text else ():
        name, given, value = each.partition("=")
        if name not in known or not given or name in found:
            raise InvalidValueError(
                f"{name!r} is unknown here, has no value or stands twice",
                next_step=f"use {', '.join(sorted(known))}, once each",
            )
        found[name] = value
    return found


@asynccontextmanager
async def _opened(load: Callable[[], LocalSigner]) -> AsyncIterator[Signer]:
    yield await trio.to_thread.run_sync(load)
