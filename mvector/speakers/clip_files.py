"""Clips on disk and their rows: whatever kills the process, both are there or neither is.

A transaction that adds a clip first writes it to ``.pending/`` and forces it to disk; one that
removes a clip lists its file in the table ``removals``. Its commit is the moment that counts.
:func:`apply_committed_changes` then moves pending clips to their places and deletes what is listed.
It runs behind each change and at each opening, so that after a kill the next process finishes the
work. A pending clip without a row was never committed, and is deleted.

All of this happens under the database's write lock: no process sees another's work half done.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sys
import uuid
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mvector.audio import AUDIO_SUFFIXES
from mvector.errors import LibraryError
from mvector.files import file_sha256, write_text
from mvector.speakers.encryption import plain_suffix
from mvector.speakers.names import (
    NAME_FILE,
    escaped_folder_name_for,
    folder_key,
    folder_name_for,
    is_of_library,
    person_of_folder,
)
from mvector.speakers.obstacles import Obstacles, kind_of, obstacle_at, shown
from mvector.speakers.store import Database, Store

PENDING = ".pending"
_PENDING_CLIP = re.compile(r"[0-9a-f]{16}(\..*)?")  # as stage_clip names them
# What repeats embeddings outside of the database, and the key in ``meta`` of its valid token
DERIVED_FILES = {"cache": "voiceprints.cache", "index": "voiceprints.index"}
_MAX_TOLD = 3


# ---- a person's folder ----------------------------------------------------------------------


def folder_of_person(database: Database, library: Path, name: str) -> str:
    """Where further clips of a person go: the folder that has some, or a free one.

    A folder is not free where a file, a link, the library itself or another person has its place,
    nor where some file system could not tell it from the folder of another person.
    """
    query = """SELECT file FROM clips JOIN people ON people.id = person
        WHERE name = ? AND file IS NOT NULL"""
    wanted = folder_name_for(name)
    own = {file.partition("/")[0] for (file,) in database.execute(query, (name,)) if "/" in file}
    for folder in sorted(own, key=lambda folder: (folder != wanted, folder)):
        if folder and _is_free(library / folder, name):
            return str(folder)
    query = "SELECT 1 FROM people WHERE folder_key = ? AND name != ?"
    is_ambiguous = database.execute(query, (folder_key(name), name)).fetchone() is not None
    if is_ambiguous or not _is_free(library / wanted, name):
        return escaped_folder_name_for(name)
    return wanted


def _is_free(folder: Path, name: str) -> bool:
    kind = kind_of(folder)
    if kind == "":
        return not is_of_library(folder.name)
    return kind == "folder" and person_of_folder(folder) == name


def make_person_folder(folder: Path, name: str) -> None:
    """Make a person's folder, and say in it whose it is where its own name cannot."""
    if kind_of(folder) not in ("", "folder"):
        raise FileExistsError(errno.EEXIST, "something else lies there", str(folder))
    folder.mkdir(exist_ok=True)
    if person_of_folder(folder) != name:
        write_text(folder / NAME_FILE, name)


# ---- before and behind a commit -------------------------------------------------------------


def stage_clip(folder: Path, person_folder: str, suffix: str, data: bytes) -> tuple[str, str]:
    """Write a clip of a person to ``.pending/``, inside the transaction that inserts its row.

    Returns:
        The file's future place, relative to the library, and its SHA-256.

    Raises:
        OSError: it cannot be written; nothing is left.
    """
    file = f"{person_folder}/{uuid.uuid4().hex[:16]}{suffix}"
    pending = folder / PENDING
    if kind_of(pending) not in ("", "folder"):
        raise LibraryError(f"'{pending}' has to be a folder of the library's; move it away.")
    pending.mkdir(mode=0o700, exist_ok=True)
    path = pending / PurePosixPath(file).name
    try:
        with create_private(path) as stream:
            stream.write(data)
            stream.flush()
            _force_to_disk(stream.fileno())
        _fsync_folder(pending)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return file, hashlib.sha256(data).hexdigest()


def create_private(path: Path) -> BinaryIO:
    """Open a new file for writing that its owner alone can read."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def apply_committed_changes(store: Store, folder: Path, obstacles: Obstacles) -> None:
    """Do to the folders what was committed to the database, by this process or a killed one.

    What is in the way is told of and passed over, and done when it is out of the way.

    Raises:
        LibraryError: the database cannot be written to; the work is done at the next opening.
    """
    if not _is_work_left(store, folder):
        return
    with store.transaction() as database:
        for path in _pending_clips(folder / PENDING, obstacles):
            try:
                _put_in_place(database, folder, path, obstacles)
            except OSError as error:
                obstacles.tell(path, error)
        _delete_removed_clips(database, folder, obstacles)
        for path in _stale_files(database, folder):
            try:
                if kind_of(path) == "file":
                    path.unlink(missing_ok=True)
            except OSError as error:
                obstacles.tell(path, error)


def _is_work_left(store: Store, folder: Path) -> bool:
    """Whether anything is to be done, found out without waiting for others who write."""
    try:
        kind = kind_of(folder / PENDING)
        if kind not in ("", "folder") or (kind and any((folder / PENDING).iterdir())):
            return True
    except OSError:
        return True
    with store.snapshot() as database:
        if database.execute("SELECT 1 FROM removals LIMIT 1").fetchone():
            return True
        return any(kind_of(path) == "file" for path in _stale_files(database, folder))


def _stale_files(database: Database, folder: Path) -> list[Path]:
    """Derived files that the database does not know, and half written ones (of its lock holder)."""
    valid = {key for (key,) in database.execute("SELECT key FROM meta")}
    stale = [folder / DERIVED_FILES[key] for key in DERIVED_FILES.keys() - valid]
    return [*stale, *folder.glob(".voiceprints.*.tmp")]


def _pending_clips(pending: Path, obstacles: Obstacles) -> list[Path]:
    try:
        if kind_of(pending) not in ("", "folder"):
            obstacles.tell(pending, "has to be a folder of the library's; move it away")
        if kind_of(pending) != "folder":
            return []
        paths = sorted(pending.iterdir())
    except OSError as error:
        obstacles.tell(pending, error)
        return []
    clips = [path for path in paths if _PENDING_CLIP.fullmatch(path.name)]
    clips = [path for path in clips if kind_of(path) == "file"]
    for path in sorted({*paths} - {*clips}):
        obstacles.tell(path, "is none of the library's files; move it away")
    return clips


def _put_in_place(database: Database, folder: Path, path: Path, obstacles: Obstacles) -> None:
    """Move a pending clip to its place, or to another where that is taken meanwhile."""
    rows = database.execute(
        "SELECT file, name FROM clips JOIN people ON people.id = person "
        "WHERE sha256 = ? AND file IS NOT NULL",
        (file_sha256(path),),
    )
    places = [row for row in rows if PurePosixPath(row[0]).name == path.name]
    if not places:
        path.unlink()
        return
    file, name = places[0]
    wanted = person_folder = PurePosixPath(file).parent.name
    if not _is_free(folder / wanted, name):
        person_folder = folder_of_person(database, folder, name)
    place = f"{person_folder}/{path.name}"
    if place != file:
        obstacles.tell(folder / wanted, f"is taken; clips of '{name}' are in '{person_folder}'")
        database.execute("UPDATE clips SET file = ? WHERE file = ?", (place, file))
    make_person_folder(folder / person_folder, name)
    os.replace(path, folder / place)


def is_clip_path(file: str) -> bool:
    """Whether a path of the database names a clip within the library and nothing else."""
    parts = file.split("/")
    if len(parts) != 2 or "\\" in file or "\0" in file or any(p.startswith(".") for p in parts):
        return False
    return all(parts) and (is_clip_name(parts[1]) or not plain_suffix(parts[1]))


def is_clip_name(name: str) -> bool:
    """Whether a file is a clip, to go by the suffix of its name alone."""
    return plain_suffix(name).lower() in AUDIO_SUFFIXES and not name.startswith(".")


def _delete_removed_clips(database: Database, library: Path, obstacles: Obstacles) -> None:
    """Delete the clips that are listed, and then the folders in which nothing else is left."""
    query = "SELECT file FROM removals ORDER BY file"
    listed = [file for (file,) in database.execute(query)]
    for folder, files in groupby(listed, key=lambda file: file.rpartition("/")[0]):
        deleted = None
        for file in files:
            try:
                if is_clip_path(file) and _delete_clip(library, file, obstacles):
                    deleted = file
                database.execute("DELETE FROM removals WHERE file = ?", (file,))
            except OSError as error:
                obstacles.tell(library / file, error)
        if deleted is None:
            continue
        try:
            _delete_folder_without_clips(database, library / folder, obstacles)
        except OSError as error:  # and is tried again when the clip is deleted next
            obstacles.tell(library / deleted, error)
            database.execute("INSERT INTO removals VALUES (?)", (deleted,))


def _delete_clip(library: Path, file: str, obstacles: Obstacles) -> bool:
    """Delete a clip; false where something that the library did not make lies in its place."""
    obstacle = obstacle_at(library, file)
    if obstacle is None:
        (library / file).unlink(missing_ok=True)
        return True
    place, what = obstacle
    if isinstance(what, OSError):
        raise what
    obstacles.tell(place, what)
    return False


def _delete_folder_without_clips(database: Database, folder: Path, obstacles: Obstacles) -> None:
    """Delete a person's folder when only what the library wrote is left in it."""
    if kind_of(folder) == "":
        return
    left = sorted(folder.iterdir())
    foreign = [path for path in left if not _is_name_file(path)]
    if not foreign:
        for path in left:
            path.unlink()
        folder.rmdir()
        return
    inside = (f"{folder.name}/", f"{folder.name}0")
    query = "SELECT file FROM removals WHERE file > ? AND file < ?"
    others = {PurePosixPath(row[0]).name for row in database.execute(query, inside)}
    foreign = [path for path in foreign if path.name not in others]  # told of when that failed
    query = "SELECT 1 FROM clips WHERE file > ? AND file < ?"
    if foreign and not database.execute(query, inside).fetchone():
        names = ", ".join(shown(path.name) for path in foreign[:_MAX_TOLD])
        names += " …" if len(foreign) > _MAX_TOLD else ""
        obstacles.tell(folder, f"stays, for it holds what the library did not enrol: {names}")


def _is_name_file(path: Path) -> bool:
    half_written = path.name.startswith(f".{NAME_FILE}.") and path.name.endswith(".tmp")
    return (path.name == NAME_FILE or half_written) and kind_of(path) == "file"


def _force_to_disk(descriptor: int) -> None:
    if sys.platform == "darwin":  # where fsync leaves it to the drive when to write
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def _fsync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
