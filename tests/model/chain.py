"""The contract of one channel, and blocks that may be replaced until they are final."""

from __future__ import annotations

from typing import Final, NamedTuple

import attrs

from channels.protocol.events import ChainSeen
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.protocol.types import Closing, Party, State
from tests.model.alphabet import TICK
from tests.model.machines import Machines, Numbered
from tests.protocol.build import DEPOSIT, T0

__all__ = ["Block", "Call", "Chain", "Contract"]

_RECORDING: Final = (OnChainPhase.OPEN, OnChainPhase.DISPUTED)


class Call(NamedTuple):
    """A call that may be mined: "record" or "close" of a value, "dispute" on one (-1: none)."""

    kind: str
    value: int
    sender: Party


class Block(NamedTuple):
    """One block; its view by number."""

    number: int
    time: int
    view: int


Chain = tuple[Block, ...]
"""From the newest final block to the head."""


class Contract:
    """What a block makes of a channel's storage, written from adjudication.md."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.views: Numbered[ChannelView] = Numbered()
        self._seen: dict[tuple[Block, Block], ChainSeen] = {}
        first = ChannelView(phase=OnChainPhase.OPEN, contribution_a=DEPOSIT, contribution_b=DEPOSIT)
        self.first: Chain = (Block(1, T0, self.view(first)),)

    def view(self, value: ChannelView) -> int:
        return self.views.number(value, value)

    def head_view(self, chain: Chain) -> ChannelView:
        return self.views[chain[-1].view]

    def seen(self, chain: Chain) -> ChainSeen:
        """What a peer reads at the head of ``chain``."""
        final, head = chain[0], chain[-1]
        if (final, head) not in self._seen:
            self._seen[final, head] = ChainSeen(
                head=Head(
                    number=head.number,
                    hash=bytes(32),
                    parent_hash=bytes(32),
                    timestamp=head.time,
                    final_number=final.number,
                    final_timestamp=final.time,
                ),
                view=self.views[head.view],
                final_view=self.views[final.view],
            )
        return self._seen[final, head]

    def mined(self, chain: Chain, calls: tuple[Call, ...], *, seconds: int = TICK) -> Block | None:
        """The next block, with these calls; None if one of them would change nothing."""
        parent = chain[-1]
        time = parent.time + seconds
        view = self._aged(self.views[parent.view], time)
        for call in calls:
            after = self._apply(view, call, time)
            if after is None or after == view:
                return None
            view = after
        return Block(parent.number + 1, time, self.view(view))

    @staticmethod
    def extended(chain: Chain, block: Block, *, final: bool) -> Chain:
        """``chain`` with one more block; ``final``: the one before it becomes final."""
        return (chain[-1], block) if final else (*chain, block)

    @staticmethod
    def _aged(view: ChannelView, time: int) -> ChannelView:
        if view.phase is OnChainPhase.DISPUTED and time >= view.deadline:
            return attrs.evolve(view, phase=OnChainPhase.RUN_OFF)
        return view

    def _apply(self, view: ChannelView, call: Call, time: int) -> ChannelView | None:
        if call.kind == "close":
            return self._close(view, call, time)
        if view.phase not in _RECORDING:
            return None
        filed = view
        if call.value >= 0:
            state = self.machines.values[call.value]
            assert isinstance(state, State)
            if state.valid_until and time > state.valid_until and state.nonce > view.nonce:
                return None
            if state.nonce > view.nonce:
                filed = attrs.evolve(
                    view, nonce=state.nonce, portfolio_hash=state.portfolio.struct_hash
                )
        if call.kind == "record" or view.phase is OnChainPhase.DISPUTED:
            return filed
        return attrs.evolve(
            filed,
            phase=OnChainPhase.DISPUTED,
            filer=call.sender,
            filed_nonce=filed.nonce,
            deadline=time + self.machines.opening.terms.dispute_window,
        )

    def _close(self, view: ChannelView, call: Call, time: int) -> ChannelView | None:
        closing = self.machines.values[call.value]
        assert isinstance(closing, Closing)
        over = view.phase in (OnChainPhase.CLOSED, OnChainPhase.NONE)
        if over or closing.nonce <= view.nonce or time > closing.valid_until:
            return None
        return ChannelView(phase=OnChainPhase.CLOSED, nonce=closing.nonce)
