"""``init``, ``card`` and ``fund``: a folder, what to tell a counterparty, and collateral."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from channels.cli.desk.options import as_json, home_option, run, show
from channels.errors import InvalidValueError, OurError

if TYPE_CHECKING:
    from channels.cli.desk.home import Card, Home

__all__ = ["card", "fund", "init", "own_card"]

_CONFIG: Final = """\
# Of a trader's folder. Paths are relative to it.

# Endpoints of the chain. With one alone, whoever runs it can hide a dispute: give two or more.
rpc = [{rpc}]
# The record that `option-channels deploy` wrote.
deployment = {deployment}
# When a block counts as final: a tag of the endpoint's, or a number of blocks on top.
finality = {finality}

# Where counterparties reach us, for `option-channels serve`.
{listen}

# The session key, which signs states: keystore:…, env:…, https://…#0x…, or pkcs11:….
signer = "keystore:signer.json"
# The account that owns deposits and pays for gas.
wallet = "wallet.json"

# By asking, a counterparty may have us lock at most this in all its channels together, whole units
# of collateral, and only against a deposit of its own that is at least so many times ours.
most_deposit = {most_deposit}
least_peer_deposit = "1"

# Our market: spot prices by feed, one vol, and how many points of vol we quote to our own side.
vol = {vol}
edge = "0.02"

# Where prices come from that an oracle is given only when somebody needs them: its attesters'
# endpoints, or on a development chain with the test oracle, our own market (test = true).
{prices}

# Towers that watch while this machine is off, by the address that signs for each, and how many of
# them must have taken a state.
# [towers]
# needed = 1
# at = {{ "https://…" = "0x…" }}

[spots]
{spots}
"""


@click.command(short_help="Make a trader's folder: two keys and a configuration.")
@home_option(exists=False)
@click.option(
    "--rpc",
    "endpoints",
    metavar="URL",
    multiple=True,
    default=("http://127.0.0.1:8545",),
    envvar="OPTION_CHANNELS_RPC",
    show_default=True,
    show_envvar=True,
    help="An endpoint of the chain; may be given again.",
)
@click.option(
    "--deployment",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Record of the contracts.  [default: deployments/CHAIN-ID.json]",
)
@click.option("--listen", metavar="HOST:PORT", help="Where counterparties are to reach us.")
@click.option(
    "--spot",
    "spots",
    metavar="FEED=PRICE",
    multiple=True,
    default=("ETH-USD=3000",),
    show_default=True,
    help="The price we mark a feed at; may be given again.",
)
@click.option("--vol", default="0.60", show_default=True, help="The vol we mark at.")
@click.option(
    "--most-deposit",
    type=click.IntRange(min=0),
    default=10_000,
    show_default=True,
    help="Most of ours to lock with one counterparty that asks, whole units of collateral.",
)
@as_json
def init(
    home: Path,
    endpoints: tuple[str, ...],
    deployment: Path | None,
    listen: str | None,
    spots: tuple[str, ...],
    vol: str,
    most_deposit: int,
    as_json: bool,
) -> None:
    """Make a trader's folder: two new encrypted keys and a configuration.

    The passphrase of both comes from OPTION_CHANNELS_PASSPHRASE, or is asked for.
    """
    run(
        _init,
        home,
        endpoints,
        deployment,
        listen,
        spots,
        vol,
        most_deposit,
        as_json,
    )


async def _init(
    folder: Path,
    endpoints: tuple[str, ...],
    deployment: Path | None,
    listen: str | None,
    spots: tuple[str, ...],
    vol: str,
    most_deposit: int,
    machine: bool,
) -> None:
    from channels.chain.deployments import load_deployment
    from channels.chain.endpoints import open_endpoints
    from channels.chain.heads import Finality
    from channels.chain.rpc import Rpc
    from channels.cli.desk.home import check_config, read_home
    from channels.signers import create_keystore, environment_or_ask
    from channels.signers.uris import PASSPHRASE_VARIABLE

    if (folder / "config.toml").exists():
        raise OurError(f"{folder} is a trader's folder already", next_step="choose another --home")
    async with open_endpoints(endpoints, finality=Finality.depth(0)) as pool:
        rpc = Rpc(pool)
        chain_id = await rpc.chain_id()
        client = str(await rpc.request("web3_clientVersion"))
    record = deployment or Path("deployments") / f"{chain_id}.json"
    if not record.is_file():
        raise InvalidValueError(
            f"no record of contracts on chain {chain_id} at {record}",
            next_step="run `option-channels deploy` here, or name the record with --deployment",
        )
    public = load_deployment(record).find("TestOracle") is not None
    development = any(name in client.lower() for name in ("anvil", "hardhat"))
    text = _CONFIG.format(
        rpc=", ".join(map(_toml, endpoints)),
        deployment=_toml(str(record.resolve())),
        finality="0" if development else '"finalized"',
        listen=f"listen = {_toml(listen)}" if listen else '# listen = "0.0.0.0:7001"',
        most_deposit=_toml(str(most_deposit)),
        vol=_toml(vol),
        prices="[prices]\ntest = true" if public else '# [prices]\n# attesters = ["https://…"]',
        spots="\n".join(_spot_line(each) for each in spots),
    )
    check_config(text, folder)
    os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
    secret = environment_or_ask(PASSPHRASE_VARIABLE)
    for name in ("signer.json", "wallet.json"):
        create_keystore(folder / name, secret)
    (folder / "config.toml").write_text(text, encoding="utf-8")
    home = read_home(folder)
    told = own_card(home)
    show(
        machine,
        {"home": str(folder), "chain_id": chain_id, "card": str(told)},
        f"{folder} is ready, on chain {chain_id}."
        + (f"\nYour card, for counterparties: {told}" if listen else ""),
    )


def _spot_line(text: str) -> str:
    feed, equals, price = text.partition("=")
    if not equals:
        raise InvalidValueError(f"{text!r} is no price", next_step="write it as ETH-USD=3000")
    return f"{_toml(feed)} = {_toml(price)}"


def _toml(text: str) -> str:
    """A TOML string of this text, whatever is in it. JSON's escapes are all TOML's too.

    Raises:
        InvalidValueError: not text: a file of it could not be read.
    """
    import json

    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(f"{text!r} is not UTF-8") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def own_card(home: Home) -> Card:
    """Our card; reads the addresses from the key files, which needs no passphrase.

    Raises:
        InvalidValueError: the signer is no key file.
        SignerError: one of the files is none.
    """
    from channels.cli.desk.home import Card
    from channels.signers.keystore import read_address

    kind, _, rest = home.signer.partition(":")
    if kind != "keystore":
        raise InvalidValueError(
            "a card can be printed where the signer is a key file",
            next_step="put it together by hand: 0xPARTY:0xSIGNER@HOST:PORT",
        )
    return Card(
        party=read_address(home.wallet),
        signer=read_address(Path(rest)),
        at=home.listen or "nowhere",
    )


@click.command()
@home_option()
@as_json
def card(home: Path, as_json: bool) -> None:
    """Print what a counterparty needs to open a channel with us."""
    run(_card, home, as_json)


async def _card(folder: Path, machine: bool) -> None:
    from channels.cli.desk.home import read_home

    told = own_card(read_home(folder))
    show(machine, {"card": str(told)}, str(told))


@click.command(short_help="Let the contract take up to AMOUNT of our collateral.")
@home_option()
@click.argument("amount", type=click.IntRange(min=1))
@as_json
def fund(home: Path, amount: int, as_json: bool) -> None:
    """Let the contract take up to AMOUNT of our collateral, whole units.

    On a development chain with a test token, makes AMOUNT and the ether for gas out of nothing
    first. On any other, send collateral and ether to the wallet of our card before.
    """
    run(_fund, home, amount, as_json)


async def _fund(folder: Path, amount: int, machine: bool) -> None:
    from channels.chain.contracts import Token
    from channels.chain.rpc import Rpc, RpcRefusedError
    from channels.chain.sending import send_now
    from channels.cli.desk.home import read_home
    from channels.cli.desk.session import Keys, collateral_of
    from channels.errors import InsufficientFundsError
    from channels.protocol.eip712 import checksum

    home = read_home(folder)
    async with Keys.opened(home) as keys, keys.endpoints() as provider:
        rpc = Rpc(provider)
        collateral = await collateral_of(keys.deployment, rpc)
        token = Token(rpc, collateral.token)
        units, account = amount * collateral.unit, keys.wallet
        try:
            await rpc.request("anvil_setBalance", "0x" + account.address.hex(), hex(10**20))
            await send_now(rpc, account, token.mint(account.address, units))
        except RpcRefusedError:
            if await token.balance(account.address) < units:
                raise InsufficientFundsError(
                    f"{checksum(account.address)} has less than {amount} {collateral.symbol}",
                    needed=units,
                    available=await token.balance(account.address),
                ) from None
        await send_now(rpc, account, token.approve(keys.deployment.adjudicator, units))
        has = await token.balance(account.address)
    show(
        machine,
        {"wallet": checksum(account.address), "balance": str(has), "allowed": str(units)},
        f"{checksum(account.address)} has {collateral.show(has)}; "
        f"the contract may take {collateral.show(units)}.",
    )
