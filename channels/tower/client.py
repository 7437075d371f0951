"""The customer's side of one tower: hand over, check what comes back, and get it back.

Nothing a tower says is believed because it says so: receipts and heartbeats carry its signature,
what it gives back carries the customer's and both parties'. What contradicts itself is kept in the
error that says so.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import time as unix_time
from typing import Any, Final, TypeVar

import attrs
import httpx

from channels.dispute import Evidence
from channels.dispute.evidence import Held, check_evidence
from channels.errors import (
    AppointmentRefusedError,
    BadSignatureError,
    InvalidValueError,
    LinkClosedError,
    TowerFaultError,
)
from channels.foreign_json import parse_json
from channels.protocol.calls import CoSigned
from channels.protocol.eip712 import Address
from channels.protocol.signing import Signable, Signature, Signer, check_digest, recover
from channels.protocol.terms import Domain
from channels.protocol.types import Party, Portfolio, State
from channels.protocol.watching import Heartbeat, Receipt, TowerRequest, TowerVerb
from channels.tower.kept import Holding, Kept, watch_key
from channels.tower.sealing import derive_seal
from channels.tower.signed import SignedHeartbeat, SignedReceipt
from channels.tower.wire import (
    hexed,
    holding_json,
    read_heartbeat,
    read_hex,
    read_holding,
    read_proof,
    read_receipt,
)

__all__ = ["Recovered", "TowerClient", "open_tower_client"]

T = TypeVar("T")

_NO_CHANNEL: Final = bytes(32)
_MOST_ANSWER: Final = 4_000_000
_MOST_CONFLICTS: Final = 1_024


@attrs.frozen(kw_only=True)
class Recovered:
    """What a tower gave back of a channel: evidence with every portfolio that could be opened.

    ``sequence`` is the highest one used: the next appointment goes above it.
    """

    evidence: Evidence
    sequence: int


class TowerClient:
    """One tower, known by the address that signs for it. Make one with `open_tower_client`."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        url: str,
        tower: Address,
        domain: Domain,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        self.url = url.rstrip("/")
        self.tower = tower
        self.last_beat: SignedHeartbeat | None = None
        self._http = http
        self._domain = domain
        self._clock = clock
        self._beats: dict[int, bytes] = {}

    # ---- handing over

    async def register(self, holding: Holding) -> SignedReceipt:
        """Hand an appointment over; on return the tower has given its word for it.

        Raises:
            AppointmentRefusedError: it does not take it, with the reason.
            TowerFaultError: what it answers is no receipt for this appointment.
            LinkClosedError: it does not answer. It may have it all the same: hand it over again.
        """
        appointment = holding.appointment
        answer = await self._ask(
            "PUT",
            f"/v1/channels/{hexed(appointment.channel_id)}",
            content=json.dumps(holding_json(holding, self._domain)).encode(),
        )
        signed = self._read(read_receipt, answer)
        receipt = signed.receipt
        self._check(signed.signature, receipt)
        if receipt.appointment_hash != appointment.struct_hash:
            raise TowerFaultError("the receipt is for another appointment")
        if receipt.channel_id != appointment.channel_id or receipt.nonce < appointment.nonce:
            raise TowerFaultError(
                f"the receipt is for nonce {receipt.nonce}, not {appointment.nonce}"
            )
        ends = appointment.valid_until
        if receipt.valid_to <= receipt.valid_from or (ends and receipt.valid_to < ends):
            raise TowerFaultError("the receipt is good for less than the state is")
        return signed

    async def forget(self, signer: Signer, holding: Holding) -> None:
        """Have the tower stop watching; ``holding`` is the newest appointment.

        Raises:
            TowerFaultError: it does not do so.
            LinkClosedError: it does not answer.
        """
        await self._about(signer, holding, TowerVerb.FORGET, "DELETE")

    async def file_dispute(self, signer: Signer, holding: Holding) -> None:
        """Have the tower file a dispute now, under the authorisation of the newest appointment.

        Raises:
            AppointmentRefusedError: that authorises none.
            TowerFaultError: it does not do so.
            LinkClosedError: it does not answer.
        """
        await self._about(signer, holding, TowerVerb.DISPUTE, "POST", "/dispute")

    async def _about(
        self, signer: Signer, holding: Holding, verb: TowerVerb, method: str, suffix: str = ""
    ) -> None:
        """Send a signed request about the newest appointment."""
        appointment = holding.appointment
        subject = appointment.struct_hash
        headers = await self._signed(signer, appointment.channel_id, verb, subject)
        path = f"/v1/channels/{hexed(appointment.channel_id)}{suffix}"
        await self._ask(method, f"{path}?appointment={hexed(subject)}", headers=headers)

    # ---- getting back

    async def channels(self, signer: Signer) -> tuple[bytes, ...]:
        """Ids of the channels that this signer has handed over."""
        headers = await self._signed(signer, _NO_CHANNEL, TowerVerb.READ)
        answer = await self._ask("GET", "/v1/channels", headers=headers)
        return tuple(
            self._read(lambda found: [read_hex(each, 32) for each in found["channels"]], answer)
        )

    async def recover(self, signer: Signer, channel_id: bytes) -> Recovered:
        """Get the newest states of a channel back, with nothing but the signer's key.

        Whether the tower holds a newer one than it gives back only other towers, the peer or the
        chain can tell: ask them all.

        Raises:
            TowerFaultError: what comes back was not signed by this signer and both parties.
            LinkClosedError: it does not answer.
        """
        headers = await self._signed(signer, channel_id, TowerVerb.READ)
        answer = await self._ask("GET", f"/v1/channels/{hexed(channel_id)}", headers=headers)
        holdings = self._read(
            lambda found: [read_holding(each) for each in found["appointments"]], answer
        )
        if not holdings:
            raise TowerFaultError("the tower gives nothing back")
        try:
            return await self._opened(signer, channel_id, holdings)
        except (BadSignatureError, InvalidValueError) as error:
            raise TowerFaultError(f"what the tower gives back was never signed: {error}") from error

    async def _opened(
        self, signer: Signer, channel_id: bytes, holdings: list[Holding]
    ) -> Recovered:
        seal = None
        states: list[Held] = []
        portfolios: list[Portfolio] = []
        parts = [each.parts for each in holdings]
        for holding, content in zip(holdings, parts, strict=True):
            appointment = holding.appointment
            if appointment.channel_id != channel_id or content.hash != appointment.content_hash:
                raise InvalidValueError("an appointment of something else")
            check_digest(holding.signature, self._domain.digest(appointment), signer.address)
            state: Held = holding.state
            if content.portfolio and not content.clear:
                seal = seal or await derive_seal(signer, self._domain, channel_id)
                portfolio = seal.open(content.portfolio, appointment.portfolio_hash)
                portfolios.append(portfolio)
                state = CoSigned(
                    state=State(
                        channel_id=channel_id,
                        nonce=appointment.nonce,
                        valid_until=appointment.valid_until,
                        portfolio=portfolio,
                    ),
                    signature_a=content.signature_a,
                    signature_b=content.signature_b,
                )
            states.append(state)
        terms = parts[0].terms
        evidence = Evidence(
            terms=terms,
            side=Party.A if signer.address == terms.signer_a else Party.B,
            states=tuple(states),
            portfolios=tuple(portfolios),
            risk=parts[0].risk,
        )
        check_evidence(evidence, self._domain)
        return Recovered(
            evidence=evidence, sequence=max(each.appointment.sequence for each in holdings)
        )

    # ---- checking

    async def heartbeat(self) -> SignedHeartbeat:
        """The newest heartbeat, checked against all that came before.

        Raises:
            TowerFaultError: not signed by the tower, older than the last one, or two different
                ones under one number.
            LinkClosedError: it gives none.
        """
        signed = self._read(read_heartbeat, await self._ask("GET", "/v1/heartbeat"))
        self.take_heartbeat(signed)
        return signed

    def take_heartbeat(self, signed: SignedHeartbeat) -> None:
        """Check a heartbeat, from wherever it came: another customer's may show a fork.

        Raises:
            TowerFaultError: as `heartbeat`.
        """
        beat = signed.heartbeat
        self._check(signed.signature, beat)
        known = self._beats.get(beat.sequence)
        if known is not None and known != beat.struct_hash:
            raise TowerFaultError(f"two different heartbeats number {beat.sequence}, both signed")
        last = self.last_beat
        self._beats[beat.sequence] = beat.struct_hash
        if len(self._beats) > _MOST_CONFLICTS:
            del self._beats[min(self._beats)]
        if last is None or beat.sequence > last.heartbeat.sequence:
            if last is not None and beat.dispute_count < last.heartbeat.dispute_count:
                raise TowerFaultError("the tower has counted disputes backwards")
            self.last_beat = signed

    async def holds(self, kept: Kept, beat: SignedHeartbeat) -> bool:
        """Whether the tower proves, under the root of a heartbeat, that it holds all of this.

        False also where its store changed since: take a newer heartbeat and ask again.
        """
        path = f"/v1/proof/{hexed(kept.channel_id)}?side={kept.side.name}"
        answer = await self._ask("GET", path)
        proof = self._read(lambda found: read_proof(found["proof"]), answer)
        key = watch_key(kept.channel_id, kept.side)
        return proof.root(key) == beat.heartbeat.store_root and proof.leaf(key) == kept.leaf

    def _check(self, signature: Signature, value: Receipt | Heartbeat) -> None:
        try:
            signer = recover(signature, self._domain.digest(value))
        except BadSignatureError as error:
            raise TowerFaultError(f"a signature that nobody made: {error}") from error
        if signer != self.tower:
            raise TowerFaultError(f"signed by 0x{signer.hex()}, not by the tower")

    # ---- asking

    async def _signed(
        self, signer: Signer, channel_id: bytes, verb: TowerVerb, subject: bytes = _NO_CHANNEL
    ) -> dict[str, str]:
        request = TowerRequest(
            channel_id=channel_id,
            verb=int(verb),
            tower=self.tower,
            subject=subject,
            time=int(self._clock()),
        )
        signature = await signer.sign(Signable(self._domain, request))
        return {
            "x-tower-time": str(request.time),
            "x-tower-signature": hexed(signature.compact),
        }

    async def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = await self._http.request(method, self.url + path, **options)
        except httpx.HTTPError as error:
            raise LinkClosedError(
                f"the tower at {self.url} does not answer: {error!r}", fault="the tower's"
            ) from error
        if len(response.content) > _MOST_ANSWER:
            raise TowerFaultError("an answer too long to be one")
        try:
            answer = parse_json(response.content)
        except ValueError as error:
            raise TowerFaultError(f"the tower answers no JSON: {response.status_code}") from error
        if response.status_code == httpx.codes.OK:
            return answer
        told = answer if isinstance(answer, dict) else {}
        code, text = str(told.get("error", response.status_code)), str(told.get("message", ""))
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise LinkClosedError(f"the tower cannot serve: {code} {text}", fault="the tower's")
        raise AppointmentRefusedError(code, text or code)

    @staticmethod
    def _read(reader: Callable[[Any], T], answer: Any) -> T:
        try:
            return reader(answer)
        except (InvalidValueError, KeyError, TypeError) as error:
            raise TowerFaultError(f"not what was asked for: {error}") from error


@asynccontextmanager
async def open_tower_client(
    url: str, tower: Address, domain: Domain, *, timeout: float = 10.0, verify: Any = True
) -> AsyncIterator[TowerClient]:
    """Speak to the tower at ``url`` whose receipts are signed by ``tower``.

    ``verify`` is httpx's: an ssl.SSLContext for a certificate of the tower's own.
    """
    async with httpx.AsyncClient(timeout=timeout, verify=verify) as http:
        yield TowerClient(http, url, tower, domain)
