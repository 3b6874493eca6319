"""Where the clips of a library are kept: files in folders, rows of its database, or objects."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

from mvector.errors import LibraryError
from mvector.files import write_errors_as, write_text
from mvector.speakers.clip_files import apply_committed_changes, folder_of_person, stage_clip
from mvector.speakers.clip_objects import MARKER, ClipObjects, not_the_place
from mvector.speakers.obstacles import Obstacles, kind_of, obstacle_at, shown
from mvector.speakers.store import Database, Store


class ClipFiles:
    """Clips as files of a folder, which follow commits as :mod:`.clip_files` tells.

    Beside a database that other machines use as well, the folder may be missing here, as where it
    is not mounted: ``library``, its number, says to look for the library's sign first.
    """

    def __init__(
        self, store: Store, folder: Path, obstacles: Obstacles, library: str | None = None
    ) -> None:
        self._store, self._folder, self._obstacles = store, folder, obstacles
        self._library = library

    def claim(self) -> None:
        """Say in the folder that clips of this library are kept there, and no others.

        Raises:
            LibraryError: it is no folder that can be written to, or another library's.
        """
        if kind_of(self._folder) != "folder":
            raise LibraryError(
                f"'{self._folder}' is no folder: make it first, where all servers that share the "
                "library see it."
            )
        sign = self._sign()
        if sign not in (None, self._library):
            raise LibraryError(
                f"'{self._folder}' holds the clips of another library; name another folder."
            )
        with write_errors_as(LibraryError, f"clips to '{self._folder}'"):
            write_text(self._folder / MARKER, self._library or "")

    def stage(self, database: Database, name: str, data: bytes, suffix: str) -> tuple[str, str]:
        """Keep a clip of a person, if the transaction is committed: its place and SHA-256."""
        self._require_place()
        person_folder = folder_of_person(database, self._folder, name)
        try:
            return stage_clip(self._folder, person_folder, suffix, data)
        except OSError as error:
            if self._library is None:
                raise  # the store tells it
            raise LibraryError(
                f"The clip cannot be written to '{self._folder}': {error.strerror or error}; "
                "nothing was enrolled.",
                code="clips-unreachable",
            ) from error

    def path(self, file: str) -> Path | None:
        """The file of a clip, by its place."""
        return self._folder / file

    def read(self, file: str) -> bytes | None:
        """What a clip's file holds; ``None`` where it was deleted, or something is in its way."""
        obstacle = obstacle_at(self._folder, file)
        if obstacle is not None:
            self._obstacles.tell(*obstacle)
            return None
        try:
            return (self._folder / file).read_bytes()
        except FileNotFoundError:
            self._require_place()
            return None
        except OSError as error:
            self._obstacles.tell(self._folder / file, error)
            return None

    def source(self, file: str) -> Path:
        """A clip's file, to be read.

        Raises:
            LibraryError: something lies in the clip's way.
        """
        obstacle = obstacle_at(self._folder, file)
        if obstacle is not None:
            raise LibraryError(f"'{shown(obstacle[0])}' {obstacle[1]}.")
        self._require_place()
        return self._folder / file

    def before_commit(self, database: Database) -> None:
        """Nothing: files follow the commit."""

    def apply_committed_changes(self) -> None:
        """Do to the files what was committed, by this process or a killed one."""
        try:
            self._require_place()
        except LibraryError as error:
            self._obstacles.tell_once(MARKER, f"Clips are put in place and deleted later: {error}")
            return
        apply_committed_changes(self._store, self._folder, self._obstacles)

    def _require_place(self) -> None:
        if self._library is not None and self._sign() != self._library:
            raise not_the_place(self._store.name, str(self._folder))

    def _sign(self) -> str | None:
        try:
            return (self._folder / MARKER).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None


class ClipRows:
    """Clips as rows of the table ``audio``, which go with the rows of their clips."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def stage(self, database: Database, name: str, data: bytes, suffix: str) -> tuple[str, str]:
        """Keep a clip, if the transaction is committed: its place and SHA-256."""
        file = f"{uuid.uuid4().hex}{suffix}"
        database.execute("INSERT INTO audio (file, data) VALUES (?, ?)", (file, data))
        return file, hashlib.sha256(data).hexdigest()

    def path(self, file: str) -> Path | None:
        """There is no file."""
        return None

    def read(self, file: str) -> bytes | None:
        """A clip, by its place; ``None`` where it was deleted."""
        rows = self._store.rows("SELECT data FROM audio WHERE file = ?", (file,))
        return bytes(rows[0][0]) if rows else None

    def source(self, file: str) -> bytes:
        """A clip, to be read.

        Raises:
            LibraryError: it was deleted.
        """
        data = self.read(file)
        if data is None:
            raise LibraryError(f"The clip '{file}' is not in '{self._store.name}' any more.")
        return data

    def before_commit(self, database: Database) -> None:
        """Forget the list of removed files: their rows are gone by themselves."""
        database.execute("DELETE FROM removals")

    def apply_committed_changes(self) -> None:
        """Nothing: a commit says it all."""


Clips = ClipFiles | ClipRows | ClipObjects
