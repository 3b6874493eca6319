"""Nearest voiceprints: one matrix product, and beyond 200,000 people codes that narrow it down.

The matrix product reads every number, 768 bytes a person at 192 dimensions; memory bandwidth is its
limit. The codes (faiss, product quantisation with 4 bits for two dimensions) take a sixteenth of
that. All of them are read, which needs no assumption on how voices cluster, and the best candidates
are scored exactly. Inverted lists read less and miss more, for voiceprints are spread over all
directions: ``benchmarks/RESULTS.md`` has figures.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from mvector.errors import LibraryError
from mvector.speakers.derived import read_derived, write_derived
from mvector.speakers.store import Store
from mvector.speakers.voiceprints import Voiceprints

logger = logging.getLogger(__name__)

EXACT_PEOPLE = 200_000  # up to here all are compared exactly
_CANDIDATES = 2000
_TRAINING_ROWS = 100_000
_MAX_STALE_SHARE = 0.2  # share of codes added since the index was made, at which it is made anew
_BLOCK = 1024


class Search:
    """The most similar voiceprints; ``is_kept``: the codes may be written to a file."""

    def __init__(
        self, voiceprints: Voiceprints, store: Store, fingerprint: str, *, is_kept: bool
    ) -> None:
        self._voiceprints, self._store = voiceprints, store
        self._fingerprint, self._is_kept = fingerprint, is_kept
        self._index: Any = None  # of faiss; -1 is the answer where it has nothing
        self._people = np.zeros(0, dtype=np.int64)  # of each code
        self._revision, self._num_added = -1, 0
        self._is_possible = True

    def nearest(
        self, query: np.ndarray, top_k: int, people: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Numbers ``(found,)`` of the most similar people and their cosines, best first.

        ``query`` is a unit vector ``(dimensions,)``; only ``people`` ``(people,)`` are compared.
        """
        prints = self._voiceprints
        if people is not None:
            rows = prints.rows_of(people)
        elif len(prints) > EXACT_PEOPLE and 4 * top_k <= _CANDIDATES and self._update_index():
            candidates = self._index.search(query[None], _CANDIDATES)[1][0]
            rows = prints.rows_of(np.unique(self._people[candidates[candidates >= 0]]))
        else:
            rows = None
        return self._search_exactly(query, top_k, rows)

    def _search_exactly(
        self, query: np.ndarray, top_k: int, rows: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Exactly, among some rows or all."""
        prints = self._voiceprints
        if rows is None or 4 * len(rows) > len(prints.matrix):  # copying rows costs, too
            scores = prints.matrix @ query
            scores = scores if rows is None else scores[rows]
        else:
            scores = prints.matrix[rows] @ query
        is_removed = prints.is_removed if rows is None else prints.is_removed[rows]
        scores[is_removed] = -np.inf
        best = top_indices(scores, top_k)
        best = best[~is_removed[best]]
        return prints.people[best if rows is None else rows[best]], scores[best]

    # ---- the codes --------------------------------------------------------------------------

    def _update_index(self) -> bool:
        """Bring the codes up to date; False where there can be none."""
        prints = self._voiceprints
        if not self._is_possible:
            return False
        if self._index is None and not self._load_index():
            self._is_possible = self._build_index()
            return self._is_possible
        if self._revision != prints.revision:
            people = prints.changed_since(self._revision)
            rows = prints.rows_of(people)
            if self._num_added + len(rows) > _MAX_STALE_SHARE * len(self._people):
                return self._build_index()
            # what was coded before stays beside it, and leads to the same row
            self._index.add(np.ascontiguousarray(prints.matrix[rows]))
            self._people = np.concatenate([self._people, prints.people[rows]])
            self._num_added += len(rows)
            self._revision = prints.revision
        return True

    def _build_index(self) -> bool:
        prints = self._voiceprints
        dim = prints.matrix.shape[1]
        try:
            import faiss
        except ImportError:
            advice = "%d people are compared one by one; faster with faiss (pip install faiss-cpu)."
            logger.info(advice, len(prints))
            return False
        if dim % 2:
            return False
        logger.info("Indexing %d voiceprints …", len(prints))
        alive = np.flatnonzero(~prints.is_removed)
        chosen = np.random.default_rng(0).choice(alive, min(len(alive), _TRAINING_ROWS), False)
        index = faiss.IndexPQFastScan(dim, dim // 2, 4, faiss.METRIC_INNER_PRODUCT)
        index.train(prints.matrix[np.sort(chosen)])
        for start in range(0, len(alive), _TRAINING_ROWS):
            index.add(prints.matrix[alive[start : start + _TRAINING_ROWS]])
        self._index, self._people, self._num_added = index, prints.people[alive], 0
        self._revision = prints.revision
        if self._is_kept:
            self._save_index(faiss.serialize_index(index))
        return True

    def _save_index(self, codes: np.ndarray) -> None:
        try:
            write_derived(
                self._store, "index", self._fingerprint, self._revision, self._people, codes
            )
        except LibraryError as error:
            logger.warning("The index is not kept: %s", error)

    def _load_index(self) -> bool:
        if not self._is_kept:
            return False
        with self._store.snapshot() as database:
            found = read_derived(self._store, database, "index", self._fingerprint)
        if found is None:
            return False
        try:
            import faiss

            index = faiss.deserialize_index(found[2])
        except (ImportError, RuntimeError):
            return False
        self._revision, self._people, _ = found
        if index.ntotal != len(self._people) or index.d != self._voiceprints.matrix.shape[1]:
            return False
        self._index, self._num_added = index, 0
        return self._update_index()


def top_indices(scores: np.ndarray, count: int) -> np.ndarray:
    """Places of the largest values, largest first; equal ones in the order of their places."""
    places = np.arange(len(scores))
    if len(scores) > 4 * _BLOCK and count <= 64:
        # the largest values lie in the blocks with the largest maxima
        maxima = np.maximum.reduceat(scores, np.arange(0, len(scores), _BLOCK))
        blocks = np.sort(np.argsort(-maxima, kind="stable")[:count])
        places = (blocks[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()
        places = places[places < len(scores)]
    return places[np.argsort(-scores[places], kind="stable")[:count]]
