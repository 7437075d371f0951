"""Making appointments: what a customer hands over of a channel, and what it keeps to itself.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

import attrs

from channels.dispute import Evidence
from channels.protocol.calls import CoSigned, CoSignedHash
from channels.protocol.signing import Signable, Signer
from channels.protocol.terms import Domain
from channels.protocol.watching import Appointment, Duties
from channels.tower.content import Authorised, Content, pack_portfolio
from channels.tower.kept import Holding
from channels.tower.sealing import derive_seal

__all__ = ["CustomerPolicy", "make_appointment", "newest_states"]


@attrs.frozen(kw_only=True)
class CustomerPolicy:
    """What a tower is asked to do. ``gas_budget``: most to spend on a channel, wei.

    The portfolio is shown in clear only if ``duties`` say to settle or to call margin; otherwise it
    is sealed, or with ``keep_portfolio`` False not handed over at all.
    """

    duties: Duties = Duties.REFUTE
    gas_budget: int = 10**16
    keep_portfolio: bool = True

    @property
    def clear(self) -> bool:
        """Whether the tower must see portfolios."""
        return bool(self.duties & (Duties.SETTLE | Duties.MARGIN))


def newest_states(evidence: Evidence) -> tuple[CoSigned | CoSignedHash, ...]:
    """The newest permanent state, and the newest boxed one above it: what is worth defending."""
    permanent = max(
        (each for each in evidence.states if each.state.permanent),
        key=lambda each: each.state.nonce,
        default=None,
    )
    floor = 0 if permanent is None else permanent.state.nonce
    boxed = max(
        (each for each in evidence.states if not each.state.permanent and each.state.nonce > floor),
        key=lambda each: each.state.nonce,
        default=None,
    )
    return tuple(each for each in (permanent, boxed) if each is not None)


async def make_appointment(
    evidence: Evidence,
    state: CoSigned | CoSignedHash,
    *,
    signer: Signer,
    domain: Domain,
    sequence: int,
    policy: CustomerPolicy,
    authorisation: Authorised | None = None,
) -> Holding:
    """Make an appointment for one state of ``evidence``.

    Raises:
        SignerError: the signer does not sign, or cannot seal a portfolio.
    """
    portfolio = b""
    shown = state.state.portfolio if isinstance(state, CoSigned) else None
    if shown is not None and policy.clear:
        portfolio = pack_portfolio(shown)
    elif shown is not None and policy.keep_portfolio:
        seal = await derive_seal(signer, domain, state.state.channel_id)
        portfolio = seal.seal(shown)
    content = Content(
        terms=evidence.terms,
        signature_a=state.signature_a,
        signature_b=state.signature_b,
        portfolio=portfolio,
        clear=policy.clear and shown is not None,
        risk=evidence.risk if Duties.MARGIN in policy.duties else (),
        affirm_by=0 if state.state.permanent else evidence.affirm_by,
        authorisation=authorisation,
    )
    appointment = Appointment(
        channel_id=state.state.channel_id,
        nonce=state.state.nonce,
        valid_until=state.state.valid_until,
        portfolio_hash=state.state.portfolio_hash,
        duties=int(policy.duties),
        gas_budget=policy.gas_budget,
        sequence=sequence,
        content_hash=content.hash,
    )
    signature = await signer.sign(Signable(domain, appointment))
    return Holding(appointment=appointment, signature=signature, content=content.packed)
