"""Opening a library's database: a damaged one is made anew, a foreign key is refused."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.errors import LibraryError
from mvector.speakers import audit, people
from mvector.speakers.access import check_readable
from mvector.speakers.clip_files import PENDING, is_clip_name
from mvector.speakers.context import LibraryContext
from mvector.speakers.encryption import LibraryCipher
from mvector.speakers.obstacles import kind_of, shown
from mvector.speakers.reconciliation import reconcile
from mvector.speakers.store import DATABASE, DamagedDatabaseError, Store

if TYPE_CHECKING:  # it brings torch, which reading a library does without
    from mvector.embedding.encoder import SpeakerEncoder

logger = logging.getLogger(__name__)

_WAIT_S = 0.2  # for what another opening can do as well
# Of a database's files; the log first: beside a new database it would be replayed
_ENDS = ("-wal", "-shm", "")


def holds_library(folder: Path) -> bool:
    """Whether there is a library, or people's clips that one is made from."""
    return (folder / DATABASE).is_file() or _has_clips(folder)


def open_context(
    folder: Path, encoder: SpeakerEncoder | None, *, is_audited: bool, read_only: bool, create: bool
) -> LibraryContext:
    """Open a library's database, with the key of the environment.

    Raises:
        LibraryError: there is no library and ``create`` is false, or it cannot be used.
    """
    cipher = LibraryCipher.from_environment()
    store = _open_store(folder, cipher, read_only=read_only, create=create)
    with store.snapshot() as database:
        model = people.get_meta(database, "model") or ""
    fingerprint = model if encoder is None else encoder.fingerprint
    is_audited = is_audited and not store.read_only
    return LibraryContext(folder, store, cipher, encoder, fingerprint, is_audited)


def _open_store(folder: Path, cipher: LibraryCipher, *, read_only: bool, create: bool) -> Store:
    """The database of a library, made if there is none.

    A damaged one is renamed and made anew where there are clips to fill it from.
    """
    check_readable(folder / DATABASE)
    is_there = (folder / DATABASE).is_file() if read_only else holds_library(folder)
    if not is_there and (read_only or not create):
        raise LibraryError(
            f"There is no speaker library in '{shown(folder)}': check the path "
            "(--audio_db_path), or register somebody first.",
            code="library-not-found",
        )
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


def catch_up(
    context: LibraryContext, audit_days: float | None, *, look_at_folders: bool, progress: bool
) -> None:
    """Finish what was committed, and find out what changed in the folders.

    What cannot be written down now is done at another opening: the library works without.
    """
    if context.store.read_only:
        return
    try:
        audit.keep_days(context.store, audit_days)
        _remember_model(context)
        if look_at_folders:
            reconcile(context, progress=progress)
        else:
            context.apply_committed_changes()
        context.store.erase_deleted()
    except LibraryError as error:
        if error.code != "library-unwritable":
            raise
        logger.warning("%s What changed in the folders waits until it can be written.", error)


def _remember_model(context: LibraryContext) -> None:
    """Write down where the model is, of a library that does not know or knows it no more."""
    if context.model_folder is None:
        return
    from mvector.speakers.model_memory import is_model_there

    with context.store.snapshot() as database:
        is_of_it = people.get_meta(database, "model") == context.fingerprint
        is_known = is_model_there(database, context.folder)
    if is_of_it and not is_known:
        with suppress(LibraryError), context.store.transaction(wait_s=_WAIT_S) as database:
            context.remember_model(database)


@contextmanager
def nothing_left_if_it_fails(folder: Path) -> Iterator[None]:
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


def _check_key(store: Store, cipher: LibraryCipher) -> None:
    what = f"The speaker library '{store.path.parent}'"
    with store.snapshot() as database:
        proof = people.get_meta(database, "sealed")
        has_people = database.execute("SELECT 1 FROM people LIMIT 1").fetchone() is not None
    if not has_people and not store.read_only and (cipher.is_enabled or proof):
        with store.transaction() as database:  # where nobody is enrolled any key will do
            if not database.execute("SELECT 1 FROM people LIMIT 1").fetchone():
                people.set_meta(database, "sealed", cipher.proof())
            proof = people.get_meta(database, "sealed")
    cipher.check(proof or "", what)
