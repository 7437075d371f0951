"""`decide`, by table and by Hypothesis."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.dispute import (
    Action,
    Alert,
    AlertCode,
    Duty,
    Level,
    NeedPrice,
    Policy,
    PriceFact,
    PriceStatus,
    Submit,
    WakeAt,
    decide,
)
from channels.dispute.evidence import Watched, start_watching
from channels.dispute.runoff import Prices
from channels.protocol.calls import Checkpoint, Settle
from channels.protocol.facts import ChannelView, Head, OnChainPhase
from channels.protocol.types import EMPTY_PORTFOLIO, Party
from tests.dispute.build import (
    BTC,
    DAY,
    DOMAIN,
    ETH,
    EXPIRY,
    GRACE,
    HOUR,
    ID,
    T0,
    WAD,
    WINDOW,
    co_signed,
    evidence,
    make_head,
    make_portfolio,
    make_view,
    put,
)

OPEN, DISPUTED = OnChainPhase.OPEN, OnChainPhase.DISPUTED
RUN_OFF, CLOSED, NONE = OnChainPhase.RUN_OFF, OnChainPhase.CLOSED, OnChainPhase.NONE
DEADLINE = T0 + WINDOW


def watching(
    *states: int | tuple[int, int], affirm_by: int = 0, side: Party | None = None
) -> Watched:
    """A channel with these states: a nonce is permanent, (nonce, valid_until) boxed."""
    held = [
        co_signed(each) if isinstance(each, int) else co_signed(each[0], valid_until=each[1])
        for each in states
    ]
    offered = evidence(*held, affirm_by=affirm_by, side=side)
    return start_watching(offered, DOMAIN).with_evidence(offered, recorded=())


def submits(actions: tuple[Action, ...]) -> list[tuple[Duty, int]]:
    """What is sent: duty, and nonce (or the number of positions to settle from)."""
    found = []
    for each in actions:
        if isinstance(each, Submit):
            call = each.call
            if isinstance(call, Checkpoint):
                found.append((each.duty, call.newest.state.nonce))
            elif isinstance(call, Settle):
                found.append((each.duty, len(call.portfolio.positions)))
    return found


def alerts(actions: tuple[Action, ...]) -> dict[AlertCode, Level]:
    return {each.code: each.level for each in actions if isinstance(each, Alert)}


def wakes(actions: tuple[Action, ...]) -> set[int]:
    return {each.time for each in actions if isinstance(each, WakeAt)}


REFUTE, BOXED, SETTLE = Duty.REFUTE, Duty.CHECKPOINT_BOXED, Duty.SETTLE
STALE = {AlertCode.STALE_DISPUTE: Level.WARNING}
NEAR = {**STALE, AlertCode.DEADLINE_NEAR: Level.CRITICAL}
UNKNOWN = {AlertCode.PORTFOLIO_UNKNOWN: Level.WARNING}
BEHIND = {AlertCode.EVIDENCE_MISSING: Level.WARNING}

REFUTATIONS = [
    # held, recorded, seconds before the deadline -> sent, alerts
    ("newer permanent", [7], 3, WINDOW, [7], STALE),
    ("what is recorded is ours", [7], 7, WINDOW, [], {}),
    ("nothing is recorded and we hold nothing", [], 0, WINDOW, [], {}),
    ("nothing is recorded but we hold something", [1], 0, WINDOW, [1], STALE),
    ("recorded is newer than ours", [7], 9, WINDOW, [], {**BEHIND, **UNKNOWN}),
    ("boxed in its box", [(8, T0 + 100)], 3, WINDOW, [8], STALE),
    ("boxed, its last second", [(8, T0)], 3, WINDOW, [], UNKNOWN),
    ("boxed past its box, permanent below", [7, (8, T0 - 1)], 3, WINDOW, [7], STALE),
    ("boxed in its box, permanent below", [7, (8, T0 + 100)], 3, WINDOW, [8], STALE),
    ("permanent beats older boxed", [9, (8, T0 + 100)], 3, WINDOW, [9], STALE),
    ("recorded boxed, permanent below", [7, (8, T0 + 100)], 8, WINDOW, [], {}),
    ("the last quarter begins", [7], 3, WINDOW // 4, [7], NEAR),
    ("just before it", [7], 3, WINDOW // 4 + 1, [7], STALE),
    ("a second is left", [7], 3, 1, [7], NEAR),
    ("a box that outlasts the window", [7, (8, T0 + 100)], 3, 60, [8, 7], NEAR),
    ("a box into the last quarter", [7, (8, T0 + 100)], 3, WINDOW // 4 + 50, [8, 7], STALE),
]


@pytest.mark.parametrize(
    ("held", "recorded", "left", "sent", "told"),
    [each[1:] for each in REFUTATIONS],
    ids=[each[0] for each in REFUTATIONS],
)
def test_refute(
    held: list[int | tuple[int, int]],
    recorded: int,
    left: int,
    sent: list[int],
    told: dict[AlertCode, Level],
) -> None:
    stands = co_signed(recorded) if recorded else None
    if recorded == 8:  # the boxed state of the same nonce
        stands = co_signed(8, valid_until=T0 + 100)
    view = make_view(recorded=stands, deadline=T0 + left)
    actions = decide(watching(*held), view, make_head())
    assert submits(actions) == [(REFUTE, nonce) for nonce in sent]
    assert alerts(actions) == told
    assert T0 + left in wakes(actions)


def test_refuting_wakes_when_help_must_be_called() -> None:
    actions = decide(watching(7), make_view(), make_head())
    assert wakes(actions) == {DEADLINE - WINDOW // 4, DEADLINE}
    actions = decide(watching(7), make_view(), make_head(), policy=Policy(alert_percent=50))
    assert DEADLINE - WINDOW // 2 in wakes(actions)


def test_a_dispute_of_our_own_side_says_so() -> None:
    for side, text in ((Party.B, "our own side"), (Party.A, "somebody"), (None, "somebody")):
        actions = decide(watching(7, side=side), make_view(), make_head())
        [stale] = [each for each in actions if isinstance(each, Alert)]
        assert text in stale.text


@pytest.mark.parametrize(
    "view", [make_view(NONE), make_view(OPEN), make_view(OPEN, co_signed(3)), make_view(CLOSED)]
)
def test_no_dispute_no_deed(view: ChannelView) -> None:
    assert submits(decide(watching(7), view, make_head())) == []


def test_a_view_read_before_the_deadline_is_run_off_from_it_on() -> None:
    view = make_view(recorded=co_signed(3))
    late = decide(watching(7), view, make_head(DEADLINE))
    assert alerts(late) == {
        AlertCode.STALE_STANDS: Level.CRITICAL,
        AlertCode.PORTFOLIO_UNKNOWN: Level.CRITICAL,
    }
    assert submits(late) == []


def test_rival_states_are_told_of_and_the_first_one_defends() -> None:
    one, other = co_signed(7), co_signed(7, make_portfolio(1_000))
    watched = start_watching(evidence(), DOMAIN)
    watched = watched.with_evidence(evidence(one, other), recorded=())
    actions = decide(watched, make_view(), make_head())
    assert alerts(actions)[AlertCode.RIVAL_STATES] is Level.CRITICAL
    assert [each.call for each in actions if isinstance(each, Submit)] == [
        Checkpoint(terms=watched.terms, newest=one)
    ]


@pytest.mark.parametrize(
    ("affirm_by", "time", "recorded", "sent", "told", "wake"),
    [
        (0, T0, 0, [], {}, set()),
        (T0 + 40, T0, 0, [], {}, {T0 + 40}),
        (T0 + 40, T0 + 40, 0, [(BOXED, 8)], {}, {T0 + 120}),
        (T0 + 40, T0 + 119, 0, [(BOXED, 8)], {}, {T0 + 120}),
        (T0 + 40, T0 + 120, 0, [], {AlertCode.BOX_MISSED: Level.WARNING}, set()),
        (T0 + 40, T0 + 500, 8, [], {}, set()),
    ],
)
def test_checkpoint_boxed_where_asked(
    affirm_by: int,
    time: int,
    recorded: int,
    sent: list[tuple[Duty, int]],
    told: dict[AlertCode, Level],
    wake: set[int],
) -> None:
    watched = watching(7, (8, T0 + 120), affirm_by=affirm_by)
    view = make_view(OPEN, co_signed(8, valid_until=T0 + 120) if recorded else None)
    actions = decide(watched, view, make_head(time))
    assert (submits(actions), alerts(actions), wakes(actions)) == (sent, told, wake)


def test_an_affirmation_ends_the_wish_to_record_the_boxed_state() -> None:
    watched = watching((8, T0 + 120), affirm_by=T0).with_evidence(evidence(co_signed(9)))
    assert decide(watched, make_view(OPEN), make_head(T0 + 60)) == ()


# ---------------------------------------------------------------- run-off

LATER = EXPIRY + 30 * DAY
TWO = make_portfolio(0, put(2), put(expiry=LATER))
KNOWN = PriceFact(status=PriceStatus.KNOWN, price=2_500 * WAD)
UNSET = PriceFact()


def run_off(time: int, prices: Prices, *, deadline: int = DEADLINE) -> tuple[Action, ...]:
    """Decisions about TWO, recorded at nonce 5."""
    state = co_signed(5, TWO)
    watched = start_watching(evidence(state), DOMAIN).with_evidence(evidence(state), recorded=())
    return decide(
        watched, make_view(RUN_OFF, state, deadline=deadline), make_head(time), prices=prices
    )


def test_without_positions_it_settles_at_the_deadline() -> None:
    view = make_view(recorded=co_signed(5))
    assert submits(decide(watching(5), view, make_head(DEADLINE - 1))) == []
    assert submits(decide(watching(5), view, make_head(DEADLINE))) == [(SETTLE, 0)]
    nothing = decide(watching(), make_view(), make_head(DEADLINE))
    [settle] = [each for each in nothing if isinstance(each, Submit)]
    assert isinstance(settle.call, Settle)
    assert settle.call.portfolio == EMPTY_PORTFOLIO


def test_settles_at_each_expiry_once_priced() -> None:
    before = run_off(DEADLINE, {})
    assert (submits(before), wakes(before)) == ([], {EXPIRY, LATER})
    asked = run_off(EXPIRY, {})
    assert submits(asked) == []
    assert NeedPrice(bucket=(ETH, EXPIRY)) in asked
    assert submits(run_off(EXPIRY, {(ETH, EXPIRY): UNSET})) == []
    known = run_off(EXPIRY, {(ETH, EXPIRY): KNOWN})
    assert submits(known) == [(SETTLE, 2)]
    assert not [each for each in known if isinstance(each, NeedPrice)]


@pytest.mark.parametrize(
    ("status", "time", "settles", "overdue"),
    [
        (PriceStatus.LAST_RESORT, EXPIRY + GRACE - 1, False, False),
        (PriceStatus.LAST_RESORT, EXPIRY + GRACE, True, False),
        (PriceStatus.NEVER, EXPIRY + GRACE - 1, False, False),
        (PriceStatus.NEVER, EXPIRY + GRACE, True, False),
        (PriceStatus.UNSET, EXPIRY + GRACE - 1, False, False),
        (PriceStatus.UNSET, EXPIRY + GRACE, False, True),
        (PriceStatus.UNSET, EXPIRY + GRACE + 30 * DAY - 1, False, True),
        (PriceStatus.UNSET, EXPIRY + GRACE + 30 * DAY, True, True),
    ],
)
def test_without_a_known_price(
    status: PriceStatus, time: int, settles: bool, overdue: bool
) -> None:
    position = make_portfolio(0, put())
    state = co_signed(5, position)
    watched = start_watching(evidence(state), DOMAIN).with_evidence(evidence(state), recorded=())
    fact = {(ETH, EXPIRY): PriceFact(status=status)}
    actions = decide(watched, make_view(RUN_OFF, state), make_head(time), prices=fact)
    assert submits(actions) == ([(SETTLE, 1)] if settles else [])
    assert (AlertCode.PRICE_OVERDUE in alerts(actions)) is overdue
    if not settles:
        assert min(wakes(actions)) in (EXPIRY + GRACE, EXPIRY + GRACE + 30 * DAY)


def test_waits_a_little_for_prices_of_the_same_hour() -> None:
    state = co_signed(5, make_portfolio(0, put(), put(feed=BTC)))
    watched = start_watching(evidence(state), DOMAIN).with_evidence(evidence(state), recorded=())
    view = make_view(RUN_OFF, state)
    prices = {(ETH, EXPIRY): KNOWN, (BTC, EXPIRY): UNSET}
    assert submits(decide(watched, view, make_head(EXPIRY + 599), prices=prices)) == []
    assert EXPIRY + 600 in wakes(decide(watched, view, make_head(EXPIRY + 599), prices=prices))
    late = decide(watched, view, make_head(EXPIRY + 600), prices=prices)
    assert submits(late) == [(SETTLE, 2)]
    assert NeedPrice(bucket=(BTC, EXPIRY)) in late
    both = {(ETH, EXPIRY): KNOWN, (BTC, EXPIRY): KNOWN}
    assert submits(decide(watched, view, make_head(EXPIRY), prices=both)) == [(SETTLE, 2)]


def test_what_expires_after_an_undecided_cure_waits_for_it() -> None:
    state = co_signed(5, TWO)
    watched = start_watching(evidence(state), DOMAIN).with_evidence(evidence(state), recorded=())
    cure = EXPIRY - HOUR
    view = make_view(RUN_OFF, state, cure_end_b=cure)
    prices = {(ETH, EXPIRY): KNOWN}
    held = decide(watched, view, make_head(EXPIRY), prices=prices)
    assert submits(held) == []
    assert cure + GRACE in wakes(held)
    lapsed = decide(watched, view, make_head(cure + GRACE), prices=prices)
    assert submits(lapsed) == [(SETTLE, 2)]


def test_a_portfolio_is_worked_out_when_the_settlement_was_not_seen() -> None:
    state = co_signed(5, TWO)
    watched = start_watching(evidence(state), DOMAIN).with_evidence(evidence(state), recorded=())
    # 2 puts struck at 3,000, settled at 2,500, paid A 1,000: net_to_b falls by that.
    left = attrs.evolve(TWO, net_to_b=-1_000 * 10**6, positions=TWO.positions[1:])
    view = make_view(RUN_OFF, state, portfolio_hash=left.struct_hash)
    unknown = decide(watched, view, make_head(LATER))
    assert alerts(unknown) == {AlertCode.PORTFOLIO_UNKNOWN: Level.CRITICAL}
    assert NeedPrice(bucket=(ETH, EXPIRY)) in unknown
    prices = {(ETH, EXPIRY): KNOWN, (ETH, LATER): KNOWN}
    found = decide(watched, view, make_head(LATER), prices=prices)
    assert [each.call for each in found if isinstance(each, Submit)] == [
        Settle(terms=watched.terms, portfolio=left)
    ]


# ---------------------------------------------------------------- properties

NONCES = st.integers(1, 12)
STATES = st.one_of(NONCES, st.tuples(NONCES, st.integers(T0 - 100, T0 + 300)))


@st.composite
def situations(draw: st.DrawFn) -> tuple[Watched, ChannelView, Head]:
    watched = watching(
        *draw(st.lists(STATES, max_size=5)), affirm_by=draw(st.sampled_from([0, T0, T0 + 50]))
    )
    phase = draw(st.sampled_from([OPEN, DISPUTED, RUN_OFF, CLOSED, NONE]))
    recorded = draw(st.one_of(st.none(), NONCES.map(co_signed)))
    deadline = draw(st.integers(T0 - 50, T0 + 400))
    time = draw(st.integers(T0 - 100, T0 + 400))
    view = make_view(phase, recorded, deadline=deadline)
    if phase is RUN_OFF:
        time = max(time, deadline)
    return watched, view, make_head(time)


def reference(watched: Watched, view: ChannelView, head: Head) -> int | None:
    """The nonce that must win at this head: the newest held that the contract would record."""
    if view.phase is not DISPUTED or head.timestamp >= view.deadline:
        return None
    held = [each.state for each in (watched.permanent, watched.boxed) if each is not None]
    nonces = [
        each.nonce
        for each in held
        if each.nonce > view.nonce and (each.valid_until == 0 or head.timestamp < each.valid_until)
    ]
    return max(nonces, default=None)


@given(situations())
def test_never_sends_anything_the_contract_would_not_record(
    situation: tuple[Watched, ChannelView, Head],
) -> None:
    watched, view, head = situation
    for action in decide(watched, view, head):
        if isinstance(action, Submit) and isinstance(action.call, Checkpoint):
            state = action.call.newest.state
            assert state.nonce > view.nonce
            assert state.valid_until == 0 or head.timestamp < state.valid_until
            assert view.phase in (OPEN, DISPUTED)
            assert view.phase is OPEN or head.timestamp < view.deadline
            assert state.channel_id == ID


@given(situations())
def test_always_answers_a_stale_dispute_in_time(
    situation: tuple[Watched, ChannelView, Head],
) -> None:
    newest = reference(*situation)
    sent = [nonce for duty, nonce in submits(decide(*situation)) if duty is REFUTE]
    assert (sent[0] if sent else None) == newest


@given(situations())
def test_is_a_function_of_what_is_passed_in(
    situation: tuple[Watched, ChannelView, Head],
) -> None:
    watched, view, head = situation
    first = decide(watched, view, head)
    assert decide(watched, view, head) == first
    keys = [each.key for each in first if isinstance(each, Submit)]
    assert len(set(keys)) == len(keys)
    for wake in first:
        if isinstance(wake, WakeAt):
            assert wake.time > head.timestamp or view.phase is OPEN


@given(situations())
def test_is_done_once_the_chain_shows_it(situation: tuple[Watched, ChannelView, Head]) -> None:
    """With the newest acceptable state recorded there is nothing left to send."""
    watched, view, head = situation
    newest = reference(watched, view, head)
    if newest is not None:
        done = attrs.evolve(view, nonce=newest)
        assert not [each for each in submits(decide(watched, done, head)) if each[0] is REFUTE]
