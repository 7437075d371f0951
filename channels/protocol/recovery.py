"""Handlers of a recovery, until the newest state is found: who asks, who answers, what is adopted.

One side, or both, may have lost data. It asks the peer and every other source, adopts the newest
state they prove, and signs its portfolio again: boxed, and so far above everything that it may have
forgotten that nothing forgotten matters any more. The peer countersigns, either side puts it on
chain, and once it is final there both go on from it. Until then nothing else is signed. The signing
stands in `recovery_state`, what each new head brings in `recovery_watch`.

Source: design, protocol.md "Durability" 4; docs/decisions/0016-recovery.md.
"""

from __future__ import annotations

from typing import Final

import attrs

from channels.errors import BadNonceError, BadProposalError, BadSignatureError
from channels.protocol import answers
from channels.protocol import messages as m
from channels.protocol.calls import CoSigned
from channels.protocol.channel import Channel, Phase, Recovery
from channels.protocol.effects import (
    Deed,
    Notify,
    PeerRecovering,
    Persist,
    RecoveryNeeded,
    Send,
    Step,
    done,
)
from channels.protocol.events import Connected, StatesFound
from channels.protocol.facts import OnChainPhase
from channels.protocol.ledger import LEAP, Entry, Full
from channels.protocol.signing import check_signature
from channels.protocol.terms import RiskParams, hash_risk_params
from channels.protocol.types import Party, State

__all__ = [
    "MAX_STAYS",
    "begin",
    "connected",
    "entered",
    "in_doubt",
    "on_confirm",
    "on_recover_offer",
    "on_recover_request",
    "on_states_found",
    "request",
    "standing",
]

SEEN_AHEAD: Final = 120
"""How far above the recovery state of this very moment a nonce can honestly have been seen."""
MAX_STAYS: Final = 8
"""Recoveries of the peer's that we take part in within one `Timing.recovery_time`."""


def standing(channel: Channel) -> Send:
    """Where we stand, with the recipient's own signature to prove it."""
    state, proof = channel.ledger.full.state, channel.ledger.full.theirs
    return Send(
        m.Reestablish(
            channel_id=channel.channel_id,
            nonce=state.nonce,
            valid_until=state.valid_until,
            portfolio_hash=state.portfolio.struct_hash,
            proof=proof,
        )
    )


def request(channel: Channel) -> Send:
    """Ask the peer for its newest state."""
    return Send(m.RecoverRequest(channel_id=channel.channel_id, wants_risk=not channel.risk))


def in_doubt(channel: Channel, shown: int = 0) -> Channel:
    """The channel with its data in doubt and everybody to be asked; its phase stays.

    The attempt counts from the newest head; from the first one after a start that knows none yet.
    """
    head_time = 0 if channel.head is None else channel.head.timestamp
    recovery = Recovery(
        leads=True,
        since=head_time,
        seen=max(channel.recovery.seen, shown),
        stays=channel.recovery.stays,
        window=channel.recovery.window,
    )
    return attrs.evolve(channel, recovery=recovery)


def begin(channel: Channel, shown: int) -> Step:
    """Sign nothing until the newest state is found: a nonce of ours up to ``shown`` is proved.

    To sign from old data **may lose funds**: two states at one nonce, or a stale filing.
    """
    doubtful = attrs.evolve(in_doubt(channel, shown), phase=Phase.RECOVERING, outbox=())
    notice = RecoveryNeeded(newest_known=channel.ledger.nonce, shown=shown)
    return done(doubtful, Persist(Deed.RECOVERING), request(doubtful), Notify(notice))


def connected(channel: Channel, command: Connected) -> Step:
    """Tell the peer where we stand, send again what it may have missed, and ask."""
    del command
    again = [Send(each) for each in channel.outbox]
    asked = [request(channel)] if channel.recovery.leads else []
    return done(channel, standing(channel), *again, *asked)


def on_confirm(channel: Channel, message: m.Confirm) -> Step:
    """Take a Confirm that came after all, unless we have signed above it or are in doubt."""
    if channel.recovery.leads or channel.ledger.recovery_states():
        return done(channel)
    return answers.on_confirm(channel, message)


# ---- finding the newest state


def on_recover_request(channel: Channel, message: m.RecoverRequest) -> Step:
    """Show the peer what is F for us, once nothing of ours can pass it any more.

    Until then it gets no answer, and asks again at the next head.
    """
    if channel.phase is Phase.RECOVERING:
        return done(channel, _offer(channel, message))
    stays = entered(channel)
    if stays is None:
        return done(channel)
    told = Notify(PeerRecovering())
    return done(stays, Persist(Deed.RECOVERING), _offer(stays, message), told)


def _offer(channel: Channel, asked: m.RecoverRequest) -> Send:
    full = channel.ledger.full
    return Send(
        m.RecoverOffer(
            channel_id=channel.channel_id,
            nonce=full.state.nonce,
            valid_until=full.state.valid_until,
            portfolio=full.state.portfolio,
            mine=full.mine,
            yours=full.theirs,
            seen=max(channel.ledger.highest_seen, channel.recovery.seen),
            risk=channel.risk if asked.wants_risk else (),
        )
    )


def entered(channel: Channel) -> Channel | None:
    """The channel taking part in the peer's recovery; None if it cannot now, or not so often."""
    clock, ledger, view, final = channel.clock, channel.ledger, channel.view, channel.final_view
    opens = all(each is not None and each.phase is OnChainPhase.OPEN for each in (view, final))
    bound = any(not each.permanent for each in ledger.alive(clock))
    if channel.dispute_sent or not opens or bound:
        return None
    if clock.recorded > ledger.nonce or ledger.governing(clock) != ledger.portfolio:
        return None
    recovery = channel.recovery
    if clock.head_time >= recovery.window + channel.timing.recovery_time:
        recovery = attrs.evolve(recovery, window=clock.head_time, stays=0)
    if recovery.stays >= MAX_STAYS:
        return None
    stay = attrs.evolve(
        recovery,
        leads=False,
        since=clock.head_time,
        until=clock.head_time + 2 * channel.timing.box,
        stays=recovery.stays + 1,
    )
    return attrs.evolve(channel, phase=Phase.RECOVERING, recovery=stay)


def on_recover_offer(channel: Channel, message: m.RecoverOffer) -> Step:
    """Adopt what the peer shows, if it is newer than what we have and proved to stand."""
    recovery, clock = channel.recovery, channel.clock
    if channel.phase is not Phase.RECOVERING or not recovery.leads:
        return done(channel)
    shown = _shown(channel, message)
    if shown is None or clock.final_recorded > max(shown.nonce, channel.ledger.nonce):
        return done(channel)  # one of us has not read the newest block yet: ask again
    most = max(shown.nonce, channel.ledger.nonce) + LEAP + clock.head_time + SEEN_AHEAD
    if message.seen > most:
        raise BadNonceError(f"nonce {message.seen} seen; it can be {most} at most")
    heard = attrs.evolve(recovery, heard_peer=True, seen=max(recovery.seen, message.seen))
    after = attrs.evolve(channel, recovery=heard, risk=_risk(channel, message))
    return _adopt(after, shown)


def _risk(channel: Channel, message: m.RecoverOffer) -> tuple[RiskParams, ...]:
    if channel.risk or not message.risk:
        return channel.risk
    if hash_risk_params(message.risk) != channel.terms.risk_hash:
        raise BadProposalError("margin parameters that the terms do not commit to")
    return message.risk


def _shown(channel: Channel, message: m.RecoverOffer) -> Entry | None:
    """What an offer proves to stand; None if only a newer block can say.

    Raises:
        BadSignatureError: a signature is missing, or is not of this state.
        BadProposalError: another portfolio than ours at F's nonce.
    """
    state = State(
        channel_id=channel.channel_id,
        nonce=message.nonce,
        valid_until=message.valid_until,
        portfolio=message.portfolio,
    )
    ours = channel.ledger.full.state
    if state.nonce == ours.nonce and state.portfolio != ours.portfolio:
        raise BadProposalError(f"another portfolio at the permanent nonce {ours.nonce}")
    if state.nonce == 0:
        return Entry(value=State(channel_id=channel.channel_id, nonce=0))
    signed = {channel.side: message.yours, channel.side.other: message.mine}
    for side, signature in signed.items():
        if signature is None:
            if not _is_final(channel, state):
                raise BadSignatureError(f"nonce {state.nonce} without the signature of {side.name}")
        else:
            check_signature(signature, channel.signable(state), channel.terms.signer(side))
    if not state.permanent and state.nonce > ours.nonce and not _is_final(channel, state):
        return None
    return Entry(value=state, mine=message.yours, theirs=message.mine)


def _is_final(channel: Channel, state: State) -> bool:
    final = channel.final_view
    return (
        final is not None
        and final.nonce == state.nonce
        and final.portfolio_hash == state.portfolio_hash
    )


def _adopt(channel: Channel, shown: Entry | None) -> Step:
    """F becomes ``shown``, if it is newer; the peer is told, for it may have less."""
    state = None if shown is None else shown.value
    if shown is None or not isinstance(state, State) or state.nonce <= channel.ledger.nonce:
        return done(channel, Persist(Deed.RECOVERING))
    ledger = channel.ledger.with_full(Full(state=state, mine=shown.mine, theirs=shown.theirs))
    highest = ledger.highest_mine if shown.mine is None else max(ledger.highest_mine, state.nonce)
    after = attrs.evolve(channel, ledger=attrs.evolve(ledger, highest_mine=highest))
    return done(after, Persist(Deed.RECOVERED, (shown,)), standing(after))


def on_states_found(channel: Channel, command: StatesFound) -> Step:
    """Take in what towers and copies hold; outside a recovery it may show that one is needed."""
    proved = [entry for each in command.states if (entry := _proved(channel, each)) is not None]
    newest = max(proved, key=lambda each: each.nonce, default=None)
    if channel.phase is not Phase.RECOVERING:
        known = max(channel.ledger.nonce, channel.ledger.highest_mine)
        lost = newest is not None and newest.permanent and newest.nonce > known
        return begin(channel, newest.nonce) if newest is not None and lost else done(channel)
    if newest is not None and not newest.permanent and not _stands(channel, newest):
        permanent = [each for each in proved if each.permanent or _stands(channel, each)]
        newest = max(permanent, key=lambda each: each.nonce, default=None)
    seen = max([channel.recovery.seen, *(each.nonce for each in proved)])
    heard = attrs.evolve(channel.recovery, heard_sources=True, seen=seen)
    return _adopt(attrs.evolve(channel, recovery=heard), newest)


def _stands(channel: Channel, entry: Entry) -> bool:
    return isinstance(entry.value, State) and _is_final(channel, entry.value)


def _proved(channel: Channel, found: CoSigned) -> Entry | None:
    """A co-signed state of this channel; None if it is none."""
    if found.state.channel_id != channel.channel_id or found.state.nonce == 0:
        return None
    try:
        for side, signature in ((Party.A, found.signature_a), (Party.B, found.signature_b)):
            check_signature(signature, channel.signable(found.state), channel.terms.signer(side))
    except BadSignatureError:
        return None
    a, b = found.signature_a, found.signature_b
    mine, theirs = (a, b) if channel.side is Party.A else (b, a)
    return Entry(value=found.state, mine=mine, theirs=theirs)
