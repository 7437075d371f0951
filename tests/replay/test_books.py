"""The books of a replay, against sums done by hand."""

from __future__ import annotations

import pytest

from channels.cli.replaying.books import Books, Dealt, SettledExpiry, TraderEnd, reconcile
from channels.desk import Explained
from channels.pricing import Kind
from channels.protocol.changes import Trade, TradeLeg
from channels.protocol.types import feed_id

FEED = feed_id("ETH-USD")
WAD = 10**18
UNIT = 10**6
CHANNEL = b"\x01" * 32
FRIDAY, LATER = 1_767_340_800, 1_767_945_600


def leg(kind: Kind, strike: int, quantity: int, expiry: int = FRIDAY) -> TradeLeg:
    """Quantity in hundredths, seen from the taker, who is A."""
    return TradeLeg(
        feed=FEED,
        kind=kind,
        expiry=expiry,
        strike=strike * WAD,
        quantity=quantity * WAD // 100,
        price=WAD,
    )


def dealt(premium: int, *legs: TradeLeg) -> Dealt:
    return Dealt(
        at=FRIDAY - 86_400,
        channel_id=CHANNEL,
        taker="taker-1",
        maker="maker-1",
        title="",
        trade=Trade(trade_id=b"\x07" * 32, premium=premium, legs=legs),
    )


def settled(price: int, expiry: int = FRIDAY) -> SettledExpiry:
    return SettledExpiry(channel_id=CHANNEL, expiry=expiry, price=price, attested=False)


@pytest.fixture
def books() -> Books:
    """Two puts bought, half of one sold back, a call sold, a forward that is traded away.

    At 2,910.005: 1.5 puts of 3,000 pay 1.5 × 89.995 = 134.9925; the call of 2,900 costs
    0.33 × 10.005 = 3.30165. Premiums: 90 − 21 − 40 + 500 − 480 = 49.
    """
    return Books(
        parties={CHANNEL: ("taker-1", "maker-1")},
        dealt=[
            dealt(90 * UNIT, leg(Kind.PUT, 3_000, 200)),
            dealt(-21 * UNIT, leg(Kind.PUT, 3_000, -50)),
            dealt(-40 * UNIT, leg(Kind.CALL, 2_900, -33)),
            dealt(500 * UNIT, leg(Kind.FORWARD, 1_000, 25, LATER)),
            dealt(-480 * UNIT, leg(Kind.FORWARD, 1_000, -25, LATER)),
        ],
        settled=[settled(2_910_005 * WAD // 1_000)],
    )


NET_TO_B = 49_000_000 - 134_992_500 + 3_301_650


def ends(taker: int, maker: int, *, findings: int = 0) -> list[TraderEnd]:
    return [
        TraderEnd(
            name=name,
            funds=1_000 * UNIT,
            balance=1_000 * UNIT + change,
            explained=Explained(trades=change),
            findings=findings,
        )
        for name, change in (("taker-1", taker), ("maker-1", maker))
    ]


def test_premiums_and_netted_payoffs_are_all_that_moves(books: Books) -> None:
    assert books.net_to_b(CHANNEL, UNIT) == NET_TO_B
    assert books.left_open(CHANNEL) == {}


def test_what_is_not_settled_stays_open(books: Books) -> None:
    books.settled.clear()
    assert books.left_open(CHANNEL) == {
        (FEED, FRIDAY, int(Kind.PUT), 3_000 * WAD): 150 * WAD // 100,
        (FEED, FRIDAY, int(Kind.CALL), 2_900 * WAD): -33 * WAD // 100,
    }
    assert books.net_to_b(CHANNEL, UNIT) == 49 * UNIT
    found = reconcile(books, ends(-49 * UNIT, 49 * UNIT), unit=UNIT, left_in_contract=0)
    assert [each.what for each in found.checks if not each.holds] == ["positions left open"]


def test_a_payoff_is_cut_to_base_units_for_the_netted_position() -> None:
    """0.01 × 0.0002 is 2 base units; a tenth of that of each trade would have been none."""
    many = [dealt(0, leg(Kind.CALL, 2_900, 1)) for _ in range(3)]
    price = 2_900 * WAD + WAD * 199 // 1_000_000
    books = Books(parties={CHANNEL: ("taker-1", "maker-1")}, dealt=many, settled=[settled(price)])
    assert books.net_to_b(CHANNEL, UNIT) == -5, "3 × 1.99 are 5.97, not 3 × 1"


def test_everything_holds_when_the_wallets_agree(books: Books) -> None:
    found = reconcile(books, ends(-NET_TO_B, NET_TO_B), unit=UNIT, left_in_contract=0)
    assert found.holds
    assert [each.expected for each in found.checks] == [
        *(-NET_TO_B, -NET_TO_B, NET_TO_B, NET_TO_B),
        *(0, 0, 0, 0),
    ]


def test_one_unit_too_many_is_found(books: Books) -> None:
    found = reconcile(books, ends(1 - NET_TO_B, NET_TO_B), unit=UNIT, left_in_contract=0)
    assert [each.what for each in found.checks if not each.holds] == [
        "taker-1's wallet",
        "taker-1's journal",
        "all wallets together",
    ]


def test_money_left_behind_and_findings_are_found(books: Books) -> None:
    all_ends = ends(-NET_TO_B, NET_TO_B, findings=2)
    found = reconcile(books, all_ends, unit=UNIT, left_in_contract=7)
    broken = {each.what: each.found for each in found.checks if not each.holds}
    assert broken == {"left in the contract": 7, "findings of the audit": 4}
