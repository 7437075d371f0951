"""A tower on the embedded chain, and a customer who is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from channels.chain import EthereumChain, Finality, LocalAccount
from channels.dispute import Alert, Pace
from channels.protocol.calls import CoSigned, Dispute
from channels.protocol.signing import LocalSigner, Signer
from channels.protocol.terms import Terms, channel_id
from channels.protocol.watching import Appointment
from channels.storage import Store, open_store
from channels.tower.book import Book, open_book
from channels.tower.chain import BudgetedChain
from channels.tower.content import Content
from channels.tower.kept import Holding
from channels.tower.service import Tower, TowerPolicy, open_tower
from tests.chain.world import HOUR, World, new_key, option_portfolio

PATIENCE = 60.0
DEPOSIT = 100 * 10**6
BUDGET = 10**16
POLICY = TowerPolicy(pace=Pace(retry_after=0.1), beat_every=1)


@attrs.define
class Stand:
    """A tower that runs, and all that stands around it."""

    world: World
    chain: EthereumChain
    book: Book
    store: Store
    tower: Tower
    alerts: list[Alert]
    patience: float = PATIENCE

    async def head(self) -> None:
        """Mine a block, and wait until the tower has taken it in."""
        await self.world.control.mine()
        await self.caught_up()

    async def caught_up(self) -> None:
        """Wait until the tower has taken in the newest block of all."""
        with trio.fail_after(self.patience):
            while True:
                changed, taken = self.tower.lookout.changed, self.tower.lookout.taken
                tip = await self.world.rpc.block()
                if tip is not None and taken is not None and taken.hash == tip.hash:
                    return
                await changed.wait()


@asynccontextmanager
async def tower_of(
    world: World,
    folder: Path,
    *,
    signer: Signer,
    account: LocalAccount | Sequence[LocalAccount] | None = None,
    policy: TowerPolicy = POLICY,
    finality: int = 2,
    chain_class: Any = BudgetedChain,
) -> AsyncIterator[Stand]:
    """Run a tower on the files in ``folder``, until it is ready."""
    alerts: list[Alert] = []

    async def on_alert(alert: Alert) -> None:
        alerts.append(alert)

    async with (
        open_store(folder / "jobs.db") as store,
        open_book(folder / "book.db") as book,
        world.open(
            account or LocalAccount(world_account(world)),
            store=store.records("jobs"),
            finality=Finality.depth(finality),
        ) as chain,
        open_tower(
            chain_class(chain),
            book,
            records=store.records("monitor"),
            signer=signer,
            policy=policy,
            on_alert=on_alert,
        ) as tower,
    ):
        with trio.fail_after(PATIENCE):
            await tower.ready()
        yield Stand(world=world, chain=chain, book=book, store=store, tower=tower, alerts=alerts)


def world_account(world: World, number: int = 2) -> bytes:
    """Key of an account of the embedded chain that is neither party's."""
    accounts: Any = world.provider
    secret: bytes = accounts.accounts[number]._key.secret
    return secret


@attrs.frozen
class Channel:
    """A channel on chain: an old state, and newer ones."""

    world: World
    terms: Terms
    now: int

    @property
    def id(self) -> bytes:
        return channel_id(self.world.domain, self.terms)

    def state(self, nonce: int, *, valid_until: int = 0, net: int | None = None) -> CoSigned:
        portfolio = option_portfolio(
            self.now,
            expiry=(self.now // HOUR + 9) * HOUR,
            net_to_b=nonce if net is None else net,
        )
        return self.world.cosigned(self.terms, nonce, portfolio, valid_until=valid_until)

    def offer(
        self,
        state: CoSigned,
        *,
        sequence: int = 1,
        signer: LocalSigner | None = None,
        budget: int = BUDGET,
        duties: int = 0,
        **content: Any,
    ) -> Holding:
        """An appointment of A's for this state; the portfolio stays at home."""
        packed = Content(
            terms=self.terms,
            signature_a=state.signature_a,
            signature_b=state.signature_b,
            **content,
        )
        appointment = Appointment(
            channel_id=self.id,
            nonce=state.state.nonce,
            valid_until=state.state.valid_until,
            portfolio_hash=state.state.portfolio_hash,
            duties=int(duties),
            gas_budget=budget,
            sequence=sequence,
            content_hash=packed.hash,
        )
        digest = self.world.domain.digest(appointment)
        return Holding(
            appointment=appointment,
            signature=(signer or self.world.signer_a).sign_digest(digest),
            content=packed.packed,
        )


async def open_channel(world: World, chain: EthereumChain, **changes: Any) -> Channel:
    """Put a channel on the chain."""
    terms = world.terms(**changes)
    key = b"open" + terms.salt
    with trio.fail_after(PATIENCE):
        await chain.submit(await world.opening(terms, DEPOSIT), key=key)
        await chain.wait_mined(key)
    return Channel(world, terms, await world.control.time())


async def file_stale(chain: EthereumChain, channel: Channel, nonce: int) -> None:
    """The counterparty files an old state, and it is mined."""
    key = b"file" + channel.id
    with trio.fail_after(PATIENCE):
        await chain.submit(Dispute(terms=channel.terms, newest=channel.state(nonce)), key=key)
        await chain.wait_mined(key)


async def until_recorded(chain: EthereumChain, channel: Channel, nonce: int) -> None:
    """Wait for the block that shows this nonce."""
    with trio.fail_after(PATIENCE):
        async for update in chain.updates():
            if (await chain.reader.view(channel.id, update.head.hash)).nonce == nonce:
                return


def fresh_signer() -> LocalSigner:
    """A tower's key."""
    return LocalSigner(new_key())
