"""Replaying a journal: what was signed, in order, and the state it all ends in.

What an audit proves: nothing in the journal was changed since the head it is compared with; every
signature in it is of the signer the terms name; this side never signed two things at one nonce, nor
anything that the signing rules forbid on every chain there could have been (see
`channels.audit.signing`; rule 5, margin, is beyond a journal); and the journal ends in the very
state that the store would trade and defend with. What it cannot prove: that nothing was cut off the
end, unless a head is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs

from channels.audit.signing import SigningReplay
from channels.errors import BadSignatureError, JournalBrokenError, SchemaVersionError, StorageError
from channels.protocol import records
from channels.protocol.changes import Change
from channels.protocol.channel import Channel, Phase
from channels.protocol.effects import Deed
from channels.protocol.ledger import Entry, Full, Ledger
from channels.protocol.signing import Signature, check_signature
from channels.protocol.types import EMPTY_PORTFOLIO, Party, Portfolio, State
from channels.storage import JournalEntry, JournalHead, verify_journal
from channels.storage.offline import stored_channels

__all__ = ["AuditReport", "ChannelHistory", "Finding", "Settled", "audit"]

_MADE_FULL = frozenset({Deed.FULL, Deed.CONFIRMED, Deed.RECOVERED})


@attrs.frozen(kw_only=True)
class Finding:
    """Something that does not hold: at which journal entry (0: of none), of which channel."""

    seq: int
    channel_id: bytes
    text: str


@attrs.frozen(kw_only=True)
class Settled:
    """A portfolio that came to need nothing more; ``time`` is our clock's, nanoseconds since 1970.

    ``change`` is what made it: None for a void, and for one that only the chain had recorded.
    """

    seq: int
    time: int
    nonce: int
    change: Change | None
    portfolio: Portfolio


@attrs.frozen(kw_only=True)
class ChannelHistory:
    """One channel as the journal tells it. ``settled`` oldest first; ``deeds`` counts entries."""

    channel: Channel
    phase: Phase
    settled: tuple[Settled, ...]
    deeds: dict[Deed, int]
    signatures: int

    @property
    def portfolios(self) -> tuple[Portfolio, ...]:
        """Every portfolio that stood, the empty one first."""
        return (EMPTY_PORTFOLIO, *(each.portfolio for each in self.settled))


@attrs.frozen(kw_only=True)
class AuditReport:
    """What an audit found. ``head`` is worth keeping elsewhere, for the next one."""

    head: JournalHead
    histories: tuple[ChannelHistory, ...]
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether everything holds."""
        return not self.findings


def audit(path: str | Path, *, known: JournalHead | None = None) -> AuditReport:
    """Verify the journal of the store at ``path`` and replay it.

    Reads only; works beside a running process too. ``known`` is a head kept from an earlier audit.

    Raises:
        StorageError: the file is no readable store.
        SchemaVersionError: written by another version.
    """
    replays: dict[bytes, _Replay] = {}
    findings: list[Finding] = []
    for channel_id, record in stored_channels(path).items():
        try:
            replays[channel_id] = _Replay(records.decode_channel(record))
        except SchemaVersionError:
            raise
        except StorageError as error:
            findings.append(Finding(seq=0, channel_id=channel_id, text=str(error)))
    head = JournalHead(seq=0, hash=bytes(32))
    try:
        for each in verify_journal(path, known=known):
            head = JournalHead(seq=each.seq, hash=each.hash)
            replay = replays.get(each.channel_id)
            if replay is not None:
                findings.extend(replay.take(each))
            elif each.channel_id:
                text = "the store has no usable record of this channel"
                findings.append(Finding(seq=each.seq, channel_id=each.channel_id, text=text))
    except JournalBrokenError as error:
        findings.append(Finding(seq=error.seq, channel_id=b"", text=str(error)))
    else:
        for replay in replays.values():
            findings.extend(replay.conclude())
    return AuditReport(
        head=head,
        histories=tuple(each.history() for each in replays.values()),
        findings=tuple(findings),
    )


class _Replay:
    """The journal of one channel, followed entry by entry."""

    def __init__(self, stored: Channel) -> None:
        self._stored = stored
        self._phase = Phase.ASKED
        self._deeds: dict[Deed, int] = {}
        self._settled: list[Settled] = []
        self._signed: dict[tuple[Party, int], bytes] = {}
        self._checked: set[tuple[bytes, bytes]] = set()
        nothing = Full(state=State(channel_id=stored.channel_id, nonce=0))
        self._signing = SigningReplay(
            Ledger(side=stored.side, full=nothing), stored.terms.max_in_flight
        )

    def take(self, written: JournalEntry) -> Iterator[Finding]:
        """Follow one entry."""
        before = self._phase
        try:
            deed, self._phase, entries = records.decode_journal_entry(written.body)
        except StorageError as error:
            yield self._finding(written.seq, str(error))
            return
        if int(deed) != written.kind:
            yield self._finding(written.seq, f"filed as {written.kind}, and tells of {deed.name}")
        self._deeds[deed] = self._deeds.get(deed, 0) + 1
        fresh = [each for entry in entries for each in self._signatures(entry)]
        for side, nonce, struct_hash, objection in fresh:
            if objection is not None:
                yield self._finding(written.seq, objection)
            yield from self._order(written.seq, side, nonce, struct_hash)
        ours = frozenset(nonce for side, nonce, _, _ in fresh if side is self._stored.side)
        if deed is Deed.RECOVERED:
            if before is Phase.RECOVERING:
                ours = frozenset()  # signed before the data was lost, and shown to us since
            else:
                yield self._finding(written.seq, "a state found again while nothing was lost")
        for breach in self._signing.take(deed, entries, before, signed_now=ours):
            yield self._finding(written.seq, breach)
        if deed in _MADE_FULL and entries:
            self._settle(written, entries[-1])

    def conclude(self) -> Iterator[Finding]:
        """Compare where the journal ends with what the store holds."""
        stored = self._stored.ledger.full
        if self._signing.full != stored:
            yield self._finding(
                0,
                f"the journal ends at nonce {self._signing.full.state.nonce}, "
                f"and the store stands at {stored.state.nonce}",
            )
        if self._phase is not self._stored.phase:
            yield self._finding(
                0,
                f"the journal ends in {self._phase.name}, the store in {self._stored.phase.name}",
            )

    def history(self) -> ChannelHistory:
        """All that was followed."""
        return ChannelHistory(
            channel=self._stored,
            phase=self._phase,
            settled=tuple(self._settled),
            deeds=dict(self._deeds),
            signatures=len(self._checked),
        )

    def _finding(self, seq: int, text: str) -> Finding:
        return Finding(seq=seq, channel_id=self._stored.channel_id, text=text)

    def _signatures(self, entry: Entry) -> Iterator[tuple[Party, int, bytes, str | None]]:
        """Signatures not seen before: whose, at which nonce, over what, and what is wrong."""
        side, struct_hash = self._stored.side, entry.value.struct_hash
        for signer, signature in ((side, entry.mine), (side.other, entry.theirs)):
            if signature is None or (struct_hash, signature.compact) in self._checked:
                continue
            self._checked.add((struct_hash, signature.compact))
            yield signer, entry.nonce, struct_hash, self._objection(entry, signer, signature)

    def _objection(self, entry: Entry, signer: Party, signature: Signature) -> str | None:
        signable = self._stored.signable(entry.value)
        try:
            check_signature(signature, signable, self._stored.terms.signer(signer))
        except BadSignatureError as error:
            return f"signature of {signer.name} at nonce {entry.nonce}: {error}"
        return None

    def _order(self, seq: int, side: Party, nonce: int, struct_hash: bytes) -> Iterator[Finding]:
        before = self._signed.setdefault((side, nonce), struct_hash)
        if before != struct_hash:
            yield self._finding(seq, f"{side.name} signed two things at nonce {nonce}")

    def _settle(self, written: JournalEntry, entry: Entry) -> None:
        if not isinstance(entry.value, State):
            return
        self._signing.make_full(entry)
        self._settled.append(
            Settled(
                seq=written.seq,
                time=written.time,
                nonce=entry.nonce,
                change=entry.change,
                portfolio=entry.value.portfolio,
            )
        )
