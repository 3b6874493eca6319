"""From what was heard to stretches of single voices."""

from __future__ import annotations

import numpy as np
import pytest
from error_codes import raises_code

from mvector.diarization.hearing import Heard
from mvector.diarization.options import DiarizationOptions
from mvector.diarization.resegmentation import _renumbered
from mvector.diarization.voices import find_voices
from mvector.errors import MVectorError

OPTIONS = DiarizationOptions()


def heard_of(stretches: list[tuple[float, float, int]], segments: list[list[float]]) -> Heard:
    """What is heard where people ``(start, end, person)`` speak: a window has a share of each."""
    random = np.random.default_rng(0)
    people = random.normal(size=(3, 64))
    windows, units = [], []
    for start, stop in segments:
        for first in np.arange(start, stop - 1.5 + 1e-6, 0.75):
            share = np.zeros(3)
            for begin, end, person in stretches:
                share[person] += max(0.0, min(end, first + 1.5) - max(begin, first))
            vector = share @ people / 1.5 + 0.3 * random.normal(size=64)
            windows.append([first, first + 1.5])
            units.append(vector / np.linalg.norm(vector))
    return Heard(segments[-1][1], np.array(segments), np.array(windows), np.array(units))


def test_boundaries_are_found_within_a_quarter_of_a_second() -> None:
    changes = [0.0, 6.0, 13.1, 20.0, 26.6, 33.0, 40.0]
    people = [0, 1, 0, 2, 1, 2]
    truth = list(zip(changes, changes[1:], people, strict=False))
    found = find_voices(heard_of(truth, [[0.0, 40.0]]), OPTIONS)
    assert found.voices.tolist() == people
    assert found.places[:, 0] == pytest.approx(changes[:-1], abs=0.26)
    assert found.places[1:, 0].tolist() == found.places[:-1, 1].tolist()
    assert np.diff(found.places).sum() == pytest.approx(40.0)


def test_a_pause_belongs_to_nobody() -> None:
    truth = [(0.0, 9.0, 0), (10.0, 20.0, 1), (21.0, 30.0, 0)]
    found = find_voices(heard_of(truth, [[0.0, 9.0], [10.0, 20.0], [21.0, 30.0]]), OPTIONS)
    assert found.places.tolist() == [[0.0, 9.0], [10.0, 20.0], [21.0, 30.0]]
    assert found.voices.tolist() == [0, 1, 0]


def test_a_stretch_of_a_voice_without_windows_goes_to_its_neighbour() -> None:
    labels, voices = _renumbered(np.array([4, 4, 1]), np.array([4, 7, 1, 4]))
    assert (labels.tolist(), voices.tolist()) == ([0, 0, 1], [0, 0, 1, 0])


def test_without_speech_there_are_no_voices() -> None:
    none = np.zeros((0, 2))
    found = find_voices(Heard(5.0, none, none, np.zeros((0, 64))), OPTIONS)
    assert found.places.shape == (0, 2)
    assert found.cores.shape == (0, 64)


def test_more_people_than_windows_are_refused() -> None:
    heard = heard_of([(0.0, 3.0, 0)], [[0.0, 3.0]])
    with raises_code("audio-too-short"):
        find_voices(heard, DiarizationOptions(num_speakers=9))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_speakers": 0}, "num_speakers is 0; give a whole number"),
        ({"max_speakers": 2.5}, "max_speakers is 2.5"),
        ({"min_speakers": 4, "max_speakers": 2}, "must not be the larger"),
        ({"hop_s": 2.0}, "windows must follow each other"),
    ],
)
def test_options_that_make_no_sense_are_refused(values: dict, sentence: str) -> None:
    with pytest.raises(MVectorError, match=sentence):
        DiarizationOptions(**values)
