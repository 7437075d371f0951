"""The quick `evolve` against that of attrs, and what it refuses to copy."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import attrs
import pytest

from channels.protocol.channel import Channel, Phase
from channels.protocol.evolving import evolve
from channels.protocol.ledger import Entry, Ledger
from channels.protocol.rules import Circumstances
from channels.protocol.types import Party, State
from tests.protocol.build import ID, T0
from tests.protocol.world import opened

STATE = State(channel_id=ID, nonce=1, valid_until=T0)


def test_it_makes_what_attrs_makes() -> None:
    channel = opened().alice.channel
    entry = Entry(value=STATE)
    around = channel.circumstances
    cases: list[tuple[Any, dict[str, Any]]] = [
        (channel, {}),
        (channel, {"phase": Phase.PROPOSED, "now": T0 + 1, "outbox": ()}),
        (channel.ledger, {"entries": (entry,), "highest_mine": 1}),
        (entry, {"signed_at": T0, "declined": True}),
        (around, {"head_is_fresh": False, "recovering": True}),
    ]
    for value, changes in cases:
        before = attrs.asdict(value, recurse=False)
        made = evolve(value, **changes)
        assert made == attrs.evolve(value, **changes)
        assert type(made) is type(value)
        assert made is not value
        assert attrs.asdict(value, recurse=False) == before
        again: Any = evolve(made, **{name: before[name] for name in changes})
        assert again == value


def test_what_it_makes_is_as_frozen() -> None:
    made = evolve(Entry(value=STATE), signed_at=T0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.signed_at = 0  # type: ignore[misc]


@pytest.mark.parametrize("kind", [Channel, Circumstances, Entry, Ledger])
def test_what_it_copies_checks_nothing_at_construction(kind: type) -> None:
    assert not hasattr(kind, "__attrs_post_init__")
    fields = attrs.fields(kind)
    assert {each.validator for each in fields} | {each.converter for each in fields} == {None}


def test_it_knows_no_other_fields() -> None:
    with pytest.raises(TypeError, match="with other fields than its own"):
        evolve(Entry(value=STATE), nonce=3)  # type: ignore[call-arg]


@attrs.frozen(slots=False)
class _Checked:
    size: int

    def __attrs_post_init__(self) -> None:
        assert self.size > 0


@attrs.frozen(slots=False)
class _Worked:
    side: Party

    @cached_property
    def other(self) -> Party:
        return self.side.other


def test_it_passes_no_check_by() -> None:
    with pytest.raises(TypeError, match="checks what it is made of"):
        evolve(_Checked(3), size=-1)


def test_it_carries_nothing_over_that_was_worked_out() -> None:
    worked = _Worked(Party.A)
    assert evolve(worked, side=Party.B).other is Party.A
    assert worked.other is Party.B
    with pytest.raises(TypeError, match="with other fields than its own"):
        evolve(worked, side=Party.B)
