"""What fails on our own side: the database, the key, the owner's code. Nothing leaves, all survive.

A trade by quote commits four times: Bob's Quote, Alice's Accept, Bob's Confirm, and that Alice has
it. Each of the four fails once, for want of a disk and for want of a signature.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio

from channels.errors import (
    ChannelsError,
    InvalidValueError,
    OurError,
    RejectedError,
    SignerError,
    StorageError,
)
from channels.peer import MakerQuote, QuoteRequest
from channels.protocol.changes import Marks, Trade
from channels.protocol.channel import Mode, Phase
from channels.protocol.effects import Deed
from channels.protocol.eip712 import Address
from channels.protocol.messages import OpenRequest
from channels.protocol.signing import LocalSigner, Signable, Signature
from channels.protocol.types import Portfolio, Series
from channels.storage import AppendJournal, Store, Write
from tests.chain.world import World
from tests.peer.world import (
    FEED_NAME,
    PATIENCE,
    WAD,
    Desk,
    FairMaker,
    Pair,
    open_channel,
    put,
    trade,
    traders,
    trading,
)
from tests.storage.helpers import inject


class MoodySigner:
    """A key that refuses so many times when it is told to."""

    def __init__(self, key: LocalSigner) -> None:
        self._key = key
        self.refuse = 0

    @property
    def address(self) -> Address:
        return self._key.address

    async def sign(self, signable: Signable) -> Signature:
        await trio.lowlevel.checkpoint()
        if self.refuse:
            self.refuse -= 1
            raise SignerError("the key is in the safe")
        return await self._key.sign(signable)


def fail_commits(store: Store, monkeypatch: pytest.MonkeyPatch, *deeds: Deed) -> None:
    """Have the next commit of each deed fail, once."""
    commit, left = store.commit, list(deeds)

    async def failing(batch: Iterable[Write], *, shield: bool = False) -> None:
        batch = tuple(batch)
        for each in batch:
            if isinstance(each, AppendJournal) and each.kind in left:
                left.remove(Deed(each.kind))
                raise StorageError("no space left on the device")
        await commit(batch, shield=shield)

    monkeypatch.setattr(store, "commit", failing)


def machine_state(desk: Desk) -> Any:
    return attrs.evolve(desk.channel.state, head=None, view=None, final_view=None, now=None)


async def error_told(desk: Desk, kind: type[ChannelsError]) -> ChannelsError:
    return await desk.told(kind)


# -- the database


async def test_quote_that_cannot_be_stored_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(world, tmp_path) as pair:
        before = machine_state(pair.bob)
        fail_commits(pair.bob.store, monkeypatch, Deed.PROPOSED)
        with pytest.raises(RejectedError, match="BUSY"):
            await pair.channel.request_quote([put(pair.alice)], ttl=10)
        assert "no space" in str(await error_told(pair.bob, StorageError))
        assert machine_state(pair.bob) == before
        await trade(pair.alice)


async def test_accept_that_cannot_be_stored_does_not_leave(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(world, tmp_path) as pair:
        quote = (await pair.channel.request_quote([put(pair.alice)], ttl=10)).best()
        before = machine_state(pair.alice), machine_state(pair.bob)
        fail_commits(pair.alice.store, monkeypatch, Deed.ACCEPTED)
        with pytest.raises(StorageError):
            await quote.accept()
        assert (machine_state(pair.alice), machine_state(pair.bob)) == before
        await quote.accept()
        ours, _ = await pair.settled()
        assert ours.portfolio.positions[0].quantity == WAD


@pytest.mark.parametrize("who", ["confirmer", "confirmed"])
async def test_confirm_that_cannot_be_stored_comes_after_a_reconnect(
    who: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(world, tmp_path) as pair:
        desk, deed = (pair.bob, Deed.FULL) if who == "confirmer" else (pair.alice, Deed.CONFIRMED)
        fail_commits(desk.store, monkeypatch, deed)
        await trade(pair.alice)
        assert "no space" in str(await error_told(desk, StorageError))
        ours, _ = await pair.settled()
        assert ours.portfolio.positions[0].quantity == WAD


async def test_proposal_that_cannot_be_stored_does_not_leave(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(world, tmp_path) as pair:
        before = machine_state(pair.alice), machine_state(pair.bob)
        fail_commits(pair.alice.store, monkeypatch, Deed.PROPOSED)
        with pytest.raises(StorageError):
            await pair.channel.propose_trade([put(pair.alice)], [100 * WAD])
        assert (machine_state(pair.alice), machine_state(pair.bob)) == before
        await trade(pair.alice)


async def test_acceptance_of_a_proposal_that_cannot_be_stored_lapses(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the Accept nor the Reject can be stored: the box frees both."""
    async with trading(world, tmp_path) as pair, trio.open_nursery() as nursery:
        fail_commits(pair.bob.store, monkeypatch, Deed.ACCEPTED)

        async def propose() -> None:
            with pytest.raises(ChannelsError):
                await pair.channel.propose_trade([put(pair.alice)], [100 * WAD])

        nursery.start_soon(propose)
        await error_told(pair.bob, StorageError)
        assert pair.channel.phase is Phase.PROPOSED
        await pair.travel(by=121, in_flight=True)
        await pair.settled()
        await trade(pair.alice)


async def test_a_broken_disk_stops_signing_until_it_is_opened_anew(
    world: World, tmp_path: Path
) -> None:
    def broken(statement: str) -> None:
        if statement.startswith("COMMIT"):
            raise sqlite3.OperationalError("disk I/O error")

    a, b = traders(world, tmp_path)
    async with b.running() as bob:
        async with a.running() as alice:
            await open_channel(alice, b)
            await bob.channel.wait_open(PATIENCE)
            before = machine_state(alice), machine_state(bob)
            inject(alice.store, broken)
            for _ in range(2):
                with pytest.raises(StorageError):
                    await alice.channel.propose_trade([put(alice)], [100 * WAD])
            assert (machine_state(alice), machine_state(bob)) == before
        async with a.running() as alice:
            assert machine_state(alice) == before[0]
            await alice.peer.connect(str(b.listen))
            await trade(alice)
            await Pair(world=world, a=a, b=b, alice=alice, bob=bob).settled()


async def test_opening_that_cannot_be_stored_leaves_no_channel(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(world, tmp_path, opened=False) as pair:
        fail_commits(pair.alice.store, monkeypatch, Deed.OPENING)
        with pytest.raises(StorageError):
            await open_channel(pair.alice, pair.b)
        assert pair.alice.peer.channels == ()
        fail_commits(pair.bob.store, monkeypatch, Deed.OPENING)
        with pytest.raises(RejectedError, match="BUSY"):
            await open_channel(pair.alice, pair.b)
        assert pair.bob.peer.channels == ()
        await error_told(pair.bob, StorageError)
        channel = await open_channel(pair.alice, pair.b)
        await channel.propose_trade([put(pair.alice)], [100 * WAD])


# -- the key


async def test_quote_that_cannot_be_signed_is_refused(world: World, tmp_path: Path) -> None:
    key = MoodySigner(world.signer_b)
    async with trading(world, tmp_path, bob={"signer": key}) as pair:
        before, key.refuse = machine_state(pair.bob), 1
        with pytest.raises(RejectedError, match="BUSY"):
            await pair.channel.request_quote([put(pair.alice)], ttl=10)
        assert "in the safe" in str(await error_told(pair.bob, SignerError))
        assert machine_state(pair.bob) == before
        await trade(pair.alice)


async def test_accept_that_cannot_be_signed_declines_if_it_can(
    world: World, tmp_path: Path
) -> None:
    key = MoodySigner(world.signer_a)
    async with trading(world, tmp_path, alice={"signer": key}) as pair:
        quote = (await pair.channel.request_quote([put(pair.alice)], ttl=10)).best()
        key.refuse = 1
        with pytest.raises(SignerError):
            await quote.accept()
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()
        await trade(pair.alice)


async def test_accept_that_cannot_be_signed_at_all(world: World, tmp_path: Path) -> None:
    key = MoodySigner(world.signer_a)
    async with trading(world, tmp_path, alice={"signer": key}) as pair:
        quote = (await pair.channel.request_quote([put(pair.alice)], ttl=10)).best()
        before = machine_state(pair.alice), machine_state(pair.bob)
        key.refuse = 2
        with pytest.raises(SignerError):
            await quote.accept()
        assert (machine_state(pair.alice), machine_state(pair.bob)) == before
        await quote.accept()
        await pair.settled()


async def test_confirm_that_cannot_be_signed_comes_after_a_reconnect(
    world: World, tmp_path: Path
) -> None:
    key = MoodySigner(world.signer_b)
    async with trading(world, tmp_path, bob={"signer": key}) as pair:
        quote = (await pair.channel.request_quote([put(pair.alice)], ttl=10)).best()
        key.refuse = 1
        await quote.accept()
        await error_told(pair.bob, SignerError)
        await pair.settled()


async def test_second_of_two_signatures_refused(world: World, tmp_path: Path) -> None:
    """The state and its affirmation are signed together or not at all."""

    class Second(MoodySigner):
        async def sign(self, signable: Signable) -> Signature:
            signature = await super().sign(signable)
            self.refuse, self.then = self.then, 0
            return signature

        then = 0

    key = Second(world.signer_a)
    async with trading(world, tmp_path, alice={"signer": key}) as pair:
        quote = (await pair.channel.request_quote([put(pair.alice)], ttl=10)).best()
        key.then = 1
        with pytest.raises(SignerError):
            await quote.accept()
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()
        await trade(pair.alice)


async def test_wallet_that_will_not_sign_an_opening(world: World, tmp_path: Path) -> None:
    wallet = MoodySigner(world.b)
    async with trading(world, tmp_path, opened=False, bob={"wallet": wallet}) as pair:
        wallet.refuse = 1
        with pytest.raises(RejectedError, match="BUSY"):
            await open_channel(pair.alice, pair.b)
        await error_told(pair.bob, SignerError)
        await open_channel(pair.alice, pair.b)


async def test_a_closing_that_waited_when_we_stopped_is_decided_on_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Declined, it would keep the other side from everything else for the hour of its box."""

    async def undecided(*_: object) -> None:
        await trio.sleep_forever()

    async with trading(world, tmp_path) as pair:
        a, b, channel = pair.a, pair.b, pair.channel.channel_id
        monkeypatch.setattr(pair.bob.peer._decisions, "_accept_closing", undecided)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.channel.close, PATIENCE)
            await pair.bob.channel._until(
                lambda state: state.phase is Phase.RECEIVED, PATIENCE, "hear of it"
            )
            await pair.bob.channel.set_mode(Mode.REDUCE_ONLY, "so that it is stored")
            nursery.cancel_scope.cancel()
    async with b.running() as bob, a.running() as alice:
        assert bob.peer.channel(channel).phase is Phase.CLOSING
        await alice.peer.connect(str(b.listen))
        await alice.peer.channel(channel).wait_closed(PATIENCE)


# -- the owner's code


async def raising(*_: object) -> Any:
    raise ZeroDivisionError("the owner's own bug")


async def hanging(*_: object) -> Any:
    await trio.sleep_forever()


async def answering_rubbish(*_: object) -> Any:
    return "rubbish"


def spoilt(**changes: Any) -> Callable[[FairMaker, QuoteRequest], Awaitable[Any]]:
    async def make(honest: FairMaker, request: QuoteRequest) -> MakerQuote | None:
        quote = await honest(request)
        return None if quote is None else attrs.evolve(quote, **changes)

    return make


BAD_MAKERS = {
    "raises": lambda *_: raising(),
    "answers rubbish": lambda *_: answering_rubbish(),
    "prices too few legs": spoilt(prices=()),
    "prices too many legs": spoilt(prices=(WAD, WAD)),
    "names a negative price": spoilt(prices=(-WAD,)),
    "names a fraction": spoilt(prices=(1.5,)),
    "names a price beyond all bounds": spoilt(prices=(1 << 300,)),
    "marks nothing": spoilt(marks=Marks(marked_at=0, spots={}, series={})),
    "is good for ever": spoilt(good_for=1 << 80),
    "was good until yesterday": spoilt(good_for=-86_400_000_000),
}


@pytest.mark.parametrize("name", BAD_MAKERS)
async def test_a_bad_maker_refuses_and_the_peer_survives(
    name: str, world: World, tmp_path: Path
) -> None:
    async with trading(world, tmp_path) as pair:
        honest = FairMaker(pair.b.market)
        spoil: Any = BAD_MAKERS[name]

        async def bad(request: QuoteRequest) -> Any:
            return await spoil(honest, request)

        before = machine_state(pair.bob)
        setup = pair.bob.peer._quoting._setup
        pair.bob.peer._quoting._setup = attrs.evolve(setup, maker=bad)
        if name == "is good for ever":
            await pair.channel.request_quote([put(pair.alice)], ttl=10)
            return
        with pytest.raises(RejectedError, match="no quote"):
            await pair.channel.request_quote([put(pair.alice)], ttl=10)
        error = await error_told(pair.bob, OurError)
        assert name != "raises" or isinstance(error.__cause__, ZeroDivisionError)
        assert machine_state(pair.bob) == before
        pair.bob.peer._quoting._setup = setup
        await trade(pair.alice)
        await trade(pair.bob)


async def test_a_hanging_maker_is_given_up(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        setup = pair.bob.peer._quoting._setup
        pair.bob.peer._quoting._setup = attrs.evolve(setup, maker=cast(Any, hanging))
        with pytest.raises(ChannelsError):
            await pair.channel.request_quote([put(pair.alice)], ttl=1)
        assert "did not answer" in str(await error_told(pair.bob, OurError))
        pair.bob.peer._quoting._setup = setup
        await trade(pair.alice)


@pytest.mark.parametrize("callback", [raising, answering_rubbish])
async def test_bad_decision_on_a_trade(callback: Any, world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, bob={"accept_trade": callback}) as pair:
        if callback is answering_rubbish:  # anything true is a yes, as everywhere in Python
            await pair.channel.propose_trade([put(pair.alice)], [100 * WAD])
            return
        with pytest.raises(RejectedError, match="BUSY"):
            await pair.channel.propose_trade([put(pair.alice)], [100 * WAD])
        error = await error_told(pair.bob, OurError)
        assert isinstance(error.__cause__, ZeroDivisionError)
        ours, _ = await pair.settled()
        assert ours.portfolio.positions == ()
        await trade(pair.alice)


async def test_bad_settlement_source(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, bob={"settlement_price": raising}) as pair:
        expiry = (await trade(pair.alice)).legs[0].expiry
        await pair.travel(to=expiry + 60)
        with pytest.raises(RejectedError, match="BUSY"):
            await pair.channel.settle(FEED_NAME, expiry, 3_000 * WAD)
        await error_told(pair.bob, OurError)
        await pair.settled()


async def test_bad_decision_on_an_opening(world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path, opened=False, bob={"accept_opening": raising}) as pair:
        with pytest.raises(RejectedError, match="BUSY"):
            await open_channel(pair.alice, pair.b)
        await error_told(pair.bob, OurError)
        assert pair.bob.peer.channels == ()


async def test_undecided_opening_holds_up_no_trade(world: World, tmp_path: Path) -> None:
    asked = trio.Event()

    async def slow(request: OpenRequest) -> bool:
        asked.set()
        await trio.sleep_forever()
        raise AssertionError

    async with trading(world, tmp_path) as pair, trio.open_nursery() as nursery:
        setup = pair.bob.peer._openings._setup
        pair.bob.peer._openings._setup = attrs.evolve(setup, accept_opening=slow)
        channel = pair.channel
        nursery.start_soon(open_channel, pair.alice, pair.b)
        with trio.fail_after(PATIENCE):
            await asked.wait()
        await channel.propose_trade([put(pair.alice)], [100 * WAD])
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "broken", [InvalidValueError("no fresh price"), KeyError("ETH-USD"), ZeroDivisionError("oops")]
)
async def test_market_without_a_price(broken: Exception, world: World, tmp_path: Path) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        pair.b.market.broken = broken
        await pair.travel(by=60)
        with pytest.raises(RejectedError, match="BUSY"):
            await pair.channel.remark()
        await error_told(pair.bob, OurError)
        pair.b.market.broken = None
        await pair.channel.remark()
        await pair.settled()


async def test_market_that_leaves_out_a_series(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(world, tmp_path) as pair:
        await trade(pair.alice)
        whole = pair.b.market.marks

        class Partial:
            def marks(self, series: Iterable[Series]) -> Marks:
                return attrs.evolve(whole(series), series={})

        setup = pair.bob.peer._decisions._setup
        pair.bob.peer._decisions._setup = attrs.evolve(setup, market=Partial())
        await pair.travel(by=60)
        with pytest.raises(RejectedError, match="BUSY"):
            await pair.channel.remark()
        assert isinstance((await error_told(pair.bob, OurError)).__cause__, KeyError)


async def test_decision_takes_too_long(world: World, tmp_path: Path) -> None:
    async def slow(trade: Trade, portfolio: Portfolio) -> bool:
        await trio.sleep_forever()
        raise AssertionError

    async with trading(world, tmp_path) as pair:
        setup = pair.bob.peer._decisions._setup
        timing = attrs.evolve(setup.timing, box=3)
        pair.bob.peer._decisions._setup = attrs.evolve(setup, accept_trade=slow, timing=timing)
        with pytest.raises(RejectedError, match="BUSY"):
            await pair.channel.propose_trade([put(pair.alice)], [100 * WAD])
        assert "accept_trade did not answer" in str(await error_told(pair.bob, OurError))
        await pair.settled()
