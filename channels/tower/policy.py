"""How a tower works, as values.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

import attrs

from channels.dispute import Pace, Policy
from channels.protocol.eip712 import Address
from channels.tower.intake import IntakePolicy

__all__ = ["TowerPolicy"]


@attrs.frozen(kw_only=True)
class TowerPolicy:
    """How a tower works. ``beat_every``: blocks from one heartbeat to the next.

    Of several towers of one customer each has another ``rank``: it waits ``rank * stagger`` seconds
    of chain time after a filing, a quarter of the window at most, so that one of them pays.
    ``least_reserve``: wei that the gas account should have; below it somebody is told. ``canary``:
    the customer whose channels are there for drills.
    """

    intake: IntakePolicy = attrs.field(factory=IntakePolicy)
    monitor: Policy = attrs.field(factory=Policy)
    pace: Pace = attrs.field(factory=Pace)
    beat_every: int = 5
    rank: int = 0
    stagger: int = 120
    least_reserve: int = 10**17
    canary: Address | None = None
