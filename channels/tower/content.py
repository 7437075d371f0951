"""What a customer hands over beside an appointment, as the bytes that the appointment commits to.

The portfolio is either sealed (`channels.tower.sealing`), so that the tower sees no strike, or in
clear, which the duties need that settle or call margin.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import attrs

from channels.errors import InvalidValueError, MessageError
from channels.protocol.bounds import require, unsigned
from channels.protocol.calls import CoSigned, CoSignedHash
from channels.protocol.codec import ADDRESS, HASH, PORTFOLIO, RISK, SIGNATURE, TERMS, unpack
from channels.protocol.eip712 import keccak
from channels.protocol.schema import BOOLEAN, U64, blob, many, optional, struct, versioned
from channels.protocol.signing import Signature
from channels.protocol.terms import DisputeAuthorisation, RiskParams, Terms
from channels.protocol.types import MAX_POSITIONS, Portfolio, SealedState, State
from channels.protocol.watching import Appointment

__all__ = [
    "CONTENT_VERSION",
    "MAX_SEALED",
    "Authorised",
    "Content",
    "pack_portfolio",
    "read_portfolio",
]

CONTENT_VERSION: Final = 2
_WITHOUT_SILENCE: Final = 1
"""The version before a customer could name a silence after which a dispute is filed."""

MAX_SEALED: Final = 65_536
"""Most bytes of a portfolio, sealed or packed: one of 128 positions has some 20,000."""


@attrs.frozen(kw_only=True)
class Authorised:
    """A `DisputeAuthorisation` with the customer's signature.

    ``silence``: seconds of chain time after an appointment without another one, after which the
    tower files by itself; 0: only at the customer's word.
    """

    value: DisputeAuthorisation
    signature: Signature
    silence: int = 0

    def __attrs_post_init__(self) -> None:
        unsigned(64, silence=self.silence)


@attrs.frozen(kw_only=True)
class Content:
    """Everything that an appointment's ``content_hash`` commits to.

    ``portfolio`` is packed, and in clear if ``clear``; else only the customer can read it. Empty:
    it was not handed over. ``affirm_by``: from this chain time on a boxed state is put on chain; 0
    never. ``risk`` are the margin parameters, for a tower that shall call margin.
    """

    terms: Terms
    signature_a: Signature
    signature_b: Signature
    portfolio: bytes = attrs.field(default=b"", repr=False)
    clear: bool = False
    risk: tuple[RiskParams, ...] = ()
    affirm_by: int = 0
    authorisation: Authorised | None = None

    def __attrs_post_init__(self) -> None:
        unsigned(64, affirm_by=self.affirm_by)
        require(len(self.portfolio) <= MAX_SEALED, "a portfolio's bytes", len(self.portfolio))

    @cached_property
    def packed(self) -> bytes:
        """The bytes that are handed over, stored and hashed."""
        return versioned(CONTENT_VERSION, _CONTENT.pack(self))

    @cached_property
    def hash(self) -> bytes:
        """Keccak of `packed`: the appointment's ``content_hash``."""
        return keccak(self.packed)

    @classmethod
    def read(cls, packed: bytes) -> Content:
        """Read what `packed` made.

        Raises:
            InvalidValueError: they are not canonical, or of another version.
        """
        try:
            version, fields = unpack(packed)
            if version == _WITHOUT_SILENCE:
                *others, authorised = fields
                longer = None if authorised is None else [*authorised, 0]
                version, fields = CONTENT_VERSION, [*others, longer]
            if version != CONTENT_VERSION:
                raise InvalidValueError(f"contents of version {version!r}")
            content: Content = _CONTENT.decode(fields)
        except (MessageError, ValueError, TypeError) as error:
            raise InvalidValueError(f"no contents of an appointment: {error}") from error
        return content

    @cached_property
    def shown_portfolio(self) -> Portfolio | None:
        """The portfolio, if it was handed over in clear.

        Raises:
            InvalidValueError: what was handed over as one is none.
        """
        return read_portfolio(self.portfolio) if self.clear else None

    def state(self, appointment: Appointment) -> CoSigned | CoSignedHash:
        """The state that the appointment is for, with both signatures."""
        shown = self.shown_portfolio
        if shown is not None and shown.struct_hash == appointment.portfolio_hash:
            return CoSigned(
                state=State(
                    channel_id=appointment.channel_id,
                    nonce=appointment.nonce,
                    valid_until=appointment.valid_until,
                    portfolio=shown,
                ),
                signature_a=self.signature_a,
                signature_b=self.signature_b,
            )
        return CoSignedHash(
            state=SealedState(
                channel_id=appointment.channel_id,
                nonce=appointment.nonce,
                valid_until=appointment.valid_until,
                portfolio_hash=appointment.portfolio_hash,
            ),
            signature_a=self.signature_a,
            signature_b=self.signature_b,
        )


def pack_portfolio(portfolio: Portfolio) -> bytes:
    """A portfolio in clear, as `Content.portfolio` has it, and as it is before it is sealed."""
    return PORTFOLIO.pack(portfolio)


def read_portfolio(packed: bytes) -> Portfolio:
    """Read back what `pack_portfolio` wrote.

    Raises:
        InvalidValueError: it is no portfolio.
    """
    try:
        portfolio: Portfolio = PORTFOLIO.decode(unpack(packed))
    except (MessageError, ValueError, TypeError) as error:
        raise InvalidValueError(f"no portfolio: {error}") from error
    return portfolio


_AUTHORISATION: Final = struct(DisputeAuthorisation, HASH, ADDRESS, U64, U64)
_CONTENT: Final[Any] = struct(
    Content,
    TERMS,
    SIGNATURE,
    SIGNATURE,
    blob(MAX_SEALED),
    BOOLEAN,
    many(RISK, MAX_POSITIONS),
    U64,
    optional(struct(Authorised, _AUTHORISATION, SIGNATURE, U64)),
)
