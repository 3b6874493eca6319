"""What leaks from one channel of a call into the other one."""

from __future__ import annotations

import numpy as np
import pytest

from mvector.audio import AudioLimits
from mvector.demo.voices import random_voice, synthesise
from mvector.diarization.crosstalk import Echo, find_echoes

RATE = 8000
LEFT_SPEAKS = np.repeat([1.0, 0.0, 1.0, 0.0], np.array([12, 12, 6, 6]) * RATE)
RIGHT_SPEAKS = np.repeat([0.0, 1.0], np.array([12, 24]) * RATE)


def voice(number: int) -> np.ndarray:
    """What somebody says in 36 s."""
    sentence = synthesise(random_voice(number), 12.0, RATE, seed=number, noise_db=-70.0)
    return np.tile(sentence, 3).astype(np.float32)


@pytest.fixture(scope="module")
def left() -> np.ndarray:
    return voice(0) * LEFT_SPEAKS


@pytest.fixture(scope="module")
def right() -> np.ndarray:
    return voice(1) * RIGHT_SPEAKS


def echo_of(samples: np.ndarray, level_db: float, delay_s: float) -> np.ndarray:
    """What a handset makes of a voice: later, quieter and duller."""
    late = np.r_[np.zeros(round(delay_s * RATE)), samples][: len(samples)]
    dull = np.convolve(late, np.hanning(6) / np.hanning(6).sum(), "same")
    return 10.0 ** (level_db / 20.0) * dull


def echoes(
    left: np.ndarray, right: np.ndarray, noise_db: float = -60.0
) -> tuple[Echo | None, Echo | None]:
    noise = 10.0 ** (noise_db / 20.0) * np.random.default_rng(0).normal(size=(len(left), 2))
    return find_echoes((np.stack([left, right], axis=1) + noise, RATE), (0, 1), AudioLimits())


def share(places_s: np.ndarray, samples: np.ndarray) -> float:
    """Of the energy of a sound, how much lies in some places."""
    energy = sum((samples[round(a * RATE) : round(b * RATE)] ** 2).sum() for a, b in places_s)
    return float(energy / (samples**2).sum())


@pytest.mark.parametrize(
    ("level_db", "delay_s"), [(-12, 0.0), (-20, 0.0), (-20, 0.02), (-20, 0.15), (-30, 0.0)]
)
def test_an_echo_is_told_from_speech_also_where_both_speak(
    level_db: float, delay_s: float, left: np.ndarray, right: np.ndarray
) -> None:
    leak = echo_of(right, level_db, delay_s)
    found, other = echoes(left + leak, right)
    assert found is not None
    assert other is None
    assert share(found.places, leak * (1.0 - LEFT_SPEAKS)) > 0.95
    assert share(found.places, left) < 0.02


def test_both_channels_may_hold_the_other_one(left: np.ndarray, right: np.ndarray) -> None:
    found = echoes(left + echo_of(right, -20, 0.1), right + echo_of(left, -16, 0.1))
    for own, other, echo in ((left, right, found[0]), (right, left, found[1])):
        assert echo is not None
        assert share(echo.places, other * (own == 0.0)) > 0.9
        assert share(echo.places, own) < 0.02


@pytest.mark.parametrize("gain", [0.1, 10.0])
def test_channels_may_be_recorded_at_different_levels(
    gain: float, left: np.ndarray, right: np.ndarray
) -> None:
    leak = echo_of(right, -20, 0.0)
    found, _ = echoes(gain * (left + leak), right, noise_db=-80.0)
    assert found is not None
    assert share(found.places, leak * (1.0 - LEFT_SPEAKS)) > 0.95
    assert share(found.places, left) < 0.02


@pytest.mark.parametrize("noise_db", [-100.0, -60.0, -40.0])
def test_channels_without_an_echo_are_left_as_they_are(
    noise_db: float, left: np.ndarray, right: np.ndarray
) -> None:
    assert echoes(left, right, noise_db) == (None, None)


def test_two_people_who_speak_at_once_are_no_echo_of_each_other() -> None:
    assert echoes(voice(0), voice(1)) == (None, None)
    assert echoes(voice(0), 0.1 * voice(1)) == (None, None)


def test_an_empty_channel_or_a_moment_holds_no_echo(left: np.ndarray) -> None:
    nothing = np.zeros_like(left)
    call = np.stack([left, nothing], axis=1)
    assert find_echoes((call, RATE), (0, 1), AudioLimits()) == (None, None)
    assert find_echoes((call[:3], RATE), (0, 1), AudioLimits()) == (None, None)
