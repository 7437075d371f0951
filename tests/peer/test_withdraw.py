"""Paying out of an open channel, and leave for a delegate to dispute."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.errors import InvalidValueError, MarginError, RejectedError
from channels.protocol.calls import DisputeFor
from channels.protocol.channel import Phase
from channels.protocol.effects import ChangeRejected, DisputeSeen, WithdrawalPaid
from channels.protocol.eip712 import keccak
from channels.protocol.events import RequestWithdrawal
from channels.protocol.facts import OnChainPhase
from channels.protocol.signing import check_signature
from channels.protocol.types import Party
from tests.chain.world import FUNDS, World
from tests.peer.world import DAY, DEPOSIT, PATIENCE, UNIT, WAD, put, trade, trading


async def test_both_are_paid_and_trade_on(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        done = await trade(pair.alice, 2)
        positions = pair.channel.portfolio.positions
        await pair.channel.withdraw(10_000 * UNIT, 3_000 * UNIT, timeout=PATIENCE)
        paid = await pair.bob.told(WithdrawalPaid)
        assert (paid.withdrawal.amount_a, paid.withdrawal.amount_b) == (
            10_000 * UNIT,
            3_000 * UNIT,
        )
        assert await world.token.balance(world.a.address) == FUNDS - DEPOSIT + 10_000 * UNIT
        assert await world.token.balance(world.b.address) == FUNDS - DEPOSIT + 3_000 * UNIT
        ours, _ = await pair.settled()
        assert [each.quantity for each in ours.portfolio.positions] == [
            each.quantity for each in positions
        ]
        assert ours.portfolio.net_to_b == done.premium
        assert ours.state.contribution(Party.A) == DEPOSIT - 10_000 * UNIT
        await trade(pair.alice)
        await pair.settled()
        view = await pair.alice.chain.view(ours.channel_id)
        assert (view.phase, view.pot) == (OnChainPhase.OPEN, 2 * DEPOSIT - 13_000 * UNIT)


async def test_all_of_an_empty_channel(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await pair.channel.withdraw(DEPOSIT, timeout=PATIENCE)
        ours, _ = await pair.settled()
        assert (ours.equity, ours.phase) == (0, Phase.IDLE)
        with pytest.raises(RejectedError):
            await pair.channel.request_quote([put(pair.alice)])


async def test_margin_and_cash_are_not_withdrawn(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice, -10)
        spare = pair.channel.equity - pair.channel.margin
        with pytest.raises(MarginError, match="party A would have equity"):
            await pair.channel.withdraw(spare + 1)
        for wrong in ((DEPOSIT * 3, 0), (0, 0), (-1, 0)):
            with pytest.raises(InvalidValueError):
                await pair.channel.withdraw(*wrong)
        await pair.channel.withdraw(spare, timeout=PATIENCE)
        assert pair.channel.equity == pair.channel.margin


async def test_stale_marks_are_refreshed_first_or_refused(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        await pair.travel(by=600)
        pair.b.market.spot = 3_300 * WAD
        with pytest.raises(RejectedError, match="MARKS"):
            await pair.channel.withdraw(UNIT)
        pair.a.market.spot = 3_300 * WAD
        await pair.channel.withdraw(UNIT, timeout=PATIENCE)
        assert pair.channel.portfolio.spots[0].price == 3_300 * WAD


async def test_attack_withdrawal_before_what_has_expired_is_settled(
    world: World, tmp_path: Path
) -> None:
    """Alice has sold puts, and the spot fell before they expired: no mark says so yet."""
    async with trading(world, tmp_path) as pair:
        expiry = (await trade(pair.alice, -10)).legs[0].expiry
        await pair.travel(to=expiry + 12)
        pair.b.market.spot = 1_000 * WAD
        spare = pair.channel.equity - pair.channel.margin
        with pytest.raises(InvalidValueError, match="settle"):
            await pair.channel.withdraw(spare)
        await pair.channel._runner.feed(RequestWithdrawal(ours=spare, theirs=0))
        rejected = await pair.alice.told(ChangeRejected)
        assert rejected.text == "settle what has expired first"
        assert await world.token.balance(world.deployment.adjudicator) == 2 * DEPOSIT


async def test_a_delegate_disputes_in_our_name(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        ours, _ = await pair.settled()
        given = await ours.authorise(world.b.address, valid_for=DAY)
        assert given.value.min_nonce == ours.state.ledger.nonce
        check_signature(given.signature, ours.state.signable(given.value), world.signer_a.address)
        with pytest.raises(InvalidValueError):
            await ours.authorise(world.b.address, valid_for=0)
        call = DisputeFor(
            terms=ours.terms,
            newest=ours.state.newest_evidence(),
            authorisation=given.value,
            signature=given.signature,
        )
        await pair.bob.chain.submit(call, key=keccak(b"for Alice"))
        await pair.travel(by=12)
        seen = await pair.alice.told(DisputeSeen)
        assert seen.recorded == ours.state.ledger.nonce
        view = await pair.alice.chain.view(ours.channel_id)
        assert (view.phase, view.filer) == (OnChainPhase.DISPUTED, Party.A)
