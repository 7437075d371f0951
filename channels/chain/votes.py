"""What several endpoints make of each other: who has another chain, and who is ahead of all others.

Both functions are pure: what was asked and answered comes in as values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import attrs

__all__ = ["Verdict", "ahead_of_all", "verdict"]


@attrs.frozen(kw_only=True)
class Verdict:
    """Who was outvoted, and at which block there is more than one; None: all agree."""

    outvoted: frozenset[str] = frozenset()
    disputed: int | None = None


def verdict(votes: Mapping[int, Mapping[str, bytes]]) -> Verdict:
    """Count ``votes``: by block number, the hash that each endpoint tells.

    A tie outvotes nobody. It is a dispute like any other.
    """
    outvoted: set[str] = set()
    disputed: int | None = None
    for number in sorted(votes):
        counted = Counter(votes[number].values()).most_common(2)
        if len(counted) < 2:
            continue
        disputed = number if disputed is None else disputed
        (most, count), (_, next_count) = counted
        if count > next_count:
            outvoted |= {name for name, voted in votes[number].items() if voted != most}
    return Verdict(outvoted=frozenset(outvoted), disputed=disputed)


def ahead_of_all(
    heads: Mapping[str, int], moved_at: Mapping[str, float], *, lag: int, since: float
) -> str | None:
    """Who claims a head that no other comes near, though another's head still moves.

    Args:
        heads: newest block of each endpoint that is believed.
        moved_at: when each last showed a higher one.
        lag: blocks behind from which on one is not near.
        since: who has not moved since then is taken for stuck.

    Of two nobody knows which is wrong: it takes three.
    """
    if len(heads) < 3:
        return None
    first = max(heads, key=lambda name: heads[name])
    others = [name for name in heads if name != first]
    if any(heads[name] >= heads[first] - lag for name in others):
        return None
    return first if any(moved_at[name] > since for name in others) else None
