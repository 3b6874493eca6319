"""Two sets of turns on one timeline: cut at every boundary, nothing in a piece ever changes.

So times are exact sums over pieces, and there is no grid of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mvector.diarization.turns import Turn


@dataclass(frozen=True)
class Timeline:
    """The pieces of a recording that are scored, and who speaks in each.

    Attributes:
        duration_s: float64 array of shape ``(pieces,)``, seconds.
        reference: bool array of shape ``(pieces, people)``: who speaks.
        hypothesis: bool array of shape ``(pieces, found people)``: who is said to speak.
        people: label of each column of ``reference``.
        found: label of each column of ``hypothesis``.
    """

    duration_s: np.ndarray
    reference: np.ndarray
    hypothesis: np.ndarray
    people: tuple[str, ...]
    found: tuple[str, ...]


def make_timeline(
    reference: Sequence[Turn],
    hypothesis: Sequence[Turn],
    regions: Sequence[tuple[float, float]] | None = None,
    *,
    collar_s: float = 0.0,
    skip_overlap: bool = False,
) -> Timeline:
    """Cut a recording into pieces, and keep those that are scored.

    Turns of one person that overlap count once.

    Args:
        reference: who really speaks.
        hypothesis: what is to be scored.
        regions: ``(start_s, end_s)`` that are scored; ``None`` is all of the recording.
        collar_s: seconds before and behind each start and end of a turn of the reference that are
            not scored.
        skip_overlap: do not score where several people of the reference speak.
    """
    boundaries = [_bounds(reference), _bounds(hypothesis)]
    collars = boundaries[0].reshape(-1, 1) + np.array([-collar_s, collar_s])
    scored = np.empty((0, 2)) if regions is None else np.array(regions, dtype=float).reshape(-1, 2)
    edges = np.unique(np.concatenate([each.ravel() for each in (*boundaries, collars, scored)]))
    people = tuple(sorted({turn.label for turn in reference}))
    found = tuple(sorted({turn.label for turn in hypothesis}))
    who = _activity(edges, boundaries[0], _columns(reference, people), len(people))
    is_kept = np.ones(max(len(edges) - 1, 0), dtype=bool)
    if regions is not None:
        is_kept &= _any_activity(edges, scored)
    if collar_s > 0:
        is_kept &= ~_any_activity(edges, collars)
    if skip_overlap:
        is_kept &= who.sum(axis=1) < 2
    said = _activity(edges, boundaries[1], _columns(hypothesis, found), len(found))
    return Timeline(np.diff(edges)[is_kept], who[is_kept], said[is_kept], people, found)


def _bounds(turns: Sequence[Turn]) -> np.ndarray:
    """Start and end of each turn, of shape ``(turns, 2)``."""
    return np.array([(turn.start_s, turn.end_s) for turn in turns], dtype=float).reshape(-1, 2)


def _columns(turns: Sequence[Turn], labels: Sequence[str]) -> np.ndarray:
    column_of = {label: column for column, label in enumerate(labels)}
    return np.array([column_of[turn.label] for turn in turns], dtype=np.intp)


def _any_activity(edges: np.ndarray, spans: np.ndarray) -> np.ndarray:
    return _activity(edges, spans, np.zeros(len(spans), dtype=np.intp), 1)[:, 0]


def _activity(
    edges: np.ndarray, spans: np.ndarray, columns: np.ndarray, num_columns: int
) -> np.ndarray:
    """Which pieces between edges the spans of each column cover, of shape ``(pieces, columns)``."""
    changes = np.zeros((len(edges), num_columns), dtype=np.int32)
    np.add.at(changes, (np.searchsorted(edges, spans[:, 0]), columns), 1)
    np.add.at(changes, (np.searchsorted(edges, spans[:, 1]), columns), -1)
    return changes.cumsum(axis=0)[:-1] > 0
