"""Handlers of a withdrawal: both sign to pay out of the channel what nobody needs in it.

It goes the way of a Closing: a request with the first signature, an Accept with the second and no
affirmation, and either may send it. What it pays leaves while the portfolio stays, so that it
carries F's and both keep their initial margin. It has the box of a trade.
"""

from __future__ import annotations

import attrs

from channels.errors import InvalidValueError, MarginError, SigningRefusedError
from channels.protocol import messages as m
from channels.protocol import rules
from channels.protocol.channel import Channel
from channels.protocol.closing import Objection, bind_payout, hear_payout
from channels.protocol.effects import Notify, Step, WithdrawalRequested
from channels.protocol.events import RequestWithdrawal
from channels.protocol.ledger import Entry
from channels.protocol.rules import Candidate
from channels.protocol.types import Party, State, Withdrawal

__all__ = ["accept_withdrawal", "on_withdraw_request", "request_withdrawal"]


def request_withdrawal(channel: Channel, command: RequestWithdrawal) -> Step:
    """Sign a Withdrawal first.

    Raises:
        InvalidValueError: nothing to pay, or more than a party has in cash.
        MarginError: a party would not keep its initial margin.
        SigningRefusedError: a signing rule forbids it for now.
    """
    side = channel.side
    amount_a, amount_b = (
        (command.ours, command.theirs) if side is Party.A else (command.theirs, command.ours)
    )
    withdrawal = Withdrawal(
        state=State(
            channel_id=channel.channel_id,
            nonce=side.next_nonce(channel.ledger.highest_seen),
            valid_until=channel.clock.head_time + channel.timing.box,
            portfolio=channel.portfolio,
        ),
        amount_a=amount_a,
        amount_b=amount_b,
    )
    _check_pays(channel, withdrawal)
    rules.check(Candidate(value=withdrawal), channel.circumstances)
    entry = Entry(value=withdrawal, signed_at=channel.clock.head_time)
    return bind_payout(
        channel,
        entry,
        lambda signature: m.WithdrawRequest(
            channel_id=channel.channel_id, withdrawal=withdrawal, signature=signature
        ),
    )


def _check_pays(channel: Channel, withdrawal: Withdrawal) -> None:
    """The contract pays no more than cash; the rules leave both at their initial margin."""
    view, portfolio = channel.view, withdrawal.state.portfolio
    if withdrawal.amount_a + withdrawal.amount_b == 0 or view is None:
        raise InvalidValueError("a withdrawal of nothing")
    for side in Party:
        amount = withdrawal.amount(side)
        cash = view.cash(side, portfolio.net_to_b)
        if amount > cash:
            raise InvalidValueError(f"party {side.name} would be paid {amount}, and has {cash}")
        left = channel.equity(side, portfolio) - amount
        if amount and left < portfolio.margin(side):
            raise MarginError(
                f"party {side.name} would have equity {left} against an initial margin of "
                f"{portfolio.margin(side)}",
                next_step="withdraw less, or take risk off first",
            )
        if not amount and not channel.meets_margin(side, portfolio):
            raise MarginError(f"party {side.name} is below its initial margin already")


def on_withdraw_request(channel: Channel, message: m.WithdrawRequest) -> Step:
    """Check a Withdrawal and hand it to its decider."""
    withdrawal = message.withdrawal

    def objection() -> Objection | None:
        if withdrawal.state.portfolio != channel.portfolio:
            return m.Reason.INVALID, "a Withdrawal leaves the portfolio as it is"
        try:
            _check_pays(channel, withdrawal)
        except MarginError as error:
            return m.Reason.MARGIN, str(error)
        except InvalidValueError as error:
            return m.Reason.INVALID, str(error)
        return None

    asked = Notify(WithdrawalRequested(withdrawal=withdrawal))
    return hear_payout(channel, withdrawal, message.signature, objection, asked)


def accept_withdrawal(channel: Channel, entry: Entry, withdrawal: Withdrawal) -> Step:
    """Countersign the peer's Withdrawal: nothing else is signed until it is final or lapses.

    Raises:
        SigningRefusedError: its box is longer than ours, or has too little left.
        MarginError, InvalidValueError: it no longer fits what stands.
    """
    _check_pays(channel, withdrawal)
    timing, head_time = channel.timing, channel.clock.head_time
    valid_until = withdrawal.state.valid_until
    latest = head_time + timing.box + 2 * timing.slot
    if not head_time + timing.least_to_accept <= valid_until <= latest:
        raise SigningRefusedError(
            f"a Withdrawal until {valid_until}; allowed up to {latest}",
            next_step="ask for a new one",
        )
    rules.check(Candidate(value=withdrawal), channel.circumstances)
    signed = attrs.evolve(entry, signed_at=head_time)
    return bind_payout(
        channel,
        signed,
        lambda signature: m.Accept(
            channel_id=channel.channel_id,
            nonce=withdrawal.nonce,
            signature=signature,
            affirmation_nonce=0,
            affirmation=None,
        ),
    )
