"""Addresses that follow from code alone: CREATE2 through the deterministic deployment proxy.

The proxy is a contract without an owner at one address on every chain. Its calldata is a salt and
init code; it creates the contract with CREATE2 and returns the address. It gets to its own address
by a transaction that nobody could sign: its signature was made up, the sender follows from that,
and so does the address of what the sender creates first. That transaction carries no chain id, so
it is good on every chain whose nodes take one from before EIP-155.

Source: EIP-1014, https://eips.ethereum.org/EIPS/eip-1014;
https://github.com/Arachnid/deterministic-deployment-proxy
"""

from __future__ import annotations

from typing import Final

from channels.chain.rpc import Rpc
from channels.errors import DeploymentProxyError
from channels.protocol.eip712 import Address, checksum, keccak

__all__ = [
    "PROXY",
    "PROXY_CODE",
    "PROXY_COST",
    "PROXY_SENDER",
    "PROXY_TRANSACTION",
    "create2_address",
    "has_proxy",
]

PROXY: Final = Address(bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c"))
"""The deterministic deployment proxy."""

PROXY_CODE: Final = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    "e03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
)
"""Its code."""

PROXY_SENDER: Final = Address(bytes.fromhex("3fab184622dc19b6109349b94811493bf2a45362"))
"""Who creates it, and can do nothing else: nobody has the key."""

PROXY_COST: Final = 100_000 * 100 * 10**9
"""Wei that the sender must have: gas limit times gas price of the one transaction it can send."""

PROXY_TRANSACTION: Final = (
    bytes.fromhex("f8a58085174876e800830186a08080b853604580600e600039806000f350fe")
    + PROXY_CODE
    + bytes.fromhex(f"1ba0{'22' * 32}a0{'22' * 32}")
)
"""The signed transaction that creates it."""


def create2_address(salt: bytes, init_code: bytes) -> Address:
    """Where the proxy puts the contract that ``init_code`` creates.

    The init code is the creation code followed by the encoded constructor arguments: another
    compiler output or other arguments have another address.
    """
    return Address(keccak(b"\xff" + PROXY + salt + keccak(init_code))[12:])


async def has_proxy(rpc: Rpc) -> bool:
    """Whether the proxy is on this chain.

    Raises:
        DeploymentProxyError: something else stands in its place.
        EndpointError: no answer.
    """
    code = await rpc.code(PROXY)
    if code and code != PROXY_CODE:
        raise DeploymentProxyError(
            f"at {checksum(PROXY)} stands something other than the deployment proxy",
            next_step="check chain and endpoint: no address here is what it would be elsewhere",
        )
    return bool(code)
