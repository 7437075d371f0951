"""Checks of the chain: endpoints, clock, contracts, the wallet and what it may spend."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Final

import trio

from channels.chain.contracts import Token
from channels.chain.inspection import verify
from channels.chain.sending import market_bid
from channels.cli.doctor.findings import Finding, error, ok, warning
from channels.cli.doctor.ground import Ground, OnChain
from channels.errors import InvalidValueError, SignerError
from channels.protocol.eip712 import Address, checksum
from channels.signers.keystore import read_address

__all__ = ["check_clock", "check_contracts", "check_endpoints", "check_wallet"]

_OLD: Final = 120
_AHEAD: Final = 15
_DEFENCE_GAS: Final = 1_000_000
"""A checkpoint, and settling 64 positions of two expiries: see the table of gas."""


async def check_endpoints(ground: Ground) -> list[Finding]:
    """Whether each answers, on the right chain, tells what is final, and agrees with others."""
    name, wanted = "endpoints", ground.deployment.chain_id
    await trio.lowlevel.checkpoint()
    found, finals = [], []
    for each in ground.endpoints:
        if each.trouble:
            found.append(
                error(
                    name,
                    f"{each.name} does not answer: {each.trouble}",
                    "start it, or correct rpc in config.toml",
                )
            )
        elif each.chain_id != wanted:
            found.append(
                error(
                    name,
                    f"{each.name} is on chain {each.chain_id}, the contracts on {wanted}",
                    f"put an endpoint of chain {wanted} into rpc in config.toml",
                )
            )
        elif each.final is None:
            found.append(
                error(
                    name,
                    f"{each.name} does not tell which block is final",
                    "set finality in config.toml to a number of blocks, or use another endpoint",
                )
            )
        else:
            head = "?" if each.head is None else each.head.number
            found.append(ok(name, f"{each.name}: head {head}, final {each.final.number}"))
            finals.append(each)
    found += await _disagreement(ground)
    if len(ground.endpoints) == 1:
        found.append(
            warning(
                name,
                "there is one endpoint alone: whoever runs it can hide a dispute",
                "put a second one, of another provider, into rpc in config.toml",
            )
        )
    return found


async def _disagreement(ground: Ground) -> list[Finding]:
    reached = [
        (each.name, each.rpc, each.final)
        for each in ground.endpoints
        if each.rpc is not None
        and each.final is not None
        and each.chain_id == ground.deployment.chain_id
    ]
    if len(reached) < 2:
        return []
    common = min(final.number for _, _, final in reached)
    blocks = {name: await rpc.block(common) for name, rpc, _ in reached}
    hashes = {block.hash for block in blocks.values() if block is not None}
    if len(hashes) < 2:
        return [ok("endpoints", f"they agree on block {common}")]
    return [
        error(
            "endpoints",
            f"{', '.join(blocks)} have different blocks {common}, which should be final",
            "find out which one is wrong and remove it; until then do not trade",
        )
    ]


async def check_clock(ground: Ground) -> list[Finding]:
    """This machine's clock against the newest block."""
    name = "clock"
    await trio.lowlevel.checkpoint()
    if ground.chain is None:
        return []
    age = int(ground.now) - ground.chain.head.timestamp
    if age < -_AHEAD:
        return [
            error(
                name,
                f"the newest block is {-age} s ahead of this machine's clock",
                "set the clock, and keep it set: NTP",
            )
        ]
    if age > _OLD:
        return [
            warning(
                name,
                f"the newest block is {age} s old",
                "see whether the endpoint follows the chain and this machine's clock is right",
            )
        ]
    return [ok(name, f"the newest block is {age} s old")]


async def check_contracts(ground: Ground) -> list[Finding]:
    """Whether what stands on the chain is what the record says and this package ships."""
    name = "contracts"
    if ground.chain is None:
        return []
    different = await verify(ground.chain.rpc, ground.deployment)
    if not different:
        return [ok(name, f"{len(ground.deployment.contracts)} contracts are as recorded")]
    return [
        error(
            name,
            each,
            "do not use it: take the record from whoever deployed, and check chain and endpoint",
        )
        for each in different
    ]


async def check_wallet(ground: Ground) -> list[Finding]:
    """Ether for a defence; collateral, and what the contract may take of it."""
    if ground.chain is None:
        return []
    try:
        owner = read_address(ground.home.wallet)
    except SignerError:
        return []  # told by the check of the keys
    return [
        await _ether(ground.chain, owner),
        *[await _collateral(ground, ground.chain, owner, token) for token in _tokens(ground)],
    ]


async def _ether(chain: OnChain, owner: Address) -> Finding:
    has, bid = await chain.rpc.balance(owner), await market_bid(chain.rpc)
    needs = _DEFENCE_GAS * bid.max_fee
    shown, wanted = (f"{Decimal(each).scaleb(-18):.6f}" for each in (has, needs))
    if has < needs:
        return error(
            "wallet",
            f"{checksum(owner)} has {shown} ether, and a defence may cost {wanted}",
            f"send {checksum(owner)} at least {wanted} ether: without it no dispute is answered",
        )
    return ok("wallet", f"{checksum(owner)} has {shown} ether; a defence may cost {wanted}")


def _largest_call(ground: Ground, token: Address) -> int:
    """What one channel's initial margin comes to, all of it lost overnight: base units."""
    return max(
        (
            each.portfolio.margin(each.side)
            for each in ground.channels
            if each.terms.collateral == token
        ),
        default=0,
    )


def _tokens(ground: Ground) -> list[Address]:
    found = {each.terms.collateral for each in ground.channels}
    with suppress(InvalidValueError):  # without a test token each channel names its own
        found.add(ground.deployment.token)
    return sorted(found)


async def _collateral(ground: Ground, chain: OnChain, owner: Address, where: Address) -> Finding:
    token = Token(chain.rpc, where)
    has = await token.balance(owner)
    allowed = await token.allowance(owner, ground.deployment.adjudicator)
    unit = Decimal(10) ** await token.decimals()
    said = f"{has / unit:,.2f} of collateral {checksum(where)}, {allowed / unit:,.2f} of it allowed"
    if not has or not allowed:
        return warning(
            "wallet",
            f"{checksum(owner)} has {said} to the contract",
            "run `option-channels fund AMOUNT`: no deposit can be made, so no margin call met",
        )
    needs = _largest_call(ground, where)
    if min(has, allowed) < needs:
        return warning(
            "wallet",
            f"{said} to the contract, and a margin call may want {needs / unit:,.2f}",
            "run `option-channels fund AMOUNT`, with as much as you mean to meet calls with",
        )
    return ok("wallet", f"{said} to the contract")
