"""The margin of risk.md once more, in floats and from the textbook formula: nothing is shared.

Figures are in units of price, seen from one party. Written for clarity and for no other purpose.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from channels.units import DAY, WAD, YEAR

from .values import BTC, ETH, At, Held, Risk

NOW = 1_772_000_000
JUST_BELOW = 1 - 1e-13
CALL, PUT, DIGITAL_CALL, DIGITAL_PUT, FORWARD = range(5)


def black(kind: int, forward: float, strike: float, vol: float, tau: float) -> float:
    """Textbook Black-76, undiscounted; at zero variance the payoff at the forward."""
    s = vol * math.sqrt(max(tau, 0) / YEAR)
    if kind == FORWARD:
        return forward - strike
    if s == 0:
        up = forward >= strike
        payoffs = (max(forward - strike, 0), max(strike - forward, 0), float(up), float(not up))
        return payoffs[kind]
    d1 = math.log(forward / strike) / s + s / 2
    d2 = d1 - s

    def normal(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    return (
        forward * normal(d1) - strike * normal(d2),
        strike * normal(-d2) - forward * normal(-d1),
        normal(d2),
        normal(-d2),
    )[kind]


class Line:
    """A position in floats, seen from the party with this sign."""

    def __init__(self, position: Held, spot: float, at: int, sign: int) -> None:
        self.kind, self.expiry = position.kind, position.expiry
        self.strike, self.vol = position.strike / WAD, position.vol / WAD
        self.quantity = sign * position.quantity / WAD
        self.tau = max(position.expiry - at, 0)
        self.forward = spot * math.exp(position.carry / WAD * self.tau / YEAR)
        self.month = math.sqrt(30 * DAY / max(self.tau, DAY))
        self.now = self.price(self.forward, self.vol, self.tau)

    def price(self, forward: float, vol: float, tau: float) -> float:
        return black(self.kind, forward, self.strike, vol, tau)

    def gain(self, forward: float, vol: float, tau: float) -> float:
        return self.quantity * (self.price(forward, vol, tau) - self.now)


Move = Callable[[Line], float]
Gain = Callable[[Line, float], float]


def feed_margin(lines: Sequence[Line], spot: float, risk: Risk) -> float:
    """Items 2 to 6 for the positions of one feed."""
    reach = risk.price_range / WAD
    look_ahead = risk.look_ahead

    def up(line: Line, forward: float) -> float:
        vol = min(line.vol * (1 + risk.vol_up / WAD * line.month), 100)
        return line.gain(forward, vol, line.tau)

    def down(line: Line, forward: float) -> float:
        vol = line.vol / (1 + risk.vol_down / WAD * line.month)
        return line.gain(forward, vol, max(line.tau - look_ahead, 0))

    def still(line: Line, forward: float) -> float:
        return line.gain(forward, line.vol, line.tau)

    scenarios: list[tuple[Move, Gain, float]] = []
    for third in range(-3, 4):
        for shock in (up, down):
            scenarios.append((_by(1 + reach * third / 3), shock, 1.0))
    for factor, divisor in ((1 + 3 * reach, 3), (1 - 3 * reach, 3), (2.0, 6), (0.34, 4)):
        scenarios.append((_by(factor), still, 1 / divisor))
    near = [x for x in lines if x.tau <= look_ahead and x.kind != FORWARD]
    nodes: dict[float, tuple[float, float]] = {}
    for line in near:
        distance = abs(line.strike / line.forward - 1)
        if distance < reach and distance < nodes.get(line.strike, (1, 0))[0]:
            nodes[line.strike] = (distance, line.forward)
    for strike in sorted(nodes, key=lambda strike: (nodes[strike][0], strike))[:8]:
        origin = nodes[strike][1]
        scenarios += [(_to(strike, origin), up, 1.0), (_to(strike, origin), down, 1.0)]
        if any(x.strike == strike and x.kind in (DIGITAL_CALL, DIGITAL_PUT) for x in near):
            scenarios.append((_to(strike * JUST_BELOW, origin), down, 1.0))
    scan = 0.0
    for which in (list(lines), [x for x in lines if x.tau > look_ahead]):
        for move, gain, weight in scenarios:
            scan = max(scan, -weight * math.fsum(gain(x, move(x)) for x in which))

    vegas, carries = defaultdict(list), defaultdict(list)
    for x in lines:
        vegas[x.expiry].append(up(x, x.forward))
        if x.tau > 0:
            rise = 1 + risk.carry_base / WAD + risk.carry_slope / WAD * x.tau / YEAR
            carries[x.expiry].append(still(x, x.forward * rise))
    gross = sum(abs(v) for each in vegas.values() for v in each)
    within = sum(abs(sum(each)) for each in vegas.values())
    net = abs(sum(sum(each) for each in vegas.values()))
    charges = risk.calendar / WAD * (within - net) + risk.strike / WAD * (gross - within)
    charges += sum(abs(sum(each)) for each in carries.values())
    for kind, size in ((CALL, spot), (PUT, spot), (DIGITAL_CALL, 1.0), (DIGITAL_PUT, 1.0)):
        short = -sum(x.quantity for x in lines if x.kind == kind and x.tau > 0)
        charges += risk.short_minimum / WAD * size * max(short, 0)
    return scan + charges


def uncapped(
    positions: Iterable[Held], spots: Iterable[At], at: int, risk: Iterable[Risk], sign: int
) -> tuple[float, float]:
    """(Initial, maintenance) margin of one party before the cap, in units of price."""
    by_feed = {each.feed: each for each in risk}
    held = list(positions)
    initial = maintenance = 0.0
    for spot in spots:
        price = spot.price / WAD
        lines = [Line(x, price, at, sign) for x in held if x.feed == spot.feed]
        margin = feed_margin(lines, price, by_feed[spot.feed])
        maintenance += margin
        initial += margin * by_feed[spot.feed].im_factor / WAD
    return initial, maintenance


def _by(factor: float) -> Move:
    return lambda line: line.forward * factor


def _to(target: float, origin: float) -> Move:
    return lambda line: target if line.forward == origin else line.forward * (target / origin)


SPOTS = (At(price=3_000 * WAD), At(feed=BTC, price=90_000 * WAD))


def random_book(rng: random.Random, size: int, now: int = NOW) -> list[Held]:
    """Positions in two feeds, some on the eve of expiry, one a series, in canonical order."""
    book = {}
    for _ in range(size):
        feed, scale = rng.choice(((ETH, 1), (BTC, 30)))
        days = rng.choice((0.5, 1, 1.5, 2, 7, 30, 30, 120, 400))
        position = Held(
            feed=feed,
            kind=rng.choice((0, 0, 0, 1, 1, 1, 2, 3, 4)),
            expiry=now + int(days * DAY),
            strike=round(rng.gauss(3000, 500) / 50) * 50 * scale * WAD,
            quantity=rng.choice((-1, 1)) * rng.randrange(1, 10**20),
            vol=rng.randrange(WAD // 5, 2 * WAD),
            carry=rng.randrange(-WAD // 10, WAD // 10),
        )
        book[feed, position.expiry, position.kind, position.strike] = position
    return [book[key] for key in sorted(book)]
