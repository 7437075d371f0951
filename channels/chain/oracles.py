"""What each kind of oracle has beyond `OracleReader`: its views, and calls that record prices.

Attested prices are brought by `channels.chain.attestations.submission`, last resorts by
`channels.chain.contracts.last_resort`, whatever the oracle. Prices are WAD.

Source: `contracts/src/interfaces/IAttestedOracle.sol`, ``IChainlinkOracle.sol``,
``IFallbackOracle.sol``.
"""

from __future__ import annotations

from typing import Final

import attrs

from channels.chain.abi import Words, encode_arguments, encode_array, encode_words, selector
from channels.chain.contracts import OracleReader
from channels.chain.jobs import Intent
from channels.chain.views import read_view
from channels.protocol.bounds import unsigned
from channels.protocol.eip712 import Address, word

__all__ = [
    "ORACLE_FUNCTIONS",
    "AttestedOracleReader",
    "ChainlinkOracleReader",
    "FallbackOracleReader",
    "FeedSource",
    "LastResort",
    "SettlementRounds",
    "record_known_price",
    "record_settlement",
    "verify_round",
]

ORACLE_FUNCTIONS: Final = {
    "AttestedOracle": {
        "attesters": "attesters()",
        "threshold": "threshold()",
        "challenge_delay": "challengeDelay()",
        "last_resort": "lastResort(bytes32,uint64)",
        "domain_separator": "domainSeparator()",
    },
    "ChainlinkOracle": {
        "record_settlement": "recordSettlement(bytes32,uint64,uint80,uint80[],uint80)",
        "verify_round": "verifyRound(bytes32,uint64,uint80)",
        "source": "source(bytes32)",
        "sequencer_feed": "sequencerFeed()",
        "last_resort": "lastResort(bytes32,uint64)",
    },
    "FallbackOracle": {
        "record": "record(bytes32,uint64)",
        "primary": "primary()",
        "secondary": "secondary()",
        "delay": "delay()",
        "spot_delay": "spotDelay()",
    },
}
"""Functions of each contract beyond those of every oracle; tests find each in the compiled ABI."""


@attrs.frozen(kw_only=True)
class LastResort:
    """The newest price an oracle has verified for a time, and whether it stands as last resort.

    ``observed_at`` 0: none verified. ``final_at`` 0: not recorded as last resort.
    """

    observed_at: int
    price: int
    final_at: int


class _Reader(OracleReader):
    _CONTRACT: str

    async def _ask(self, function: str, body: bytes = b"") -> Words:
        signature = ORACLE_FUNCTIONS[self._CONTRACT][function]
        data = selector(signature) + body
        return await read_view(self._rpc, self.address, data, signature.partition("(")[0])

    async def _last_resort(self, feed: bytes, time: int) -> LastResort:
        words = await self._ask("last_resort", encode_words(feed, time))
        return LastResort(
            observed_at=words.unsigned(64), price=words.unsigned(128), final_at=words.unsigned()
        )


class AttestedOracleReader(_Reader):
    """An oracle by k of n attesters. Methods raise as those of `OracleReader`."""

    _CONTRACT = "AttestedOracle"

    async def attesters(self) -> tuple[Address, ...]:
        """Whose word it takes."""
        words = await self._ask("attesters")
        array = words.at(words.unsigned())
        return tuple(array.address() for _ in range(array.length(1)))

    async def threshold(self) -> int:
        """How many of them must agree to be heard."""
        return (await self._ask("threshold")).unsigned(8)

    async def challenge_delay(self) -> int:
        """Seconds after the last signature needed in which others may still add theirs."""
        return (await self._ask("challenge_delay")).unsigned(32)

    async def last_resort(self, feed: bytes, time: int) -> LastResort:
        """What is recorded as last resort of ``feed`` at ``time``."""
        return await self._last_resort(feed, time)

    async def domain_separator(self) -> bytes:
        """EIP-712 domain separator, as the contract computes it."""
        return (await self._ask("domain_separator")).word()


@attrs.frozen(kw_only=True)
class FeedSource:
    """Where a Chainlink feed comes from: its proxy, and the longest time between rounds, s."""

    proxy: Address
    heartbeat: int


class ChainlinkOracleReader(_Reader):
    """An oracle by the rounds of Chainlink's feeds. Methods raise as those of `OracleReader`."""

    _CONTRACT = "ChainlinkOracle"

    async def source(self, feed: bytes) -> FeedSource | None:
        """Where ``feed`` comes from; None if it is not served."""
        words = await self._ask("source", feed)
        proxy, heartbeat = words.address(), words.unsigned(32)
        return FeedSource(proxy=proxy, heartbeat=heartbeat) if heartbeat else None

    async def sequencer_feed(self) -> Address | None:
        """The uptime feed of an L2's sequencer; None on a chain without one."""
        feed = (await self._ask("sequencer_feed")).address()
        return feed if any(feed) else None

    async def last_resort(self, feed: bytes, time: int) -> LastResort:
        """The newest price verified for ``feed`` at ``time``, last resort or not yet."""
        return await self._last_resort(feed, time)


class FallbackOracleReader(_Reader):
    """A primary oracle with a secondary. Methods raise as those of `OracleReader`."""

    _CONTRACT = "FallbackOracle"

    async def primary(self) -> Address:
        """Who is asked first."""
        return (await self._ask("primary")).address()

    async def secondary(self) -> Address:
        """Who is asked when the primary has nothing."""
        return (await self._ask("secondary")).address()

    async def delay(self) -> int:
        """Seconds after a time from which the secondary's price is taken."""
        return (await self._ask("delay")).unsigned(32)

    async def spot_delay(self) -> int:
        """Age in seconds from which the primary's spot gives way to a newer one."""
        return (await self._ask("spot_delay")).unsigned(32)


@attrs.frozen(kw_only=True)
class SettlementRounds:
    """Chainlink rounds that prove a settlement price; `find_rounds` names them.

    ``first`` was live half an hour before the time; ``older`` were live then in each earlier phase,
    in order, with 0 in the lower 64 bits where the phase had none; ``sequencer_round`` was the
    uptime feed's, 0 without one.
    """

    first: int
    older: tuple[int, ...] = ()
    sequencer_round: int = 0

    def __attrs_post_init__(self) -> None:
        unsigned(80, first=self.first, sequencer_round=self.sequencer_round)
        for each in self.older:
            unsigned(80, older=each)


def record_settlement(oracle: Address, feed: bytes, time: int, rounds: SettlementRounds) -> Intent:
    """Have a ChainlinkOracle compute and record the settlement price of ``feed`` at ``time``."""
    fixed = (feed, time, rounds.first, 0, rounds.sequencer_round)
    body = encode_arguments(fixed, {3: encode_array(rounds.older, word)})
    return _intent("ChainlinkOracle", "record_settlement", oracle, body)


def verify_round(oracle: Address, feed: bytes, time: int, round_id: int) -> Intent:
    """Have a ChainlinkOracle verify a round at or before ``time``, for a last resort."""
    return _intent("ChainlinkOracle", "verify_round", oracle, encode_words(feed, time, round_id))


def record_known_price(oracle: Address, feed: bytes, time: int) -> Intent:
    """Have a FallbackOracle record the settlement price that one of its two sources has."""
    return _intent("FallbackOracle", "record", oracle, encode_words(feed, time))


def _intent(contract: str, function: str, oracle: Address, body: bytes) -> Intent:
    signature = ORACLE_FUNCTIONS[contract][function]
    name = signature.partition("(")[0]
    return Intent(name=name, to=oracle, data=selector(signature) + body)
