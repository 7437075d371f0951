"""``option-channels attest``: sign prices for an AttestedOracle, and hand them to whoever asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import click

from channels.cli.desk.options import as_json, run, show
from channels.errors import InvalidValueError, OurError

if TYPE_CHECKING:
    from channels.chain.deployments import DeployedContract, Deployment
    from channels.prices import PriceFeed

__all__ = ["attest"]

_MINUTE: Final = 60
_HOUR: Final = 3_600


@attrs.frozen(kw_only=True)
class _Options:
    deployment: Path
    oracle: str | None
    signer: str
    feeds: tuple[str, ...]
    fixed: tuple[str, ...]
    lines: Path | None
    url: str | None
    path: str
    every: int
    journal: Path
    listen: str


@click.command(short_help="Sign prices as an attester of an AttestedOracle.")
@click.option(
    "--deployment",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The record that `option-channels deploy` wrote.",
)
@click.option("--oracle", metavar="NAME", help="Which AttestedOracle, if there are several.")
@click.option(
    "--signer",
    metavar="ADDRESS",
    required=True,
    help="The attester's key: keystore:…, env:… or pkcs11:….",
)
@click.option("--feed", "feeds", multiple=True, help="A feed to sign; may be given again.")
@click.option(
    "--fixed",
    metavar="FEED=PRICE",
    multiple=True,
    help="A price that never changes, for tests; may be given again.",
)
@click.option(
    "--lines",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of JSON lines to which another program appends prices.",
)
@click.option("--url", help="Where a price is in JSON; {feed} stands for the feed's name.")
@click.option(
    "--path",
    default="price",
    show_default=True,
    help="Where in that JSON: keys and list places joined with dots.",
)
@click.option(
    "--every",
    type=click.IntRange(min=1, max=300),
    default=_MINUTE,
    show_default=True,
    help="Seconds between spots, a divisor of 3600; the same for all attesters of an oracle.",
)
@click.option(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("attester.db"),
    show_default=True,
    help="Where everything signed is kept, so that nothing is signed twice. Never start anew.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:7100",
    show_default=True,
    help="Where those who need prices ask for them.",
)
@as_json
def attest(
    deployment: Path,
    oracle: str | None,
    signer: str,
    feeds: tuple[str, ...],
    fixed: tuple[str, ...],
    lines: Path | None,
    url: str | None,
    path: str,
    every: int,
    journal: Path,
    listen: str,
    as_json: bool,
) -> None:
    """Sign a price feed as an attester of an AttestedOracle, and answer who asks. Until stopped.

    Signs a spot of every feed every minute, and into every full hour the average of the half hour
    before. Nothing goes to the chain from here: whoever needs a price brings it there. Needs the
    extra `tower`.
    """
    run(
        _attest,
        _Options(
            deployment=deployment,
            oracle=oracle,
            signer=signer,
            feeds=feeds,
            fixed=fixed,
            lines=lines,
            url=url,
            path=path,
            every=every,
            journal=journal,
            listen=listen,
        ),
        as_json,
    )


async def _attest(options: _Options, machine: bool) -> None:
    from channels.chain.attestations import OracleDomain
    from channels.chain.deployments import load_deployment
    from channels.chain.tasks import open_tasks
    from channels.prices import AttesterService, PriceJournal
    from channels.protocol.eip712 import checksum
    from channels.protocol.types import feed_id
    from channels.signers import open_signer
    from channels.storage import open_store

    try:
        from channels.prices.serving import serve_attester
    except ImportError as error:
        raise OurError(
            "an attester's endpoint needs starlette and hypercorn",
            next_step="pip install 'option-channels[tower]'",
        ) from error
    if _HOUR % options.every:
        raise InvalidValueError(f"--every {options.every} does not divide an hour")
    if options.signer.lower().startswith(("http:", "https:")):
        raise InvalidValueError(
            "a remote signer signs a channel's structs, and no prices",
            next_step="use keystore:, env: or pkcs11:",
        )
    deployment = load_deployment(options.deployment)
    oracle = _oracle(deployment, options.oracle)
    names = options.feeds or tuple(each.partition("=")[0] for each in options.fixed)
    if not names:
        raise InvalidValueError("there is no feed to sign", next_step="give --feed or --fixed")
    async with (
        open_signer(options.signer) as signer,
        open_store(options.journal) as store,
        _feed(options) as prices,
        open_tasks() as nursery,
    ):
        _check_attester(oracle, checksum(signer.address))
        domain = OracleDomain(chain_id=deployment.chain_id, oracle=oracle.address)
        namespace = (
            f"prices {domain.chain_id} {checksum(oracle.address)} {checksum(signer.address)}"
        )
        journal = PriceJournal(signer, domain, store.records(namespace))
        await journal.start()
        service = AttesterService(
            journal, prices, [feed_id(each) for each in names], every=options.every
        )
        urls = await nursery.start(serve_attester, journal, options.listen)
        show(
            machine,
            {"attester": checksum(signer.address), "feeds": list(names), "urls": list(urls)},
            f"{checksum(signer.address)} attests {', '.join(names)} at {', '.join(urls)}",
        )
        await service.run()


def _oracle(deployment: Deployment, name: str | None) -> DeployedContract:
    found = [
        each
        for each in deployment.contracts
        if each.contract == "AttestedOracle" and name in (None, each.name)
    ]
    if len(found) != 1:
        names = ", ".join(each.name for each in found) or "none"
        raise InvalidValueError(
            f"the record has not one such AttestedOracle, but {names}",
            next_step="name one with --oracle",
        )
    return found[0]


def _check_attester(oracle: DeployedContract, ours: str) -> None:
    attesters = oracle.arguments["attesters"]
    if isinstance(attesters, str) or ours not in list(attesters):  # type: ignore[arg-type]
        raise InvalidValueError(
            f"{ours} is no attester of {oracle.name}: nobody would count what it signs",
            next_step="give the key of one of its attesters",
        )


@asynccontextmanager
async def _feed(options: _Options) -> AsyncIterator[PriceFeed]:
    import httpx

    from channels.prices import FixedFeed, HttpFeed, LinesFeed

    if sum(map(bool, (options.fixed, options.lines, options.url))) != 1:
        raise InvalidValueError("prices come from one place: give --fixed, --lines or --url")
    if options.fixed:
        pairs = (each.partition("=") for each in options.fixed)
        yield FixedFeed({name: price for name, _, price in pairs})
    elif options.lines is not None:
        yield LinesFeed(options.lines)
    elif options.url is not None:
        async with httpx.AsyncClient(timeout=10) as client:
            yield HttpFeed(client, options.url, options.path)
