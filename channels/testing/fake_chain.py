"""A chain in memory: blocks of calls on the model of the contract, finality, reorganisations.

Nothing is encoded and no gas is paid: a block is what the model says after the one before it, the
calls in it, and the events they emitted. One token, with six decimals, and one oracle are on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import trio

from channels.errors import ContractRevertedError, InvalidValueError
from channels.protocol.eip712 import Address, address, keccak, word
from channels.protocol.facts import ChainEvent, Head
from channels.protocol.terms import Domain
from channels.protocol.types import feed_id
from channels.testing.adjudicator import ModelAdjudicator
from channels.testing.oracle import ModelOracle, Status
from channels.testing.token import UNLIMITED, ModelToken
from channels.units import to_wad

__all__ = ["UNIT", "Block", "FakeChain", "FakeTransaction"]

UNIT: Final = 10**6
"""Base units of the fake chain's dollar per 1.0 of price: it has six decimals."""

_GENESIS: Final = 1_767_225_600
"""2026-01-01T00:00:00Z."""

_ADJUDICATOR: Final = address(b"\xad" * 20)
_TOKEN: Final = address(b"\x70" * 20)
_ORACLE: Final = address(b"\x0c" * 20)


class FakeTransaction:
    """Something to be done in a block, and what became of it.

    Attributes:
        block: hash of the block it is in; None while it is in none.
        error: why the contract refused it; None if it did not.
    """

    def __init__(self, act: Callable[[ModelAdjudicator, int], object]) -> None:
        """``act`` does it on the model, in a block of this time, or raises and changes nothing."""
        self.block: bytes | None = None
        self.error: ContractRevertedError | None = None
        self._act = act

    def execute(self, model: ModelAdjudicator, block: bytes, time: int) -> bool:
        """Do it, and tell whether the model took it."""
        try:
            self._act(model, time)
        except ContractRevertedError as error:
            self.error = error
            return False
        self.block, self.error = block, None
        return True


@attrs.frozen(kw_only=True, eq=False)
class Block:
    """A block, and everything on the chain after it."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    state: ModelAdjudicator
    events: tuple[ChainEvent, ...] = ()
    transactions: tuple[FakeTransaction, ...] = ()


class FakeChain:
    """The chain. Its accounts read it and send to it through a `FakeEndpoint` each.

    A transaction is mined at once, unless ``auto_mine`` is False: then with the next block. While
    `run` runs there is a block every ``slot`` seconds of Trio's clock besides. Times are Unix
    seconds of the chain, which go on by a slot a block and otherwise stand still.
    """

    def __init__(
        self,
        *,
        chain_id: int = 1337,
        genesis_time: int = _GENESIS,
        slot: int = 12,
        finality_depth: int = 0,
        auto_mine: bool = True,
    ) -> None:
        """Make a chain on which the contract, the token and the oracle are.

        ``finality_depth`` is how far the newest final block is behind the newest one.
        """
        self.domain = Domain(chain_id=chain_id, adjudicator=_ADJUDICATOR)
        self.slot = slot
        self.finality_depth = finality_depth
        self.auto_mine = auto_mine
        self.changed = trio.Event()
        """Set at the next change; take it before looking."""
        state = ModelAdjudicator(
            self.domain,
            tokens=[ModelToken(_TOKEN, chain_id=chain_id)],
            oracles=[ModelOracle(_ORACLE)],
        )
        self._blocks = [
            Block(
                number=0,
                hash=keccak(word(chain_id)),
                parent_hash=bytes(32),
                timestamp=genesis_time,
                state=state,
            )
        ]
        self._numbers = {self._blocks[0].hash: 0}
        self._final = 0
        self._forks = 0
        self._pool: list[FakeTransaction] = []
        self._followers: list[Callable[[], None]] = []

    # ---- what there is

    @property
    def token(self) -> Address:
        """The token that collateral is paid in: see `UNIT`."""
        return _TOKEN

    @property
    def oracle(self) -> Address:
        """The oracle."""
        return _ORACLE

    @property
    def height(self) -> int:
        """Number of the newest block."""
        return len(self._blocks) - 1

    @property
    def tip(self) -> Block:
        """The newest block."""
        return self._blocks[-1]

    @property
    def head(self) -> Head:
        """The newest block and the newest final one."""
        return self.head_of(self.tip)

    @property
    def state(self) -> ModelAdjudicator:
        """What the contract, the tokens and the oracles hold now. To be looked at only."""
        return self.tip.state

    def clock(self) -> float:
        """Timestamp of the newest block: the clock for whoever trades here."""
        return self.tip.timestamp

    def block(self, number: int) -> Block:
        """The block of this number."""
        return self._blocks[number]

    def has(self, number: int, block_hash: bytes) -> bool:
        """Whether this block is on the chain that counts."""
        return 0 <= number <= self.height and self._blocks[number].hash == block_hash

    def find(self, block_hash: bytes) -> Block | None:
        """The block of this hash; None if it is not on the chain that counts."""
        number = self._numbers.get(block_hash, -1)
        return self._blocks[number] if self.has(number, block_hash) else None

    def head_of(self, block: Block) -> Head:
        """A block as a head, with the newest final one up to it."""
        final = self._blocks[min(self._final, block.number)]
        return Head(
            number=block.number,
            hash=block.hash,
            parent_hash=block.parent_hash,
            timestamp=block.timestamp,
            final_number=final.number,
            final_timestamp=final.timestamp,
        )

    def balance(self, owner: Address) -> int:
        """Base units in a wallet."""
        return self.state.token(_TOKEN).balance(owner)

    @property
    def locked(self) -> int:
        """Base units that the contract holds, claims included."""
        return self.balance(self.domain.adjudicator)

    # ---- what can be done to it

    def fund(self, owner: Address, amount: int) -> None:
        """Mint base units into a wallet, of which the contract may take all."""

        def act(model: ModelAdjudicator, _: int) -> None:
            token = model.token(_TOKEN)
            token.mint(owner, amount)
            token.approve(model.domain.adjudicator, UNLIMITED, sender=owner)

        self.send(FakeTransaction(act))

    def publish_spot(self, feed: str, spot: str | int) -> None:
        """Give the oracle the spot of a feed, as of the block it arrives in."""
        price = int(to_wad(spot))

        def act(model: ModelAdjudicator, now: int) -> None:
            model.oracle(_ORACLE).set_spot(feed_id(feed), price, now)

        self.send(FakeTransaction(act))

    def publish_settlement(
        self, feed: str, time: int, price: str | int, *, status: Status = Status.KNOWN
    ) -> None:
        """Give the oracle the settlement price of a feed at ``time``."""
        wad = int(to_wad(price))

        def act(model: ModelAdjudicator, _: int) -> None:
            model.oracle(_ORACLE).set_price(feed_id(feed), time, wad, status)

        self.send(FakeTransaction(act))

    def refuse_payments(self, payee: Address) -> None:
        """Let the token refuse to pay ``payee`` from now on, as one with a blocklist does."""
        self.send(FakeTransaction(lambda model, _: model.token(_TOKEN).refuse_payments(payee)))

    def send(self, *transactions: FakeTransaction) -> None:
        """Have these mined, in this order: at once, or with the next block."""
        self._pool += transactions
        if self.auto_mine:
            self.mine()

    def mine(self, blocks: int = 1) -> None:
        """Mine blocks, the first with all that waits."""
        for _ in range(blocks):
            self._mine(self.tip.timestamp + self.slot)
        self._announce()

    def advance_time(self, *, to: int | None = None, by: int | None = None) -> None:
        """Mine a block whose timestamp is ``to``, or ``by`` seconds after the newest one's.

        Raises:
            InvalidValueError: not later than the newest block.
        """
        now = self.tip.timestamp
        target = to if to is not None else now + (by or 0)
        if target <= now:
            raise InvalidValueError(f"time only moves forward: {target} is not after {now}")
        self._mine(target)
        self._announce()

    def reorg(self, depth: int, *, keep: bool = True) -> None:
        """Replace the newest ``depth`` blocks by ``depth`` + 1 others, at the same times.

        What they held is in the first new one, or, unless ``keep``, waits for the block after the
        last.

        Raises:
            InvalidValueError: no blocks, or final ones: those stand.
        """
        if not 0 < depth <= self.height - self._final:
            raise InvalidValueError(
                f"cannot replace {depth} blocks: {self.height - self._final} are not final",
                next_step="make the chain with a greater finality_depth",
            )
        dropped, self._blocks = self._blocks[-depth:], self._blocks[:-depth]
        self._forks += 1
        waiting = [each for block in dropped for each in block.transactions]
        for each in waiting:
            each.block = None
        later, self._pool = self._pool, waiting if keep else []
        for block in dropped:
            self._mine(block.timestamp)
        self._mine(self.tip.timestamp + self.slot)
        self._pool += later if keep else waiting + later
        self._announce()

    async def run(self) -> None:
        """Mine a block every slot, until cancelled."""
        while True:
            await trio.sleep(self.slot)
            self.mine()

    # ---- for endpoints

    def follow(self, take_in: Callable[[], None]) -> None:
        """Call ``take_in`` after every change, from now on."""
        self._followers.append(take_in)

    def _mine(self, timestamp: int) -> None:
        parent = self.tip
        number, time = parent.number + 1, max(timestamp, parent.timestamp + 1)
        block_hash = keccak(parent.hash + word(number) + word(time) + word(self._forks))
        state, waiting = parent.state.copy(), self._pool
        self._pool = []
        events: list[ChainEvent] = []
        included: list[FakeTransaction] = []
        for each in waiting:
            if not each.execute(state, block_hash, time):
                continue
            transaction = keccak(block_hash + word(len(included)))
            included.append(each)
            events += (
                attrs.evolve(
                    event,
                    block_number=number,
                    block_hash=block_hash,
                    transaction_hash=transaction,
                    log_index=place,
                )
                for place, event in enumerate(state.take_events(), start=len(events))
            )
        self._blocks.append(
            Block(
                number=number,
                hash=block_hash,
                parent_hash=parent.hash,
                timestamp=time,
                state=state,
                events=tuple(events),
                transactions=tuple(included),
            )
        )
        self._numbers[block_hash] = number
        self._final = max(self._final, number - self.finality_depth)

    def _announce(self) -> None:
        for take_in in self._followers:
            take_in()
        self.changed.set()
        self.changed = trio.Event()
