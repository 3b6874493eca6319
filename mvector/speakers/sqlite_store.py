"""The library's database: one connection, transactions, and what goes wrong, in one sentence.

Every change is one transaction of SQLite in WAL mode with ``synchronous=FULL``: what was committed
survives ``kill -9`` and a power failure, what was not leaves no trace.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mvector.errors import LibraryError
from mvector.speakers import sqlite_schema as schema
from mvector.speakers.access import (
    DamagedDatabaseError,
    error_from_os,
    error_from_sqlite,
    error_other_format,
    error_read_only,
    is_disk_full,
    is_log_blocked,
    is_writable,
    may,
)
from mvector.speakers.names import folder_key
from mvector.speakers.store import WRITE_WAIT_S

logger = logging.getLogger(__name__)

DATABASE = "voiceprints.db"
# fullfsync: macOS leaves it to the drive otherwise when to write
_PRAGMAS = ("fullfsync", "checkpoint_fullfsync", "secure_delete", "foreign_keys")
_INCREMENTAL = 2  # of auto_vacuum
_CHECKED_BYTES = 32 << 20  # larger databases are not read through at every opening
_VACUUMED_BYTES = 64 << 20  # larger ones give back their free pages without being written anew


class SqliteStore:
    """Connection to a library's database; usable from any thread and after a fork.

    Args:
        folder: of the library; made if it does not exist.
        read_only: never write; a folder that cannot be written to is opened in this way by itself.
        is_checked: look for damage, which takes time in proportion to the database.

    Raises:
        DamagedDatabaseError: the database is damaged.
        LibraryError: it cannot be opened.
    """

    def __init__(self, folder: Path, *, read_only: bool = False, is_checked: bool = True) -> None:
        self.folder, self.path = folder, folder / DATABASE
        self._is_checked = is_checked
        self.read_only = read_only
        self._lock, self._process = threading.RLock(), os.getpid()
        self._database: sqlite3.Connection | None = None
        self._immutable_state: tuple[int, ...] | None = None
        if not read_only:
            self.read_only = not is_writable(self.path) or is_log_blocked(self.path)
        try:
            with self._library_errors():
                self._connect()
        except LibraryError as error:
            if self.read_only or not is_disk_full(error.__cause__) or not self.path.is_file():
                raise
            logger.warning("%s It is opened read-only.", error)
            self.close()
            self.read_only = True
            with self._library_errors():
                self._connect()

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    # ---- operations -------------------------------------------------------------------------

    @contextmanager
    def transaction(
        self, *, wait_s: float = WRITE_WAIT_S, alone: bool = True
    ) -> Iterator[sqlite3.Connection]:
        """All of the block's changes or none; no other process writes meanwhile.

        ``wait_s`` is how long to wait for one that does; ``alone`` is how SQLite writes anyway.

        Raises:
            LibraryError: the library is read-only, the disk full, or the database in use.
        """
        if self.read_only:
            raise error_read_only(self.name)
        with (
            self._library_errors(wait_s),
            self._waiting(wait_s) as connection,
            committed(connection, "BEGIN IMMEDIATE") as database,
        ):
            yield database

    @contextmanager
    def _waiting(self, wait_s: float) -> Iterator[sqlite3.Connection]:
        """The connection, with another time to wait for a lock."""
        connection = self._connection()
        if wait_s == WRITE_WAIT_S:
            yield connection
            return
        connection.execute(f"PRAGMA busy_timeout = {round(1000 * wait_s)}")
        try:
            yield connection
        finally:
            connection.execute(f"PRAGMA busy_timeout = {round(1000 * WRITE_WAIT_S)}")

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """The block's queries see one state of the library."""
        with self._library_errors(), committed(self._connection(), "BEGIN") as database:
            yield database

    def rows(self, query: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one query."""
        with self._library_errors():
            return self._connection().execute(query, arguments).fetchall()

    def erase_deleted(self) -> None:
        """Give back the space of what was deleted, and empty the log, which still has it.

        In the tables themselves deleted bytes are overwritten at once (``secure_delete``).
        """
        if self.read_only or not self.rows("SELECT 1 FROM meta WHERE key = 'erase'"):
            return
        try:
            with self._library_errors():
                database = self._connection()
                small = self.path.stat().st_size < _VACUUMED_BYTES
                database.execute("VACUUM" if small else "PRAGMA incremental_vacuum").fetchall()
                (busy, _, _) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy:
                    database.execute("DELETE FROM meta WHERE key = 'erase'")
        except LibraryError as error:
            logger.warning("The database is shrunk when the library is opened next: %s", error)

    def index(self, fingerprint: str, dim: int) -> None:
        """Voiceprints are in memory, however many there are."""

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._database is not None and self._process == os.getpid():
                self._database.close()
            self._database = None

    def __del__(self) -> None:
        self.close()

    # ---- the connection ---------------------------------------------------------------------

    def _connection(self) -> sqlite3.Connection:
        if self._process != os.getpid():  # a connection must not cross a fork
            self._lost, self._database = self._database, None  # nor be closed on the other side
            self._process = os.getpid()
        if self._immutable_state is not None and self._immutable_state != self._file_state():
            self.close()
        if self._database is None:
            self._connect()
        assert self._database is not None
        return self._database

    @property
    def _address(self) -> str:
        return self.path.absolute().as_uri()

    def _connect(self) -> None:
        self._immutable_state = None
        if self.read_only:
            self._database = self._connect_read_only()
        else:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o600)
            self._database = _open_connection(f"{self._address}?mode=rw")
            self._set_up(self._database)
        version = schema.version_of(self._database)
        if version not in (schema.READABLE if self.read_only else (schema.VERSION,)):
            raise error_other_format(str(self.path), version, schema.VERSION)
        self._check_integrity(self._database)
        self.quality_columns = schema.quality_columns(self._database)

    def _set_up(self, database: sqlite3.Connection) -> None:
        """Pragmas, and the tables of a new database or of an earlier format."""
        if database.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # waits for others who write
        _enable_wal(database)
        for pragma in _PRAGMAS:
            database.execute(f"PRAGMA {pragma} = ON")
        database.execute("PRAGMA synchronous = FULL")
        if schema.version_of(database) < schema.VERSION:
            with committed(database, "BEGIN IMMEDIATE"):
                schema.migrate(database)

    def _connect_read_only(self) -> sqlite3.Connection:
        database = _open_connection(f"{self._address}?mode=ro")
        try:
            schema.version_of(database)
            database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            return database
        except sqlite3.OperationalError as error:
            database.close()
            log = self.path.with_name(f"{DATABASE}-wal")
            if log.is_file() and log.stat().st_size:
                if is_disk_full(error) and may(os.W_OK, self.path):
                    return self._read_into_memory()
                raise LibraryError(
                    f"The speaker library '{self.path.parent}' was not closed by its last process; "
                    "open it once where it can be written to."
                ) from error
        # Beside a database in WAL mode SQLite wants to make files, unless told that nobody writes;
        # should somebody write all the same, the file changes and is opened anew.
        self._immutable_state = self._file_state()
        return _open_connection(f"{self._address}?mode=ro&immutable=1")

    def _read_into_memory(self) -> sqlite3.Connection:
        """The database with its log, for which a full disk has no room to be shared.

        Alone with it, SQLite keeps in memory what processes share in a file otherwise. Memory holds
        all of it then, until somebody changes the file.
        """
        memory = _open_connection("file::memory:")
        with closing(_open_connection(f"{self._address}?mode=rw")) as database:
            database.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
            database.backup(memory)
        self._immutable_state = self._file_state()
        return memory

    def _file_state(self) -> tuple[int, ...]:
        log = self.path.with_name(f"{DATABASE}-wal")
        state = self.path.stat()
        return state.st_ino, state.st_size, state.st_mtime_ns, log.exists()

    def _check_integrity(self, database: sqlite3.Connection) -> None:
        if not schema.is_complete(database):
            raise DamagedDatabaseError(f"'{self.path}' lacks some of its tables.")
        if self._is_checked and self.path.stat().st_size <= _CHECKED_BYTES:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise DamagedDatabaseError(f"'{self.path}' is damaged: {found}.")

    @contextmanager
    def _library_errors(self, waited_s: float = WRITE_WAIT_S) -> Iterator[None]:
        """One thread at a time; failures of SQLite and the file system become a LibraryError."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise error_from_sqlite(error, self.path, waited_s) from error
            except UnicodeDecodeError as error:  # a message of SQLite that quotes damaged bytes
                raise DamagedDatabaseError(
                    f"The speaker database '{self.path}' is damaged."
                ) from error
            except OSError as error:
                raise error_from_os(error, self.path.parent) from error


@contextmanager
def committed(database: sqlite3.Connection, begin: str) -> Iterator[sqlite3.Connection]:
    """A transaction, which is rolled back if the block fails."""
    database.execute(begin)
    try:
        yield database
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # a full disk has rolled back already
            database.execute("ROLLBACK")
        raise


def _open_connection(address: str) -> sqlite3.Connection:
    database = sqlite3.connect(
        address, uri=True, timeout=WRITE_WAIT_S, isolation_level=None, check_same_thread=False
    )
    database.text_factory = lambda text: text.decode("utf-8", "replace")
    database.create_function("crc32", 1, zlib.crc32, deterministic=True)
    database.create_function("folder_key", 1, folder_key, deterministic=True)  # for migrations
    return database


def _enable_wal(database: sqlite3.Connection) -> None:
    """Switch to WAL mode, for which SQLite does not wait when another process does the same."""
    end = time.monotonic() + WRITE_WAIT_S
    while database.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            database.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
