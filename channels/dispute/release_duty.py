"""Asking for our own release: the cash above the run-off lock, once a party.

Off unless the policy names an amount: there is one release, and only its owner knows for how much
it is worth using up.

Source: design, adjudication.md `release`; risk.md "Run-off lock".
"""

from __future__ import annotations

from collections.abc import Iterator

from channels.dispute.actions import Action, Duty, NeedSpot, Submit, SubmitSpot, WakeAt
from channels.dispute.case import Case
from channels.dispute.shortfall import feeds_of
from channels.errors import InvalidValueError
from channels.pricing import ScanMargin, run_off_lock
from channels.protocol.calls import Release
from channels.protocol.types import Party, Portfolio, Spot

__all__ = ["release"]


def release(case: Case) -> Iterator[Action]:
    """Have our cash above the lock paid, if this account may ask for it and it is enough."""
    side, portfolio, terms = case.watched.side, case.portfolio, case.watched.terms
    if case.policy.least_release is None or side is None or portfolio is None:
        return
    if case.account != terms.party(side) or not case.watched.risk or case.view.released(side):
        return
    if case.margin_times.is_undecided(side, case.time):
        yield WakeAt(time=case.margin_times.lapses(side))
        return
    if not portfolio.positions or any(each.expiry <= case.time for each in portfolio.positions):
        return  # settling comes first, and its event is looked at
    feeds = feeds_of(portfolio)
    yield from (NeedSpot(feed=feed) for feed in feeds)
    facts = case.fresh_spots(feeds)
    if facts is None or len(facts) < len(feeds):
        return
    prices = {feed: fact.price for feed, fact in facts.items()}
    amount = _releasable(case, portfolio, side, prices)
    if amount < max(1, case.policy.least_release):
        return
    offered = [feed for feed, fact in facts.items() if not fact.on_chain]
    if offered:
        yield from (SubmitSpot(feed=feed) for feed in offered)
        return
    yield Submit(
        duty=Duty.RELEASE,
        call=Release(terms=terms, risk=case.watched.risk, portfolio=portfolio),
        key=b"release" + case.watched.channel_id + bytes([side]) + portfolio.struct_hash,
    )


def _releasable(case: Case, portfolio: Portfolio, side: Party, prices: dict[bytes, int]) -> int:
    """Cash above the lock and above a stale penalty still owed; negative if it does not suffice."""
    terms, view = case.watched.terms, case.view
    spots = [Spot(feed=feed, price=price) for feed, price in prices.items()]
    try:
        locked = run_off_lock(
            portfolio.positions,
            spots,
            ScanMargin(case.watched.risk),
            terms.unit,
            at=case.time,
            side=side.sign,
        )
    except InvalidValueError:
        return -1  # the contract refuses it as well
    if side is view.filer and view.nonce - view.filed_nonce > terms.max_in_flight:
        locked += terms.stale_penalty
    return view.cash(side, portfolio.net_to_b) - locked
