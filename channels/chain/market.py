"""What fees are paid now: the base fee of the next block, and the tips of the blocks before it."""

from __future__ import annotations

from statistics import median_low
from typing import Final

import attrs

from channels.chain.fees import TIP_PERCENTILES, FeePolicy, Market
from channels.chain.json_values import mapping, number, sequence
from channels.chain.rpc import Rpc, RpcRefusedError
from channels.errors import EndpointError

__all__ = ["FeeHistory", "read_history", "read_market"]

_BLOCKS: Final = 20


@attrs.frozen(kw_only=True)
class FeeHistory:
    """Fees of the newest blocks, wei per gas.

    ``next_base_fee`` is that of the block to come; ``tips`` of each block that was not empty those
    at `TIP_PERCENTILES`.
    """

    next_base_fee: int
    tips: tuple[tuple[int, int, int], ...]

    @property
    def market(self) -> Market | None:
        """The market it tells of; None if nobody has paid anything lately.

        At each percentile the median over the blocks, so that one odd block moves nothing.
        """
        if not self.tips:
            return None
        half, most, nearly_all = (median_low(each) for each in zip(*self.tips, strict=True))
        return Market(base_fee=self.next_base_fee, tips=(half, most, nearly_all))


async def read_history(rpc: Rpc) -> FeeHistory:
    """Ask for the fees of the newest blocks.

    Raises:
        RpcRefusedError: the endpoint tells no history.
        EndpointError: no answer, or none that is a history.
    """
    raw = mapping(
        await rpc.request("eth_feeHistory", hex(_BLOCKS), "latest", list(TIP_PERCENTILES))
    )
    base_fees, used = sequence(raw.get("baseFeePerGas")), sequence(raw.get("gasUsedRatio"))
    rewards = sequence(raw.get("reward") or [])
    if not base_fees or not all(isinstance(each, int | float) for each in used):
        raise EndpointError("eth_feeHistory was answered with no history")
    tips = []
    for share, reward in zip(used, rewards, strict=False):
        if share > 0:
            if len(sequence(reward)) != len(TIP_PERCENTILES):
                raise EndpointError("eth_feeHistory answered with other percentiles")
            half, most, nearly_all = (number(each) for each in reward)
            tips.append((half, most, nearly_all))
    return FeeHistory(next_base_fee=number(base_fees[-1]), tips=tuple(tips))


async def read_market(rpc: Rpc, policy: FeePolicy, base_fee: int) -> Market:
    """Ask the endpoint what is paid.

    ``base_fee`` is that of the newest block, for endpoints that tell no history: the next one is
    then taken to be as much higher as it can be.

    Raises:
        EndpointError: no answer.
    """
    try:
        history = await read_history(rpc)
    except RpcRefusedError:
        return policy.market(-(-base_fee * 9 // 8), await rpc.priority_fee())
    return history.market or policy.market(history.next_base_fee, await rpc.priority_fee())
