"""A library taken over by another model: all voiceprints computed anew from the stored audio."""

from __future__ import annotations

import logging
import sqlite3

from mvector.errors import LibraryError
from mvector.speakers import people
from mvector.speakers.clip_files import settle
from mvector.speakers.context import LibraryContext
from mvector.speakers.reconciliation import embedded_files, reconcile

logger = logging.getLogger(__name__)

_NOT_DONE = """FROM clips WHERE NOT EXISTS (
    SELECT 1 FROM embeddings e WHERE e.clip = clips.id AND e.fingerprint = ?)"""
_NAMES_TOLD = 5


def reembed(context: LibraryContext, *, progress: bool = False) -> int:
    """Compute what this model lacks, then make the library this model's.

    Embeddings are committed batch by batch beside the old ones, so that a later run goes on where
    this one was killed. The last transaction names the new model and deletes the old embeddings of
    all clips that have new ones.

    Args:
        context: the library and the new model.
        progress: show a bar over the clips.

    Returns:
        How many embeddings were computed.

    Raises:
        LibraryError: nobody has stored audio, or the library cannot be written to.
    """
    settle(context.store, context.folder)
    _require_audio(context)
    num_done, failed = 0, set[str]()
    while not _finish(context, failed):  # another process may have enrolled meanwhile
        query = f"SELECT file {_NOT_DONE} AND file IS NOT NULL ORDER BY id"
        files = [file for (file,) in context.store.rows(query, (context.fingerprint,))]
        files = [file for file in files if file not in failed]
        for good, embeddings, failures in embedded_files(context, files, progress=progress):
            with context.store.transaction() as database:
                for file, embedding in zip(good, embeddings, strict=True):
                    query = "SELECT id, person FROM clips WHERE file = ?"
                    row = database.execute(query, (file,)).fetchone()
                    if row is not None:  # and was not removed meanwhile
                        clip, person = row
                        context.add_embedding(database, clip, person, embedding)
                        num_done += 1
            failed.update(failures)
            for reason in failures.values():
                logger.warning("Not computed anew: %s", reason)
    num_done += reconcile(context, progress=progress, measure_all=True).num_embedded
    context.store.erase_deleted()
    _tell_of_the_rest(context)
    return num_done


def _require_audio(context: LibraryContext) -> None:
    with context.store.snapshot() as database:
        query = "SELECT count(*), count(file) FROM clips"
        num_clips, num_files = database.execute(query).fetchone()
        if num_clips and not num_files and not context.fits_model(database):
            raise LibraryError(
                f"No audio is stored in '{context.folder}', so that its voiceprints cannot be "
                "computed for another model: enrol everybody again in a new library."
            )


def _finish(context: LibraryContext, failed: set[str]) -> bool:
    """Make the library this model's if nothing is left to compute."""
    with context.store.transaction() as database:
        query = f"SELECT file {_NOT_DONE} AND file IS NOT NULL"
        left = {file for (file,) in database.execute(query, (context.fingerprint,))}
        if left - failed:
            return False
        people.set_meta(database, "model", context.fingerprint)
        _delete_old(database, context.fingerprint)
        people.forget_derived(database)
        context.note(database, "reembed")
    return True


def _delete_old(database: sqlite3.Connection, fingerprint: str) -> None:
    database.execute(
        "DELETE FROM embeddings WHERE fingerprint != ? AND clip IN "
        "(SELECT clip FROM embeddings WHERE fingerprint = ?)",
        (fingerprint, fingerprint),
    )


def _tell_of_the_rest(context: LibraryContext) -> None:
    query = f"""SELECT DISTINCT name FROM people WHERE id IN (SELECT person {_NOT_DONE})
        ORDER BY name"""
    names = [name for (name,) in context.store.rows(query, (context.fingerprint,))]
    if names:
        told = ", ".join(names[:_NAMES_TOLD]) + (" …" if len(names) > _NAMES_TOLD else "")
        logger.warning(
            "%d people have clips that this model could not hear, because no audio of them is "
            "stored or it cannot be read; enrol them again: %s",
            len(names),
            told,
        )
