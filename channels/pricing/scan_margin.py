"""The margin model of a channel: SPAN's scan, closed where it misses, capped where it overreaches.

Source: design, risk.md "Margin"; this project's docs/explanation/pricing.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

import attrs

from channels.errors import InvalidValueError, PricingDomainError
from channels.pricing.feed_margin import (
    FeedMargin,
    FeedRisk,
    HeldSeries,
    Scenario,
    check_quantity,
    divided_up,
    shown,
)
from channels.pricing.losses import BucketLoss, largest_losses
from channels.pricing.margin import Margins
from channels.pricing.portfolio import PositionLike, SpotLike, bucket_name
from channels.pricing.risk_array import PriceMoves, SeriesRisk
from channels.pricing.risk_params import RiskParamsLike, risk_by_feed
from channels.units import WAD

__all__ = ["FeedBook", "PartyMargin", "ScanMargin"]

_SCALE: Final = WAD * WAD
_MAX_VALUE: Final = 1 << 127
_MAX_MARGIN: Final = 2**128 - 1
_MAX_CACHED: Final = 8192

_Marked = tuple[bytes, int, int, int, int, int, int, int]
"""A series and all that it is valued with."""

_Key = TypeVar("_Key")
_Kept = TypeVar("_Kept")


@attrs.frozen(kw_only=True)
class PartyMargin:
    """One party's requirement taken apart: what a trader asks when margin is called.

    ``feeds`` are exact in WAD * WAD, all else is collateral units. ``cap`` is the value of the
    positions plus their largest losses, None if a loss has no bound; the margins are capped by it.
    """

    feeds: dict[bytes, FeedMargin]
    value: int
    cap: int | None
    initial: int
    maintenance: int


@attrs.frozen
class FeedBook:
    """The positions of one feed with their arrays, its spot and its parameters."""

    held: tuple[HeldSeries, ...]
    spot: int
    risk: RiskParamsLike

    @property
    def worth(self) -> int:
        """Value to A, exact in WAD * WAD."""
        return sum([each.quantity * each.series.value for each in self.held])


class ScanMargin:
    """Scenario margin of risk.md: what ``channels`` peers agree on by default.

    A party's maintenance margin is, over its feeds, the worst loss of the scan plus the charges;
    its initial margin that times ``im_factor``; both at most the value of the positions plus their
    largest losses, so a fully paid long and a fully covered short need no more than that. Each is
    rounded up once, to collateral units.

    Positions that have expired by the time of the marks, and wait for their settlement price, count
    at their payoff at the spot, which the scan moves.

    Arrays are kept per series and mark, and multiplied by the quantity held: a further trade at the
    same marks costs one array, and of what it does not touch only the sums.

    Raises:
        InvalidValueError: a parameter out of bounds, or two sets for one feed.
    """

    def __init__(self, risk: Iterable[RiskParamsLike]) -> None:
        self._risk = risk_by_feed(risk)
        self._moves = {
            feed: PriceMoves.of(params.price_range) for feed, params in self._risk.items()
        }
        self._series: dict[_Marked, SeriesRisk] = {}
        self._holdings: dict[tuple[int, _Marked], HeldSeries] = {}

    def requirements(
        self,
        positions: Sequence[PositionLike],
        spots: Sequence[SpotLike],
        marked_at: int,
        unit: int,
    ) -> Margins:
        """Return both parties' margins of these positions at these marks.

        Raises:
            InvalidValueError: a feed without spot or without parameters, or with two spots.
            PricingDomainError: an input out of the pricing domain, or moved out of it.
        """
        books = self.books(positions, spots, marked_at)
        worth, risks, losses = _worth(books), _risks(books), largest_losses(positions, unit)
        value_a, cap = _value_and_cap(losses, 1, worth, unit)
        initial_a, maintenance_a = _required(risks.values(), 1, cap, unit)
        value_b, cap = _value_and_cap(losses, -1, worth, unit)
        initial_b, maintenance_b = _required(risks.values(), -1, cap, unit)
        return Margins(
            initial_a=initial_a,
            initial_b=initial_b,
            maintenance_a=maintenance_a,
            maintenance_b=maintenance_b,
            value_a=value_a,
            value_b=value_b,
        )

    def explain(
        self,
        positions: Sequence[PositionLike],
        spots: Sequence[SpotLike],
        marked_at: int,
        unit: int,
    ) -> tuple[PartyMargin, PartyMargin]:
        """Return the requirements of A and of B, taken apart.

        Raises:
            InvalidValueError: a feed without spot or without parameters, or with two spots.
            PricingDomainError: an input out of the pricing domain, or moved out of it.
        """
        books = self.books(positions, spots, marked_at)
        worth, risks, losses = _worth(books), _risks(books), largest_losses(positions, unit)
        return (
            _party_margin(worth, risks, losses, 1, unit),
            _party_margin(worth, risks, losses, -1, unit),
        )

    def explain_party(
        self,
        positions: Sequence[PositionLike],
        spots: Sequence[SpotLike],
        marked_at: int,
        unit: int,
        *,
        side: int,
    ) -> PartyMargin:
        """Return the requirement of A (``side`` +1) or B (-1) alone: what a margin call looks at.

        Raises:
            InvalidValueError: a feed without spot or without parameters, or with two spots.
            PricingDomainError: an input out of the pricing domain, or moved out of it.
        """
        books = self.books(positions, spots, marked_at)
        losses = largest_losses(positions, unit)
        return _party_margin(_worth(books), _risks(books), losses, side, unit)

    def shown(
        self,
        positions: Sequence[PositionLike],
        spots: Sequence[SpotLike],
        at: int,
        unit: int,
        *,
        side: int,
        scenarios: Mapping[bytes, Scenario],
    ) -> tuple[int, int]:
        """Return (value, maintenance margin) of one party as far as ``scenarios`` show it.

        One scenario a feed: their losses and the short minimum, capped like the whole, so at most
        what `requirements` says. This is how a shortfall is shown on chain for a tenth of the gas.

        Raises:
            InvalidValueError: a feed without spot, parameters or scenario, or no such scenario.
            PricingDomainError: an input out of the pricing domain, or moved out of it by one of
                these scenarios; what the others would do does not matter.
        """
        exact = worth = 0
        for feed, book in self.books(positions, spots, at).items():
            if feed not in scenarios:
                raise InvalidValueError(f"no scenario for feed 0x{feed.hex()}")
            exact += shown(book.held, book.spot, book.risk, side, scenarios[feed])
            worth += book.worth
        value, cap = _value_and_cap(largest_losses(positions, unit), side, worth, unit)
        maintenance = divided_up(exact * unit, _SCALE)
        return value, _capped(maintenance, cap)

    def books(
        self, positions: Sequence[PositionLike], spots: Sequence[SpotLike], at: int
    ) -> dict[bytes, FeedBook]:
        """Return the positions feed by feed with their arrays, in order of first appearance.

        Raises:
            InvalidValueError: a feed without spot or without parameters, or with two spots.
            PricingDomainError: an input out of the pricing domain, or moved out of it.
        """
        prices: dict[bytes, int] = {}
        for spot in spots:
            if spot.feed in prices:
                raise InvalidValueError(f"two spots for feed 0x{spot.feed.hex()}")
            prices[spot.feed] = spot.price
        held: dict[bytes, list[HeldSeries]] = {}
        for position in positions:
            feed = position.feed
            if feed not in held:
                for what, table in (("spot", prices), ("margin parameters", self._risk)):
                    if feed not in table:
                        bucket = bucket_name(feed, position.expiry)
                        raise InvalidValueError(f"no {what} for {bucket}")
                held[feed] = []
            held[feed].append(self._holding(position, prices[feed], at))
        return {
            feed: FeedBook(tuple(each), prices[feed], self._risk[feed])
            for feed, each in held.items()
        }

    def _holding(self, position: PositionLike, spot: int, at: int) -> HeldSeries:
        feed, kind, expiry = position.feed, position.kind, position.expiry
        quantity = position.quantity
        marked = (feed, kind, expiry, position.strike, position.vol, position.carry, spot, at)
        holding = self._holdings.get((quantity, marked))
        if holding is None:
            check_quantity(quantity)
            series = self._series.get(marked)
            if series is None:
                series = SeriesRisk.of(position, spot, at, self._risk[feed], self._moves[feed])
                _keep(self._series, marked, series)
            holding = HeldSeries(series, expiry, quantity)
            _keep(self._holdings, (quantity, marked), holding)
        return holding


def _keep(cache: dict[_Key, _Kept], key: _Key, value: _Kept) -> None:
    """Keep what was worked out; of too much nothing is kept."""
    if len(cache) >= _MAX_CACHED:
        cache.clear()
    cache[key] = value


def _value_and_cap(
    losses: Iterable[BucketLoss], side: int, worth: int, unit: int
) -> tuple[int, int | None]:
    """Return a party's value, rounded down, and its cap, None if a loss has no bound."""
    value = side * worth * unit // _SCALE
    if not -_MAX_VALUE < value < _MAX_VALUE:
        raise PricingDomainError(f"the portfolio's value of {value} does not fit 128 bits")
    most = 0
    for bucket in losses:
        loss = bucket.loss_a if side > 0 else bucket.loss_b
        if loss is None:
            return value, None
        most += loss
    return value, max(0, value + most)


def _capped(margin: int, cap: int | None) -> int:
    if cap is not None:
        margin = min(margin, cap)
    if margin > _MAX_MARGIN:
        raise PricingDomainError("a margin does not fit 128 bits")
    return margin


def _risks(books: Mapping[bytes, FeedBook]) -> dict[bytes, FeedRisk]:
    return {feed: FeedRisk(book.held, book.spot, book.risk) for feed, book in books.items()}


def _worth(books: Mapping[bytes, FeedBook]) -> int:
    return sum([book.worth for book in books.values()])


def _party_margin(
    worth: int,
    risks: Mapping[bytes, FeedRisk],
    losses: Iterable[BucketLoss],
    side: int,
    unit: int,
) -> PartyMargin:
    value, cap = _value_and_cap(losses, side, worth, unit)
    initial, maintenance = _required(risks.values(), side, cap, unit)
    return PartyMargin(
        feeds={feed: risk.margin(side) for feed, risk in risks.items()},
        value=value,
        cap=cap,
        initial=initial,
        maintenance=maintenance,
    )


def _required(risks: Iterable[FeedRisk], side: int, cap: int | None, unit: int) -> tuple[int, int]:
    """Return a party's (initial, maintenance) margin over all feeds, collateral units."""
    initial = maintenance = 0
    for risk in risks:
        feed_initial, feed_maintenance = risk.required(side)
        initial += feed_initial
        maintenance += feed_maintenance
    return (
        _capped(divided_up(initial * unit, _SCALE), cap),
        _capped(divided_up(maintenance * unit, _SCALE), cap),
    )
