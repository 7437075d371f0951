"""The calls that judge a party's margin: the call for it, the close-out, the release.

Everything in a close-out is as of the end of the cure, so that nobody gains by choosing a block.
What has expired by the time that counts enters at its settlement price, as cash; the rest is valued
at the oracle's price of that time.

Source: design, adjudication.md "Margin call in full", rules 6 and 7; `IAdjudicator.sol`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from channels.protocol.calls import CallMargin, CloseOut, Release
from channels.protocol.eip712 import Address
from channels.protocol.facts import ClosedOut, MarginCalled, OnChainPhase, Released
from channels.protocol.terms import Terms
from channels.protocol.types import Party
from channels.testing.book import Book, check_risk
from channels.testing.record import moved
from channels.testing.refusals import Refusals
from channels.testing.settling import Settlement, settle_expired
from channels.testing.storage import Storage, check_time
from channels.units import HOUR

__all__ = ["MarginCalls"]

_BPS: Final = 10_000


class MarginCalls(Storage):
    """Calls on what a party's margin is now, or was when its cure ended."""

    def call_margin(self, call: CallMargin, *, now: int) -> int:
        """Call a party for margin and return the end of its cure.

        Raises:
            RefusedError: the contract would revert.
        """
        refusals, terms, called = Refusals(), call.terms, call.party
        record = self.channel(terms)
        self._check_phase(refusals, terms, now, OnChainPhase.DISPUTED, OnChainPhase.RUN_OFF)
        self._check_portfolio(refusals, terms, call.portfolio)
        check_risk(refusals, call.risk, terms)
        self._check_no_call(refusals, terms, called, now)
        if record.called_together(terms):
            self._check_no_call(refusals, terms, called.other, now)
        oldest = record.deadline - terms.dispute_window - terms.max_mark_age
        marked_at = call.portfolio.marked_at
        refusals.when(marked_at < oldest, "MarksTooOld", markedAt=marked_at, oldest=oldest)
        cure_end = -(-(now + terms.cure_window) // HOUR) * HOUR
        refusals.stop()

        done = self._settled(refusals, call, at=now, now=now)
        book = _book(refusals, call, done, self._spots(terms, now), at=now)
        cash = record.equity(called, done.remaining.net_to_b)
        check_time(refusals, cure_end)
        equity, maintenance = book.shortfall(refusals, cash, called, call.scenarios)
        self._show(call.portfolio)
        cure_ends = {**dict(zip(Party, record.cure_ends, strict=True)), called: cure_end}
        self._store(terms, attrs.evolve(record, cure_ends=(cure_ends[Party.A], cure_ends[Party.B])))
        self._emit_of(
            MarginCalled,
            terms,
            party=called,
            cure_end=cure_end,
            equity=equity,
            maintenance=maintenance,
        )
        return cure_end

    def close_out(self, call: CloseOut, *, now: int) -> None:
        """End the channel: the called party was still short when its cure ended.

        Raises:
            RefusedError: the contract would revert.
        """
        refusals, terms, called = Refusals(), call.terms, call.party
        record = self.channel(terms)
        self._check_phase(refusals, terms, now, OnChainPhase.RUN_OFF)
        self._check_portfolio(refusals, terms, call.portfolio)
        check_risk(refusals, call.risk, terms)
        undecided = record.is_undecided(called, terms, now)
        refusals.when(not undecided, "NoCall", party=called)
        cure_end, starts = record.cure_ends[called], record.close_out_from(called, terms)
        refusals.when(undecided and now < starts, "TooEarlyToCloseOut", **{"from": starts})
        refusals.stop()

        done = self._settled(refusals, call, at=cure_end, now=now)
        prices = self._prices(terms, cure_end)
        book = _book(refusals, call, done, prices, at=cure_end)
        net = done.remaining.net_to_b
        book.shortfall(refusals, record.equity(called, net), called, call.scenarios)
        both = record.called_together(terms)
        value, penalty = book.value_to_a(None if both else called), 0
        cash = record.cash(net - value)
        if not both:
            owed = call.portfolio.margin(called) * terms.default_penalty_bps // _BPS
            penalty = min(owed, cash[called])
            cash = moved(cash, called, penalty)
        self._emit_of(ClosedOut, terms, party=called, value=value, penalty=penalty)
        self._end(terms, record.after_stale_penalty(cash, terms))

    def release(self, call: Release, *, sender: Address, now: int) -> int:
        """Pay the sending party its cash above the run-off lock, once, and return how much.

        Raises:
            RefusedError: the contract would revert.
        """
        refusals, terms, record = Refusals(), call.terms, self.channel(call.terms)
        sides = {terms.party(each): each for each in Party}
        refusals.when(sender not in sides, "NotAParty", caller=sender)
        party = sides.get(sender, Party.A)
        self._check_phase(refusals, terms, now, OnChainPhase.RUN_OFF)
        self._check_portfolio(refusals, terms, call.portfolio)
        check_risk(refusals, call.risk, terms)
        refusals.when(party in record.released, "AlreadyReleased", party=party)
        self._check_no_call(refusals, terms, party, now)
        refusals.stop()

        for each in call.portfolio.positions:
            unsettled = each.expiry <= now
            refusals.when(unsettled, "NotSettled", feed=each.feed, expiry=each.expiry)
        done = Settlement(call.portfolio, 0)
        book = _book(refusals, call, done, self._spots(terms, now), at=now)
        cash = record.cash(done.remaining.net_to_b)[party]
        locked = book.lock(party)
        if party is record.filer:
            locked += record.stale_penalty(terms)
        refusals.when(cash <= locked, "NothingToRelease", cash=cash, locked=locked)
        amounts = tuple((cash - locked) * (each is party) for each in Party)
        paid = record.with_money(-amounts[0], -amounts[1])
        refusals.when(not paid.fits, "PotTooLarge")
        refusals.stop()
        self._show(call.portfolio)
        self._store(terms, attrs.evolve(paid, released=record.released | {party}))
        self._emit_of(Released, terms, party=party, amount=cash - locked)
        self._pay(terms, (amounts[0], amounts[1]))
        return cash - locked

    # ---- what they share

    def _check_no_call(self, refusals: Refusals, terms: Terms, party: Party, now: int) -> None:
        record = self.channel(terms)
        undecided = record.is_undecided(party, terms, now)
        refusals.when(undecided, "CallUndecided", party=party, cureEnd=record.cure_ends[party])

    def _settled(
        self,
        refusals: Refusals,
        call: CallMargin | CloseOut,
        *,
        at: int,
        now: int,
    ) -> Settlement:
        """The portfolio with what has expired by ``at`` as cash; a lack of prices is noted."""
        terms = call.terms
        oracle = self._oracles[terms.oracle]
        done = settle_expired(call.portfolio, terms, oracle, until=at, now=now)
        for each in done.expired(at):
            refusals.when(True, "PriceUnknown", feed=each.feed, time=each.expiry)
        return done

    def _spots(self, terms: Terms, now: int) -> Callable[[Refusals, bytes], int | None]:
        oracle = self._oracles[terms.oracle]

        def spot(refusals: Refusals, feed: bytes) -> int | None:
            price = oracle.spot(feed, max_age=terms.max_price_age, now=now)
            refusals.when(price is None, "SpotTooOld", feed=feed)
            return price

        return spot

    def _prices(self, terms: Terms, time: int) -> Callable[[Refusals, bytes], int | None]:
        oracle = self._oracles[terms.oracle]

        def price(refusals: Refusals, feed: bytes) -> int | None:
            price = oracle.known_price(feed, time)
            refusals.when(price is None, "PriceUnknown", feed=feed, time=time)
            return price

        return price


def _book(
    refusals: Refusals,
    call: CallMargin | CloseOut | Release,
    done: Settlement,
    price_of: Callable[[Refusals, bytes], int | None],
    *,
    at: int,
) -> Book:
    """The positions open ``at`` that time with the oracle's prices.

    Raises:
        RefusedError: a feed without price or parameters, or a reason found before.
    """
    positions = done.open(at)
    prices = {feed: price_of(refusals, feed) for feed in {each.feed: None for each in positions}}
    for feed in prices:
        refusals.when(feed not in {each.feed for each in call.risk}, "NoRiskParams", feed=feed)
    refusals.stop()
    return Book(
        positions=positions,
        prices={feed: price for feed, price in prices.items() if price is not None},
        risk=call.risk,
        unit=call.terms.unit,
        marked_at=done.remaining.marked_at,
        at=at,
    )
