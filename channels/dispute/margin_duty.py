"""What a monitor does about margin: call who is short, close out who stays so, warn who is called.

Only while a dispute or its run-off is on the chain. What the contract would refuse at this head is
not asked for. A newer state that can still be recorded goes first: a call on one that is about to
be replaced would stand in the way of the call that is needed.

Source: design, watchtower.md "Engine" (duty MARGIN), adjudication.md "Margin call in full";
docs/decisions/0011-margin-calls-on-chain.md.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from channels.dispute.actions import (
    Action,
    AlertCode,
    Duty,
    Fact,
    Level,
    NeedPrice,
    NeedSpot,
    Submit,
    SubmitPrice,
    SubmitSpot,
    WakeAt,
)
from channels.dispute.case import Case
from channels.dispute.runoff import (
    Bucket,
    PriceFact,
    PriceStatus,
    expired_buckets,
    settled_portfolio,
    settles_from,
)
from channels.dispute.shortfall import Account, SpotFact, feeds_of
from channels.errors import InvalidValueError
from channels.protocol.calls import CallMargin, CloseOut
from channels.protocol.facts import OnChainPhase
from channels.protocol.types import Party, Portfolio

__all__ = ["call_margin", "close_out", "watch_our_call"]


# ---------------------------------------------------------------- the call


def call_margin(case: Case) -> Iterator[Action]:
    """Call whoever of `Case.may_call` is short at the oracle's spot."""
    portfolio = case.portfolio
    if not case.policy.margin or portfolio is None:
        return
    if case.phase is OnChainPhase.DISPUTED and case.acceptable:
        return
    if all(each.expiry <= case.time for each in portfolio.positions):
        return  # settling pays out what is left: a call could add nothing
    if not case.watched.risk:
        yield case.alert(
            Level.WARNING,
            AlertCode.MARGIN_UNWATCHED,
            "nobody here calls margin: hand over the margin parameters agreed at opening",
        )
        return
    oldest = case.margin_times.oldest_marks
    if portfolio.marked_at < oldest:
        yield case.alert(
            Level.WARNING,
            AlertCode.MARGIN_UNWATCHED,
            "margin cannot be called: the marks recorded were too old when the dispute was filed",
            ("marked_at", portfolio.marked_at),
            ("oldest", oldest),
        )
        return
    for party in case.may_call:
        blocker = case.margin_times.in_the_way(party, case.time)
        if blocker is None:
            yield from _call(case, portfolio, party)
        else:
            yield WakeAt(time=case.margin_times.lapses(blocker))


def _call(case: Case, portfolio: Portfolio, party: Party) -> Iterator[Action]:
    remaining = yield from _settled(case, portfolio, case.time)
    if remaining is None:
        return
    account = _account(case, remaining, party, case.time)
    if account.covered:
        return
    facts = yield from _fresh_spots(case, feeds_of(remaining))
    if facts is None:
        return
    try:
        found = account.assess({feed: fact.price for feed, fact in facts.items()})
    except InvalidValueError as error:
        yield _unpriced(case, party, error)
        return
    if not found.short:
        return
    offered = [feed for feed, fact in facts.items() if not fact.on_chain]
    if offered:
        yield from (SubmitSpot(feed=feed) for feed in offered)
        return
    identity, before = case.watched.channel_id, case.view.cure_end(party)
    yield Submit(
        duty=Duty.CALL_MARGIN,
        call=CallMargin(
            terms=case.watched.terms,
            risk=case.watched.risk,
            portfolio=portfolio,
            party=party,
            scenarios=found.scenarios,
        ),
        key=b"call margin" + identity + bytes([party]) + _time(before) + portfolio.struct_hash,
    )


def _fresh_spots(
    case: Case, feeds: tuple[bytes, ...]
) -> Generator[Action, None, dict[bytes, SpotFact] | None]:
    """A spot of each feed that a margin call would take; None while one lacks."""
    yield from (NeedSpot(feed=feed) for feed in feeds)
    facts = case.fresh_spots(feeds)
    if facts is None:
        return None
    for feed in feeds:
        if feed not in facts:
            yield case.alert(
                Level.WARNING,
                AlertCode.SPOT_MISSING,
                "margin cannot be called: the oracle has no fresh spot; submit one",
                ("feed", feed.hex()),
            )
    return facts if len(facts) == len(feeds) else None


# ---------------------------------------------------------------- its decision


def close_out(case: Case) -> Iterator[Action]:
    """End the channel if a party that was called is short at the price of its cure's end."""
    portfolio, times = case.portfolio, case.margin_times
    if not case.policy.margin or portfolio is None or not case.watched.risk:
        return
    for party in case.may_call:
        if not times.is_undecided(party, case.time):
            continue
        decided, start = times.decided_from(party), times.close_out_from(party)
        later = (decided, start, times.lapses(party))
        yield from (WakeAt(time=each) for each in later if each > case.time)
        if case.time >= decided:
            yield from _close_out(case, portfolio, party)


def _close_out(case: Case, portfolio: Portfolio, party: Party) -> Iterator[Action]:
    cure_end = case.view.cure_end(party)
    remaining = yield from _settled(case, portfolio, cure_end)
    if remaining is None:
        return
    prices = yield from _known_prices(case, remaining, party)
    if prices is None or case.time < case.margin_times.close_out_from(party):
        return
    try:
        found = _account(case, remaining, party, cure_end).assess(prices)
    except InvalidValueError as error:
        yield _unpriced(case, party, error)
        return
    if not found.short:
        yield case.alert(
            Level.INFO,
            AlertCode.MARGIN_CURED,
            "the margin call was cured; it stands until it lapses, and the positions run off",
            ("party", party.name),
            ("cure_end", cure_end),
            ("lapses", case.margin_times.lapses(party)),
        )
        return
    identity = case.watched.channel_id
    yield Submit(
        duty=Duty.CLOSE_OUT,
        call=CloseOut(
            terms=case.watched.terms,
            risk=case.watched.risk,
            portfolio=portfolio,
            party=party,
            scenarios=found.scenarios,
        ),
        key=b"close out" + identity + bytes([party]) + _time(cure_end) + portfolio.struct_hash,
    )


def _known_prices(
    case: Case, remaining: Portfolio, party: Party
) -> Generator[Action, None, dict[bytes, int] | None]:
    """The known price of every open feed at the end of the cure; None if there is none yet."""
    cure_end, prices = case.view.cure_end(party), {}
    for feed in feeds_of(remaining):
        bucket = (feed, cure_end)
        fact = case.prices.get(bucket)
        if fact is not None and fact.status is PriceStatus.KNOWN:
            prices[feed] = fact.price
            continue
        yield NeedPrice(bucket=bucket)
        if fact is None:
            continue
        if fact.status is PriceStatus.UNSET:
            yield SubmitPrice(bucket=bucket)
        late = case.time >= case.margin_times.lapses(party) - case.last_part(
            case.watched.terms.settlement_grace
        )
        yield case.alert(
            Level.CRITICAL if late else Level.WARNING,
            AlertCode.PRICE_OVERDUE,
            "no known price at the end of a cure: submit one, or nobody can close out and the "
            "positions run off",
            ("feed", feed.hex()),
            ("cure_end", cure_end),
            ("lapses", case.margin_times.lapses(party)),
        )
    return prices if len(prices) == len(feeds_of(remaining)) else None


# ---------------------------------------------------------------- our own side


def watch_our_call(case: Case) -> Iterator[Action]:
    """Say that our own side was called, and what deposit would cure it at the present spot."""
    side = case.watched.side
    cure_end = 0 if side is None else case.view.cure_end(side)
    if side is None or case.time >= cure_end:
        return
    late = cure_end - case.last_part(case.watched.terms.cure_window)
    yield from (WakeAt(time=each) for each in (late, cure_end) if each > case.time)
    figures = yield from _cure(case, side, cure_end)
    yield case.alert(
        Level.CRITICAL,
        AlertCode.MARGIN_CALLED,
        "our margin was called: deposit before the cure ends, or the channel is closed out"
        if case.time < late
        else "our margin was called and the cure is nearly over: deposit now",
        ("party", side.name),
        ("cure_end", cure_end),
        figures=figures,
    )


def _cure(case: Case, side: Party, cure_end: int) -> Generator[Action, None, tuple[Fact, ...]]:
    """Figures of the cure: as of its end, if every price stayed where it is."""
    newer = case.acceptable if case.phase is OnChainPhase.DISPUTED else ()
    portfolio = case.watched.portfolio_of(newer[0]) if newer else case.portfolio
    if portfolio is None or not case.watched.risk:
        return ()
    feeds = feeds_of(portfolio)
    yield from (NeedSpot(feed=feed) for feed in feeds)
    facts = {feed: case.spots.get(feed) for feed in feeds}
    spots = {feed: fact.price for feed, fact in facts.items() if fact is not None and fact.price}
    if len(spots) < len(feeds):
        return ()
    expired = expired_buckets(portfolio, cure_end)
    prices: dict[Bucket, PriceFact] = {
        each: known
        if (known := case.price(each)).price
        else PriceFact(status=PriceStatus.KNOWN, price=spots[each[0]])
        for each in expired
    }
    remaining = settled_portfolio(portfolio, expired, prices, case.watched.terms.unit)
    open_prices = {feed: spots[feed] for feed in feeds_of(remaining)}
    try:
        found = _account(case, remaining, side, cure_end).assess(open_prices)
    except InvalidValueError:
        return ()
    return (
        ("top_up", found.top_up),
        ("equity", found.equity),
        ("maintenance", found.maintenance),
    )


# ---------------------------------------------------------------- what they share


def _settled(
    case: Case, portfolio: Portfolio, at: int
) -> Generator[Action, None, Portfolio | None]:
    """The portfolio with all that has expired ``at`` a time as cash; None while a price lacks."""
    grace = case.watched.terms.settlement_grace
    buckets = expired_buckets(portfolio, at)
    complete = True
    for each in buckets:
        fact = case.price(each)
        settles = settles_from(fact, each[1], grace)
        if fact.status is PriceStatus.UNSET:
            yield NeedPrice(bucket=each)
        if each in case.prices and fact.status is PriceStatus.UNSET:
            yield SubmitPrice(bucket=each)
        if settles > case.time or each not in case.prices:
            complete = False
        if settles > case.time:
            yield WakeAt(time=settles)
    if not complete:
        return None
    return settled_portfolio(portfolio, buckets, case.prices, case.watched.terms.unit)


def _account(case: Case, remaining: Portfolio, party: Party, at: int) -> Account:
    return Account(
        terms=case.watched.terms,
        view=case.view,
        risk=case.watched.risk,
        portfolio=remaining,
        party=party,
        at=at,
    )


def _unpriced(case: Case, party: Party, error: InvalidValueError) -> Action:
    return case.alert(
        Level.WARNING,
        AlertCode.MARGIN_UNWATCHED,
        f"margin cannot be computed: {error}",
        ("party", party.name),
    )


def _time(time: int) -> bytes:
    return time.to_bytes(8, "big")
