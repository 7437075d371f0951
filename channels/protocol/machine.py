"""The state machine: one table of (phase, event) and the handler that answers it.

What is not in the table is illegal: for a message that is the peer's fault, for a command ours.
`step` is pure. It returns the signatures it needs and a way to finish with them, so that keys may
live anywhere; a step that fails, or whose signatures are refused, leaves the channel as it was.

The handlers stand in `opening`, `proposals`, `answers`, `closing`, `credit`, `lifecycle`,
`recovery`, `recovery_state`, `untimely` and `chain_news`; the signing rules, which all of them pass
before they sign, in `rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from channels.errors import BadProposalError, IllegalCommandError, UnexpectedMessageError
from channels.protocol import (
    answers,
    chain_news,
    closing,
    credit,
    lifecycle,
    opening,
    proposals,
    recovery,
    recovery_state,
    untimely,
    withdrawing,
)
from channels.protocol import events as e
from channels.protocol import messages as m
from channels.protocol.channel import OPEN_PHASES, Channel, Phase
from channels.protocol.effects import Outcome, Step
from channels.protocol.evolving import evolve
from channels.protocol.signing import LocalSigner

__all__ = ["COMMANDS", "MESSAGES", "TABLE", "Event", "run", "step"]

Event = e.Command | m.Message

Handler = Callable[[Channel, Any], Step]

_ALL: Final = frozenset(Phase)
_OPENING: Final = frozenset({Phase.ASKED, Phase.GRANTED, Phase.SUBMITTED})
_BOUND: Final = frozenset({Phase.ACCEPTED, Phase.CLOSING})
_RECOVERING: Final = frozenset({Phase.RECOVERING})
_BEFORE_END: Final = OPEN_PHASES | _RECOVERING
_ENDED: Final = frozenset({Phase.DISPUTED, Phase.RUN_OFF, Phase.CLOSED})
_SAID_IN_IGNORANCE: Final = (
    *(m.Opened, m.Propose, m.Reject, m.Void, m.RequestForQuote, m.Quote, m.QuoteReject),
    *(m.CloseRequest, m.WithdrawRequest, m.Cancel, m.MarkReport, m.MarginCall, m.DisputeNotice),
)
"""What a peer may say that does not know yet, or no more, how the channel stands."""
_SAID_ON_RECONNECTING: Final = (
    *(m.Reestablish, m.RecoverRequest, m.RecoverOffer, m.Recover, m.RecoverAccept),
)
"""What it may say as well that has not seen yet that the channel is over, or in dispute."""

_COUNTERSIGNED_ON: Final = frozenset({m.Accept, m.Reject, m.Void, e.ChainSeen})
"""Events on which a permanent state may be countersigned: only with a head that is fresh."""

_LEGAL: Final[tuple[tuple[type, frozenset[Phase], Handler], ...]] = (
    # event                 phases                                          handler
    (m.OpenAccept, frozenset({Phase.ASKED}), opening.on_open_accept),
    (m.OpenReject, frozenset({Phase.ASKED}), opening.on_open_reject),
    (m.Opened, _OPENING | OPEN_PHASES, opening.on_opened),
    (e.ProposeChange, frozenset({Phase.IDLE}), proposals.propose),
    (e.SendQuote, frozenset({Phase.IDLE}), proposals.send_quote),
    (e.RequestQuote, OPEN_PHASES - {Phase.CLOSING}, proposals.request_quote),
    (e.RefuseQuote, OPEN_PHASES, proposals.refuse_quote),
    (e.Answer, frozenset({Phase.RECEIVED}), lifecycle.answer),
    (e.RequestClose, frozenset({Phase.IDLE}), closing.request_close),
    (e.RequestWithdrawal, frozenset({Phase.IDLE}), withdrawing.request_withdrawal),
    (m.RequestForQuote, OPEN_PHASES, proposals.on_quote_request),
    (m.QuoteReject, OPEN_PHASES, proposals.on_quote_reject),
    (m.Propose, OPEN_PHASES - _BOUND, proposals.on_proposal),
    (m.Quote, OPEN_PHASES - _BOUND, proposals.on_quote),
    (m.Propose, _BOUND, proposals.on_crossing_proposal),
    (m.Quote, _BOUND, proposals.on_crossing_quote),
    (m.Accept, OPEN_PHASES - {Phase.ACCEPTED}, lifecycle.on_accept),
    (m.Confirm, OPEN_PHASES, answers.on_confirm),
    (m.Accept, frozenset({Phase.DISPUTED}), lifecycle.on_accept_in_dispute),
    (m.Confirm, frozenset({Phase.DISPUTED}), lifecycle.on_confirm_in_dispute),
    (m.Reject, OPEN_PHASES, answers.on_reject),
    (m.Void, OPEN_PHASES, answers.on_void),
    (m.CloseRequest, OPEN_PHASES, closing.on_close_request),
    (m.WithdrawRequest, OPEN_PHASES, withdrawing.on_withdraw_request),
    (e.CancelProposals, OPEN_PHASES, proposals.cancel_proposals),
    (m.Cancel, OPEN_PHASES, proposals.on_cancel),
    (e.ReportMarks, OPEN_PHASES - {Phase.CLOSING}, credit.report_marks),
    (m.MarkReport, OPEN_PHASES, credit.on_mark_report),
    (e.DisputeMarks, OPEN_PHASES - {Phase.CLOSING}, credit.dispute_marks),
    (m.DisputeNotice, OPEN_PHASES, credit.on_dispute_notice),
    (e.IssueMarginCall, OPEN_PHASES, credit.issue_margin_call),
    (m.MarginCall, OPEN_PHASES, credit.on_margin_call),
    (e.EndMarginCall, OPEN_PHASES, credit.end_margin_call),
    (m.Reestablish, _OPENING | _BEFORE_END, lifecycle.on_reestablish),
    (m.RecoverRequest, _BEFORE_END, recovery.on_recover_request),
    (m.RecoverOffer, _BEFORE_END, recovery.on_recover_offer),
    (m.Recover, _BEFORE_END, recovery_state.on_recover),
    (m.RecoverAccept, _BEFORE_END, recovery_state.on_recover_accept),
    (m.Accept, _RECOVERING, untimely.not_now),
    (m.Confirm, _RECOVERING, recovery.on_confirm),
    *((each, _RECOVERING | _ENDED, untimely.not_now) for each in _SAID_IN_IGNORANCE),
    *((each, _ENDED, untimely.not_now) for each in _SAID_ON_RECONNECTING),
    (m.Accept, _ENDED - {Phase.DISPUTED}, untimely.not_now),
    (m.Confirm, _ENDED - {Phase.DISPUTED}, untimely.not_now),
    (e.StatesFound, _BEFORE_END, recovery.on_states_found),
    (e.Connected, _RECOVERING, recovery.connected),
    (m.Error, _ALL, proposals.on_error),
    (e.StartDispute, _BEFORE_END, lifecycle.start_dispute),
    (e.RestoredFromBackup, _ALL, lifecycle.on_restored),
    (e.SetMode, _ALL, lifecycle.set_mode),
    (e.Connected, _OPENING | OPEN_PHASES, lifecycle.connected),
    (e.Resume, _ALL, lifecycle.resume),
    (e.ChainSeen, _ALL, chain_news.on_chain),
)

TABLE: Final[Mapping[tuple[Phase, type], Handler]] = MappingProxyType(
    {(phase, event): handler for event, phases, handler in _LEGAL for phase in phases}
)
"""(phase, event) -> handler. Absence is illegality."""

COMMANDS: Final = frozenset(e.Command.__args__)
MESSAGES: Final = frozenset(m.Message.__args__)


def step(channel: Channel, event: Event, *, now: int | None = None) -> Step:
    """Work out what ``event`` makes of ``channel``.

    ``now`` is our own clock, Unix seconds. **Without it may lose funds**: the newest head is taken
    for fresh, however old it is.

    Raises:
        UnexpectedMessageError: the peer sent what this phase does not allow.
        IllegalCommandError: we asked for what this phase does not allow.
        PeerError: the message itself is at fault; see `channels.errors`.
        SigningRefusedError: a signing rule forbids our signature for now.
        MarginError, InvalidValueError, BadProposalError: our own command cannot be signed.
    """
    handler = TABLE.get((channel.phase, type(event)))
    if handler is None:
        name = type(event).__name__
        if type(event) in MESSAGES:
            raise UnexpectedMessageError(f"{name} is not allowed in phase {channel.phase.name}")
        raise IllegalCommandError(
            f"{name} is not allowed in phase {channel.phase.name}",
            next_step="wait until the channel is in a phase that allows it",
        )
    identity = channel.channel_id
    named = getattr(event, "channel_id", identity)
    if named != identity and not (isinstance(event, m.Error) and named == bytes(32)):
        raise BadProposalError(f"a message of channel 0x{named.hex()}, not of this one")
    if now != channel.now and now is not None and type(event) in _COUNTERSIGNED_ON:
        channel = evolve(channel, now=now)
    return handler(channel, event)


def run(channel: Channel, event: Event, signer: LocalSigner) -> Outcome:
    """Step and sign at once with a key in memory: for tests, tools and simulations."""
    worked_out = step(channel, event)
    signatures = tuple(signer.sign_digest(each.digest) for each in worked_out.sign)
    return worked_out.finish(signatures)
