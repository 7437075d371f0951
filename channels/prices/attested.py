"""Signed prices from attesters' endpoints, checked as the oracle will check them.

Nobody there is believed. What counts is a signature of one of the oracle's attesters over the very
feed and time that was asked for; anything else is left out, and so is who signed two prices for one
time, whom the oracle would drop. An endpoint may pass on what others signed.

Source: design, adjudication.md "Oracles".
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

import attrs
import httpx
import trio

from channels.chain.attestations import (
    Attestation,
    OracleDomain,
    SettlementPrice,
    SpotPrice,
    submission,
)
from channels.chain.jobs import Intent
from channels.chain.oracles import AttestedOracleReader
from channels.chain.rpc import Rpc
from channels.errors import BadSignatureError, EndpointError, InvalidValueError
from channels.foreign_json import parse_json
from channels.prices.offers import Offer, offer_of
from channels.prices.wire import read_attestations
from channels.protocol.eip712 import Address, digest
from channels.protocol.signing import recover
from channels.protocol.types import feed_name

__all__ = ["AttestationSource", "sound_rounds"]

_LOG: Final = logging.getLogger("channels.prices")
_MOST_BYTES: Final = 64 * 1024

Wanted = tuple[type[Any], bytes]
"""Kind and feed that were asked for."""


@attrs.frozen(kw_only=True)
class _Quorum:
    """Whose word an oracle takes, and how many of them it must hear."""

    domain: OracleDomain
    attesters: frozenset[Address]
    threshold: int


class AttestationSource:
    """Prices for AttestedOracles of one chain, from attesters' endpoints.

    Args:
        client: makes the requests; closed by whoever made it.
        endpoints: base URLs, one for each attester; the order means nothing.
        rpc: tells whose word an oracle takes, which never changes.
        patience: seconds that an endpoint has to answer; below the five of the monitor.
        reuse: seconds of chain time for which an answer about spots is given again, as a chain may
            make several blocks a second.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoints: Sequence[str],
        rpc: Rpc,
        *,
        patience: float = 3.0,
        reuse: int = 12,
    ) -> None:
        self._client = client
        self._endpoints = tuple(each.rstrip("/") for each in endpoints)
        self._rpc = rpc
        self._patience = patience
        self._reuse = reuse
        self._quorums: dict[Address, _Quorum] = {}
        self._spots: dict[tuple[Address, bytes], tuple[int, Offer | None]] = {}
        self._settlements: dict[tuple[Address, bytes, int], Intent] = {}

    async def spot(self, oracle: Address, feed: bytes, time: int) -> Offer | None:
        """The newest spot at ``time`` or before that enough attesters signed.

        Raises:
            EndpointError: no attester answers, or the chain does not.
        """
        asked_at, known = self._spots.get((oracle, feed), (0, None))
        if asked_at <= time < asked_at + self._reuse:
            return known
        quorum = await self._quorum(oracle)
        path = f"/v1/spot/{_named(feed)}?before={time}"
        rounds = sound_rounds(
            await self._ask_all(path), quorum.domain, quorum.attesters, (SpotPrice, feed)
        )
        full = [at for at, signed in rounds.items() if at <= time and _fills(signed, quorum)]
        found = offer_of(oracle, rounds[max(full)]) if full else None
        self._spots[oracle, feed] = (time, found)
        return found

    async def settlement(self, oracle: Address, feed: bytes, time: int) -> Intent | None:
        """The submission of the settlement price, once enough attesters signed it.

        The first that is found is given from then on: one transaction for one price. Raises as
        `spot`.
        """
        known = self._settlements.get((oracle, feed, time))
        if known is not None:
            return known
        quorum = await self._quorum(oracle)
        found = sound_rounds(
            await self._ask_all(f"/v1/settlement/{_named(feed)}/{time}"),
            quorum.domain,
            quorum.attesters,
            (SettlementPrice, feed),
        ).get(time, ())
        if not _fills(found, quorum):
            return None
        return self._settlements.setdefault((oracle, feed, time), submission(oracle, found))

    async def _quorum(self, oracle: Address) -> _Quorum:
        if oracle not in self._quorums:
            reader = AttestedOracleReader(self._rpc, oracle)
            self._quorums[oracle] = _Quorum(
                domain=OracleDomain(chain_id=await self._rpc.chain_id(), oracle=oracle),
                attesters=frozenset(await reader.attesters()),
                threshold=await reader.threshold(),
            )
        return self._quorums[oracle]

    async def _ask_all(self, path: str) -> list[Attestation]:
        """What all of them say in time, in the order of the endpoints.

        Raises:
            EndpointError: none of them answers.
        """
        answers: dict[str, tuple[Attestation, ...]] = {}
        troubles: dict[str, str] = {}

        async def ask(endpoint: str) -> None:
            try:
                with trio.fail_after(self._patience):
                    answers[endpoint] = await self._ask(endpoint + path)
            except trio.TooSlowError:
                troubles[endpoint] = f"no answer within {self._patience:g} s"
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                troubles[endpoint] = f"{type(error).__name__}: {error}"

        async with trio.open_nursery() as nursery:
            for each in self._endpoints:
                nursery.start_soon(ask, each)
        for endpoint, trouble in troubles.items():
            _LOG.warning("attester %s: %s", urlsplit(endpoint).netloc, trouble)
        if not answers:
            told = "; ".join(
                f"{urlsplit(endpoint).netloc}: {said}" for endpoint, said in troubles.items()
            )
            raise EndpointError(
                f"no attester answers: {told or 'none is named'}",
                next_step="check attesters under [prices], and that they run",
            )
        return [each for name in self._endpoints for each in answers.get(name, ())]

    async def _ask(self, url: str) -> tuple[Attestation, ...]:
        async with (
            self._client.stream("GET", url) as response,
            aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_bytes())) as chunks,
        ):
            response.raise_for_status()
            raw = b""
            async for chunk in chunks:
                raw += chunk
                if len(raw) > _MOST_BYTES:
                    raise InvalidValueError(f"an answer of over {_MOST_BYTES} bytes")
        return read_attestations(parse_json(raw))


def _named(feed: bytes) -> str:
    return quote(feed_name(feed), safe="")


def _fills(signed: Sequence[Attestation], quorum: _Quorum) -> bool:
    return len(signed) >= quorum.threshold


def sound_rounds(
    attestations: Iterable[Attestation],
    domain: OracleDomain,
    attesters: frozenset[Address],
    wanted: Wanted,
) -> dict[int, tuple[Attestation, ...]]:
    """Of what was told, what the oracle would count: by time, one attestation of each attester.

    Args:
        attestations: as they came.
        domain: of the oracle.
        attesters: whose signatures count.
        wanted: kind and feed; others are left out.
    """
    rounds: dict[int, dict[Address, Attestation]] = defaultdict(dict)
    liars: set[tuple[int, Address]] = set()
    for each in attestations:
        if (type(each.price), each.price.feed) != wanted:
            continue
        try:
            signer = recover(each.signature, digest(domain.separator, each.price.struct_hash))
        except BadSignatureError as error:
            _LOG.warning("an attestation is left out: %s", error)
            continue
        if signer not in attesters:
            _LOG.warning("an attestation is left out: 0x%s is no attester", signer.hex())
            continue
        first = rounds[each.price.time].setdefault(signer, each)
        if first.price != each.price:
            _LOG.warning("0x%s signed two prices for %d", signer.hex(), each.price.time)
            liars.add((each.price.time, signer))
    return {
        time: tuple(each for signer, each in signed.items() if (time, signer) not in liars)
        for time, signed in rounds.items()
    }
