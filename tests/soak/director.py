"""The director of a soak: a node, two desks behind proxies, a market, and all that goes wrong.

Trading is left to the desks; the director moves the chain and injects faults from a seeded
schedule, then lets everything come to rest and hands over what there is to account for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
import trio

from channels.chain.control import AnvilControl
from channels.chain.events import read_events
from channels.chain.readers import AdjudicatorReader
from channels.cli.demo.market import Market
from channels.peer import default_terms
from channels.protocol.facts import ChainEvent, OnChainPhase
from tests.chain.world import World, anvil_world
from tests.conftest import reserved_port
from tests.soak.desk import DEPOSIT, FINALITY, UNIT, risk_of
from tests.soak.market import DATA, excerpt, open_market
from tests.soak.process import DeskDiedError, DeskProcess, RefusedError, open_desk
from tests.soak.proxy import FaultProxy, open_proxy
from tests.soak.schedule import (
    Happening,
    Jump,
    Kill,
    Outage,
    Plan,
    Reorg,
    Scheduled,
    Surrender,
    make_schedule,
)

__all__ = ["Director", "Result", "soak"]

HOUR: Final = 3_600
SLOT: Final = 12
BEAT: Final = 0.5
"""Seconds of our own between two blocks."""
WINDOW: Final = 4 * HOUR
CURE: Final = 6 * HOUR
STRIDE: Final = WINDOW // 3
"""Longest jump of the end."""
OPENINGS: Final = 10
"""Asked for at a time: a peer turns down more than sixteen."""
PATIENCE: Final = 180.0
TAIL: Final = 40


@attrs.define(kw_only=True)
class Result:
    """What there is to account for. ``events``: the Adjudicator's, of the chain that counts."""

    world: World
    market: Market
    events: tuple[ChainEvent, ...]
    balances: tuple[int, int]
    locked: int
    claimable: tuple[int, int]
    counts: Counter[str]
    logs: dict[str, list[dict[str, Any]]]
    stores: dict[str, Path]


@attrs.define(kw_only=True)
class Director:
    """One run."""

    plan: Plan
    folder: Path
    world: World
    market: Market
    last: int
    desks: dict[str, DeskProcess]
    proxies: dict[str, list[FaultProxy]]
    done: list[Scheduled] = attrs.Factory(list)
    counts: Counter[str] = attrs.Factory(Counter)
    channels: list[str] = attrs.Factory(list)
    _chain: trio.Lock = attrs.Factory(trio.Lock)
    _outages: trio.Nursery | None = None

    @property
    def _control(self) -> AnvilControl:
        assert isinstance(self.world.control, AnvilControl)
        return self.world.control

    # -- the chain

    async def beat(self) -> None:
        """A block a slot."""
        while True:
            await trio.sleep(BEAT)
            await self.advance(SLOT)

    async def advance(self, seconds: int) -> None:
        """One block, so much later."""
        async with self._chain:
            await self._control.advance_time(by=seconds)

    async def _reorg(self, reorg: Reorg) -> None:
        """Replace blocks; the chain's clock does not go back, so the last one is of now."""
        async with self._chain, AsyncExitStack() as stack:
            for proxy in self._all_proxies:
                await stack.enter_async_context(proxy.held())
            now = await self._control.time()
            await self._control.reorg(reorg.depth, keep=reorg.keep)
            await self._control.advance_time(to=max(now, await self._control.time()) + 1)

    @property
    def _all_proxies(self) -> list[FaultProxy]:
        return [each for proxies in self.proxies.values() for each in proxies]

    # -- what goes wrong

    async def trade(self) -> None:
        """Let both trade while everything of the schedule happens."""
        async with trio.open_nursery() as nursery:
            for desk in self.desks.values():
                nursery.start_soon(self._keep_trading, desk)
            began = trio.current_time()
            async with trio.open_nursery() as self._outages:
                for each in make_schedule(self.plan):
                    await trio.sleep_until(began + each.at)
                    self.done.append(each)
                    await self._make_happen(each.what)
                await trio.sleep_until(began + self.plan.duration)
            nursery.cancel_scope.cancel()
        for desk in self.desks.values():
            await self._have(desk, "stop")

    async def _keep_trading(self, desk: DeskProcess) -> None:
        while True:
            with suppress(DeskDiedError):
                await desk.ask("trade")

    async def _make_happen(self, what: Happening) -> None:
        self.counts[type(what).__name__] += 1
        match what:
            case Kill():
                self.counts["killed"] += self.desks[what.desk].kill()
            case Reorg():
                await self._reorg(what)
            case Jump():
                await self.advance(what.seconds)
            case Outage():
                assert self._outages is not None
                self._outages.start_soon(self._fail, what)
            case Surrender():
                assert self._outages is not None
                self._outages.start_soon(
                    self._try, self.desks[what.desk], "dispute", self.channels[what.channel]
                )

    async def _fail(self, outage: Outage) -> None:
        proxies = self.proxies[outage.desk]
        proxy = proxies[outage.number % len(proxies)]
        await proxy.begin(outage.fault, share=outage.share, behind=outage.behind)
        await trio.sleep(outage.seconds)
        proxy.end()

    async def _try(self, desk: DeskProcess, do: str, *values: Any) -> bool:
        """Ask once; whether it was done."""
        try:
            await desk.ask(do, *values)
        except (DeskDiedError, RefusedError):
            return False
        return True

    async def _have(self, desk: DeskProcess, do: str, *values: Any) -> Any:
        """Ask until it lives long enough to answer."""
        while True:
            with suppress(DeskDiedError):
                return await desk.ask(do, *values)

    # -- the beginning

    async def open_channels(self) -> None:
        """Open them all at once, from Alice."""
        risk = risk_of(self.market.feed)
        terms = default_terms(
            party_a=self.world.a.address,
            party_b=self.world.b.address,
            signer_a=self.world.signer_a.address,
            signer_b=self.world.signer_b.address,
            collateral=self.world.deployment.token,
            unit=UNIT,
            oracle=self.world.deployment.oracle,
            risk=risk,
            stale_penalty=DEPOSIT // 20,
            dispute_window=WINDOW,
        )
        values = attrs.asdict(attrs.evolve(terms, cure_window=CURE))
        told = {
            key: each.hex() if isinstance(each, bytes) else each for key, each in values.items()
        }

        asked = trio.CapacityLimiter(OPENINGS)

        async def open_one() -> None:
            async with asked:
                opened = await self.desks["alice"].ask("open", told, self.market.feed)
            self.channels.append(opened)

        async with trio.open_nursery() as nursery:
            for _ in range(self.plan.channels):
                nursery.start_soon(open_one)
        self.channels.sort()

    # -- the end

    async def come_to_rest(self) -> None:
        """Stop all faults; end every channel, half of them off chain if both agree."""
        for proxy in self._all_proxies:
            proxy.end()
        by_chain = self.channels[::2]
        for number, identity in enumerate(by_chain):
            desk = self.desks["alice" if number % 2 == 0 else "bob"]
            await self._have_tried(desk, "dispute", identity)
        while (now := await self._control.time()) < self.last + 3 * SLOT:
            await trio.sleep(BEAT)
            await self.advance(min(STRIDE, self.last + 4 * SLOT - now))
        async with trio.open_nursery() as nursery:
            for identity in self.channels[1::2]:
                nursery.start_soon(self._finish, identity)
        with trio.fail_after(PATIENCE):
            while any(
                [await self._phase(each) is not OnChainPhase.CLOSED for each in self.channels]
            ):
                await trio.sleep(BEAT)
                await self.advance(STRIDE)
        async with self._chain:
            await self._control.mine(2 * FINALITY)

    async def _have_tried(self, desk: DeskProcess, do: str, *values: Any) -> None:
        with suppress(RefusedError):
            await self._have(desk, do, *values)

    async def _finish(self, identity: str) -> None:
        for _ in range(3):
            if await self._phase(identity) is not OnChainPhase.OPEN:
                return
            if await self._try(self.desks["alice"], "finish", identity):
                self.counts["closed off chain"] += 1
                return
        await self._have_tried(self.desks["bob"], "dispute", identity)

    async def _phase(self, identity: str) -> OnChainPhase:
        async with self._chain:
            reader = AdjudicatorReader(self.world.rpc, self.world.deployment.adjudicator)
            return (await reader.view(bytes.fromhex(identity))).phase

    # -- what it came to

    async def result(self) -> Result:
        """All that there is to account for."""
        rpc, world = self.world.rpc, self.world
        adjudicator, token = world.deployment.adjudicator, world.deployment.token
        newest = await rpc.block()
        assert newest is not None
        events = await read_events(rpc, await rpc.logs_between(0, newest.number, adjudicator))
        reader = AdjudicatorReader(rpc, adjudicator)
        balances = [await world.token.balance(each.address) for each in (world.a, world.b)]
        claimable = [await reader.claimable(token, each.address) for each in (world.a, world.b)]
        return Result(
            world=world,
            market=self.market,
            events=events,
            balances=(balances[0], balances[1]),
            locked=await world.token.balance(adjudicator),
            claimable=(claimable[0], claimable[1]),
            counts=self.counts,
            logs={name: read_log(self.folder / f"{name}.log") for name in self.desks},
            stores={name: self.folder / f"{name}.db" for name in self.desks},
        )

    def story(self) -> str:
        """What to look at after a failure."""
        lines = [f"seed {self.plan.seed}", "what happened so far:"]
        lines += [f"  {each.at:7.2f}  {each.what}" for each in self.done]
        for name in self.desks:
            lines.append(f"the last of {name}'s log:")
            lines += [f"  {each}" for each in read_log(self.folder / f"{name}.log")[-TAIL:]]
        return "\n".join(lines)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Every line of a desk's log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@asynccontextmanager
async def directed(
    plan: Plan, folder: Path, node_url: str, start: int, last: int
) -> AsyncIterator[Director]:
    """Set everything up, both desks at work and connected, on a node whose time is ``start``."""
    quotes = None
    if DATA.exists():
        quotes = folder / "market.csv"
        excerpt(DATA, quotes, start - 7 * HOUR, last + 7 * HOUR)
    rng = Random(plan.seed)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        world = await enter(anvil_world(node_url))
        proxies = {
            "alice": [await enter(open_proxy(node_url, rng))],
            "bob": [await enter(open_proxy(node_url, rng)) for _ in range(2)],
        }
        place = f"127.0.0.1:{stack.enter_context(reserved_port())}"
        common = {
            "seed": plan.seed,
            "adjudicator": world.deployment.adjudicator.hex(),
            "oracle": world.deployment.oracle.hex(),
            "chain_id": world.deployment.chain_id,
            "attesters": [each._signer._key.secret.hex() for each in world.attesters],
            "market": None if quotes is None else str(quotes),
            "start": start,
            "last": last,
        }
        market = open_market(None if quotes is None else str(quotes), start)
        control = world.control
        assert isinstance(control, AnvilControl)
        await control.set_auto_mine(False)
        desks = {}
        for name, account, signer in (
            ("bob", world.b, world.signer_b),
            ("alice", world.a, world.signer_a),
        ):
            config = common | {
                "name": name,
                "rpc": [each.url for each in proxies[name]],
                "wallet": account._key.secret.hex(),
                "signer": signer._key.secret.hex(),
                "store": str(folder / f"{name}.db"),
                "log": str(folder / f"{name}.log"),
                "listen": place if name == "bob" else None,
                "counterparty": place if name == "alice" else None,
            }
            desks[name] = await enter(open_desk(config, folder))
        director = Director(
            plan=plan,
            folder=folder,
            world=world,
            market=market,
            last=last,
            desks=desks,
            proxies=proxies,
        )
        beating = await enter(trio.open_nursery())
        beating.start_soon(director.beat)
        for desk in desks.values():
            await desk.ready()
        yield director
        beating.cancel_scope.cancel()


async def soak(plan: Plan, folder: Path, node_url: str, start: int, last: int) -> Result:
    """Play ``plan`` from chain time ``start`` on, with options up to the expiry ``last``.

    Raises:
        AssertionError: it went wrong; with seed, schedule and the ends of both logs.
    """
    story = f"seed {plan.seed}: nothing happened yet"
    try:
        async with directed(plan, folder, node_url, start, last) as director:
            try:
                await director.open_channels()
                await director.trade()
                await director.come_to_rest()
                return await director.result()
            finally:
                story = director.story()
    except Exception as error:
        raise AssertionError(story) from error
