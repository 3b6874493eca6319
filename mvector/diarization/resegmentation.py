"""Boundaries between voices: the most likely path through short frames of each segment.

The windows that embeddings are made of are long, and overlap. A frame is judged by all windows that
it lies in, the more the nearer it lies to the middle of one; a change of voice costs something, so
that one odd window changes nothing.
"""

from __future__ import annotations

import numpy as np

from mvector.diarization.clustering import centres_of, in_order
from mvector.diarization.hearing import Heard, stretch_of

FRAME_S = 0.25
_SHARPNESS, _CHANGE_COST = 10.0, 3.0  # of cosines, and of a change of voice in the same unit
_ROUNDS = 2  # the second one with the centres of the first

#: Stretches of one voice: begin and end in seconds, and the voice; ``(stretches, 2)``, ``(S,)``.
Stretches = tuple[np.ndarray, np.ndarray]


def find_boundaries(heard: Heard, labels: np.ndarray) -> tuple[Stretches, np.ndarray]:
    """Which voice is heard from when to when.

    Args:
        heard: the recording.
        labels: ``(N,)`` voice of each window.

    Returns:
        Stretches of one voice, in order, which cover all segments that have a window; and the voice
        of each window, anew.
    """
    segment_of = stretch_of(heard.segments, heard.windows)
    starts = np.searchsorted(segment_of, np.arange(len(heard.segments)), side="left")
    ends = np.searchsorted(segment_of, np.arange(len(heard.segments)), side="right")
    places: list[tuple[float, float]] = []
    numbers = np.zeros(0, np.int64)
    for _ in range(_ROUNDS):
        scores = heard.units @ centres_of(heard.units, labels).T
        voices: list[int] = []
        places, labels = [], labels.copy()
        for segment, first, last in zip(heard.segments, starts, ends, strict=True):
            if first == last:
                continue
            own = slice(first, last)
            edges, path = _path_of(segment, heard.windows[own], scores[own])
            changes = np.r_[0, np.flatnonzero(np.diff(path)) + 1, len(path)]
            places += zip(edges[changes[:-1]], edges[changes[1:]], strict=True)
            voices += path[changes[:-1]].tolist()
            middles = heard.windows[own].mean(axis=1)
            frames = np.searchsorted(edges, middles, side="right") - 1
            labels[own] = path[np.clip(frames, 0, len(path) - 1)]
        labels, numbers = _renumbered(labels, np.array(voices, np.int64))
    return (np.array(places).reshape(-1, 2), numbers), labels


def _path_of(
    segment: np.ndarray, windows: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the frames of a segment ``(frames + 1,)``, and the voice of each ``(frames,)``."""
    number = max(1, round(float(segment[1] - segment[0]) / FRAME_S))
    edges = np.linspace(segment[0], segment[1], number + 1)
    middles = (edges[1:] + edges[:-1]) / 2.0
    half = np.maximum((windows[:, 1] - windows[:, 0]) / 2.0, FRAME_S)
    distance = np.abs(middles[:, None] - windows.mean(axis=1))
    weights = np.maximum(1.0 - distance / half, 0.0)
    is_outside = ~weights.any(axis=1)
    weights[is_outside, distance[is_outside].argmin(axis=1)] = 1.0
    weights /= weights.sum(axis=1, keepdims=True)
    return edges, _viterbi(_SHARPNESS * (weights @ scores))


def _viterbi(scores: np.ndarray) -> np.ndarray:
    """The best path through ``(frames, voices)``, where each change costs the same."""
    best = scores[0].copy()
    came_from = np.tile(np.arange(scores.shape[1]), (len(scores), 1))
    for frame in range(1, len(scores)):
        leader = int(best.argmax())
        changed = best[leader] - _CHANGE_COST
        came_from[frame, best < changed] = leader
        best = np.maximum(best, changed) + scores[frame]
    path = np.empty(len(scores), np.int64)
    path[-1] = best.argmax()
    for frame in range(len(scores) - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path


def _renumbered(labels: np.ndarray, voices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with the voices that a window is left of, from 0 in their order.

    A stretch between the middles of two windows may be of a voice that has no window any more; it
    goes to the nearest stretch that has.
    """
    has_window = np.isin(voices, labels)
    kept, lost = np.flatnonzero(has_window), np.flatnonzero(~has_window)
    nearest = kept[np.abs(lost[:, None] - kept).argmin(axis=1)]
    voices[lost] = voices[nearest]
    order = in_order(labels)
    number_of = dict(zip(labels.tolist(), order.tolist(), strict=True))
    return order, np.array([number_of[voice] for voice in voices.tolist()], np.int64)
