"""Where the demo plays: a chain, contracts, funded parties, a market, and a hand on the clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs

from channels.chain.accounts import LocalAccount
from channels.chain.attestations import Attester, OracleDomain, SettlementPrice, submission
from channels.chain.contracts import Token
from channels.chain.control import AnvilControl, ChainControl
from channels.chain.deploy import Deployment, deploy, send_now
from channels.chain.embedded import EmbeddedChain
from channels.chain.provider import open_provider
from channels.chain.rpc import Provider, Receipt, Rpc
from channels.cli.demo.market import BuiltInMarket, Market, RecordedMarket
from channels.protocol.eip712 import Address
from channels.units import DAY

__all__ = ["DEPOSIT", "UNIT", "Stage", "development_accounts", "load_market", "open_stage"]

UNIT: Final = 10**6
"""Base units of the demo's six-decimal dollar per 1.0 of price."""
DEPOSIT: Final = 50_000 * UNIT

_DEVELOPMENT_MNEMONIC: Final = "test test test test test test test test test test test junk"
_ATTESTERS: Final = 3
_THRESHOLD: Final = 2
_GENESIS: Final = 1_767_225_600


@attrs.frozen(kw_only=True)
class Stage:
    """Everything both parties find when they come on."""

    provider: Provider
    control: ChainControl
    deployment: Deployment
    market: Market
    keeper: LocalAccount
    alice: LocalAccount
    bob: LocalAccount
    attesters: tuple[Attester, ...]

    @property
    def token(self) -> Token:
        """The collateral."""
        return Token(Rpc(self.provider), self.deployment.token)

    async def balances(self, *owners: Address) -> list[int]:
        """Collateral of each owner, base units."""
        return [await self.token.balance(owner) for owner in owners]

    async def fund(self, account: LocalAccount, amount: int) -> None:
        """Mint collateral to ``account``, and let the Adjudicator pull it."""
        rpc = Rpc(self.provider)
        await send_now(rpc, self.keeper, self.token.mint(account.address, amount))
        approve = self.token.approve(self.deployment.adjudicator, amount)
        await send_now(rpc, account, approve)

    async def post_settlement(self, feed: bytes, expiry: int, price: int) -> Receipt:
        """Have the attesters sign the average into ``expiry``, and put it on chain."""
        signed = [
            attester.attest(SettlementPrice(feed=feed, time=expiry, price=price))
            for attester in self.attesters[:_THRESHOLD]
        ]
        intent = submission(self.deployment.oracle, signed)
        return await send_now(Rpc(self.provider), self.keeper, intent)


def load_market(path: Path | None, start: int) -> Market:
    """The recorded market if there is a file, else the built-in one, from ``start`` on."""
    return BuiltInMarket(start) if path is None else RecordedMarket(path, start)


@asynccontextmanager
async def open_stage(market: Path | None, rpc: str | None) -> AsyncIterator[Stage]:
    """Set the stage on an in-process chain, or on a development node at ``rpc``.

    Raises:
        EndpointError: no node there, or one that is no development node.
        InvalidValueError: the market file holds no market.
    """
    if rpc is None:
        recorded = load_market(market, _GENESIS)
        provider = EmbeddedChain(genesis_time=recorded.start - DAY)
        yield await _set(provider, provider, recorded, provider.accounts[:3])
    else:
        async with open_provider(rpc) as remote:
            control = AnvilControl(remote)
            recorded = load_market(market, await control.time() + 3_600)
            yield await _set(remote, control, recorded, development_accounts(3))


async def _set(
    provider: Provider,
    control: ChainControl,
    market: Market,
    accounts: tuple[LocalAccount, ...],
) -> Stage:
    keeper, alice, bob = accounts
    secrets = [bytes([index + 1]) * 32 for index in range(_ATTESTERS)]
    addresses = [LocalAccount(secret).address for secret in secrets]
    deployment = await deploy(provider, keeper, attesters=sorted(addresses), threshold=_THRESHOLD)
    domain = OracleDomain(chain_id=deployment.chain_id, oracle=deployment.oracle)
    stage = Stage(
        provider=provider,
        control=control,
        deployment=deployment,
        market=market,
        keeper=keeper,
        alice=alice,
        bob=bob,
        attesters=tuple(Attester(secret, domain) for secret in secrets),
    )
    for party in (alice, bob):
        await stage.fund(party, DEPOSIT)
    await control.advance_time(to=market.start)
    return stage


def development_accounts(count: int) -> tuple[LocalAccount, ...]:
    """The accounts every development node funds; their keys are public."""
    from eth_account import Account

    Account.enable_unaudited_hdwallet_features()
    return tuple(
        LocalAccount(
            bytes(
                Account.from_mnemonic(
                    _DEVELOPMENT_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}"
                ).key
            )
        )
        for index in range(count)
    )
