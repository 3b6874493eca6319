"""Who else speaks where two people do."""

from __future__ import annotations

import numpy as np
import pytest

from mvector.diarization.hearing import Heard
from mvector.diarization.second_voice import second_voices
from mvector.diarization.voices import Voices

PEOPLE = np.eye(3, 8)
FLOOR = np.array([[0.0, 6.0], [6.0, 12.0], [20.0, 30.0]])  # of the first, second and third voice


def heard_of(units: np.ndarray, overlaps: list[list[float]]) -> Heard:
    starts = np.arange(0.0, 29.0, 0.75)
    windows = np.stack([starts, starts + 1.5], axis=1)
    return Heard(30.0, FLOOR, windows, units[: len(windows)], overlaps=np.array(overlaps))


def voices_of(num_voices: int = 3) -> Voices:
    return Voices(FLOOR, np.arange(3) % num_voices, PEOPLE[:num_voices])


def windows_like(*mixture: float) -> np.ndarray:
    vector = np.array(mixture) @ PEOPLE
    return np.tile(vector / np.linalg.norm(vector), (40, 1))


def test_it_is_who_speaks_next_where_the_sound_tells_nothing() -> None:
    places, voices = second_voices(heard_of(windows_like(1, 1, 1), [[5.0, 6.0]]), voices_of())
    assert places == pytest.approx(np.array([[5.0, 6.0]]))
    assert voices.tolist() == [1]


def test_it_is_who_sounds_through_even_if_they_are_silent_for_long() -> None:
    _, voices = second_voices(heard_of(windows_like(1, 0, 1), [[5.0, 6.0]]), voices_of())
    assert voices.tolist() == [2]


def test_across_a_change_of_voices_each_has_the_other() -> None:
    places, voices = second_voices(heard_of(windows_like(1, 1, 0), [[5.5, 7.0]]), voices_of())
    assert places == pytest.approx(np.array([[5.5, 6.0], [6.0, 7.0]]))
    assert voices.tolist() == [1, 0]


@pytest.mark.parametrize("overlaps", [[[13.0, 19.0]], [[5.95, 6.0]]])
def test_where_nobody_is_known_to_speak_or_for_a_moment_there_is_no_second_voice(
    overlaps: list[list[float]],
) -> None:
    places, voices = second_voices(heard_of(windows_like(1, 1, 1), overlaps), voices_of())
    assert (places.shape, voices.shape) == ((0, 2), (0,))


def test_of_one_voice_there_is_no_second() -> None:
    heard = heard_of(windows_like(1, 0, 0), [[1.0, 3.0]])
    assert not len(second_voices(heard, voices_of(1))[1])
