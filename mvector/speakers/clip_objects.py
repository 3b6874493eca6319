"""Clips as objects of a bucket, and their rows: whatever kills the process, no row lacks its clip.

A transaction that adds clips first lists their objects in the table ``removals``, by a commit of
its own, then writes them, and takes them from the list in its last statement. So what a killed
process has written is on the list, and in no row: :meth:`ClipObjects.apply_committed_changes`,
which runs behind each change and at each opening, deletes it. A removal lists the objects of its
clips, and they are deleted in the same way. All of this happens under the database's write lock, so
that what another process is about to enrol is never taken for such a leftover.

Objects have random names, below the number of their library: nothing in them tells who is enrolled.
"""

from __future__ import annotations

import hashlib
import re
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.errors import LibraryError
from mvector.speakers.objects import AT_ONCE, Objects
from mvector.speakers.obstacles import Obstacles
from mvector.speakers.people import in_portions
from mvector.speakers.store import Database

if TYPE_CHECKING:  # it brings psycopg
    from mvector.speakers.postgres_store import PostgresStore

MARKER = "voiceprints.library"  # beside the clips of a library: it says whose they are
_AT_ONCE_BYTES = 8 * 2**20  # unless one clip is larger: what is written within half a minute
_NAME = re.compile(r"[0-9a-f]{32}(\.[^/]*)?")  # as stage names them
_LIST = "INSERT INTO removals VALUES (?) ON CONFLICT DO NOTHING"
_UNLIST = "DELETE FROM removals WHERE file = ?"


class _Staged(threading.local):
    """What the transaction of this thread adds: clips to be written yet, and all of their names."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.waiting: dict[str, bytes] = {}
        self.names: list[str] = []


class ClipObjects:
    """Clips as objects below ``place``, ``s3://bucket/prefix``; ``library`` is its number."""

    def __init__(
        self, store: PostgresStore, place: str, library: str, obstacles: Obstacles
    ) -> None:
        self._store, self._library, self._obstacles = store, library, obstacles
        self._objects = Objects(f"{place}/{library}")
        self._staged = _Staged()
        self._is_found = False

    def claim(self) -> None:
        """Say in the bucket that clips of this library are kept there."""
        self._objects.put({MARKER: self._library.encode()})
        self._is_found = True

    def stage(self, database: Database, name: str, data: bytes, suffix: str) -> tuple[str, str]:
        """Keep a clip, if the transaction is committed: its place and SHA-256."""
        file = f"{uuid.uuid4().hex}{suffix}"
        self._staged.waiting[file] = data
        self._staged.names.append(file)
        waiting = self._staged.waiting
        if len(waiting) >= AT_ONCE or sum(map(len, waiting.values())) >= _AT_ONCE_BYTES:
            self._write(database)
        return file, hashlib.sha256(data).hexdigest()

    def path(self, file: str) -> Path | None:
        """There is no file."""
        return None

    def read(self, file: str) -> bytes | None:
        """A clip, by its place; ``None`` where it was deleted."""
        data = self._objects.get(file)
        if data is None:
            self._require_place()
        return data

    def source(self, file: str) -> bytes:
        """A clip, to be read.

        Raises:
            LibraryError: it was deleted, or the object store does not give it.
        """
        data = self.read(file)
        if data is None:
            raise LibraryError(f"The clip '{file}' is not in '{self._objects.address}' any more.")
        return data

    def before_commit(self, database: Database) -> None:
        """Write what the transaction adds, and say that it is wanted."""
        if self._staged.waiting:
            self._write(database)
        if self._staged.names:
            database.executemany(_UNLIST, [(file,) for file in self._staged.names])

    def apply_committed_changes(self) -> None:
        """Delete the objects that are listed, of this process or a killed one, and in no row."""
        self._staged.forget()
        if not self._store.rows("SELECT 1 FROM removals LIMIT 1"):
            return
        with self._store.transaction() as database:
            query = """SELECT file, EXISTS (SELECT 1 FROM clips WHERE clips.file = removals.file)
                FROM removals ORDER BY file"""
            listed = database.execute(query).fetchall()
            for some in in_portions(listed):
                try:
                    self._objects.delete([file for file, is_wanted in some if not is_wanted])
                except LibraryError as error:
                    told = f"Clips that were removed are deleted later: {error}"
                    self._obstacles.tell_once("removed clips", told)
                    return
                database.executemany(_UNLIST, [(file,) for file, _ in some])

    def collect(self) -> int:
        """Delete all objects of the library that belong to no row; returns how many there were.

        It is for what no list knows, as when a database is put back that is older than the bucket.
        """
        self._require_place()
        unknown = {file for file in self._objects.names() if _NAME.fullmatch(file)}
        with self._store.transaction() as database:
            unknown -= {file for (file,) in database.execute("SELECT file FROM clips")}
            database.executemany(_LIST, [(file,) for file in sorted(unknown)])
        self.apply_committed_changes()
        return len(unknown)

    def _write(self, database: Database) -> None:
        self._require_place()
        with self._store.beside() as other:
            other.executemany(_LIST, [(file,) for file in self._staged.waiting])
        self._objects.put(self._staged.waiting)
        self._staged.waiting = {}
        database.execute("SELECT 1")  # so that the server knows that this transaction goes on

    def _require_place(self) -> None:
        """Refuse a place without the library's sign, as where the endpoint is another one."""
        if not self._is_found and self._objects.get(MARKER) != self._library.encode():
            raise not_the_place(self._store.name, self._objects.address)
        self._is_found = True


def not_the_place(library: str, place: str) -> LibraryError:
    """The error to raise where the clips of a library are not, or are not to be seen."""
    return LibraryError(
        f"The clips of the library '{library}' are not in '{place}', as this machine sees it: it "
        f"has no '{MARKER}' of theirs; check that it is the place that all servers share.",
        code="clips-unreachable",
    )
