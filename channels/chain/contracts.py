"""Oracles and tokens, as far as channels need them: reads, and intents to transact.

Source: `contracts/src/interfaces/IOracle.sol`; EIP-20.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import attrs

from channels.chain.abi import encode_words, selector
from channels.chain.jobs import Intent
from channels.chain.rpc import BlockId, Rpc
from channels.chain.views import read_view
from channels.errors import EndpointError
from channels.protocol.eip712 import Address

__all__ = ["OracleReader", "PriceStatus", "SettledPrice", "SpotReading", "Token", "last_resort"]

_SPOT: Final = selector("spot(bytes32)")
_SETTLEMENT: Final = selector("settlementPrice(bytes32,uint64)")
_GRACE: Final = selector("grace()")
_LAST_RESORT: Final = selector("recordLastResort(bytes32,uint64)")
_BALANCE: Final = selector("balanceOf(address)")
_ALLOWANCE: Final = selector("allowance(address,address)")
_DECIMALS: Final = selector("decimals()")
_APPROVE: Final = selector("approve(address,uint256)")
_TRANSFER: Final = selector("transfer(address,uint256)")
_MINT: Final = selector("mint(address,uint256)")


class PriceStatus(IntEnum):
    """What an oracle knows of a settlement price."""

    UNSET = 0
    KNOWN = 1
    LAST_RESORT = 2
    NEVER = 3


@attrs.frozen(kw_only=True)
class SpotReading:
    """The newest price of a feed, WAD, and when it was observed."""

    price: int
    observed_at: int


@attrs.frozen(kw_only=True)
class SettledPrice:
    """A settlement price, WAD (0 if there is none), and how well it is known."""

    status: PriceStatus
    price: int


class OracleReader:
    """An oracle's prices, read at a block.

    Every method may raise `EndpointError`, or `ContractRevertedError` if the oracle fails.
    """

    def __init__(self, rpc: Rpc, address: Address) -> None:
        self._rpc = rpc
        self.address = address

    async def spot(self, feed: bytes, block: BlockId = "latest") -> SpotReading | None:
        """The newest price of ``feed``; None if the oracle has none."""
        words = await read_view(self._rpc, self.address, _SPOT + feed, "spot", block)
        price, observed_at = words.unsigned(), words.unsigned()
        return SpotReading(price=price, observed_at=observed_at) if price else None

    async def settlement_price(
        self, feed: bytes, time: int, block: BlockId = "latest"
    ) -> SettledPrice:
        """The settlement price of ``feed`` at ``time``."""
        data = _SETTLEMENT + encode_words(feed, time)
        words = await read_view(self._rpc, self.address, data, "settlementPrice", block)
        status = words.unsigned()
        if status >= len(PriceStatus):
            raise EndpointError(f"{status} is no status of a price")
        return SettledPrice(status=PriceStatus(status), price=words.unsigned())

    async def grace(self) -> int:
        """Seconds after a time from which its last resort may be recorded."""
        return (await read_view(self._rpc, self.address, _GRACE, "grace", "latest")).unsigned(32)


def last_resort(oracle: Address, feed: bytes, time: int) -> Intent:
    """Record the last price verified before ``time``, for want of a settlement price."""
    return Intent(name="recordLastResort", to=oracle, data=_LAST_RESORT + encode_words(feed, time))


class Token:
    """An ERC-20 token. Amounts in its base units.

    Reads may raise `EndpointError`; the others only make intents.
    """

    def __init__(self, rpc: Rpc, address: Address) -> None:
        self._rpc = rpc
        self.address = address

    async def balance(self, owner: Address, block: BlockId = "latest") -> int:
        """What ``owner`` has."""
        data = _BALANCE + encode_words(owner)
        return (await read_view(self._rpc, self.address, data, "balanceOf", block)).unsigned()

    async def allowance(self, owner: Address, spender: Address, block: BlockId = "latest") -> int:
        """What ``spender`` may take of ``owner``'s."""
        data = _ALLOWANCE + encode_words(owner, spender)
        return (await read_view(self._rpc, self.address, data, "allowance", block)).unsigned()

    async def decimals(self) -> int:
        """Decimals the token is shown with."""
        return (await read_view(self._rpc, self.address, _DECIMALS, "decimals", "latest")).unsigned(
            8
        )

    def approve(self, spender: Address, amount: int) -> Intent:
        """Let ``spender`` take up to ``amount`` of the sender's."""
        data = _APPROVE + encode_words(spender, amount)
        return Intent(name="approve", to=self.address, data=data)

    def transfer(self, recipient: Address, amount: int) -> Intent:
        """Send ``amount`` to ``recipient``."""
        data = _TRANSFER + encode_words(recipient, amount)
        return Intent(name="transfer", to=self.address, data=data, repeatable=False)

    def mint(self, recipient: Address, amount: int) -> Intent:
        """Make ``amount`` out of nothing for ``recipient``: only a `TestToken` lets one."""
        data = _MINT + encode_words(recipient, amount)
        return Intent(name="mint", to=self.address, data=data, repeatable=False)
