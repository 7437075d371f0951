"""What the book keeps of one side of a channel: the same room for ever, whatever is handed over.

The newest permanent state, the newest boxed one above it, and at most one other state at the nonce
of either. The permanent one stays below a boxed one until a permanent one at least as new has
come: once the box has passed unrecorded it is all there is to defend with, and without it the
channel **may lose funds**.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import attrs

from channels.dispute import Evidence, Filing
from channels.errors import MessageError, SchemaVersionError, StorageError
from channels.protocol.calls import CoSigned, CoSignedHash
from channels.protocol.codec import pack, unpack
from channels.protocol.eip712 import Address, address, keccak
from channels.protocol.schema import U64, U128
from channels.protocol.signing import Signature
from channels.protocol.terms import Terms
from channels.protocol.types import Party
from channels.protocol.watching import Appointment, Duties
from channels.tower.content import Authorised, Content

__all__ = ["Holding", "Kept", "watch_key"]

_RECORD_VERSION: Final = 2
_WITHOUT_TIMES: Final = 1
"""Record version before disputes were filed for customers."""
_NOTHING: Final = bytes(32)


def watch_key(channel_id: bytes, side: Party) -> bytes:
    """The key of one side's entry: the channel id, then the side."""
    return channel_id + bytes([side])


@attrs.frozen(kw_only=True)
class Holding:
    """One appointment as it was handed over. ``signature`` is the customer's, on it."""

    appointment: Appointment
    signature: Signature
    content: bytes = attrs.field(repr=False)

    @cached_property
    def parts(self) -> Content:
        """What the content says."""
        return Content.read(self.content)

    @cached_property
    def state(self) -> CoSigned | CoSignedHash:
        """The state with both signatures."""
        return self.parts.state(self.appointment)

    @property
    def permanent(self) -> bool:
        """Whether the contract accepts its state at any time."""
        return self.appointment.valid_until == 0

    @property
    def state_hash(self) -> bytes:
        """EIP-712 hash of its state."""
        return self.state.state.struct_hash


@attrs.frozen(kw_only=True)
class Kept:
    """Everything kept for one customer of one channel.

    ``pot`` is what the channel held on chain when it was first accepted, base units. ``heard`` is
    when the newest appointment was accepted, ``called`` when the customer asked for a dispute since
    then, chain times; 0: never.
    """

    customer: Address
    pot: int
    permanent: Holding | None = None
    boxed: Holding | None = None
    rival: Holding | None = None
    heard: int = 0
    called: int = 0

    @property
    def holdings(self) -> tuple[Holding, ...]:
        """Every appointment kept, the one with the highest nonce first."""
        return tuple(each for each in (self.boxed, self.permanent, self.rival) if each is not None)

    @property
    def newest(self) -> Holding:
        """The appointment with the highest nonce."""
        return self.holdings[0]

    @property
    def latest(self) -> Holding:
        """The appointment that was made last."""
        return max(self.holdings, key=lambda each: each.appointment.sequence)

    @property
    def channel_id(self) -> bytes:
        """The channel."""
        return self.newest.appointment.channel_id

    @property
    def terms(self) -> Terms:
        """Its terms."""
        return self.newest.parts.terms

    @property
    def side(self) -> Party:
        """Whose signer the customer is."""
        return Party.A if self.customer == self.terms.signer_a else Party.B

    @property
    def key(self) -> bytes:
        """What the book files it under: either side of a channel may be a customer."""
        return watch_key(self.channel_id, self.side)

    @property
    def budget(self) -> int:
        """The most to spend on the channel, wei: what was said last."""
        return self.latest.appointment.gas_budget

    @property
    def duties(self) -> Duties:
        """What is to be done: what was said last."""
        return Duties(self.latest.appointment.duties)

    @property
    def affirm_by(self) -> int:
        """When the boxed state is to be put on chain, chain time; 0 never."""
        if self.boxed is None or Duties.CHECKPOINT_BOXED not in self.duties:
            return 0
        return self.boxed.parts.affirm_by

    @property
    def authorised(self) -> Authorised | None:
        """Under which the customer wants disputes filed; None if it does not."""
        return self.latest.parts.authorisation if Duties.DISPUTE in self.duties else None

    @property
    def filing(self) -> Filing | None:
        """The dispute to file, at the customer's word or after its silence; None: neither."""
        authorised = self.authorised
        if authorised is None:
            return None
        at = self.called or (self.heard + authorised.silence if authorised.silence else 0)
        if not at:
            return None
        return Filing(authorisation=authorised.value, signature=authorised.signature, at=at)

    @property
    def due(self) -> int:
        """When something is to be done on a channel that is at peace, chain time; 0 never."""
        filing = self.filing
        times = (self.affirm_by, 0 if filing is None else filing.at)
        return min((each for each in times if each), default=0)

    @property
    def leaf(self) -> bytes:
        """What the store root commits to: who holds the appointments can work it out."""
        held = (self.permanent, self.boxed)
        hashes = [_NOTHING if each is None else each.appointment.struct_hash for each in held]
        return keccak(self.channel_id + b"".join(hashes))

    @property
    def evidence(self) -> Evidence:
        """What the monitor defends it with."""
        shown = (each.parts.shown_portfolio for each in self.holdings)
        acts = Duties.SETTLE | Duties.MARGIN
        return Evidence(
            terms=self.terms,
            side=self.side,
            states=tuple(each.state for each in reversed(self.holdings)),
            portfolios=tuple(each for each in shown if each is not None),
            affirm_by=self.affirm_by,
            risk=self.newest.parts.risk if acts & self.duties else (),
        )

    def rivals(self, offered: Holding) -> bool:
        """Whether another state is held at this nonce, which no honest pair of signers makes."""
        return any(
            each.appointment.nonce == offered.appointment.nonce
            and each.state_hash != offered.state_hash
            for each in (self.permanent, self.boxed)
            if each is not None
        )

    def with_holding(self, offered: Holding, *, heard: int = 0) -> Kept:
        """Take in an appointment that has passed the checks, accepted at this chain time.

        It takes back what was asked for before it.
        """
        after = attrs.evolve(self, heard=heard, called=0)
        if self.rivals(offered):
            return attrs.evolve(after, rival=offered)
        if not offered.permanent:
            return attrs.evolve(after, boxed=offered)
        boxed = self.boxed
        if boxed is not None and boxed.appointment.nonce <= offered.appointment.nonce:
            boxed = None
        return attrs.evolve(after, permanent=offered, boxed=boxed)

    @property
    def record(self) -> bytes:
        """Bytes for the book."""
        held = (self.permanent, self.boxed, self.rival)
        packed = [None if each is None else _pack_holding(each) for each in held]
        pot = U128.encode(self.pot)
        times = (self.heard, self.called)
        return pack([_RECORD_VERSION, self.channel_id, self.customer, pot, *packed, *times])

    @classmethod
    def read(cls, record: bytes) -> Kept:
        """Read back what `record` made.

        Raises:
            SchemaVersionError: written by another version.
            StorageError: the record is damaged.
        """
        try:
            version, *fields = unpack(record)
            if version == _WITHOUT_TIMES:
                version, fields = _RECORD_VERSION, [*fields, 0, 0]
            if version != _RECORD_VERSION:
                raise SchemaVersionError(f"a channel of record version {version!r}")
            channel_id, customer, pot, *packed, heard, called = fields
            permanent, boxed, rival = (
                None if each is None else _read_holding(each, channel_id) for each in packed
            )
            return cls(
                customer=address(customer),
                pot=U128.decode(pot),
                permanent=permanent,
                boxed=boxed,
                rival=rival,
                heard=U64.decode(heard),
                called=U64.decode(called),
            )
        except (MessageError, ValueError, TypeError) as error:
            raise StorageError(f"a damaged record of a channel: {error}") from error


def _pack_holding(holding: Holding) -> list[Any]:
    """A holding without what follows from its content: the channel's id and the content's hash."""
    each = holding.appointment
    numbers = [each.nonce, each.valid_until, each.duties, each.sequence]
    budget = U128.encode(each.gas_budget)
    signature = holding.signature.compact
    return [*numbers, budget, each.portfolio_hash, signature, holding.content]


def _read_holding(item: Any, channel_id: bytes) -> Holding:
    nonce, valid_until, duties, sequence, budget, portfolio_hash, signature, content = item
    return Holding(
        appointment=Appointment(
            channel_id=channel_id,
            nonce=nonce,
            valid_until=valid_until,
            portfolio_hash=portfolio_hash,
            duties=duties,
            gas_budget=U128.decode(budget),
            sequence=sequence,
            content_hash=keccak(content),
        ),
        signature=Signature(signature),
        content=content,
    )
