"""A library taken over by another model: all voiceprints computed anew from the stored audio."""

from __future__ import annotations

import logging

from mvector.errors import LibraryError
from mvector.speakers import people
from mvector.speakers.clip_quality import measure_stored_clips
from mvector.speakers.context import LibraryContext
from mvector.speakers.reconciliation import embed_stored_files, reconcile

logger = logging.getLogger(__name__)

_WITHOUT_EMBEDDING = """FROM clips WHERE NOT EXISTS (
    SELECT 1 FROM embeddings e WHERE e.clip = clips.id AND e.fingerprint = ?)"""
_LACKING = f"SELECT file {_WITHOUT_EMBEDDING} AND file IS NOT NULL ORDER BY id"
_MAX_NAMED = 5


def reembed(context: LibraryContext, *, progress: bool = False) -> int:
    """As :meth:`mvector.speakers.SpeakerLibrary.reembed`: first compute what this model lacks.

    Embeddings are committed batch by batch beside the old ones, so that a later run goes on where
    this one was killed. The last transaction names the new model and deletes the old embeddings of
    all clips that have new ones.
    """
    _ = context.encoder  # is there one?
    context.apply_committed_changes()
    _require_audio(context)
    num_done, failed = 0, set[str]()
    while not _adopt_model_if_complete(context, failed):  # others may have enrolled meanwhile
        num_done += _embed_lacking(context, failed, progress=progress)
    num_done += complete(context, failed, progress=progress)
    context.store.erase_deleted()
    _warn_of_missing_embeddings(context)
    return num_done


def complete(
    context: LibraryContext, failed: set[str] | None = None, *, progress: bool = False
) -> int:
    """Compute what embeddings and qualities are missing, of what folders or database hold.

    ``failed`` are clips of a database that were tried already, and cannot be used.

    Returns:
        How many embeddings were computed.
    """
    if context.store.folder is not None:
        return reconcile(context, progress=progress, measure_all=True).num_embedded
    num_done = _embed_lacking(context, set() if failed is None else failed, progress=progress)
    measure_stored_clips(context, progress=progress)
    return num_done


def _embed_lacking(context: LibraryContext, failed: set[str], *, progress: bool) -> int:
    """Embed the stored clips that this model lacks, except those in ``failed``.

    What turns out to be of no use joins these. The result is how many were embedded.
    """
    rows = context.store.rows(_LACKING, (context.fingerprint,))
    files = [file for (file,) in rows if file not in failed]
    num_done = 0
    for good, embeddings, failures in embed_stored_files(context, files, progress=progress):
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
    return num_done


def _require_audio(context: LibraryContext) -> None:
    with context.store.snapshot() as database:
        query = "SELECT count(*), count(file) FROM clips"
        num_clips, num_files = database.execute(query).fetchone()
        if num_clips and not num_files and not context.is_of_this_model(database):
            raise LibraryError(
                f"No audio is stored in '{context.name}', so that its voiceprints cannot be "
                "computed for another model: enrol everybody again in a new library."
            )


def _adopt_model_if_complete(context: LibraryContext, failed: set[str]) -> bool:
    """Make the library this model's if nothing is left to compute."""
    with context.store.transaction() as database:
        query = f"SELECT file {_WITHOUT_EMBEDDING} AND file IS NOT NULL"
        left = {file for (file,) in database.execute(query, (context.fingerprint,))}
        if left - failed:
            return False
        context.remember_model(database)
        query = """DELETE FROM embeddings WHERE fingerprint != ? AND clip IN
            (SELECT clip FROM embeddings WHERE fingerprint = ?)"""
        database.execute(query, (context.fingerprint, context.fingerprint))
        people.invalidate_derived_files(database)
        context.append_audit(database, "reembed")
    return True


def _warn_of_missing_embeddings(context: LibraryContext) -> None:
    query = f"""SELECT DISTINCT name FROM people WHERE id IN (SELECT person {_WITHOUT_EMBEDDING})
        ORDER BY name"""
    names = [name for (name,) in context.store.rows(query, (context.fingerprint,))]
    if names:
        logger.warning(
            "%d people have clips that this model could not hear, because no audio of them is "
            "stored or it cannot be read; enrol them again: %s",
            len(names),
            ", ".join(names[:_MAX_NAMED]) + (" …" if len(names) > _MAX_NAMED else ""),
        )
