"""Signatures carried elsewhere: another chain, contract or channel, and other misuse of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from channels.chain import EthereumChain
from channels.chain.attestations import Attester, SettlementPrice, SpotPrice, submission
from channels.chain.deploy import deploy, send_now
from channels.chain.jobs import Intent
from channels.errors import ContractRevertedError, InvalidValueError
from channels.protocol.calls import Call, Checkpoint, Close, Dispute, Open
from channels.protocol.eip712 import checksum
from channels.protocol.signing import Signature
from channels.protocol.terms import Domain, Terms, channel_id
from channels.protocol.types import Closing, Portfolio
from tests.chain.world import FEED, PATIENCE, WAD, World, embedded_world, new_key, up_to_date

PORTFOLIO = Portfolio(net_to_b=10**6)


@asynccontextmanager
async def opened(world: World, terms: Terms) -> AsyncIterator[EthereumChain]:
    with trio.fail_after(PATIENCE):
        async with world.open(world.a) as chain:
            await chain.submit(await world.opening(terms), key=b"open")
            await chain.wait(b"open")
            yield chain


async def refusal(chain: EthereumChain, call: Call) -> ContractRevertedError:
    key = new_key()
    await up_to_date(chain)
    await chain.submit(call, key=key)
    with pytest.raises(ContractRevertedError) as caught:
        await chain.wait(key)
    return caught.value


def in_domain(world: World, terms: Terms, domain: Domain) -> Checkpoint:
    """A checkpoint of this channel whose signatures were made in another domain."""
    genuine = world.cosigned(terms, 3, PORTFOLIO)
    a, b = world.signatures(genuine.state, domain)
    stolen = attrs.evolve(genuine, signature_a=a, signature_b=b)
    return Checkpoint(terms=terms, newest=stolen)


async def test_attack_replay_other_chain(world: World) -> None:
    terms = world.terms()
    elsewhere = Domain(chain_id=world.domain.chain_id + 1, adjudicator=world.deployment.adjudicator)
    async with opened(world, terms) as chain:
        error = await refusal(chain, in_domain(world, terms, elsewhere))
        assert error.reason == "InvalidSignature"
        assert error.arguments == {"expected": terms.signer_a}
        assert checksum(terms.signer_a) in str(error)
        await chain.submit(in_domain(world, terms, world.domain), key=b"genuine")
        await chain.wait(b"genuine")


async def test_attack_replay_of_a_whole_channel_on_a_fork_with_another_id() -> None:
    """Same keys, same addresses, same terms on two chains: only the chain id tells them apart."""
    one, two = await embedded_world(1), await embedded_world(2)
    assert one.deployment.adjudicator == two.deployment.adjudicator
    terms = attrs.evolve(
        one.terms(), party_a=two.a.address, party_b=two.b.address, oracle=two.deployment.oracle
    )
    assert channel_id(one.domain, terms) != channel_id(two.domain, terms)
    async with two.open(two.a) as chain:
        error = await refusal(chain, await one.opening(terms))
    assert error.reason == "InvalidSignature"


async def test_attack_replay_other_contract(world: World) -> None:
    second = await deploy(world.provider, world.b, attesters=[world.attesters[0].address])
    terms = world.terms()
    async with opened(world, terms) as chain:
        error = await refusal(chain, in_domain(world, terms, second.domain))
        assert error.reason == "InvalidSignature"


async def test_attack_replay_other_channel(world: World) -> None:
    terms, other = world.terms(), world.terms()
    stolen = world.cosigned(other, 3, PORTFOLIO)
    async with opened(world, terms) as chain:
        error = await refusal(chain, Checkpoint(terms=terms, newest=stolen))
        assert error.reason == "InvalidSignature"
        error = await refusal(chain, Dispute(terms=terms, newest=stolen))
        assert error.reason == "WrongChannel"


async def test_attack_open_again_after_closing(embedded: World) -> None:
    terms = embedded.terms()
    async with opened(embedded, terms) as chain:
        now = chain.head.timestamp
        closing = Closing(
            channel_id=channel_id(embedded.domain, terms),
            nonce=1,
            valid_until=now + 600,
            net_to_b=0,
        )
        a, b = embedded.signatures(closing)
        close = Close(terms=terms, closing=closing, signature_a=a, signature_b=b)
        await chain.submit(close, key=b"close")
        await chain.wait(b"close")
        error = await refusal(chain, await embedded.opening(terms))
        assert error.reason == "ChannelExists"
        error = await refusal(chain, close)
        assert error.reason == "WrongPhase"
        assert "CLOSED" in str(error)


async def test_attack_flipped_and_swapped_signatures(embedded: World) -> None:
    terms = embedded.terms()
    genuine = embedded.cosigned(terms, 3, PORTFOLIO)
    flipped = bytearray(genuine.signature_a.compact)
    flipped[32] ^= 0x80
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    vs = int.from_bytes(genuine.signature_a.vs, "big")
    high = order - vs % (1 << 255)
    mirrored = (high | (1 - (vs >> 255)) << 255).to_bytes(32, "big")
    async with opened(embedded, terms) as chain:
        for bad in (
            attrs.evolve(genuine, signature_a=Signature(bytes(flipped))),
            attrs.evolve(genuine, signature_a=Signature(genuine.signature_a.r + mirrored)),
            attrs.evolve(genuine, signature_a=Signature(bytes(64))),
            attrs.evolve(genuine, signature_a=genuine.signature_b, signature_b=genuine.signature_a),
        ):
            error = await refusal(chain, Checkpoint(terms=terms, newest=bad))
            assert error.reason == "InvalidSignature"


async def test_attack_boxed_state_a_second_late(embedded: World) -> None:
    terms = embedded.terms()
    async with opened(embedded, terms) as chain:
        until = chain.head.timestamp + 100
        boxed = embedded.cosigned(terms, 3, PORTFOLIO, valid_until=until)
        await embedded.control.advance_time(to=until + 1)
        await chain.wait_until(until + 1)
        error = await refusal(chain, Dispute(terms=terms, newest=boxed))
        assert error.reason == "Expired"
        error = await refusal(chain, Checkpoint(terms=terms, newest=boxed))
        assert error.reason == "NoEffect"


async def test_attack_stranger_disputes(embedded: World) -> None:
    terms = embedded.terms()
    assert hasattr(embedded.provider, "accounts")
    stranger = embedded.provider.accounts[3]
    async with opened(embedded, terms), embedded.open(stranger) as chain:
        error = await refusal(chain, Dispute(terms=terms, newest=None))
        assert error.reason == "NotAMember"


async def test_attack_spot_attestation_as_settlement_price(embedded: World) -> None:
    """The same feed, time and price under the other type's hash recovers a stranger."""
    now = await embedded.control.time()
    hour = now // 3_600 * 3_600
    oracle = embedded.deployment.oracle
    spots = [
        each.attest(SpotPrice(feed=FEED, time=hour, price=3_000 * WAD))
        for each in embedded.attesters
    ]
    settlement = SettlementPrice(feed=FEED, time=hour, price=3_000 * WAD)
    forged = [attrs.evolve(each, price=settlement) for each in spots]
    with pytest.raises(ContractRevertedError) as caught:
        await send_now(embedded.rpc, embedded.a, submission(oracle, forged))
    assert caught.value.reason == "UnknownAttester"
    stranger = Attester(new_key(), embedded.attesters[0].domain)
    with pytest.raises(ContractRevertedError) as caught:
        await send_now(embedded.rpc, embedded.a, submission(oracle, [stranger.attest(settlement)]))
    assert caught.value.reason == "UnknownAttester"
    with pytest.raises(InvalidValueError, match="one kind"):
        submission(oracle, [spots[0], forged[1]])


async def test_wrong_terms_are_refused_by_name(embedded: World) -> None:
    async with embedded.open(embedded.a) as chain:
        for changes, reason in (
            ({"dispute_window": 3_599}, "DisputeWindowOutOfBounds"),
            ({"max_in_flight": 65}, "MaxInFlightOutOfBounds"),
            ({"unit": 0}, "ZeroUnit"),
            ({"signer_b": embedded.signer_a.address}, "SidesNotDistinct"),
            ({"risk_hash": bytes(32)}, "ZeroRiskHash"),
        ):
            error = await refusal(chain, await embedded.opening(embedded.terms(**changes)))
            assert error.reason == reason
        late = await embedded.opening(embedded.terms())
        await embedded.control.advance_time(by=4_000)
        await chain.wait_until(late.opening.valid_until + 1)
        error = await refusal(chain, late)
        assert error.reason == "Expired"
        assert "sign again" in str(error)


async def test_chain_refuses_another_contract(embedded: World) -> None:
    token = embedded.deployment.find("TestToken")
    assert token is not None
    swapped = embedded.deployment.including(attrs.evolve(token, name="Adjudicator"))
    wrong = attrs.evolve(embedded, deployment=swapped)
    with pytest.raises(InvalidValueError, match="not this package's Adjudicator"):
        async with wrong.open(embedded.a):
            pass


async def test_errors_of_the_block_are_the_callers_own(embedded: World) -> None:
    with pytest.raises(KeyError):
        async with embedded.open(embedded.a):
            raise KeyError("mine")
    opening = await embedded.opening(embedded.terms())
    assert isinstance(opening, Open)
    with pytest.raises(ContractRevertedError) as caught:
        await send_now(
            embedded.rpc,
            embedded.a,
            Intent(name="x", to=embedded.deployment.adjudicator, data=b"\x01\x02\x03\x04"),
        )
    assert caught.value.reason == "Reverted"
