"""Voiceprints as rows of PostgreSQL, kept with each change of embeddings.

An encrypted library has none, for they could be read.
"""

from __future__ import annotations

import logging
import zlib

import numpy as np

from mvector.speakers.people import get_meta, set_meta
from mvector.speakers.store import Database
from mvector.speakers.voiceprints import mean_directions

logger = logging.getLogger(__name__)

_UP_TO = "voiceprints"  # in the table meta: the revision that the rows are of


def update_voiceprints(database: Database) -> None:
    """Bring the rows of whoever changed up to date, before their transaction is committed."""
    known = int(get_meta(database, _UP_TO) or 0)
    query = "SELECT revision, person FROM changes WHERE revision > ?"
    changed = database.execute(query, (known,)).fetchall()
    if not changed:
        return
    people = [person for _, person in changed]
    set_meta(database, _UP_TO, str(max(revision for revision, _ in changed)))
    if get_meta(database, "sealed"):
        return
    database.execute("DELETE FROM voiceprints WHERE person = ANY(?)", (people,))
    query = "SELECT person, fingerprint, vector, checksum FROM embeddings WHERE person = ANY(?)"
    embeddings: dict[tuple[str, int], list[tuple[int, bytes]]] = {}
    for person, fingerprint, vector, checksum in database.execute(query, (people,)):
        if zlib.crc32(vector) == checksum and len(vector) % 4 == 0:
            embeddings.setdefault((fingerprint, len(vector)), []).append((person, vector))
    for (fingerprint, size), rows in embeddings.items():
        whose = np.array([person for person, _ in rows], dtype=np.int64)
        vectors = np.frombuffer(b"".join(vector for _, vector in rows), dtype="<f4")
        vectors = vectors.reshape(len(rows), size // 4)
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        found, means = mean_directions(whose, units)
        has_direction = means.any(axis=1)
        database.executemany(
            "INSERT INTO voiceprints (person, fingerprint, voiceprint) VALUES (?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            [
                (person, fingerprint, mean)
                for person, mean in zip(
                    found[has_direction].tolist(), means[has_direction], strict=True
                )
            ],
        )
