"""Voices of speech as it comes: whose each stretch is, by numbers that stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np

from mvector.diarization.clustering import core_of
from mvector.diarization.hearing import JOINED_S, Heard, stretch_of
from mvector.diarization.options import DiarizationOptions
from mvector.diarization.voices import SOME_WINDOWS, find_voices
from mvector.errors import MissingDependencyError

#: Windows that are kept: some 6 minutes of speech.
KEPT = 480
#: Voices that are known again; of more, the one that was silent for longest is forgotten.
MOST_KNOWN = 50
# How like a voice a stretch has to be, of few windows and of so many that it may be somebody new;
# and by how much more like another one it is the other's, a single window and several. Chosen on
# the recordings that the other settings were.
_MANY, _LIKE, _MANY_LIKE = 6, 0.55, 0.65
_MUCH_LIKER, _LIKER = 0.3, 0.15
_UNEXPLAINED = 0.5  # as naming has it; a stretch is judged alone here
_LEAST_USUAL = 0.45


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
    num_windows: int
    usual: float  # cosine that a window has with the voice, of which the core is an estimate

    @classmethod
    def of(cls, units: np.ndarray) -> _Known:
        """Of its windows ``(n, embd_dim)``."""
        core, number = core_of(units), len(units)
        # each window is a part of the core, and the more like it the fewer there are
        square = (number * float(np.median(units @ core)) ** 2 - 1.0) / max(number - 1, 1)
        return cls(core, number, float(np.sqrt(max(square, _LEAST_USUAL**2))))

    def cosine_of(self, number: int) -> float:
        """Cosine that the mean of so many windows has with the voice."""
        return self.usual / float(np.sqrt(self.usual**2 + (1.0 - self.usual**2) / number))

    @property
    def own_cosine(self) -> float:
        """Cosine that the core has with the voice."""
        return self.cosine_of(self.num_windows)


@dataclass(frozen=True)
class _Named:
    """Who a voice is named as."""

    number: int
    voiceprint: np.ndarray
    usual: float  # cosine that its windows have with the voiceprint

    def explains(self, units: np.ndarray) -> bool:
        """Whether windows ``(n, embd_dim)`` may be of this person."""
        is_unlike = float((units @ self.voiceprint).mean()) < _UNEXPLAINED * self.usual
        return len(units) < SOME_WINDOWS or not is_unlike


class LiveVoices:
    """Whose each piece of speech is.

    The speech of the last minutes is divided anew with each piece, as that of a recording is, so
    that early mistakes do not last. A voice of it has the number that most of its windows were told
    with, but for stretches that are not like these; what was told is not taken back. Who was silent
    for longer than windows are kept is known again by the core of the voice.

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
        self,
        segment: tuple[float, float],
        windows: np.ndarray,
        units: np.ndarray,
        voiceprints: Mapping[int, np.ndarray] | None = None,
    ) -> list[Stretch]:
        """Whose a piece of speech is.

        Args:
            segment: its begin and end in seconds, not before the end of the last one.
            windows: ``(N, 2)`` seconds of its windows, in order.
            units: ``(N, embd_dim)`` of length 1; without any, the piece is nobody's.
            voiceprints: direction ``(embd_dim,)`` of who a voice is named as, by its number.
                Stretches that the person does not explain are of another voice.

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
        people = self._as_named(voiceprints or {})
        is_new = self._numbers < 0
        found: list[Stretch] = []
        for place, (start, end) in enumerate(voices.places.tolist()):
            if end <= segment[0]:
                continue
            own, voice = is_new & (stretch == place), voices.voices[place]
            if own.any():
                numbers[voice] = self._number_of(self._units[own], int(numbers[voice]), people)
            elif numbers[voice] < 0:
                numbers[voice] = self._last
            self._last = int(numbers[voice])
            self._numbers[own] = self._last
            found.append(Stretch(max(start, segment[0]), end, self._last))
        self._numbers[self._numbers < 0] = found[0].voice  # windows that begin before the piece
        self._remember(numbers[labels])
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

    def _as_named(self, voiceprints: Mapping[int, np.ndarray]) -> list[_Named]:
        """What windows of each named voice have in common with the person."""
        told = {number: self._units[self._numbers == number] for number in voiceprints}
        return [
            _Named(number, voiceprints[number], float(np.median(own @ voiceprints[number])))
            for number, own in told.items()
            if len(own)
        ]

    def _number_of(self, units: np.ndarray, voted: int, people: Sequence[_Named]) -> int:
        """The number of a stretch of windows ``(n, embd_dim)``, or the next one.

        Clusters of few windows may be of two people. So the stretch itself has to be like what was
        told with the number that is proposed, and like the person it is named as; else it is who it
        is most like, or new.
        """
        unlike = {each.number for each in people if not each.explains(units)}
        alike = {k: value for k, value in self._likeness(units).items() if k not in unlike}
        best = max(alike, key=lambda number: alike[number], default=-1)
        limit = _MANY_LIKE if len(units) >= _MANY else _LIKE
        if voted in alike:
            is_single = len(units) < SOME_WINDOWS
            fits = alike[voted] >= alike[best] - (_MUCH_LIKER if is_single else _LIKER)
            if fits and (is_single or alike[voted] >= limit):
                return voted
        is_too_short = voted in alike and len(units) < _MANY
        are_all_known = self._num_voices == self._options.num_speakers
        if best >= 0 and (alike[best] >= limit or is_too_short or are_all_known):
            return best
        self._num_voices += 1
        return self._num_voices - 1

    def _likeness(self, units: np.ndarray) -> dict[int, float]:
        """How alike windows are to each known voice, as a share of what its own windows are."""
        mean = units.mean(axis=0) / np.linalg.norm(units.mean(axis=0))
        return {
            number: float(mean @ known.core) / (known.cosine_of(len(units)) * known.own_cosine)
            for number, known in self._known.items()
        }

    def _remember(self, agreed: np.ndarray) -> None:
        """The cores of the voices that windows are kept of; who was heard last comes last.

        The windows ``(N,)`` that are divided now as they were told make a core, if there are some.
        """
        present, last = np.unique(self._numbers[::-1], return_index=True)
        for number in present[np.argsort(-last)].tolist():
            told = self._numbers == number
            both = told & (agreed == number)
            own = self._units[both if both.sum() >= _MANY else told]
            self._known.pop(number, None)
            self._known[number] = _Known.of(own)
        for number in [*self._known][:-MOST_KNOWN]:
            del self._known[number]
