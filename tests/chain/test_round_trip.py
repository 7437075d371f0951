"""A channel's life through the bindings, with real signatures, on both chains."""

from __future__ import annotations

import attrs
import pytest
import trio

from channels.chain import EthereumChain, SettlementPrice, SpotPrice
from channels.chain.attestations import submission
from channels.chain.contracts import PriceStatus
from channels.chain.deploy import send_now
from channels.errors import ContractRevertedError
from channels.protocol.calls import Call, Checkpoint, Close, Deposit, Dispute, Settle
from channels.protocol.facts import (
    ChainEvent,
    ChannelClosed,
    ChannelOpened,
    Checkpointed,
    Deposited,
    DisputeStarted,
    OnChainPhase,
    PositionsSettled,
)
from channels.protocol.terms import channel_id
from channels.protocol.types import EMPTY_PORTFOLIO, Closing, Party, Portfolio
from tests.chain.world import (
    FEED,
    FUNDS,
    HOUR,
    PATIENCE,
    WAD,
    World,
    option_portfolio,
    up_to_date,
)

DEPOSIT = 100 * 10**6


async def done(chain: EthereumChain, call: Call, key: bytes) -> None:
    await up_to_date(chain)
    with trio.fail_after(PATIENCE):
        await chain.submit(call, key=key)
        await chain.wait(key)


async def events_since(chain: EthereumChain, first: int) -> list[ChainEvent]:
    events: list[ChainEvent] = []
    await up_to_date(chain)
    with trio.fail_after(PATIENCE):
        async for update in chain.updates(first):
            events.extend(update.events)
            if update.head.number == chain.head.number:
                break
    return events


async def test_open_deposit_checkpoint_and_close(world: World) -> None:
    terms = world.terms()
    identity = channel_id(world.domain, terms)
    async with world.open(world.a) as chain:
        first = chain.head.number
        assert (await chain.view(identity)).phase is OnChainPhase.NONE
        await done(chain, await world.opening(terms), b"open")
        view = await chain.view(identity)
        assert (view.phase, view.nonce, view.pot) == (OnChainPhase.OPEN, 0, 2 * DEPOSIT)
        assert await chain.reader.channel_id(terms) == identity
        assert await chain.reader.domain_separator() == world.domain.separator
        assert await chain.reader.deployment_chain_id() == world.domain.chain_id

        await done(chain, Deposit(terms=terms, party=Party.B, amount=7), b"deposit")
        now = await world.control.time()
        portfolio = option_portfolio(now, expiry=now + HOUR, net_to_b=-1)
        newest = world.cosigned(terms, 5, portfolio)
        await done(chain, Checkpoint(terms=terms, newest=newest), b"checkpoint")
        view = await chain.view(identity)
        assert (view.nonce, view.portfolio_hash) == (5, portfolio.struct_hash)
        assert view.contribution_b == DEPOSIT + 7

        closing = Closing(channel_id=identity, nonce=6, valid_until=now + HOUR, net_to_b=25 * 10**6)
        a, b = world.signatures(closing)
        close = Close(terms=terms, closing=closing, signature_a=a, signature_b=b)
        await done(chain, close, b"close")
        assert (await chain.view(identity)).phase is OnChainPhase.CLOSED
        assert await world.token.balance(world.b.address) == FUNDS + 25 * 10**6 + 7
        assert await world.token.balance(world.a.address) == FUNDS - 25 * 10**6 - 7

        opened, deposited, checkpointed, closed = await events_since(chain, first)
    assert isinstance(opened, ChannelOpened)
    assert (opened.signer_a, opened.signer_b) == (terms.signer_a, terms.signer_b)
    assert (opened.deposit_a, opened.deposit_b) == (DEPOSIT, DEPOSIT)
    assert isinstance(deposited, Deposited)
    assert (deposited.party, deposited.amount) == (Party.B, 7)
    assert isinstance(checkpointed, Checkpointed)
    assert (checkpointed.nonce, checkpointed.portfolio_hash) == (5, portfolio.struct_hash)
    assert isinstance(closed, ChannelClosed)
    assert (closed.paid_a, closed.paid_b) == (75 * 10**6, 125 * 10**6 + 7)
    assert {each.channel_id for each in (opened, deposited, checkpointed, closed)} == {identity}


async def test_dispute_run_off_and_settlement(world: World) -> None:
    terms = world.terms(dispute_window=3 * HOUR)
    identity = channel_id(world.domain, terms)
    oracle = world.deployment.oracle
    async with world.open(world.a) as chain, world.open(world.b) as chain_b:
        first = chain.head.number
        await done(chain, await world.opening(terms), b"open")
        now = await world.control.time()
        expiry = (now // HOUR + 2) * HOUR
        portfolio = option_portfolio(now, expiry=expiry, net_to_b=10**6)
        later = (expiry, expiry + 10 * HOUR)
        two = attrs.evolve(
            portfolio,
            positions=tuple(attrs.evolve(portfolio.positions[0], expiry=each) for each in later),
        )
        await done(
            chain, Dispute(terms=terms, newest=world.cosigned(terms, 3, portfolio)), b"dispute"
        )
        view = await chain.view(identity)
        assert (view.phase, view.filer, view.nonce) == (OnChainPhase.DISPUTED, Party.A, 3)
        assert await chain.dispute_count() == 1
        await done(chain_b, Dispute(terms=terms, newest=world.cosigned(terms, 4, two)), b"newer")
        view = await chain_b.view(identity)
        assert (view.nonce, view.filed_nonce) == (4, 3)

        await world.control.advance_time(to=view.deadline)
        with trio.fail_after(PATIENCE):
            await chain.wait_until(view.deadline)
        assert (await chain.view(identity)).phase is OnChainPhase.RUN_OFF
        assert (await chain.view(identity, chain.head.number - 1)).phase is OnChainPhase.DISPUTED

        price = SettlementPrice(feed=FEED, time=expiry, price=3_020 * WAD)
        signed = [each.attest(price) for each in world.attesters[:2]]
        await send_now(world.rpc, world.b, submission(oracle, signed))
        reader = chain.oracle(oracle)
        assert (await reader.settlement_price(FEED, expiry)).status is PriceStatus.UNSET
        await world.control.advance_time(by=61)
        known = await reader.settlement_price(FEED, expiry)
        assert (known.status, known.price) == (PriceStatus.KNOWN, 3_020 * WAD)

        await done(chain, Settle(terms=terms, portfolio=two), b"settle")
        left = attrs.evolve(two, net_to_b=10**6 - 20 * 10**6, positions=two.positions[1:])
        assert (await chain.view(identity)).portfolio_hash == left.struct_hash

        price = SettlementPrice(feed=FEED, time=later[1], price=2_900 * WAD)
        await world.control.advance_time(to=later[1])
        signed = [each.attest(price) for each in world.attesters]
        await send_now(world.rpc, world.b, submission(oracle, signed))
        await world.control.advance_time(by=61)
        with trio.fail_after(PATIENCE):
            await chain.wait_until(later[1] + 61)
        await done(chain, Settle(terms=terms, portfolio=left), b"settle again")
        assert (await chain.view(identity)).phase is OnChainPhase.CLOSED
        events = await events_since(chain, first)
    _, disputed, checkpointed, settled, closed = events
    assert isinstance(disputed, DisputeStarted)
    assert (disputed.filer, disputed.nonce, disputed.count) == (Party.A, 3, 1)
    assert disputed.portfolio == portfolio
    assert disputed.deadline == view.deadline
    assert isinstance(checkpointed, Checkpointed)
    assert checkpointed.portfolio_hash == two.struct_hash
    assert isinstance(settled, PositionsSettled)
    assert settled.portfolio == left
    assert isinstance(closed, ChannelClosed)
    assert (closed.paid_a, closed.paid_b) == (DEPOSIT + 19 * 10**6, DEPOSIT - 19 * 10**6)


async def test_dispute_on_what_is_recorded(embedded: World) -> None:
    terms = embedded.terms()
    async with embedded.open(embedded.b) as chain:
        first = chain.head.number
        await done(chain, await embedded.opening(terms), b"open")
        await done(chain, Dispute(terms=terms, newest=None), b"dispute")
        _, disputed = await events_since(chain, first)
    assert isinstance(disputed, DisputeStarted)
    assert (disputed.nonce, disputed.filer) == (0, Party.B)
    assert disputed.portfolio == EMPTY_PORTFOLIO


async def test_spot_prices_of_the_oracle(world: World) -> None:
    async with world.open(world.a) as chain:
        reader = chain.oracle(world.deployment.oracle)
        assert await reader.spot(FEED) is None
        now = await world.control.time()
        prices = [
            each.attest(SpotPrice(feed=FEED, time=now, price=price))
            for each, price in zip(world.attesters, (3_000, 3_002, 3_100), strict=True)
        ]
        await send_now(world.rpc, world.a, submission(world.deployment.oracle, prices))
        reading = await reader.spot(FEED)
        assert reading is not None
        assert (reading.price, reading.observed_at) == (3_002, now)
        assert await reader.grace() == 3 * 86_400


@pytest.mark.parametrize(
    ("nonce", "portfolio", "reason"),
    [(3, EMPTY_PORTFOLIO, "NoEffect"), (2, Portfolio(net_to_b=1), "NoEffect")],
)
async def test_checkpoint_of_nothing_newer_is_not_sent(
    embedded: World, nonce: int, portfolio: Portfolio, reason: str
) -> None:
    terms = embedded.terms()
    async with embedded.open(embedded.a) as chain:
        await done(chain, await embedded.opening(terms), b"open")
        newest = embedded.cosigned(terms, 3, EMPTY_PORTFOLIO)
        await done(chain, Checkpoint(terms=terms, newest=newest), b"first")
        before = await embedded.rpc.nonce(embedded.a.address)
        stale = embedded.cosigned(terms, nonce, portfolio)
        with pytest.raises(ContractRevertedError) as caught:
            await done(chain, Checkpoint(terms=terms, newest=stale), b"stale")
        assert caught.value.reason == reason
        assert await embedded.rpc.nonce(embedded.a.address) == before
