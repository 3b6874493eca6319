"""Opening a library's database: a damaged one is made anew, a foreign key is refused."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mvector.errors import LibraryError
from mvector.speakers.clip_files import is_clip_name
from mvector.speakers.encryption import LibraryCipher
from mvector.speakers.people import get_meta, set_meta
from mvector.speakers.store import DATABASE, DamagedDatabaseError, Store

logger = logging.getLogger(__name__)


def open_store(folder: Path, cipher: LibraryCipher, *, read_only: bool) -> Store:
    """The database of a library, made if there is none.

    A damaged one is renamed and made anew where there are clips to fill it from.
    """
    try:
        store = Store(folder, read_only=read_only)
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
        store = Store(folder)
    _check_key(store, cipher)
    return store


def _rename_damaged_database(folder: Path) -> Path:
    """Rename a damaged database, with its log, so that a new one can be made; returns its place."""
    aside = (folder / DATABASE).with_suffix(".damaged")
    for end in ("-wal", "-shm", ""):  # the log first: beside a new database it would be replayed
        part = folder / f"{DATABASE}{end}"
        if part.exists():
            os.replace(part, f"{aside}{end}")
    return aside


def _has_clips(folder: Path) -> bool:
    return any(is_clip_name(path.name) for path in folder.glob("[!.]*/*"))


def _check_key(store: Store, cipher: LibraryCipher) -> None:
    what = f"The speaker library '{store.path.parent}'"
    with store.snapshot() as database:
        proof = get_meta(database, "sealed")
        has_people = database.execute("SELECT 1 FROM people LIMIT 1").fetchone() is not None
    if not has_people and not store.read_only and (cipher.is_enabled or proof):
        with store.transaction() as database:  # where nobody is enrolled any key will do
            if not database.execute("SELECT 1 FROM people LIMIT 1").fetchone():
                set_meta(database, "sealed", cipher.proof())
            proof = get_meta(database, "sealed")
    cipher.check(proof or "", what)
