"""What a peer checks before it signs, besides the signing rules: terms, and a change's content.

All of it is computed again from this side's own copy. An objection names the reason that goes back
in the Reject.

Sources: design, protocol.md "What a peer checks before it signs"; adjudication.md, its terms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from channels.errors import InvalidValueError, MarginError
from channels.pricing import RISK_BOUNDS
from channels.protocol.changes import (
    Change,
    Remark,
    Settlement,
    Trade,
    TradeLeg,
    apply,
    marks_of,
    reduces_risk,
)
from channels.protocol.channel import Channel
from channels.protocol.halts import BY_HAND, Mode, strictest
from channels.protocol.margins import share_margins
from channels.protocol.messages import HalfSigned, Leg, Reason
from channels.protocol.terms import RiskParams, Terms, hash_risk_params
from channels.protocol.types import Party, Portfolio, feed_name
from channels.units import DAY, HOUR

__all__ = [
    "check_content",
    "check_legs",
    "check_mode",
    "check_risk",
    "check_terms",
    "eases_risk",
    "objection_to",
    "told_of_halt",
]

_SIDES: Final = tuple(Party)
_ALWAYS_ALLOWED: Final = (Remark, Settlement)
"""What no margin and no mode keeps from passing."""

_TERM_BOUNDS: Final = {
    "dispute_window": (HOUR, 30 * DAY),
    "cure_window": (HOUR, 7 * DAY),
    "settlement_grace": (5 * DAY, 30 * DAY),
    "max_price_age": (60, DAY),
    "max_mark_age": (HOUR, 14 * DAY),
    "max_tenor": (DAY, 3_650 * DAY),
    "max_in_flight": (8, 64),
    "default_penalty_bps": (0, 5_000),
}
"""Least and most of each term. An oracle's grace is at least three days, so settlement_grace, which
must exceed it by two, is at least five; the contract asks the oracle itself."""


def _check_bounds(value: object, bounds: Mapping[str, tuple[int, int]]) -> None:
    for name, (least, most) in bounds.items():
        found = getattr(value, name)
        if not least <= found <= most:
            raise InvalidValueError(f"{name} is {found}; allowed are {least} to {most}")


def check_terms(terms: Terms) -> None:
    """Refuse terms that the contract would refuse at opening.

    Raises:
        InvalidValueError: a term out of its range, equal parties or signers, a zero address, unit
            or risk hash.
    """
    _check_bounds(terms, _TERM_BOUNDS)
    addresses = (
        terms.party_a,
        terms.party_b,
        terms.signer_a,
        terms.signer_b,
        terms.collateral,
        terms.oracle,
    )
    if bytes(20) in addresses:
        raise InvalidValueError("no address of the terms may be zero")
    a, b = {terms.party_a, terms.signer_a}, {terms.party_b, terms.signer_b}
    if a & b:
        raise InvalidValueError("no party or signer of one side is also the other's")
    if terms.unit == 0 or terms.risk_hash == bytes(32):
        raise InvalidValueError("unit and risk_hash may not be zero")


def check_risk(risk: tuple[RiskParams, ...], terms: Terms) -> None:
    """Refuse margin parameters that are out of bounds or not those of the terms.

    Raises:
        InvalidValueError: naming the parameter.
    """
    for each in risk:
        _check_bounds(each, RISK_BOUNDS)
    if hash_risk_params(risk) != terms.risk_hash:
        raise InvalidValueError("the risk parameters do not hash to the terms' risk_hash")


def eases_risk(channel: Channel, change: Change, portfolio: Portfolio, side: Party) -> bool:
    """Whether a change always may pass ``side``'s margin: new marks, or less risk and no worse.

    A settlement takes off what has no risk left, at what it is worth: the payoff at the price both
    signed. Whatever the marks it was held at said, nobody has less by it than was owed already, and
    a margin that rises because what has expired no longer offsets the rest was needed before.
    """
    return isinstance(change, _ALWAYS_ALLOWED) or reduces_risk(
        channel.portfolio, portfolio, channel.contribution(side), side, channel.terms.unit
    )


def check_content(channel: Channel, change: Change, portfolio: Portfolio) -> None:
    """Check that ``portfolio`` may follow from ``change``: series, marks' time, margin, mode.

    Raises:
        InvalidValueError: a series that cannot settle, marks out of time, or a state beyond the
            mode the circuit breaker has set.
        MarginError: a party would not cover its initial margin.
    """
    _check_marks_time(channel, change, portfolio)
    _check_series(channel, change, portfolio)
    eased = {side: eases_risk(channel, change, portfolio, side) for side in _SIDES}
    check_mode(channel, change, eased=eased[channel.side])
    for side in _SIDES:
        if not eased[side] and not channel.meets_margin(side, portfolio):
            raise MarginError(
                f"party {side.name} would have equity {channel.equity(side, portfolio)} against "
                f"an initial margin of {portfolio.margin(side)}",
                next_step="deposit more, or trade less",
            )


def check_mode(channel: Channel, change: Change, *, eased: bool) -> None:
    """Check that the circuit breaker lets a change pass; ``eased``: it eases our risk.

    New marks always pass: without them nobody sees a party fall short. So does the settlement of
    what has expired: it is owed.

    Raises:
        InvalidValueError: halted, or only what eases our risk may pass.
    """
    if isinstance(change, _ALWAYS_ALLOWED):
        return
    if channel.mode is Mode.HALTED:
        raise InvalidValueError(f"halted: {channel.mode_reason}")
    if channel.mode is Mode.REDUCE_ONLY and not eased:
        raise InvalidValueError(f"only what reduces our risk: {channel.mode_reason}")


def _check_marks_time(channel: Channel, change: Change, portfolio: Portfolio) -> None:
    before = channel.portfolio
    head = channel.head
    latest = channel.timing.box + (head.timestamp if head is not None else 0)
    if not before.marked_at <= portfolio.marked_at <= latest:
        raise InvalidValueError(
            f"marks of {portfolio.marked_at}; allowed are {before.marked_at} to {latest}"
        )
    if portfolio.marked_at == before.marked_at and not isinstance(change, Remark):
        held = {each.series: each for each in before.positions}
        moved = any(before.spot(each.feed) not in (None, each.price) for each in portfolio.spots)
        for now in portfolio.positions:
            then = held.get(now.series, now)
            moved |= then is not now and (then.vol, then.carry) != (now.vol, now.carry)
        if moved:
            raise InvalidValueError("marks moved without a newer time")


def _check_series(channel: Channel, change: Change, portfolio: Portfolio) -> None:
    if isinstance(change, Settlement):
        head_time = 0 if channel.head is None else channel.head.timestamp
        if change.expiry > head_time:
            raise InvalidValueError(f"nothing to settle before its expiry at {change.expiry}")
    if isinstance(change, Trade):
        check_legs(channel, change.legs, portfolio.marked_at)


def check_legs(channel: Channel, legs: Iterable[Leg | TradeLeg], at: int) -> None:
    """Check that what is to be dealt ``at`` a time, Unix seconds, can be settled here one day.

    Raises:
        InvalidValueError: a feed without margin parameters, or an expiry that no price settles or
            that is beyond the terms.
    """
    feeds = {each.feed for each in channel.risk}
    for leg in legs:
        if leg.feed not in feeds:
            raise InvalidValueError(f"no margin parameters for {feed_name(leg.feed)}")
        if leg.expiry % HOUR:
            raise InvalidValueError("an expiry is a full hour: no other can be settled")
        tenor = leg.expiry - at
        if not 0 < tenor <= channel.terms.max_tenor:
            raise InvalidValueError(f"tenor of {tenor} s; allowed are up to the terms' max_tenor")


def objection_to(channel: Channel, proposal: HalfSigned) -> tuple[Reason, str] | None:
    """Why this side would not sign a proposal whose signature and nonce are in order, if at all."""
    portfolio = proposal.portfolio
    try:
        expected = apply(
            *(proposal.change, channel.portfolio, marks_of(portfolio)),
            *(channel.terms.unit, channel.margin_model),
        )
        if expected != portfolio:
            return Reason.INVALID, "the state is not the change it announces"
        if expected == channel.portfolio:
            return Reason.INVALID, "the state changes nothing"
        share_margins(portfolio, expected)
        check_content(channel, proposal.change, portfolio)
    except MarginError as error:
        return Reason.MARGIN, str(error)
    except InvalidValueError as error:
        if channel.mode is not Mode.NORMAL:
            return Reason.LIMIT, told_of_halt(channel)
        return Reason.INVALID, str(error)
    return None


def told_of_halt(channel: Channel) -> str:
    """What a counterparty hears of a halt: the owner's own word for it, and else none of ours.

    What the breaker saw may name an endpoint, a limit, or what we hold with others.
    """
    halt = strictest(channel.halts)
    if halt is None or halt.cause not in BY_HAND:
        return "not trading for now"
    return f"not trading for now: {halt.reason}"
