"""A counterparty that files one old state after the other, and customers that mean harm."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest

from channels.errors import AppointmentRefusedError
from channels.protocol.calls import Checkpoint
from channels.protocol.signing import Signature
from channels.tower.intake import Refusal
from tests.faults.lies import crowded_out
from tests.faults.world import WINDOW, Ground, Post
from tests.soak.proxy import Fault
from tests.tower.world import fresh_signer

pytestmark = pytest.mark.anvil


async def test_stale_filings_in_sequence(ground: Ground, tmp_path: Path) -> None:
    """v1 is filed, then v2 and v3 recorded over it while the response waits to be mined."""
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        for proxy in post.proxies:
            await proxy.begin(Fault.LIE, lie=crowded_out)
        await ground.file(channel, 1)
        for nonce in (2, 3):
            await post.stand.caught_up()
            await ground.push(channel, nonce)
        await post.stand.caught_up()
        assert (await ground.view(channel)).nonce == 3
        for proxy in post.proxies:
            proxy.end()
        await ground.until_recorded(channel, mining=True)
        await ground.judge()


async def test_stale_filings_one_after_another_answer(ground: Ground, tmp_path: Path) -> None:
    """Three versions handed over, and each response is followed by an attempt to go back."""
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel, 10)
        await ground.file(channel, 1)
        await ground.until_recorded(channel, 10)
        for nonce in (20, 30):
            await ground.hand_over(post, channel, nonce)
            await ground.push(channel, nonce - 9)
            await ground.until_recorded(channel, nonce, mining=True)
            await ground.push(channel, nonce - 5)
            assert (await ground.view(channel)).nonce == nonce
        await ground.judge()


async def test_a_filing_at_the_end_of_a_box(ground: Ground, tmp_path: Path) -> None:
    """The boxed state lapses while nothing is mined; the permanent one below it must do."""
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel, 40)
        box = await ground.control.time() + 600
        await ground.hand_over(post, channel, 42, valid_until=box)
        for proxy in post.proxies:
            await proxy.begin(Fault.LIE, lie=crowded_out)
        await ground.file(channel)
        await post.stand.caught_up()
        await ground.control.advance_time(to=box + 1)
        await post.stand.caught_up()
        for proxy in post.proxies:
            proxy.end()
        await ground.until_recorded(channel, 40, mining=True)
        await ground.judge()


async def test_a_filing_while_time_runs_out(ground: Ground, tmp_path: Path) -> None:
    """Two slots before the end of the window the endpoints come back."""
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        for proxy in post.proxies:
            await proxy.begin(Fault.DROP)
        await ground.file(channel)
        await ground.control.advance_time(by=WINDOW - 120)
        for proxy in post.proxies:
            proxy.end()
        await ground.until_recorded(channel, mining=True)
        await ground.judge()


async def offered(post: Post, holding: Any, signature: Any = None, content: Any = None) -> str:
    """What the tower makes of an appointment: its refusal, or ``taken``."""
    try:
        await post.stand.tower.accept(
            holding.appointment,
            signature or holding.signature,
            holding.content if content is None else content,
        )
    except AppointmentRefusedError as error:
        return str(error.refusal)
    return "taken"


async def test_hostile_appointments_are_refused_by_name(ground: Ground, tmp_path: Path) -> None:
    async with ground.tower(tmp_path / "a") as post:
        victim, other = await ground.channel(), await ground.channel()
        await ground.hand_over(post, victim)
        state = other.state(41)
        good = other.offer(state)
        swapped = attrs.evolve(state, signature_a=state.signature_b, signature_b=state.signature_a)
        flipped = Signature(
            state.signature_a.compact[:32]
            + bytes([state.signature_a.compact[32] ^ 0x80])
            + state.signature_a.compact[33:]
        )
        now = await ground.control.time()
        refused = {
            Refusal.NOT_A_SIGNER: other.offer(state, signer=fresh_signer()),
            Refusal.STATE_SIGNATURE: other.offer(swapped),
            Refusal.NOT_NEWER: victim.offer(victim.state(39), sequence=99),
            Refusal.BOX_CLOSES: other.offer(other.state(41, valid_until=now + 5)),
            Refusal.PREPAID: other.offer(state, budget=10**24),
            Refusal.DUTIES_UNKNOWN: other.offer(state, duties=0x80),
        }
        for why, each in refused.items():
            assert await offered(post, each) == why
        for wrong in (attrs.evolve(state, signature_a=flipped), victim.state(41)):
            assert await offered(post, other.offer(wrong)) == Refusal.STATE_SIGNATURE
        elsewhere = attrs.evolve(good.appointment, channel_id=victim.id)
        signature = ground.world.signer_a.sign_digest(ground.world.domain.digest(elsewhere))
        moved = attrs.evolve(good, appointment=elsewhere)
        assert await offered(post, moved, signature) == Refusal.WRONG_CHANNEL
        assert (
            await offered(post, good, content=other.offer(other.state(42)).content)
            == Refusal.CONTENT_HASH
        )
        assert await offered(post, good) == "taken"
        await ground.file(victim)
        await ground.until_recorded(victim)
        await ground.judge()


async def test_a_hundred_mutations_of_an_appointment(ground: Ground, tmp_path: Path) -> None:
    """Bits flipped anywhere: refused, never an error, and nobody else comes to harm."""
    rng = Random(7)
    async with ground.tower(tmp_path / "a") as post:
        victim, other = await ground.channel(), await ground.channel()
        await ground.hand_over(post, victim)
        good = other.offer(other.state(41))
        for _ in range(100):
            content, signature = bytearray(good.content), bytearray(good.signature.compact)
            place = rng.choice([content, signature])
            for _ in range(rng.randint(1, 3)):
                place[rng.randrange(len(place))] ^= 1 << rng.randrange(8)
            told = await offered(post, good, Signature(bytes(signature)), bytes(content))
            assert told != "taken"
        assert post.stand.tower.tally.appointments["failed"] == 0
        await ground.file(victim)
        await ground.until_recorded(victim)
        await ground.judge()


@pytest.mark.parametrize("handed", [1, 30])
async def test_an_older_state_handed_over_later_lowers_nothing(
    ground: Ground, tmp_path: Path, handed: int
) -> None:
    """By the customer's own stolen key, which the counterparty bought."""
    async with ground.tower(tmp_path / "a") as post:
        channel = await ground.channel()
        await ground.hand_over(post, channel)
        older = channel.offer(channel.state(handed), sequence=10**9)
        assert await offered(post, older) == Refusal.NOT_NEWER
        await ground.file(channel)
        await ground.until_recorded(channel)
        await ground.judge()


async def test_the_newest_state_recorded_by_the_cheater_itself(
    ground: Ground, tmp_path: Path
) -> None:
    """In the same block as the response: the later of the two has nothing left to do."""
    async with ground.tower(tmp_path / "a") as post:
        channel, later = await ground.channel(), await ground.channel()
        for each in (channel, later):
            await ground.hand_over(post, each)
        async with ground.by_hand():
            await ground.post(ground.stale(channel, 3))
            await ground.mine()

            async def waits() -> bool:
                return await ground.world.rpc.nonce(post.account.address, "pending") > 0

            await ground.until(waits)
            await ground.post(Checkpoint(terms=channel.terms, newest=channel.state(40)))
            await ground.mine()
        await ground.until_recorded(channel)
        await ground.file(later)
        await ground.until_recorded(later, mining=True)
        await ground.judge()
