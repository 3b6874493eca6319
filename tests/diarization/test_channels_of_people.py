"""Whether a recording of two channels has one person on each."""

from __future__ import annotations

import numpy as np
import pytest

from mvector.audio import AudioLimits
from mvector.demo.voices import random_voice, synthesise
from mvector.diarization.channels import channels_of_people

RATE = 8000


def voice(number: int) -> np.ndarray:
    """Half a minute of somebody."""
    sentence = synthesise(random_voice(number), 5.0, RATE, seed=number, noise_db=-60.0)
    return np.tile(sentence, 6).astype(np.float32)


@pytest.fixture(scope="module")
def one() -> np.ndarray:
    return voice(0)


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    return voice(1)


def channels(*halves: tuple[np.ndarray, np.ndarray]) -> tuple[int, int] | None:
    """The answer for half minutes of left and right."""
    samples = np.concatenate([np.stack(sides, axis=1) for sides in halves])
    return channels_of_people((samples, RATE), AudioLimits())


def test_who_is_silent_for_half_a_minute_has_a_channel_all_the_same(
    one: np.ndarray, other: np.ndarray
) -> None:
    hiss = 1e-5 * np.random.default_rng(0).normal(size=len(one)).astype(np.float32)
    assert channels((one, hiss), (one[::-1], hiss), (one, other)) == (0, 1)
    assert channels((one, hiss), (hiss, other)) == (0, 1)  # one listens while the other speaks


def test_one_voice_in_two_microphones_is_no_call(one: np.ndarray, other: np.ndarray) -> None:
    assert channels((one, 0.5 * one), (other, 0.5 * other)) is None
    assert channels((one + other, one + other)) is None


def test_an_empty_channel_holds_nobody(one: np.ndarray) -> None:
    nothing = np.zeros_like(one)
    assert channels((one, nothing), (nothing, nothing), (one, nothing)) is None
    assert channels_of_people((one, RATE), AudioLimits()) is None
