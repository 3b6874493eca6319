"""The other people of a library: strangers who were recorded as the speaker was."""

from __future__ import annotations

import numpy as np

from mvector.scoring.strangers import evenly_chosen, own_likeness
from mvector.speakers.voiceprints import Voiceprints


class OtherPeople:
    """A few hundred of the people, evenly chosen: the same for every search of a revision."""

    def __init__(self, voiceprints: Voiceprints) -> None:
        self._voiceprints = voiceprints
        self._revision = -1
        self._people: np.ndarray = np.zeros(0, dtype=np.int64)
        self._vectors: np.ndarray = np.zeros((0, 0), dtype=np.float32)

    def likeness(self, embeddings: np.ndarray, people: np.ndarray) -> np.ndarray:
        """:func:`mvector.scoring.strangers.own_likeness` to the people of the library.

        Args:
            embeddings: ``(N, dimensions)``; a row of zeros is no voice.
            people: ``(N,)``, the person that each is compared with, or is: no stranger.

        Returns:
            float64 ``(N,)``; NaN where too few others are enrolled, and for zeros.
        """
        self._choose()
        return likeness_to(self._people, self._vectors, embeddings, people)

    def _choose(self) -> None:
        prints = self._voiceprints
        if self._revision == prints.revision:
            return
        rows = np.flatnonzero(~prints.is_removed)
        rows = rows[evenly_chosen(len(rows))]
        rows = rows[prints.matrix[rows].any(axis=1)]  # opposite clips have no mean
        self._people, self._vectors = prints.people[rows], prints.matrix[rows]
        self._revision = prints.revision


def likeness_to(
    others: np.ndarray, vectors: np.ndarray, embeddings: np.ndarray, people: np.ndarray
) -> np.ndarray:
    """The same as :meth:`OtherPeople.likeness`, to ``others`` who have been chosen already."""
    means = np.full(len(embeddings), np.nan)
    rows = np.flatnonzero(embeddings.any(axis=1))
    if len(rows) and len(others):
        left_out = others == people[rows, None]
        means[rows] = own_likeness(embeddings[rows], vectors, left_out)
    return means
