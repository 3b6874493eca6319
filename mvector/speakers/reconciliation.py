"""The folders are the truth: making the database say what they hold.

Clips put into ``<name>/`` by hand are enrolled, changed ones computed anew, and deleted ones
forgotten. A clip that was moved or copied, or whose folder was renamed, keeps its embedding: it is
known by its hash. Hashes are computed only where size or times of a file changed.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mvector.audio import AudioSource
from mvector.audio.quality import SpeechQuality
from mvector.errors import LibraryError, MVectorError, count_of
from mvector.progress import progress_bar
from mvector.speakers import people
from mvector.speakers.clip_files import PENDING
from mvector.speakers.clip_objects import ClipObjects
from mvector.speakers.clip_quality import measure_stored_clips
from mvector.speakers.context import LibraryContext
from mvector.speakers.encryption import ENCRYPTED_SUFFIX
from mvector.speakers.folder_scan import FolderChanges, FoundClip, plan_changes
from mvector.speakers.names import folder_key
from mvector.speakers.obstacles import is_clip_gone, is_clip_there
from mvector.speakers.store import Database

logger = logging.getLogger(__name__)

_CLIPS_AT_ONCE = 256  # embedded, then committed: what a kill costs
_STAMP_WAIT_S = 0.2
_REFUSED = "refused:"  # before a hash, as key in ``meta``; no names, for these may be removed
# Clips known before, for which an opening is not to wait much longer
_MAX_MEASURED_AT_OPENING = 4096


@dataclass
class Reconciled:
    """What opening a library found in its folders.

    Attributes:
        num_embedded: clips whose embeddings were computed.
        num_measured: clips whose quality was measured.
        num_moved: clips found at another place than before.
        num_gone: clips that were deleted.
        num_collected: objects of an object store that belonged to nobody, and are deleted now.
        failures: clips that could not be enrolled, and why, one sentence each.
        refused: files of the library that the model could not use, relative to its folder.
    """

    num_embedded: int = 0
    num_measured: int = 0
    num_moved: int = 0
    num_gone: int = 0
    num_collected: int = 0
    failures: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def reconcile(
    context: LibraryContext, *, progress: bool = False, measure_all: bool = False
) -> Reconciled:
    """Make the database say what the folders hold; finish what a killed process left.

    Bad clips are left out and told of. Embeddings are committed batch by batch, so that a process
    killed meanwhile loses one batch of work. ``measure_all`` measures the quality of all clips
    whose quality is not known, however many.

    Raises:
        LibraryError: the library cannot be written to.
    """
    if isinstance(context.clips, ClipObjects):  # of which rows alone tell
        collected = context.clips.collect()  # first, for it says if the bucket is away
        measured = measure_stored_clips(context, progress=progress)
        return Reconciled(num_measured=measured, num_collected=collected)
    context.apply_committed_changes()
    plan = plan_changes(context)
    done = Reconciled(failures=plan.failures)
    if plan.has_news:
        with context.store.transaction() as database:
            _update_database(context, database, plan, done)
    elif plan.restamped:  # which saves hashing next time, and is worth no waiting
        with suppress(LibraryError), context.store.transaction(wait_s=_STAMP_WAIT_S) as database:
            _update_database(context, database, plan, done)
    with context.store.snapshot() as database:
        is_ours = context.is_of_this_model(database)
    if context.model is None:
        _tell_of_waiting_clips(context, plan)
    elif not is_ours:
        logger.info("'%s' was enrolled otherwise; no clips are embedded.", context.name)
    else:
        if plan.embedded:
            _embed_new_files(context, plan, done, progress)
        _remember_refused_clips(context, {plan.found[file].sha256 for file in done.refused})
    context.apply_committed_changes()
    at_most = None if measure_all else _MAX_MEASURED_AT_OPENING + done.num_embedded
    done.num_measured = measure_stored_clips(context, at_most=at_most, progress=progress)
    tell_once = context.obstacles.tell_once
    for reason in done.failures:
        tell_once(reason, f"Not enrolled: {reason}")
    if done.failures:
        clips = count_of(len(done.failures), "clip")
        tell_once(f"{clips} not enrolled", f"Not enrolled in '{context.name}': {clips}.")
    return done


def _tell_of_waiting_clips(context: LibraryContext, plan: FolderChanges) -> None:
    """Of what only a model can enrol, and of what a model could not use."""
    with context.store.snapshot() as database:
        refused = _refused_clips(database)
    waiting = [file for file in plan.embedded if plan.found[file].sha256 not in refused]
    if waiting:
        told = "Waiting until '%s' is opened with a model: %s, new or changed."
        logger.warning(told, context.name, count_of(len(waiting), "clip"))
    for file in sorted({*plan.embedded} - {*waiting}):
        cure = "is not enrolled: it was tried and cannot be used; replace or delete it"
        context.obstacles.tell(context.folder / file, cure)


def _update_database(
    context: LibraryContext, database: Database, plan: FolderChanges, done: Reconciled
) -> None:
    """All that needs no model, in one transaction.

    What the folders hold is asked anew: other processes may have been at work since the scan.
    """
    found, known = plan.found, plan.known
    _rename_people(database, plan)
    for file, origin in plan.moved.items():
        if is_clip_there(context.folder, file) and not is_clip_there(context.folder, origin):
            _update_clip_row(database, known[origin].number, file, found[file])
            done.num_moved += 1
    for file in plan.restamped:
        _update_clip_row(database, known[file].number, file, found[file])
    for file, twin in plan.copied.items():
        if not is_clip_there(context.folder, file) or _is_removed(database, file):
            continue
        person = people.ensure_person(database, found[file].name)
        state = found[file]
        clip = people.insert_clip(database, person, file, state.sha256, state.stamp)
        columns = ", ".join(["fingerprint, vector, checksum", *SpeechQuality._fields])
        query = f"""INSERT OR IGNORE INTO embeddings (clip, person, {columns})
            SELECT ?, ?, {columns} FROM embeddings WHERE clip = ?"""
        database.execute(query, (clip, person, twin.number))
        context.append_audit(database, "found", state.name)
    for file in plan.gone:
        pending = context.folder / PENDING / Path(file).name
        if is_clip_gone(context.folder, file) and not os.path.lexists(pending):
            database.execute("DELETE FROM clips WHERE file = ?", (file,))
            done.num_gone += 1
    for name in people.delete_people_without_clips(database):
        context.append_audit(database, "gone", name)
    if done.num_gone:
        people.invalidate_derived_files(database)


def _rename_people(database: Database, plan: FolderChanges) -> None:
    """Where all clips of a person lie under a new name now, it is the person who was renamed."""
    found, known = plan.found, plan.known
    moves = [(file, known[origin]) for file, origin in plan.moved.items()]
    moves += [(file, known[file]) for file in plan.renamed]
    num_clips = Counter(clip.person for clip in known.values())
    targets: dict[int, list[str]] = {}
    for file, clip in moves:
        targets.setdefault(clip.person, []).append(found[file].name)
    for person, names in targets.items():
        if len(set(names)) == 1 and len(names) == num_clips[person]:
            query = "UPDATE OR IGNORE people SET name = ?, folder_key = ? WHERE id = ?"
            database.execute(query, (names[0], folder_key(names[0]), person))


def _update_clip_row(database: Database, clip: int, file: str, state: FoundClip) -> None:
    """Write place, person and stamp of a clip that is known."""
    person = people.ensure_person(database, state.name)
    query = "UPDATE OR IGNORE clips SET file = ?, person = ?, stamp = ? WHERE id = ?"
    database.execute(query, (file, person, state.stamp, clip))
    query = "UPDATE embeddings SET person = ? WHERE clip = ? AND person != ?"
    database.execute(query, (person, clip, person))


def _is_removed(database: Database, file: str) -> bool:
    query = "SELECT 1 FROM removals WHERE file = ?"
    return database.execute(query, (file,)).fetchone() is not None


# ---- embedding ------------------------------------------------------------------------------


def _embed_new_files(
    context: LibraryContext, plan: FolderChanges, done: Reconciled, progress: bool
) -> None:
    """Enrol what was found, and note what cannot be used."""
    logger.info("Embedding %d clips of '%s' …", len(plan.embedded), context.folder)
    batches = embed_stored_files(context, plan.embedded, progress=progress)
    for good, embeddings, failures in batches:
        with context.clip_transaction() as database:
            context.claim_model(database)
            for file, embedding in zip(good, embeddings, strict=True):
                if is_clip_there(context.folder, file) and not _is_removed(database, file):
                    _add_found_clip(context, database, file, plan.found[file], embedding)
                    done.num_embedded += 1
            for file, reason in failures.items():
                if is_clip_there(context.folder, file):  # and was not removed meanwhile
                    done.failures.append(reason)
                    done.refused.append(file)
                    database.execute("DELETE FROM clips WHERE file = ?", (file,))
            people.delete_people_without_clips(database)


def _refused_clips(database: Database) -> set[str]:
    """Hashes of the clips in the folders that a model tried and could not use."""
    query = "SELECT substr(key, length(?) + 1) FROM meta WHERE substr(key, 1, length(?)) = ?"
    return {sha256 for (sha256,) in database.execute(query, (_REFUSED,) * 3)}


def _remember_refused_clips(context: LibraryContext, refused: set[str]) -> None:
    """Write down which clips were refused, for those who open the library without a model."""
    with context.store.snapshot() as database:
        known = _refused_clips(database)
    if refused == known:
        return
    with context.store.transaction() as database:
        for sha256 in known - refused:
            database.execute("DELETE FROM meta WHERE key = ?", (f"{_REFUSED}{sha256}",))
        for sha256 in refused - known:
            people.set_meta(database, f"{_REFUSED}{sha256}", "")


def _add_found_clip(
    context: LibraryContext,
    database: Database,
    file: str,
    state: FoundClip,
    embedding: np.ndarray,
) -> None:
    """Add a clip that lies in a folder; in an encrypted library, its encrypted form."""
    context.append_audit(database, "found", state.name)
    path = context.folder / file
    if context.cipher.is_enabled and not file.endswith(ENCRYPTED_SUFFIX):
        context.add_clip(database, state.name, embedding, path.read_bytes(), path.suffix or ".wav")
        database.execute("DELETE FROM clips WHERE file = ?", (file,))
        database.execute("INSERT OR IGNORE INTO removals VALUES (?)", (file,))
        return
    person = people.ensure_person(database, state.name)
    clip = people.insert_clip(database, person, file, state.sha256, state.stamp)
    database.execute("DELETE FROM embeddings WHERE clip = ?", (clip,))  # of what it was before
    context.add_embedding(database, clip, person, embedding)


def embed_stored_files(
    context: LibraryContext, files: Sequence[str], *, progress: bool
) -> Iterator[tuple[list[str], np.ndarray, dict[str, str]]]:
    """Embeddings of stored clips, batch by batch.

    Yields:
        Files, their embeddings ``(files, embd_dim)``, and the reason for each file left out.
    """
    with progress_bar(total=len(files), desc="Embedding", unit="clip", show=progress) as bar:
        for start in range(0, len(files), _CLIPS_AT_ONCE):
            batch = files[start : start + _CLIPS_AT_ONCE]
            sources: list[AudioSource] = []
            readable: list[str] = []
            failures: dict[str, str] = {}
            for file in batch:
                try:
                    sources.append(context.open_stored_clip(file))
                    readable.append(file)
                except (MVectorError, OSError) as error:
                    if getattr(error, "code", "") == "clips-unreachable":
                        raise  # and so would be all others
                    failures[file] = f"'{file}': {error}"
            table = context.encoder.embed_readable(sources)
            failures.update({readable[k]: reason for k, reason in table.failures})
            yield [readable[k] for k in table.good], table.embeddings, failures
            bar.update(len(batch))
