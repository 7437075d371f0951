"""A tower files a dispute for a customer: at its word, and after a silence it has named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from channels.chain import LocalAccount
from channels.errors import AppointmentRefusedError
from channels.protocol.facts import OnChainPhase
from channels.protocol.terms import DisputeAuthorisation
from channels.protocol.types import Party
from channels.protocol.watching import Duties
from channels.tower.content import Authorised, pack_portfolio
from channels.tower.intake import Refusal
from channels.tower.kept import Holding, watch_key
from tests.chain.world import HOUR, World
from tests.tower.test_http import client_of, http_to
from tests.tower.world import (
    PATIENCE,
    Channel,
    Stand,
    fresh_signer,
    open_channel,
    tower_of,
    world_account,
)


def authorised(stand: Stand, channel: Channel, nonce: int, *, silence: int = 0) -> Authorised:
    value = DisputeAuthorisation(
        channel_id=channel.id,
        delegate=stand.chain.account,
        min_nonce=nonce,
        valid_until=channel.now + 12 * HOUR,
    )
    digest = stand.world.domain.digest(value)
    signature = stand.world.signer_a.sign_digest(digest)
    return Authorised(value=value, signature=signature, silence=silence)


async def hand_over(stand: Stand, offer: Holding) -> None:
    await stand.tower.accept(offer.appointment, offer.signature, offer.content)


async def until_disputed(stand: Stand, channel: Channel) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            view = await stand.chain.view(channel.id)
            if view.phase is OnChainPhase.DISPUTED:
                return
            await stand.head()


@pytest.mark.parametrize("clear", [True, False], ids=["portfolio in clear", "hash alone"])
async def test_a_dispute_is_filed_at_the_customers_word(
    world: World, tmp_path: Path, clear: bool
) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
    ):
        channel = await open_channel(world, bob)
        await stand.caught_up()
        state = channel.state(40)
        shown: dict[str, Any] = {"portfolio": pack_portfolio(state.state.portfolio), "clear": True}
        offer = channel.offer(
            state,
            duties=Duties.DISPUTE,
            authorisation=authorised(stand, channel, 30),
            **(shown if clear else {}),
        )
        await hand_over(stand, offer)
        for _ in range(3):
            await stand.head()
        assert (await stand.chain.view(channel.id)).phase is OnChainPhase.OPEN
        await stand.tower.file_dispute(watch_key(channel.id, Party.A))
        await until_disputed(stand, channel)
        view = await stand.chain.view(channel.id)
        # On the newest state held: A owes no penalty for it.
        assert (view.filer, view.nonce, view.filed_nonce) == (Party.A, 40, 40)
        assert stand.tower.tally.duties["dispute"] >= 1


async def test_a_word_survives_a_restart(world: World, tmp_path: Path) -> None:
    account, signer = LocalAccount(world_account(world)), fresh_signer()
    async with world.open(world.b) as bob:
        async with tower_of(world, tmp_path, signer=signer, account=account) as stand:
            channel = await open_channel(world, bob)
            await stand.caught_up()
            state = channel.state(40)
            authorisation = authorised(stand, channel, 40)
            await hand_over(
                stand,
                channel.offer(state, duties=Duties.DISPUTE, authorisation=authorisation),
            )
            kept = stand.book.kept(watch_key(channel.id, Party.A))
            assert kept is not None
            # It is stopped as soon as the word is durable, and has sent nothing.
            stand.tower._clerk._file = _do_nothing
            await stand.tower.file_dispute(kept.key)
        async with tower_of(world, tmp_path, signer=signer, account=account) as stand:
            await until_disputed(stand, channel)


async def _do_nothing(_: object) -> None:
    await trio.lowlevel.checkpoint()


async def test_a_silence_is_heard_and_an_appointment_ends_it(world: World, tmp_path: Path) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
    ):
        channel = await open_channel(world, bob)
        await stand.caught_up()
        authorisation = authorised(stand, channel, 40, silence=HOUR)
        offer = channel.offer(channel.state(40), duties=Duties.DISPUTE, authorisation=authorisation)
        await hand_over(stand, offer)
        await world.control.advance_time(by=HOUR - 60)
        await stand.caught_up()
        # The same state again: nothing has changed but that the customer is there.
        again = channel.offer(
            channel.state(40), sequence=2, duties=Duties.DISPUTE, authorisation=authorisation
        )
        await hand_over(stand, again)
        heard = (await stand.chain.view(channel.id), stand.chain.head.timestamp)
        await world.control.advance_time(by=HOUR - 60)
        await stand.head()
        assert heard[0].phase is OnChainPhase.OPEN
        assert (await stand.chain.view(channel.id)).phase is OnChainPhase.OPEN
        await world.control.advance_time(to=heard[1] + HOUR)
        await stand.caught_up()
        await until_disputed(stand, channel)
        view = await stand.chain.view(channel.id)
        assert (view.filer, view.filed_nonce) == (Party.A, 40)


async def test_nobody_is_disputed_who_has_authorised_nothing(world: World, tmp_path: Path) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
    ):
        channel = await open_channel(world, bob)
        await stand.caught_up()
        await hand_over(stand, channel.offer(channel.state(40)))
        key = watch_key(channel.id, Party.A)
        with pytest.raises(AppointmentRefusedError) as caught:
            await stand.tower.file_dispute(key)
        assert caught.value.refusal == Refusal.AUTHORISATION
        # Nor whose newest appointment no longer does.
        first = channel.offer(
            channel.state(41),
            sequence=2,
            duties=Duties.DISPUTE,
            authorisation=authorised(stand, channel, 40),
        )
        await hand_over(stand, first)
        await hand_over(stand, channel.offer(channel.state(42), sequence=3))
        with pytest.raises(AppointmentRefusedError):
            await stand.tower.file_dispute(key)


async def test_the_word_is_signed_and_is_about_the_newest_appointment(
    world: World, tmp_path: Path
) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
        http_to(stand) as http,
    ):
        channel = await open_channel(world, bob)
        await stand.caught_up()
        client = client_of(stand, http)
        old = channel.offer(channel.state(40))
        new = channel.offer(
            channel.state(41),
            sequence=2,
            duties=Duties.DISPUTE,
            authorisation=authorised(stand, channel, 40),
        )
        await client.register(old)
        with pytest.raises(AppointmentRefusedError, match="authorises no dispute"):
            await client.file_dispute(world.signer_a, old)
        await client.register(new)
        with pytest.raises(AppointmentRefusedError, match="since"):
            await client.file_dispute(world.signer_a, old)
        with pytest.raises(AppointmentRefusedError, match="no such channel"):
            await client.file_dispute(world.signer_b, new)
        assert (await stand.chain.view(channel.id)).phase is OnChainPhase.OPEN
        await client.file_dispute(world.signer_a, new)
        await until_disputed(stand, channel)
