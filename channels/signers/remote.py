"""Keys at a remote signer: a wallet, clef, or a signing service that speaks JSON-RPC over HTTP.

What comes back is believed only as far as it can be checked: a signature of the expected address
over the struct that was sent. So the way there need not be trusted with what is signed, only with
being the one who may ask.

Asking twice is harmless. A request goes out again, byte for byte, only when the connection failed
or the signer was busy, never after it refused and never while a person may still be deciding; and
a struct that has been signed is answered from memory, with the same 64 bytes.

Sources: EIP-712 (eth_signTypedData), EIP-1474 and EIP-1193 (error codes), clef's external API.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final, cast

import httpx
import trio

from channels.errors import InvalidValueError, SignerError
from channels.foreign_json import parse_json
from channels.protocol.eip712 import Address, address, checksum
from channels.protocol.signing import Signable, Signature
from channels.signers.recovery import signature_of
from channels.signers.typed_data import typed_data

__all__ = ["DEFAULT_TIMEOUT", "RemoteSigner", "open_remote_signer"]

DEFAULT_TIMEOUT: Final = 60.0
"""Seconds that one signature may take, a person's consent and all tries included."""

_SIGN: Final = ("eth_signTypedData_v4", "account_signTypedData", "eth_signTypedData")
_LIST: Final = ("eth_accounts", "account_list")
_NO_METHOD: Final = {-32601, -32004, 4200}
_REFUSED: Final = 4001
_NOT_ALLOWED: Final = 4100
_BUSY: Final = {429, 502, 503, 504}
_PAUSES: Final = (0.2, 0.4, 0.8)
_MAX_ANSWER: Final = 64 * 1024
_REMEMBERED: Final = 256


class _NoMethodError(Exception):
    """The signer does not know this method; it did nothing."""


class RemoteSigner:
    """A key at a remote signer. Open one with `open_remote_signer`.

    Errors name the signer by host alone: the rest of a URL often is a secret.
    """

    def __init__(self, signer: Address, rpc: _SignerRpc, timeout: float) -> None:
        self._address = signer
        self._rpc = rpc
        self._timeout = timeout
        self._made: OrderedDict[bytes, Signature] = OrderedDict()

    def __repr__(self) -> str:
        return f"RemoteSigner({checksum(self._address)} at {self._rpc.host})"

    @property
    def address(self) -> Address:
        """The key's address."""
        return self._address

    async def sign(self, signable: Signable) -> Signature:
        """Have one struct signed; the same struct always gets the same signature.

        Raises:
            SignerError: refused, no answer in time, out of reach, or not this key's signature. Of
                what a signer may have signed after all, nobody has seen anything.
        """
        digest = signable.digest
        signature = self._made.get(digest)
        if signature is None:
            parameters = [checksum(self._address), typed_data(signable)]
            answer = await self._rpc.first_of(_SIGN, parameters, self._timeout)
            signature = signature_of(self._r_and_s(answer), digest, self._address)
            self._made[digest] = signature
            if len(self._made) > _REMEMBERED:
                self._made.popitem(last=False)
        return signature

    def _r_and_s(self, answer: object) -> bytes:
        try:
            raw = bytes.fromhex(str(answer).removeprefix("0x"))
        except ValueError:
            raw = b""
        if len(raw) != 65:
            raise SignerError(
                f"{self._rpc.host} answered with something that is no signature of 65 bytes",
                next_step="use a plain key: what a contract wallet signs, the contract refuses",
            )
        return raw[:64]


@asynccontextmanager
async def open_remote_signer(
    url: str,
    *,
    signer: Address | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    headers: dict[str, str] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[RemoteSigner]:
    """Use a key at the remote signer at ``url``; connections close with the block.

    Args:
        url: ``http:`` or ``https:``; a name and a password in it are sent as HTTP's own.
        signer: which key; the only one the signer lists, unless given.
        timeout: seconds for one signature, or for the list of keys, all tries included.
        headers: sent with every request, such as a token that lets us ask.
        transport: what carries requests instead of the network.

    Raises:
        InvalidValueError: no such URL.
        SignerError: the signer has no key or several, or lists none in time.
    """
    async with httpx.AsyncClient(
        timeout=None,  # noqa: S113  (there is one deadline, around everything)
        headers=headers,
        transport=transport,
        trust_env=False,  # what is to be signed goes there, and through no proxy
    ) as client:
        rpc = _SignerRpc(url, client)
        if signer is None:
            signer = await _only_account(rpc, timeout)
        yield RemoteSigner(signer, rpc, timeout)


async def _only_account(rpc: _SignerRpc, timeout: float) -> Address:
    answer = await rpc.first_of(_LIST, [], timeout)
    try:
        found = [address(str(each)) for each in answer] if isinstance(answer, list) else []
    except InvalidValueError as error:
        raise SignerError(f"{rpc.host} lists what is no address: {error}") from error
    if len(found) == 1:
        return found[0]
    names = ", ".join(map(checksum, found[:8])) or "none"
    raise SignerError(
        f"{rpc.host} has {len(found)} keys ({names}), not one",
        next_step="name the key: #0x… after the URL",
    )


class _SignerRpc:
    """JSON-RPC to one signer."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        try:
            parts = httpx.URL(url)
            valid = parts.scheme in ("http", "https") and bool(parts.host)
        except (httpx.InvalidURL, UnicodeError):
            valid = False
        if not valid:  # without the URL itself, which may hold a password
            raise InvalidValueError("a remote signer's address is http://host:port or https://…")
        self.host = parts.netloc.decode()
        self._url = url
        self._client = client

    async def first_of(self, methods: tuple[str, ...], parameters: list[Any], limit: float) -> Any:
        """Ask by the first name of a method that the signer knows, within ``limit`` seconds."""
        with trio.move_on_after(limit):
            for method in methods:
                try:
                    return await self._ask(method, parameters)
                except _NoMethodError:
                    continue
            raise SignerError(
                f"{self.host} has none of {', '.join(methods)}",
                next_step="point to a signer that signs EIP-712 typed data",
            )
        raise SignerError(
            f"{self.host} gave no answer within {limit:g} seconds",
            next_step="see whether it waits for a person's consent; let it sign by rule",
        )

    async def _ask(self, method: str, parameters: list[Any]) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        answer = await self._exchange(json.dumps(request, separators=(",", ":")).encode())
        error = answer.get("error")
        if error is not None:
            raise self._failure(error if isinstance(error, dict) else {"message": error})
        if "result" not in answer:
            raise SignerError(f"{self.host} answered {method} with neither result nor error")
        return answer["result"]

    async def _exchange(self, content: bytes) -> dict[str, Any]:
        for pause in _PAUSES:
            with suppress(httpx.RequestError):
                status, raw = await self._post(content)
                if status not in _BUSY:
                    return self._document(status, raw)
            await trio.sleep(pause)
        try:
            return self._document(*await self._post(content))
        except httpx.RequestError as error:
            raise SignerError(
                f"{self.host} cannot be reached: {type(error).__name__}",
                next_step="start the signer, or correct its address",
            ) from error

    async def _post(self, content: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        async with (
            self._client.stream("POST", self._url, content=content, headers=headers) as response,
            aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_bytes())) as chunks,
        ):
            raw = b""
            async for chunk in chunks:
                raw += chunk
                if len(raw) > _MAX_ANSWER:
                    raise SignerError(f"{self.host} answered with over {_MAX_ANSWER} bytes")
            return response.status_code, raw

    def _document(self, status: int, raw: bytes) -> dict[str, Any]:
        try:
            answer = parse_json(raw)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise SignerError(
                f"{self.host} answered with status {status} and no JSON-RPC",
                next_step="see whether that is a signer's address, and whether it lets us in",
            )
        return answer

    def _failure(self, error: dict[str, Any]) -> Exception:
        code, said = error.get("code"), _printable(str(error.get("message", "")))
        if code in _NO_METHOD:
            return _NoMethodError()
        if code == _REFUSED or "denied" in said.lower() or "reject" in said.lower():
            return SignerError(
                f"{self.host} refused to sign: {said}",
                next_step="allow it there, by hand or by rule, and try again",
            )
        if code == _NOT_ALLOWED:
            return SignerError(
                f"{self.host} does not let us use this key: {said}",
                next_step="unlock it there, or name another: #0x… after the URL",
            )
        return SignerError(
            f"{self.host} did not sign: {said} ({code})", next_step="see the signer's own log"
        )


def _printable(text: str) -> str:
    """What a stranger says, fit for a terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in text[:200])
