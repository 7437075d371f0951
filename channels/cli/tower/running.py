"""``tower run``: the tower, its server and its webhook, until stopped."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from channels.cli.desk.options import run as run_command

if TYPE_CHECKING:
    from channels.chain.accounts import LocalAccount
    from channels.chain.client import EthereumChain
    from channels.chain.records import RecordStore
    from channels.dispute import Alert, PriceSource
    from channels.tower.config import TowerConfig
    from channels.tower.replica import ReplicaSetup
    from channels.tower.service import Tower

__all__ = ["config_option", "run"]

config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("tower.toml"),
    envvar="OPTION_CHANNELS_TOWER",
    show_default=True,
    show_envvar=True,
    help="The tower's configuration.",
)


@click.command()
@config_option
def run(config: Path) -> None:
    """Run the tower until it is stopped (SIGTERM or Ctrl-C).

    One JSON document a line: that it listens, and every alert.
    """
    run_command(_run, config)


async def _run(path: Path) -> None:
    from channels.signers import open_signer
    from channels.tower.config import read_config
    from channels.tower.replica import ReplicaSetup
    from channels.tower.webhook import Webhook, alert_json

    config = read_config(path)
    webhook = None if config.webhook is None else Webhook(config.webhook)

    async def tell(alert: Alert) -> None:
        _say("Alert", **alert_json(alert))
        if webhook is not None:
            await webhook.tell(alert)

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        signer = await enter(open_signer(config.signer))
        keys = (config.gas_account, *config.lanes)
        accounts = [await trio.to_thread.run_sync(_account, each) for each in keys]
        setup = ReplicaSetup(
            open_chain=partial(_open_chain, config, accounts),
            open_prices=partial(_open_prices, config),
            signer=signer,
            policy=config.policy,
            on_alert=tell,
        )
        nursery = await enter(trio.open_nursery())
        nursery.start_soon(_until_told, nursery.cancel_scope)
        if webhook is not None:
            nursery.start_soon(webhook.run)
        if config.database is None:
            await _run_alone(config, setup)
        else:
            await _run_replica(config, setup, config.database)


async def _run_alone(config: TowerConfig, setup: ReplicaSetup) -> None:
    """A tower on files of its own."""
    from channels.storage import open_store
    from channels.tower.book import open_book
    from channels.tower.chain import BudgetedChain
    from channels.tower.service import open_tower

    async with (
        open_book(config.book) as book,
        open_store(config.jobs) as store,
        setup.open_chain(store.records("transactions")) as chain,
        setup.open_prices(chain) as prices,
        open_tower(
            BudgetedChain(chain),
            book,
            records=store.records("monitor"),
            signer=setup.signer,
            policy=setup.policy,
            prices=prices,
            on_alert=setup.on_alert,
        ) as tower,
        trio.open_nursery() as nursery,
    ):
        url = await _serve(nursery, config, tower)
        keys = {"tower": "0x" + tower.address.hex(), "gas_account": "0x" + tower.gas_account.hex()}
        _say("Listening", url=url, **keys)
        await tower.ready()
        _say("Ready", head=tower.head.number)
        await trio.sleep_forever()


async def _run_replica(config: TowerConfig, setup: ReplicaSetup, address: str) -> None:
    """One of several processes on one database."""
    from channels.tower.book import open_book
    from channels.tower.lease import open_lease
    from channels.tower.postgres import PostgresDatabase
    from channels.tower.replica import open_replica

    database = await trio.to_thread.run_sync(PostgresDatabase, address)
    async with (
        open_book(database) as book,
        open_lease(database, me=config.replica, term=config.lease) as lease,
        open_replica(database, book, lease, setup) as replica,
        trio.open_nursery() as nursery,
    ):
        url = await _serve(nursery, config, lambda: replica.tower)
        _say("Listening", url=url, tower="0x" + setup.signer.address.hex())
        while True:
            changed, tower = replica.changed, replica.tower
            if tower is not None:
                _say("Role", role=tower.defence.role, head=tower.head.number)
            await changed.wait()


async def _until_told(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


async def _serve(
    nursery: trio.Nursery, config: TowerConfig, tower: Tower | Callable[[], Tower | None]
) -> str:
    """Start the HTTP server; return its URL."""
    from channels.tower.server import ServerConfig, serve_tower

    server = ServerConfig(bind=config.listen, certificate=config.certificate, key=config.key)
    url: str = await nursery.start(serve_tower, tower, server)
    return url


def _say(event: str, **facts: object) -> None:
    click.echo(json.dumps({"event": event, **facts}))


@asynccontextmanager
async def _open_chain(
    config: TowerConfig, accounts: Sequence[LocalAccount], store: RecordStore
) -> AsyncIterator[EthereumChain]:
    from channels.chain.client import open_chain

    rpc = config.rpc[0] if len(config.rpc) == 1 else list(config.rpc)
    async with open_chain(
        rpc,
        adjudicator=config.adjudicator,
        account=accounts,
        store=store,
        finality=config.finality,
    ) as chain:
        yield chain


@asynccontextmanager
async def _open_prices(
    config: TowerConfig, chain: EthereumChain
) -> AsyncIterator[PriceSource | None]:
    """Prices for settling and margin calls, where the deployment's oracles are known."""
    if config.deployment is None:
        yield None
        return
    from channels.chain.deployments import load_deployment
    from channels.prices import PriceSettings, open_sources

    settings = PriceSettings(attesters=config.attesters)
    async with open_sources(chain.rpc, load_deployment(config.deployment), settings) as prices:
        yield prices


def _account(uri: str) -> LocalAccount:
    """The gas account's key."""
    from channels.chain.accounts import LocalAccount
    from channels.errors import InvalidValueError
    from channels.signers import (
        PASSPHRASE_VARIABLE,
        decrypt_keystore,
        environment_or_ask,
        from_environment,
    )

    scheme, _, rest = uri.partition(":")
    if scheme == "keystore":
        return LocalAccount(decrypt_keystore(Path(rest), environment_or_ask(PASSPHRASE_VARIABLE)))
    if scheme == "env":
        text = from_environment(rest)("private key")
        return LocalAccount(bytes.fromhex(text.strip().removeprefix("0x")))
    raise InvalidValueError("the gas account is keystore:PATH or env:NAME")
