"""Keys in a PKCS#11 token: a hardware security module, a smart card, or SoftHSM.

The token signs the 32-byte digest and shows nobody what it signs: whoever holds the PIN may have
anything signed. Needs python-pkcs11, which ``pip install 'option-channels[hsm]'`` brings, and the
library of the token's maker.

Calls into that library block, so they are made in a thread, one at a time. A caller who gives up
leaves at once; the thread finishes its call, its result is dropped, and `open_pkcs11_signer` waits
for it at the end of the block.

Sources: PKCS#11 3.0, 2.3.6 (ECDSA: r and s, as long as the order); RFC 5480 (curves, points).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from coincurve import PublicKey

from channels.errors import InvalidValueError, SignerError
from channels.protocol.eip712 import Address, checksum, keccak
from channels.protocol.signing import Signable, Signature
from channels.signers.passphrases import SecretSource
from channels.signers.recovery import signature_of

if TYPE_CHECKING:
    import pkcs11

__all__ = ["Pkcs11Key", "Pkcs11Signer", "address_of_point", "open_pkcs11_signer"]

_SECP256K1: Final = bytes.fromhex("06052b8104000a")
"""The curve's object identifier, 1.3.132.0.10, in DER."""


@attrs.frozen(kw_only=True)
class Pkcs11Key:
    """Where a key is: which library, which token in it, which private key in that.

    Of the token at least a label or a serial number, of the key at least its label or its id; what
    is given must fit exactly one.
    """

    module: Path
    token: str | None = None
    serial: bytes | None = None
    label: str | None = None
    id: bytes | None = None

    def __attrs_post_init__(self) -> None:
        if self.token is None and self.serial is None:
            raise InvalidValueError("name the token: by its label or its serial number")
        if self.label is None and self.id is None:
            raise InvalidValueError("name the key: by its label or its id")

    def __str__(self) -> str:
        key = self.label if self.label is not None else self.id
        token = self.token if self.token is not None else self.serial
        return f"key {key!r} of token {token!r}"


class Pkcs11Signer:
    """A key in a token. Open one with `open_pkcs11_signer`."""

    def __init__(self, session: _Session, limiter: trio.CapacityLimiter) -> None:
        self._session = session
        self._limiter = limiter

    def __repr__(self) -> str:
        return f"Pkcs11Signer({checksum(self.address)})"

    @property
    def address(self) -> Address:
        """The key's address."""
        return self._session.address

    async def sign(self, signable: Signable) -> Signature:
        """Have one struct's digest signed.

        Raises:
            SignerError: the token does not sign, or not with this key.
        """
        digest = signable.digest
        raw = await trio.to_thread.run_sync(
            self._session.sign, digest, abandon_on_cancel=True, limiter=self._limiter
        )
        return signature_of(raw, digest, self.address)


@asynccontextmanager
async def open_pkcs11_signer(key: Pkcs11Key, pin: SecretSource) -> AsyncIterator[Pkcs11Signer]:
    """Log in to a token and use a key of it until the block ends.

    ``pin`` is asked once, and what it gives is kept to log in again after the token was away. A
    wrong PIN is not tried again, because tokens lock after a few.

    Raises:
        SignerError: python-pkcs11, its library, the token or the key is not there, the PIN is
            wrong, or the key is not of the curve secp256k1.
    """
    # A thread that was given up still holds the limiter until it returns: one call at a time.
    limiter = trio.CapacityLimiter(1)
    run = partial(trio.to_thread.run_sync, limiter=limiter)
    session = await run(_Session, key, pin)
    try:
        yield Pkcs11Signer(session, limiter)
    finally:
        with trio.CancelScope(shield=True):
            await run(session.close)


class _Session:
    """A login at a token; everything here blocks, and is called by one thread at a time."""

    def __init__(self, key: Pkcs11Key, pin: SecretSource) -> None:
        try:
            import pkcs11
        except ImportError as error:
            raise SignerError(
                "python-pkcs11 is not installed",
                next_step="pip install 'option-channels[hsm]'",
            ) from error
        self._pkcs11 = pkcs11
        # What says that the login or the key's handle is gone, and that a new one may do.
        self._lost = (
            pkcs11.DeviceRemoved,
            pkcs11.KeyHandleInvalid,
            pkcs11.ObjectHandleInvalid,
            pkcs11.SessionClosed,
            pkcs11.SessionHandleInvalid,
            pkcs11.TokenNotPresent,
            pkcs11.UserNotLoggedIn,
        )
        self._wrong_pin = (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange)
        self._key = key
        self._pin: str | None = pin(f"PIN for the {key}")
        self._session: pkcs11.Session | None = None
        try:
            self._open()
            self.address = self._find_address()
        except pkcs11.PKCS11Error as error:
            self.close()
            raise self._failure(error) from error
        except SignerError:
            self.close()
            raise

    def sign(self, digest: bytes) -> bytes:
        """R and s over 32 bytes."""
        try:
            try:
                return self._ecdsa(digest)
            except self._lost:
                self.close()
                self._open()
                return self._ecdsa(digest)
        except self._pkcs11.PKCS11Error as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Log out; a token that is gone has done that already."""
        session, self._session = self._session, None
        if session is not None:
            with suppress(self._pkcs11.PKCS11Error):
                session.close()

    def _ecdsa(self, digest: bytes) -> bytes:
        return bytes(self._private.sign(digest, mechanism=self._pkcs11.Mechanism.ECDSA))

    def _open(self) -> None:
        self._session = session = self._log_in(self._find_token())
        self._private: Any = self._find(session, self._pkcs11.ObjectClass.PRIVATE_KEY)
        self._public: Any = self._find(session, self._pkcs11.ObjectClass.PUBLIC_KEY)

    def _find_token(self) -> pkcs11.Token:
        try:
            library = self._pkcs11.lib(str(self._key.module))
        except (RuntimeError, OSError) as error:
            raise SignerError(
                f"{self._key.module} cannot be loaded: {error}",
                next_step="install the token's library, or correct module-path",
            ) from error
        tokens = list(
            library.get_tokens(token_label=self._key.token, token_serial=self._key.serial)
        )
        if len(tokens) != 1:
            raise SignerError(
                f"{len(tokens)} tokens fit, not one, for the {self._key}",
                next_step="plug it in, or name it by its serial number",
            )
        return tokens[0]

    def _log_in(self, token: pkcs11.Token) -> pkcs11.Session:
        if self._pin is None:
            raise SignerError(
                f"the PIN was wrong for the {self._key}, and is not tried again",
                next_step="open the signer anew with the right one",
            )
        try:
            return token.open(user_pin=self._pin)
        except self._pkcs11.UserAlreadyLoggedIn:  # a login is the whole process's
            return token.open()
        except self._wrong_pin:
            self._pin = None
            raise

    def _find(self, session: pkcs11.Session, kind: pkcs11.ObjectClass) -> pkcs11.Object:
        attribute = self._pkcs11.Attribute
        wanted = {
            attribute.CLASS: kind,
            attribute.KEY_TYPE: self._pkcs11.KeyType.EC,
            **({} if self._key.label is None else {attribute.LABEL: self._key.label}),
            **({} if self._key.id is None else {attribute.ID: self._key.id}),
        }
        found = list(session.get_objects(wanted))
        if len(found) != 1:
            name = "private" if kind is self._pkcs11.ObjectClass.PRIVATE_KEY else "public"
            raise SignerError(
                f"{len(found)} {name} keys fit, not one, for the {self._key}",
                next_step="put both halves of the key into the token, under a label of their own",
            )
        return found[0]

    def _find_address(self) -> Address:
        attribute = self._pkcs11.Attribute
        if bytes(self._public[attribute.EC_PARAMS]) != _SECP256K1:
            raise SignerError(
                f"the {self._key} is of another curve", next_step="make one of secp256k1"
            )
        try:
            return address_of_point(bytes(self._public[attribute.EC_POINT]))
        except ValueError as error:
            raise SignerError(
                f"the {self._key} has a public half that is no point",
                next_step="make the key anew, or import both halves",
            ) from error

    def _failure(self, error: Exception) -> SignerError:
        name = type(error).__name__
        if isinstance(error, self._wrong_pin):
            return SignerError(
                f"the PIN is wrong for the {self._key}",
                next_step="check it before you try again: a token locks after a few wrong ones",
            )
        if isinstance(error, self._pkcs11.PinLocked):
            return SignerError(
                f"the token of the {self._key} is locked after wrong PINs",
                next_step="have its security officer set a new one",
            )
        return SignerError(
            f"the {self._key} does not sign: {name}", next_step="see whether the token is there"
        )


def address_of_point(point: bytes) -> Address:
    """Address of a public key as tokens give it: a point, in an OCTET STRING of DER or without.

    Raises:
        ValueError: it is no point of the curve.
    """
    if len(point) in (35, 67):  # a point has 33 bytes compressed, 65 if not
        point = point[2:]
    return Address(keccak(PublicKey(point).format(compressed=False)[1:])[12:])
