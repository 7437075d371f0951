"""The fake chain as a chain: linked blocks, finality, reorganisations; jobs seen through them."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio
from trio.testing import MockClock

import channels.testing
from channels import LocalSigner, RiskParams, default_terms
from channels.chain.jobs import Intent, JobFailed, JobFinal, JobMined, JobRearmed
from channels.chain.records import Stage
from channels.errors import EndpointError, InvalidValueError
from channels.protocol.calls import Claim, Deposit, Dispute, Open, Settle
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelOpened, DisputeStarted, Head, OnChainPhase
from channels.protocol.terms import Opening, Terms, channel_id
from channels.protocol.types import Party, feed_id
from channels.testing import UNIT, FakeChain, FakeEndpoint
from channels.testing.fake_endpoint import FakeUpdate
from channels.units import HOUR, WAD
from tests.conftest import ROOT

ALICE, BOB = LocalSigner(b"\x01" * 32), LocalSigner(b"\x02" * 32)
FEED: Final = "ETH-USD"
FUNDS: Final = 1_000 * UNIT
DEPOSIT: Final = 100 * UNIT


def funded(**settings: Any) -> tuple[FakeChain, FakeEndpoint, FakeEndpoint]:
    """A chain, and the endpoints of alice and of bob, with money."""
    chain = FakeChain(**settings)
    for party in (ALICE, BOB):
        chain.fund(party.address, FUNDS)
    return chain, FakeEndpoint(chain, ALICE.address), FakeEndpoint(chain, BOB.address)


def opening(chain: FakeChain) -> Open:
    terms = default_terms(
        party_a=ALICE.address,
        party_b=BOB.address,
        signer_a=ALICE.address,
        signer_b=BOB.address,
        collateral=chain.token,
        unit=UNIT,
        oracle=chain.oracle,
        risk=(RiskParams(feed=feed_id(FEED)),),
        stale_penalty=5 * UNIT,
        salt=bytes(32),
    )
    until = int(chain.clock()) + HOUR
    value = Opening(terms=terms, deposit_a=DEPOSIT, deposit_b=DEPOSIT, valid_until=until)
    digest = chain.domain.digest(value)
    signed = [each.sign_digest(digest).compact for each in (ALICE, BOB)]
    return Open(opening=value, signature_a=signed[0], signature_b=signed[1])


async def opened(chain: FakeChain, endpoint: FakeEndpoint) -> Terms:
    call = opening(chain)
    await endpoint.submit(call, key=b"open")
    return call.opening.terms


# ---- blocks


def test_blocks_follow_each_other_a_slot_apart() -> None:
    chain = FakeChain(slot=2, finality_depth=3)
    began = int(chain.clock())
    chain.mine(5)
    chain.advance_time(by=HOUR)
    chain.advance_time(to=began + 2 * HOUR)
    blocks = [chain.block(number) for number in range(chain.height + 1)]
    for before, after in pairwise(blocks):
        assert after.parent_hash == before.hash
    times = [each.timestamp - began for each in blocks]
    assert times == [0, 2, 4, 6, 8, 10, 10 + HOUR, 2 * HOUR]
    assert chain.head == Head(
        number=7,
        hash=blocks[7].hash,
        parent_hash=blocks[6].hash,
        timestamp=began + 2 * HOUR,
        final_number=4,
        final_timestamp=began + 8,
    )
    with pytest.raises(InvalidValueError, match="forward"):
        chain.advance_time(to=began)


async def test_a_call_waits_for_its_block_where_none_is_mined_for_it() -> None:
    chain, alice, _ = funded(auto_mine=False)
    chain.mine()
    terms = await opened(chain, alice)
    assert (await alice.view(channel_id(chain.domain, terms))).phase is OnChainPhase.NONE
    chain.mine()
    view = await alice.view(channel_id(chain.domain, terms))
    assert (view.phase, view.contribution_a, view.pot) == (OnChainPhase.OPEN, DEPOSIT, 2 * DEPOSIT)
    (event,) = chain.tip.events
    assert isinstance(event, ChannelOpened)
    assert (event.block_number, event.block_hash) == (chain.height, chain.tip.hash)


async def test_what_a_block_showed_is_still_to_be_read() -> None:
    chain, alice, _ = funded(finality_depth=2)
    before = chain.head
    terms = await opened(chain, alice)
    identity = channel_id(chain.domain, terms)
    await alice.submit(Dispute(terms=terms, newest=None), key=b"dispute")
    phases = [(await alice.view(identity, each)).phase for each in (before.number, before.hash)]
    assert phases == [OnChainPhase.NONE] * 2
    assert (await alice.view(identity)).phase is OnChainPhase.DISPUTED
    assert [await alice.dispute_count(each) for each in (before.hash, None)] == [0, 1]
    chain.advance_time(by=terms.dispute_window)
    assert (await alice.view(identity)).phase is OnChainPhase.RUN_OFF
    (event,) = chain.block(chain.height - 1).events
    assert isinstance(event, DisputeStarted)
    assert (event.filer, event.count, event.deadline) == (
        Party.A,
        1,
        chain.block(chain.height - 1).timestamp + terms.dispute_window,
    )
    for missing in (b"\x00" * 32, chain.height + 1):
        with pytest.raises(EndpointError, match="no block"):
            await alice.view(identity, missing)


async def test_prices_are_read_at_their_block() -> None:
    chain, alice, _ = funded(finality_depth=9)
    oracle, feed = alice.oracle(chain.oracle), feed_id(FEED)
    before = chain.head.hash
    chain.publish_spot(FEED, "3000.5")
    chain.publish_settlement(FEED, 1_767_254_400, 2_900)
    assert await oracle.spot(feed, before) is None
    found = await oracle.spot(feed, chain.head.hash)
    assert found is not None
    assert (found.price, found.observed_at) == (30_005 * WAD // 10, int(chain.clock()) - chain.slot)
    told = await oracle.settlement_price(feed, 1_767_254_400, chain.head.hash)
    assert (told.status, told.price) == (1, 2_900 * WAD)


# ---- reorganisations


async def test_final_blocks_stand() -> None:
    chain = FakeChain(finality_depth=2)
    chain.mine(5)
    with pytest.raises(InvalidValueError, match="not final"):
        chain.reorg(3)
    chain.reorg(2)
    assert (chain.height, chain.head.final_number) == (6, 4)
    with pytest.raises(InvalidValueError):
        FakeChain().reorg(1)


@pytest.mark.parametrize("keep", [True, False])
async def test_a_job_is_seen_through_a_reorganisation(keep: bool) -> None:
    chain, alice, _ = funded(finality_depth=2)
    terms = await opened(chain, alice)
    identity = channel_id(chain.domain, terms)
    with alice.job_updates() as updates:
        await alice.submit(Deposit(terms=terms, party=Party.A, amount=7), key=b"deposit")
        chain.reorg(1, keep=keep)
        pot = (await alice.view(identity)).pot
        assert pot == 2 * DEPOSIT + (7 if keep else 0)
        chain.mine(4)
        told = [await anext(updates) for _ in range(2)]
    assert (await alice.view(identity)).pot == 2 * DEPOSIT + 7
    assert [type(each) for each in told] == [JobFinal] * 2, "to a slow reader, the newest of each"
    assert {each.key for each in told} == {b"open", b"deposit"}
    job = alice.job(b"deposit")
    assert job is not None
    assert job.stage is Stage.FINAL


async def test_each_step_of_a_job_is_told() -> None:
    chain, alice, _ = funded(finality_depth=2)
    terms = await opened(chain, alice)
    chain.mine(2)
    with alice.job_updates() as updates:
        await alice.submit(Deposit(terms=terms, party=Party.A, amount=7), key=b"deposit")
        assert isinstance(await anext(updates), JobMined)
        chain.reorg(1, keep=False)
        assert isinstance(await anext(updates), JobRearmed)
        chain.mine()
        assert isinstance(await anext(updates), JobMined)
        chain.mine(2)
        assert isinstance(await anext(updates), JobFinal)


@attrs.define
class Follower:
    """What a reader makes of the updates: the blocks from where it began."""

    heads: list[Head]

    def take(self, update: FakeUpdate) -> None:
        if update.rewound_to is not None:
            self.heads = [each for each in self.heads if each.number <= update.rewound_to]
        if not self.heads or update.head.number > self.heads[-1].number:
            assert not self.heads or update.head.parent_hash == self.heads[-1].hash
            self.heads.append(update.head)


@pytest.mark.parametrize("seed", range(20))
async def test_every_reader_sees_the_chain_that_counts(
    seed: int, autojump_clock: MockClock
) -> None:
    rng = random.Random(seed)
    chain, alice, bob = funded(finality_depth=4)
    readers = {endpoint: endpoint.updates() for endpoint in (alice, bob)}
    seen = {endpoint: Follower([]) for endpoint in readers}

    async def read(endpoint: FakeEndpoint, most: int) -> None:
        with trio.move_on_after(1):
            for _ in range(most):
                seen[endpoint].take(await anext(readers[endpoint]))

    first = chain.height
    for _ in range(30):
        match rng.randrange(5):
            case 0 | 1:
                chain.mine(rng.randrange(1, 4))
            case 2:
                unfinished = chain.height - chain.head.final_number
                if unfinished:
                    chain.reorg(rng.randrange(1, unfinished + 1), keep=rng.random() < 0.5)
            case 3:
                endpoint = rng.choice((alice, bob))
                endpoint.mend() if endpoint.trouble else endpoint.fail()
            case _:
                await read(rng.choice((alice, bob)), rng.randrange(1, 6))
    for endpoint, follower in seen.items():
        endpoint.mend()
        await read(endpoint, 1_000)
        numbers = [each.number for each in follower.heads]
        assert numbers == list(range(numbers[0], chain.height + 1))
        assert numbers[0] <= first, "lower where the block it began with was replaced"
        for each in follower.heads:
            assert each.hash == chain.block(each.number).hash
        assert endpoint.head == chain.head


# ---- endpoints


async def test_an_endpoint_that_is_down_answers_nothing_and_loses_nothing() -> None:
    chain, alice, bob = funded()
    alice.fail("no route")
    terms = await opened(chain, alice)
    identity = channel_id(chain.domain, terms)
    seen = alice.head
    chain.mine(2)
    assert alice.head == seen
    for ask in (alice.view(identity), alice.dispute_count(), alice.view(identity, 0)):
        with pytest.raises(EndpointError, match="no route"):
            await ask
    assert (await bob.view(identity)).phase is OnChainPhase.NONE
    alice.mend()
    assert (await alice.view(identity)).phase is OnChainPhase.OPEN
    assert alice.head == chain.head


async def test_a_key_names_one_call_for_ever() -> None:
    chain, alice, _ = funded()
    terms = await opened(chain, alice)
    call = Deposit(terms=terms, party=Party.A, amount=7)
    await alice.submit(call, key=b"deposit")
    await alice.submit(call, key=b"deposit")
    assert chain.balance(ALICE.address) == FUNDS - DEPOSIT - 7
    with pytest.raises(InvalidValueError, match="other contents"):
        await alice.submit(attrs.evolve(call, amount=8), key=b"deposit")
    await alice.forget(b"deposit")
    await alice.submit(attrs.evolve(call, amount=8), key=b"deposit")
    assert chain.balance(ALICE.address) == FUNDS - DEPOSIT - 15


async def test_a_call_that_is_refused_fails_and_may_be_tried_again() -> None:
    chain, alice, bob = funded()
    terms = await opened(chain, alice)
    claim = Claim(token=chain.token, recipient=BOB.address)
    with bob.job_updates() as updates:
        await bob.submit(claim, key=b"claim")
        update = await anext(updates)
    assert isinstance(update, JobFailed)
    assert getattr(update.error, "reason", "") == "NothingToClaim"
    chain.refuse_payments(BOB.address)
    await alice.submit(Dispute(terms=terms, newest=None), key=b"dispute")
    chain.advance_time(by=terms.dispute_window)
    await settle(chain, alice, terms)
    assert chain.locked == DEPOSIT, "bob's half, which the token does not let go"
    assert chain.state.claimable(chain.token, BOB.address) == DEPOSIT
    elsewhere = Address(b"\x0e" * 20)
    await bob.forget(b"claim")
    await bob.submit(attrs.evolve(claim, recipient=elsewhere), key=b"claim")
    assert (chain.locked, chain.balance(elsewhere)) == (0, DEPOSIT)


async def test_a_transaction_of_another_contract_is_refused() -> None:
    chain, alice, _ = funded()
    intent = Intent(name="submitSpot", to=chain.oracle, data=b"")
    with pytest.raises(InvalidValueError, match="submitSpot"):
        await alice.transact(intent, key=b"spot")
    assert alice.job(b"spot") is None


async def settle(chain: FakeChain, endpoint: FakeEndpoint, terms: Terms) -> None:
    portfolio = chain.state.recorded_portfolio(terms)
    assert portfolio is not None
    await endpoint.submit(Settle(terms=terms, portfolio=portfolio), key=b"settle")


# ---- what stays pure


def test_every_module_is_either_pure_or_one_of_those_that_run_peers() -> None:
    contract = (ROOT / ".importlinter").read_text().split("[importlinter:contract:fakes]")[1]
    pure = set(re.findall(r"^    channels\.testing\.(\w+)$", contract, re.M))
    folder = Path(channels.testing.__file__).parent
    there = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    running = {"clocks", "fake_chain", "fake_endpoint", "linked", "linked_peer"}
    assert pure == there - running
