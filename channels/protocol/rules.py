"""The seven signing rules: the one place that everything which is to be signed must pass.

`check` refuses with the number of the rule and why; it never signs and never changes anything.
Breaking any of these **may lose funds**: each closes an attack named in the design.

One state has clauses of its own: the **recovery state**, F's portfolio signed again by two parties
of which one or both had lost their data. It is boxed and lies between a `LEAP` and two above F, so
that rule 2 does not bind it, and so that nothing that was forgotten can lie above it. It is signed
only while recovering, by which time nothing else is; only with F's portfolio; and only when every
other boxed state of ours is dead, earlier recovery states with that portfolio excepted.

Sources: design, protocol.md "Signing rules (normative; model-checked)" and "Durability" 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from channels.errors import SigningRefusedError
from channels.protocol.ledger import LEAP, BoxClock, Ledger
from channels.protocol.types import Closing, Portfolio, State, Withdrawal

__all__ = ["Candidate", "Circumstances", "check"]


@attrs.frozen(kw_only=True)
class Candidate:
    """What is about to be signed.

    ``affirms`` is the portfolio of the boxed state accepted in the same step, for its affirmation;
    ``quote`` the request a boxed state answers; ``remark`` is true for new marks alone;
    ``reduces_risk`` where the change reduces this side's risk and leaves it no worse; ``recovers``
    for the recovery state.
    """

    value: State | Closing | Withdrawal
    affirms: Portfolio | None = None
    quote: bytes | None = None
    remark: bool = False
    reduces_risk: bool = False
    recovers: bool = False


@attrs.frozen(kw_only=True, slots=False)  # for `evolving.evolve`
class Circumstances:
    """All that the rules look at besides the candidate.

    ``disputed``: the chain shows a dispute, or one that this side or its delegate sent may still be
    mined. ``within_limits`` says whether a portfolio meets this side's margin and limits.
    ``recovering``: this side's data or the other's is in doubt. ``head_is_fresh``: the newest head
    is young enough to say what governs.
    """

    ledger: Ledger
    clock: BoxClock
    max_in_flight: int
    disputed: bool
    within_limits: Callable[[Portfolio], bool]
    recovering: bool = False
    head_is_fresh: bool = True


def _rule_1_nonce_is_newest(candidate: Candidate, around: Circumstances) -> str | None:
    ledger, nonce = around.ledger, candidate.value.nonce
    if nonce <= ledger.highest_mine or nonce <= ledger.nonce:
        return f"nonce {nonce} is not above {ledger.highest_mine}, the highest we signed"
    countersigns_permanent = candidate.value.valid_until == 0 and not ledger.side.leads(nonce)
    if countersigns_permanent or not ledger.entries:
        return None
    seen = [
        each.value.nonce
        for each in ledger.entries
        if each.theirs is not None
        and each.value.nonce != nonce
        and (candidate.quote is None or each.quote != candidate.quote)
    ]
    if seen and nonce <= max(seen):
        return f"nonce {nonce} is not above {max(seen)}, which the other side signed"
    return None


def _rule_2_within_flight(candidate: Candidate, around: Circumstances) -> str | None:
    nonce, base = candidate.value.nonce, around.ledger.nonce
    if candidate.recovers:
        far = base + LEAP <= nonce <= base + 2 * LEAP
        return None if far else f"nonce {nonce} of a recovery state is not far above F, or too far"
    limit = base + around.max_in_flight
    if candidate.value.valid_until != 0 and around.ledger.side.leads(nonce):
        limit -= 2
    if nonce > limit:
        return f"nonce {nonce} is beyond {limit}: too much in flight"
    return None


def _rule_3_permanent(candidate: Candidate, around: Circumstances) -> str | None:
    value, ledger, clock = candidate.value, around.ledger, around.clock
    if value.valid_until != 0 or not isinstance(value, State):
        return None
    if candidate.recovers:
        return "a recovery state is boxed"
    if not ledger.side.leads(value.nonce):
        if value.portfolio != ledger.governing(clock):
            return "a permanent state we countersign carries the governing portfolio"
        if not around.head_is_fresh:
            return "our newest head is too old to say which portfolio governs"
        return None
    if candidate.affirms is not None:
        if value.portfolio != candidate.affirms:
            return "an affirmation carries the portfolio of the state it affirms"
        return None
    if value.portfolio != ledger.portfolio:
        return "a void carries the last permanent portfolio"
    if ledger.carries_another(clock):
        return "no void while something alive carries another portfolio"
    return None


def _rule_4_boxed(candidate: Candidate, around: Circumstances) -> str | None:
    value, ledger, clock = candidate.value, around.ledger, around.clock
    if value.valid_until == 0 or not isinstance(value, State):
        return None
    if candidate.recovers:
        return _recovery_state(value, around)
    if value.portfolio == ledger.portfolio:
        return "a boxed state announces a change"
    if ledger.side.leads(value.nonce):
        if ledger.carries_another(clock, sides_of=candidate.quote):
            return "one risk-changing change is in flight at a time"
        return None
    if ledger.governing(clock) != ledger.portfolio:
        return "a newer portfolio governs than the one this state changes"
    if any(each.permanent and each.portfolio != ledger.portfolio for each in ledger.alive(clock)):
        return "a permanent state of ours carries another portfolio"
    return None


def _recovery_state(value: State, around: Circumstances) -> str | None:
    ledger, clock = around.ledger, around.clock
    if value.portfolio != ledger.portfolio:
        return "a recovery state carries the last permanent portfolio"
    if ledger.governing(clock) != ledger.portfolio:
        return "a newer portfolio governs than the one this state recovers"
    for each in ledger.alive(clock):
        again = ledger.recovers(each) and each.portfolio == ledger.portfolio
        if not each.permanent and not again:
            return "a boxed state of ours could still be recorded"
    return None


def _rule_5_margin(candidate: Candidate, around: Circumstances) -> str | None:
    value = candidate.value
    if value.valid_until == 0 or not isinstance(value, State):
        return None
    if candidate.remark or candidate.reduces_risk or candidate.recovers:
        return None
    alive = [each.portfolio for each in around.ledger.alive(around.clock)]
    for portfolio in (around.ledger.portfolio, *alive, value.portfolio):
        if portfolio is not None and not around.within_limits(portfolio):
            return "our margin or a limit is not met in everything that could come to stand"
    return None


def _rule_6_ending(candidate: Candidate, around: Circumstances) -> str | None:
    alive = around.ledger.alive(around.clock)
    value = candidate.value
    if alive:
        if any(not isinstance(each.value, State) for each in alive):
            return "a Closing or Withdrawal of ours could still be mined"
        if not isinstance(value, State):
            return "no Closing or Withdrawal while anything is alive"
        if not candidate.recovers and any(map(around.ledger.recovers, alive)):
            return "a recovery state of ours could still be recorded"
    if isinstance(value, Withdrawal) and value.state.portfolio != around.ledger.portfolio:
        return "a Withdrawal carries the last permanent portfolio"
    return None


def _rule_7_no_dispute(candidate: Candidate, around: Circumstances) -> str | None:
    if around.disputed and not isinstance(candidate.value, Closing):
        return "the chain shows a dispute, or one of ours can still be mined"
    if around.recovering and not candidate.recovers:
        return "recovering: nothing is signed but the newest state again"
    if candidate.recovers and not (around.recovering and isinstance(candidate.value, State)):
        return "a recovery state is signed only in a recovery"
    return None


_RULES: Final = (
    (1, _rule_1_nonce_is_newest),
    (2, _rule_2_within_flight),
    (3, _rule_3_permanent),
    (4, _rule_4_boxed),
    (5, _rule_5_margin),
    (6, _rule_6_ending),
    (7, _rule_7_no_dispute),
)


def check(candidate: Candidate, around: Circumstances) -> None:
    """Refuse what must not be signed now.

    Raises:
        SigningRefusedError: a rule forbids it; the message names the rule.
    """
    for number, rule in _RULES:
        objection = rule(candidate, around)
        if objection is not None:
            raise SigningRefusedError(
                f"signing rule {number}: {objection}",
                next_step="wait for what is in flight to be answered or to lapse",
            )
