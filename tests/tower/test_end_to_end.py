"""A tower that sees nothing but hashes defends channels on a real EVM, whatever happens to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from channels.errors import AppointmentRefusedError
from channels.protocol.signing import recover
from channels.protocol.types import EMPTY_PORTFOLIO
from channels.tower.intake import Refusal
from tests.chain.world import World
from tests.tower.world import (
    PATIENCE,
    file_stale,
    fresh_signer,
    open_channel,
    tower_of,
    until_recorded,
)


async def test_a_tower_that_sees_the_hash_alone_refutes(world: World, tmp_path: Path) -> None:
    signer = fresh_signer()
    async with world.open(world.b) as bob, tower_of(world, tmp_path, signer=signer) as stand:
        channel = await open_channel(world, bob)
        await stand.caught_up()
        offer = channel.offer(channel.state(40))
        assert offer.parts.shown_portfolio is None
        signed = await stand.tower.accept(offer.appointment, offer.signature, offer.content)
        assert recover(signed.signature, world.domain.digest(signed.receipt)) == signer.address
        assert signed.receipt.nonce == 40
        assert signed.receipt.appointment_hash == offer.appointment.struct_hash
        # Nothing is in memory of a channel at peace.
        assert stand.tower.monitor.channels == ()
        await file_stale(bob, channel, 3)
        await until_recorded(bob, channel, 40)
        view = await bob.reader.view(channel.id)
        assert (view.nonce, view.filed_nonce) == (40, 3)
        assert view.portfolio_hash == channel.state(40).state.portfolio_hash
        assert view.portfolio_hash != EMPTY_PORTFOLIO.struct_hash


async def test_what_happened_while_it_was_away_is_found(world: World, tmp_path: Path) -> None:
    """lnd's way to fail: to start again at the tip, and skip what came before."""
    signer = fresh_signer()
    async with world.open(world.b) as bob:
        async with tower_of(world, tmp_path, signer=signer) as stand:
            channel = await open_channel(world, bob)
            await stand.caught_up()
            offer = channel.offer(channel.state(40))
            await stand.tower.accept(offer.appointment, offer.signature, offer.content)
        await file_stale(bob, channel, 3)
        await world.control.mine(20)
        async with tower_of(world, tmp_path, signer=signer) as stand:
            with trio.fail_after(PATIENCE):
                # What was read before the first block was taken in is read once more.
                while stand.tower.degraded:
                    await stand.head()
            await until_recorded(bob, channel, 40)


async def test_strangers_are_refused_by_name(world: World, tmp_path: Path) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
    ):
        channel = await open_channel(world, bob)
        await stand.caught_up()
        stranger = channel.offer(channel.state(9), signer=fresh_signer())
        with pytest.raises(AppointmentRefusedError) as caught:
            await stand.tower.accept(stranger.appointment, stranger.signature, stranger.content)
        assert caught.value.refusal == Refusal.NOT_A_SIGNER
        assert stand.book.entries == 0
        assert stand.tower.tally.appointments == {"not_a_signer": 1}
        with trio.fail_after(PATIENCE):
            while stand.tower.beat is None:
                await stand.head()
        assert stand.tower.beat.heartbeat.channels == 0
