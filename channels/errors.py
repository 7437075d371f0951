"""Every error this library raises, in four branches that say whose fault it is.

::

    ChannelsError
    ├── OurError                 what this side did, was given or was configured with
    │   ├── InvalidValueError    a value that breaks its type's own rules (also a ValueError)
    │   │   └── PricingDomainError   input outside the domain of the integer engine
    │   ├── IllegalCommandError  the channel is not in a phase that allows this command
    │   ├── SigningRefusedError  a signing rule forbids our signature
    │   ├── LimitError           a limit of our desk, or its protection, forbids it
    │   ├── MarginError          a margin requirement is not met, or has no finite size
    │   ├── StorageError         the database cannot be read or written; signing stops
    │   │   ├── StoreLockedError     another process holds this database
    │   │   ├── LeaseLostError       another replica may be signing now; this one must not
    │   │   ├── SchemaVersionError   written by another version of this library
    │   │   └── JournalBrokenError   the journal was changed, cut or damaged
    │   ├── SignerError          the key cannot or will not sign
    │   ├── WrongChainError      the endpoint's chain is not the one that is meant
    │   └── InsufficientFundsError   the account cannot pay for its transactions
    ├── PeerError                what the counterparty sent, or did not send
    │   ├── FrameError           bytes that are no frame
    │   │   ├── FrameTooLargeError
    │   │   └── FrameTruncatedError
    │   ├── LinkClosedError      the connection has ended, or never began
    │   ├── FloodError           it kept sending above the rate limit
    │   ├── UnprovedPeerError    it did not prove that the connection is its own
    │   ├── MessageError         a frame that is no message
    │   │   ├── UnknownMessageError
    │   │   ├── UnsupportedVersionError
    │   │   ├── MalformedMessageError
    │   │   └── NonCanonicalError
    │   ├── BadSignatureError    signature does not verify, is not low-s, or has a wrong v
    │   ├── BadNonceError        nonce of the wrong parity, reused, or out of order
    │   ├── UnexpectedMessageError   a message its phase does not allow
    │   ├── BadProposalError     a proposed state is not what its announcement says
    │   ├── RejectedError        the counterparty declined, with its reason
    │   ├── PeerTimeoutError     the counterparty did not answer in time
    │   ├── AppointmentRefusedError  a tower does not take an appointment, with its reason
    │   ├── TowerFaultError      a tower signed what is not so, or does not answer
    │   └── NotProtectedError    fewer towers than wanted have given a receipt
    ├── ChainError               what the chain, a contract or an endpoint did
    │   ├── EndpointError        an endpoint failed, lied or lagged
    │   │   └── EndpointsDisagreeError   two endpoints tell of different chains
    │   ├── ContractRevertedError    a contract refused a call, with its decoded reason
    │   ├── TransactionFailedError   a transaction was mined and failed, or cannot be mined
    │   ├── ReorgTooDeepError    a reorganisation reached below what was final
    │   ├── DeploymentProxyError     the deterministic deployment proxy is not there, or not it
    │   └── CodeDiffersError     what stands at an address is not this package's contract
    └── BugError                 a promise this library makes to itself was broken
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "AppointmentRefusedError",
    "BadNonceError",
    "BadProposalError",
    "BadSignatureError",
    "BugError",
    "ChainError",
    "ChannelsError",
    "CodeDiffersError",
    "ContractRevertedError",
    "DeploymentProxyError",
    "EndpointError",
    "EndpointsDisagreeError",
    "FloodError",
    "FrameError",
    "FrameTooLargeError",
    "FrameTruncatedError",
    "IllegalCommandError",
    "InsufficientFundsError",
    "InvalidValueError",
    "JournalBrokenError",
    "LeaseLostError",
    "LimitError",
    "LinkClosedError",
    "MalformedMessageError",
    "MarginError",
    "MessageError",
    "NonCanonicalError",
    "NotProtectedError",
    "OurError",
    "PeerError",
    "PeerTimeoutError",
    "PricingDomainError",
    "RejectedError",
    "ReorgTooDeepError",
    "SchemaVersionError",
    "SignerError",
    "SigningRefusedError",
    "StorageError",
    "StoreLockedError",
    "TowerFaultError",
    "TransactionFailedError",
    "UnexpectedMessageError",
    "UnknownMessageError",
    "UnprovedPeerError",
    "UnsupportedVersionError",
    "WrongChainError",
]


class ChannelsError(Exception):
    """Base of all errors of this library.

    ``fault`` names whose fault it is; ``next_step`` tells the reader what to do about it.
    """

    fault = "nobody"
    next_step = ""

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message)
        if next_step is not None:
            self.next_step = next_step

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({self.next_step})" if self.next_step else message


class OurError(ChannelsError):
    """What this side did, was given or was configured with."""

    fault = "ours"


class InvalidValueError(OurError, ValueError):
    """A value breaks the rules of its own type."""


class PricingDomainError(InvalidValueError):
    """Input lies outside the stated domain of the integer pricing engine."""


class IllegalCommandError(OurError):
    """The channel is not in a phase that allows this command."""


class SigningRefusedError(OurError):
    """A signing rule forbids our signature; nothing was signed and nothing changed."""


class LimitError(OurError):
    """A limit of our desk, or its market-maker protection, forbids it; nothing was signed."""

    next_step = "trade less, hedge elsewhere, or change the limit"


class MarginError(OurError):
    """A margin requirement is not met, or the position's loss has no bound."""


class StorageError(OurError):
    """The database cannot be read or written; signing stops, defending does not."""

    next_step = "free the disk or restore the file; the channel resumes from its last commit"


class StoreLockedError(StorageError):
    """Another process holds this database."""

    next_step = "stop the other process; two writers on one channel may lose funds"


class LeaseLostError(StorageError):
    """This process does not hold its database's lease, or cannot tell: it must sign nothing."""

    next_step = "wait for the lease; what was stored is continued by whoever holds it"


class SchemaVersionError(StorageError):
    """The database was written by another version of this library."""

    next_step = "open it with the version that wrote it, or migrate it"


class JournalBrokenError(StorageError):
    """The journal was changed, cut or damaged; ``seq`` is its first entry that does not hold."""

    next_step = "stop signing and recover from the peer and the towers: this may lose funds"

    def __init__(self, message: str, *, seq: int) -> None:
        super().__init__(message)
        self.seq = seq


class SignerError(OurError):
    """The key cannot or will not sign."""


class WrongChainError(OurError):
    """The endpoint's chain is not the one that is meant; ``expected`` and ``found`` are ids."""

    next_step = "point to an endpoint of the chain that is meant"

    def __init__(self, *, expected: int, found: int) -> None:
        super().__init__(f"the endpoint is on chain {found}, not on {expected}")
        self.expected = expected
        self.found = found


class InsufficientFundsError(OurError):
    """The account cannot pay for its transactions; ``needed`` and ``available`` in wei."""

    next_step = "fund the account, then run it again"

    def __init__(self, message: str, *, needed: int, available: int) -> None:
        super().__init__(message)
        self.needed = needed
        self.available = available


class PeerError(ChannelsError):
    """What the counterparty sent, or did not send."""

    fault = "the peer's"
    next_step = "the channel is as it was before; reconnect, or dispute if it goes on"


class FrameError(PeerError):
    """Bytes on the wire that are no frame."""


class FrameTooLargeError(FrameError):
    """A frame announces more bytes than the protocol allows."""


class FrameTruncatedError(FrameError):
    """The stream ended inside a frame."""


class LinkClosedError(PeerError):
    """The connection has ended, or never began; ``fault`` says whose doing it was.

    Whether the other side got what was sent last is unknown: after reconnecting, Reestablish finds
    out. To take it for received, or for lost, **may lose funds**.
    """

    next_step = "reconnect and reestablish; the channel itself is as it was before"

    def __init__(self, message: str, *, fault: str = PeerError.fault) -> None:
        super().__init__(message)
        self.fault = fault


class FloodError(PeerError):
    """The counterparty kept sending above the rate limit, and was dropped."""

    next_step = "reconnect later; raise the limit if the traffic was legitimate"


class UnprovedPeerError(PeerError):
    """The counterparty did not prove that this connection is its own: hung up on, nothing said.

    Its proof is of another key, another connection, another contract or another chain. Somebody in
    between, who passes on what both say, looks the same.
    """

    next_step = "check the address, the chain and the contract; is somebody in between?"


class MessageError(PeerError):
    """A frame that is no message of this protocol."""


class UnknownMessageError(MessageError):
    """The message tag is not one of this protocol."""


class UnsupportedVersionError(MessageError):
    """The message is of a protocol version this library does not speak."""


class MalformedMessageError(MessageError):
    """Fields are missing, superfluous, of the wrong type or out of range."""


class NonCanonicalError(MessageError):
    """The same message has a shorter or otherwise different canonical encoding."""


class BadSignatureError(PeerError):
    """A signature does not verify, is not low-s, or carries a wrong v."""


class BadNonceError(PeerError):
    """A nonce of the wrong parity, reused, or out of order."""


class UnexpectedMessageError(PeerError):
    """A message that the channel's phase does not allow."""


class BadProposalError(PeerError):
    """A proposed state is not exactly the change it announces."""


class RejectedError(PeerError):
    """The counterparty declined, with its reason."""

    next_step = "the channel is as it was before; change the terms, or ask again later"


class PeerTimeoutError(PeerError):
    """The counterparty did not answer in time."""


class AppointmentRefusedError(PeerError):
    """A tower does not take an appointment; ``refusal`` names why, as the tower puts it."""

    next_step = "mend what is said, or ask another tower; until then watch the channel yourself"

    def __init__(self, refusal: str, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


class TowerFaultError(PeerError):
    """A tower signed what is not so, contradicts itself, or does not answer as it must."""

    next_step = "hand everything over to another tower; keep what this one has signed"


class NotProtectedError(PeerError):
    """Fewer towers than wanted have given a receipt: if both sides go away this may lose funds."""

    next_step = "stay online, and watch the channel yourself until enough towers have it"


class ChainError(ChannelsError):
    """What the chain, a contract or an endpoint did."""

    fault = "the chain's"


class EndpointError(ChainError):
    """An RPC endpoint failed, lied or lagged."""

    next_step = "check the endpoint, or add another one"


class EndpointsDisagreeError(EndpointError):
    """Endpoints tell of different chains, or of different events in one block."""

    next_step = "find out which one is wrong and remove it; until then do not trade"


class ContractRevertedError(ChainError):
    """A contract refused a call; ``reason`` names its custom error, ``fault`` whose fault that is.

    ``arguments`` are the error's own by their names in Solidity: integers, bytes, and parties and
    phases as this library has them.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        arguments: Mapping[str, object] | None = None,
        fault: str = ChainError.fault,
        next_step: str | None = None,
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.reason = reason
        self.arguments: Mapping[str, object] = dict(arguments or {})
        self.fault = fault


class TransactionFailedError(ChainError):
    """A transaction was mined and failed, or can no longer be mined."""


class ReorgTooDeepError(ChainError):
    """A reorganisation reached below what was taken for final."""

    next_step = "stop trading; re-read every channel from the contract before signing again"


class DeploymentProxyError(ChainError):
    """The deterministic deployment proxy is not there, or something else stands in its place."""


class CodeDiffersError(ChainError):
    """What stands at an address is not this package's contract, or not as it was meant to be."""

    next_step = "do not use it: check the chain and the endpoint"


class BugError(ChannelsError):
    """A promise this library makes to itself was broken."""

    fault = "a bug in option-channels"
    next_step = "stop signing and report it with the journal"
