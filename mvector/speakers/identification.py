"""Who of the enrolled people is most alike."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mvector.audio.quality import SpeechQuality
from mvector.errors import LibraryError
from mvector.speakers import people
from mvector.speakers.clip_quality import voiceprint_qualities
from mvector.speakers.context import LibraryContext, unit_vector
from mvector.speakers.names import normalise_name
from mvector.speakers.others import OtherPeople, likeness_to
from mvector.speakers.reembedding import complete
from mvector.speakers.search import Search
from mvector.speakers.store import Database, Index
from mvector.speakers.voiceprints import Voiceprints

logger = logging.getLogger(__name__)

_Whom = Callable[[Database], "np.ndarray | None"]
_Found = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Match:
    """An enrolled person and how alike the voice is.

    Attributes:
        name: of the person.
        score: the cosine, in [-1, 1].
        quality: of the enrolled clips together; ``None`` if it is not known of all of them.
        voiceprint: unit vector ``(embd_dim,)``; ``None`` where the clips have no mean direction.
        own_likeness: how alike the voiceprint is to the other people of the library, see
            :func:`mvector.scoring.strangers.own_likeness`; ``None`` where these are too few.
        clip_own_likeness: how alike the clip is to these same people.
    """

    name: str
    score: float
    quality: SpeechQuality | None = None
    voiceprint: np.ndarray | None = field(default=None, repr=False, compare=False)
    own_likeness: float | None = None
    clip_own_likeness: float | None = None


class Identification:
    """Compares embeddings with the voiceprints, which follow the database."""

    def __init__(self, context: LibraryContext) -> None:
        self._context = context
        self._lock = threading.RLock()
        store, fingerprint, cipher = context.store, context.fingerprint, context.cipher
        self.voiceprints = Voiceprints(store, fingerprint, context.embd_dim, cipher)
        is_kept = not store.read_only and not cipher.is_enabled and store.folder is not None
        self._search = Search(self.voiceprints, store, fingerprint, is_kept=is_kept)
        self._others = OtherPeople(self.voiceprints)
        is_plain = context.model is not None and not cipher.is_enabled
        self._index = store.index(fingerprint, context.embd_dim) if is_plain else None

    def nearest(
        self, embedding: np.ndarray, top_k: int, within: Sequence[str] | None
    ) -> list[Match]:
        """As :meth:`mvector.speakers.SpeakerLibrary.identify_embedding`."""

        def members(database: Database) -> np.ndarray | None:
            return None if within is None else people.members(database, within)

        whose = "" if within is None else f" of {', '.join(map(repr, within))}"
        return self._matches(embedding, top_k, members, f"Nobody{whose}")

    def of_person(self, embedding: np.ndarray, name: str) -> Match:
        """As :meth:`mvector.speakers.SpeakerLibrary.match_embedding`."""

        def number(database: Database) -> np.ndarray:
            return np.array([people.find_person(database, name)])

        return self._matches(embedding, 1, number, f"Nobody called '{normalise_name(name)}'")[0]

    def _matches(
        self,
        embedding: np.ndarray,
        top_k: int,
        whom: _Whom,
        nobody: str,
    ) -> list[Match]:
        """The people most alike of the numbers that ``whom`` finds, or of all where it says none.

        ``nobody`` begins the sentence where none of them has a voiceprint.
        """
        query = unit_vector(embedding, self._context.encoder.embd_dim)
        if top_k < 1:
            raise LibraryError(f"top_k must be at least 1; got {top_k}.")
        index = self._index if self._index is not None and self._index.is_ready() else None
        found = None
        with self._context.store.snapshot() as database:
            self._require_people(database)
            subset = whom(database)
            if index is not None:
                found = _in_database(database, index, query, top_k, subset)
        if found is None:
            found = self._in_memory(query, top_k, subset)
        numbers, scores, vectors, likeness, clip_likeness = found
        with self._context.store.snapshot() as database:
            names = people.names_of(database, numbers.tolist())
            fingerprint = self._context.fingerprint
            columns = self._context.store.quality_columns
            quality = voiceprint_qualities(database, [*names], fingerprint, columns)
        scores = np.clip(scores, -1.0, 1.0)
        matches = [
            Match(
                names[number],
                score,
                quality.get(number),
                vectors[row] if vectors[row].any() else None,
                _if_known(likeness[row]),
                _if_known(clip_likeness[row]),
            )
            for row, (number, score) in enumerate(
                zip(numbers.tolist(), scores.tolist(), strict=True)
            )
            if number in names
        ]
        if not matches:
            raise LibraryError(
                f"{nobody} in '{self._context.name}' has a voiceprint of this model; "
                "register a clip of each person again.",
                code="library-empty",
            )
        return matches

    def _in_memory(self, query: np.ndarray, top_k: int, subset: np.ndarray | None) -> _Found:
        """Numbers, scores and voiceprints, and how alike these and the clip are to others."""
        with self._lock:
            self.refresh()
            numbers, scores = self._search.nearest(query, top_k, subset)
            vectors = self.voiceprints.matrix[self.voiceprints.rows_of(numbers)]
            likeness = self._others.likeness(vectors, numbers)
            clip_likeness = self._others.likeness(np.broadcast_to(query, vectors.shape), numbers)
        return numbers, scores, vectors, likeness, clip_likeness

    def require_people(self) -> None:
        """Refuse where there is nobody to compare with.

        Raises:
            LibraryError: nobody is enrolled, or with another model only; there is no model.
        """
        with self._context.store.snapshot() as database:
            self._require_people(database)

    def _require_people(self, database: Database) -> None:
        self._context.require_model(database)
        if database.execute("SELECT 1 FROM embeddings LIMIT 1").fetchone() is None:
            raise LibraryError(
                f"Nobody is enrolled in '{self._context.name}'; register a clip of each person "
                "first.",
                code="library-empty",
            )

    def refresh(self) -> None:
        """Catch up with the database; embeddings found to be damaged are computed again."""
        with self._lock:
            self.voiceprints.refresh()
            damaged = self.voiceprints.damaged
            if damaged and not self._context.store.read_only:
                try:
                    self._context.delete_damaged_embeddings(sorted(damaged))
                    complete(self._context)
                except LibraryError as error:  # they are left out, and the others compared
                    if error.code != "library-unwritable":
                        raise
                    logger.warning("Damaged embeddings are left out: %s", error)
                damaged.clear()
                self.voiceprints.refresh()

    def close(self) -> None:
        """Keep a large matrix as a file for the next start."""
        with self._lock:
            try:
                self.voiceprints.save()
            except LibraryError as error:
                logger.warning("The voiceprints were not cached: %s", error)


def _in_database(
    database: Database, index: Index, query: np.ndarray, top_k: int, subset: np.ndarray | None
) -> _Found:
    """As :meth:`Identification._in_memory`, of voiceprints that no process holds."""
    numbers, scores, vectors = index.nearest(database, query, top_k, subset)
    others = index.others(database)
    likeness = likeness_to(*others, vectors, numbers)
    clip_likeness = likeness_to(*others, np.broadcast_to(query, vectors.shape), numbers)
    return numbers, scores, vectors, likeness, clip_likeness


def _if_known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
