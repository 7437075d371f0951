"""Requests and quotes with the field names of Deribit's block RFQ, for tools that speak those.

Prices are a unit of the underlying in the currency of account, as everywhere here; Deribit's own
inverse options are priced in the coin. Amounts and prices are decimals as strings.

Source: docs.deribit.com, ``private/create_block_rfq`` and ``private/add_block_rfq_quote``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import reduce
from math import gcd
from typing import Any

from channels.errors import InvalidValueError
from channels.peer.quotes import Leg, Quote, Quotes
from channels.pricing.instruments import Instrument, parse_name
from channels.protocol import messages as m
from channels.protocol.types import feed_name
from channels.units import WAD, from_wad

__all__ = ["legs_from_json", "legs_to_json", "quotes_to_json"]


def legs_to_json(legs: Sequence[m.Leg]) -> dict[str, Any]:
    """The legs as an RFQ: ``amount`` times each leg's ``ratio``, in its ``direction``.

    Raises:
        InvalidValueError: no legs.
    """
    if not legs:
        raise InvalidValueError("a request has legs")
    amount = reduce(gcd, (leg.quantity for leg in legs))
    return {
        "amount": _decimal(amount),
        "legs": [
            {
                "instrument_name": _name(leg),
                "ratio": str(abs(leg.quantity) // amount),
                "direction": "buy" if leg.quantity > 0 else "sell",
            }
            for leg in legs
        ],
    }


def legs_from_json(request: Mapping[str, Any]) -> list[m.Leg]:
    """Read the legs of an RFQ: each with an ``amount``, or a ``ratio`` of the RFQ's own.

    Its ``hedge`` is left out: a perpetual or a future there, here a `HedgeLeg` of some expiry.

    Raises:
        InvalidValueError: a field is missing, or is not what it should be.
    """
    try:
        return [_leg(each, request) for each in request["legs"]]
    except (KeyError, TypeError, InvalidOperation) as error:
        raise InvalidValueError(f"not a block RFQ: {error!r}") from error


def quotes_to_json(quotes: Quotes) -> list[dict[str, Any]]:
    """The quotes as block RFQ quotes: one a side, with the price of one unit of the structure.

    ``direction`` is the maker's: what it sells we may buy. The legs stand as we asked for them.
    ``execution_instruction`` is ``all_or_none``, or ``any_part_of`` with the ``min_part`` that its
    maker deals in.
    """
    return [_quote(each) for each in quotes.all]


def _quote(quote: Quote) -> dict[str, Any]:
    legs = quote.trade.legs
    amount = reduce(gcd, (leg.quantity for leg in legs))
    bought = quote.channel.side.sign if quote.side is m.Side.BUY else -quote.channel.side.sign
    price = sum(bought * leg.quantity * leg.price for leg in legs) // amount
    found: dict[str, Any] = {
        "block_rfq_quote_id": quote.trade.trade_id.hex(),
        "direction": "sell" if quote.side is m.Side.BUY else "buy",
        "amount": _decimal(amount),
        "price": _decimal(price),
        "expires_at": quote.expires_at * 1_000,
        "execution_instruction": "all_or_none" if quote.least == WAD else "any_part_of",
        "legs": [
            {
                "instrument_name": _name(leg),
                "ratio": str(abs(leg.quantity) // amount),
                "direction": "buy" if bought * leg.quantity > 0 else "sell",
                "price": _decimal(leg.price),
            }
            for leg in legs
        ],
    }
    if quote.least < WAD:
        found["min_part"] = _decimal(quote.least)
    return found


def _leg(item: Mapping[str, Any], request: Mapping[str, Any]) -> m.Leg:
    direction = item["direction"]
    if direction not in ("buy", "sell"):
        raise InvalidValueError(f"a direction of {direction!r}")
    if "ratio" in item:
        ratio, amount = Decimal(str(item["ratio"])), Decimal(str(request["amount"]))
    else:
        ratio, amount = Decimal(1), Decimal(str(item["amount"]))
    if not (ratio > 0 and amount > 0):
        raise InvalidValueError(f"a ratio of {ratio} of an amount of {amount}")
    quantity = amount * ratio if direction == "buy" else -amount * ratio
    return Leg(parse_name(item["instrument_name"]), quantity=f"{quantity:f}")


def _name(leg: Any) -> str:
    return Instrument(
        feed=feed_name(leg.feed), kind=leg.kind, expiry=leg.expiry, strike=leg.strike
    ).name


def _decimal(wad: int) -> str:
    return f"{from_wad(wad):f}"
