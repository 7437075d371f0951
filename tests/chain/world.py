"""A chain with the contracts on it, two funded parties, and states that both signed."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import attrs
import trio

from channels.chain import (
    AnvilControl,
    Attester,
    ChainControl,
    EmbeddedChain,
    EthereumChain,
    Finality,
    LocalAccount,
    MemoryRecordStore,
    OracleDomain,
    RecordStore,
    open_chain,
    open_provider,
)
from channels.chain.contracts import Token
from channels.chain.deploy import Deployment, deploy, send_now
from channels.chain.fees import FeePolicy
from channels.chain.jobs import Intent
from channels.chain.rpc import Provider, Rpc
from channels.protocol.calls import CoSigned, Open
from channels.protocol.eip712 import Address, keccak
from channels.protocol.signing import LocalSigner, Signature
from channels.protocol.terms import (
    Domain,
    Opening,
    RiskParams,
    Signed,
    Terms,
    channel_id,
    hash_risk_params,
)
from channels.protocol.types import Portfolio, Position, Spot, State, feed_id

FEED = feed_id("ETH-USD")
WAD = 10**18
HOUR = 3_600
DAY = 86_400
FUNDS = 10**12
ETHER = 10**18
PATIENCE = 60.0
"""Seconds after which a test is taken to hang; no test is about how long anything takes."""

_numbers = itertools.count(int.from_bytes(os.urandom(6), "big"))


def new_key() -> bytes:
    return keccak(next(_numbers).to_bytes(32, "big"))


class Control(ChainControl, Protocol):
    """Both test chains can also drop blocks."""

    async def rollback(self, depth: int) -> None: ...


@attrs.frozen(kw_only=True)
class World:
    provider: Provider
    control: Control
    deployment: Deployment
    a: LocalAccount
    b: LocalAccount
    signer_a: LocalSigner
    signer_b: LocalSigner
    attesters: tuple[Attester, ...]

    @property
    def rpc(self) -> Rpc:
        return Rpc(self.provider)

    @property
    def domain(self) -> Domain:
        return self.deployment.domain

    @property
    def token(self) -> Token:
        return Token(self.rpc, self.deployment.token)

    def open(
        self,
        account: LocalAccount | Sequence[LocalAccount],
        store: RecordStore | None = None,
        finality: Finality | None = None,
        fees: FeePolicy | None = None,
        provider: Provider | None = None,
    ) -> AbstractAsyncContextManager[EthereumChain]:
        return open_chain(
            provider if provider is not None else self.provider,
            adjudicator=self.deployment.adjudicator,
            account=account,
            store=store if store is not None else MemoryRecordStore(),
            finality=finality if finality is not None else Finality.depth(0),
            poll_interval=0.01,
            fees=fees,
        )

    async def fund(self) -> None:
        """Give both parties collateral, and the Adjudicator leave to take it."""
        for party in (self.a, self.b):
            await send_now(self.rpc, party, self.token.mint(party.address, FUNDS))
            approval = self.token.approve(self.deployment.adjudicator, FUNDS)
            await send_now(self.rpc, party, approval)

    def terms(self, **changes: Any) -> Terms:
        default = Terms(
            party_a=self.a.address,
            party_b=self.b.address,
            signer_a=self.signer_a.address,
            signer_b=self.signer_b.address,
            collateral=self.deployment.token,
            unit=10**6,
            oracle=self.deployment.oracle,
            dispute_window=HOUR,
            cure_window=HOUR,
            settlement_grace=5 * DAY,
            max_price_age=3_900,
            max_mark_age=48 * HOUR,
            max_tenor=400 * DAY,
            max_in_flight=16,
            stale_penalty=5 * 10**6,
            default_penalty_bps=500,
            risk_hash=hash_risk_params([RiskParams(feed=FEED)]),
            salt=new_key(),
        )
        return attrs.evolve(default, **changes)

    async def opening(self, terms: Terms, deposit: int = 100 * 10**6) -> Open:
        now = await self.control.time()
        value = Opening(terms=terms, deposit_a=deposit, deposit_b=deposit, valid_until=now + HOUR)
        digest = self.domain.digest(value)
        return Open(
            opening=value,
            signature_a=self.a.sign_digest(digest).expanded(),
            signature_b=self.b.sign_digest(digest).compact,
        )

    def signatures(
        self, value: Signed, domain: Domain | None = None
    ) -> tuple[Signature, Signature]:
        digest = (domain or self.domain).digest(value)
        return self.signer_a.sign_digest(digest), self.signer_b.sign_digest(digest)

    def cosigned(
        self,
        terms: Terms,
        nonce: int,
        portfolio: Portfolio,
        *,
        valid_until: int = 0,
        domain: Domain | None = None,
    ) -> CoSigned:
        state = State(
            channel_id=channel_id(domain or self.domain, terms),
            nonce=nonce,
            valid_until=valid_until,
            portfolio=portfolio,
        )
        a, b = self.signatures(state, domain)
        return CoSigned(state=state, signature_a=a, signature_b=b)


def option_portfolio(now: int, *, expiry: int, net_to_b: int = 0, size: int = 1) -> Portfolio:
    """A long ``size`` calls struck at 3,000."""
    position = Position(
        feed=FEED,
        kind=0,
        expiry=expiry,
        strike=3_000 * WAD,
        quantity=size * WAD,
        vol=6 * 10**17,
        carry=0,
    )
    return Portfolio(
        net_to_b=net_to_b,
        margin_a=0,
        margin_b=50 * 10**6,
        marked_at=now,
        spots=(Spot(feed=FEED, price=3_000 * WAD),),
        positions=(position,),
    )


async def up_to_date(chain: EthereumChain) -> None:
    """Wait until a client knows the newest block of all: it reads, and simulates, what it knows."""
    tip = await chain.rpc.block()
    assert tip is not None
    with trio.fail_after(PATIENCE):
        await chain.wait_until(tip.timestamp)


async def create(world: World, creation: bytes, arguments: bytes = b"") -> Address:
    """Put a contract on the chain, from A's account."""
    intent = Intent(name="create", to=None, data=creation + arguments)
    receipt = await send_now(world.rpc, world.a, intent)
    assert receipt.contract_address is not None
    return receipt.contract_address


async def build(provider: Provider, control: Control, accounts: list[LocalAccount]) -> World:
    a, b = accounts
    keys = [new_key() for _ in range(3)]
    addresses: list[Address] = [LocalSigner(key).address for key in keys]
    deployment = await deploy(provider, a, attesters=addresses, threshold=2, challenge_delay=60)
    domain = OracleDomain(chain_id=deployment.chain_id, oracle=deployment.oracle)
    world = World(
        provider=provider,
        control=control,
        deployment=deployment,
        a=a,
        b=b,
        signer_a=LocalSigner(new_key()),
        signer_b=LocalSigner(new_key()),
        attesters=tuple(Attester(key, domain) for key in keys),
    )
    await world.fund()
    return world


async def embedded_world(chain_id: int = 1337, **options: Any) -> World:
    chain = EmbeddedChain(chain_id=chain_id, accounts=4, **options)
    return await build(chain, chain, list(chain.accounts[:2]))


@asynccontextmanager
async def anvil_world(url: str) -> AsyncIterator[World]:
    async with open_provider(url) as provider:
        accounts = [LocalAccount(new_key()) for _ in range(2)]
        for account in accounts:
            await Rpc(provider).request(
                "anvil_setBalance", "0x" + account.address.hex(), hex(1_000 * ETHER)
            )
        yield await build(provider, AnvilControl(provider), accounts)
