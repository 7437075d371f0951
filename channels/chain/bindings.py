"""Calls of the Adjudicator, as calldata.

Source: design, adjudication.md "Calls"; `contracts/src/interfaces/IAdjudicator.sol`.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Final

import attrs

from channels.chain.abi import (
    authorisation_words,
    closing_words,
    encode_arguments,
    encode_array,
    encode_bytes,
    encode_portfolio,
    encode_state,
    encode_withdrawal,
    encode_words,
    risk_params_words,
    scenario_words,
    selector,
    terms_words,
)
from channels.errors import EndpointError
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
from channels.protocol.signing import Signature
from channels.protocol.types import Party, State

__all__ = [
    "FUNCTIONS",
    "SELECTORS",
    "EncodedCall",
    "encode_call",
    "party_from_chain",
    "party_to_chain",
]

FUNCTIONS: Final = {
    "open": "open(Terms,uint128,uint128,uint64,bytes,bytes)",
    "open_with_permit": "openWithPermit(Terms,uint128,uint128,uint64,bytes,bytes,Permit,Permit)",
    "deposit": "deposit(Terms,uint8,uint128)",
    "checkpoint": "checkpoint(address,address,bytes32,uint64,uint64,bytes32,bytes32,bytes32,"
    "bytes32,bytes32)",
    "checkpoint_many": "checkpointMany(SignedState[])",
    "withdraw": "withdraw(Terms,Withdrawal,Signature,Signature)",
    "dispute": "dispute(Terms)",
    "dispute_with": "dispute(Terms,State,Signature,Signature)",
    "dispute_for": "disputeFor(Terms,State,Signature,Signature,DisputeAuthorisation,Signature)",
    "settle": "settle(Terms,Portfolio)",
    "close": "close(Terms,Closing,Signature,Signature)",
    "call_margin": "callMargin(Terms,RiskParams[],Portfolio,uint8,Scenario[])",
    "close_out": "closeOut(Terms,RiskParams[],Portfolio,uint8,Scenario[])",
    "release": "release(Terms,RiskParams[],Portfolio)",
    "abandon": "abandon(Terms)",
    "claim": "claim(address,address)",
    "channel": "channel(bytes32)",
    "phase_now": "phaseNow(bytes32)",
    "cash": "cash(bytes32,int128)",
    "claimable": "claimable(address,address)",
    "dispute_count": "disputeCount()",
    "channel_id": "channelId(Terms)",
    "risk_engine": "riskEngine()",
    "domain_separator": "domainSeparator()",
    "deployment_chain_id": "deploymentChainId()",
}
"""Every function of the Adjudicator, by our name; tests compare with the compiled ABI."""

SELECTORS: Final = {name: selector(signature) for name, signature in FUNCTIONS.items()}

_NO_SIGNATURE: Final = Signature(bytes(64))


def party_to_chain(party: Party) -> int:
    """The contract's number for a party: there 0 is nobody, A 1 and B 2."""
    return int(party) + 1


def party_from_chain(number: int) -> Party | None:
    """The party of the contract's number; None for nobody.

    Raises:
        EndpointError: no such number.
    """
    if number not in (0, 1, 2):
        raise EndpointError(f"{number} is no party")
    return None if number == 0 else Party(number - 1)


@attrs.frozen(kw_only=True)
class EncodedCall:
    """A contract call ready to send.

    ``answer`` is what the contract returns if the call has the effect meant; None if it reverts
    otherwise. ``repeatable`` says that mined twice it does no more than mined once, ``anyone`` that
    the contract does not look at who sends it.
    """

    name: str
    data: bytes = attrs.field(repr=False)
    answer: bytes | None = None
    repeatable: bool = True
    anyone: bool = False


@singledispatch
def encode_call(call: Call) -> EncodedCall:
    """Encode a call of `channels.protocol.calls` for the Adjudicator.

    Raises:
        TypeError: not such a call.
    """
    raise TypeError(f"{type(call).__name__} is no call")


def _encoded(function: str, body: bytes) -> EncodedCall:
    name = FUNCTIONS[function].partition("(")[0]
    return EncodedCall(name=name, data=SELECTORS[function] + body)


# ---- opening and funding


@encode_call.register
def _open(call: Open) -> EncodedCall:
    return _encoded("open", _opening(call, b""))


@encode_call.register
def _open_with_permit(call: OpenWithPermit) -> EncodedCall:
    permits = _permit_words(call.permit_a) + _permit_words(call.permit_b)
    return _encoded("open_with_permit", _opening(call, permits))


def _opening(call: Open | OpenWithPermit, permits: bytes) -> bytes:
    opening = call.opening
    numbers = (opening.deposit_a, opening.deposit_b, opening.valid_until)
    tails = {4: encode_bytes(call.signature_a), 5: encode_bytes(call.signature_b)}
    return encode_arguments((terms_words(opening.terms), *numbers, 0, 0, permits), tails)


def _permit_words(permit: Permit | None) -> bytes:
    if permit is None:
        return bytes(5 * 32)
    raw = permit.signature.expanded()
    return encode_words(permit.value, permit.deadline, raw[64], raw[:64])


@encode_call.register
def _deposit(call: Deposit) -> EncodedCall:
    body = terms_words(call.terms) + encode_words(party_to_chain(call.party), call.amount)
    return attrs.evolve(_encoded("deposit", body), repeatable=False)


# ---- the newest state


@encode_call.register
def _checkpoint(call: Checkpoint) -> EncodedCall:
    encoded = _encoded("checkpoint", _signed_state(call))
    return attrs.evolve(encoded, answer=encode_words(1), anyone=True)


@encode_call.register
def _checkpoint_many(call: CheckpointMany) -> EncodedCall:
    # No answer is asked for: anyone may record one of them first, and the others still count.
    tails = {0: encode_array(call.checkpoints, _signed_state)}
    return _encoded("checkpoint_many", encode_arguments((0,), tails))


def _signed_state(checkpoint: Checkpoint) -> bytes:
    """A state of which only the portfolio's hash is given: `checkpoint`'s arguments."""
    state = checkpoint.newest.state
    return encode_words(
        checkpoint.terms.signer_a,
        checkpoint.terms.signer_b,
        checkpoint.terms.struct_hash,
        state.nonce,
        state.valid_until,
        state.portfolio_hash,
        checkpoint.newest.signature_a.compact,
        checkpoint.newest.signature_b.compact,
    )


@encode_call.register
def _withdraw(call: Withdraw) -> EncodedCall:
    signatures = (call.signature_a.compact, call.signature_b.compact)
    tails = {1: encode_withdrawal(call.withdrawal)}
    return _encoded("withdraw", encode_arguments((terms_words(call.terms), 0, *signatures), tails))


@encode_call.register
def _dispute(call: Dispute) -> EncodedCall:
    terms = terms_words(call.terms)
    if call.newest is None:
        return _encoded("dispute", terms)
    signatures = (call.newest.signature_a.compact, call.newest.signature_b.compact)
    tails = {1: encode_state(call.newest.state)}
    return _encoded("dispute_with", encode_arguments((terms, 0, *signatures), tails))


@encode_call.register
def _dispute_for(call: DisputeFor) -> EncodedCall:
    # At nonce 0 nothing is newer, and the contract looks at neither the state nor its signatures.
    newest = call.newest or CoSigned(
        state=State(channel_id=call.authorisation.channel_id, nonce=0),
        signature_a=_NO_SIGNATURE,
        signature_b=_NO_SIGNATURE,
    )
    fixed = (
        terms_words(call.terms),
        0,
        newest.signature_a.compact,
        newest.signature_b.compact,
        authorisation_words(call.authorisation),
        call.signature.compact,
    )
    return _encoded("dispute_for", encode_arguments(fixed, {1: encode_state(newest.state)}))


# ---- the end


@encode_call.register
def _close(call: Close) -> EncodedCall:
    return _encoded(
        "close",
        encode_words(
            terms_words(call.terms),
            closing_words(call.closing),
            call.signature_a.compact,
            call.signature_b.compact,
        ),
    )


@encode_call.register
def _settle(call: Settle) -> EncodedCall:
    tails = {1: encode_portfolio(call.portfolio)}
    encoded = _encoded("settle", encode_arguments((terms_words(call.terms), 0), tails))
    return attrs.evolve(encoded, anyone=True)


@encode_call.register
def _call_margin(call: CallMargin) -> EncodedCall:
    return attrs.evolve(_encoded("call_margin", _margin_decision(call)), anyone=True)


@encode_call.register
def _close_out(call: CloseOut) -> EncodedCall:
    return attrs.evolve(_encoded("close_out", _margin_decision(call)), anyone=True)


def _margin_decision(call: CallMargin | CloseOut) -> bytes:
    tails = {
        1: encode_array(call.risk, risk_params_words),
        2: encode_portfolio(call.portfolio),
        4: encode_array(call.scenarios, scenario_words),
    }
    return encode_arguments((terms_words(call.terms), 0, 0, party_to_chain(call.party), 0), tails)


@encode_call.register
def _release(call: Release) -> EncodedCall:
    tails = {1: encode_array(call.risk, risk_params_words), 2: encode_portfolio(call.portfolio)}
    return _encoded("release", encode_arguments((terms_words(call.terms), 0, 0), tails))


@encode_call.register
def _abandon(call: Abandon) -> EncodedCall:
    return _encoded("abandon", terms_words(call.terms))


@encode_call.register
def _claim(call: Claim) -> EncodedCall:
    return _encoded("claim", encode_words(call.token, call.recipient))
