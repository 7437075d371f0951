"""What the monitor holds of each channel: the newest evidence, and every portfolio it may need.

A channel takes the same room for ever: the newest permanent state, the newest boxed one above it,
and a few portfolios the chain has shown. A boxed state never takes the place of the permanent one
below it: once its box has passed unrecorded, the permanent one is all there is to defend with, and
without it the channel **may lose funds**.

Source: design, watchtower.md "Engine" and "Service".
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import attrs

from channels.errors import InvalidValueError, MessageError, SchemaVersionError, StorageError
from channels.protocol.calls import CoSigned, CoSignedHash
from channels.protocol.channel import Channel
from channels.protocol.codec import ADDRESS, HASH, PORTFOLIO, RISK, SIGNATURE, TERMS, unpack
from channels.protocol.facts import ChannelView
from channels.protocol.ledger import Entry, Full
from channels.protocol.schema import U64, enum, many, optional, struct, union, versioned
from channels.protocol.signing import Signature, check_digest
from channels.protocol.terms import (
    DisputeAuthorisation,
    Domain,
    RiskParams,
    Terms,
    channel_id,
    hash_risk_params,
)
from channels.protocol.types import (
    EMPTY_PORTFOLIO,
    MAX_POSITIONS,
    Party,
    Portfolio,
    SealedState,
    State,
)

__all__ = [
    "MAX_PORTFOLIOS",
    "RECORD_VERSION",
    "Evidence",
    "Filing",
    "Held",
    "Watched",
    "check_evidence",
    "decode_watched",
    "encode_watched",
    "evidence_of",
    "start_watching",
]

RECORD_VERSION: Final = 4

_WITHOUT_RISK: Final = 1
"""Record version before margin parameters were kept."""

_WITHOUT_HASHES: Final = 2
"""Record version before a state could be known by its portfolio's hash alone."""

_WITHOUT_FILINGS: Final = 3
"""Record version before disputes were filed in a signer's name."""

Held = CoSigned | CoSignedHash
"""A state with both signatures; of some, only the portfolio's hash is known."""

MAX_PORTFOLIOS: Final = 16
"""Portfolios kept besides those of the evidence; of more, the oldest learnt goes."""


@attrs.frozen(kw_only=True)
class Filing:
    """A dispute to file in a signer's name, from the chain time ``at`` on."""

    authorisation: DisputeAuthorisation
    signature: Signature
    at: int


@attrs.frozen(kw_only=True)
class Evidence:
    """What somebody hands over about one channel: any of it may be old, and that does no harm.

    ``affirm_by`` asks for more than defence: from this chain time on the boxed state among
    ``states`` is put on chain, unless a permanent one at least as new has come. 0 does not ask.
    ``risk`` are the margin parameters that the terms commit to; without them nobody calls margin.
    ``known`` is the nonce of its owner's newest state, proved or only recorded: a withdrawal's, or
    one that the counterparty put on chain. ``filings`` are the disputes to file, all of them; None
    says nothing of any.
    """

    terms: Terms
    side: Party | None = None
    states: tuple[Held, ...] = ()
    portfolios: tuple[Portfolio, ...] = ()
    affirm_by: int = 0
    risk: tuple[RiskParams, ...] = ()
    known: int = 0
    filings: tuple[Filing, ...] | None = None


def evidence_of(channel: Channel) -> Evidence:
    """All that a peer's channel holds co-signed, and every portfolio in it."""
    ledger = channel.ledger
    holders: tuple[Full | Entry, ...] = (ledger.full, *ledger.entries)
    states, portfolios = [], []
    for each in holders:
        state = each.state if isinstance(each, Full) else each.value
        if not isinstance(state, State) or state.nonce == 0:
            continue
        portfolios.append(state.portfolio)
        if each.mine is not None and each.theirs is not None:
            first, second = each.mine, each.theirs
            if channel.side is Party.B:
                first, second = second, first
            states.append(CoSigned(state=state, signature_a=first, signature_b=second))
    return Evidence(
        terms=channel.terms,
        side=channel.side,
        states=tuple(states),
        portfolios=tuple(portfolios[:MAX_PORTFOLIOS]),
        risk=channel.risk,
        known=ledger.nonce,
    )


def check_evidence(evidence: Evidence, domain: Domain) -> None:
    """Check every state exactly as the contract will.

    A state that it would refuse would keep a good, lower one from being sent: **may lose funds**.

    Raises:
        BadSignatureError: a signature the contract would refuse.
        InvalidValueError: a state of another channel, or at nonce 0; margin parameters that are not
            those of the terms.
    """
    if evidence.risk and hash_risk_params(evidence.risk) != evidence.terms.risk_hash:
        raise InvalidValueError("margin parameters that the terms' risk_hash does not commit to")
    expected = channel_id(domain, evidence.terms)
    for each in evidence.states:
        if each.state.channel_id != expected:
            raise InvalidValueError(
                f"a state of channel 0x{each.state.channel_id.hex()}, not 0x{expected.hex()}"
            )
        if each.state.nonce == 0:
            raise InvalidValueError("nonce 0 stands for no state yet: there is none to sign")
        digest = domain.digest(each.state)
        check_digest(each.signature_a, digest, evidence.terms.signer_a)
        check_digest(each.signature_b, digest, evidence.terms.signer_b)


@attrs.frozen(kw_only=True)
class Watched:
    """What is known of one channel. Replaced, never changed; evidence in it only gets newer.

    ``permanent`` is the newest permanent state, ``boxed`` the newest boxed one above that;
    ``rival`` another state at the nonce of either, which no honest pair of signers makes.
    ``portfolios`` are others that the chain may have recorded. ``risk`` are the margin parameters,
    in the order of their feeds; empty as long as nobody has handed them over. ``filings`` are
    disputes to file in a signer's name.
    """

    terms: Terms
    channel_id: bytes
    side: Party | None = None
    permanent: Held | None = None
    boxed: Held | None = None
    rival: Held | None = None
    affirm_by: int = 0
    portfolios: tuple[Portfolio, ...] = ()
    risk: tuple[RiskParams, ...] = ()
    filings: tuple[Filing, ...] = ()

    @property
    def permanent_nonce(self) -> int:
        """Nonce of the newest permanent state; 0 if there is none."""
        return 0 if self.permanent is None else self.permanent.state.nonce

    @property
    def newest_nonce(self) -> int:
        """Highest nonce of any evidence; 0 if there is none."""
        return self.permanent_nonce if self.boxed is None else self.boxed.state.nonce

    def acceptable(self, recorded: int, time: int) -> tuple[Held, ...]:
        """Evidence the contract would take after a block of this time, newest first.

        The next block is later than ``time``, so a box that ends with it has passed.
        """
        held = []
        if self.boxed is not None and time < self.boxed.state.valid_until:
            held.append(self.boxed)
        if self.permanent is not None:
            held.append(self.permanent)
        return tuple(each for each in held if each.state.nonce > recorded)

    @property
    def evidence(self) -> tuple[Held, ...]:
        """Every co-signed state held."""
        held = (self.boxed, self.permanent, self.rival)
        return tuple(each for each in held if each is not None)

    def known_portfolios(self) -> tuple[Portfolio, ...]:
        """Every portfolio held, those of the evidence first."""
        return (*_portfolios(self.evidence), *reversed(self.portfolios))

    def recorded_portfolio(self, view: ChannelView) -> Portfolio | None:
        """The portfolio whose hash is on chain; None if it is not known here."""
        return EMPTY_PORTFOLIO if view.nonce == 0 else self._known(view.portfolio_hash)

    def portfolio_of(self, held: Held) -> Portfolio | None:
        """The portfolio of a state held; None if only its hash is known."""
        return self._known(held.state.portfolio_hash)

    def _known(self, wanted: bytes) -> Portfolio | None:
        return next((each for each in self.known_portfolios() if each.struct_hash == wanted), None)

    def with_portfolios(self, *portfolios: Portfolio) -> Watched:
        """Learn these portfolios."""
        learnt = {each.struct_hash: each for each in self.portfolios}
        for each in portfolios:
            learnt.pop(each.struct_hash, None)
            learnt[each.struct_hash] = each
        kept = tuple(learnt.values())[-MAX_PORTFOLIOS:]
        return self if kept == self.portfolios else attrs.evolve(self, portfolios=kept)

    def with_evidence(
        self,
        evidence: Evidence,
        *,
        time: int = 0,
        recorded: Collection[bytes] | None = None,
    ) -> Watched:
        """Take in what is newer; ``evidence`` has been checked.

        Args:
            evidence: of this channel.
            time: of the newest head. A box that has passed does not replace one that has not.
            recorded: portfolio hashes the chain may have recorded; None if that is not known. Of
                states that are replaced, these portfolios stay.
        """
        after = self
        if evidence.side not in (None, self.side):
            after = attrs.evolve(self, side=evidence.side)
        if evidence.risk and not self.risk:
            ordered = tuple(sorted(evidence.risk, key=lambda each: each.feed))
            after = attrs.evolve(after, risk=ordered)
        if evidence.filings is not None:
            after = attrs.evolve(after, filings=evidence.filings)
        for each in evidence.states:
            if each.state.permanent:
                after = after._with_permanent(each)
            else:
                after = after._with_boxed(each, evidence.affirm_by, time)
        before = self.known_portfolios() if after is not self else ()
        offered = (
            *before,
            *evidence.portfolios,
            *_portfolios(evidence.states),
        )
        held = {each.struct_hash for each in _portfolios(after.evidence)}
        return after.with_portfolios(
            *(
                each
                for each in offered
                if each.struct_hash not in held
                and (recorded is None or each.struct_hash in recorded)
            )
        )

    def _with_permanent(self, offered: Held) -> Watched:
        nonce = offered.state.nonce
        if self._rivals(offered):
            return attrs.evolve(self, rival=offered)
        if nonce <= self.permanent_nonce:
            return self
        if self.boxed is not None and self.boxed.state.nonce > nonce:
            return attrs.evolve(self, permanent=offered)
        return attrs.evolve(self, permanent=offered, boxed=None, affirm_by=0)

    def _with_boxed(self, offered: Held, affirm_by: int, time: int) -> Watched:
        state = offered.state
        if self._rivals(offered):
            return attrs.evolve(self, rival=offered)
        if state.nonce <= self.permanent_nonce:
            return self
        if self.boxed is not None:
            held = self.boxed.state
            if held.nonce > state.nonce or (held.valid_until > time >= state.valid_until):
                return self
            if held.nonce == state.nonce:
                return attrs.evolve(self, affirm_by=affirm_by) if affirm_by else self
        return attrs.evolve(self, boxed=offered, affirm_by=affirm_by)

    def _rivals(self, offered: Held) -> bool:
        """Whether another state is held at this nonce. The one held first stays."""
        return any(
            each is not None
            and each.state.nonce == offered.state.nonce
            and each.state.struct_hash != offered.state.struct_hash
            for each in (self.permanent, self.boxed)
        )


def _portfolios(states: tuple[Held, ...]) -> tuple[Portfolio, ...]:
    """The portfolios of those states that have theirs with them."""
    return tuple(each.state.portfolio for each in states if isinstance(each, CoSigned))


def start_watching(evidence: Evidence, domain: Domain) -> Watched:
    """A channel of which nothing is known but its terms."""
    return Watched(
        terms=evidence.terms, channel_id=channel_id(domain, evidence.terms), side=evidence.side
    )


_STATE: Final = struct(State, HASH, U64, U64, PORTFOLIO)
_SEALED: Final = struct(SealedState, HASH, U64, U64, HASH)
_OPEN_TAG: Final = 0
_CO_SIGNED: Final = union(
    {
        _OPEN_TAG: (CoSigned, struct(CoSigned, _STATE, SIGNATURE, SIGNATURE)),
        1: (CoSignedHash, struct(CoSignedHash, _SEALED, SIGNATURE, SIGNATURE)),
    }
)
_FILING: Final = struct(
    Filing, struct(DisputeAuthorisation, HASH, ADDRESS, U64, U64), SIGNATURE, U64
)
_STATES: Final = slice(3, 6)
"""Where the co-signed states stand among the fields."""
_WATCHED: Final = struct(
    Watched,
    TERMS,
    HASH,
    optional(enum(Party)),
    optional(_CO_SIGNED),
    optional(_CO_SIGNED),
    optional(_CO_SIGNED),
    U64,
    many(PORTFOLIO, MAX_PORTFOLIOS),
    many(RISK, MAX_POSITIONS),
    many(_FILING, len(Party)),
)


def encode_watched(watched: Watched) -> bytes:
    """Bytes for the store."""
    return versioned(RECORD_VERSION, _WATCHED.pack(watched))


def decode_watched(record: bytes) -> Watched:
    """Read back what `encode_watched` wrote.

    Raises:
        SchemaVersionError: written by another version.
        StorageError: the record is damaged.
    """
    try:
        item: Any = unpack(record)
        version, fields = item
        if version == _WITHOUT_RISK:
            version, fields = _WITHOUT_HASHES, [*fields, []]
        if version == _WITHOUT_HASHES:
            tagged = [None if each is None else [_OPEN_TAG, *each] for each in fields[_STATES]]
            version, fields = _WITHOUT_FILINGS, [*fields[:3], *tagged, *fields[6:]]
        if version == _WITHOUT_FILINGS:
            version, fields = RECORD_VERSION, [*fields, []]
        if version != RECORD_VERSION:
            raise SchemaVersionError(
                f"evidence of record version {version}, expected {RECORD_VERSION}"
            )
        watched: Watched = _WATCHED.decode(fields)
    except (MessageError, ValueError, TypeError) as error:
        raise StorageError(f"a damaged record of evidence: {error}") from error
    return watched
