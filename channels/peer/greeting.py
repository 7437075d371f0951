"""The greeting on a fresh connection: each side proves who it is before a channel is spoken of."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Final, TypeVar

import attrs
import trio

from channels.errors import (
    BadSignatureError,
    ChannelsError,
    LinkClosedError,
    PeerError,
    PeerTimeoutError,
    SignerError,
    UnexpectedMessageError,
    UnprovedPeerError,
)
from channels.peer.session import error_message
from channels.peer.tasks import NO_CHANNEL
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.eip712 import Address
from channels.protocol.proofs import Role, SessionProof
from channels.protocol.signing import Signable, Signer, check_signature
from channels.protocol.terms import Domain
from channels.transport.link import Link

__all__ = ["greet"]

SOFTWARE: Final = "option-channels/0.1"
HELLO_TIMEOUT: Final = 30.0
"""Seconds for a Challenge or a Hello to come; the other side's key may be slow."""
SIGNER_TIMEOUT: Final = 20.0
"""Seconds that our key may take to prove us."""
GOODBYE_TIMEOUT: Final = 5.0

_M = TypeVar("_M", m.Challenge, m.Hello)


async def greet(link: Link, *, role: Role, signer: Signer, domain: Domain) -> Address:
    """Prove who we are and have the other side prove it; its signer.

    The server challenges, the client says Hello with its proof, and only then does the server say
    who it is. Each proof covers both challenges and the certificate of this very connection: on one
    without TLS it still proves the key, and no more.

    Args:
        link: fresh; nothing else may use it yet.
        role: `Role.CLIENT` for the side that connected.
        signer: ours.
        domain: of the contract that both must mean.

    Raises:
        UnprovedPeerError: its proof is not by the key it names, or not of this connection.
        PeerError: no Hello in time, or one of another chain or contract.
        SignerError: our key did not prove us in time.
    """
    try:
        prove = _answer if role is Role.CLIENT else _demand
        return await prove(link, signer, domain)
    except LinkClosedError:
        raise
    except (PeerError, SignerError) as error:
        with trio.move_on_after(GOODBYE_TIMEOUT), suppress(PeerError):
            await link.send([codec.encode(error_message(NO_CHANNEL, error))])
        raise


async def _answer(link: Link, signer: Signer, domain: Domain) -> Address:
    """The client's part."""
    theirs = (await _hear(link, m.Challenge)).challenge
    proof = SessionProof(
        role=Role.CLIENT,
        certificate=link.binding,
        client_challenge=secrets.token_bytes(32),
        server_challenge=theirs,
        client=signer.address,
    )
    await _say_hello(link, signer, domain, proof)
    hello = await _hear(link, m.Hello)
    return _proved(hello, domain, attrs.evolve(proof, role=Role.SERVER))


async def _demand(link: Link, signer: Signer, domain: Domain) -> Address:
    """The server's part."""
    mine = secrets.token_bytes(32)
    await link.send([codec.encode(m.Challenge(challenge=mine))])
    hello = await _hear(link, m.Hello)
    proof = SessionProof(
        role=Role.CLIENT,
        certificate=link.binding,
        client_challenge=hello.challenge,
        server_challenge=mine,
        client=hello.signer,
    )
    client = _proved(hello, domain, proof)
    await _say_hello(link, signer, domain, attrs.evolve(proof, role=Role.SERVER))
    return client


async def _hear(link: Link, kind: type[_M]) -> _M:
    patience = min(HELLO_TIMEOUT, link.limits.idle)
    with trio.move_on_after(patience):
        heard = codec.decode(await link.receive())
        if isinstance(heard, kind):
            return heard
        if isinstance(heard, m.Error):
            raise PeerError(f"the peer complains: {heard.reason.name} {heard.text}")
        raise UnexpectedMessageError(f"{type(heard).__name__} before {kind.__name__}")
    raise PeerTimeoutError(f"no {kind.__name__} within {patience:g} s")


async def _say_hello(link: Link, signer: Signer, domain: Domain, proof: SessionProof) -> None:
    signature = None
    try:
        with trio.move_on_after(SIGNER_TIMEOUT):
            signature = await signer.sign(Signable(domain, proof))
    except ChannelsError:
        raise
    except Exception as error:
        raise SignerError(f"our key did not prove us: {error!r}") from error
    if signature is None:
        raise SignerError(f"our key did not prove us within {SIGNER_TIMEOUT:g} s")
    client = proof.role is Role.CLIENT
    hello = m.Hello(
        signer=signer.address,
        chain_id=domain.chain_id,
        adjudicator=domain.adjudicator,
        software=SOFTWARE,
        challenge=proof.client_challenge if client else proof.server_challenge,
        proof=signature,
    )
    await link.send([codec.encode(hello)])


def _proved(hello: m.Hello, domain: Domain, proof: SessionProof) -> Address:
    """Check a Hello; its signer."""
    if (hello.chain_id, hello.adjudicator) != (domain.chain_id, domain.adjudicator):
        raise UnexpectedMessageError(
            f"the peer is on chain {hello.chain_id}, contract 0x{hello.adjudicator.hex()}",
            next_step="agree on one Adjudicator",
        )
    server = proof.role is Role.SERVER
    if hello.challenge != (proof.server_challenge if server else proof.client_challenge):
        raise UnprovedPeerError("its Hello has another challenge than it made")
    try:
        check_signature(hello.proof, Signable(domain, proof), hello.signer)
    except BadSignatureError as error:
        raise UnprovedPeerError(
            f"not proved to be 0x{hello.signer.hex()}: another key, or another connection"
        ) from error
    return hello.signer
