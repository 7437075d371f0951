"""The seven signing rules, clause by clause (protocol.md, "Signing rules"): what passes, what not.

Every expectation is written from the rule's text; ledgers are made by hand, not by the machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs
import pytest

from channels.errors import SigningRefusedError
from channels.protocol.ledger import BoxClock, Entry, Full, Ledger
from channels.protocol.rules import Candidate, Circumstances, check
from channels.protocol.signing import Signature
from channels.protocol.types import Closing, Party, Portfolio, State
from tests.protocol.build import ID

A, B = Party.A, Party.B
NOW = 10_000
BOX = NOW + 120
SOME = Signature(bytes(63) + b"\x01")
"""Who signed matters to the rules, not what."""

P0 = Portfolio(net_to_b=0)
P1 = Portfolio(net_to_b=1)
P2 = Portfolio(net_to_b=2)
Q = b"q" * 16
OTHER_Q = b"o" * 16
F_NONCE = 10


def state(nonce: int, portfolio: Portfolio = P1, *, until: int = BOX) -> State:
    return State(channel_id=ID, nonce=nonce, valid_until=until, portfolio=portfolio)


def permanent(nonce: int, portfolio: Portfolio = P0) -> State:
    return state(nonce, portfolio, until=0)


def closing(nonce: int, *, until: int = BOX) -> Closing:
    return Closing(channel_id=ID, nonce=nonce, valid_until=until, net_to_b=0)


def mine(value: State | Closing, *, quote: bytes | None = None) -> Entry:
    return Entry(value=value, mine=SOME, quote=quote)


def theirs(value: State | Closing, *, quote: bytes | None = None) -> Entry:
    return Entry(value=value, theirs=SOME, quote=quote)


def both(value: State | Closing) -> Entry:
    return Entry(value=value, mine=SOME, theirs=SOME)


def around(
    *entries: Entry,
    side: Party = A,
    head: int = NOW,
    final: int = NOW - 36,
    recorded: int = 0,
    final_recorded: int = 0,
    disputed: bool = False,
    within: Callable[[Portfolio], bool] = lambda _: True,
    max_in_flight: int = 16,
    highest_mine: int | None = None,
    recovering: bool = False,
    fresh: bool = True,
) -> Circumstances:
    """F at nonce 10 with the empty portfolio P0, and these entries above it."""
    own = [each.nonce for each in entries if each.mine is not None]
    ledger = Ledger(
        side=side,
        full=Full(state=permanent(F_NONCE), mine=SOME, theirs=SOME),
        entries=tuple(sorted(entries, key=lambda each: each.nonce)),
        highest_mine=max([F_NONCE, *own]) if highest_mine is None else highest_mine,
    )
    clock = BoxClock(
        head_time=head, final_time=final, recorded=recorded, final_recorded=final_recorded
    )
    return Circumstances(
        ledger=ledger,
        clock=clock,
        max_in_flight=max_in_flight,
        disputed=disputed,
        within_limits=within,
        recovering=recovering,
        head_is_fresh=fresh,
    )


def passes(candidate: Candidate, circumstances: Circumstances) -> None:
    check(candidate, circumstances)


def refuses(rule: int, candidate: Candidate, circumstances: Circumstances) -> None:
    with pytest.raises(SigningRefusedError) as caught:
        check(candidate, circumstances)
    found = re.match(r"signing rule (\d):", str(caught.value))
    assert found is not None
    assert int(found[1]) == rule, str(caught.value)
    assert caught.value.fault == "ours"


# ---------------------------------------------------------------- 1: nonces


class TestRule1:
    def test_above_every_nonce_i_signed(self) -> None:
        dead = mine(state(15, P1, until=NOW - 100))
        for nonce in (11, 13, 15):
            refuses(1, Candidate(value=state(nonce)), around(dead, highest_mine=15))
        passes(Candidate(value=state(17)), around(dead, highest_mine=15))

    def test_a_signature_forgotten_by_the_ledger_counts_still(self) -> None:
        refuses(1, Candidate(value=state(13)), around(highest_mine=13))
        passes(Candidate(value=state(15)), around(highest_mine=13))

    def test_not_at_or_below_f(self) -> None:
        refuses(1, Candidate(value=state(9)), around(highest_mine=0))

    def test_above_every_other_nonce_the_other_signed(self) -> None:
        refuses(1, Candidate(value=state(11)), around(theirs(state(12, P2))))
        passes(Candidate(value=state(13)), around(theirs(state(12, P2))))

    def test_countersigning_counts_the_others_too(self) -> None:
        waiting = (theirs(state(12, P1)), theirs(state(14, P2)))
        refuses(1, Candidate(value=state(12, P1)), around(*waiting))
        passes(Candidate(value=state(14, P2)), around(*waiting))

    def test_the_sides_of_a_quote_are_excepted(self) -> None:
        sides = (theirs(state(12, P1), quote=Q), theirs(state(14, P2), quote=Q))
        passes(Candidate(value=state(12, P1), quote=Q), around(*sides))
        passes(Candidate(value=state(14, P2), quote=Q), around(*sides))

    def test_sides_of_another_quote_are_not(self) -> None:
        sides = (theirs(state(12, P1), quote=Q), theirs(state(14, P2), quote=OTHER_Q))
        refuses(1, Candidate(value=state(12, P1), quote=Q), around(*sides))

    def test_without_a_quote_nothing_is_excepted(self) -> None:
        waiting = (theirs(state(12, P1)), theirs(state(14, P2)))
        refuses(1, Candidate(value=state(12, P1), quote=None), around(*waiting))

    def test_countersigning_a_permanent_state_is_excepted(self) -> None:
        seen = (theirs(state(14, P1)), theirs(permanent(12)))
        passes(Candidate(value=permanent(12)), around(*seen))

    def test_but_not_from_what_i_signed_myself(self) -> None:
        seen = (mine(state(13, P0)), theirs(permanent(12)))
        refuses(1, Candidate(value=permanent(12)), around(*seen))

    def test_a_permanent_state_i_sign_first_is_not_excepted(self) -> None:
        refuses(1, Candidate(value=permanent(11)), around(theirs(state(12, P1))))

    def test_a_closing_takes_a_nonce_like_a_state(self) -> None:
        refuses(1, Candidate(value=closing(11)), around(theirs(state(12, P1))))
        refuses(1, Candidate(value=state(11)), around(theirs(closing(12))))


# ---------------------------------------------------------------- 2: what is in flight


class TestRule2:
    @pytest.mark.parametrize("most", [8, 16, 64])
    def test_first_signature_on_a_boxed_state_leaves_two(self, most: int) -> None:
        limit = F_NONCE + most - 2
        last = max(nonce for nonce in range(limit + 1) if A.leads(nonce))
        passes(Candidate(value=state(last)), around(max_in_flight=most))
        refuses(2, Candidate(value=state(last + 2)), around(max_in_flight=most))

    def test_the_last_two_serve_a_void(self) -> None:
        assert F_NONCE + 16 == 26
        passes(Candidate(value=permanent(25)), around(max_in_flight=16))
        refuses(2, Candidate(value=permanent(27)), around(max_in_flight=16))

    def test_the_last_two_serve_an_affirmation(self) -> None:
        accepted = Candidate(value=permanent(26, P1), affirms=P1)
        passes(accepted, around(both(state(23)), side=B))
        late = Candidate(value=permanent(28, P1), affirms=P1)
        refuses(2, late, around(both(state(23)), side=B))

    def test_a_second_signature_has_the_whole_flight(self) -> None:
        passes(Candidate(value=state(25)), around(theirs(state(25)), side=B))
        refuses(2, Candidate(value=state(27)), around(theirs(state(27)), side=B))

    def test_a_permanent_second_signature_has_it_too(self) -> None:
        passes(Candidate(value=permanent(26)), around(theirs(permanent(26))))
        refuses(2, Candidate(value=permanent(28)), around(theirs(permanent(28))))


# ---------------------------------------------------------------- 3: permanent states


class TestRule3:
    def test_an_affirmation_carries_what_was_accepted(self) -> None:
        accepted = both(state(11, P1))
        passes(Candidate(value=permanent(12, P1), affirms=P1), around(accepted, side=B))
        refuses(3, Candidate(value=permanent(12, P2), affirms=P1), around(accepted, side=B))

    def test_no_affirmation_without_an_acceptance(self) -> None:
        refuses(3, Candidate(value=permanent(12, P1)), around(both(state(11, P1)), side=B))

    def test_a_void_carries_the_last_permanent_portfolio(self) -> None:
        passes(Candidate(value=permanent(11, P0)), around())
        refuses(3, Candidate(value=permanent(11, P1)), around())

    def test_no_void_while_something_alive_carries_another(self) -> None:
        refuses(3, Candidate(value=permanent(13)), around(mine(state(11, P1))))
        refuses(3, Candidate(value=permanent(14)), around(both(state(11, P1)), side=B))
        refuses(3, Candidate(value=permanent(14)), around(mine(permanent(12, P1)), side=B))

    def test_what_only_the_other_signed_is_not_alive(self) -> None:
        passes(Candidate(value=permanent(12)), around(theirs(state(11, P1)), side=B))

    def test_alive_until_the_box_passed_in_a_final_block(self) -> None:
        passed_at_head = around(mine(state(11, P1)), head=BOX + 1, final=BOX)
        refuses(3, Candidate(value=permanent(13)), passed_at_head)
        final = around(mine(state(11, P1)), head=BOX + 37, final=BOX + 1)
        passes(Candidate(value=permanent(13)), final)

    def test_alive_until_the_final_chain_recorded_more(self) -> None:
        recorded = around(mine(state(11, P1)), recorded=12)
        refuses(3, Candidate(value=permanent(13)), recorded)

    def test_a_void_beside_an_alive_void(self) -> None:
        passes(Candidate(value=permanent(13)), around(mine(permanent(11, P0))))

    def test_a_countersigned_void_carries_gs_portfolio(self) -> None:
        passes(Candidate(value=permanent(12, P0)), around(theirs(permanent(12, P0))))
        refuses(3, Candidate(value=permanent(12, P1)), around(theirs(permanent(12, P1))))

    def test_what_governs_is_not_known_on_an_old_head(self) -> None:
        void = Candidate(value=permanent(12, P0))
        refuses(3, void, around(theirs(permanent(12, P0)), fresh=False))
        accepted = (both(state(11, P1)), theirs(permanent(12, P1)))
        refuses(3, Candidate(value=permanent(12, P1)), around(*accepted, fresh=False))

    def test_an_old_head_keeps_nobody_from_signing_first(self) -> None:
        passes(Candidate(value=permanent(11, P0)), around(fresh=False))
        passes(Candidate(value=state(11, P1)), around(fresh=False))

    def test_a_countersigned_affirmation_carries_gs_portfolio(self) -> None:
        accepted = (both(state(11, P1)), theirs(permanent(12, P1)))
        passes(Candidate(value=permanent(12, P1)), around(*accepted))
        refuses(3, Candidate(value=permanent(12, P0)), around(*accepted))

    def test_g_drops_a_box_that_passed_at_the_head(self) -> None:
        accepted = (both(state(11, P1)), theirs(permanent(12, P1)))
        in_time = around(*accepted, head=BOX, final=BOX - 36)
        passes(Candidate(value=permanent(12, P1)), in_time)
        late = around(*accepted, head=BOX + 1, final=BOX - 36)
        refuses(3, Candidate(value=permanent(12, P1)), late)

    def test_g_is_what_the_chain_recorded_even_out_of_its_box(self) -> None:
        late = around(both(state(11, P1)), theirs(permanent(12, P1)), head=BOX + 1, recorded=11)
        passes(Candidate(value=permanent(12, P1)), late)

    def test_g_is_what_the_chain_recorded_without_my_holding_both(self) -> None:
        """The acceptor filed it; its Accept never reached me."""
        around_it = around(mine(state(11, P1)), theirs(permanent(12, P0)), recorded=11)
        refuses(3, Candidate(value=permanent(12, P0)), around_it)

    def test_my_own_void_needs_no_g(self) -> None:
        dead = (both(state(11, P1, until=NOW - 100)),)
        passes(Candidate(value=permanent(13, P0)), around(*dead))


# ---------------------------------------------------------------- 4: boxed states


class TestRule4:
    def test_never_an_empty_change(self) -> None:
        refuses(4, Candidate(value=state(11, P0)), around())
        refuses(4, Candidate(value=state(12, P0)), around(theirs(state(12, P0))))

    def test_first_only_while_nothing_alive_carries_another(self) -> None:
        passes(Candidate(value=state(11, P1)), around())
        refuses(4, Candidate(value=state(13, P2)), around(mine(state(11, P1))))
        refuses(4, Candidate(value=state(14, P2)), around(mine(permanent(12, P1)), side=B))

    def test_an_alive_void_is_no_hindrance(self) -> None:
        passes(Candidate(value=state(13, P1)), around(mine(permanent(11, P0))))

    def test_it_dies_in_a_final_block_only(self) -> None:
        box = mine(state(11, P1))
        refuses(4, Candidate(value=state(13, P2)), around(box, head=BOX + 20, final=BOX))
        passes(Candidate(value=state(13, P2)), around(box, head=BOX + 40, final=BOX + 1))

    def test_the_alternatives_of_one_quote_are_in_flight_together(self) -> None:
        first = mine(state(11, P1), quote=Q)
        passes(Candidate(value=state(13, P2), quote=Q), around(first))
        refuses(4, Candidate(value=state(13, P2), quote=OTHER_Q), around(first))
        refuses(4, Candidate(value=state(13, P2)), around(first))

    def test_two_proposals_outside_quotes_are_no_alternatives(self) -> None:
        refuses(4, Candidate(value=state(13, P2), quote=None), around(mine(state(11, P1))))

    def test_second_only_while_g_is_f(self) -> None:
        passes(Candidate(value=state(12, P2)), around(theirs(state(12, P2))))
        governed = around(both(state(11, P1)), theirs(state(12, P2)))
        refuses(4, Candidate(value=state(12, P2)), governed)

    def test_second_may_stand_beside_my_own_boxed_one(self) -> None:
        """Both proposed at once: the higher nonce goes first."""
        passes(Candidate(value=state(12, P2)), around(mine(state(11, P1)), theirs(state(12, P2))))

    def test_second_not_beside_a_permanent_one_of_mine_with_another(self) -> None:
        affirmed = around(mine(permanent(12, P1)), theirs(state(13, P2)), side=B)
        refuses(4, Candidate(value=state(13, P2)), affirmed)
        voided = around(mine(permanent(12, P0)), theirs(state(13, P2)), side=B)
        passes(Candidate(value=state(13, P2)), voided)

    def test_a_two_way_quote_is_taken_on_one_side(self) -> None:
        taken = (
            both(state(12, P1)),
            mine(permanent(15, P1)),
            theirs(state(14, P2), quote=Q),
        )
        refuses(1, Candidate(value=state(14, P2), quote=Q), around(*taken))
        first_taken = (both(state(12, P1)), theirs(state(14, P2), quote=Q))
        refuses(4, Candidate(value=state(14, P2), quote=Q), around(*first_taken))


# ---------------------------------------------------------------- 5: margin


def only(*portfolios: Portfolio) -> Callable[[Portfolio], bool]:
    return lambda portfolio: portfolio in portfolios


class TestRule5:
    def test_margin_under_f_everything_alive_and_m(self) -> None:
        passes(Candidate(value=state(11, P1)), around(within=only(P0, P1)))
        refuses(5, Candidate(value=state(11, P1)), around(within=only(P0)))
        refuses(5, Candidate(value=state(11, P1)), around(within=only(P1)))

    def test_under_what_is_alive(self) -> None:
        alive = (mine(state(11, P1)), theirs(state(12, P2)))
        passes(Candidate(value=state(12, P2)), around(*alive, within=only(P0, P1, P2)))
        refuses(5, Candidate(value=state(12, P2)), around(*alive, within=only(P0, P2)))

    def test_every_side_of_a_quote_counts(self) -> None:
        first = mine(state(11, P1), quote=Q)
        second = Candidate(value=state(13, P2), quote=Q)
        refuses(5, second, around(first, within=only(P0, P2)))
        passes(second, around(first, within=only(P0, P1, P2)))

    def test_what_is_dead_does_not_count(self) -> None:
        dead = mine(state(11, P1, until=NOW - 100))
        passes(Candidate(value=state(13, P2)), around(dead, within=only(P0, P2)))

    def test_or_it_reduces_risk(self) -> None:
        passes(Candidate(value=state(11, P1), reduces_risk=True), around(within=only()))

    def test_remarks_voids_and_affirmations_always_pass(self) -> None:
        passes(Candidate(value=state(11, P1), remark=True), around(within=only()))
        passes(Candidate(value=permanent(11)), around(within=only()))
        affirmation = Candidate(value=permanent(12, P1), affirms=P1)
        passes(affirmation, around(both(state(11, P1)), side=B, within=only()))
        passes(Candidate(value=permanent(12)), around(theirs(permanent(12)), within=only()))


# ---------------------------------------------------------------- 6: Withdrawals and Closings


class TestRule6:
    @pytest.mark.parametrize(
        ("candidate", "beside"),
        [
            (Candidate(value=state(12, P1)), theirs(state(12, P1))),
            (Candidate(value=state(12, P1), remark=True), theirs(state(12, P1))),
            (Candidate(value=permanent(12)), theirs(permanent(12))),
            (Candidate(value=closing(12)), theirs(closing(12))),
            (Candidate(value=closing(13)), theirs(state(12, P1))),
        ],
    )
    def test_nothing_while_a_closing_is_alive(self, candidate: Candidate, beside: Entry) -> None:
        refuses(6, candidate, around(mine(closing(11)), beside))
        passes(candidate, around(beside))

    @pytest.mark.parametrize("value", [state(13, P1), permanent(13)])
    def test_nor_anything_signed_first(self, value: State) -> None:
        """A Closing carries no portfolio at all, so rules 3 and 4 may be the first to refuse."""
        with pytest.raises(SigningRefusedError, match=r"signing rule [346]:"):
            check(Candidate(value=value), around(mine(closing(11))))
        passes(Candidate(value=value), around())

    def test_a_closing_dies_with_its_box_in_a_final_block(self) -> None:
        again = (Candidate(value=closing(12)), mine(closing(11)), theirs(closing(12)))
        refuses(6, again[0], around(*again[1:], head=BOX + 9, final=BOX))
        passes(again[0], around(*again[1:], head=BOX + 9, final=BOX + 1))

    def test_a_closing_below_f_is_alive_for_the_chain(self) -> None:
        """The chain compares with what it has recorded, not with F."""
        answer = Candidate(value=state(12, P1))
        outlived = (mine(closing(9)), theirs(state(12, P1)))
        refuses(6, answer, around(*outlived, highest_mine=10))
        passes(answer, around(*outlived, highest_mine=10, recorded=10, final_recorded=10))

    def test_a_record_that_is_not_final_does_not_kill_it(self) -> None:
        outlived = (mine(closing(9)), theirs(state(12, P1)))
        refuses(6, Candidate(value=state(12, P1)), around(*outlived, recorded=10))

    def test_a_closing_that_i_did_not_sign_binds_me_not(self) -> None:
        passes(Candidate(value=state(13, P1)), around(theirs(closing(12))))

    @pytest.mark.parametrize(
        "alive",
        [mine(state(11, P1)), mine(permanent(11, P0)), mine(state(11, P1), quote=Q)],
        ids=["boxed", "void", "quote"],
    )
    def test_no_closing_while_anything_is_alive(self, alive: Entry) -> None:
        refuses(6, Candidate(value=closing(13)), around(alive))
        refuses(6, Candidate(value=closing(14)), around(alive, theirs(closing(14))))

    def test_a_closing_when_nothing_is(self) -> None:
        dead = mine(state(11, P1, until=NOW - 100))
        passes(Candidate(value=closing(13)), around(dead))
        passes(Candidate(value=closing(12)), around(theirs(closing(12))))


# ---------------------------------------------------------------- 7: disputes


class TestRule7:
    @pytest.mark.parametrize(
        "candidate",
        [
            Candidate(value=state(11, P1)),
            Candidate(value=state(11, P1), remark=True),
            Candidate(value=permanent(11)),
            Candidate(value=state(11, P1), reduces_risk=True),
        ],
    )
    def test_nothing_in_a_dispute(self, candidate: Candidate) -> None:
        refuses(7, candidate, around(disputed=True))
        passes(candidate, around(disputed=False))

    def test_a_closing_excepted(self) -> None:
        passes(Candidate(value=closing(11)), around(disputed=True))


def test_the_first_rule_broken_is_named() -> None:
    broken = around(mine(closing(11)), disputed=True, within=only(), max_in_flight=2)
    refuses(1, Candidate(value=state(9, P0)), broken)
    refuses(2, Candidate(value=state(13, P0)), broken)


def test_checking_changes_nothing() -> None:
    circumstances = around(mine(state(11, P1)))
    before = attrs.evolve(circumstances.ledger)
    refuses(4, Candidate(value=state(13, P2)), circumstances)
    assert circumstances.ledger == before


class TestRecoveryState:
    """protocol.md, "Durability" 4: boxed, far above F (nonce 10), F's portfolio, alone."""

    LEAP = 2**32
    FIRST = LEAP + 11
    """A's own parity."""

    def again(
        self, nonce: int = FIRST, portfolio: Portfolio = P0, *, until: int = BOX
    ) -> Candidate:
        return Candidate(value=state(nonce, portfolio, until=until), recovers=True)

    @pytest.mark.parametrize("side", Party)
    def test_either_side_signs_it_first_or_second(self, side: Party) -> None:
        for nonce in (self.FIRST, self.FIRST + 1, self.LEAP + 10, 2 * self.LEAP + 10):
            check(self.again(nonce), around(side=side, recovering=True))

    @pytest.mark.parametrize("nonce", [11, 26, LEAP, LEAP + 9, 2 * LEAP + 11])
    def test_it_lies_far_above_and_not_too_far(self, nonce: int) -> None:
        refuses(2, self.again(nonce), around(recovering=True))

    def test_rule_1_binds_it(self) -> None:
        known = around(mine(state(self.FIRST + 2, P0)), recovering=True)
        refuses(1, self.again(), known)
        refuses(1, self.again(), around(theirs(state(self.FIRST + 1, P0)), recovering=True))

    def test_it_carries_fs_portfolio_in_a_box(self) -> None:
        refuses(4, self.again(portfolio=P1), around(recovering=True))
        refuses(3, self.again(until=0), around(recovering=True))

    def test_not_while_another_boxed_state_is_alive(self) -> None:
        for entry in (mine(state(11)), both(state(11)), mine(closing(11))):
            with pytest.raises(SigningRefusedError):
                check(self.again(), around(entry, recovering=True))
            check(self.again(), around(entry, recovering=True, head=BOX + 40, final=BOX + 1))

    def test_a_permanent_half_of_ours_may_be_passed(self) -> None:
        """The change whose Confirm was lost: it may end void."""
        check(self.again(), around(mine(permanent(12, P1)), recovering=True))

    def test_not_against_what_governs(self) -> None:
        recorded = around(mine(permanent(12, P1)), recovering=True, recorded=12)
        refuses(4, self.again(), recorded)

    def test_higher_than_our_own_of_the_same_portfolio(self) -> None:
        """Both are recovering: the higher nonce is countersigned."""
        own = mine(state(self.FIRST, P0))
        check(self.again(self.FIRST + 1), around(own, recovering=True))
        other = mine(state(self.FIRST, P1))
        refuses(4, self.again(self.FIRST + 1), around(other, recovering=True))

    def test_nothing_else_is_signed_meanwhile(self) -> None:
        for value in (state(13), permanent(13), closing(13)):
            refuses(7, Candidate(value=value), around(recovering=True))
        alive = around(both(state(self.FIRST, P0)), max_in_flight=2**34)
        for value in (closing(self.FIRST + 2), permanent(self.FIRST + 2)):
            refuses(6, Candidate(value=value), alive)

    def test_only_in_a_recovery_and_in_no_dispute(self) -> None:
        refuses(7, self.again(), around())
        refuses(7, self.again(), around(recovering=True, disputed=True))
