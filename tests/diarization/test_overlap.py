"""Where several people speak at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mvector.audio import read_audio
from mvector.diarization import overlap
from mvector.diarization.overlap import overlap_probabilities, overlaps_in
from mvector.shipped import shipped_folder

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def talkers() -> list[np.ndarray]:
    """A minute of each of two people, as loud as each other."""
    folders = sorted(path for path in shipped_folder("samples").iterdir() if path.is_dir())[:2]
    sounds = []
    for folder in folders:
        clips = [read_audio(path, 16000) for path in sorted(folder.glob("*.flac"))]
        sound = np.resize(np.concatenate(clips), 20 * 16000)
        sounds.append((0.05 * sound / sound.std()).astype(np.float32))
    return sounds


def share_of(stretches: np.ndarray, begin_s: float, end_s: float) -> float:
    """Of a part of a recording, how much lies in some stretches."""
    inside = np.clip(stretches / 16000, begin_s, end_s)
    return float(np.diff(inside).sum()) / (end_s - begin_s)


def test_two_at_once_are_heard_and_one_after_the_other_are_not(talkers: list[np.ndarray]) -> None:
    one, other = talkers
    sound = np.concatenate([one, one + other, other])
    found = overlaps_in(sound, 16000)
    assert share_of(found, 20, 40) > 0.6
    assert share_of(found, 0, 20) < 0.1
    assert share_of(found, 40, 60) < 0.1


def test_of_a_recording_at_another_rate_places_are_samples_of_that(
    talkers: list[np.ndarray],
) -> None:
    import soxr

    sound = np.concatenate([talkers[0], talkers[0] + talkers[1], talkers[1]])
    slow = overlaps_in(soxr.resample(sound, 16000, 8000), 8000)
    assert share_of(slow * 2, 20, 40) > 0.4
    assert share_of(slow * 2, 0, 20) < 0.1


def test_a_long_sound_is_heard_in_parts_that_meet(talkers: list[np.ndarray]) -> None:
    sound = talkers[0] + talkers[1]
    found = overlap_probabilities(sound, 16000)
    assert found.shape == (1000, 3)
    assert found.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    # 10 s from the middle by themselves: the same but for what is near their ends
    start = 400
    peak = np.abs(sound).max()
    part = sound[start * 320 : (start + 500) * 320 + 240] * np.float32(0.7 / peak)
    (alone,) = overlap._session(0).run(None, {"waveform": part[None]})
    assert found[450:800] == pytest.approx(alone[0, 50:400], abs=1e-5)


@pytest.mark.parametrize("num_samples", [0, 1, 319, 320, 400, 1000, 159_999, 160_001, 320_000])
def test_silence_of_any_length_has_no_overlap(num_samples: int) -> None:
    assert overlap_probabilities(np.zeros(num_samples, np.float32), 16000).shape == (
        num_samples // 320,
        3,
    )
    assert not len(overlaps_in(np.zeros(num_samples, np.float32), 16000))


def test_any_length_of_sound_is_heard(talkers: list[np.ndarray]) -> None:
    for num_samples in (320, 700, 32_000, 144_001, 160_000, 160_400, 288_320, 320_000):
        found = overlap_probabilities(talkers[0][:num_samples], 16000)
        assert found.shape == (num_samples // 320, 3)
        assert np.isfinite(found).all()


def test_gaps_are_bridged_and_moments_dropped() -> None:
    runs = [(50, 0.1), (15, 0.9), (3, 0.1), (15, 0.9), (30, 0.1), (5, 0.9), (20, 0.1)]
    probability = np.array([*itertools.chain(*([value] * count for count, value in runs))])
    assert overlap._stretches(probability).tolist() == [[50, 83]]
