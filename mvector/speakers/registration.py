"""Enrolling many at once: embeddings, or clips as their files are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mvector.audio.clip_report import ClipReport
from mvector.audio.quality import SpeechQuality
from mvector.errors import LibraryError
from mvector.speakers import people
from mvector.speakers.context import LibraryContext, unit_vector
from mvector.speakers.names import checked_name


def register_embeddings(
    context: LibraryContext,
    names: Sequence[str],
    embeddings: np.ndarray,
    quality: Sequence[SpeechQuality | None] | None,
) -> None:
    """As :meth:`mvector.speakers.SpeakerLibrary.register_embeddings`."""
    if len(embeddings) != len(names):
        raise LibraryError(f"{len(names)} names come with {len(embeddings)} embeddings.")
    checked = [checked_name(name) for name in names]
    measured = quality or [None] * len(names)
    embeddings = np.asarray(embeddings, dtype=np.float32)
    for embedding in embeddings:
        unit_vector(embedding, context.encoder.embd_dim)
    with context.store.transaction() as database:
        context.claim_model(database)
        whose = people.ensure_people(database, checked)
        clips = people.insert_clips_without_audio(database, whose)
        people.insert_embeddings(
            database, clips, whose, context.fingerprint, embeddings, measured, context.cipher
        )
        context.append_audit(database, f"register {len(checked)} embeddings")


def register_files(context: LibraryContext, clips: Sequence[tuple[str, Path]]) -> list[str]:
    """As :meth:`mvector.speakers.SpeakerLibrary.register_files`."""
    wanted = [(checked_name(name), path) for name, path in clips]
    with context.store.snapshot() as database:
        context.require_model(database)
        if context.cipher.is_enabled:
            enrolled = {name for (name,) in database.execute("SELECT name FROM people")}
            wanted = [(name, path) for name, path in wanted if name not in enrolled]
        known = set[tuple[str, str]]()
        for some in people.in_portions(sorted({name for name, _ in wanted})):
            query = f"""SELECT name, sha256 FROM clips JOIN people ON people.id = person
                WHERE name IN ({people.places_for(some)}) AND sha256 IS NOT NULL"""
            known.update(database.execute(query, some))
    failures, waiting = [], []
    first: dict[tuple[str, str], Path] = {}  # clips by person and content
    for name, path in wanted:
        try:
            data = path.read_bytes()
        except OSError as error:
            failures.append(f"'{path}' cannot be read: {error.strerror or error}.")
            continue
        clip = name, hashlib.sha256(data).hexdigest()
        if clip in known:
            continue
        if clip in first:
            failures.append(f"'{path}' is the same clip as '{first[clip]}', and counts once.")
            continue
        first[clip] = path
        waiting.append((name, path, data))
    table = context.encoder.embed_readable([path for _, path, _ in waiting], measured=True)
    reports: Sequence[ClipReport | None] = table.reports or [None] * len(table.good)
    with context.clip_transaction() as database:
        context.claim_model(database)
        for number, embedding, report in zip(table.good, table.embeddings, reports, strict=True):
            name, path, data = waiting[number]
            quality = None if report is None else report.quality
            suffix = path.suffix.lower() or ".wav"
            context.add_clip(database, name, embedding, data, suffix, quality)
            context.append_audit(database, "register", name)
    return [*failures, *(reason for _, reason in table.failures)]
