"""The tower's HTTP interface: appointments in, receipts out, and what its operator looks at.

Everything that a customer is told is signed, or can be checked on chain; HTTP carries it and is not
trusted. Requests about one's own channels are signed `TowerRequest`s, in two headers: the time, and
the signature.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from importlib import resources
from time import time as unix_time
from typing import Any, Final

import attrs
import trio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from channels.errors import (
    AppointmentRefusedError,
    BadSignatureError,
    ChainError,
    InvalidValueError,
    PeerError,
    SignerError,
    StorageError,
)
from channels.protocol.eip712 import Address, checksum
from channels.protocol.signing import recover
from channels.protocol.types import Party
from channels.protocol.watching import TowerRequest, TowerVerb
from channels.tower.bodies import TooLargeError, drain, read_json
from channels.tower.intake import Refusal
from channels.tower.kept import Kept, watch_key
from channels.tower.limits import ClientLimits
from channels.tower.metrics import exposition
from channels.tower.page import status_page
from channels.tower.service import Tower
from channels.tower.wire import (
    hexed,
    holding_json,
    proof_json,
    read_hex,
    read_holding,
    read_signature,
    signed_json,
)
from channels.transport.limits import RateLimit

__all__ = ["SIGNATURE_HEADER", "TIME_HEADER", "Face", "HttpPolicy", "tower_app"]

TIME_HEADER: Final = "x-tower-time"
SIGNATURE_HEADER: Final = "x-tower-signature"
_NO_CHANNEL: Final = bytes(32)

_STATUS: Final[dict[str, int]] = {
    Refusal.NOT_NEWER: 409,
    Refusal.QUOTA: 402,
    Refusal.PREPAID: 402,
    Refusal.MALFORMED: 400,
    Refusal.NOT_READY: 503,
}
"""Of refusals; of all others 422."""

_STALE_HEAD: Final = 120.0

Face = Callable[[], Tower | None]
"""Tells what a process is now; None while it changes its role."""


@attrs.frozen(kw_only=True)
class HttpPolicy:
    """Limits of the interface.

    ``body``: most bytes of a request; ``rate``: of one client address; ``timeout``: seconds for one
    request; ``clock_slack``: seconds by which the time of a signed request may be off.
    """

    body: int = 400_000
    rate: RateLimit = attrs.field(
        factory=lambda: RateLimit(frames=50.0, bytes=2e6, burst=4.0, patience=60.0)
    )
    timeout: float = 20.0
    clock_slack: int = 300


class _RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, code: str, message: str, retry: float = 0.0) -> None:
        super().__init__(message)
        self.response = JSONResponse(
            {"error": code, "message": message},
            status_code=status,
            headers={"Retry-After": str(int(retry) + 1)} if retry else None,
        )


class _Interface:
    """The handlers of one tower."""

    def __init__(self, face: Face, policy: HttpPolicy, clock: Callable[[], float]) -> None:
        self._face = face
        self._policy = policy
        self._clock = clock
        self._limits = ClientLimits(policy.rate)

    @property
    def _tower(self) -> Tower:
        tower = self._face()
        if tower is None:
            raise _RefusedError(503, "changing", "this process changes its role", retry=1)
        return tower

    # ---- for everybody

    async def handle(
        self, work: Callable[[Request], Awaitable[Response]], request: Request
    ) -> Response:
        """Run a handler within its limits, and turn what it raises into an answer."""
        try:
            with trio.fail_after(self._policy.timeout):
                self._spend(request, int(request.headers.get("content-length") or 0))
                response = await work(request)
        except _RefusedError as refused:
            response = refused.response
        except AppointmentRefusedError as error:
            status = _STATUS.get(error.refusal, 422)
            response = _RefusedError(status, error.refusal, str(error.args[0])).response
        except (InvalidValueError, PeerError, ValueError) as error:
            response = _RefusedError(400, "malformed", str(error)).response
        except ClientDisconnect:
            response = _RefusedError(400, "disconnected", "the request ended early").response
        except (ChainError, StorageError, SignerError, trio.TooSlowError) as error:
            code = "chain" if isinstance(error, ChainError) else "unavailable"
            response = _RefusedError(503, code, str(error) or "too slow", retry=5.0).response
        await drain(request)
        tower = self._face()
        if tower is not None:
            tower.tally.requests[str(response.status_code)] += 1
        return response

    def _spend(self, request: Request, size: int) -> None:
        client = "" if request.client is None else request.client.host
        wait = self._limits.wait(client, size, now=trio.current_time())
        if wait:
            raise _RefusedError(429, "too_many", "more requests than are served", retry=wait)

    async def _body(self, request: Request) -> Any:
        """The JSON of a body no longer than is allowed."""
        try:
            return await read_json(request, most=self._policy.body)
        except TooLargeError:
            raise _RefusedError(413, "too_large", f"at most {self._policy.body} bytes") from None

    # ---- signed requests

    def _customer(
        self, request: Request, channel_id: bytes, verb: TowerVerb, subject: bytes = _NO_CHANNEL
    ) -> Address:
        """Who signed a request."""
        headers = request.headers
        if TIME_HEADER not in headers or SIGNATURE_HEADER not in headers:
            raise _RefusedError(401, "unsigned", f"{TIME_HEADER} and {SIGNATURE_HEADER} are needed")
        time = int(headers[TIME_HEADER])
        if abs(time - self._clock()) > self._policy.clock_slack:
            raise _RefusedError(
                401, "stale", f"signed at {time}, here it is {int(self._clock())}: mind the clock"
            )
        asked = TowerRequest(
            channel_id=channel_id,
            verb=int(verb),
            tower=self._tower.address,
            subject=subject,
            time=time,
        )
        try:
            signature = read_signature(headers[SIGNATURE_HEADER])
            return recover(signature, self._tower.chain.domain.digest(asked))
        except BadSignatureError as error:
            raise _RefusedError(401, "signature", str(error)) from error

    async def _own(self, channel_id: bytes, customer: Address) -> Kept:
        """The entry of a channel that is this customer's."""
        for kept in await self._tower.book.ask(lambda book: book.of_channel(channel_id)):
            if kept.customer == customer:
                return kept
        raise _RefusedError(404, "unknown", "this signer has no such channel here")

    async def _about_newest(self, request: Request, channel_id: bytes, verb: TowerVerb) -> Kept:
        """The entry that a signed request is about, which names its newest appointment."""
        subject = read_hex(request.query_params.get("appointment"), 32)
        kept = await self._own(channel_id, self._customer(request, channel_id, verb, subject))
        if kept.latest.appointment.struct_hash != subject:
            raise _RefusedError(409, "not_newest", "another appointment was made since")
        return kept

    # ---- channels

    async def put(self, request: Request) -> Response:
        """Take an appointment."""
        holding = read_holding(await self._body(request))
        if holding.appointment.channel_id != _channel_id(request):
            raise InvalidValueError("the path names another channel than the appointment")
        receipt = await self._tower.accept(holding.appointment, holding.signature, holding.content)
        return JSONResponse(signed_json(receipt, self._tower.chain.domain))

    async def get(self, request: Request) -> Response:
        """Give a customer back what it handed over."""
        channel_id = _channel_id(request)
        kept = await self._own(channel_id, self._customer(request, channel_id, TowerVerb.READ))
        domain = self._tower.chain.domain
        return JSONResponse(
            {"appointments": [holding_json(each, domain) for each in kept.holdings]}
        )

    async def list(self, request: Request) -> Response:
        """Tell a customer which channels it has here."""
        customer = self._customer(request, _NO_CHANNEL, TowerVerb.READ)
        found = await self._tower.book.ask(lambda book: book.of_customer(customer))
        return JSONResponse({"channels": [hexed(each) for each in found]})

    async def delete(self, request: Request) -> Response:
        """Stop watching a channel."""
        channel_id = _channel_id(request)
        kept = await self._about_newest(request, channel_id, TowerVerb.FORGET)
        await self._tower.forget(kept.key)
        return JSONResponse({"forgotten": hexed(channel_id)})

    async def file_dispute(self, request: Request) -> Response:
        """File a dispute for a customer that has authorised it."""
        channel_id = _channel_id(request)
        kept = await self._about_newest(request, channel_id, TowerVerb.DISPUTE)
        await self._tower.file_dispute(kept.key)
        return JSONResponse({"disputing": hexed(channel_id)})

    async def proof(self, request: Request) -> Response:
        """Show an entry's leaf under the store root."""
        side = request.query_params.get("side", "A")
        if side not in Party.__members__:
            raise InvalidValueError("a side is A or B")
        key = watch_key(_channel_id(request), Party[side])
        proof = await self._tower.book.proof(key)
        return JSONResponse({"root": hexed(proof.root(key)), "proof": proof_json(proof)})

    # ---- the tower

    async def about(self, _: Request) -> Response:
        """Who this is, and what it takes on."""
        tower, intake = self._tower, self._tower.policy.intake
        domain = tower.chain.domain
        return JSONResponse(
            {
                "tower": checksum(tower.address),
                "gas_account": checksum(tower.gas_account),
                "chain_id": str(domain.chain_id),
                "adjudicator": checksum(domain.adjudicator),
                "beat_every": tower.policy.beat_every,
                "least_window": intake.least_window,
                "longest_response": intake.longest_response,
                "role": tower.defence.role,
                "quota": intake.quota,
                "receipt_term": intake.receipt_term,
            }
        )

    async def heartbeat(self, _: Request) -> Response:
        """The newest heartbeat; none while the tower is not sure of itself."""
        beat = self._tower.beat
        if beat is None:
            raise _RefusedError(503, "no_heartbeat", "this tower is not sure of itself", retry=12)
        return JSONResponse(signed_json(beat, self._tower.chain.domain))

    async def disputes(self, _: Request) -> Response:
        """Watched channels that are in their window."""
        return JSONResponse(
            {
                "disputes": [
                    {
                        "channel": hexed(channel_id),
                        "recorded": str(view.nonce),
                        "filed": str(view.filed_nonce),
                        "deadline": str(view.deadline),
                    }
                    for channel_id, view in sorted(self._tower.disputes.items())
                ]
            }
        )

    async def openapi(self, _: Request) -> Response:
        """This interface, described for machines."""
        return Response(_text("openapi.json"), media_type="application/json")

    async def healthz(self, _: Request) -> Response:
        """Whether the process works and sees the chain move."""
        age = self._clock() - self._tower.head.timestamp
        seen = self._tower.lookout.taken is not None
        alive = seen and (self._tower.trouble is None or age < _STALE_HEAD)
        return JSONResponse(
            {"alive": alive, "head_age": round(age)}, status_code=200 if alive else 503
        )

    async def readyz(self, _: Request) -> Response:
        """Whether appointments are taken and nothing can have been missed."""
        ready = self._tower.lookout.ready.is_set() and not self._tower.degraded
        role = self._tower.defence.role
        return JSONResponse({"ready": ready, "role": role}, status_code=200 if ready else 503)

    async def metrics(self, _: Request) -> Response:
        """Figures for Prometheus."""
        text = exposition(self._tower, self._clock())
        return Response(text, media_type="text/plain; version=0.0.4")

    async def page(self, _: Request) -> Response:
        """The status, for a person."""
        return HTMLResponse(status_page(self._tower, self._clock()))


def _channel_id(request: Request) -> bytes:
    return read_hex(request.path_params["id"], 32)


def _text(name: str) -> str:
    return resources.files("channels.tower").joinpath(name).read_text("utf-8")


def tower_app(
    tower: Tower | Face,
    policy: HttpPolicy | None = None,
    *,
    clock: Callable[[], float] = unix_time,
) -> Starlette:
    """The interface of a tower, as an ASGI application for a server that runs on Trio.

    Of a process that changes its role, ``tower`` tells what it is at the time.
    """
    face = (lambda: tower) if isinstance(tower, Tower) else tower
    interface = _Interface(face, policy or HttpPolicy(), clock)

    def route(path: str, **works: Callable[[Request], Awaitable[Response]]) -> Route:
        """One path, so that an answer to a method it has not names those it has."""

        async def work(request: Request) -> Response:
            return await works["GET" if request.method == "HEAD" else request.method](request)

        return Route(path, partial(interface.handle, work), methods=list(works))

    return Starlette(
        routes=[
            route("/v1/channels", GET=interface.list),
            route(
                "/v1/channels/{id}",
                PUT=interface.put,
                GET=interface.get,
                DELETE=interface.delete,
            ),
            route("/v1/channels/{id}/dispute", POST=interface.file_dispute),
            route("/v1/tower", GET=interface.about),
            route("/v1/heartbeat", GET=interface.heartbeat),
            route("/v1/disputes", GET=interface.disputes),
            route("/v1/proof/{id}", GET=interface.proof),
            route("/v1/openapi.json", GET=interface.openapi),
            route("/healthz", GET=interface.healthz),
            route("/readyz", GET=interface.readyz),
            route("/metrics", GET=interface.metrics),
            route("/", GET=interface.page),
        ]
    )
