"""Who did what, when, and with which score: a table that is appended to, and loses old entries.

How many days an entry is kept is written in the library. With each new entry some of the oldest are
looked at, and go if they are too old: no opening or search waits for that.
"""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

from mvector.errors import LibraryError
from mvector.speakers.people import get_meta, set_meta, utc_now
from mvector.speakers.store import Database, Store

_DEFAULT_DAYS = 90.0
_MOST_DAYS = 100_000.0  # the calendar of Python ends some time
_FORGOTTEN_AT_ONCE = 1000
_caller: ContextVar[str] = ContextVar("caller", default="")


@dataclass(frozen=True)
class AuditEntry:
    """One thing that was done to the library, or asked of it.

    Attributes:
        at: ISO 8601, UTC.
        who: user, host and process, and for whom these did it, see :func:`acting_for`.
        action: such as ``register``, ``remove`` or ``identify``.
        name: of the person it was about, if any.
        score: of a recognition.
    """

    at: str
    who: str
    action: str
    name: str | None = None
    score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@contextmanager
def acting_for(caller: str) -> Iterator[None]:
    """Within the block, and in this thread, entries tell for whom the process does it."""
    token = _caller.set(_beginning(caller))
    try:
        yield
    finally:
        _caller.reset(token)


def append(database: Database, action: str, name: str | None, score: float | None) -> None:
    """Add an entry, inside the transaction of what it tells of; some too old ones go."""
    database.execute(
        "INSERT INTO audit (at, who, action, name, score) VALUES (?, ?, ?, ?, ?)",
        (utc_now(), f"{_caller.get()}{_user_and_host()}:{os.getpid()}", action, name, score),
    )
    oldest = _oldest_kept(database)
    query = "SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT ?) WHERE at < ?"
    too_old = database.execute(query, (_FORGOTTEN_AT_ONCE, oldest)).fetchall()
    if too_old:
        set_meta(database, "audit_from", oldest)  # a trigger refuses to delete what is younger
        database.executemany("DELETE FROM audit WHERE id = ?", too_old)


def latest(database: Database, limit: int) -> list[AuditEntry]:
    """The last entries, the newest first."""
    query = "SELECT at, who, action, name, score FROM audit WHERE at >= ? ORDER BY id DESC LIMIT ?"
    return [AuditEntry(*row) for row in database.execute(query, (_oldest_kept(database), limit))]


def count(database: Database, action: str, callers: Sequence[str]) -> int:
    """How often something was done for callers, see :func:`acting_for`."""
    query = "SELECT count(*) FROM audit WHERE action = ? AND substr(who, 1, ?) = ?"
    beginnings = {_beginning(caller) for caller in callers}
    rows = (database.execute(query, (action, len(own), own)).fetchone() for own in beginnings)
    return sum(int(number) for (number,) in rows)


def _beginning(caller: str) -> str:
    """With what an entry begins that was made for somebody."""
    return f"{caller}, "


def keep_days(store: Store, days: float | None) -> None:
    """Write down for how many days entries are kept from now on; ``None``: as before.

    Raises:
        LibraryError: it is no time, or the library cannot be written to.
    """
    if days is None:
        return
    if not 0 < days < _MOST_DAYS:
        raise LibraryError(f"audit_days is a number of days above 0; got {days!r}.")
    with store.snapshot() as database:
        is_known = get_meta(database, "audit_days") == f"{days:g}"
    if not is_known:
        with store.transaction() as database:
            set_meta(database, "audit_days", f"{days:g}")


def _oldest_kept(database: Database) -> str:
    """The time from which on entries are kept, as the table has it."""
    try:
        days = float(get_meta(database, "audit_days") or _DEFAULT_DAYS)
    except ValueError:
        days = _DEFAULT_DAYS
    oldest = datetime.now(timezone.utc) - timedelta(days=days)
    return oldest.isoformat(timespec="seconds")


@cache
def _user_and_host() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user number without a name
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{platform.node() or 'localhost'}"
