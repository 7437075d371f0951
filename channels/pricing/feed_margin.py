"""What the positions of one feed require: scan of the scenarios, and the charges beside it.

All figures are sums of quantity times value, exact in WAD * WAD, seen from party A; a division
rounds up, for what is required rounds up.

Source: design, risk.md "Margin", items 2 to 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from operator import add, mul, neg
from typing import Final

import attrs

from channels.errors import InvalidValueError, PricingDomainError
from channels.pricing.kinds import Kind
from channels.pricing.risk_array import LOSS_DIVISORS, SCENARIOS, Node, SeriesRisk
from channels.pricing.risk_params import RiskParamsLike
from channels.units import WAD

__all__ = [
    "MAX_NODES",
    "MAX_QUANTITY",
    "FeedMargin",
    "FeedRisk",
    "HeldSeries",
    "Scenario",
    "nodes_of",
    "shown",
]

MAX_NODES: Final = 8
"""Strikes near expiry that a feed's scan looks at: those nearest to their forward."""

MAX_QUANTITY: Final = 1 << 112
"""Greatest magnitude of a quantity: with it 128 positions add up within 256 bits, charges too."""

_DIGITALS: Final = (Kind.DIGITAL_CALL, Kind.DIGITAL_PUT)


@attrs.frozen(eq=False)
class HeldSeries:
    """A series and how much of it A holds (+ = A is long), WAD."""

    series: SeriesRisk
    expiry: int
    quantity: int

    @cached_property
    def changes(self) -> tuple[int, ...]:
        """Change of the holding's value to A in each of the `SCENARIOS` of the grid, WAD * WAD.

        Raises:
            PricingDomainError: a scenario moves the forward out of the domain.
        """
        return tuple([self.quantity * change for change in self.series.changes])


@attrs.frozen(kw_only=True)
class Scenario:
    """A scenario by name: on the grid (``node`` None) or one of a node's, by its number there.

    With ``outliving`` only the positions that outlive the look-ahead count.
    """

    number: int
    node: Node | None = None
    outliving: bool = False


_GRID: Final = tuple(Scenario(number=number) for number in range(SCENARIOS))


@attrs.frozen(kw_only=True)
class FeedMargin:
    """What one feed requires of one party, WAD * WAD; ``worst`` is the scenario behind ``scan``.

    ``worst`` is None where no scenario costs the party anything.
    """

    scan: int
    worst: Scenario | None
    calendar: int
    strike: int
    carry: int
    short_minimum: int
    im_factor: int

    @property
    def maintenance(self) -> int:
        """Maintenance margin of the feed, WAD * WAD."""
        return self.scan + self.calendar + self.strike + self.carry + self.short_minimum

    @property
    def initial(self) -> int:
        """Initial margin of the feed, WAD * WAD, rounded up."""
        return _initial(self.maintenance, self.im_factor)


def _initial(maintenance: int, im_factor: int) -> int:
    return divided_up(maintenance * im_factor, WAD)


def check_quantity(quantity: int) -> None:
    """Refuse a quantity whose margin might not fit the contract's integers.

    Raises:
        PricingDomainError: beyond `MAX_QUANTITY`.
    """
    if not -MAX_QUANTITY <= quantity <= MAX_QUANTITY:
        raise PricingDomainError(f"a quantity of {quantity} is beyond 2**112")


def divided_up(value: int, divisor: int) -> int:
    """Return value / divisor, rounded up."""
    return -(-value // divisor)


def _weighed(scenario: Scenario, loss: int) -> int:
    """Return how much of a loss counts."""
    if scenario.node is not None:
        return loss
    return divided_up(loss, LOSS_DIVISORS[scenario.number])


def nodes_of(held: Sequence[HeldSeries], price_range: int) -> tuple[Node, ...]:
    """Return the nodes of a feed: at most `MAX_NODES` strikes, the nearest to their forwards first.

    Options that do not outlive the look-ahead, strictly within the price range of their forward.
    Of one strike in several expiries the nearest to its forward stands for all; of equally near
    strikes the lower comes first.
    """
    nearest: dict[int, tuple[int, int]] = {}  # strike -> distance from the forward, forward
    digitals = set()
    for each in held:
        series = each.series
        if series.outlives or series.kind == Kind.FORWARD:
            continue
        gap = abs(series.strike - series.forward) * WAD
        if gap >= price_range * series.forward:
            continue
        distance = gap // series.forward
        if series.strike not in nearest or distance < nearest[series.strike][0]:
            nearest[series.strike] = (distance, series.forward)
        if series.kind in _DIGITALS:
            digitals.add(series.strike)
    if not nearest:
        return ()
    ranked = sorted((distance, strike) for strike, (distance, _) in nearest.items())
    return tuple(
        Node(strike, nearest[strike][1], strike in digitals) for _, strike in ranked[:MAX_NODES]
    )


def shown(
    held: Sequence[HeldSeries], spot: int, risk: RiskParamsLike, side: int, scenario: Scenario
) -> int:
    """Return what one scenario alone shows to be required of A (+1) or B (-1), WAD * WAD.

    Its weighed loss, at least 0, and the short minimum: never more than `FeedMargin`'s maintenance.
    Nothing else is valued.

    Raises:
        InvalidValueError: the feed has no such scenario.
        PricingDomainError: it moves a forward out of the pricing domain.
    """
    node, number = scenario.node, scenario.number
    known = node is None or node in nodes_of(held, risk.price_range)
    count = SCENARIOS if node is None else len(node.scenarios)
    if not (known and 0 <= number < count):
        raise InvalidValueError(f"no scenario {scenario} here")
    change = sum(
        each.quantity
        * (each.series.change(number) if node is None else each.series.node_change(node, number))
        for each in held
        if each.series.outlives or not scenario.outliving
    )
    short = _short_minimum(_net_quantities(held), spot, risk, side)
    return _weighed(scenario, max(0, -side * change)) + short


def _net_quantities(held: Sequence[HeldSeries]) -> list[int]:
    """Return what A holds net of each kind, over all expiries still to come."""
    net = [0] * len(Kind)
    for each in held:
        series = each.series
        if series.tau > 0:
            net[series.kind] += each.quantity
    return net


def _short_minimum(net: Sequence[int], spot: int, risk: RiskParamsLike, side: int) -> int:
    """Return item 6: options sold net, kind by kind, over all expiries still to come.

    Calls and puts count at the spot, digitals at the 1.0 that they pay, forwards not at all.
    """
    exposure = 0
    for quantity, counts in zip(net, (spot, spot, WAD, WAD, 0), strict=True):
        if side * quantity < 0:
            exposure -= side * quantity * counts
    return divided_up(risk.short_minimum * exposure, WAD)


class FeedRisk:
    """The sums behind a feed's requirement: worked out once, for both parties.

    ``nodes`` are those of the positions given unless others are named.

    Raises:
        PricingDomainError: a scenario moves a forward out of the pricing domain.
    """

    def __init__(
        self,
        held: Sequence[HeldSeries],
        spot: int,
        risk: RiskParamsLike,
        nodes: Sequence[Node] | None = None,
    ) -> None:
        self._risk = risk
        self._spot = spot
        self.nodes = nodes_of(held, risk.price_range) if nodes is None else tuple(nodes)
        at_nodes = sum([len(node.scenarios) for node in self.nodes])
        self._divisors = LOSS_DIVISORS + (1,) * at_nodes
        far = [each for each in held if each.series.outlives]
        outliving = self._changes(far)
        self._totals = [(outliving, False)]  # of everything, unless something does not outlive it
        if len(far) < len(held):
            near = [each for each in held if not each.series.outlives]
            everything = list(map(add, self._changes(near), outliving))
            self._totals = [(everything, False), (outliving, True)]
        self._calendar, self._strike, self._carry = _charges(held, risk)
        self._net = _net_quantities(held)

    def _changes(self, held: Sequence[HeldSeries]) -> list[int]:
        """Change of the holding's value to A in every scenario, of the grid and of the nodes."""
        if not held:
            return [0] * len(self._divisors)
        changes = list(map(sum, zip(*[each.changes for each in held], strict=True)))
        if self.nodes:
            quantities = [each.quantity for each in held]
            for node in self.nodes:
                columns = zip(*[each.series.node_changes(node) for each in held], strict=True)
                changes += [sum(map(mul, quantities, column)) for column in columns]
        return changes

    def margin(self, side: int) -> FeedMargin:
        """Return what the feed requires of A (``side`` +1) or B (-1)."""
        scan, worst = self._scan(side)
        return FeedMargin(
            scan=scan,
            worst=None if worst is None else self._named(*worst),
            calendar=self._calendar,
            strike=self._strike,
            carry=self._carry,
            short_minimum=_short_minimum(self._net, self._spot, self._risk, side),
            im_factor=self._risk.im_factor,
        )

    def required(self, side: int) -> tuple[int, int]:
        """Return (initial, maintenance) of `margin`, both WAD * WAD, and nothing else of it."""
        scan, _ = self._scan(side)
        short_minimum = _short_minimum(self._net, self._spot, self._risk, side)
        maintenance = scan + self._calendar + self._strike + self._carry + short_minimum
        return _initial(maintenance, self._risk.im_factor), maintenance

    def _scan(self, side: int) -> tuple[int, tuple[int, bool] | None]:
        """The greatest weighed loss, at least 0, and where it is the first of its size."""
        least, worst, divisors = 0, None, self._divisors
        for changes, outliving in self._totals:
            gains = changes if side > 0 else map(neg, changes)
            for place, gain in enumerate(gains):
                # A negative gain is rounded down, which rounds the loss up.
                if gain < least and (weighed := gain // divisors[place]) < least:
                    least, worst = weighed, (place, outliving)
        return -least, worst

    def _named(self, place: int, outliving: bool) -> Scenario:
        at_nodes = [
            Scenario(number=number, node=node)
            for node in self.nodes
            for number in range(len(node.scenarios))
        ]
        scenario = (*_GRID, *at_nodes)[place]
        return attrs.evolve(scenario, outliving=True) if outliving else scenario


def _charges(held: Sequence[HeldSeries], risk: RiskParamsLike) -> tuple[int, int, int]:
    """Items 4 and 5: vol risk that offsets between the expiries, and within each; and carry.

    A rise of vol is the first scenario of the grid; each expiry's carry moves by itself.
    """
    vol: dict[int, int] = {}
    carry: dict[int, int] = {}
    gross = 0
    for each in held:
        expiry, change = each.expiry, each.changes[0]
        vol[expiry] = vol.get(expiry, 0) + change
        carry[expiry] = carry.get(expiry, 0) + each.quantity * each.series.carry_change
        gross += abs(change)
    within = sum(map(abs, vol.values()))
    between = within - abs(sum(vol.values()))
    return (
        divided_up(risk.calendar * between, WAD),
        divided_up(risk.strike * (gross - within), WAD),
        sum(map(abs, carry.values())),
    )
