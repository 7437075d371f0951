"""Chains to deploy to, plans to deploy, and providers that fail on purpose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
from web3.types import RPCEndpoint, RPCResponse

from channels.chain import EmbeddedChain, LocalAccount, open_provider
from channels.chain.plan import PlannedContract, core_contracts, token_contract
from channels.chain.rpc import Provider, Rpc
from channels.errors import EndpointError
from channels.protocol.eip712 import checksum

ATTESTERS = [LocalAccount(bytes([index]) * 32).address for index in (1, 2, 3)]
ANVIL_KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""Of the first account that every development node funds."""
DAY = 86_400


def attested(name: str = "attested", threshold: int = 2, **changes: Any) -> PlannedContract:
    arguments: dict[str, Any] = {
        "attesters": [checksum(each) for each in ATTESTERS],
        "threshold": threshold,
        "challengeDelay": 1_800,
        "grace": 3 * DAY,
    }
    return PlannedContract(name=name, contract="AttestedOracle", arguments={**arguments, **changes})


def full_plan() -> tuple[PlannedContract, ...]:
    """Everything but the Chainlink oracle, which needs feeds."""
    first, second = attested(), attested("second", threshold=1)
    both = PlannedContract(
        name="both",
        contract="FallbackOracle",
        arguments={
            "primary": checksum(first.address),
            "secondary": checksum(second.address),
            "delay": 3_600,
            "spotDelay": 600,
            "grace": 4 * DAY,
        },
    )
    return (*core_contracts(), first, second, both, token_contract())


@attrs.frozen
class Place:
    """A chain without our contracts, and an account with money."""

    rpc: Rpc
    account: LocalAccount


@asynccontextmanager
async def embedded_place(**options: Any) -> AsyncIterator[Place]:
    chain = EmbeddedChain(**options)
    yield Place(Rpc(chain), chain.accounts[0])


@asynccontextmanager
async def anvil_place(url: str) -> AsyncIterator[Place]:
    async with open_provider(url) as provider:
        yield Place(Rpc(provider), LocalAccount(bytes.fromhex(ANVIL_KEY)))


class Interposed:
    """A provider that asks ``instead`` first; what that answers with None goes on to the other."""

    def __init__(
        self, provider: Provider, instead: Callable[[str, Any], RPCResponse | None]
    ) -> None:
        self._provider = provider
        self._instead = instead
        self.sent: list[str] = []

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        answer = self._instead(method, params)
        if answer is not None:
            return answer
        if method == "eth_sendRawTransaction":
            self.sent.append(params[0])
        return await self._provider.make_request(method, params)


def refusal(message: str) -> RPCResponse:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": message}}


def watched(provider: Provider) -> Interposed:
    """Only counts what is sent."""
    return Interposed(provider, lambda _method, _params: None)


def dying(provider: Provider, *, after: int, method: str) -> Interposed:
    """Gone for good at the call of ``method`` that follows ``after`` others."""
    calls = 0

    def instead(asked: str, _params: Any) -> RPCResponse | None:
        nonlocal calls
        calls += asked == method
        if calls > after:
            raise EndpointError("gone")
        return None

    return Interposed(provider, instead)
