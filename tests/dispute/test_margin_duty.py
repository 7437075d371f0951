"""What is decided about margin is what the contract takes, no less and no more."""

from __future__ import annotations

from collections import Counter

import pytest

from channels.dispute import Duty, NeedPrice, NeedSpot, Policy, Submit, WakeAt
from channels.dispute.shortfall import Account
from channels.protocol.calls import CallMargin, CloseOut, Release
from channels.protocol.types import Party, Portfolio
from channels.testing.settling import settle_expired
from tests.dispute.margin_world import ANYBODY, DAY, LATEST, Scene, random_scene, view_of
from tests.testing.values import RISK

FAR = LATEST + 100 * DAY
SIDES: tuple[Party | None, ...] = (Party.A, Party.B, None)


def called(side: Party | None) -> tuple[Party, ...]:
    """Whom a monitor of this side may call."""
    return tuple(Party) if side is None else (side.other,)


def pointless(scene: Scene, party: Party) -> bool:
    """Whether a call could bring nothing: nothing is open, or cash covers the largest loss."""
    done = settle_expired(
        scene.portfolio, scene.terms, scene.oracle, until=scene.now, now=scene.now
    )
    remaining: Portfolio = done.remaining
    account = Account(
        terms=scene.terms,
        view=view_of(scene.record, scene.now),
        risk=RISK,
        portfolio=remaining,
        party=party,
        at=scene.now,
    )
    return not done.open(scene.now) or account.covered


def possible(scene: Scene, party: Party) -> list[type[CallMargin | CloseOut]]:
    """What the contract would take now against ``party``, and that is worth it."""
    found: list[type[CallMargin | CloseOut]] = []
    for kind in (CallMargin, CloseOut):
        whole = kind(terms=scene.terms, risk=RISK, portfolio=scene.portfolio, party=party)
        if scene.refusal(whole) is None:
            found.append(kind)
    return [each for each in found if each is CloseOut or not pointless(scene, party)]


@pytest.mark.parametrize("first", range(0, 900, 300))
def test_whatever_is_submitted_is_taken_and_whatever_would_be_taken_is_submitted(
    first: int,
) -> None:
    seen: Counter[str] = Counter()
    for seed in range(first, first + 300):
        scene = random_scene(seed)
        for side in SIDES:
            submitted = scene.decisions(side)
            for call in submitted:
                assert call.party in called(side)
                assert (refused := scene.refusal(call)) is None, f"seed {seed}: {refused}"
                seen[f"{type(call).__name__} {call.party.name}"] += 1
                seen["named" if call.scenarios else "whole"] += 1
            asked = {(type(each), each.party) for each in submitted}
            for party in called(side):
                for kind in possible(scene, party):
                    assert (kind, party) in asked, f"seed {seed}: {kind.__name__} not made"
    for each in Party:
        assert seen[f"CallMargin {each.name}"] > 10
        assert seen[f"CloseOut {each.name}"] > 5
    assert seen["named"] > 20
    assert seen["whole"] > 0


def test_nothing_becomes_possible_unseen() -> None:
    """Between a look that asks for no other at every head, and its timer, nothing can be done."""
    looked = 0
    for seed in range(900):
        scene = random_scene(seed)
        for side in SIDES:
            actions = scene.decide(side)
            if any(isinstance(each, Submit | NeedPrice | NeedSpot) for each in actions):
                continue
            later = min((each.time for each in actions if isinstance(each, WakeAt)), default=FAR)
            moment, scene.now = scene.now, scene.rng.randrange(scene.now, later)
            scene.tell_everything()
            for party in called(side):
                assert possible(scene, party) == [], f"seed {seed} at {scene.now}"
                looked += scene.now > moment
            scene.now = moment
    assert looked > 200


def test_a_release_is_asked_for_exactly_when_it_pays_enough() -> None:
    made = 0
    for seed in range(500):
        scene = random_scene(seed)
        for side in Party:
            ours = scene.terms.party(side)
            whole = Release(terms=scene.terms, risk=RISK, portfolio=scene.portfolio)
            pays = scene.released(whole, ours)
            worth_it = pays if scene.portfolio.positions else 0
            for least, account in ((1, ours), (pays, ours), (pays + 1, ours), (1, ANYBODY)):
                actions = scene.decide(side, Policy(least_release=least), account)
                asked = [each for each in actions if isinstance(each, Submit)]
                found = [each.call for each in asked if each.duty is Duty.RELEASE]
                wanted = account == ours and worth_it >= max(least, 1)
                assert found == ([whole] if wanted else []), f"seed {seed}, at least {least}"
                made += wanted
            plain = [
                each.duty for each in scene.decide(side, None, ours) if isinstance(each, Submit)
            ]
            assert Duty.RELEASE not in plain
    assert made > 15
