"""Speech of one person that the network which finds speech takes for none."""

from __future__ import annotations

import numpy as np
import pytest
from small_encoder import small_encoder
from small_model import RATE, speech

from mvector.diarization import hearing
from mvector.diarization.hearing import hear
from mvector.diarization.one_voice import in_voice, loud_stretches

PAUSE = np.zeros(RATE // 2, np.float32)


def test_what_is_loud_and_was_not_found_is_told_but_for_breaths_and_noise() -> None:
    random = np.random.default_rng(0)
    block = 1e-4 * random.standard_normal(10 * RATE).astype(np.float32)
    for start_s, stop_s in ((1.0, 2.0), (2.2, 3.0), (5.0, 5.2), (6.0, 8.0)):
        place = slice(int(start_s * RATE), int(stop_s * RATE))
        block[place] += 0.1 * random.standard_normal(place.stop - place.start).astype(np.float32)
    found = np.array([[6.5, 7.0]]) * RATE
    stretches = loud_stretches(block, RATE, found.astype(int)) / RATE
    assert stretches == pytest.approx(np.array([[1.0, 3.0], [6.0, 6.5], [7.0, 8.0]]), abs=0.05)


@pytest.mark.parametrize("block", [np.zeros(RATE, np.float32), np.zeros(3, np.float32)])
def test_in_silence_nothing_is_loud(block: np.ndarray) -> None:
    assert loud_stretches(block, RATE, np.zeros((0, 2), int)).shape == (0, 2)


def test_windows_are_taken_by_their_likeness_to_those_that_are_sure() -> None:
    person, other = np.eye(64)[:2]
    windows = np.stack([person] * 6 + [other, 0.8 * person + 0.6 * other, 0.3 * person + other])
    units = windows / np.linalg.norm(windows, axis=1, keepdims=True)
    sure = np.arange(9) < 6
    assert in_voice(units, sure).tolist() == [True] * 6 + [False, True, False]


def test_a_voice_that_too_little_is_known_of_takes_no_window() -> None:
    units = np.tile(np.eye(64)[0], (8, 1))
    sure = np.arange(8) < 3
    assert in_voice(units, sure).tolist() == sure.tolist()


def stuck(waveform: np.ndarray, rate: int, method: str) -> list[tuple[int, int]]:
    """A network that takes what comes after the first two utterances for no speech."""
    return [(0, 3 * rate), (int(3.5 * rate), int(6.5 * rate))]


@pytest.mark.parametrize(("one_voice", "ends_s"), [(False, [3.0, 6.5]), (True, [3.0, 6.5, 10.0])])
def test_words_that_the_network_misses_are_heard_where_one_person_speaks(
    one_voice: bool, ends_s: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "speech_segments", stuck)
    utterances = [np.r_[speech(0, 3.0, seed=seed), PAUSE] for seed in range(3)]
    heard = hear(
        small_encoder(),
        (np.concatenate(utterances), RATE),
        window_s=1.5,
        hop_s=0.75,
        vad_method="silero",
        one_voice=one_voice,
    )
    assert heard.segments[:, 1] == pytest.approx(ends_s, abs=0.1)
    middles = heard.windows.mean(axis=1)
    assert (np.diff(middles) > 0).all()
    assert len(heard.units) == len(middles) == 3 * len(ends_s)


def test_more_is_found_at_another_level(monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf_to_the_soft(waveform: np.ndarray, rate: int, method: str) -> list[tuple[int, int]]:
        return [(0, 3 * rate)] if np.sqrt(np.mean(waveform**2)) > 0.5 else []

    monkeypatch.setattr(hearing, "speech_segments", deaf_to_the_soft)
    clip = (np.r_[speech(0, 3.0), PAUSE], RATE)
    given = {"window_s": 1.5, "hop_s": 0.75, "vad_method": "silero"}
    assert len(hear(small_encoder(), clip, **given).segments) == 0
    assert hear(small_encoder(), clip, one_voice=True, **given).segments.tolist() == [[0.0, 3.0]]
