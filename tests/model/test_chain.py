"""The explorer's contract and signatures against the ones they stand for."""

from __future__ import annotations

import pytest

from channels.errors import BadSignatureError
from channels.protocol.facts import OnChainPhase
from channels.protocol.signing import Signable, check_signature
from channels.protocol.types import Closing, Party, State
from tests.model.alphabet import TICK
from tests.model.chain import Call, Contract
from tests.model.machines import Machines
from tests.model.stand_ins import installed, signed_by
from tests.protocol.build import DOMAIN, ID, SIGNERS, T0

A, B = Party.A, Party.B


def test_a_stand_in_is_good_for_its_signer_and_its_value_alone() -> None:
    one, other = State(channel_id=ID, nonce=1), State(channel_id=ID, nonce=2)
    signature = signed_by(A, one)
    with installed():
        check_signature(signature, Signable(DOMAIN, one), SIGNERS[A].address)
        for value, side in ((other, A), (one, B)):
            with pytest.raises(BadSignatureError):
                check_signature(signature, Signable(DOMAIN, value), SIGNERS[side].address)
    with pytest.raises(BadSignatureError):
        check_signature(signature, Signable(DOMAIN, one), SIGNERS[A].address)


def _contract() -> tuple[Contract, Machines]:
    machines = Machines(8)
    return Contract(machines), machines


def _recorded(nonce: int, valid_until: int = 0) -> tuple[Contract, Call]:
    contract, machines = _contract()
    state = State(channel_id=ID, nonce=nonce, valid_until=valid_until)
    return contract, Call("record", machines.value(state), A)


def test_newest_wins() -> None:
    contract, newer = _recorded(3)
    older = Call("record", contract.machines.value(State(channel_id=ID, nonce=2)), A)
    assert contract.mined(contract.first, (newer, older)) is None
    block = contract.mined(contract.first, (older, newer))
    assert block is not None
    assert contract.views[block.view].nonce == 3


@pytest.mark.parametrize(("late", "taken"), [(0, True), (-1, False)])
def test_a_box_is_open_up_to_its_last_second(late: int, taken: bool) -> None:
    contract, call = _recorded(1, T0 + TICK + late)
    assert (contract.mined(contract.first, (call,)) is not None) is taken


def test_a_dispute_ends_at_its_deadline_and_takes_newer_states_until_then() -> None:
    contract, record = _recorded(5)
    filed = contract.mined(contract.first, (Call("dispute", -1, B),))
    assert filed is not None
    view = contract.views[filed.view]
    assert (view.phase, view.filer, view.filed_nonce) == (OnChainPhase.DISPUTED, B, 0)
    chain = contract.extended(contract.first, filed, final=True)
    answered = contract.mined(chain, (record,))
    assert answered is not None
    view = contract.views[answered.view]
    assert (view.nonce, view.filed_nonce) == (5, 0)
    chain = contract.extended(chain, answered, final=True)
    over = contract.mined(chain, ())
    assert over is not None
    assert contract.views[over.view].phase is OnChainPhase.RUN_OFF
    newer = Call("record", contract.machines.value(State(channel_id=ID, nonce=6)), A)
    assert contract.mined(chain, (newer,)) is None, "the deadline has passed"


def test_a_closing_needs_a_newer_nonce_and_its_box() -> None:
    contract, machines = _contract()
    closing = Closing(channel_id=ID, nonce=2, valid_until=T0 + TICK, net_to_b=0)
    close = Call("close", machines.value(closing), A)
    block = contract.mined(contract.first, (close,))
    assert block is not None
    assert contract.views[block.view].phase is OnChainPhase.CLOSED
    assert contract.mined(contract.first, (close,), seconds=TICK + 1) is None
    record = Call("record", machines.value(State(channel_id=ID, nonce=2)), A)
    assert contract.mined(contract.first, (record, close)) is None
