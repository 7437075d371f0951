"""TLS 1.3 between two that trust no authority: the certificate proves nothing, its hash is proved.

The server makes its certificate when it starts and keeps the key in memory; nobody checks who
signed it. What the session layer checks instead is `Secured.binding`, the certificate's hash, under
the signature of the counterparty's key. The client has no certificate: its proof covers the
server's, and a certificate of its own would add nothing to that.

There is no renegotiation in TLS 1.3, and no session is resumed: tickets are not sent.
"""

from __future__ import annotations

import datetime
import hashlib
import secrets
import ssl
import tempfile
from pathlib import Path
from typing import Final

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from channels.transport.endpoints import Secured
from channels.transport.streams import TlsStream

__all__ = ["ServerTls", "dial_tls"]

_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "option-channels")])
_VALID_FROM: Final = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_VALID_TO: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""RFC 5280's date for a certificate that does not expire: it lives as long as its process."""


class ServerTls:
    """A server's certificate and the wrapper of its streams; made once for each server.

    Attributes:
        binding: SHA-256 of the certificate in DER.
        context: what its connections are made with.
    """

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_NAME)
            .issuer_name(_NAME)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_VALID_FROM)
            .not_valid_after(_VALID_TO)
            .sign(key, hashes.SHA256())
        )
        self.binding = _hash(certificate.public_bytes(serialization.Encoding.DER))
        self.context = _context(ssl.PROTOCOL_TLS_SERVER)
        self.context.num_tickets = 0
        _load(self.context, certificate, key)

    async def wrap(self, stream: trio.SocketStream) -> Secured:
        """Do the server's part of the handshake.

        Raises:
            trio.BrokenResourceError: the client speaks no TLS 1.3, or left.
        """
        wrapped = TlsStream(stream, self.context, server_side=True)
        await wrapped.do_handshake()
        return Secured(stream=wrapped, binding=self.binding)


async def dial_tls(stream: trio.SocketStream) -> Secured:
    """Do the client's part of the handshake.

    Raises:
        trio.BrokenResourceError: the server speaks no TLS 1.3, or left.
    """
    wrapped = TlsStream(stream, _CLIENT, server_side=False)
    await wrapped.do_handshake()
    certificate = wrapped.tls.getpeercert(binary_form=True)
    if certificate is None:
        raise trio.BrokenResourceError("the server has no certificate")
    return Secured(stream=wrapped, binding=_hash(certificate))


def _hash(certificate: bytes) -> bytes:
    return hashlib.sha256(certificate).digest()


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_CLIENT: Final = _context(ssl.PROTOCOL_TLS_CLIENT)


def _load(
    context: ssl.SSLContext, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    """Give the context its key. OpenSSL reads files only: this one is locked with a lost password.

    So the key never lies on a disk in the clear, not even if we die before the file is removed.
    """
    password = secrets.token_bytes(32).hex().encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context.load_cert_chain(path, password=password)
