"""Each signing rule that a journal can show, broken in one and found by the audit.

A proposal of honest business is replaced by what the rule forbids, with the signer's own good
signature and a good hash chain: nothing but the rule tells them apart.
"""

from __future__ import annotations

import attrs
import pytest

from channels.audit import audit
from channels.audit.signing import SigningReplay
from channels.protocol import records
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import Deed
from channels.protocol.ledger import Entry, Full, Ledger
from channels.protocol.types import Closing, Party, State, Withdrawal
from channels.storage import verify_journal
from tests.audit.test_audit import Traded, forge, traded
from tests.chain.world import World

__all__ = ["traded"]


@attrs.frozen
class Proposed:
    """A proposal of alice's in her journal, and F as it was then."""

    seq: int
    entry: Entry
    full: State


def last_proposal(traded: Traded) -> Proposed:
    full, found = State(channel_id=traded.channel.channel_id, nonce=0), None
    for each in verify_journal(traded.alice):
        deed, _, entries = records.decode_journal_entry(each.body)
        if deed is Deed.PROPOSED:
            found = Proposed(each.seq, entries[-1], full)
        if deed in (Deed.FULL, Deed.CONFIRMED):
            value = entries[-1].value
            assert isinstance(value, State)
            full = value
    assert found is not None
    return found


def put_in_place(
    traded: Traded,
    world: World,
    place: Proposed,
    value: State | Closing | Withdrawal,
    phase: Phase = Phase.PROPOSED,
) -> None:
    """Sign ``value`` as alice in place of her proposal."""
    mine = world.signer_a.sign_digest(traded.channel.signable(value).digest)
    entry = attrs.evolve(place.entry, value=value, mine=mine, theirs=None)
    channel: Channel = attrs.evolve(traded.channel, phase=phase)
    body = records.encode_journal_entry(Deed.PROPOSED, (entry,), channel)
    forge(traded.alice, place.seq, body)


def breaches(traded: Traded, rule: int) -> list[int]:
    """Where the audit finds this rule broken."""
    findings = audit(traded.alice).findings
    return [each.seq for each in findings if f"signing rule {rule}:" in each.text]


def forbidden(rule: int, place: Proposed) -> State | Closing:
    boxed = place.entry.value
    assert isinstance(boxed, State)
    match rule:
        case 1:
            return attrs.evolve(boxed, nonce=place.full.nonce)
        case 2:
            return attrs.evolve(boxed, nonce=boxed.nonce + 40)
        case 3:
            return attrs.evolve(boxed, valid_until=0)
        case _:
            return attrs.evolve(boxed, portfolio=place.full.portfolio)


@pytest.mark.parametrize("rule", [1, 2, 3, 4])
async def test_a_forbidden_state_is_found(rule: int, traded: Traded, world: World) -> None:
    place = last_proposal(traded)
    assert breaches(traded, rule) == []
    put_in_place(traded, world, place, forbidden(rule, place))
    assert place.seq in breaches(traded, rule)


async def test_a_closing_beside_a_living_one_is_found(traded: Traded) -> None:
    boxed = last_proposal(traded).entry
    closing = Closing(
        channel_id=traded.channel.channel_id,
        nonce=boxed.nonce - 2,
        valid_until=boxed.signed_at + 3_600,
        net_to_b=0,
    )
    nothing = Full(state=State(channel_id=traded.channel.channel_id, nonce=0))

    def breaches_at(time: int) -> list[str]:
        replay = SigningReplay(Ledger(side=Party.A, full=nothing), max_in_flight=64)
        first = attrs.evolve(boxed, value=closing)
        again = attrs.evolve(closing, nonce=boxed.nonce, valid_until=time + 3_600)
        later = attrs.evolve(boxed, value=again, signed_at=time)
        return [
            breach
            for each, phase in ((first, Phase.IDLE), (later, Phase.CLOSING))
            for breach in replay.take(
                Deed.CLOSING, (each,), phase, signed_now=frozenset({each.nonce})
            )
        ]

    (breach,) = breaches_at(closing.valid_until)
    assert "signing rule 6:" in breach
    assert breaches_at(closing.valid_until + 1) == []


async def test_a_signature_after_a_dispute_is_found(traded: Traded, world: World) -> None:
    place = last_proposal(traded)
    put_in_place(traded, world, place, place.entry.value, Phase.DISPUTED)
    (seq, *_) = breaches(traded, 7)
    assert seq > place.seq
