"""Deribit's names for a block RFQ and its quotes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from channels.errors import InvalidValueError
from channels.peer import Leg
from channels.peer.deribit import legs_from_json, legs_to_json, quotes_to_json
from channels.pricing.instruments import Call, Put
from tests.chain.world import World
from tests.peer.test_rfq import quoted
from tests.peer.world import WAD, expiry_of

EXPIRY = 1_774_598_400
REQUEST = {
    "amount": "2.5",
    "legs": [
        {"instrument_name": "ETH-USD-27MAR26-3000-C", "ratio": "1", "direction": "buy"},
        {"instrument_name": "ETH-USD-27MAR26-3500-C", "ratio": "2", "direction": "sell"},
    ],
}
LEGS = [
    Leg(Call("ETH-USD", strike=3_000, expiry=EXPIRY), quantity="2.5"),
    Leg(Call("ETH-USD", strike=3_500, expiry=EXPIRY), quantity=-5),
]


def test_a_ratio_spread_there_and_back() -> None:
    assert legs_from_json(REQUEST) == LEGS
    assert legs_to_json(LEGS) == REQUEST


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"amount": "x", "legs": REQUEST["legs"]},
        {"amount": "1"},
        {"amount": "1", "legs": [{"ratio": "1", "direction": "buy"}]},
        {"amount": "1", "legs": [REQUEST["legs"][0] | {"direction": "hold"}]},  # type: ignore[operator]
        {"amount": "0", "legs": [REQUEST["legs"][0]]},
        {"amount": "1", "legs": [REQUEST["legs"][0] | {"ratio": "-1"}]},  # type: ignore[operator]
        {"amount": "1", "legs": 5},
    ],
)
def test_what_is_no_rfq(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError):
        legs_from_json(wrong)


def test_legs_with_amounts_of_their_own() -> None:
    """As in the example of Deribit's walkthrough, a call spread of 100."""
    names = ("ETH-USD-27MAR26-3000-C", "ETH-USD-27MAR26-3500-C")
    legs = [
        {"instrument_name": name, "amount": 100, "direction": direction}
        for name, direction in zip(names, ("buy", "sell"), strict=True)
    ]
    assert [each.quantity for each in legs_from_json({"legs": legs})] == [100 * WAD, -100 * WAD]


def test_no_legs() -> None:
    with pytest.raises(InvalidValueError):
        legs_to_json([])


async def test_both_sides_of_a_quote(world: World, tmp_path: Path) -> None:
    async with quoted(world, tmp_path, least=WAD // 5) as (pair, _):
        expiry = expiry_of(pair.alice)
        legs = [
            Leg(Put("ETH-USD", strike=3_000, expiry=expiry), quantity=4),
            Leg(Put("ETH-USD", strike=2_500, expiry=expiry), quantity=-2),
        ]
        buy, sell = quotes_to_json(await pair.channel.request_quote(legs))
        # The maker names 110 for each leg when it is bought and 90 when sold: 2 x 110 - 110.
        assert (buy["direction"], buy["amount"], buy["price"]) == ("sell", "2", "110")
        assert (sell["direction"], sell["amount"], sell["price"]) == ("buy", "2", "90")
        assert [each["direction"] for each in sell["legs"]] == ["buy", "sell"]
        assert [each["ratio"] for each in buy["legs"]] == ["2", "1"]
        assert (buy["execution_instruction"], buy["min_part"]) == ("any_part_of", "0.2")
        assert buy["expires_at"] == (pair.bob.peer.now() + 10) * 1_000
