"""A PostgreSQL database that several processes of one tower share.

Connections are made when they are needed and made anew when they break. Every wait is bounded, on
both ends: a process that is stopped in the middle of a transaction must not hold up the others.

Source: design, watchtower.md "Service".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

from channels.errors import InvalidValueError, StorageError
from channels.tower.database import Row, Statements, check_version, schema_text

if TYPE_CHECKING:
    import psycopg

__all__ = ["Link", "PostgresDatabase"]

T = TypeVar("T")

_SCHEMA: Final = "option_channels_tower"
_MAKING: Final = 0x6F707477
"""Advisory lock of whoever makes the tables."""

_SESSION: Final = (
    f"-c search_path={_SCHEMA} -c synchronous_commit=on -c statement_timeout=10s"
    " -c lock_timeout=5s -c idle_in_transaction_session_timeout=5s"
)
_NETWORK: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "application_name": "option-channels tower",
}


class _Statements:
    """The statements of one connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, statement: str, *values: object) -> list[Row]:
        cursor = self._connection.execute(_marked(statement), values)
        return [] if cursor.description is None else cursor.fetchall()

    def each(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(_marked(statement), rows)


def _marked(statement: str) -> Any:
    """A statement with this driver's mark for values; ours hold no other ``?``, and no ``%``."""
    return statement.replace("?", "%s")


class Link:
    """One connection to a server, used by one thread at a time.

    Raises:
        InvalidValueError: the driver is not installed.
    """

    def __init__(self, address: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise InvalidValueError(
                "PostgreSQL needs a driver", next_step="pip install 'option-channels[postgres]'"
            ) from error
        self._driver = psycopg
        self._address = address
        self._lock = Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._closed = False
        self.name = _without_secrets(psycopg, address)

    def transact(self, work: Callable[[Statements], T]) -> T:
        """Run ``work`` in one transaction.

        Raises:
            StorageError: it is not known to be written.
        """

        def whole(connection: psycopg.Connection[Any]) -> T:
            with connection.transaction():
                return work(_Statements(connection))

        return self._run(whole, tries=1)

    def select(self, statement: str, *values: object) -> list[Row]:
        """All rows of a query over what is committed; asked again if the connection was broken.

        Raises:
            StorageError: no answer.
        """
        return self._run(lambda link: _Statements(link).execute(statement, *values), tries=2)

    def _run(self, work: Callable[[psycopg.Connection[Any]], T], *, tries: int) -> T:
        with self._lock:
            while True:
                tries -= 1
                try:
                    return work(self._connected())
                except self._driver.Error as error:
                    broken = self._connection is None or self._connection.closed
                    if broken:
                        self._drop()
                    if not broken or not tries:
                        raise StorageError(
                            f"{self.name}: {error}", next_step="see to the database server"
                        ) from error

    def _connected(self) -> psycopg.Connection[Any]:
        if self._closed:
            raise StorageError(f"{self.name} was closed", next_step="open it again")
        if self._connection is None:
            self._connection = self._driver.connect(
                self._address, autocommit=True, options=_SESSION, **_NETWORK
            )
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._closed = True
            self._drop()


def _without_secrets(driver: Any, address: str) -> str:
    """What may be shown of an address: host and database."""
    try:
        parts = driver.conninfo.conninfo_to_dict(address)
    except driver.Error as error:
        raise InvalidValueError("this is no address of a PostgreSQL database") from error
    return f"PostgreSQL {parts.get('dbname', '')} at {parts.get('host', 'localhost')}"


class PostgresDatabase:
    """A tower's tables in PostgreSQL, made if they are missing.

    Raises:
        InvalidValueError: the driver is not installed, or the address is none.
        SchemaVersionError: the tables are of another version.
        StorageError: the server does not answer, or does not make commits durable.
    """

    shared: Final = True

    def __init__(self, address: str, *, read_only: bool = False) -> None:
        self.failed: str | None = None
        self.address = address
        self._reader = Link(address)
        self._writer = Link(address)
        self.name = self._reader.name
        try:
            self._check_server()
            if not read_only:
                self._writer.transact(_make_tables)
            statement = "SELECT value FROM meta WHERE key = 'schema_version'"
            check_version(self._reader.select(statement), self.name)
        except BaseException:
            self.close()
            raise

    def _check_server(self) -> None:
        """A server that forgets commits **may lose funds** of whoever has a receipt."""
        for setting in ("fsync", "full_page_writes"):
            rows = self._reader.select("SELECT current_setting(?)", setting)
            if rows[0][0] != "on":
                raise StorageError(
                    f"{self.name} has {setting} off, and forgets commits in a crash",
                    next_step=f"switch {setting} on",
                )

    def link(self) -> Link:
        """Another connection to the same database; close it."""
        return Link(self.address)

    def select(self, statement: str, *values: object) -> list[Row]:
        """All rows of a query over what is committed."""
        return self._reader.select(statement, *values)

    def transact(self, work: Callable[[Statements], T]) -> T:
        """Run ``work`` in one transaction."""
        try:
            answer = self._writer.transact(work)
        except StorageError as error:
            self.failed = str(error)
            raise
        self.failed = None
        return answer

    def close(self) -> None:
        """Close all connections."""
        self._reader.close()
        self._writer.close()


def _make_tables(statements: Statements) -> None:
    statements.execute("SELECT pg_advisory_xact_lock(?)", _MAKING)
    ((there,),) = statements.execute("SELECT to_regnamespace(?) IS NOT NULL", _SCHEMA)
    if not there:
        for each in schema_text("schema_postgres.sql").split(";\n"):
            if each.strip():
                statements.execute(each)
