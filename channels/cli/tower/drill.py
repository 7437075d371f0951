"""``tower drill``: a stale dispute staged on a canary channel, and how fast it was answered."""

from __future__ import annotations

import json
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from channels.cli.desk.options import run as run_command
from channels.errors import AppointmentRefusedError, BugError

if TYPE_CHECKING:
    from channels.chain.accounts import LocalAccount
    from channels.chain.client import EthereumChain
    from channels.chain.deployments import Deployment
    from channels.chain.rpc import Provider
    from channels.protocol.calls import CoSigned
    from channels.protocol.terms import Domain, Terms
    from channels.tower.kept import Holding
    from channels.tower.service import Tower
    from channels.tower.signed import SignedReceipt

__all__ = ["drill"]

_PATIENCE = 120.0
_PAUSE = 0.5
_UNIT = 10**6
_DEPOSIT = 1_000 * _UNIT
_OLD, _NEWEST = 3, 40


@attrs.frozen(kw_only=True)
class _Canary:
    """A channel on which both sides are ours."""

    domain: Domain
    terms: Terms
    alice: LocalAccount
    bob: LocalAccount

    def state(self, nonce: int) -> CoSigned:
        """A state that both have signed; nothing has been traded."""
        from channels.protocol.calls import CoSigned
        from channels.protocol.terms import channel_id
        from channels.protocol.types import Portfolio, State

        state = State(
            channel_id=channel_id(self.domain, self.terms),
            nonce=nonce,
            portfolio=Portfolio(net_to_b=nonce),
        )
        digest = self.domain.digest(state)
        return CoSigned(
            state=state,
            signature_a=self.alice.sign_digest(digest),
            signature_b=self.bob.sign_digest(digest),
        )

    async def appointment(self) -> Holding:
        """What the tower is handed: the newest state, by its hash alone."""
        from channels.dispute import Evidence
        from channels.tower.appointments import CustomerPolicy, make_appointment

        newest = self.state(_NEWEST)
        return await make_appointment(
            Evidence(terms=self.terms, states=(newest,)),
            newest,
            signer=self.alice,
            domain=self.domain,
            sequence=1,
            policy=CustomerPolicy(),
        )


@attrs.define
class _Times:
    """When a tower of our own saw the filing and sent its answer, by our clock; None: not seen."""

    detected: float | None = None
    broadcast: float | None = None

    async def see_detection(self, tower: Tower) -> None:
        """Wait for the block that tells the tower of the dispute."""
        import trio

        while not tower.tally.disputes_seen:
            await tower.lookout.changed.wait()
        self.detected = trio.current_time()

    async def see_broadcast(self, chain: EthereumChain) -> None:
        """Wait for the tower's first transaction."""
        import trio

        from channels.chain.jobs import JobBroadcast

        with chain.job_updates() as updates:
            async for update in updates:
                if isinstance(update, JobBroadcast):
                    self.broadcast = trio.current_time()
                    return

    def since(self, filed: float) -> dict[str, float]:
        """Seconds after the filing was seen to be mined."""
        told = {"detected": self.detected, "broadcast": self.broadcast}
        return {
            name: round(max(time - filed, 0.0), 3)
            for name, time in told.items()
            if time is not None
        }


@click.command()
@click.option("--rpc", metavar="URL", help="A development node; in process unless given.")
@click.option("--url", help="A running tower on that node; one of its own unless given.")
@click.option(
    "--deployment",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Record of the contracts on that node; with a test token.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def drill(rpc: str | None, url: str | None, deployment: Path | None, as_json: bool) -> None:
    """Cheat on a canary channel, and see that the tower answers. Exit status 1 if it does not.

    The counterparty files a stale state; the tower, which knows the newest one by its hash alone,
    has to have it recorded. On a development chain: the accounts' keys are public.
    """
    if url is not None and (rpc is None or deployment is None):
        raise click.UsageError("--url needs --rpc and --deployment: where the tower watches")
    run_command(_drill, rpc, url, deployment, as_json)


async def _drill(rpc: str | None, url: str | None, record: Path | None, as_json: bool) -> None:
    import trio

    from channels.chain.client import open_chain
    from channels.chain.deploy import deploy
    from channels.chain.deployments import load_deployment
    from channels.chain.embedded import EmbeddedChain
    from channels.chain.heads import Finality
    from channels.chain.provider import open_provider
    from channels.chain.records import MemoryRecordStore
    from channels.protocol.calls import Dispute

    with trio.fail_after(_PATIENCE):
        async with AsyncExitStack() as stack:
            provider: Provider
            accounts: tuple[LocalAccount, ...]
            if rpc is None:
                embedded = EmbeddedChain()
                provider, accounts = embedded, embedded.accounts
            else:
                from channels.cli.demo.stage import development_accounts

                provider = await stack.enter_async_context(open_provider(rpc))
                accounts = development_accounts(4)
            alice, bob, gas = accounts[1:4]
            if record is not None:
                deployment = load_deployment(record)
            else:
                attester = accounts[0].address
                deployment = await deploy(provider, accounts[0], attesters=[attester], threshold=1)
            chain = await stack.enter_async_context(
                open_chain(
                    provider,
                    adjudicator=deployment.adjudicator,
                    account=bob,
                    store=MemoryRecordStore(),
                    finality=Finality.depth(0),
                    poll_interval=0.05,
                )
            )
            canary = await _open(chain, deployment, alice, bob)
            holding = await canary.appointment()
            times = _Times()
            if url is None:
                receipt = await _own_tower(stack, provider, deployment, gas, holding, times)
            else:
                receipt = await _register(url, chain, holding)
            stale = Dispute(terms=canary.terms, newest=canary.state(_OLD))
            await chain.submit(stale, key=b"stale")
            filed = await chain.wait_mined(b"stale")
            seen = trio.current_time()
            recorded = await _until_recorded(chain, receipt.receipt.channel_id)
            seconds = {**times.since(seen), "recorded": round(trio.current_time() - seen, 3)}
            _show(as_json, receipt, filed.block_number, recorded, seconds)


def _show(
    as_json: bool, receipt: SignedReceipt, filed: int, recorded: int, seconds: dict[str, float]
) -> None:
    """Tell how it went."""
    if not as_json:
        click.echo(
            f"nonce {_OLD} filed in block {filed}, nonce {_NEWEST} recorded in block {recorded}: "
            f"{recorded - filed} blocks and {seconds['recorded']:.3f} s later"
        )
        for name in ("detected", "broadcast"):
            if name in seconds:
                click.echo(f"{name} {seconds[name]:.3f} s after the filing was mined")
        return
    answer = {
        "channel": "0x" + receipt.receipt.channel_id.hex(),
        "receipt": str(receipt.receipt.nonce),
        "filed": {"nonce": str(_OLD), "block": filed},
        "recorded": {"nonce": str(_NEWEST), "block": recorded},
        "blocks": recorded - filed,
        "seconds": seconds,
    }
    click.echo(json.dumps(answer, indent=2))


async def _open(
    chain: EthereumChain, deployment: Deployment, alice: LocalAccount, bob: LocalAccount
) -> _Canary:
    """Open the canary channel."""
    from channels.chain.contracts import Token
    from channels.chain.deploy import send_now
    from channels.peer import default_terms
    from channels.protocol.calls import Open
    from channels.protocol.terms import Opening, RiskParams
    from channels.protocol.types import feed_id

    token = Token(chain.rpc, deployment.token)
    for party in (alice, bob):
        await send_now(chain.rpc, party, token.mint(party.address, _DEPOSIT))
        approval = token.approve(deployment.adjudicator, _DEPOSIT)
        last = await send_now(chain.rpc, party, approval)
        await _until_seen(chain, last.block_number)
    terms = default_terms(
        party_a=alice.address,
        party_b=bob.address,
        signer_a=alice.address,
        signer_b=bob.address,
        collateral=deployment.token,
        unit=_UNIT,
        oracle=deployment.oracle,
        risk=(RiskParams(feed=feed_id("ETH-USD")),),
        stale_penalty=_DEPOSIT // 20,
    )
    value = Opening(
        terms=terms,
        deposit_a=_DEPOSIT,
        deposit_b=_DEPOSIT,
        valid_until=chain.head.timestamp + 3_600,
    )
    digest = chain.domain.digest(value)
    signatures = [each.sign_digest(digest).expanded() for each in (alice, bob)]
    opening = Open(opening=value, signature_a=signatures[0], signature_b=signatures[1])
    await chain.submit(opening, key=b"open")
    await chain.wait_mined(b"open")
    return _Canary(domain=chain.domain, terms=terms, alice=alice, bob=bob)


async def _own_tower(
    stack: AsyncExitStack,
    provider: Provider,
    deployment: Deployment,
    gas: LocalAccount,
    holding: Holding,
    times: _Times,
) -> SignedReceipt:
    """Run a tower for the time of the drill, and hand it the canary."""
    import trio

    from channels.chain.client import open_chain
    from channels.chain.heads import Finality
    from channels.chain.tasks import open_tasks
    from channels.storage import open_store
    from channels.tower.book import open_book
    from channels.tower.chain import BudgetedChain
    from channels.tower.service import open_tower

    enter = stack.enter_async_context
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    store = await enter(open_store(folder / "jobs.db"))
    book = await enter(open_book(folder / "book.db"))
    chain = await enter(
        open_chain(
            provider,
            adjudicator=deployment.adjudicator,
            account=gas,
            store=store.records("transactions"),
            finality=Finality.depth(0),
            poll_interval=0.05,
        )
    )
    tower = await enter(
        open_tower(BudgetedChain(chain), book, records=store.records("monitor"), signer=gas)
    )
    with trio.fail_after(_PATIENCE):
        await tower.ready()
    nursery = await enter(open_tasks())
    nursery.start_soon(times.see_detection, tower)
    nursery.start_soon(times.see_broadcast, chain)
    return await tower.accept(holding.appointment, holding.signature, holding.content)


async def _register(url: str, chain: EthereumChain, holding: Holding) -> SignedReceipt:
    """Hand the canary to a running tower."""
    import trio

    from channels.cli.tower.looking import ask_tower
    from channels.protocol.eip712 import address
    from channels.tower.client import open_tower_client

    _, about = await trio.to_thread.run_sync(ask_tower, url, "/v1/tower")
    async with open_tower_client(url, address(about["tower"]), chain.domain) as client:
        while True:
            try:
                return await client.register(holding)
            except AppointmentRefusedError as error:
                if error.refusal != "not_open":
                    raise
            await trio.sleep(_PAUSE)  # the tower has not seen the block yet


async def _until_seen(chain: EthereumChain, number: int) -> None:
    """Wait until our own view of the chain has this block."""
    async for update in chain.updates():
        if update.head.number >= number:
            return


async def _until_recorded(chain: EthereumChain, channel_id: bytes) -> int:
    """The number of the block that shows the newest state."""
    async for update in chain.updates():
        view = await chain.view(channel_id, update.head.hash)
        if view.nonce == _NEWEST:
            return update.head.number
    raise BugError("the chain's updates have ended")
