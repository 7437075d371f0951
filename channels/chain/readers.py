"""What the Adjudicator and its RiskEngine say: views, as values.

Source: `contracts/src/interfaces/IAdjudicator.sol`, `contracts/src/risk/IRiskEngine.sol`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from channels.chain.abi import (
    Words,
    encode_arguments,
    encode_array,
    encode_position,
    encode_spot,
    encode_words,
    risk_params_words,
    scenario_words,
    selector,
    terms_words,
)
from channels.chain.bindings import FUNCTIONS, SELECTORS, party_from_chain
from channels.chain.rpc import BlockId, Rpc
from channels.chain.views import read_view
from channels.errors import EndpointError
from channels.pricing import Margins
from channels.protocol.eip712 import Address, signed_word
from channels.protocol.facts import ChannelView, OnChainPhase
from channels.protocol.scenarios import ScenarioIndex
from channels.protocol.terms import RiskParams, Terms
from channels.protocol.types import Party, Position, Spot

__all__ = [
    "RISK_ENGINE_FUNCTIONS",
    "AdjudicatorReader",
    "Assessment",
    "Marks",
    "RiskEngineReader",
]

_SETTLED: Final = 1
_RELEASED_A: Final = 2
_RELEASED_B: Final = 4
_FLAGS: Final = _SETTLED | _RELEASED_A | _RELEASED_B


def phase_of(words: Words) -> OnChainPhase:
    phase = words.unsigned(8)
    if phase >= len(OnChainPhase):
        raise EndpointError(f"{phase} is no phase")
    return OnChainPhase(phase)


class AdjudicatorReader:
    """What the Adjudicator stores, read at a block.

    Every method may raise `channels.errors.EndpointError`.
    """

    def __init__(self, rpc: Rpc, address: Address) -> None:
        self._rpc = rpc
        self.address = address

    async def _read(self, function: str, body: bytes, block: BlockId) -> Words:
        what = FUNCTIONS[function].partition("(")[0]
        return await read_view(self._rpc, self.address, SELECTORS[function] + body, what, block)

    async def view(self, channel_id: bytes, block: BlockId = "latest") -> ChannelView:
        """A channel's storage at ``block``, its phase at that block's time."""
        header = await self._rpc.block(block)
        if header is None:
            raise EndpointError(f"the endpoint has no block {block!r}")
        return await self.view_at(channel_id, header.hash, header.timestamp)

    async def view_at(self, channel_id: bytes, block_hash: bytes, timestamp: int) -> ChannelView:
        """A channel's storage at the block of this hash and time."""
        words = await self._read("channel", channel_id, block_hash)
        phase = phase_of(words)
        nonce, filed_nonce = words.unsigned(64), words.unsigned(64)
        filer = party_from_chain(words.unsigned(8))
        deadline, cure_end_a, cure_end_b = (words.unsigned(32) for _ in range(3))
        flags = words.unsigned(16)
        if flags & ~_FLAGS:
            raise EndpointError(f"flags {flags:#x} have a bit that no channel has")
        if phase is OnChainPhase.DISPUTED and timestamp >= deadline:
            phase = OnChainPhase.RUN_OFF
        return ChannelView(
            phase=phase,
            nonce=nonce,
            filed_nonce=filed_nonce,
            filer=filer,
            deadline=deadline,
            cure_end_a=cure_end_a,
            cure_end_b=cure_end_b,
            settled=bool(flags & _SETTLED),
            released_a=bool(flags & _RELEASED_A),
            released_b=bool(flags & _RELEASED_B),
            portfolio_hash=words.word(),
            contribution_a=words.signed(128),
            contribution_b=words.signed(128),
        )

    async def phase_now(self, channel_id: bytes, block: BlockId = "latest") -> OnChainPhase:
        """A channel's phase as the contract gives it at the time of ``block``.

        An endpoint may answer "latest" at the time of the block to come.
        """
        return phase_of(await self._read("phase_now", channel_id, block))

    async def cash(
        self, channel_id: bytes, net_to_b: int, block: BlockId = "latest"
    ) -> tuple[int, int]:
        """What A and B would be paid under ``net_to_b``: clamped to the pot, base units."""
        words = await self._read("cash", channel_id + signed_word(net_to_b), block)
        return words.unsigned(), words.unsigned()

    async def dispute_count(self, block: BlockId = "latest") -> int:
        """Disputes ever filed with this Adjudicator."""
        return (await self._read("dispute_count", b"", block)).unsigned()

    async def claimable(self, token: Address, payee: Address, block: BlockId = "latest") -> int:
        """Failed payouts of ``token`` that ``payee`` can claim, base units."""
        return (await self._read("claimable", encode_words(token, payee), block)).unsigned()

    async def channel_id(self, terms: Terms) -> bytes:
        """Id of the channel of ``terms``, as the contract computes it."""
        return (await self._read("channel_id", terms_words(terms), "latest")).word()

    async def risk_engine(self) -> Address:
        """The RiskEngine it prices and margins by, fixed at its deployment."""
        return (await self._read("risk_engine", b"", "latest")).address()

    async def deployment_chain_id(self) -> int:
        """Chain id at deployment, which channel ids are made of."""
        return (await self._read("deployment_chain_id", b"", "latest")).unsigned()

    async def domain_separator(self) -> bytes:
        """EIP-712 domain separator, as the contract computes it."""
        return (await self._read("domain_separator", b"", "latest")).word()


RISK_ENGINE_FUNCTIONS: Final = {
    "risk_hash": "riskHash(RiskParams[])",
    "margins": "margins(Position[],Spot[],RiskParams[],uint256,uint256)",
    "assess": "assess(Position[],Spot[],RiskParams[],uint256,uint256,uint256,int256,Scenario[])",
    "close_out_value": "closeOutValue(Position[],Spot[],RiskParams[],uint256,uint256,uint256,"
    "int256)",
    "run_off_lock": "runOffLock(Position[],Spot[],RiskParams[],uint256,uint256,int256)",
}
"""Every function of the RiskEngine, by our name; tests compare with the compiled ABI."""

_RISK_ENGINE_SELECTORS: Final = {
    name: selector(signature) for name, signature in RISK_ENGINE_FUNCTIONS.items()
}


@attrs.frozen(kw_only=True)
class Marks:
    """What the RiskEngine is asked about: positions at spots, under parameters, at ``time``.

    In canonical order all three. ``unit`` is the collateral paid per 1.0 of price.
    """

    positions: tuple[Position, ...]
    spots: tuple[Spot, ...]
    risk: tuple[RiskParams, ...]
    unit: int
    time: int


@attrs.frozen(kw_only=True)
class Assessment:
    """What a margin call weighs, base units: the party is short if cash and value are below."""

    value: int
    maintenance: int


class RiskEngineReader:
    """The contract's pricing and margin arithmetic: what decides, and what Python's must equal.

    Every method may raise `EndpointError`, or `ContractRevertedError` for figures outside the
    engine's domain.
    """

    def __init__(self, rpc: Rpc, address: Address) -> None:
        self._rpc = rpc
        self.address = address

    async def _read(self, function: str, body: bytes) -> Words:
        what = RISK_ENGINE_FUNCTIONS[function].partition("(")[0]
        return await read_view(
            self._rpc, self.address, _RISK_ENGINE_SELECTORS[function] + body, what
        )

    async def _ask(
        self,
        function: str,
        marks: Marks,
        *numbers: bytes | int,
        scenarios: Sequence[ScenarioIndex] | None = None,
    ) -> Words:
        fixed = [0, 0, 0, marks.unit, *numbers]
        tails = {
            0: encode_array(marks.positions, encode_position),
            1: encode_array(marks.spots, encode_spot),
            2: encode_array(marks.risk, risk_params_words),
        }
        if scenarios is not None:
            tails[len(fixed)] = encode_array(scenarios, scenario_words)
            fixed.append(0)
        return await self._read(function, encode_arguments(fixed, tails))

    async def risk_hash(self, risk: Sequence[RiskParams]) -> bytes:
        """The ``risk_hash`` that terms with these parameters have; refused if out of bounds."""
        body = encode_arguments((0,), {0: encode_array(risk, risk_params_words)})
        return (await self._read("risk_hash", body)).word()

    async def margins(self, marks: Marks) -> Margins:
        """Both parties' margins at the vols signed: what a state marked at that time carries."""
        words = await self._ask("margins", marks, marks.time)
        return Margins(
            initial_a=words.unsigned(),
            initial_b=words.unsigned(),
            maintenance_a=words.unsigned(),
            maintenance_b=words.unsigned(),
            value_a=words.signed(256),
            value_b=words.signed(256),
        )

    async def assess(
        self,
        marks: Marks,
        *,
        marked_at: int,
        party: Party,
        scenarios: Sequence[ScenarioIndex] = (),
    ) -> Assessment:
        """Value of the open positions to ``party`` and its maintenance margin, as a call decides.

        Vols are shifted in its favour by the age of the marks. With ``scenarios``, one for each
        feed with open positions, the margin is what these show of it.
        """
        times = (marked_at, marks.time, signed_word(party.sign))
        words = await self._ask("assess", marks, *times, scenarios=scenarios)
        return Assessment(value=words.signed(256), maintenance=words.unsigned())

    async def close_out_value(self, marks: Marks, *, marked_at: int, called: Party | None) -> int:
        """What A receives (+) or pays (-) for the open positions when ``called`` has defaulted.

        Vols are shifted against it; None, that is both were called, leaves them as signed.
        """
        side = signed_word(0 if called is None else called.sign)
        words = await self._ask("close_out_value", marks, marked_at, marks.time, side)
        return words.signed(256)

    async def run_off_lock(self, marks: Marks, *, party: Party) -> int:
        """The cash ``party`` must leave in while its positions run off."""
        words = await self._ask("run_off_lock", marks, marks.time, signed_word(party.sign))
        return words.unsigned()
