"""Reading a contract: one call at one block, its answer as words, its refusal explained."""

from __future__ import annotations

from channels.chain.abi import Words
from channels.chain.reverts import reverts_explained
from channels.chain.rpc import BlockId, Rpc
from channels.protocol.eip712 import Address

__all__ = ["read_view"]


async def read_view(
    rpc: Rpc, address: Address, data: bytes, what: str, block: BlockId = "latest"
) -> Words:
    """What ``address`` answers to the calldata ``data``; ``what`` names the read in errors.

    Raises:
        EndpointError: no answer.
        ContractRevertedError: the contract refuses.
    """
    with reverts_explained(what):
        return Words(await rpc.call(address, data, block=block))
