"""Floors of the co-signed updates: hand-written loops over blocking sockets, with nothing else.

One update is two signatures, two verifications and one round trip of a 206-byte message; durable,
with one SQLite commit on each side; in bursts, with one commit and one send for all of a burst. The
naive loop signs the same through eth-account's typed data.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from eth_account import Account
from eth_account.messages import encode_typed_data

from bench.desk_pair import ALICE, BOB, child
from bench.timing import seconds
from channels.protocol.eip712 import keccak
from channels.protocol.signing import LocalSigner, Signature, recover
from channels.transport.tls import ServerTls

__all__ = ["MESSAGE", "SECONDS", "client_context", "measure_floor"]

SECONDS: Final = 3.0
MESSAGE: Final = 206
_SIGNED: Final = MESSAGE - 64

Sign = Callable[[bytes], bytes]
Check = Callable[[bytes], None]


def _by_hand(signer: LocalSigner) -> tuple[Sign, Check]:
    """Signs the hash of a message's body; checks a message."""

    def sign(body: bytes) -> bytes:
        return signer.sign_digest(keccak(body)).compact

    def check(message: bytes) -> None:
        recover(Signature(message[:64]), keccak(message[64:]))

    return sign, check


def _naively(signer: LocalSigner) -> tuple[Sign, Check]:
    """The same through eth-account. The signature's last byte has no room here and is found again.

    ``recover_message`` costs the same whether it finds the right signer.
    """
    key = (b"\x01" if signer is ALICE else b"\x02") * 32

    def typed(body: bytes) -> Any:
        fields = [
            {"name": "channelId", "type": "bytes32"},
            {"name": "nonce", "type": "uint64"},
            {"name": "portfolio", "type": "bytes32"},
        ]
        return encode_typed_data(
            {"name": "option-channels", "version": "1", "chainId": 31_337},
            {"State": fields},
            {
                "channelId": body[:32],
                "nonce": int.from_bytes(body[:8], "big"),
                "portfolio": body[32:64],
            },
        )

    def sign(body: bytes) -> bytes:
        return bytes(Account.sign_message(typed(body), key).signature)[:64]

    def check(message: bytes) -> None:
        Account.recover_message(typed(message[64:]), signature=message[:64] + b"\x1b")

    return sign, check


class _Store:
    """One row, replaced; durable if it has a path."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None) if path else None
        if self._database is not None:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("CREATE TABLE state (id INTEGER PRIMARY KEY, body BLOB)")

    def commit(self, bodies: list[bytes]) -> None:
        """Store these in one transaction."""
        if self._database is not None:
            self._database.execute("BEGIN")
            self._database.executemany(
                "INSERT OR REPLACE INTO state VALUES (?, ?)", list(enumerate(bodies))
            )
            self._database.execute("COMMIT")


def _receive(connection: socket.socket, burst: int) -> list[bytes]:
    received = b""
    while len(received) < MESSAGE * burst:
        part = connection.recv(MESSAGE * burst - len(received))
        if not part:
            raise ConnectionError("closed")
        received += part
    return [received[at : at + MESSAGE] for at in range(0, len(received), MESSAGE)]


def client_context() -> ssl.SSLContext:
    """TLS 1.3 with whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _respond(port: int, path: str, burst: int, tls: bool, naive: bool) -> None:
    store = _Store(path)
    sign, check = (_naively if naive else _by_hand)(BOB)
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = client_context().wrap_socket(plain) if tls else plain
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while True:
                messages = _receive(connection, burst)
                for message in messages:
                    check(message)
                bodies = [message[64:] for message in messages]
                answer = b"".join(sign(body) + body for body in bodies)
                store.commit(bodies)
                connection.sendall(answer)


def measure_floor(
    *, durable: bool = False, tls: bool = False, burst: int = 1, naive: bool = False
) -> float:
    """Updates a second of the loop: so many in flight at once, and committed together."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        store = _Store(str(Path(folder) / "initiator.db") if durable else "")
        path = str(Path(folder) / "responder.db") if durable else ""
        options = [str(burst), "tls" if tls else "", "naive" if naive else ""]
        with child("bench.floors", str(port), path, *options):
            plain, _ = listener.accept()
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = ServerTls().context if tls else None
            connection = plain if context is None else context.wrap_socket(plain, server_side=True)
            with connection:
                return _initiate(connection, store, burst, naive)


def _initiate(connection: socket.socket, store: _Store, burst: int, naive: bool) -> float:
    sign, check = (_naively if naive else _by_hand)(ALICE)
    count, rest = 0, os.urandom(_SIGNED - 8)
    began = time.perf_counter()
    while time.perf_counter() - began < seconds(SECONDS):
        bodies = [(count + each).to_bytes(8, "big") + rest for each in range(burst)]
        data = b"".join(sign(body) + body for body in bodies)
        store.commit(bodies)
        connection.sendall(data)
        for message in _receive(connection, burst):
            check(message)
        store.commit(bodies)
        count += burst
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    _port, _path, _burst, _tls, _naive = sys.argv[1:]
    _respond(int(_port), _path, int(_burst), bool(_tls), bool(_naive))
