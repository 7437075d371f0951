"""How other towers have failed, each as a test that this one does not; and death at every point.

Source: design, watchtower.md "Known ways others fail".
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
import trio

from channels.chain import Finality, LocalAccount
from channels.chain.accounts import UnsignedTransaction
from channels.chain.fees import Urgency
from channels.chain.heads import ChainUpdate
from channels.dispute import AlertCode
from channels.dispute.ports import UpdateLike
from channels.errors import EndpointError, SignerError, StorageError
from channels.protocol.calls import Call, Close
from channels.protocol.facts import DisputeStarted
from channels.protocol.signing import LocalSigner, Signable, Signature
from channels.protocol.types import Closing
from channels.protocol.watching import Duties, Heartbeat
from channels.tower.book import open_book
from channels.tower.chain import BudgetedChain
from channels.tower.signed import SignedReceipt
from channels.tower.writes import Keep
from tests.chain.world import HOUR, World
from tests.tower.world import (
    PATIENCE,
    POLICY,
    Channel,
    Stand,
    file_stale,
    fresh_signer,
    open_channel,
    tower_of,
    until_recorded,
    world_account,
)


async def hand_over(stand: Stand, channel: Channel, nonce: int, **more: Any) -> SignedReceipt:
    """Register a state of this nonce."""
    await stand.caught_up()
    state = channel.state(nonce, valid_until=more.pop("valid_until", 0))
    offer = channel.offer(state, **more)
    return await stand.tower.accept(offer.appointment, offer.signature, offer.content)


class Stubborn(BudgetedChain):
    """Refuses the first few submissions, as an endpoint that is overloaded does."""

    refused: ClassVar[list[bytes]] = []

    async def submit(self, call: Call, *, key: bytes, urgency: Urgency | None = None) -> None:
        if len(self.refused) < 3:
            self.refused.append(key)
            raise EndpointError("429 too many requests")
        await super().submit(call, key=key, urgency=urgency)


async def test_a_refused_transaction_deletes_no_appointment(world: World, tmp_path: Path) -> None:
    """TEOS deleted the appointment, Raiden the scheduled response."""
    refused = Stubborn.refused
    refused.clear()
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer(), chain_class=Stubborn) as stand,
    ):
        channel = await open_channel(world, bob)
        await hand_over(stand, channel, 40)
        await file_stale(bob, channel, 3)
        await until_recorded(bob, channel, 40)
        assert len(refused) == 3
        assert stand.book.keys(channel.id)


async def test_the_permanent_state_below_a_box_that_passed_defends(
    world: World, tmp_path: Path
) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
    ):
        channel = await open_channel(world, bob, dispute_window=3 * HOUR)
        await hand_over(stand, channel, 40)
        await hand_over(stand, channel, 42, valid_until=channel.now + 600, sequence=2)
        await world.control.advance_time(by=700)
        await file_stale(bob, channel, 3)
        await until_recorded(bob, channel, 40)


async def test_a_boxed_state_whose_affirmation_is_overdue_is_recorded(
    world: World, tmp_path: Path
) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
    ):
        channel = await open_channel(world, bob)
        await hand_over(
            stand,
            channel,
            40,
            valid_until=channel.now + 3_000,
            affirm_by=channel.now + 900,
            duties=Duties.CHECKPOINT_BOXED,
        )
        assert not list(stand.tower.monitor.channels)
        await world.control.advance_time(by=901)
        await until_recorded(bob, channel, 40)
        # Recorded and final, it is let go in memory, and kept in the book.
        with trio.fail_after(PATIENCE):
            while stand.tower.monitor.channels:
                await stand.head()
        assert stand.book.keys(channel.id)


async def test_no_dispute_of_many_at_once_is_dropped(world: World, tmp_path: Path) -> None:
    """PISA dropped the fourteenth."""
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
    ):
        every = [await open_channel(world, bob) for _ in range(16)]
        for number, channel in enumerate(every):
            await hand_over(stand, channel, 40, sequence=number + 1)
        async with trio.open_nursery() as nursery:
            for channel in every:
                nursery.start_soon(file_stale, bob, channel, 3)
        for channel in every:
            await until_recorded(bob, channel, 40)


async def test_what_could_not_be_handed_on_is_handed_on_later(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Perun logged the error and never tried again."""
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
    ):
        channel = await open_channel(world, bob)
        await hand_over(stand, channel, 40)
        kept, failures = stand.book.kept, [StorageError("a passing fault")] * 2

        def failing(key: bytes) -> Any:
            if failures:
                raise failures.pop()
            return kept(key)

        monkeypatch.setattr(stand.book, "kept", failing)
        await file_stale(bob, channel, 3)
        await stand.caught_up()
        assert stand.tower.undefended == 1
        await stand.head()
        await stand.head()
        await until_recorded(bob, channel, 40)
        assert stand.tower.undefended == 0


async def test_an_answer_is_not_done_because_it_was_sent(world: World, tmp_path: Path) -> None:
    """Nitrolite recorded the hash as done before it was included."""
    async with (
        world.open(world.b, finality=Finality.depth(6)) as bob,
        tower_of(world, tmp_path, signer=fresh_signer(), finality=6) as stand,
    ):
        channel = await open_channel(world, bob)
        await hand_over(stand, channel, 40)
        await file_stale(bob, channel, 3)
        await until_recorded(bob, channel, 40)
        await world.control.reorg(1, keep=False)
        with trio.fail_after(PATIENCE):
            while (await bob.reader.view(channel.id)).nonce != 40:
                await stand.head()


class WithoutDisputes:
    """Every block, and nothing of the disputes in it."""

    def __init__(self, updates: AsyncIterator[UpdateLike]) -> None:
        self._updates = updates

    def __aiter__(self) -> WithoutDisputes:
        return self

    async def __anext__(self) -> UpdateLike:
        update: Any = await anext(self._updates)
        kept = tuple(each for each in update.events if not isinstance(each, DisputeStarted))
        return ChainUpdate(head=update.head, events=kept, rewound_to=update.rewound_to)


class Withholding(BudgetedChain):
    """An endpoint that hides disputes."""

    def updates(self, since: int | None = None) -> AsyncIterator[UpdateLike]:
        return WithoutDisputes(super().updates(since))


async def test_a_withheld_event_is_found_by_the_dispute_counter(
    world: World, tmp_path: Path
) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer(), chain_class=Withholding) as stand,
    ):
        channel = await open_channel(world, bob)
        await hand_over(stand, channel, 40)
        await file_stale(bob, channel, 3)
        await until_recorded(bob, channel, 40)
        assert AlertCode.DISPUTES_MISSED in {each.code for each in stand.alerts}


async def test_a_book_restored_without_its_cursor_is_read_whole(
    world: World, tmp_path: Path
) -> None:
    signer = fresh_signer()
    async with world.open(world.b) as bob:
        (tmp_path / "old").mkdir()
        (tmp_path / "new").mkdir()
        async with tower_of(world, tmp_path / "old", signer=signer) as stand:
            channel = await open_channel(world, bob)
            await hand_over(stand, channel, 40)
            kept = stand.book.kept(channel.id + b"\x00")
            assert kept is not None
        await file_stale(bob, channel, 3)
        await world.control.mine(5)
        async with open_book(tmp_path / "new" / "book.db") as book:
            await book.write(Keep(kept))
        async with tower_of(world, tmp_path / "new", signer=signer) as stand:
            await until_recorded(bob, channel, 40)


async def test_two_co_signed_states_at_one_nonce_raise_an_alarm(
    world: World, tmp_path: Path
) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
    ):
        channel = await open_channel(world, bob)
        await hand_over(stand, channel, 40)
        rival = channel.offer(channel.state(40, net=7), sequence=2)
        await stand.tower.accept(rival.appointment, rival.signature, rival.content)
        await stand.head()
        assert AlertCode.RIVAL_STATES in {each.code for each in stand.alerts}


async def test_of_two_towers_the_second_waits_for_its_turn(world: World, tmp_path: Path) -> None:
    later = attrs.evolve(POLICY, rank=1, stagger=600)
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer(), policy=later) as stand,
    ):
        channel = await open_channel(world, bob, dispute_window=3 * HOUR)
        await hand_over(stand, channel, 40)
        await file_stale(bob, channel, 3)
        await stand.caught_up()
        await stand.head()
        assert not list(stand.tower.monitor.channels)
        assert stand.tower.undefended == 1
        await world.control.advance_time(by=600)
        await until_recorded(bob, channel, 40)


async def test_a_paid_out_channel_leaves_the_book(world: World, tmp_path: Path) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=fresh_signer()) as stand,
    ):
        channel = await open_channel(world, bob)
        await hand_over(stand, channel, 40)
        closing = Closing(
            channel_id=channel.id,
            nonce=41,
            valid_until=await world.control.time() + 600,
            net_to_b=0,
        )
        a, b = world.signatures(closing)
        await bob.submit(
            Close(terms=channel.terms, closing=closing, signature_a=a, signature_b=b), key=b"close"
        )
        await bob.wait_mined(b"close")
        with trio.fail_after(PATIENCE):
            while stand.book.entries or stand.book.disputes():
                await stand.head()


class NoHeartbeats:
    """A key that is asked in vain, but for receipts: a remote signer that went away."""

    def __init__(self) -> None:
        self._key = fresh_signer()
        self.address = self._key.address

    async def sign(self, signable: Signable) -> Signature:
        if isinstance(signable.value, Heartbeat):
            raise SignerError("the remote signer does not answer")
        return await self._key.sign(signable)


async def test_a_key_that_is_gone_stops_heartbeats_and_not_the_defence(
    world: World, tmp_path: Path
) -> None:
    async with (
        world.open(world.b) as bob,
        tower_of(world, tmp_path, signer=NoHeartbeats()) as stand,
    ):
        channel = await open_channel(world, bob)
        await hand_over(stand, channel, 40)
        await stand.head()
        await stand.head()
        assert stand.tower.beat is None
        await file_stale(bob, channel, 3)
        await until_recorded(bob, channel, 40)


# ---- death at every point


class Death:
    """Ends the tower when it reaches a point for the first time, once armed."""

    def __init__(self, point: str) -> None:
        self.point = point
        self.armed = False
        self.scope = trio.CancelScope()

    async def at(self, point: str) -> None:
        if self.armed and point == self.point:
            self.armed = False
            self.scope.cancel()
            await trio.sleep_forever()


class MortalSigner:
    def __init__(self, key: LocalSigner, death: Death) -> None:
        self._key, self._death = key, death
        self.address = key.address

    async def sign(self, signable: Signable) -> Signature:
        await self._death.at("before the receipt is signed")
        signature = await self._key.sign(signable)
        await self._death.at("after the receipt is signed")
        return signature


class MortalAccount(LocalAccount):
    death: Death

    async def sign_transaction(self, transaction: UnsignedTransaction) -> bytes:
        await self.death.at("before the transaction is signed")
        raw = await super().sign_transaction(transaction)
        await self.death.at("after the transaction is signed")
        return raw


class MortalChain(BudgetedChain):
    death: Death

    async def submit(self, call: Call, *, key: bytes, urgency: Urgency | None = None) -> None:
        await self.death.at("before the job is stored")
        await super().submit(call, key=key, urgency=urgency)
        await self.death.at("after the job is stored")


class MortalProvider:
    """The embedded chain, whose caller may die on either side of a broadcast."""

    def __init__(self, inner: Any, death: Death) -> None:
        self._inner, self._death = inner, death

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def make_request(self, method: Any, params: Any) -> Any:
        broadcast = method == "eth_sendRawTransaction"
        if broadcast:
            await self._death.at("before the broadcast")
        answer = await self._inner.make_request(method, params)
        if broadcast:
            await self._death.at("after the broadcast")
        return answer


INTAKE = [
    "before the appointment is stored",
    "after the appointment is stored",
    "before the receipt is signed",
    "after the receipt is signed",
]
DEFENCE = [
    "before the dispute is stored",
    "after the dispute is stored",
    "before the job is stored",
    "after the job is stored",
    "before the transaction is signed",
    "after the transaction is signed",
    "before the broadcast",
    "after the broadcast",
]


@pytest.mark.parametrize("point", [*INTAKE, *DEFENCE])
async def test_a_receipt_is_honoured_whenever_the_tower_dies(
    world: World, tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    death, signer = Death(point), fresh_signer()
    MortalAccount.death = MortalChain.death = death
    account = MortalAccount(world_account(world))
    receipts: list[SignedReceipt] = []
    async with world.open(world.b) as bob:
        channel = await open_channel(world, bob)
        mortal: Any = attrs.evolve(world, provider=MortalProvider(world.provider, death))
        with death.scope:
            async with tower_of(
                mortal,
                tmp_path,
                signer=MortalSigner(signer, death),
                account=account,
                chain_class=MortalChain,
            ) as stand:
                write = stand.book.write

                async def mortal_write(what: Any) -> int:
                    name = "appointment" if isinstance(what, Keep) else "dispute"
                    concerned = isinstance(what, Keep) or bool(getattr(what, "concerned", False))
                    if concerned:
                        await death.at(f"before the {name} is stored")
                    answer = await write(what)
                    if concerned:
                        await death.at(f"after the {name} is stored")
                    return answer

                monkeypatch.setattr(stand.book, "write", mortal_write)
                death.armed = point in INTAKE
                receipts.append(await hand_over(stand, channel, 40))
                death.armed = True
                await file_stale(bob, channel, 3)
                with trio.fail_after(PATIENCE):
                    await trio.sleep_forever()
        assert death.scope.cancelled_caught
        if point in INTAKE:
            assert not receipts
            await file_stale(bob, channel, 3)
        await world.control.mine(3)
        async with tower_of(world, tmp_path, signer=signer) as stand:
            if not receipts:  # without a receipt the customer hands it over again
                receipts.append(await hand_over(stand, channel, 40))
            assert receipts[0].receipt.nonce == 40
            await until_recorded(bob, channel, 40)
