"""Attack: sit between two peers, or pass for one with what they said on other connections.

Mallory has a certificate and a key of its own, and never Alice's or Bob's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from channels.errors import LinkClosedError, PeerError, UnexpectedMessageError, UnprovedPeerError
from channels.peer.greeting import greet
from channels.protocol import codec
from channels.protocol import messages as m
from channels.protocol.eip712 import Address, address
from channels.protocol.proofs import Role, SessionProof
from channels.protocol.signing import LocalSigner
from channels.protocol.terms import Domain
from channels.transport import (
    Link,
    LinkLimits,
    ServerTls,
    StreamWrapper,
    connect,
    dial_tls,
    serve,
)

DOMAIN = Domain(chain_id=1, adjudicator=address(b"\x0c" * 20))
OTHER_CHAIN = Domain(chain_id=10, adjudicator=DOMAIN.adjudicator)
OTHER_CONTRACT = Domain(chain_id=1, adjudicator=address(b"\x0d" * 20))
ALICE, BOB, MALLORY = (LocalSigner(bytes([n]) * 32) for n in (1, 2, 3))
PATIENCE = 10.0

Result = Address | PeerError


async def result_of(greeting: Awaitable[Address]) -> Result:
    try:
        with trio.fail_after(PATIENCE):
            return await greeting
    except PeerError as error:
        return error


class Server:
    """Bob, who greets whoever connects; ``results`` are what came of it."""

    def __init__(self, address: str, results: trio.MemoryReceiveChannel[Result]) -> None:
        self.address = address
        self.results = results

    async def result(self) -> Result:
        with trio.fail_after(PATIENCE):
            return await self.results.receive()


@asynccontextmanager
async def bob_listening(
    tls: ServerTls | None, limits: LinkLimits | None = None
) -> AsyncIterator[Server]:
    send, receive = trio.open_memory_channel[Result](10)

    async def handler(link: Link) -> None:
        await send.send(await result_of(greet(link, role=Role.SERVER, signer=BOB, domain=DOMAIN)))

    wrap = tls.wrap if tls else None
    async with serve("127.0.0.1:0", handler, wrap=wrap, limits=limits) as server:
        yield Server(server.address, receive)


async def dial(
    where: str, key: LocalSigner, domain: Domain = DOMAIN, wrap: StreamWrapper | None = dial_tls
) -> Result:
    async with connect(where, wrap=wrap) as link:
        return await result_of(greet(link, role=Role.CLIENT, signer=key, domain=domain))


@asynccontextmanager
async def mallory_listening(
    attack: Callable[[Link], Awaitable[None]], tls: ServerTls | None
) -> AsyncIterator[str]:
    """Mallory's own server, at the address where Alice believes Bob to be."""

    async def handler(link: Link) -> None:
        try:
            await attack(link)
        except LinkClosedError:
            return

    async with serve("127.0.0.1:0", handler, wrap=tls.wrap if tls else None) as server:
        yield server.address


async def hear(link: Link) -> m.Message:
    return codec.decode(await link.receive())


async def heard_hello(link: Link) -> m.Hello:
    hello = await hear(link)
    assert isinstance(hello, m.Hello)
    return hello


async def heard_challenge(link: Link) -> bytes:
    challenge = await hear(link)
    assert isinstance(challenge, m.Challenge)
    return challenge.challenge


async def say(link: Link, message: m.Message) -> None:
    await link.send([codec.encode(message)])


def proof_of(
    link: Link, server_challenge: bytes, client: Address, **changes: object
) -> SessionProof:
    proof = SessionProof(
        role=Role.CLIENT,
        certificate=link.binding,
        client_challenge=bytes(32),
        server_challenge=server_challenge,
        client=client,
    )
    return attrs.evolve(proof, **changes)  # type: ignore[arg-type]


def hello_with(
    proof: SessionProof, key: LocalSigner, *, domain: Domain = DOMAIN, name: Address | None = None
) -> m.Hello:
    """A Hello that names ``name``, with a proof signed by ``key``."""
    return m.Hello(
        signer=key.address if name is None else name,
        chain_id=DOMAIN.chain_id,
        adjudicator=DOMAIN.adjudicator,
        software="mallory/6.66",
        challenge=proof.client_challenge,
        proof=key.sign_digest(domain.digest(proof)),
    )


@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "plain"])
async def test_without_anybody_in_between_both_are_proved(tls: bool) -> None:
    async with bob_listening(ServerTls() if tls else None) as bob:
        assert await dial(bob.address, ALICE, wrap=dial_tls if tls else None) == BOB.address
        assert await bob.result() == ALICE.address


# -- in between


async def test_a_relay_of_all_that_is_said() -> None:
    """Two TLS connections, every frame passed on: Bob sees that Alice means another certificate."""
    async with bob_listening(ServerTls()) as bob:

        async def relay(alice: Link) -> None:
            async with connect(bob.address, wrap=dial_tls) as link, trio.open_nursery() as nursery:
                nursery.start_soon(pass_on, link, alice)
                await pass_on(alice, link)

        async def pass_on(source: Link, sink: Link) -> None:
            while True:
                await sink.send([await source.receive()])

        async with mallory_listening(relay, ServerTls()) as where:
            for_alice = await dial(where, ALICE)
            assert isinstance(await bob.result(), UnprovedPeerError)
            assert isinstance(for_alice, PeerError)
            assert "UnprovedPeerError" in for_alice.args[0]


async def test_bobs_hello_passed_on_to_alice() -> None:
    """Mallory proves itself to Bob, with Alice's challenge; Alice sees whom Bob speaks to."""
    async with bob_listening(ServerTls()) as bob:

        async def steal(alice: Link) -> None:
            async with connect(bob.address, wrap=dial_tls) as link:
                challenge = await heard_challenge(link)
                await say(alice, m.Challenge(challenge=challenge))
                theirs = (await heard_hello(alice)).challenge
                proof = proof_of(link, challenge, MALLORY.address, client_challenge=theirs)
                await say(link, hello_with(proof, MALLORY))
                await say(alice, await heard_hello(link))

        async with mallory_listening(steal, ServerTls()) as where:
            assert isinstance(await dial(where, ALICE), UnprovedPeerError)
            assert await bob.result() == MALLORY.address, "and to Bob it is Mallory, no more"


async def test_a_server_that_is_only_mallory() -> None:
    """It may be itself: who asked for Bob then sees another signer (`Peer.open` refuses it)."""

    async def itself(alice: Link) -> None:
        await greet(alice, role=Role.SERVER, signer=MALLORY, domain=DOMAIN)

    async with mallory_listening(itself, ServerTls()) as where:
        assert await dial(where, ALICE) == MALLORY.address


# -- to the server


Forgery = Callable[[Link, bytes], m.Hello]

FORGERIES: dict[str, Forgery] = {
    "another key": lambda link, challenge: hello_with(
        proof_of(link, challenge, ALICE.address), MALLORY, name=ALICE.address
    ),
    "another key, its own name in the proof": lambda link, challenge: hello_with(
        proof_of(link, challenge, MALLORY.address), MALLORY, name=ALICE.address
    ),
    "another certificate": lambda link, challenge: hello_with(
        proof_of(link, challenge, ALICE.address, certificate=b"\x01" * 32), ALICE
    ),
    "a proof for a connection without TLS": lambda link, challenge: hello_with(
        proof_of(link, challenge, ALICE.address, certificate=bytes(32)), ALICE
    ),
    "another challenge": lambda link, challenge: hello_with(
        proof_of(link, bytes(32), ALICE.address), ALICE
    ),
    "another challenge of its own": lambda link, challenge: attrs.evolve(
        hello_with(proof_of(link, challenge, ALICE.address), ALICE), challenge=b"\x02" * 32
    ),
    "the server's role": lambda link, challenge: hello_with(
        proof_of(link, challenge, ALICE.address, role=Role.SERVER), ALICE
    ),
    "another chain": lambda link, challenge: hello_with(
        proof_of(link, challenge, ALICE.address), ALICE, domain=OTHER_CHAIN
    ),
    "another contract": lambda link, challenge: hello_with(
        proof_of(link, challenge, ALICE.address), ALICE, domain=OTHER_CONTRACT
    ),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
async def test_forged_proofs_get_an_error_and_nothing_else(forge: Forgery) -> None:
    async with bob_listening(ServerTls()) as bob, connect(bob.address, wrap=dial_tls) as link:
        await say(link, forge(link, await heard_challenge(link)))
        answer = await hear(link)
        assert isinstance(answer, m.Error)
        assert answer.text.startswith("UnprovedPeerError")
        assert isinstance(await bob.result(), UnprovedPeerError)
        with pytest.raises(LinkClosedError):
            await link.receive()


async def test_the_same_hello_unforged_is_taken() -> None:
    """What the forgeries are changed from is right: else they would prove nothing."""
    async with bob_listening(ServerTls()) as bob, connect(bob.address, wrap=dial_tls) as link:
        await say(
            link, hello_with(proof_of(link, await heard_challenge(link), ALICE.address), ALICE)
        )
        assert (await heard_hello(link)).signer == BOB.address
        assert await bob.result() == ALICE.address


async def test_a_hello_replayed_to_the_same_server() -> None:
    async with bob_listening(ServerTls()) as bob:
        async with connect(bob.address, wrap=dial_tls) as link:
            proof = proof_of(link, await heard_challenge(link), ALICE.address)
            overheard = hello_with(proof, ALICE)
            await say(link, overheard)
            assert await bob.result() == ALICE.address
        async with connect(bob.address, wrap=dial_tls) as link:
            await heard_challenge(link)
            await say(link, overheard)
            assert isinstance(await bob.result(), UnprovedPeerError)


@pytest.mark.parametrize("domain", [OTHER_CHAIN, OTHER_CONTRACT], ids=["chain", "contract"])
async def test_a_peer_of_another_world(domain: Domain) -> None:
    async with bob_listening(ServerTls()) as bob:
        for_alice = await dial(bob.address, ALICE, domain)
        assert isinstance(await bob.result(), UnexpectedMessageError)
        assert isinstance(for_alice, PeerError)
        assert f"chain {domain.chain_id}" in for_alice.args[0]


@pytest.mark.parametrize(
    "message",
    [m.Ping(token=1), m.Opened(channel_id=bytes(32)), m.Challenge(challenge=bytes(32))],
    ids=lambda message: type(message).__name__,
)
async def test_anything_before_hello(message: m.Message) -> None:
    async with bob_listening(ServerTls()) as bob, connect(bob.address, wrap=dial_tls) as link:
        await heard_challenge(link)
        await say(link, message)
        answer = await hear(link)
        assert isinstance(answer, m.Error)
        assert "before Hello" in answer.text
        assert isinstance(await bob.result(), UnexpectedMessageError)


# -- to the client


async def test_bobs_hello_replayed_with_bobs_own_certificate() -> None:
    """Even with Bob's TLS key, what he once said is of no use: Alice's challenge is new."""
    overheard: list[m.Hello] = []
    tls = ServerTls()
    async with bob_listening(tls) as bob, connect(bob.address, wrap=dial_tls) as link:
        await say(
            link, hello_with(proof_of(link, await heard_challenge(link), ALICE.address), ALICE)
        )
        overheard.append(await heard_hello(link))

    async def replay(alice: Link) -> None:
        await say(alice, m.Challenge(challenge=overheard[0].challenge))
        await heard_hello(alice)
        await say(alice, overheard[0])

    async with mallory_listening(replay, tls) as where:
        assert isinstance(await dial(where, ALICE), UnprovedPeerError)


@pytest.mark.parametrize("repaired", [False, True])
async def test_alices_own_hello_sent_back(repaired: bool) -> None:
    """As it is, and with the challenge that a server's Hello has to carry."""

    async def reflect(alice: Link) -> None:
        await say(alice, m.Challenge(challenge=bytes(32)))
        hello = await heard_hello(alice)
        await say(alice, attrs.evolve(hello, challenge=bytes(32)) if repaired else hello)

    async with mallory_listening(reflect, ServerTls()) as where:
        assert isinstance(await dial(where, ALICE), UnprovedPeerError)


@pytest.mark.parametrize(
    ("key", "domain"),
    [(MALLORY, DOMAIN), (BOB, OTHER_CHAIN), (BOB, OTHER_CONTRACT)],
    ids=["another key", "another chain", "another contract"],
)
async def test_a_server_that_names_bob(key: LocalSigner, domain: Domain) -> None:
    async def pose(alice: Link) -> None:
        await say(alice, m.Challenge(challenge=bytes(32)))
        hello = await heard_hello(alice)
        proof = proof_of(
            alice, bytes(32), hello.signer, client_challenge=hello.challenge, role=Role.SERVER
        )
        forged = hello_with(proof, key, domain=domain, name=BOB.address)
        await say(alice, attrs.evolve(forged, challenge=bytes(32)))

    async with mallory_listening(pose, ServerTls()) as where:
        assert isinstance(await dial(where, ALICE), UnprovedPeerError)


async def test_one_side_without_tls_is_no_connection() -> None:
    """Neither side ever falls back to a connection that anybody can read."""
    async with bob_listening(ServerTls(), LinkLimits(handshake=0.1)) as bob:
        assert isinstance(await dial(bob.address, ALICE, wrap=None), PeerError)
    async with bob_listening(None) as bob:
        with pytest.raises(LinkClosedError):
            await dial(bob.address, ALICE)
