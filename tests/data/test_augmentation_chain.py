"""All augmentations together: off by default, and a function of the waveform and the generator."""

from __future__ import annotations

import importlib.util
import multiprocessing
import random as python_random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mvector.config import AugmentConf
from mvector.data.augmentation.augmentor import WaveformAugmentor
from mvector.data.augmentation.speed import SPEEDS, change_speed, num_speed_classes

RATE = 16000


def noise(seed: int, num_samples: int = 3 * RATE) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=num_samples) * 0.1).astype(np.float32)


@pytest.fixture
def everything(tmp_path: Path) -> AugmentConf:
    """Every augmentation half of the time."""
    for name in ("noise", "babble", "reverb"):
        (tmp_path / name).mkdir()
        for number in range(4):
            seconds = noise(number, RATE // 2 if name == "reverb" else 5 * RATE)
            soundfile.write(tmp_path / name / f"{number}.wav", seconds, RATE)
    sections: dict[str, dict[str, object]] = {
        name: {"prob": 0.5}
        for name in AugmentConf.model_fields
        if name not in ("copies", "speed", "spec_aug")
    }
    for name in ("noise", "babble", "reverb"):
        sections[name][f"{name}_dir"] = str(tmp_path / name)
    sections["reverb"].update(simulate=True, num_rooms=3, max_rt60_s=0.3)
    sections["codec"].update(low_pass=0.3, sample_rate=0.3, gsm=0.2, mp3=0.2, opus=0.2)
    if importlib.util.find_spec("av"):
        sections["codec"].update(aac=0.2, amr=0.2, g722=0.2)
    return AugmentConf.model_validate({**sections, "speed": {"prob": 1.0}})


def augmented(config: AugmentConf, seeds: range) -> list[np.ndarray]:
    augmentor, waveform, found = WaveformAugmentor(config, RATE), noise(7), []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        speed = SPEEDS[augmentor.draw_speed(rng)]
        found.append(augmentor(change_speed(waveform, speed)[:40000], rng))
    return found


def test_everything_is_off_by_default() -> None:
    augmentor, rng = WaveformAugmentor(AugmentConf(), RATE), np.random.default_rng(0)
    waveform = noise(7)
    for _ in range(20):
        assert SPEEDS[augmentor.draw_speed(rng)] == 1.0
        assert augmentor(waveform, rng) is waveform
    assert num_speed_classes(AugmentConf().speed) == 1


def test_the_result_depends_on_the_generator_alone(everything: AugmentConf) -> None:
    seeds = range(20)
    expected = augmented(everything, seeds)
    assert len({waveform.tobytes() for waveform in expected}) > 15
    np.random.seed(1)  # global generators must have no influence
    python_random.seed(1)
    torch.manual_seed(1)
    backwards = augmented(everything, range(19, -1, -1))  # other clips came before
    for waveform, again in zip(expected, reversed(backwards), strict=True):
        np.testing.assert_array_equal(again, waveform)


def test_the_result_is_float32_finite_and_as_long_as_the_crop(everything: AugmentConf) -> None:
    for waveform in augmented(everything, range(30)):
        assert waveform.dtype == np.float32
        assert waveform.shape == (40000,)
        assert np.all(np.isfinite(waveform))


def test_the_crop_itself_is_never_written_to(everything: AugmentConf) -> None:
    augmentor, waveform = WaveformAugmentor(everything, RATE), noise(7, 40000)
    waveform.setflags(write=False)
    before = waveform.copy()
    for seed in range(20):
        augmentor(waveform, np.random.default_rng(seed))
    np.testing.assert_array_equal(waveform, before)


def test_a_forked_worker_gets_the_same_and_shares_what_it_decoded(everything: AugmentConf) -> None:
    expected = augmented(everything, range(8))
    augmentor = WaveformAugmentor(everything, RATE)
    assert augmentor._noises is not None
    pool = augmentor._noises
    receive, send = multiprocessing.Pipe(duplex=False)

    def work() -> None:
        send.send([pool.read_stretch(index, 100, 0.5) for index in range(len(pool))])

    worker = multiprocessing.get_context("fork").Process(target=work)
    worker.start()
    stretches = receive.recv()
    worker.join()
    assert worker.exitcode == 0
    for path in pool.paths:
        Path(path).unlink()  # the parent needs no file any more
    for index, stretch in enumerate(stretches):
        np.testing.assert_array_equal(pool.read_stretch(index, 100, 0.5), stretch)
    for seed, waveform in enumerate(expected):
        rng = np.random.default_rng(seed)
        speed = SPEEDS[augmentor.draw_speed(rng)]
        found = augmentor(change_speed(noise(7), speed)[:40000], rng)
        np.testing.assert_array_equal(found, waveform)


@pytest.mark.parametrize(
    "name", [n for n in AugmentConf.model_fields if n not in ("copies", "spec_aug")]
)
def test_each_augmentation_happens_as_often_as_its_probability_says(
    name: str, everything: AugmentConf
) -> None:
    section = getattr(everything, name).model_copy(update={"prob": 0.5})
    augmentor = WaveformAugmentor(AugmentConf(**{name: section}), RATE)
    rng, waveform = np.random.default_rng(0), noise(7, 12000)
    if name == "speed":
        changed = [augmentor.draw_speed(rng) != 0 for _ in range(300)]
        assert np.mean(changed) == pytest.approx(1 / 3, abs=0.1)
        return
    tries = 40 if name == "codec" else 200
    changed = [augmentor(waveform, rng) is not waveform for _ in range(tries)]
    assert np.mean(changed) == pytest.approx(0.5, abs=0.2 if name == "codec" else 0.1)
