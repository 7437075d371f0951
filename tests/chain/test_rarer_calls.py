"""Calls that few channels ever make, through the bindings: what they do and what is told of it."""

from __future__ import annotations

import attrs
import pytest
import trio

from channels.chain import EthereumChain
from channels.chain.artifacts import load_artifact
from channels.chain.deploy import send_now
from channels.chain.permits import sign_permit
from channels.errors import ContractRevertedError, InvalidValueError, OurError
from channels.protocol.calls import (
    Abandon,
    Call,
    Checkpoint,
    CheckpointMany,
    Close,
    Dispute,
    DisputeFor,
    OpenWithPermit,
    Permit,
    Withdraw,
)
from channels.protocol.facts import (
    ChannelClosed,
    Checkpointed,
    DisputeStarted,
    OnChainPhase,
    Withdrawn,
)
from channels.protocol.terms import DisputeAuthorisation, Terms, channel_id
from channels.protocol.types import EMPTY_PORTFOLIO, Closing, Party, Portfolio, State, Withdrawal
from tests.chain.test_round_trip import DEPOSIT, done, events_since
from tests.chain.world import DAY, FUNDS, HOUR, PATIENCE, World, create, new_key, option_portfolio


async def refusal(chain: EthereumChain, call: Call) -> ContractRevertedError:
    key = new_key()
    with pytest.raises(ContractRevertedError) as caught:
        await done(chain, call, key)
    return caught.value


async def opened(world: World, chain: EthereumChain, **changes: int) -> tuple[Terms, bytes]:
    terms = world.terms(**changes)
    await done(chain, await world.opening(terms), b"open" + terms.salt)
    return terms, channel_id(world.domain, terms)


# ---- withdraw


def withdrawal(world: World, terms: Terms, state: State, amounts: tuple[int, int]) -> Withdraw:
    value = Withdrawal(state=state, amount_a=amounts[0], amount_b=amounts[1])
    a, b = world.signatures(value)
    return Withdraw(terms=terms, withdrawal=value, signature_a=a, signature_b=b)


async def test_withdraw(world: World) -> None:
    async with world.open(world.a) as chain:
        first = chain.head.number
        terms, identity = await opened(world, chain)
        now = await world.control.time()
        portfolio = option_portfolio(now, expiry=now + DAY, net_to_b=30 * 10**6)
        state = State(
            channel_id=identity, nonce=5, valid_until=now + HOUR // 2, portfolio=portfolio
        )
        assert await chain.reader.cash(identity, 30 * 10**6) == (70 * 10**6, 130 * 10**6)
        assert await chain.reader.cash(identity, -(10**9)) == (200 * 10**6, 0)
        greedy = await refusal(chain, withdrawal(world, terms, state, (70 * 10**6 + 1, 0)))
        assert greedy.reason == "AmountAboveCash"
        assert greedy.arguments == {
            "party": Party.A,
            "amount": 70 * 10**6 + 1,
            "cash": 70 * 10**6,
        }
        assert greedy.fault == OurError.fault
        await done(chain, withdrawal(world, terms, state, (20 * 10**6, 110 * 10**6)), b"withdraw")
        view = await chain.view(identity)
        assert (view.nonce, view.portfolio_hash) == (5, portfolio.struct_hash)
        assert (view.contribution_a, view.contribution_b) == (80 * 10**6, -10 * 10**6)
        assert await chain.reader.phase_now(identity) is OnChainPhase.OPEN
        assert await world.token.balance(world.a.address) == FUNDS - DEPOSIT + 20 * 10**6
        assert await world.token.balance(world.b.address) == FUNDS - DEPOSIT + 110 * 10**6
        _, checkpointed, withdrawn = await events_since(chain, first)
    assert isinstance(checkpointed, Checkpointed)
    assert (checkpointed.nonce, checkpointed.portfolio) == (5, portfolio)
    assert isinstance(withdrawn, Withdrawn)
    assert (withdrawn.paid_a, withdrawn.paid_b) == (20 * 10**6, 110 * 10**6)


# ---- disputes


def granted(world: World, terms: Terms, **changes: int | bytes) -> DisputeFor:
    """Leave by B's signer for an account, by default B's."""
    fields: dict[str, int | bytes] = {
        "channel_id": channel_id(world.domain, terms),
        "delegate": world.b.address,
        "min_nonce": 0,
        "valid_until": 2**64 - 1,
        **changes,
    }
    authorisation = DisputeAuthorisation(**fields)  # type: ignore[arg-type]
    signature = world.signer_b.sign_digest(world.domain.digest(authorisation))
    return DisputeFor(terms=terms, newest=None, authorisation=authorisation, signature=signature)


async def test_a_delegate_disputes_in_its_signers_name(world: World) -> None:
    async with world.open(world.a) as chain:
        first = chain.head.number
        terms, identity = await opened(world, chain)
        now = await world.control.time()
        portfolio = option_portfolio(now, expiry=now + DAY)
        newest = world.cosigned(terms, 4, portfolio)
        leave = attrs.evolve(
            granted(world, terms, delegate=world.a.address, min_nonce=4), newest=newest
        )
        old = attrs.evolve(leave, newest=world.cosigned(terms, 2, portfolio))
        error = await refusal(chain, old)
        assert (error.reason, error.arguments) == (
            "NonceBelowMinimum",
            {"minNonce": 4, "nonce": 2},
        )
        error = await refusal(chain, granted(world, terms))
        assert (error.reason, error.arguments) == (
            "NotTheDelegate",
            {"delegate": world.b.address, "caller": world.a.address},
        )
        await done(chain, leave, b"dispute for")
        view = await chain.view(identity)
        assert (view.phase, view.nonce, view.filer) == (OnChainPhase.DISPUTED, 4, Party.B)
        _, disputed = await events_since(chain, first)
    assert isinstance(disputed, DisputeStarted)
    assert (disputed.filer, disputed.nonce) == (Party.B, 4)
    assert disputed.portfolio == portfolio


async def test_a_delegate_disputes_on_what_is_recorded(embedded: World) -> None:
    async with embedded.open(embedded.a) as chain:
        first = chain.head.number
        terms, identity = await opened(embedded, chain)
        newest = embedded.cosigned(terms, 7, EMPTY_PORTFOLIO)
        await done(chain, Checkpoint(terms=terms, newest=newest), b"checkpoint")
        leave = granted(embedded, terms, delegate=embedded.a.address, min_nonce=7)
        await done(chain, leave, b"dispute for")
        view = await chain.view(identity)
        assert (view.phase, view.nonce, view.filed_nonce) == (OnChainPhase.DISPUTED, 7, 7)
        *_, disputed = await events_since(chain, first)
    assert isinstance(disputed, DisputeStarted)
    assert (disputed.filer, disputed.portfolio) == (Party.B, EMPTY_PORTFOLIO)


async def test_a_state_filed_in_the_window_brings_its_portfolio(world: World) -> None:
    """Whoever lost that state can settle all the same: the event's transaction has it."""
    async with world.open(world.a) as chain:
        first = chain.head.number
        terms, _ = await opened(world, chain)
        now = await world.control.time()
        newer = option_portfolio(now, expiry=now + DAY, net_to_b=3)
        newest = option_portfolio(now, expiry=now + DAY, net_to_b=4)
        await done(chain, Dispute(terms=terms, newest=None), b"dispute")
        filed = Dispute(terms=terms, newest=world.cosigned(terms, 3, newer))
        await done(chain, filed, b"newer")
        leave = granted(world, terms, delegate=world.a.address)
        delegated = attrs.evolve(leave, newest=world.cosigned(terms, 5, newest))
        await done(chain, delegated, b"newest")
        checkpoint = Checkpoint(terms=terms, newest=world.cosigned(terms, 7, newer))
        await done(chain, checkpoint, b"bare")
        *_, by_party, by_delegate, bare = await events_since(chain, first)
    assert isinstance(by_party, Checkpointed)
    assert (by_party.nonce, by_party.portfolio) == (3, newer)
    assert isinstance(by_delegate, Checkpointed)
    assert (by_delegate.nonce, by_delegate.portfolio) == (5, newest)
    assert isinstance(bare, Checkpointed)
    assert (bare.portfolio_hash, bare.portfolio) == (newer.struct_hash, None)


# ---- many checkpoints


async def test_many_checkpoints_skip_the_bad_ones(world: World) -> None:
    async with world.open(world.a) as chain:
        one, one_id = await opened(world, chain)
        two, two_id = await opened(world, chain)
        first = chain.head.number
        portfolio = Portfolio(net_to_b=11)

        def each(terms: Terms, nonce: int) -> Checkpoint:
            return Checkpoint(terms=terms, newest=world.cosigned(terms, nonce, portfolio))

        forged = each(two, 9)
        stolen = attrs.evolve(
            forged.newest,
            signature_a=forged.newest.signature_b,
            signature_b=forged.newest.signature_a,
        )
        bad = attrs.evolve(forged, newest=stolen)
        many = CheckpointMany(
            checkpoints=(each(one, 2), each(one, 3), each(one, 1), bad, each(two, 4))
        )
        await done(chain, many, b"many")
        assert (await chain.view(one_id)).nonce == 3
        assert (await chain.view(two_id)).nonce == 4
        events = [e for e in await events_since(chain, first) if isinstance(e, Checkpointed)]
        await done(chain, many, b"again")  # records nothing, and is no failure
        assert len(await events_since(chain, first)) == len(events) + 1  # and the opening of two
    told = [(event.channel_id, event.nonce) for event in events]
    assert told == [(one_id, 2), (one_id, 3), (two_id, 4)]
    assert len({event.transaction_hash for event in events}) == 1


# ---- permits


async def test_open_with_permits_needs_no_approval(world: World) -> None:
    adjudicator, token = world.deployment.adjudicator, world.token
    for party in (world.a, world.b):
        await send_now(world.rpc, party, token.approve(adjudicator, 0))
    terms = world.terms()
    plain = await world.opening(terms)
    deadline = await world.control.time() + HOUR
    permits: list[Permit] = [
        await sign_permit(
            world.rpc, token.address, party, adjudicator, value=DEPOSIT + extra, deadline=deadline
        )
        for party, extra in ((world.a, 0), (world.b, 5))
    ]
    opening = OpenWithPermit(
        opening=plain.opening,
        signature_a=plain.signature_a,
        signature_b=plain.signature_b,
        permit_a=permits[0],
        permit_b=permits[1],
    )
    async with world.open(world.a) as chain:
        half = await refusal(chain, attrs.evolve(opening, permit_b=None))
        assert (half.reason, half.arguments) == ("TransferFailed", {"token": token.address})
        forged = attrs.evolve(permits[1], value=DEPOSIT + 6)
        assert (await refusal(chain, attrs.evolve(opening, permit_b=forged))).reason == half.reason
        await done(chain, opening, b"open")
        view = await chain.view(channel_id(world.domain, terms))
        assert (view.phase, view.pot) == (OnChainPhase.OPEN, 2 * DEPOSIT)
    assert await token.allowance(world.a.address, adjudicator) == 0
    assert await token.allowance(world.b.address, adjudicator) == 5


async def test_what_knows_no_permit_is_refused_before_a_signature(embedded: World) -> None:
    with pytest.raises(ContractRevertedError):
        await sign_permit(
            embedded.rpc,
            embedded.deployment.risk_engine,
            embedded.a,
            embedded.deployment.adjudicator,
            value=1,
            deadline=1,
        )


# ---- abandon


async def test_a_portfolio_that_nobody_shows_is_abandoned(embedded: World) -> None:
    world = embedded
    async with world.open(world.a) as chain:
        first = chain.head.number
        terms, identity = await opened(world, chain, max_tenor=DAY)
        now = await world.control.time()
        lost = option_portfolio(now, expiry=now + HOUR, net_to_b=10**6)
        await done(chain, Checkpoint(terms=terms, newest=world.cosigned(terms, 2, lost)), b"lost")
        await done(chain, Dispute(terms=terms, newest=None), b"dispute")
        view = await chain.view(identity)
        allowed = view.deadline + DAY + terms.settlement_grace + 180 * DAY
        await world.control.advance_time(to=allowed - DAY)
        early = await refusal(chain, Abandon(terms=terms))
        assert (early.reason, early.arguments) == ("TooEarlyToAbandon", {"from": allowed})
        await world.control.advance_time(to=allowed)
        with trio.fail_after(PATIENCE):
            await chain.wait_until(allowed)
        assert await chain.reader.phase_now(identity) is OnChainPhase.RUN_OFF
        await done(chain, Abandon(terms=terms), b"abandon")
        assert (await chain.view(identity)).phase is OnChainPhase.CLOSED
        *_, disputed, closed = await events_since(chain, first)
    assert isinstance(disputed, DisputeStarted)
    assert (disputed.nonce, disputed.portfolio) == (2, None)
    assert isinstance(closed, ChannelClosed)
    assert (closed.paid_a, closed.paid_b) == (DEPOSIT, DEPOSIT)


# ---- which contracts are trusted


async def test_attack_adjudicator_with_another_risk_engine(embedded: World) -> None:
    """Margins decide who is closed out: with an engine of its own a stranger takes it all."""
    creation = load_artifact("Adjudicator").creation
    adjudicator = await create(embedded, creation, bytes(12) + embedded.deployment.token)
    known = embedded.deployment.find("Adjudicator")
    assert known is not None
    hostile = embedded.deployment.including(attrs.evolve(known, address=adjudicator))
    with pytest.raises(InvalidValueError, match="not this package's RiskEngine"):
        async with attrs.evolve(embedded, deployment=hostile).open(embedded.a):
            pass


async def test_a_closing_that_needs_the_clamp_names_the_figures(embedded: World) -> None:
    async with embedded.open(embedded.a) as chain:
        terms, identity = await opened(embedded, chain)
        now = await embedded.control.time()
        closing = Closing(
            channel_id=identity, nonce=2, valid_until=now + HOUR, net_to_b=DEPOSIT + 3
        )
        a, b = embedded.signatures(closing)
        call = Close(terms=terms, closing=closing, signature_a=a, signature_b=b)
        error = await refusal(chain, call)
    assert (error.reason, error.arguments) == (
        "ClosingNeedsClamp",
        {"cashA": -3, "pot": 2 * DEPOSIT},
    )
    assert error.fault == OurError.fault
