"""What a proposer asks of a channel: whether it may begin, and what became of what it began."""

from __future__ import annotations

from collections.abc import Iterator

from channels.protocol.changes import apply
from channels.protocol.channel import Channel, Phase
from channels.protocol.events import Draft
from channels.protocol.ledger import Entry

__all__ = ["changes_nothing", "collided", "may_propose", "proposed_nonce"]


def changes_nothing(channel: Channel, draft: Draft) -> bool:
    """Whether what a draft would make stands already."""
    held = channel.portfolio
    made = apply(draft.change, held, draft.marks, channel.terms.unit, channel.margin_model)
    return made == held


def may_propose(channel: Channel) -> bool:
    """Whether nothing is in flight, or no waiting will help."""
    return channel.phase is Phase.IDLE or channel.phase > Phase.CLOSING


def collided(channel: Channel, nonce: int) -> bool:
    """Whether a proposal of the peer's went before ours, and we declined it."""
    return any(
        each.nonce > nonce and each.declined and not channel.side.leads(each.nonce)
        for each in channel.ledger.entries
    )


def proposed_nonce(channel: Channel) -> int:
    """Nonce of the newest proposal of ours."""
    own: Iterator[Entry] = (
        each for each in channel.ledger.entries if channel.side.leads(each.nonce)
    )
    return max(each.nonce for each in own)
