"""The guarantees of protocol.md, asked of each signature and of each position.

None of these looks at what the machine thinks is alive or governing: they are worked out again from
all that honest keys ever signed, and from the chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from channels.protocol.channel import OPEN_PHASES, Channel, Phase
from channels.protocol.facts import OnChainPhase
from channels.protocol.types import Closing, Party, Portfolio, State
from tests.model.alphabet import TICK, TIMES
from tests.model.game import Game
from tests.model.machines import Signature
from tests.model.position import Move, Position
from tests.protocol.build import is_covered, spare

__all__ = ["of_move", "of_position"]


def of_move(game: Game, before: Position, move: Move) -> str | None:
    """What guarantee the signatures of this move break, if any."""
    if move.by is None:
        return None
    known = before.signed
    for each in move.signed:
        for check in _OF_SIGNATURES:
            broken = check(game, before, known, each, move.by)
            if broken is not None:
                return broken
        known = known | {each}
    return None


def _no_equivocation(
    game: Game, at: Position, known: frozenset[Signature], fresh: Signature, by: Channel
) -> str | None:
    nonce = game.machines.values[fresh.value].nonce
    for each in known:
        same = each.side is fresh.side and game.machines.values[each.value].nonce == nonce
        if same and each.value != fresh.value:
            return f"no equivocation: {fresh.side.name} signed two different values at {nonce}"
    return None


def _no_signing_in_dispute(
    game: Game, at: Position, known: frozenset[Signature], fresh: Signature, by: Channel
) -> str | None:
    if isinstance(game.machines.values[fresh.value], Closing):
        return None
    shown = by.view is not None and by.view.phase is not OnChainPhase.OPEN
    if shown or any(call.sender is fresh.side for call in at.disputes):
        return f"nothing signed in dispute: {fresh.side.name} signed, and its dispute may be mined"
    return None


def _bound(game: Game, known: frozenset[Signature], side: Party, by: Channel) -> Iterator[State]:
    """States of ``side`` above F that the chain may still take, by the final block it has seen."""
    assert by.head is not None
    assert by.final_view is not None
    floor = max(by.ledger.nonce, by.final_view.nonce)
    for each in known:
        value = game.machines.values[each.value]
        if each.side is not side or not isinstance(value, State) or value.nonce <= floor:
            continue
        if value.permanent or value.valid_until >= by.head.final_timestamp:
            yield value


def _within_limits(
    game: Game, at: Position, known: frozenset[Signature], fresh: Signature, by: Channel
) -> str | None:
    value, side = game.machines.values[fresh.value], fresh.side
    if not isinstance(value, State) or value.permanent:
        return None
    base, new = game.machines.portfolios[fresh.base], value.portfolio
    cash = by.contribution(side)
    if _held(base) == _held(new):
        return None
    if new.margin(side) <= base.margin(side) and spare(new, cash, side) >= spare(base, cash, side):
        return None
    worst = (base, new, *(state.portfolio for state in _bound(game, known, side, by)))
    if all(is_covered(portfolio, cash, side) for portfolio in worst):
        return None
    return f"worst portfolio within limits: {side.name} signed {value.nonce} beyond its margin"


def _held(portfolio: Portfolio) -> list[tuple[object, int]]:
    return [(each.series, each.quantity) for each in portfolio.positions]


def _no_option(
    game: Game, at: Position, known: frozenset[Signature], fresh: Signature, by: Channel
) -> str | None:
    """A permanent state comes in a box, of a change; or it is a void, and no change is open."""
    value, side = game.machines.values[fresh.value], fresh.side
    if not isinstance(value, State) or not value.permanent:
        return None
    assert by.head is not None
    assert by.view is not None
    base = game.machines.portfolios[fresh.base]
    bound = [state for state in _bound(game, known, side, by) if not state.permanent]
    if value.portfolio == base:
        first = side.leads(value.nonce)
        accepted = {each.nonce for each in by.ledger.entries if each.theirs is not None}
        open_still = [
            state
            for state in bound
            if state.portfolio != base
            and (first or (state.valid_until >= by.head.timestamp and state.nonce in accepted))
        ]
        if open_still:
            return (
                f"no free option: {side.name} signed a void at {value.nonce} while "
                f"{open_still[0].nonce} could still be taken"
            )
        return None
    mine = (game.machines.values[each.value] for each in known if each.side is side)
    in_time = any(
        isinstance(state, State)
        and state.portfolio == value.portfolio
        and (state.valid_until >= by.head.timestamp or state.nonce == by.view.nonce)
        for state in mine
        if state.nonce > by.ledger.nonce and state.valid_until
    )
    if in_time or value.portfolio.struct_hash == by.view.portfolio_hash:
        return None
    return f"no free option: {side.name} made {value.nonce} permanent beyond its box"


def _on_what_stands(
    game: Game, at: Position, known: frozenset[Signature], fresh: Signature, by: Channel
) -> str | None:
    """A change is one of F: not while the chain or both signatures say another came first."""
    value, side = game.machines.values[fresh.value], fresh.side
    if not isinstance(value, State) or value.permanent:
        return None
    assert by.head is not None
    assert by.view is not None
    base, ledger = game.machines.portfolios[fresh.base], by.ledger
    newer = by.view.nonce > ledger.nonce and by.view.portfolio_hash != base.struct_hash
    accepted = any(
        each.co_signed
        and not each.expired(by.head.timestamp)
        and each.portfolio not in (None, base)
        for each in ledger.entries
    )
    if newer or accepted:
        return f"meant by both: {side.name} signed {value.nonce} on top of what stands no more"
    return None


_OF_SIGNATURES: Final = (
    _no_equivocation,
    _no_signing_in_dispute,
    _within_limits,
    _no_option,
    _on_what_stands,
)


# ---- positions


def of_position(game: Game, before: Position | None, at: Position) -> str | None:
    """What guarantee this position breaks, if any; ``before`` is the one it came from."""
    if before is None or before.settled != at.settled:
        broken = _meant(game, at)
        if broken is not None:
            return broken
    if before is None or before.chain != at.chain:
        broken = _no_stale_penalty(game, at) or _closed_as_it_stood(game, before, at)
        if broken is not None:
            return broken
    for side in game.honest:
        changed = before is None or (before.nodes, before.chain) != (at.nodes, at.chain)
        if changed:
            broken = _can_file(game, at, side) or _nothing_left_open(game, at, side)
            if broken is not None:
                return broken
        if game.rules.budget.losses:
            continue
        if game.channel(at, side).phase is Phase.RECOVERING:
            return f"no lost data: {side.name} is recovering"
        if before is not None:
            now = game.channel(at, side).ledger.nonce
            then = game.machines.channels[before.nodes[side].store].ledger.nonce
            if now < then:
                return f"F never goes back: {side.name} fell from {then} to {now}"
    return None


def _meant(game: Game, at: Position) -> str | None:
    """What stands follows from what stood by one change that all honest sides signed, or none."""
    order = at.settled
    for (nonce, one), (other_nonce, other) in pairwise(order):
        if nonce == other_nonce and one != other:
            return f"meant by both: two portfolios stand at {nonce}"
    moves = {side: _changes(game, at, side) for side in game.honest}
    agreed = set.intersection(*moves.values())
    for index in range(1, len(order)):
        portfolio = order[index][1]
        if order[index - 1][1] == portfolio or _follows(order[: index + 1], agreed):
            continue
        if game.rules.budget.losses and portfolio in {each for _, each in order[:index]}:
            continue  # a change whose Confirm was lost with the data may end void
        return f"meant by both: what stands at {order[index][0]} follows from no agreed change"
    return None


def _changes(game: Game, at: Position, side: Party) -> set[tuple[int, int]]:
    found = set()
    for each in at.signed:
        value = game.machines.values[each.value]
        if each.side is side and isinstance(value, State) and not value.permanent:
            found.add((each.base, game.machines.portfolio(value.portfolio)))
    return found


def _follows(order: tuple[tuple[int, int], ...], agreed: set[tuple[int, int]]) -> bool:
    """By one change from what stood, other answers to which (sides of a quote) may lie between."""
    last = order[-1][1]
    for index in range(len(order) - 2, -1, -1):
        base = order[index][1]
        between = {portfolio for _, portfolio in order[index + 1 : -1]}
        if (base, last) in agreed and all(
            each == base or (base, each) in agreed for each in between
        ):
            return True
    return False


def _no_stale_penalty(game: Game, at: Position) -> str | None:
    view = game.contract.head_view(at.chain)
    if view.filer not in game.honest or view.filer is None:
        return None
    if view.nonce - view.filed_nonce <= game.machines.max_in_flight:
        return None
    filer, filed = view.filer.name, view.filed_nonce
    return f"no stale penalty: {filer} filed {filed}, {view.nonce} is recorded"


def _can_file(game: Game, at: Position, side: Party) -> str | None:
    """Filing now, nothing that this side signed is so much newer that it owed the penalty."""
    channel, head = game.channel(at, side), at.chain[-1]
    if channel.head is None or channel.phase not in OPEN_PHASES:
        return None
    newest = channel.newest_evidence()
    recorded = game.contract.head_view(at.chain).nonce
    filed = max(recorded, 0 if newest is None else newest.state.nonce)
    for each in at.signed:
        value = game.machines.values[each.value]
        if each.side is side and isinstance(value, State):
            open_still = value.permanent or value.valid_until >= head.time
            if open_still and value.nonce > filed + game.machines.max_in_flight:
                return f"no stale penalty: {side.name} could file {filed}, and signed {value.nonce}"
    return None


def _closed_as_it_stood(game: Game, before: Position | None, at: Position) -> str | None:
    """A Closing pays the cash that stands, with no position open."""
    view = game.contract.head_view(at.chain)
    if view.phase is not OnChainPhase.CLOSED or before is None:
        return None
    earlier = game.contract.head_view(before.chain)
    if earlier.phase is OnChainPhase.CLOSED:
        return None
    closing = next(
        value
        for value in (game.machines.values[each.value] for each in at.signed)
        if isinstance(value, Closing) and value.nonce == view.nonce
    )
    for side in game.honest:
        full = game.machines.channels[at.nodes[side].store].ledger.full.state
        stands = full.portfolio
        if earlier.nonce > full.nonce:
            stands = next(
                each.portfolio
                for each in (game.machines.values[sig.value] for sig in at.signed)
                if isinstance(each, State)
                and each.nonce == earlier.nonce
                and each.portfolio.struct_hash == earlier.portfolio_hash
            )
        if stands.positions or stands.net_to_b != closing.net_to_b:
            return f"meant by both: the Closing at {closing.nonce} pays not what stood"
    return None


def _nothing_left_open(game: Game, at: Position, side: Party) -> str | None:
    """An affirmation nobody confirmed is answered: recorded, voided or disputed in its time."""
    channel = game.channel(at, side)
    if channel.phase not in OPEN_PHASES or channel.head is None or channel.view is None:
        return None
    over = channel.head.final_timestamp - TIMES.void_grace - TICK
    floor = max(channel.ledger.nonce, channel.view.nonce)
    open_boxes: dict[Portfolio, int] = {}
    half: list[State] = []
    for each in at.signed:
        value = game.machines.values[each.value]
        if each.side is not side or not isinstance(value, State):
            continue
        if value.valid_until:
            latest = open_boxes.get(value.portfolio, 0)
            open_boxes[value.portfolio] = max(latest, value.valid_until)
        elif value.nonce > floor and value.portfolio != channel.portfolio:
            half.append(value)
    for value in half:
        if over > open_boxes.get(value.portfolio, 0):
            return f"nothing left open: {side.name}'s {value.nonce} is half signed, and stays so"
    return None
