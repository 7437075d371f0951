"""Handlers of an opening: ask, grant, submit, and see both deposits arrive."""

from __future__ import annotations

import attrs

from channels.errors import BadSignatureError, InvalidValueError, UnexpectedMessageError
from channels.protocol import messages as m
from channels.protocol.calls import Open
from channels.protocol.channel import Channel, Phase, Timing, Track, new_channel
from channels.protocol.checks import check_risk, check_terms
from channels.protocol.effects import (
    Deed,
    Notify,
    OpeningEnded,
    Outcome,
    Persist,
    Send,
    Step,
    Submit,
    done,
)
from channels.protocol.signing import Signature, check_signature
from channels.protocol.terms import Domain, Opening, RiskParams
from channels.protocol.types import Party

__all__ = ["ask_opening", "grant_opening", "on_open_accept", "on_open_reject", "on_opened"]


def ask_opening(
    *,
    domain: Domain,
    side: Party,
    opening: Opening,
    risk: tuple[RiskParams, ...],
    timing: Timing,
) -> Step:
    """Ask the peer to open a channel in which we are ``side``. Nothing is signed yet.

    Raises:
        InvalidValueError: terms or margin parameters that the contract would refuse.
    """
    check_terms(opening.terms)
    check_risk(risk, opening.terms)
    request = m.OpenRequest(requester=side, opening=opening, risk=risk)
    channel = attrs.evolve(
        new_channel(
            domain=domain, side=side, opening=opening, risk=risk, timing=timing, phase=Phase.ASKED
        ),
        outbox=(request,),
    )
    return done(channel, Persist(Deed.OPENING), Send(request))


def grant_opening(*, domain: Domain, request: m.OpenRequest, timing: Timing) -> Step:
    """Sign the Opening a peer asked for, as the other side. The decision to is the caller's.

    Our signature lets the requester lock **both** deposits until ``valid_until``.

    Raises:
        InvalidValueError: terms or margin parameters that the contract would refuse.
    """
    check_terms(request.opening.terms)
    check_risk(request.risk, request.opening.terms)
    channel = new_channel(
        domain=domain,
        side=request.requester.other,
        opening=request.opening,
        risk=request.risk,
        timing=timing,
        phase=Phase.GRANTED,
    )

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        mine = signatures[0].expanded()
        accept = m.OpenAccept(channel_id=channel.channel_id, signature=mine)
        granted = attrs.evolve(
            channel, track=attrs.evolve(channel.track, mine=mine), outbox=(accept,)
        )
        return Outcome(granted, (Persist(Deed.OPENING), Send(accept)))

    return Step((channel.signable(request.opening),), finish)


def on_open_accept(channel: Channel, message: m.OpenAccept) -> Step:
    """Countersign the Opening and send it to the chain.

    An EOA's signature is checked here; an ERC-1271 wallet's by the contract alone.
    """
    opening = channel.track.opening
    if len(message.signature) == 65:
        _check_party_signature(channel, message.signature)

    def finish(signatures: tuple[Signature, ...]) -> Outcome:
        track = Track(opening=opening, mine=signatures[0].expanded(), theirs=message.signature)
        submitted = attrs.evolve(channel, phase=Phase.SUBMITTED, track=track, outbox=())
        return Outcome(submitted, (Persist(Deed.OPENING), submit_open(submitted)))

    return Step((channel.signable(opening),), finish)


def _check_party_signature(channel: Channel, signature: bytes) -> None:
    terms, other = channel.terms, channel.side.other
    try:
        compact = Signature.from_expanded(signature)
    except InvalidValueError as error:
        raise BadSignatureError(f"the Opening's signature: {error}") from error
    check_signature(compact, channel.signable(channel.track.opening), terms.party(other))


def submit_open(channel: Channel) -> Submit:
    """The call that locks both deposits."""
    mine, theirs = channel.track.mine, channel.track.theirs
    if mine is None or theirs is None:
        raise UnexpectedMessageError("the Opening is not signed by both yet")
    a, b = (mine, theirs) if channel.side is Party.A else (theirs, mine)
    call = Open(opening=channel.track.opening, signature_a=a, signature_b=b)
    return Submit(call, b"open" + channel.channel_id)


def on_open_reject(channel: Channel, message: m.OpenReject) -> Step:
    """The peer does not open on these terms."""
    ended = attrs.evolve(channel, phase=Phase.ABANDONED, outbox=())
    notice = Notify(OpeningEnded(reason=message.reason, text=message.text))
    return done(ended, Persist(Deed.OPENING), notice)


def on_opened(channel: Channel, message: m.Opened) -> Step:
    """The peer sees the channel open too. For our own phase only the chain's word counts."""
    del message
    if channel.peer_ready:
        return done(channel)
    return done(attrs.evolve(channel, peer_ready=True), Persist(Deed.OPENING))
