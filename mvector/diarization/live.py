"""Voices of speech as it comes: whose each stretch is, by numbers that stay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np

from mvector.diarization.clustering import core_of
from mvector.diarization.hearing import JOINED_S, Heard, stretch_of
from mvector.diarization.options import DiarizationOptions
from mvector.diarization.voices import LIMIT, find_voices
from mvector.errors import MissingDependencyError

#: Windows that are kept: some 6 minutes of speech.
KEPT = 480
#: Voices that are known again; of more, the one that was silent for longest is forgotten.
MOST_KNOWN = 50
# Windows of a stretch from which it may be somebody else than its cluster, or somebody new; and the
# likeness below which it is. Chosen on the recordings that the other settings were.
_TO_DOUBT, _TO_BE_NEW, _PLAUSIBLE = 2, 4, 0.55
_LEAST_USUAL = 0.05


@dataclass(frozen=True)
class Stretch:
    """Speech of one voice: begin and end in seconds, and the voice's number, from 0."""

    start_s: float
    end_s: float
    voice: int


@dataclass(frozen=True)
class _Known:
    """What a voice is compared by, also when its windows are gone."""

    core: np.ndarray
    usual: float  # cosine that a window of it has with the core


class LiveVoices:
    """Whose each piece of speech is.

    The speech of the last minutes is divided anew with each piece, as that of a recording is, so
    that early mistakes do not last. A voice of it has the number that most of its windows were told
    with, if it is at all like these; what was told is not taken back. Who was silent for longer
    than windows are kept is known again by the core of the voice.

    Args:
        embd_dim: size of the embeddings.
        options: as for a recording; ``max_speakers`` bounds the people of some minutes.

    Raises:
        MissingDependencyError: SciPy is not installed.
    """

    def __init__(self, embd_dim: int, options: DiarizationOptions | None = None) -> None:
        if find_spec("scipy") is None:
            raise MissingDependencyError("Turns need what clusters voices: pip install scipy.")
        self._options = options or DiarizationOptions()
        self._segments, self._windows = np.zeros((0, 2)), np.zeros((0, 2))
        self._units = np.zeros((0, embd_dim), np.float32)
        self._numbers = np.zeros(0, np.int64)  # of the voice that each window was told with
        self._known: dict[int, _Known] = {}  # who was heard last comes last
        self._num_voices, self._last = 0, 0

    @property
    def cores(self) -> dict[int, np.ndarray]:
        """Direction ``(embd_dim,)`` of the core of each voice that would be known again."""
        return {number: known.core for number, known in self._known.items()}

    def add(
        self, segment: tuple[float, float], windows: np.ndarray, units: np.ndarray
    ) -> list[Stretch]:
        """Whose a piece of speech is.

        Args:
            segment: its begin and end in seconds, not before the end of the last one.
            windows: ``(N, 2)`` seconds of its windows, in order.
            units: ``(N, embd_dim)`` of length 1; without any, the piece is nobody's.

        Returns:
            Stretches that cover the piece, in order.
        """
        if not len(units):
            return []
        self._keep(segment, windows, units)
        heard = Heard(segment[1], self._segments, self._windows, self._units)
        voices = find_voices(heard, self._bounded())
        stretch = stretch_of(voices.places, self._windows)
        labels = voices.voices[stretch]
        numbers = self._voted(labels, len(voices.cores))
        is_new = self._numbers < 0
        found: list[Stretch] = []
        for place, (start, end) in enumerate(voices.places.tolist()):
            if end <= segment[0]:
                continue
            own, voice = is_new & (stretch == place), voices.voices[place]
            if own.any():
                numbers[voice] = self._number_of(self._units[own], int(numbers[voice]))
            elif numbers[voice] < 0:
                numbers[voice] = self._last
            self._last = int(numbers[voice])
            self._numbers[own] = self._last
            found.append(Stretch(max(start, segment[0]), end, self._last))
        self._numbers[self._numbers < 0] = found[0].voice  # windows that begin before the piece
        self._remember()
        return found

    def _keep(self, segment: tuple[float, float], windows: np.ndarray, units: np.ndarray) -> None:
        """The piece beside those before, of which the oldest go."""
        self._windows = np.concatenate([self._windows, windows])[-KEPT:]
        self._units = np.concatenate([self._units, units])[-KEPT:]
        self._numbers = np.concatenate([self._numbers, np.full(len(units), -1)])[-KEPT:]
        segments = self._segments
        if len(segments) and segment[0] - segments[-1, 1] <= JOINED_S:
            segments[-1, 1] = segment[1]
        else:
            segments = np.concatenate([segments, [segment]])
        self._segments = segments[segments[:, 1] > self._windows[0].mean()]

    def _bounded(self) -> DiarizationOptions:
        """What is known of the number of people, as far as there is speech for it yet."""
        least, most = self._options.bounds
        least = min(least, len(self._units))
        return replace(self._options, num_speakers=None, min_speakers=least, max_speakers=most)

    def _voted(self, labels: np.ndarray, num_voices: int) -> np.ndarray:
        """The number that most windows of each voice ``(voices,)`` were told with; -1: none has."""
        from scipy.optimize import linear_sum_assignment

        numbers = np.full(num_voices, -1)
        told = self._numbers >= 0
        votes = np.zeros((num_voices, self._num_voices), np.int64)
        np.add.at(votes, (labels[told], self._numbers[told]), 1)
        rows, columns = linear_sum_assignment(votes, maximize=True)
        agreed = votes[rows, columns] > 0
        numbers[rows[agreed]] = columns[agreed]
        return numbers

    def _number_of(self, units: np.ndarray, voted: int) -> int:
        """The number of a stretch of windows ``(n, embd_dim)``, or the next one.

        Clusters of few windows may be of two people. So the stretch itself has to be a little like
        what was told with the number that is proposed; else it is who it is most like, or new.
        """
        alike = self._likeness(units)
        is_plausible = len(units) < _TO_DOUBT or alike.get(voted, 0.0) >= _PLAUSIBLE
        if voted in alike and is_plausible:
            return voted
        best = max(alike, key=lambda number: alike[number], default=-1)
        is_too_short = voted in alike and len(units) < _TO_BE_NEW
        are_all_known = self._num_voices == self._options.num_speakers
        if best >= 0 and (alike[best] >= LIMIT or is_too_short or are_all_known):
            return best
        self._num_voices += 1
        return self._num_voices - 1

    def _likeness(self, units: np.ndarray) -> dict[int, float]:
        """How alike windows are to each known voice, as a share of what its own windows are."""
        mean = units.mean(axis=0) / np.linalg.norm(units.mean(axis=0))
        spread = {k: (1.0 - known.usual**2) / len(units) for k, known in self._known.items()}
        return {
            k: float(mean @ known.core) * float(np.sqrt(known.usual**2 + spread[k])) / known.usual
            for k, known in self._known.items()
        }

    def _remember(self) -> None:
        """The cores of the voices that windows are kept of; who was heard last comes last."""
        present, last = np.unique(self._numbers[::-1], return_index=True)
        for number in present[np.argsort(-last)].tolist():
            own = self._units[self._numbers == number]
            core = core_of(own)
            usual = max(float(np.median(own @ core)), _LEAST_USUAL)
            self._known.pop(number, None)
            self._known[number] = _Known(core, usual)
        for number in [*self._known][:-MOST_KNOWN]:
            del self._known[number]
