"""Every call as web3 encodes it by the compiled ABI, and every function there has its binding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from web3 import Web3

from channels.chain.artifacts import canonical_type, load_artifact
from channels.chain.bindings import FUNCTIONS, encode_call, party_from_chain, party_to_chain
from channels.chain.oracles import (
    ORACLE_FUNCTIONS,
    SettlementRounds,
    record_known_price,
    record_settlement,
    verify_round,
)
from channels.chain.readers import RISK_ENGINE_FUNCTIONS
from channels.errors import EndpointError, InvalidValueError
from channels.protocol.calls import (
    Abandon,
    Call,
    CallMargin,
    Checkpoint,
    CheckpointMany,
    Claim,
    Close,
    CloseOut,
    CoSigned,
    Deposit,
    Dispute,
    DisputeFor,
    Open,
    OpenWithPermit,
    Permit,
    Release,
    Settle,
    Withdraw,
)
from channels.protocol.scenarios import ScenarioIndex
from channels.protocol.signing import Signature
from channels.protocol.terms import RiskParams, Terms, hash_risk_params
from channels.protocol.types import Party
from tests.chain.test_abi import flat
from tests.vectors.test_digests import Values

Written = tuple[str, list[Any]]
"""A function's name and its arguments as the interface has them."""

ROUNDS = 15
COMMON_ORACLE = {"spot", "settlementPrice", "grace", "recordLastResort"}
ATTESTED_CALLS = {"submitSpot", "submitSettlement"}


class Made(Values):
    """Random values of what calls carry."""

    def signature(self) -> Signature:
        """Any 64 bytes."""
        return Signature(self.bytes(64))

    def cosigned(self) -> CoSigned:
        return CoSigned(
            state=self.state(), signature_a=self.signature(), signature_b=self.signature()
        )

    def risks(self) -> tuple[RiskParams, ...]:
        made = {
            each.feed: each for each in (self.risk() for _ in range(self.random.choice((1, 3))))
        }
        return tuple(made[feed] for feed in sorted(made))

    def agreed(self, risk: tuple[RiskParams, ...]) -> Terms:
        return attrs.evolve(self.terms(), risk_hash=hash_risk_params(risk))

    def permit(self) -> Permit | None:
        if self.random.random() < 0.3:
            return None
        deadline = self.unsigned(256) or 1
        return Permit(value=self.unsigned(256), deadline=deadline, signature=self.signature())

    def scenarios(self) -> tuple[ScenarioIndex, ...]:
        return tuple(
            ScenarioIndex(node=node, number=number, outliving=outliving)
            for node, number, outliving in self.random.sample(
                [(0, 0, False), (0, 17, True), (3, 2, False), (8, 1, True)],
                self.random.randint(0, 4),
            )
        )

    def party(self) -> Party:
        return self.random.choice((Party.A, Party.B))


def pair(value: Signature) -> tuple[bytes, bytes]:
    return value.compact[:32], value.compact[32:]


def permit_fields(permit: Permit | None) -> tuple[Any, ...]:
    if permit is None:
        return 0, 0, 0, bytes(32), bytes(32)
    r, vs = pair(permit.signature)
    parity, s = divmod(int.from_bytes(vs, "big"), 2**255)
    return permit.value, permit.deadline, 27 + parity, r, s.to_bytes(32, "big")


def number(party: Party) -> int:
    return 1 if party is Party.A else 2


# ---- a random value of each call, and what the interface makes of it


def make_open(v: Made) -> tuple[Call, Written]:
    o, a, b = v.opening(), v.bytes(65), v.random.randbytes(v.random.randint(0, 200))
    call = Open(opening=o, signature_a=a, signature_b=b)
    return call, ("open", [flat(o.terms), o.deposit_a, o.deposit_b, o.valid_until, a, b])


def make_open_with_permit(v: Made) -> tuple[Call, Written]:
    plain, (_, arguments) = make_open(v)
    assert isinstance(plain, Open)
    permits = v.permit(), v.permit()
    call = OpenWithPermit(
        opening=plain.opening,
        signature_a=plain.signature_a,
        signature_b=plain.signature_b,
        permit_a=permits[0],
        permit_b=permits[1],
    )
    return call, ("openWithPermit", [*arguments, *map(permit_fields, permits)])


def make_deposit(v: Made) -> tuple[Call, Written]:
    terms, party, amount = v.terms(), v.party(), v.unsigned(128)
    call = Deposit(terms=terms, party=party, amount=amount)
    return call, ("deposit", [flat(terms), number(party), amount])


def signed_state(each: Checkpoint) -> list[Any]:
    terms, state = each.terms, each.newest.state
    return [
        *(flat(terms.signer_a), flat(terms.signer_b), terms.struct_hash),
        *(state.nonce, state.valid_until, state.portfolio_hash),
    ]


def make_checkpoint(v: Made) -> tuple[Call, Written]:
    call = Checkpoint(terms=v.terms(), newest=v.cosigned())
    a, b = call.newest.signature_a, call.newest.signature_b
    return call, ("checkpoint", [*signed_state(call), *pair(a), *pair(b)])


def make_checkpoint_many(v: Made) -> tuple[Call, Written]:
    each = [Checkpoint(terms=v.terms(), newest=v.cosigned()) for _ in range(v.random.randint(1, 4))]
    written = [
        (*signed_state(one), pair(one.newest.signature_a), pair(one.newest.signature_b))
        for one in each
    ]
    return CheckpointMany(checkpoints=tuple(each)), ("checkpointMany", [written])


def make_withdraw(v: Made) -> tuple[Call, Written]:
    terms, withdrawal, a, b = v.terms(), v.withdrawal(), v.signature(), v.signature()
    call = Withdraw(terms=terms, withdrawal=withdrawal, signature_a=a, signature_b=b)
    return call, ("withdraw", [flat(terms), flat(withdrawal), pair(a), pair(b)])


def make_dispute(v: Made) -> tuple[Call, Written]:
    terms = v.terms()
    return Dispute(terms=terms, newest=None), ("dispute", [flat(terms)])


def make_dispute_with(v: Made) -> tuple[Call, Written]:
    terms, newest = v.terms(), v.cosigned()
    signatures = [pair(newest.signature_a), pair(newest.signature_b)]
    written = "dispute", [flat(terms), flat(newest.state), *signatures]
    return Dispute(terms=terms, newest=newest), written


def make_dispute_for(v: Made) -> tuple[Call, Written]:
    terms, newest, granted, signature = v.terms(), v.cosigned(), v.authorisation(), v.signature()
    call = DisputeFor(terms=terms, newest=newest, authorisation=granted, signature=signature)
    signatures = [pair(newest.signature_a), pair(newest.signature_b)]
    arguments = [flat(terms), flat(newest.state), *signatures, flat(granted), pair(signature)]
    return call, ("disputeFor", arguments)


def make_dispute_for_on_record(v: Made) -> tuple[Call, Written]:
    terms, granted, signature = v.terms(), v.authorisation(), v.signature()
    call = DisputeFor(terms=terms, newest=None, authorisation=granted, signature=signature)
    nothing: Any = (granted.channel_id, 0, 0, (0, 0, 0, 0, [], []))
    blank = (bytes(32), bytes(32))
    arguments = [flat(terms), nothing, blank, blank, flat(granted), pair(signature)]
    return call, ("disputeFor", arguments)


def make_close(v: Made) -> tuple[Call, Written]:
    terms, closing, a, b = v.terms(), v.closing(), v.signature(), v.signature()
    call = Close(terms=terms, closing=closing, signature_a=a, signature_b=b)
    return call, ("close", [flat(terms), flat(closing), pair(a), pair(b)])


def make_settle(v: Made) -> tuple[Call, Written]:
    terms, portfolio = v.terms(), v.portfolio()
    return Settle(terms=terms, portfolio=portfolio), ("settle", [flat(terms), flat(portfolio)])


def make_margin_decision(
    v: Made, kind: type[CallMargin] | type[CloseOut], name: str
) -> tuple[Call, Written]:
    risk, portfolio, party, scenarios = v.risks(), v.portfolio(), v.party(), v.scenarios()
    terms = v.agreed(risk)
    call = kind(terms=terms, risk=risk, portfolio=portfolio, party=party, scenarios=scenarios)
    shown = [(each.node, each.number, each.outliving) for each in scenarios]
    return call, (name, [flat(terms), flat(risk), flat(portfolio), number(party), shown])


def make_call_margin(v: Made) -> tuple[Call, Written]:
    return make_margin_decision(v, CallMargin, "callMargin")


def make_close_out(v: Made) -> tuple[Call, Written]:
    return make_margin_decision(v, CloseOut, "closeOut")


def make_release(v: Made) -> tuple[Call, Written]:
    risk, portfolio = v.risks(), v.portfolio()
    terms = v.agreed(risk)
    call = Release(terms=terms, risk=risk, portfolio=portfolio)
    return call, ("release", [flat(terms), flat(risk), flat(portfolio)])


def make_abandon(v: Made) -> tuple[Call, Written]:
    terms = v.terms()
    return Abandon(terms=terms), ("abandon", [flat(terms)])


def make_claim(v: Made) -> tuple[Call, Written]:
    token, recipient = v.address(), v.address()
    return Claim(token=token, recipient=recipient), ("claim", [flat(token), flat(recipient)])


MAKERS: dict[str, Callable[[Made], tuple[Call, Written]]] = {
    name.removeprefix("make_"): maker
    for name, maker in list(globals().items())
    if name.startswith("make_") and name != "make_margin_decision"
}


def by_web3(contract: str, name: str, arguments: list[Any]) -> bytes:
    """Calldata as web3 makes it of the compiled ABI."""
    abi = load_artifact(contract).abi
    [entry] = [
        each
        for each in abi
        if each["type"] == "function"
        and each["name"] == name
        and len(each["inputs"]) == len(arguments)
    ]
    signature = f"{name}({','.join(map(canonical_type, entry['inputs']))})"
    encoded = Web3().eth.contract(abi=abi).encode_abi(signature, args=arguments)
    return bytes.fromhex(str(encoded).removeprefix("0x"))


@pytest.mark.parametrize("name", MAKERS)
def test_every_call_is_encoded_as_web3_does(name: str) -> None:
    made = Made(len(name))
    for _ in range(ROUNDS):
        call, (function, arguments) = MAKERS[name](made)
        encoded = encode_call(call)
        assert encoded.name == function
        assert encoded.data == by_web3("Adjudicator", function, arguments)


def test_every_kind_of_call_was_encoded() -> None:
    made = Made(1)
    kinds = {type(maker(made)[0]) for maker in MAKERS.values()}
    assert kinds == set(Call.__args__)


def compiled(contract: str) -> set[str]:
    return {
        f"{each['name']}({','.join(map(canonical_type, each['inputs']))})"
        for each in load_artifact(contract).abi
        if each["type"] == "function"
    }


def test_every_function_of_the_adjudicator_has_its_binding() -> None:
    artifact = load_artifact("Adjudicator")
    assert all(artifact.has_function(each) for each in FUNCTIONS.values())
    assert len(set(FUNCTIONS.values())) == len(compiled("Adjudicator"))


def test_every_function_of_the_risk_engine_has_its_binding() -> None:
    artifact = load_artifact("RiskEngine")
    assert all(artifact.has_function(each) for each in RISK_ENGINE_FUNCTIONS.values())
    assert len(RISK_ENGINE_FUNCTIONS) == len(compiled("RiskEngine"))


@pytest.mark.parametrize("contract", ORACLE_FUNCTIONS)
def test_every_function_of_the_oracles_has_its_binding(contract: str) -> None:
    bound = ORACLE_FUNCTIONS[contract]
    artifact = load_artifact(contract)
    assert all(artifact.has_function(each) for each in bound.values())
    names = {each.partition("(")[0] for each in compiled(contract)}
    own = {each.partition("(")[0] for each in bound.values()} | COMMON_ORACLE
    assert names == own | (ATTESTED_CALLS if contract == "AttestedOracle" else set())


def test_calls_of_the_oracles_are_encoded_as_web3_does() -> None:
    made = Made(9)
    for _ in range(ROUNDS):
        oracle, feed, time = made.address(), made.bytes(32), made.unsigned(64)
        first, uptime = made.unsigned(80), made.unsigned(80)
        older = tuple(made.unsigned(80) for _ in range(made.random.randint(0, 4)))
        rounds = SettlementRounds(first=first, older=older, sequencer_round=uptime)
        told = record_settlement(oracle, feed, time, rounds)
        arguments = [feed, time, first, list(older), uptime]
        assert told.data == by_web3("ChainlinkOracle", "recordSettlement", arguments)
        told = verify_round(oracle, feed, time, first)
        assert told.data == by_web3("ChainlinkOracle", "verifyRound", [feed, time, first])
        told = record_known_price(oracle, feed, time)
        assert told.data == by_web3("FallbackOracle", "record", [feed, time])
        assert told.to == oracle


def test_something_else_is_no_call() -> None:
    with pytest.raises(TypeError):
        encode_call(5)  # type: ignore[arg-type]


def test_only_a_deposit_does_more_when_mined_twice() -> None:
    made = Made(2)
    calls = [maker(made)[0] for maker in MAKERS.values()]
    assert [type(each) for each in calls if not encode_call(each).repeatable] == [Deposit]


def test_parties_by_the_contracts_number() -> None:
    assert [party_from_chain(each) for each in range(3)] == [None, Party.A, Party.B]
    assert [party_to_chain(each) for each in Party] == [1, 2]
    with pytest.raises(EndpointError):
        party_from_chain(3)


# ---- what no call may carry


def test_margin_parameters_must_be_those_of_the_terms() -> None:
    made = Made(3)
    risk = tuple(
        RiskParams(feed=bytes([each]) * 32, price_range=2 * 10**17 + each) for each in (1, 2)
    )
    terms, portfolio = made.agreed(risk), made.portfolio()
    Release(terms=terms, risk=risk, portfolio=portfolio)
    for wrong in ((), risk[:1], risk[::-1], (risk[0], attrs.evolve(risk[1], strike=1))):
        with pytest.raises(InvalidValueError):
            Release(terms=terms, risk=wrong, portfolio=portfolio)
        with pytest.raises(InvalidValueError):
            CallMargin(terms=terms, risk=wrong, portfolio=portfolio, party=Party.A)
        with pytest.raises(InvalidValueError):
            CloseOut(terms=terms, risk=wrong, portfolio=portfolio, party=Party.A)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Permit, {"value": 2**256, "deadline": 1, "signature": Signature(bytes(64))}),
        (Permit, {"value": 1, "deadline": 0, "signature": Signature(bytes(64))}),
        (CheckpointMany, {"checkpoints": ()}),
        (ScenarioIndex, {"number": 18}),
        (ScenarioIndex, {"number": -1}),
        (ScenarioIndex, {"number": 3, "node": 1}),
        (ScenarioIndex, {"number": 0, "node": 9}),
        (SettlementRounds, {"first": 2**80}),
        (SettlementRounds, {"first": 1, "older": (2**80,)}),
    ],
)
def test_values_the_contract_cannot_hold_are_refused(
    kind: Callable[..., object], fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValueError):
        kind(**fields)


def test_a_deposit_fits_the_contracts_integer() -> None:
    terms = Made(4).terms()
    with pytest.raises(InvalidValueError):
        Deposit(terms=terms, party=Party.A, amount=2**128)
    with pytest.raises(InvalidValueError):
        Deposit(terms=terms, party=Party.A, amount=-1)
