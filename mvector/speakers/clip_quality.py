"""How good the enrolled clips are: kept beside each embedding, as its model heard the clip.

Clips that are registered are measured at once. Those found in the folders, and those of libraries
made before quality was kept, are measured from the stored audio when the library is opened.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mvector.audio.quality import SpeechQuality
from mvector.errors import LibraryError, MVectorError
from mvector.progress import progress_bar
from mvector.speakers.context import LibraryContext
from mvector.speakers.people import in_portions, places_for
from mvector.speakers.store import ALL_ROWS, Database

logger = logging.getLogger(__name__)

_CLIPS_AT_ONCE = 256  # measured, then committed: what a kill costs
_ALL_SET = ", ".join(f"{name} = ?" for name in SpeechQuality._fields)


def voiceprint_qualities(
    database: Database, people: Sequence[int], fingerprint: str, columns: str
) -> dict[int, SpeechQuality]:
    """Quality of the clips behind each person's voiceprint: total speech, and the mean else.

    The same as :func:`mvector.evaluation.quality.model_quality`; who has a clip whose speech and
    SNR are not known is left out. What is told of the channel is ``None`` where that is not known
    of every clip. ``columns`` are those of the store.
    """
    found = {}
    for some in in_portions(people):
        query = f"""SELECT person, count(*) = count(speech_s), count(*) = count(bandwidth_hz),
            sum(speech_s), avg(snr_db), avg(low_edge_hz), avg(bandwidth_hz), avg(hole_share)
            FROM (SELECT person, {columns} FROM embeddings
            WHERE fingerprint = ? AND person IN ({places_for(some)})) AS measured GROUP BY person"""
        rows = database.execute(query, (fingerprint, *some)).fetchall()
        for person, is_known, is_all_known, *values in rows:
            if is_known and values[0] is not None:
                known = values if is_all_known else values[:2]
                found[person] = SpeechQuality(*known)
    return found


def measure_stored_clips(
    context: LibraryContext, *, at_most: int | None = None, progress: bool = False
) -> int:
    """Measure stored clips whose quality is not known yet, all or ``at_most`` so many.

    Batches are committed one by one. What cannot be measured or written stays unknown: nothing
    depends on it.

    Returns:
        How many clips were measured.
    """
    if context.model is None:
        return 0
    # from clips, which are small, to embeddings, so that those without audio are not read
    query = """SELECT clip, checksum, file FROM clips CROSS JOIN embeddings
        WHERE clip = clips.id AND file IS NOT NULL AND fingerprint = ?
        AND (speech_s IS NULL OR bandwidth_hz IS NULL) LIMIT ?"""
    rows = context.store.rows(
        query, (context.fingerprint, ALL_ROWS if at_most is None else at_most)
    )
    if rows:
        logger.info("Measuring the quality of %d clips in '%s' …", len(rows), context.name)

    def measured(file: str) -> SpeechQuality | None:
        try:
            return context.encoder.measure(context.open_stored_clip(file)).quality
        except (MVectorError, OSError, ValueError):
            return None

    num_measured = 0
    with (
        progress_bar(total=len(rows), desc="Measuring", unit="clip", show=progress) as bar,
        ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool,
    ):
        for start in range(0, len(rows), _CLIPS_AT_ONCE):
            batch = rows[start : start + _CLIPS_AT_ONCE]
            qualities = pool.map(measured, [file for _, _, file in batch])
            found = [
                (*quality, clip, context.fingerprint, checksum)
                for quality, (clip, checksum, _) in zip(qualities, batch, strict=True)
                if quality is not None
            ]
            try:
                with context.store.transaction() as database:
                    # by the checksum, for a clip may have been replaced meanwhile
                    database.executemany(
                        f"UPDATE embeddings SET {_ALL_SET} "
                        "WHERE clip = ? AND fingerprint = ? AND checksum = ?",
                        found,
                    )
            except LibraryError as error:
                logger.warning("The quality of clips is not kept: %s", error)
                break
            num_measured += len(found)
            bar.update(len(batch))
    return num_measured
