"""What PostgreSQL refuses, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from mvector.errors import LibraryError
from mvector.speakers.access import DamagedDatabaseError
from mvector.speakers.store import WRITE_WAIT_S

_UNDEFINED = (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction)
_DAMAGED = (errors.DataCorrupted, errors.IndexCorrupted, *_UNDEFINED)
_NO_ROOM = (errors.DiskFull, errors.OutOfMemory, errors.IoError)
_GONE = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)


@contextmanager
def library_errors(name: str, waited_s: float = WRITE_WAIT_S) -> Iterator[None]:
    """Failures of PostgreSQL become a LibraryError; ``waited_s`` for others who write."""
    try:
        yield
    except psycopg.Error as error:
        raise _told(error, name, waited_s) from error


def refused_address(name: str) -> LibraryError:
    """Of an address that libpq does not take; its own message would repeat the password."""
    return LibraryError(
        f"The address of the library '{name}' is not one that libpq takes: check its user, host, "
        "port and what stands behind the question mark."
    )


def _told(error: psycopg.Error, name: str, waited_s: float) -> LibraryError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if isinstance(error, errors.LockNotAvailable):
        reason = f"another process has been writing for {waited_s:g} s; try again"
    elif isinstance(error, _NO_ROOM):
        reason = f"its server has no room ({reason}): nothing was changed"
    elif isinstance(error, errors.InsufficientPrivilege):
        return LibraryError(
            f"The role may not do this in the speaker library '{name}': {reason}; "
            "docs/library.md says which rights it needs.",
            code="library-permission",
        )
    elif isinstance(error, _DAMAGED):
        return DamagedDatabaseError(
            f"The speaker library '{name}' is damaged: {reason}; put back a copy."
        )
    elif isinstance(error, _GONE) and not isinstance(error, errors.ReadOnlySqlTransaction):
        return LibraryError(
            f"The speaker library '{name}' cannot be reached: {reason}; check the address, and "
            "that PostgreSQL runs and takes connections.",
            code="library-unreachable",
        )
    elif not isinstance(error, (errors.ReadOnlySqlTransaction, errors.DeadlockDetected)):
        return LibraryError(f"The speaker library '{name}' cannot be used: {reason}.")
    return LibraryError(
        f"The speaker library '{name}' cannot be written to: {reason}.", code="library-unwritable"
    )
