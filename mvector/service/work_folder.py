"""What the processes of one service share: a folder for as long as it runs, with a small database.

Recordings of jobs lie in it, and what has to hold whichever process is asked. It is of one run of
the service: the folder goes with it, or, where that was killed, with the next start.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from mvector.errors import MVectorError
from mvector.files import write_errors_as
from mvector.speakers.sqlite_store import committed

_T = TypeVar("_T")
_BUSY_S = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, who TEXT NOT NULL, request_id TEXT NOT NULL, state TEXT NOT NULL,
    at REAL NOT NULL, options TEXT, worker TEXT, starts INTEGER NOT NULL DEFAULT 0,
    progress REAL, answer TEXT
);
CREATE INDEX IF NOT EXISTS job_states ON jobs (state, at, who, worker, id);
    -- rows with their answers are large, and are not read through each second
CREATE TABLE IF NOT EXISTS events (kind TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS event_times ON events (kind, at);
CREATE INDEX IF NOT EXISTS event_names ON events (kind, name, at);
CREATE TABLE IF NOT EXISTS answers (
    who TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, worker TEXT,
    request_ids TEXT NOT NULL, at REAL NOT NULL, answer TEXT, PRIMARY KEY (who, key)
);
CREATE INDEX IF NOT EXISTS answer_times ON answers (at);
"""


def new_work_folder(parent: Path) -> tuple[Path, FileLock]:
    """A folder for one run of a service, and the lock that says that it runs.

    Those of services that were killed are deleted.

    Raises:
        MVectorError: it cannot be made.
    """
    with write_errors_as(MVectorError, f"'{parent}'", "set MVECTOR_HOME to another folder"):
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(parent / "starting.lock"):
            for folder in parent.iterdir():
                if folder.is_dir() and not _is_held(folder / "running.lock"):
                    shutil.rmtree(folder, ignore_errors=True)
            folder = parent / secrets.token_hex(8)
            folder.mkdir(mode=0o700)
            lock = FileLock(folder / "running.lock", thread_local=False)
            lock.acquire()
        WorkFolder(folder).close()  # makes the database, before several processes open it
    return folder, lock


class WorkFolder:
    """The folder as one process of the service sees it.

    Args:
        folder: is there already.
        is_own: it is of this process alone, and goes when it is closed.
    """

    def __init__(self, folder: Path, *, is_own: bool = False) -> None:
        self.folder, self.worker, self._is_own = folder, secrets.token_hex(4), is_own
        self._alive = FileLock(self._lock_of(self.worker), thread_local=False)
        self._alive.acquire()  # the system gives it up when the process dies, however it does
        self._lock = threading.Lock()
        # one thread, so that what is asked first is done first
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="work-folder")
        self._database = sqlite3.connect(
            folder / "state.db", timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        os.chmod(folder / "state.db", 0o600)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")  # a crash of the system ends it anyway
        self._database.execute("PRAGMA secure_delete = ON")
        self._database.executescript(_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is done within is done whole or not at all, and by one process at a time."""
        with self._lock, committed(self._database, "BEGIN IMMEDIATE") as database:
            yield database

    def erase_deleted(self) -> None:
        """Empty the database's log, which still holds what was deleted.

        In the tables deleted bytes are overwritten at once. Nothing happens while another process
        is in a transaction.
        """
        with self._lock:
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    async def aside(self, work: Callable[[], _T]) -> _T:
        """Do something with the folder in a thread of its own, while others are answered.

        It is done, and behind all that was asked before, even where who waits for it is cancelled.
        """
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._aside, work))

    def is_alive(self, worker: str) -> bool:
        """Whether a process that used the folder still does."""
        return worker == self.worker or _is_held(self._lock_of(worker))

    def close(self) -> None:
        """Say that this process is done with the folder."""
        self._aside.shutdown()
        with self._lock:
            self._database.close()
        self._alive.release()
        if self._is_own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _lock_of(self, worker: str) -> Path:
        return self.folder / f"{worker}.lock"


def _is_held(file: Path) -> bool:
    """Whether a living process holds a lock."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    with suppress(OSError):
        file.unlink(missing_ok=True)
    return False
