"""A library in PostgreSQL: a pool of connections, transactions, and what goes wrong.

Each library has a schema of its own. Every change is one transaction under a lock of the library's,
so that, as in SQLite, one process writes at a time and revisions follow each other as commits do:
whoever asks what changed since a revision misses nothing. Reading waits for nobody.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from mvector.audio.quality import SpeechQuality
from mvector.errors import LibraryError, import_errors_as
from mvector.speakers.access import error_not_there, error_other_format, error_read_only
from mvector.speakers.postgres_address import PostgresAddress
from mvector.speakers.postgres_errors import library_errors, refused_address
from mvector.speakers.postgres_schema import FORMAT_KEY, MIGRATIONS, statements
from mvector.speakers.postgres_search import PostgresIndex
from mvector.speakers.postgres_voiceprints import update_voiceprints
from mvector.speakers.store import WRITE_WAIT_S, Database

with import_errors_as(
    "A library in PostgreSQL needs packages that are not installed: pip install '.[postgres]' in "
    "the folder of mvector."
):
    import psycopg
    from pgvector.psycopg import register_vector
    from psycopg_pool import ConnectionPool

logger = logging.getLogger(__name__)

_CONNECT_S = 10
_MOST_CONNECTIONS = 16
# A process that hangs within a change gives the lock up; longer than any pause between statements
_IDLE_IN_CHANGE = "60s"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('mvector ' || '{schema}', 0))"
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresStore:
    """Connections to a library's schema; usable from any thread and after a fork.

    Args:
        address: of the library.
        read_only: never write; what this role or server may not write is so by itself.
        create: make the schema and its tables if there are none.

    Raises:
        LibraryError: there is no library, or it cannot be used.
    """

    folder: Path | None = None  # the database is the truth
    quality_columns = ", ".join(SpeechQuality._fields)

    def __init__(
        self, address: PostgresAddress, *, read_only: bool = False, create: bool = False
    ) -> None:
        self.address = address
        self._lock, self._process = threading.Lock(), os.getpid()
        self._pool: ConnectionPool[psycopg.Connection[Any]] | None = None
        with library_errors(self.name), _connected(address) as connection:
            if not _has_tables(connection, address.schema):
                if read_only or not create:
                    raise error_not_there(self.name, "address")
                _make_tables(connection, address.schema)
            self._path = _search_path(connection, address.schema)
            connection.execute(f"SET search_path = {self._path}")
            self.read_only = read_only or not _may_write(connection)
            self._check_format(connection)

    @property
    def name(self) -> str:
        """The address, without its password."""
        return str(self.address)

    # ---- operations -------------------------------------------------------------------------

    @contextmanager
    def transaction(
        self, *, wait_s: float = WRITE_WAIT_S, alone: bool = True
    ) -> Iterator[Database]:
        """As :meth:`mvector.speakers.store.Store.transaction`."""
        if self.read_only:
            raise error_read_only(self.name)
        begin = f"BEGIN; SET LOCAL lock_timeout = {round(1000 * wait_s)}; "
        begin += _LOCK.format(schema=self.address.schema) if alone else ""
        with (
            library_errors(self.name, wait_s),
            self._connection() as connection,
            _committed(connection, begin) as database,
        ):
            yield database
            if alone:
                update_voiceprints(database)

    @contextmanager
    def snapshot(self) -> Iterator[Database]:
        """As :meth:`mvector.speakers.store.Store.snapshot`."""
        with (
            library_errors(self.name),
            self._connection() as connection,
            _committed(connection, _READ) as database,
        ):
            yield database

    @contextmanager
    def beside(self) -> Iterator[Database]:
        """A transaction that is committed while another of this thread goes on.

        It has a connection of its own, for all others of this process may wait for that one.
        """
        with library_errors(self.name), _connected(self.address) as connection:
            self._configure(connection)
            with _committed(connection, "BEGIN") as database:
                yield database

    def rows(self, query: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one query."""
        with library_errors(self.name), self._connection() as connection:
            return _Connection(connection).execute(query, arguments).fetchall()

    def erase_deleted(self) -> None:
        """Nothing: PostgreSQL gives back the space of deleted rows by itself."""

    def index(self, fingerprint: str, dim: int) -> PostgresIndex | None:
        """As :meth:`mvector.speakers.store.Store.index`."""
        return PostgresIndex(self, fingerprint, dim) if self.address.has_index else None

    @contextmanager
    def alone(self, task: str) -> Iterator[psycopg.Connection[Any] | None]:
        """A connection without a transaction, for a task that no other process is at; else none."""
        query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
        with library_errors(self.name), _connected(self.address) as connection:
            connection.execute(f"SET search_path = {self._path}")
            key = f"mvector {self.address.schema} {task}"
            (is_free,) = connection.execute(query, (key,)).fetchone() or (False,)
            yield connection if is_free else None

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._pool is not None and self._process == os.getpid():
                self._pool.close()
            self._pool = None

    def __del__(self) -> None:
        with suppress(Exception):  # half built, or at the end of the interpreter
            self.close()

    # ---- connections ------------------------------------------------------------------------

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        with self._lock:
            if self._process != os.getpid():  # connections must not cross a fork
                self._lost, self._pool = self._pool, None  # nor be closed on the other side
                self._process = os.getpid()
            if self._pool is None:
                self._pool = ConnectionPool(
                    self.address.conninfo,
                    kwargs={"autocommit": True, "connect_timeout": _CONNECT_S},
                    min_size=1,
                    max_size=_MOST_CONNECTIONS,
                    timeout=_CONNECT_S,
                    configure=self._configure,
                    check=ConnectionPool.check_connection,
                    name="mvector",
                    open=True,
                )
            pool = self._pool
        with pool.connection() as connection:
            yield connection

    def _configure(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(
            f"SET search_path = {self._path}; SET client_min_messages = warning; "
            f"SET idle_in_transaction_session_timeout = '{_IDLE_IN_CHANGE}'; "
            # what is acknowledged has to be on the disk, whatever is usual in this database
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'"
        )
        register_vector(connection)

    def _check_format(self, connection: psycopg.Connection[Any]) -> None:
        """Refuse tables of a later format, and bring those of an earlier one up to date."""
        version = _format_of(connection)
        if version == len(MIGRATIONS):
            return
        if version < len(MIGRATIONS) and not self.read_only:
            _make_tables(connection, self.address.schema)
            return
        raise error_other_format(self.name, version, len(MIGRATIONS))


@contextmanager
def no_schema_left_if_it_fails(address: PostgresAddress) -> Iterator[None]:
    """A library that is made in the block is gone if the block fails."""
    with library_errors(str(address)), _connected(address) as connection:
        is_new = not _has_tables(connection, address.schema)
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(psycopg.Error), _connected(address) as connection:
                connection.execute(f"DROP SCHEMA IF EXISTS {address.schema} CASCADE")
        raise


# ---- a connection as the other modules use it -----------------------------------------------


class _Connection:
    """Speaks the SQL of the library: ``?`` for each argument, and rows as tuples."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, query: str, arguments: Sequence[Any] = (), /) -> psycopg.Cursor[Any]:
        return self._connection.execute(_translated(query), _storable(arguments), binary=True)

    def executemany(self, query: str, rows: Iterable[Sequence[Any]], /) -> None:
        self._connection.cursor().executemany(_translated(query), [_storable(row) for row in rows])


@lru_cache(maxsize=512)
def _translated(query: str) -> str:
    return query.replace("%", "%%").replace("?", "%s")


def _storable(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Text without NUL, which no text of PostgreSQL can hold: it is found nowhere then."""
    return tuple(
        value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in arguments
    )


@contextmanager
def _committed(connection: psycopg.Connection[Any], begin: str) -> Iterator[_Connection]:
    """A transaction, which is rolled back if the block fails."""
    try:
        connection.execute(begin)
        yield _Connection(connection)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(psycopg.Error):  # a connection that is lost has rolled back already
            connection.execute("ROLLBACK")
        raise


# ---- the schema -----------------------------------------------------------------------------


@contextmanager
def _connected(address: PostgresAddress) -> Iterator[psycopg.Connection[Any]]:
    try:
        psycopg.conninfo.conninfo_to_dict(address.conninfo)
    except psycopg.ProgrammingError:
        raise refused_address(str(address)) from None  # whose message repeats the password
    with psycopg.connect(
        address.conninfo, autocommit=True, connect_timeout=_CONNECT_S
    ) as connection:
        connection.execute("SET client_min_messages = warning")
        yield connection


def _has_tables(connection: psycopg.Connection[Any], schema: str) -> bool:
    query = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'meta'"
    return connection.execute(query, (schema,)).fetchone() is not None


def _make_tables(connection: psycopg.Connection[Any], schema: str) -> None:
    """Make schema and tables, or bring them up to date; another process may do so at once."""
    with _committed(connection, "BEGIN; " + _LOCK.format(schema=schema)):
        if _extension_schema(connection) is None:
            try:
                connection.execute("CREATE EXTENSION vector")
            except psycopg.Error as error:
                raise LibraryError(
                    "A library in PostgreSQL needs pgvector in its database, which cannot be made "
                    f"({str(error).splitlines()[0]}): install it on the server, and let an "
                    "administrator run CREATE EXTENSION vector in this database.",
                    code="library-permission",
                ) from error
        has_schema = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
        if connection.execute(has_schema, (schema,)).fetchone() is None:
            connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(f"SET LOCAL search_path = {_search_path(connection, schema)}")
        version = _format_of(connection) if _has_tables(connection, schema) else 0
        if version < len(MIGRATIONS):
            connection.execute(statements(version))


def _extension_schema(connection: psycopg.Connection[Any]) -> str | None:
    query = """SELECT quote_ident(nspname) FROM pg_extension
        JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'vector'"""
    row = connection.execute(query).fetchone()
    return None if row is None else str(row[0])


def _search_path(connection: psycopg.Connection[Any], schema: str) -> str:
    """Where names are looked up: in the library's schema, and in that of pgvector."""
    return f"{schema}, {_extension_schema(connection) or 'public'}"


def _format_of(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT value FROM meta WHERE key = %s", (FORMAT_KEY,)).fetchone()
    return 0 if row is None else int(row[0])


def _may_write(connection: psycopg.Connection[Any]) -> bool:
    query = """SELECT current_setting('transaction_read_only') = 'off'
        AND has_table_privilege('people', 'INSERT')"""
    (may,) = connection.execute(query).fetchone() or (False,)
    return bool(may)
