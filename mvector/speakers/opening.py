"""Opening a library, wherever it is; a foreign key is refused."""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from mvector.errors import LibraryError
from mvector.speakers import audit, people
from mvector.speakers.access import library_folder
from mvector.speakers.clips_place import clips_of_database
from mvector.speakers.context import LibraryContext
from mvector.speakers.encryption import LibraryCipher
from mvector.speakers.folder_opening import no_folder_left_if_it_fails, open_folder
from mvector.speakers.obstacles import Obstacles
from mvector.speakers.postgres_address import is_address, parse_address
from mvector.speakers.reconciliation import reconcile
from mvector.speakers.store import Store
from mvector.speakers.stored_clips import ClipFiles, Clips

if TYPE_CHECKING:  # it brings torch, which reading a library does without
    from mvector.embedding.encoder import SpeakerEncoder

logger = logging.getLogger(__name__)

_WAIT_S = 0.2  # for what another opening can do as well


def open_context(
    path: str | os.PathLike[str],
    encoder: SpeakerEncoder | None,
    *,
    is_audited: bool,
    read_only: bool,
    create: bool,
) -> LibraryContext:
    """Open the database of a library, with the key of the environment.

    Raises:
        LibraryError: there is no library and ``create`` is false, or it cannot be used.
    """
    cipher, obstacles = LibraryCipher.from_environment(), Obstacles()
    store: Store
    clips: Clips
    if is_address(path):
        from mvector.speakers.postgres_store import PostgresStore

        address = parse_address(path)
        store = PostgresStore(address, read_only=read_only, create=create)
        clips = clips_of_database(store, address.clips, obstacles)
    else:
        folder = library_folder(path)
        store = open_folder(folder, read_only=read_only, create=create)
        clips = ClipFiles(store, folder, obstacles)
    try:
        _check_key(store, cipher)
    except LibraryError:
        store.close()
        raise
    with store.snapshot() as database:
        model = people.get_meta(database, "model") or ""
    fingerprint = model if encoder is None else encoder.fingerprint
    is_audited = is_audited and not store.read_only
    return LibraryContext(store, clips, cipher, encoder, fingerprint, is_audited, obstacles)


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
        if look_at_folders and context.store.folder is not None:
            reconcile(context, progress=progress)
        else:
            context.apply_committed_changes()
        context.store.erase_deleted()
        if context.model is not None and not context.cipher.is_enabled:
            index = context.store.index(context.fingerprint, context.embd_dim)
            if index is not None:
                index.make()
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
        is_known = is_model_there(database, context.store.folder)
    if is_of_it and not is_known:
        with suppress(LibraryError), context.store.transaction(wait_s=_WAIT_S) as database:
            context.remember_model(database)


def nothing_left_if_it_fails(path: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """A library that is made in the block is gone if the block fails."""
    if is_address(path):
        from mvector.speakers.postgres_store import no_schema_left_if_it_fails

        return no_schema_left_if_it_fails(parse_address(path))
    return no_folder_left_if_it_fails(library_folder(path))


def _check_key(store: Store, cipher: LibraryCipher) -> None:
    what = f"The speaker library '{store.name}'"
    with store.snapshot() as database:
        proof = people.get_meta(database, "sealed")
        has_people = database.execute("SELECT 1 FROM people LIMIT 1").fetchone() is not None
    if not has_people and not store.read_only and (cipher.is_enabled or proof):
        with store.transaction() as database:  # where nobody is enrolled any key will do
            if not database.execute("SELECT 1 FROM people LIMIT 1").fetchone():
                people.set_meta(database, "sealed", cipher.proof())
            proof = people.get_meta(database, "sealed")
    cipher.check(proof or "", what)
