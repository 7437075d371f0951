"""Random channels in dispute or run-off in the model of the contract, and what is seen of them."""

from __future__ import annotations

import copy
import random

import attrs

from channels.dispute import (
    Action,
    NeedPrice,
    NeedSpot,
    Policy,
    PriceFact,
    PriceStatus,
    SpotFact,
    Submit,
    decide,
)
from channels.dispute.evidence import Watched
from channels.protocol.calls import Call, CallMargin, CloseOut, Release
from channels.protocol.eip712 import Address
from channels.protocol.facts import ChannelView, OnChainPhase
from channels.protocol.terms import Terms
from channels.protocol.types import Party, Portfolio
from channels.testing import (
    ChannelRecord,
    ModelAdjudicator,
    ModelOracle,
    ModelToken,
    RefusedError,
    Status,
)
from tests.dispute.build import DOMAIN, T0, make_head, place
from tests.testing.values import DOLLAR, FEEDS, RISK, drift, random_portfolio, random_terms

HOUR = 3_600
DAY = 24 * HOUR
MINUTE = 60
ANYBODY = place("anybody")
LATEST = T0 + 2_000 * HOUR


class Placed(ModelAdjudicator):
    """The model, with a channel put where a test wants it."""

    def put_record(self, terms: Terms, record: ChannelRecord) -> None:
        self._store(terms, record)


def view_of(record: ChannelRecord, now: int) -> ChannelView:
    """The channel's storage as a chain shows it at ``now``."""
    return ChannelView(
        phase=record.phase_at(now),
        nonce=record.nonce,
        filed_nonce=record.filed_nonce,
        filer=record.filer,
        deadline=record.deadline,
        cure_end_a=record.cure_ends[Party.A],
        cure_end_b=record.cure_ends[Party.B],
        settled=record.settled,
        released_a=Party.A in record.released,
        released_b=Party.B in record.released,
        portfolio_hash=record.portfolio_hash,
        contribution_a=record.contributions[Party.A],
        contribution_b=record.contributions[Party.B],
    )


@attrs.define
class Scene:
    """A channel at one moment, with an oracle that knows some prices and some not."""

    rng: random.Random
    model: Placed
    oracle: ModelOracle
    terms: Terms
    portfolio: Portfolio
    spots: dict[bytes, tuple[int, int]]
    now: int

    @property
    def record(self) -> ChannelRecord:
        return self.model.channel(self.terms)

    def watched(self, side: Party | None) -> Watched:
        return Watched(
            terms=self.terms,
            channel_id=self.model.channel_id(self.terms),
            side=side,
            portfolios=(self.portfolio,),
            risk=RISK,
        )

    def decide(
        self, side: Party | None, policy: Policy | None = None, account: Address | None = None
    ) -> tuple[Action, ...]:
        """All that is decided once everything asked for was answered."""
        watched, view = self.watched(side), view_of(self.record, self.now)
        prices: dict[tuple[bytes, int], PriceFact] = {}
        spots: dict[bytes, SpotFact | None] = {}
        while True:
            actions = decide(
                watched,
                view,
                make_head(self.now),
                prices=prices,
                spots=spots,
                policy=policy,
                account=account,
            )
            buckets = {each.bucket for each in actions if isinstance(each, NeedPrice)}
            feeds = {each.feed for each in actions if isinstance(each, NeedSpot)}
            if buckets <= prices.keys() and feeds <= spots.keys():
                return actions
            for each in buckets:
                answer = self.oracle.answer(*each)
                prices[each] = PriceFact(status=PriceStatus(answer.status), price=answer.price)
            for feed in feeds:
                known = self.spots.get(feed)
                spots[feed] = known and SpotFact(price=known[0], observed_at=known[1])

    def decisions(self, side: Party | None) -> list[CallMargin | CloseOut]:
        """The margin calls and close-outs that are submitted."""
        return [
            each.call
            for each in self.decide(side)
            if isinstance(each, Submit) and isinstance(each.call, CallMargin | CloseOut)
        ]

    def tell_everything(self) -> None:
        """Have the oracle know every price that may count, where it has said nothing yet."""
        for feed, usual in FEEDS.items():
            price, _ = self.spots.get(feed, (usual * 10**18, 0))
            self.spots[feed] = price, self.now
            self.oracle.set_spot(feed, price, self.now)
            times = {each.expiry for each in self.portfolio.positions} | {*self.record.cure_ends}
            for time in times:
                unset = self.oracle.answer(feed, time).status is Status.UNSET
                if time <= self.now and unset:
                    self.oracle.set_price(feed, time, price)

    def released(self, call: Release, sender: Address) -> int:
        """What the contract would release to ``sender`` now; 0 if it would refuse."""
        try:
            return copy.deepcopy(self.model).release(call, sender=sender, now=self.now)
        except RefusedError:
            return 0

    def refusal(self, call: Call, sender: Address = ANYBODY) -> RefusedError | None:
        """Why the contract would refuse ``call`` now; None if it would take it."""
        try:
            copy.deepcopy(self.model).send(call, sender=sender, now=self.now)
        except RefusedError as error:
            return error
        return None


def random_scene(seed: int) -> Scene:
    """A channel whose window runs or has run, often with calls open, lapsed or about to be due."""
    rng = random.Random(seed)
    token, oracle = ModelToken(place("token")), ModelOracle(place("oracle"))
    model = Placed(DOMAIN, tokens=[token], oracles=[oracle])
    terms = random_terms(rng, token.address, oracle.address)
    filed = T0 + rng.randrange(0, 200) * MINUTE
    deadline = filed + terms.dispute_window
    prices = {feed: int(usual * drift(rng, 0.3)) * 10**18 for feed, usual in FEEDS.items()}
    pot = 10_000 * DOLLAR
    portfolio = random_portfolio(rng, filed, pot, prices)
    deposit = rng.choice((pot // 10, pot // 2, pot))
    record = ChannelRecord(
        phase=OnChainPhase.DISPUTED,
        nonce=70,
        filed_nonce=rng.choice((70, 70, 3)),
        filer=rng.choice(list(Party)),
        deadline=deadline,
        cure_ends=_cure_ends(rng, terms, filed),
        portfolio_hash=portfolio.struct_hash,
        contributions=(deposit, rng.choice((deposit, deposit // 3))),
    )
    model.put_record(terms, record)
    token.mint(DOMAIN.adjudicator, record.pot)
    scene = Scene(rng, model, oracle, terms, portfolio, {}, filed)
    scene.now = _moment(scene, filed)
    _quote(scene, prices)
    return scene


def _cure_ends(rng: random.Random, terms: Terms, filed: int) -> tuple[int, int]:
    """Ends of calls, or 0 where that party was never called."""
    first = (filed // HOUR + 1) * HOUR + rng.randrange(0, 48) * HOUR
    apart = rng.choice((0, HOUR, terms.cure_window // HOUR * HOUR, 3 * DAY, 9 * DAY))
    ends = rng.choice(((0, 0), (0, 0), (first, 0), (0, first), (first, first + apart)))
    return ends if rng.random() < 0.5 else ends[::-1]


def _moment(scene: Scene, filed: int) -> int:
    """A time at or near one at which something changes."""
    rng, record, terms = scene.rng, scene.record, scene.terms
    times = [filed, record.deadline]
    for party in Party:
        if record.cure_ends[party]:
            times += [record.decided_from(party), record.close_out_from(party, terms)] * 3
            times += [record.lapses(party, terms)]
    times += [each.expiry for each in scene.portfolio.positions if each.expiry < LATEST]
    chosen = rng.choice(times) + rng.choice((-1, 0, 0, 0, 1, 30 * MINUTE, 20 * HOUR))
    return max(filed, chosen)


def _quote(scene: Scene, prices: dict[bytes, int]) -> None:
    """Move the market, and tell the oracle most of it."""
    rng, now, age = scene.rng, scene.now, scene.terms.max_price_age
    moved = {feed: int(price * drift(rng, 0.15)) for feed, price in prices.items()}
    for feed, price in moved.items():
        observed = now - rng.choice((0, 0, 0, 0, 0, age, age + 1, -1))
        if rng.random() < 0.95:
            scene.spots[feed] = price, observed
            scene.oracle.set_spot(feed, price, observed)
    times = {(each.feed, each.expiry) for each in scene.portfolio.positions}
    times |= {(feed, end) for feed in moved for end in scene.record.cure_ends if end}
    for feed, time in sorted(times):
        if time <= now and rng.random() < 0.95:
            status = rng.choice((1,) * 12 + (2, 3))
            price = int(moved[feed] * drift(rng, 0.05)) if status < 3 else 0
            scene.oracle.set_price(feed, time, price, Status(status))
