"""A tower's heartbeats: signed, numbered, and silent while the tower is not sure of itself.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from collections.abc import Callable

from channels.dispute import Alert, AlertCode, Level
from channels.errors import ChainError, OurError
from channels.protocol.facts import Head
from channels.protocol.signing import Signable, Signer
from channels.protocol.watching import Heartbeat
from channels.tower.book import Book
from channels.tower.ports import TowerChain
from channels.tower.signed import SignedHeartbeat
from channels.tower.writes import CountBeat

__all__ = ["Pulse"]


class Pulse:
    """Makes a heartbeat every so many blocks.

    ``beat`` is the newest, None before the first and while the tower is not sure of itself: silence
    is what tells its customers to look elsewhere. ``reserve``: wei the gas account had then.
    """

    def __init__(
        self,
        chain: TowerChain,
        book: Book,
        *,
        signer: Signer,
        every: int,
        alert: Callable[[Alert], None],
    ) -> None:
        self.beat: SignedHeartbeat | None = None
        self.reserve = 0
        self._chain = chain
        self._book = book
        self._signer = signer
        self._every = every
        self._alert = alert
        self._block: int | None = None

    async def at_head(self, head: Head, *, disputes: int, sure: bool) -> None:
        """Beat if it is time, and if the tower is ``sure`` that it has missed nothing.

        ``disputes`` are those ever filed, as it counted them.
        """
        if not sure:
            self.beat = None
            self._block = None
            return
        if self._block is not None and head.number < self._block + self._every:
            return
        self._block = head.number
        try:
            signed = await self._make(head, disputes)
        except (ChainError, OurError) as error:  # the tower defends, heartbeat or not
            text = f"no heartbeat at block {head.number}: {error}"
            self._alert(Alert(level=Level.WARNING, code=AlertCode.CHAIN_TROUBLE, text=text))
            self._block = None
            return
        if self.beat is None or self.beat.heartbeat.sequence < signed.heartbeat.sequence:
            self.beat = signed

    async def _make(self, head: Head, disputes: int) -> SignedHeartbeat:
        self.reserve = await self._chain.gas_balance()
        number = await self._book.write(CountBeat())
        beat = Heartbeat(
            head_number=head.number,
            head_hash=head.hash,
            head_time=head.timestamp,
            final_number=head.final_number,
            dispute_count=disputes,
            store_root=self._book.root,
            channels=self._book.entries,
            gas_reserve=self.reserve,
            sequence=number,
        )
        signature = await self._signer.sign(Signable(self._chain.domain, beat))
        return SignedHeartbeat(heartbeat=beat, signature=signature)
