"""Opening the database beside a library's folders: a damaged one is made anew."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mvector.errors import LibraryError
from mvector.speakers.access import DamagedDatabaseError, check_readable, error_not_there
from mvector.speakers.clip_files import PENDING, is_clip_name
from mvector.speakers.obstacles import kind_of, shown
from mvector.speakers.sqlite_store import DATABASE, SqliteStore

logger = logging.getLogger(__name__)

# Of a database's files; the log first: beside a new database it would be replayed
_ENDS = ("-wal", "-shm", "")


def holds_library(folder: Path) -> bool:
    """Whether there is a library, or people's clips that one is made from."""
    return (folder / DATABASE).is_file() or _has_clips(folder)


def open_folder(folder: Path, *, read_only: bool, create: bool) -> SqliteStore:
    """The database of a library, made if there is none.

    A damaged one is renamed and made anew where there are clips to fill it from.

    Raises:
        LibraryError: there is no library and ``create`` is false, or it cannot be used.
    """
    check_readable(folder / DATABASE)
    is_there = (folder / DATABASE).is_file() if read_only else holds_library(folder)
    if not is_there and (read_only or not create):
        raise error_not_there(shown(folder), "path")
    try:
        return SqliteStore(folder, read_only=read_only)
    except DamagedDatabaseError as error:
        if read_only or not _has_clips(folder):
            raise LibraryError(
                f"{error} There is nothing to make it anew from; put back a copy, or import an "
                f"exported file after moving '{folder / DATABASE}' away."
            ) from error
        aside = _rename_damaged_database(folder)
        logger.warning(
            "%s It is called '%s' now and is made anew from the folders; metadata, groups and "
            "people without stored audio are lost unless you import an exported file.",
            error,
            aside,
        )
        return SqliteStore(folder)


@contextmanager
def no_folder_left_if_it_fails(folder: Path) -> Iterator[None]:
    """A library that is made in the block, its folders included, is gone if the block fails."""
    is_new = not os.path.lexists(folder / DATABASE)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        if is_new:
            for end in _ENDS:
                (folder / f"{DATABASE}{end}").unlink(missing_ok=True)
            for place in (folder / PENDING, *missing):
                with suppress(OSError):  # something else is in it
                    place.rmdir()
        raise


def _rename_damaged_database(folder: Path) -> Path:
    """Rename a damaged database, with its log, so that a new one can be made; returns its place."""
    aside = (folder / DATABASE).with_suffix(".damaged")
    for end in _ENDS:
        part = folder / f"{DATABASE}{end}"
        if part.exists():
            os.replace(part, f"{aside}{end}")
    return aside


def _has_clips(folder: Path) -> bool:
    return any(
        is_clip_name(path.name) and kind_of(path.parent) == "folder"
        for path in folder.glob("[!.]*/*")
    )
