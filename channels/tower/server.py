"""The HTTP server of a tower: hypercorn's Trio worker, in the caller's nursery."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from channels.errors import InvalidValueError
from channels.tower.http import Face, HttpPolicy, tower_app
from channels.tower.service import Tower

__all__ = ["ServerConfig", "serve_tower"]


@attrs.frozen(kw_only=True)
class ServerConfig:
    """Where to listen. ``certificate`` and ``key``: PEM files, both or neither."""

    bind: str = "127.0.0.1:8700"
    certificate: Path | None = None
    key: Path | None = None
    http: HttpPolicy = attrs.field(factory=HttpPolicy)

    def __attrs_post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidValueError("TLS takes a certificate and its key")


async def serve_tower(
    tower: Tower | Face,
    config: ServerConfig,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; tells its URL once it listens."""
    settings = Config()
    settings.bind = [config.bind]
    settings.accesslog = None
    settings.errorlog = None
    settings.include_server_header = False
    settings.h11_max_incomplete_size = 16_384
    settings.keep_alive_timeout = 30
    settings.backlog = 1_024
    if config.certificate is not None and config.key is not None:
        settings.certfile, settings.keyfile = str(config.certificate), str(config.key)
    app: Any = tower_app(tower, config.http)  # starlette's ASGI types are not hypercorn's
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(
            partial(serve, app, settings, shutdown_trigger=trio.sleep_forever)
        )
        task_status.started(binds[0])
