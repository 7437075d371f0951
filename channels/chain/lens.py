"""What to ask before a call: the ChannelLens, as values.

Source: `contracts/src/interfaces/IChannelLens.sol`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from channels.chain.abi import (
    Words,
    encode_arguments,
    encode_array,
    encode_portfolio,
    risk_params_words,
    selector,
    terms_words,
)
from channels.chain.bindings import party_to_chain
from channels.chain.readers import phase_of
from channels.chain.rpc import Rpc
from channels.chain.views import read_view
from channels.protocol.eip712 import Address
from channels.protocol.facts import OnChainPhase
from channels.protocol.terms import RiskParams, Terms
from channels.protocol.types import Party, Portfolio

__all__ = ["LENS_CALLS", "LENS_FUNCTIONS", "Agenda", "LensReader", "Shortfall", "Span", "Standing"]

LENS_FUNCTIONS: Final = {
    "adjudicator": "adjudicator()",
    "agenda": "agenda(Terms)",
    "standing": "standing(Terms,RiskParams[],Portfolio)",
    "shortfall": "shortfall(Terms,RiskParams[],Portfolio,uint8)",
}
"""Every function of the ChannelLens, by our name; tests compare with the compiled ABI."""

_SELECTORS: Final = {name: selector(signature) for name, signature in LENS_FUNCTIONS.items()}

LENS_CALLS: Final = (
    "open",
    "deposit_a",
    "deposit_b",
    "checkpoint",
    "withdraw",
    "dispute",
    "close",
    "settle",
    "call_margin_a",
    "call_margin_b",
    "close_out_a",
    "close_out_b",
    "release_a",
    "release_b",
    "abandon",
)
"""The calls of an agenda, in the order in which the contract tells them."""


@attrs.frozen(kw_only=True)
class Span:
    """The present or next time at which a call is possible: from ``start`` on and before ``end``.

    Unix seconds of the chain; ``end`` None for as long as the channel lasts. Another may follow.
    """

    start: int
    end: int | None


@attrs.frozen(kw_only=True)
class Agenda:
    """What can be called on a channel, and when, if nothing else happens meanwhile.

    ``calls`` holds those of `LENS_CALLS` that are possible at all. What also hangs on signatures,
    prices or portfolios counts as possible.
    """

    phase: OnChainPhase
    calls: dict[str, Span]


@attrs.frozen(kw_only=True)
class Standing:
    """Where both parties stand at the oracle's spot, base units.

    ``net_to_b`` once all that has expired is settled; cash as if the open positions were worth
    nothing; equity is cash, unclamped, and their value at the vols signed.
    """

    net_to_b: int
    cash_a: int
    cash_b: int
    equity_a: int
    equity_b: int
    initial_a: int
    initial_b: int
    maintenance_a: int
    maintenance_b: int


@attrs.frozen(kw_only=True)
class Shortfall:
    """What a margin call would compare, base units; the party is short if equity is below."""

    equity: int
    maintenance: int

    @property
    def short(self) -> bool:
        """Whether a margin call would be taken."""
        return self.equity < self.maintenance


class LensReader:
    """The ChannelLens at ``address``.

    Every method may raise `EndpointError`, or `ContractRevertedError` where the Adjudicator would
    refuse: a price that the oracle does not have, or other parameters than were agreed.
    """

    def __init__(self, rpc: Rpc, address: Address) -> None:
        self._rpc = rpc
        self.address = address

    async def _read(self, function: str, body: bytes = b"") -> Words:
        return await read_view(self._rpc, self.address, _SELECTORS[function] + body, function)

    async def adjudicator(self) -> Address:
        """The Adjudicator it looks at."""
        return (await self._read("adjudicator")).address()

    async def agenda(self, terms: Terms) -> Agenda:
        """What can be called on the channel of ``terms`` and when."""
        words = await self._read("agenda", terms_words(terms))
        phase = phase_of(words)
        spans = {call: (words.unsigned(), words.unsigned()) for call in LENS_CALLS}
        return Agenda(
            phase=phase,
            calls={
                call: Span(start=start, end=end or None)
                for call, (start, end) in spans.items()
                if start
            },
        )

    async def standing(
        self, terms: Terms, risk: Sequence[RiskParams], portfolio: Portfolio
    ) -> Standing:
        """Where both would stand now under ``portfolio``, recorded or not."""
        words = await self._read("standing", _arguments(terms, risk, portfolio))
        return Standing(
            net_to_b=words.signed(256),
            cash_a=words.unsigned(),
            cash_b=words.unsigned(),
            equity_a=words.signed(256),
            equity_b=words.signed(256),
            initial_a=words.unsigned(),
            initial_b=words.unsigned(),
            maintenance_a=words.unsigned(),
            maintenance_b=words.unsigned(),
        )

    async def shortfall(
        self, terms: Terms, risk: Sequence[RiskParams], portfolio: Portfolio, party: Party
    ) -> Shortfall:
        """Equity and the whole maintenance margin of ``party``, vols shifted in its favour."""
        body = _arguments(terms, risk, portfolio, party_to_chain(party))
        words = await self._read("shortfall", body)
        return Shortfall(equity=words.signed(256), maintenance=words.unsigned())


def _arguments(terms: Terms, risk: Sequence[RiskParams], portfolio: Portfolio, *more: int) -> bytes:
    tails = {1: encode_array(risk, risk_params_words), 2: encode_portfolio(portfolio)}
    return encode_arguments((terms_words(terms), 0, 0, *more), tails)
