"""``tower run``: the tower, its server and its webhook, until stopped."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from channels.cli.desk.options import run as run_command

if TYPE_CHECKING:
    from channels.chain.accounts import LocalAccount
    from channels.chain.client import EthereumChain
    from channels.dispute import Alert
    from channels.dispute.ports import PriceSource
    from channels.tower.config import TowerConfig

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
    from channels.storage import open_store
    from channels.tower.book import open_book
    from channels.tower.chain import BudgetedChain
    from channels.tower.config import read_config
    from channels.tower.server import ServerConfig, serve_tower
    from channels.tower.service import open_tower
    from channels.tower.webhook import Webhook, alert_json

    config = read_config(path)
    webhook = None if config.webhook is None else Webhook(config.webhook)

    async def tell(alert: Alert) -> None:
        click.echo(json.dumps({"event": "Alert", **alert_json(alert)}))
        if webhook is not None:
            await webhook.tell(alert)

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        signer = await enter(open_signer(config.signer))
        store = await enter(open_store(config.jobs))
        book = await enter(open_book(config.book))
        account = await trio.to_thread.run_sync(_account, config.gas_account)
        chain = await enter(_chain(config, account, store.records("transactions")))
        prices = await _prices(stack, config, chain)
        tower = await enter(
            open_tower(
                BudgetedChain(chain),
                book,
                records=store.records("monitor"),
                signer=signer,
                policy=config.policy,
                prices=prices,
                on_alert=tell,
            )
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_told, nursery.cancel_scope)
            if webhook is not None:
                nursery.start_soon(webhook.run)
            server = ServerConfig(
                bind=config.listen, certificate=config.certificate, key=config.key
            )
            url = await nursery.start(serve_tower, tower, server)
            line = {"event": "Listening", "url": url, "tower": "0x" + tower.address.hex()}
            click.echo(json.dumps({**line, "gas_account": "0x" + tower.gas_account.hex()}))
            await tower.ready()
            click.echo(json.dumps({"event": "Ready", "head": tower.head.number}))


async def _until_told(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


@asynccontextmanager
async def _chain(
    config: TowerConfig, account: LocalAccount, records: object
) -> AsyncIterator[EthereumChain]:
    from channels.chain.client import open_chain

    rpc = config.rpc[0] if len(config.rpc) == 1 else list(config.rpc)
    async with open_chain(
        rpc,
        adjudicator=config.adjudicator,
        account=account,
        store=records,  # type: ignore[arg-type]  # a namespace of the store
        finality=config.finality,
    ) as chain:
        yield chain


async def _prices(
    stack: AsyncExitStack, config: TowerConfig, chain: EthereumChain
) -> PriceSource | None:
    """Prices for settling and margin calls, where the deployment's oracles are known."""
    if config.deployment is None:
        return None
    from channels.chain.deployments import load_deployment
    from channels.prices import PriceSettings, open_sources

    settings = PriceSettings(attesters=config.attesters)
    deployment = load_deployment(config.deployment)
    return await stack.enter_async_context(open_sources(chain.rpc, deployment, settings))


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
