"""Clips on disk and their rows: whatever kills the process, both are there or neither is.

A transaction that adds a clip first writes it to ``.pending/`` and forces it to disk; one that
removes a clip lists its file in the table ``removals``. Its commit is the moment that counts.
:func:`apply_committed_changes` then moves pending clips to their places and deletes what is listed.
It runs behind each change and at each opening, so that after a kill the next process finishes the
work. A pending clip without a row was never committed, and is deleted.

All of this happens under the database's write lock: no process sees another's work half done.
"""

from __future__ import annotations

import hashlib
import logging
import os
import uuid
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mvector.audio import AUDIO_SUFFIXES
from mvector.files import file_sha256, write_text
from mvector.speakers.encryption import ENCRYPTED_SUFFIX
from mvector.speakers.names import NAME_FILE, folder_name_for, person_of_folder
from mvector.speakers.store import Store

logger = logging.getLogger(__name__)

_PENDING = ".pending"
# What repeats embeddings outside of the database, and the key in ``meta`` of its valid token
DERIVED_FILES = {"cache": "voiceprints.cache", "index": "voiceprints.index"}


def stage_clip(folder: Path, name: str, suffix: str, data: bytes) -> tuple[str, str]:
    """Write a clip of a person to ``.pending/``, inside the transaction that inserts its row.

    Returns:
        The file's future place, relative to the library, and its SHA-256.

    Raises:
        OSError: it cannot be written; nothing is left.
    """
    file = f"{folder_name_for(name)}/{uuid.uuid4().hex[:16]}{suffix}"
    pending = folder / _PENDING
    pending.mkdir(mode=0o700, exist_ok=True)
    path = pending / PurePosixPath(file).name
    try:
        with create_private(path) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        _fsync_folder(pending)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return file, hashlib.sha256(data).hexdigest()


def create_private(path: Path) -> BinaryIO:
    """Open a new file for writing that its owner alone can read."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def apply_committed_changes(store: Store, folder: Path) -> None:
    """Do to the folders what was committed to the database, by this process or a killed one.

    Raises:
        LibraryError: the folders cannot be written to; the work is done at the next opening.
    """
    with store.transaction() as database:
        pending = folder / _PENDING
        for path in sorted(pending.iterdir()) if pending.is_dir() else []:
            rows = database.execute(
                "SELECT file, name FROM clips JOIN people ON people.id = person "
                "WHERE sha256 = ? AND file IS NOT NULL",
                (file_sha256(path),),
            )
            places = [row for row in rows if PurePosixPath(row[0]).name == path.name]
            if places:
                file, name = places[0]
                make_person_folder((folder / file).parent, name)
                os.replace(path, folder / file)
            else:
                path.unlink()
        for (file,) in database.execute("SELECT file FROM removals").fetchall():
            if is_clip_path(file):
                _delete_clip(folder / file)
        database.execute("DELETE FROM removals")
        valid = {key for (key,) in database.execute("SELECT key FROM meta")}
        for key in DERIVED_FILES.keys() - valid:
            (folder / DERIVED_FILES[key]).unlink(missing_ok=True)
        for half_written in folder.glob(".voiceprints.*.tmp"):  # they are written under the lock
            half_written.unlink(missing_ok=True)


def is_clip_path(file: str) -> bool:
    """Whether a path of the database names a clip within the library and nothing else."""
    parts = file.split("/")
    if len(parts) != 2 or "\\" in file or "\0" in file or any(p.startswith(".") for p in parts):
        return False
    return is_clip_name(parts[1]) and all(parts)


def is_clip_name(name: str) -> bool:
    """Whether a file is a clip, to go by its name."""
    suffix = PurePosixPath(name.removesuffix(ENCRYPTED_SUFFIX)).suffix.lower()
    return suffix in AUDIO_SUFFIXES and not name.startswith(".")


def make_person_folder(folder: Path, name: str) -> None:
    """Make a person's folder, and say in it whose it is where its own name cannot."""
    folder.mkdir(exist_ok=True)
    if person_of_folder(folder) != name:
        write_text(folder / NAME_FILE, name)


def _delete_clip(path: Path) -> None:
    """Delete a clip, and its folder when nothing but our own or hidden files is left in it."""
    path.unlink(missing_ok=True)
    if not path.parent.is_dir():
        return
    left = list(path.parent.iterdir())
    if all(other.name == NAME_FILE or other.name.startswith(".") for other in left):
        try:
            for other in left:
                other.unlink()
            path.parent.rmdir()
        except OSError as error:
            logger.warning("'%s' is empty and stays: %s", path.parent, error.strerror)


def _fsync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
