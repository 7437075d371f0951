"""The replay itself: traders on a floor, frame by frame, until all is unwound, closed and paid."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from channels.bots import Floor, Skew, SkewMaker, SurfaceMarket, Trader, open_floor
from channels.bots.floor import PATIENT, UNIT
from channels.cli.replaying.books import Books, Dealt, SettledExpiry
from channels.cli.replaying.crowd import STYLES, Wish, wish
from channels.cli.replaying.tape import Frame, Tape
from channels.cli.replaying.watch import Tally, Watch
from channels.desk import Limits, ProtectionLimits, SensitivityLimits
from channels.errors import BugError, ChannelsError
from channels.peer import BreakerPolicy, PeerChannel, best_price
from channels.peer.desk import DeskPolicy
from channels.peer.policy import SettlementSource
from channels.peer.unwinding import unwind_legs
from channels.pricing.surface import Surface
from channels.protocol.changes import MAX_LEGS
from channels.protocol.channel import OPEN_PHASES, Phase
from channels.protocol.credit import standing
from channels.protocol.messages import Side
from channels.protocol.types import MAX_POSITIONS, Party, feed_id
from channels.units import DAY, HOUR, WAD

__all__ = ["DEPOSIT", "Played", "ReplayOptions", "Sample", "TraderSample", "play"]

DEPOSIT: Final = 40_000 * UNIT
"""What either side brings to each channel, base units."""
FUNDS: Final = 1_000_000 * UNIT
"""What every wallet begins with."""
NOTIONAL: Final = 50_000.0
PATIENCE: Final = 60.0
_EDGES: Final = ("0.010", "0.012", "0.014", "0.016", "0.018")
_TTL: Final = 10
"""Seconds that a quote stands, and that makers have to name it."""
_SETTLE_AFTER: Final = 60
_ATTEMPTS: Final = 24
"""To take positions back: longer than any protection lasts."""
_ROOM: Final = 4
"""Positions a channel keeps free, so that a request for some always fits."""


@attrs.frozen(kw_only=True)
class ReplayOptions:
    """Who takes part. ``channels`` is how many makers each taker has a channel with."""

    makers: int = 3
    takers: int = 2
    channels: int = 3
    seed: str = "1"


@attrs.frozen(kw_only=True)
class TraderSample:
    """One trader after one frame, base units: profit since the start, and over all its channels.

    ``use`` is the largest part of its equity that initial margin takes in one channel, before
    top-ups; ``called`` counts the margin calls on it so far.
    """

    profit: int
    equity: int
    margin: int
    use: float
    called: int


@attrs.frozen(kw_only=True)
class Sample:
    """All traders after one frame. ``calls``: margin calls on any of them at this frame."""

    at: int
    spot: float
    traders: dict[str, TraderSample]
    calls: int


@attrs.frozen(kw_only=True)
class Played:
    """What a replay leaves behind, apart from the stores."""

    books: Books
    samples: tuple[Sample, ...]
    tallies: dict[str, Tally]
    balances: dict[str, int]
    left_in_contract: int


async def play(
    tape: Tape,
    options: ReplayOptions,
    *,
    folder: Path,
    on_sample: Callable[[Sample], None],
) -> Played:
    """Play a tape; every trader's store is in ``folder``, by its name.

    Raises:
        ChannelsError: something that should have gone through did not.
    """
    count = options.makers + options.takers
    async with open_floor(
        tape.feed, start=tape.frames[0].at - DAY, traders=count, patience=0.5
    ) as floor:
        session = _Session(tape=tape, options=options, floor=floor, folder=folder)
        await session.gather()
        for index, frame in enumerate(tape.frames):
            await session.take(frame, trading=index < len(tape.frames) - 1)
            on_sample(session.samples[-1])
        return await session.finish()


class _Session:
    def __init__(self, *, tape: Tape, options: ReplayOptions, floor: Floor, folder: Path) -> None:
        self.tape = tape
        self.options = options
        self.floor = floor
        self.folder = folder
        self.market = SurfaceMarket(tape.feed, tape.frames[0].surface)
        self.books = Books()
        self.samples: list[Sample] = []
        self.watch = Watch()
        self.channels: dict[str, list[PeerChannel]] = {}
        self.styles: dict[str, str] = {}
        self._refusals: dict[str, str] = {}

    # -- who is there

    async def gather(self) -> None:
        """Bring everybody on, and open the channels."""
        makers = [await self._join_maker(place) for place in range(self.options.makers)]
        styles = list(STYLES)
        for place in range(self.options.takers):
            name = f"taker-{place + 1}"
            self.styles[name] = styles[place % len(styles)]
            # the last one signs no settlement but an attested one
            careful = place == self.options.takers - 1
            source = self.floor.attested if careful else self._estimate
            taker = await self._join(name, source)
            chosen = [makers[(place + each) % len(makers)] for each in range(self.options.channels)]
            self.channels[name] = [await self._open(taker, maker) for maker in chosen]

    async def _join_maker(self, place: int) -> Trader:
        spot = self.tape.frames[0].surface.spot
        lot = NOTIONAL / spot
        maker = SkewMaker(
            edge=_EDGES[place % len(_EDGES)], skew=Skew(vega=NOTIONAL / 4, delta=4 * lot)
        )
        desk = DeskPolicy(
            limits=Limits(desk=SensitivityLimits(delta=5 * lot, vega=NOTIONAL / 2)),
            protection=ProtectionLimits(interval=HOUR, frozen_for=HOUR, delta=6 * lot),
        )
        trader = await self._join(f"maker-{place + 1}", self._estimate, maker=maker, desk=desk)
        maker.attend(trader.peer)
        return trader

    async def _join(self, name: str, source: SettlementSource, **options: object) -> Trader:
        return await self.floor.join(
            name,
            market=self.market,
            funds=FUNDS,
            store=self.folder / f"{name}.db",
            listen=f"unix:{self.folder / name}.sock",
            monitored=True,
            tasks=[self.watch.follow(name)],
            settlement_price=source,
            credit=attrs.evolve(PATIENT, auto_top_up=FUNDS),
            breaker=BreakerPolicy(jump=WAD * 3 // 10),
            **options,
        )

    async def _open(self, taker: Trader, maker: Trader) -> PeerChannel:
        channel = await self.floor.open(taker, maker, deposit=DEPOSIT)
        self.books.parties[channel.channel_id] = (taker.name, maker.name)
        return channel

    async def _estimate(self, feed: bytes, expiry: int) -> int | None:
        """The settlement price by one's own reading of the market."""
        known = feed == feed_id(self.tape.feed) and expiry <= self.floor.clock()
        return self.tape.settlement(expiry) if known else None

    # -- a frame

    async def take(self, frame: Frame, *, trading: bool) -> None:
        """Settle what expired on the way, move the market there, re-mark, and trade."""
        await self._expire(frame.at)
        calls = self.watch.calls
        await self._move_to(frame.at, partial(self._show, frame.surface))
        await self._remark()
        used = self._uses()
        await self._calm()
        if trading:
            for name in self.channels:
                await self._act(name, frame)
        self.samples.append(self._sample(frame, used, self.watch.calls - calls))

    def _show(self, surface: Surface) -> None:
        self.market.surface = surface

    async def _move_to(self, time: int, market: Callable[[], object] | None = None) -> None:
        await self._calm()
        if time > await self.floor.provider.time():
            await self.floor.move_to(time, market=market, remark=False)
        elif market is not None:
            market()

    def _all_channels(self) -> list[PeerChannel]:
        return [channel for held in self.channels.values() for channel in held]

    async def _expire(self, until: int) -> None:
        due = {
            position.expiry
            for channel in self._all_channels()
            for position in channel.portfolio.positions
            if position.expiry <= until
        }
        for expiry in sorted(due):
            await self._settle(expiry)

    async def _settle(self, expiry: int) -> None:
        """Let the peers settle it: off chain, at the attested price where one asks for that."""
        held = [each for each in self._all_channels() if _expires(each, expiry)]
        self.watch.refused.clear()
        await self._move_to(expiry + _SETTLE_AFTER)
        price = self.tape.settlement(expiry)
        for channel in held:
            await self._until(partial(self._is_answered, channel, expiry))
        refused = [each for each in held if _expires(each, expiry)]
        if refused:
            await self.floor.attest(expiry, price)
            for channel in refused:
                await self._until(partial(_is_settled, channel, expiry))
        self.books.settled += [
            SettledExpiry(
                channel_id=each.channel_id, expiry=expiry, price=price, attested=each in refused
            )
            for each in held
        ]
        await self._calm()

    def _is_answered(self, channel: PeerChannel, expiry: int) -> bool:
        return not _expires(channel, expiry) or channel.channel_id in self.watch.refused

    def _trader(self, name: str) -> Trader:
        return next(each for each in self.floor.traders if each.name == name)

    async def _remark(self) -> None:
        await self.floor.remark()
        for trader in self.floor.traders:
            trader.peer.look()

    async def _calm(self) -> None:
        """Wait until nobody is short, every margin call is met, and nothing is in flight."""
        for trader in self.floor.traders:
            for channel in trader.peer.channels:
                await self._until(partial(_is_calm, channel))

    async def _until(self, condition: Callable[[], bool]) -> None:
        with trio.move_on_after(PATIENCE) as scope:
            async with self.floor.ticking():
                await self.watch.wait_until(condition)
        if scope.cancelled_caught:
            raise BugError(f"settlements or margin calls wait for longer than {PATIENCE:g} s")

    # -- trading

    async def _act(self, name: str, frame: Frame) -> None:
        wanted = wish(
            self.styles[name],
            frame,
            feed=self.tape.feed,
            draw=f"{self.options.seed}/{name}/{frame.at}",
            notional=NOTIONAL,
        )
        if wanted.unwind is not None:
            held = [each for each in self.channels[name] if each.portfolio.positions]
            if held:
                channel = held[int(wanted.unwind * len(held))]
                await self._trade(name, [channel], self._unwinding(channel), frame.at)
        elif wanted.legs:
            room = MAX_POSITIONS - len(wanted.legs) - _ROOM
            free = [e for e in self.channels[name] if len(e.portfolio.positions) <= room]
            await self._trade(name, free, wanted, frame.at)

    async def _trade(self, name: str, channels: list[PeerChannel], wanted: Wish, at: int) -> bool:
        try:
            best = await best_price(
                channels, wanted.legs, Side.BUY, ttl=_TTL, patience=_TTL, tell_side=True
            )
            await best.quote.accept()
        except ChannelsError as error:
            self.watch.tallies[name].unquoted += 1
            self._refusals[name] = str(error)
            return False
        channel_id = best.channel.channel_id
        self.books.dealt.append(
            Dealt(
                at=at,
                channel_id=channel_id,
                taker=name,
                maker=self.books.parties[channel_id][1],
                title=wanted.title,
                trade=best.quote.trade,
                premiums=tuple(
                    each if isinstance(each, int) else None for each in best.answers.values()
                ),
            )
        )
        return True

    # -- figures

    def _uses(self) -> dict[str, float]:
        """The largest part of equity that initial margin takes in one channel, by trader."""
        return {
            trader.name: max((_use(channel) for channel in trader.peer.channels), default=0.0)
            for trader in self.floor.traders
        }

    def _sample(self, frame: Frame, used: dict[str, float], calls: int) -> Sample:
        after = self._uses()
        found = {}
        for trader in self.floor.traders:
            held, tally = trader.peer.channels, self.watch.tallies[trader.name]
            equity = sum(each.equity for each in held)
            found[trader.name] = TraderSample(
                profit=equity - sum(each.state.contribution(each.side) for each in held),
                equity=equity,
                margin=sum(each.margin for each in held),
                use=max(used[trader.name], after[trader.name], tally.short_use),
                called=tally.called,
            )
            tally.short_use = 0.0
        return Sample(at=frame.at, spot=frame.surface.spot, traders=found, calls=calls)

    # -- the end

    async def finish(self) -> Played:
        """Take back every position, close every channel, and count."""
        for name, channels in self.channels.items():
            for channel in channels:
                await self._unwind(name, channel)
                await channel.close()
        for trader in self.floor.traders:
            for channel in trader.peer.channels:
                await channel.wait_closed()
        return Played(
            books=self.books,
            samples=tuple(self.samples),
            tallies=self.watch.tallies,
            balances={each.name: await self.floor.balance(each) for each in self.floor.traders},
            left_in_contract=await self.floor.left_in_contract(),
        )

    def _unwinding(self, channel: PeerChannel, attempt: int = 0) -> Wish:
        """Positions to take back: as many as one request holds; fewer and others when refused.

        What is left must fit the maker's limits and both margins, and some parts leave more than
        others.
        """
        legs = unwind_legs(channel.portfolio, channel.side, int(self.floor.clock()))
        first = attempt % max(1, len(legs))
        most = max(1, MAX_LEGS >> (attempt % 5))
        return Wish(title="unwinds", legs=tuple((legs[first:] + legs[:first])[:most]))

    async def _unwind(self, name: str, channel: PeerChannel) -> None:
        """Take every position back; where there is no price, ask for another part an hour later."""
        refused = 0
        while True:
            await self._expire(int(self.floor.clock()))
            if not channel.portfolio.positions:
                return
            wanted = self._unwinding(channel, refused)
            if await self._trade(name, [channel], wanted, self.tape.frames[-1].at):
                continue
            refused += 1
            if refused == _ATTEMPTS:
                maker = self.books.parties[channel.channel_id][1]
                raise BugError(
                    f"{maker} does not take its positions back: {self._refusals[name]}",
                    next_step="replay with another --seed, and report this one",
                )
            await self._move_to(int(self.floor.clock()) + HOUR)
            await self._remark()
            await self._calm()


def _use(channel: PeerChannel) -> float:
    if not channel.margin:
        return 0.0
    return channel.margin / channel.equity if channel.equity > 0 else float("inf")


def _expires(channel: PeerChannel, expiry: int) -> bool:
    return any(each.expiry == expiry for each in channel.portfolio.positions)


def _is_settled(channel: PeerChannel, expiry: int) -> bool:
    return not _expires(channel, expiry)


def _is_calm(channel: PeerChannel) -> bool:
    state = channel.state
    if state.phase not in OPEN_PHASES:
        return True
    called = state.call_made is not None or state.call_received is not None
    short = any(standing(state, side).short for side in Party)
    return state.phase is Phase.IDLE and not called and not short
