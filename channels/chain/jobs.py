"""What the transaction manager is asked for, and what it tells of it."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from channels.chain.fees import Bid, Urgency
from channels.errors import ContractRevertedError, TransactionFailedError
from channels.protocol.eip712 import Address

__all__ = [
    "Intent",
    "JobBroadcast",
    "JobFailed",
    "JobFinal",
    "JobMined",
    "JobRearmed",
    "JobStalled",
    "JobStream",
    "JobUpdate",
]


@attrs.frozen(kw_only=True)
class Intent:
    """A transaction as it is wanted, before nonce, fees and signature.

    ``to`` None deploys a contract. ``answer``: what the call returns if it has its effect; None if
    it then just does not revert. ``repeatable``: mined twice it does no more than once, so that a
    failed one is sent again before its failure is final. ``gas`` 0: estimated. ``fee_limit``: the
    most to pay per gas, wei; 0: as the fee policy says.

    ``anyone``: it does not matter which of our accounts sends it. ``urgency``: by when it must be
    mined; None: there is time. ``channel``: whom it is for; all that is sent for one channel may
    cost ``budget`` wei together, 0: no bound but the fee policy.
    """

    name: str
    to: Address | None
    data: bytes = attrs.field(repr=False)
    value: int = 0
    answer: bytes | None = None
    repeatable: bool = True
    gas: int = 0
    fee_limit: int = 0
    anyone: bool = False
    urgency: Urgency | None = None
    channel: bytes = b""
    budget: int = 0


@attrs.frozen(kw_only=True)
class _JobUpdate:
    key: bytes
    name: str


@attrs.frozen(kw_only=True)
class JobBroadcast(_JobUpdate):
    """Signed, stored and sent; again for every replacement. ``filler``: only uses the nonce up."""

    transaction_hash: bytes
    nonce: int
    bid: Bid
    filler: bool = False


@attrs.frozen(kw_only=True)
class JobMined(_JobUpdate):
    """In a block, successfully; a reorganisation may still undo it. Price in wei per gas."""

    transaction_hash: bytes
    block_number: int
    block_hash: bytes
    gas_used: int
    gas_price: int
    contract_address: Address | None = None


@attrs.frozen(kw_only=True)
class JobRearmed(_JobUpdate):
    """Mined before and no longer, or mined and failed: it will be tried again if it can succeed."""

    reason: str


@attrs.frozen(kw_only=True)
class JobStalled(_JobUpdate):
    """It cannot be sent, for instance for want of funds. Tried again at every block.

    ``exhausted``: what it may cost does not buy it a place.
    """

    reason: str
    exhausted: bool = False


@attrs.frozen(kw_only=True)
class JobFinal(_JobUpdate):
    """Mined successfully, and final. The manager sends it never again."""

    transaction_hash: bytes
    block_number: int
    gas_used: int


@attrs.frozen(kw_only=True)
class JobFailed(_JobUpdate):
    """Ended without effect, for good. What it carried is still in its record."""

    error: ContractRevertedError | TransactionFailedError


JobUpdate = JobBroadcast | JobMined | JobRearmed | JobStalled | JobFinal | JobFailed


class JobStream:
    """An async iterator of job updates.

    A reader that falls behind gets the newest update of each job only: memory is bounded by the
    number of jobs.
    """

    def __init__(self, close: Callable[[JobStream], None]) -> None:
        self._waiting: dict[bytes, JobUpdate] = {}
        self._arrived = trio.Event()
        self._close = close

    def __aiter__(self) -> JobStream:
        return self

    async def __anext__(self) -> JobUpdate:
        """The next update; waits for it."""
        while not self._waiting:
            await self._arrived.wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._waiting.pop(next(iter(self._waiting)))

    def put(self, update: JobUpdate) -> None:
        """Add an update, in place of an unread one of the same job."""
        self._waiting.pop(update.key, None)
        self._waiting[update.key] = update
        self._arrived.set()
        self._arrived = trio.Event()

    def __enter__(self) -> JobStream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close(self)
