"""An attester's endpoint over HTTP: what was signed, for whoever asks. It needs no password.

Needs starlette and hypercorn: the extra ``tower``. The answers are those of `channels.prices.wire`;
an endpoint that many ask stands behind a proxy that bounds how often one may.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import Framework
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from channels.errors import InvalidValueError, OurError
from channels.prices.journal import PriceJournal
from channels.prices.wire import MOST_SPOTS, attestations_json, read_feed
from channels.transport.addresses import TcpAddress, parse_address

__all__ = ["attester_app", "serve_attester"]


def attester_app(journal: PriceJournal, *, clock: Callable[[], float] = time.time) -> Starlette:
    """The endpoint as an ASGI application."""

    async def spot(request: Request) -> Response:
        try:
            feed = read_feed(request.path_params["feed"])
            before = int(request.query_params.get("before", int(clock())))
        except (InvalidValueError, ValueError) as error:
            return _refused(error)
        return JSONResponse(attestations_json(journal.spots(feed, before=before, most=MOST_SPOTS)))

    async def settlement(request: Request) -> Response:
        try:
            feed = read_feed(request.path_params["feed"])
            found = journal.settlement(feed, request.path_params["time"])
        except InvalidValueError as error:
            return _refused(error)
        return JSONResponse(attestations_json(() if found is None else (found,)))

    return Starlette(
        routes=[
            Route("/v1/spot/{feed}", spot),
            Route("/v1/settlement/{feed}/{time:int}", settlement),
        ]
    )


def _refused(error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400)


async def serve_attester(
    journal: PriceJournal,
    listen: str,
    *,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen at ``listen``, host:port, until cancelled; tells its URLs when it is started.

    Raises:
        InvalidValueError: ``listen`` is no such address.
        OurError: nothing can listen there.
    """
    where = parse_address(listen)
    if not isinstance(where, TcpAddress):
        raise InvalidValueError(f"{listen} is no address of HTTP; write host:port")
    try:
        listeners = await trio.open_tcp_listeners(where.port, host=where.host)
    except OSError as error:
        raise OurError(
            f"nothing can listen at {listen}: {error.strerror}",
            next_step="stop what is there, or choose another port",
        ) from error
    config = Config()
    config.bind = [f"fd://{each.socket.detach()}" for each in listeners]
    config.accesslog = None
    config.errorlog = None
    app = cast(Framework, attester_app(journal, clock=clock))
    await serve(app, config, shutdown_trigger=trio.sleep_forever, task_status=task_status)
