"""Who else speaks where two people do: of each moment, one is known by the boundaries of voices."""

from __future__ import annotations

import numpy as np

from mvector.diarization.hearing import Heard
from mvector.diarization.resegmentation import Stretches
from mvector.diarization.voices import Voices

# Who speaks soon before or after is as likely as one whose cosine is by so much higher (that
# nearest in time: Otterson and Ostendorf, "Efficient use of overlap information in speaker
# diarization", ASRU 2007). Chosen on simulated conversations, as the limits of voices are.
_NEARNESS, _SOON_S = 0.4, 2.0
_AROUND_S = 1.0  # windows that tell of a moment
_LEAST_S = 0.1


def second_voices(heard: Heard, voices: Voices) -> Stretches:
    """Stretches in which a voice speaks beside the one that is known, in order.

    Args:
        heard: the recording, with where several people speak at once.
        voices: what it was divided into.
    """
    starts, ends = voices.places.T
    middles = heard.windows.mean(axis=1)
    places: list[tuple[float, float]] = []
    numbers: list[int] = []
    is_alone = len(voices.cores) < 2
    for start, end in [] if is_alone else heard.overlaps.tolist():
        first, last = np.searchsorted(ends, start, side="right"), np.searchsorted(starts, end)
        for stretch in range(int(first), int(last)):
            begin_s, end_s = max(start, starts[stretch]), min(end, ends[stretch])
            if end_s - begin_s < _LEAST_S:
                continue
            around = slice(*np.searchsorted(middles, [begin_s - _AROUND_S, end_s + _AROUND_S]))
            alike = heard.units[around].mean(axis=0) @ voices.cores.T if middles[around].size else 0
            away_s = _seconds_away(voices, begin_s, end_s)
            likely = alike + _NEARNESS * np.exp(-away_s / _SOON_S)
            likely[voices.voices[stretch]] = -np.inf
            places.append((begin_s, end_s))
            numbers.append(int(likely.argmax()))
    return np.array(places).reshape(-1, 2), np.array(numbers, np.int64)


def _seconds_away(voices: Voices, begin_s: float, end_s: float) -> np.ndarray:
    """How far from a stretch each voice is heard next, ``(voices,)``."""
    away = np.maximum(np.maximum(voices.places[:, 0] - end_s, begin_s - voices.places[:, 1]), 0.0)
    nearest = np.full(len(voices.cores), np.inf)
    np.minimum.at(nearest, voices.voices, away)
    return nearest
