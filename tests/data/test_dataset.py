"""Training batches: what they hold depends on (seed, epoch, clip) and on nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from mvector.audio import level_db
from mvector.config import load_config
from mvector.data import write_list
from mvector.data.augmentation.augmentor import WaveformAugmentor
from mvector.data.augmentation.features import mask_features, num_draws
from mvector.data.augmentation.noise import add_noise
from mvector.data.augmentation.reverb import add_reverb
from mvector.data.augmentation.speed import change_speed
from mvector.data.dataset import SkippedClip, TrainingSample
from mvector.data.loader import TrainingData
from mvector.data.packing import pack_corpus
from mvector.data.samplers import SampleKey

RATE = 16000


def hashes(config: dict, epochs: tuple[int, ...] = (0, 1), first_batch: int = 0) -> list[str]:
    """A hash of everything in each batch, from a batch of the first epoch on."""
    data = TrainingData(load_config(config))
    found = []
    for epoch in epochs:
        data.batches.set_position(epoch, first_batch)
        first_batch = 0
        for batch in data.loader:
            arrays = (batch.inputs, batch.labels, batch.mask_draws)
            content = b"".join(array.numpy().tobytes() for array in arrays)
            found.append(hashlib.sha256(content).hexdigest())
    return found


AUGMENTED = {
    "speed": {"prob": 1.0, "speed_perturb_3_class": True},
    "volume": {"prob": 0.5},
    "spec_aug": {"prob": 0.5},
}


@pytest.mark.parametrize(
    ("sampler", "min_crop_duration"),
    [("random", None), ("random", 0.3), ("balanced", None), ("speakers", None), ("duration", None)],
)
def test_fifty_batches_are_the_same_with_any_number_of_workers_and_after_a_restart(
    small_config: dict, sampler: str, min_crop_duration: float | None
) -> None:
    small_config["augment_conf"] = AUGMENTED
    data = small_config["dataset_conf"]
    data.update(batch_sampler=sampler, max_duration=0.6)
    if sampler == "speakers":
        data["sample_per_id"] = 2
    data["min_crop_duration"] = min_crop_duration
    data["dataLoader"]["batch_size"] = 4
    per_epoch = len(TrainingData(load_config(small_config)).batches)
    epochs = tuple(range(-(-50 // per_epoch)))
    alone = hashes(small_config, epochs)
    assert len(alone) >= 50
    assert len(set(alone)) == len(alone)
    for num_workers in (1, 2):
        data["dataLoader"]["num_workers"] = num_workers
        assert hashes(small_config, epochs) == alone
        epoch, first_batch = divmod(20, per_epoch)
        assert hashes(small_config, epochs[epoch:], first_batch) == alone[20:]


def test_a_loader_pins_every_tensor_of_a_batch(
    small_config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned: list[torch.Tensor] = []

    def pin(tensor: torch.Tensor, *_: object) -> torch.Tensor:
        pinned.append(tensor.clone())
        return pinned[-1]

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)  # the real one needs a GPU
    batch = next(iter(TrainingData(load_config(small_config)).loader))
    found = pin_memory(batch)  # as a loader does where there is a GPU
    parts = (found.inputs, found.labels, found.clips, found.mask_draws)
    assert [id(part) for part in parts] == [id(tensor) for tensor in pinned]
    assert torch.equal(found.inputs, batch.inputs)
    assert torch.equal(found.labels, batch.labels)
    assert torch.equal(found.clips, batch.clips)
    assert found.skipped is batch.skipped


def test_another_seed_gives_other_batches(small_config: dict) -> None:
    first = hashes(small_config, (0,))
    small_config["train_conf"]["seed"] = 7
    assert not set(first) & set(hashes(small_config, (0,)))


def test_crops_have_the_configured_length_and_short_clips_are_repeated(
    small_config: dict, tmp_path: Path
) -> None:
    short = np.random.default_rng(0).uniform(-0.5, 0.5, RATE // 2)
    soundfile.write(tmp_path / "short.wav", short, RATE, subtype="FLOAT")
    write_list(tmp_path / "list.txt", [(str(tmp_path / "short.wav"), k) for k in (0, 1)])
    small_config["dataset_conf"].update(train_list=str(tmp_path / "list.txt"), max_duration=1.25)
    small_config["dataset_conf"]["dataLoader"]["batch_size"] = 2
    data = TrainingData(load_config(small_config))
    (batch,) = data.loader
    assert batch.inputs.shape == (2, 20000)
    np.testing.assert_array_equal(batch.inputs[0], np.resize(short.astype(np.float32), 20000))


def test_a_clip_that_cannot_be_used_is_set_aside_with_the_reason(
    small_config: dict, tmp_path: Path
) -> None:
    files = {
        "good.wav": np.sin(np.arange(RATE)),
        "short.wav": np.sin(np.arange(RATE // 10)),
        "silent.wav": np.zeros(RATE),
    }
    for name, samples in files.items():
        soundfile.write(tmp_path / name, samples, RATE)
    (tmp_path / "text.wav").write_text("not audio")
    names = [*files, "text.wav", "missing.wav"]
    write_list(tmp_path / "list.txt", [(str(tmp_path / n), k) for k, n in enumerate(names)])
    small_config["dataset_conf"]["train_list"] = str(tmp_path / "list.txt")
    small_config["dataset_conf"]["dataLoader"]["batch_size"] = 5
    (batch,) = TrainingData(load_config(small_config)).loader
    assert batch.labels.tolist() == [0]
    reasons = " ".join(clip.reason for clip in batch.skipped)
    for word in ("too short", "is silent", "not audio", "does not exist"):
        assert word in reasons


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_a_pause_is_not_trained_on_while_the_clip_holds_speech(
    small_config: dict, tmp_path: Path, offset: float
) -> None:
    waveform = np.full(20 * RATE, offset)
    waveform[-RATE:] += 0.5 * np.sin(np.arange(RATE))
    soundfile.write(tmp_path / "pause.wav", waveform, RATE)
    write_list(tmp_path / "list.txt", [(str(tmp_path / "pause.wav"), k) for k in (0, 1)])
    small_config["dataset_conf"]["train_list"] = str(tmp_path / "list.txt")
    small_config["dataset_conf"]["dataLoader"]["batch_size"] = 2
    dataset = TrainingData(load_config(small_config)).loader.dataset
    for epoch in range(5):
        sample = dataset[SampleKey(epoch, 0, 0)]
        assert isinstance(sample, TrainingSample)
        assert level_db(sample.inputs - sample.inputs.mean()) > -20


@pytest.mark.parametrize("packed", [False, True])
def test_a_crop_is_freed_of_digital_silence_and_filled_again(
    small_config: dict, tmp_path: Path, packed: bool
) -> None:
    rng = np.random.default_rng(0)
    pieces = [0.1 * rng.normal(size=round(0.7 * RATE)) for _ in range(6)]
    clip = np.concatenate([np.concatenate([piece, np.zeros(RATE // 2)]) for piece in pieces])
    soundfile.write(tmp_path / "gated.wav", clip, RATE)
    write_list(tmp_path / "list.txt", [(str(tmp_path / "gated.wav"), k) for k in (0, 1)])
    train_list = tmp_path / "list.txt"
    if packed:
        pack_corpus(train_list, tmp_path / "packed", num_workers=0)
        train_list = tmp_path / "packed"
    conf = small_config["dataset_conf"]
    conf.update(train_list=str(train_list), max_duration=1.5, drop_silence=True)
    conf["dataLoader"]["batch_size"] = 2
    dataset = TrainingData(load_config(small_config)).loader.dataset
    crops = [dataset[SampleKey(epoch, 0, 0)].inputs for epoch in range(20)]
    assert {crop.shape for crop in crops} == {(24000,)}
    assert max(np.count_nonzero(crop == 0) for crop in crops) < RATE // 20
    conf["drop_silence"] = False
    dataset = TrainingData(load_config(small_config)).loader.dataset
    assert np.count_nonzero(dataset[SampleKey(0, 0, 0)].inputs == 0) > RATE // 4


def test_a_crop_with_too_little_besides_silence_is_taken_elsewhere_in_the_clip(
    small_config: dict, tmp_path: Path
) -> None:
    names = ("late", "word")
    clip = np.zeros(30 * RATE)
    clip[-RATE:] = 0.1 * np.random.default_rng(0).normal(size=RATE)
    soundfile.write(tmp_path / "late.wav", clip, RATE)
    soundfile.write(tmp_path / "word.wav", clip[: -round(0.7 * RATE)], RATE)
    write_list(
        tmp_path / "list.txt", [(str(tmp_path / f"{n}.wav"), k) for k, n in enumerate(names)]
    )
    conf = small_config["dataset_conf"]
    conf.update(train_list=str(tmp_path / "list.txt"), drop_silence=True)
    conf["dataLoader"]["batch_size"] = 2
    dataset = TrainingData(load_config(small_config)).loader.dataset
    for epoch in range(20):
        sample = dataset[SampleKey(epoch, 0, 0)]
        assert isinstance(sample, TrainingSample)
        assert np.count_nonzero(sample.inputs == 0) < RATE // 100
    skipped = dataset[SampleKey(0, 0, 1)]
    assert isinstance(skipped, SkippedClip)
    assert "0.30 s after 29.00 s of silence were dropped" in skipped.reason


def test_every_speed_is_a_class_of_its_own_when_asked(small_config: dict) -> None:
    small_config["augment_conf"] = {"speed": {"prob": 1.0, "speed_perturb_3_class": True}}
    data = TrainingData(load_config(small_config))
    assert data.num_classes == 3 * 8
    labels = torch.cat([batch.labels for batch in data.loader])
    assert set((labels // 8).tolist()) == {0, 1, 2}


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_moves_the_pitch_by_its_factor(speed: float) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    faster = change_speed(tone, speed)
    assert abs(len(faster) - RATE / speed) < 2
    peak_hz = np.argmax(np.abs(np.fft.rfft(faster))) * RATE / len(faster)
    assert abs(peak_hz - 1000 * speed) < 2


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_has_exactly_the_ratio_asked_for(snr_db: float) -> None:
    rng = np.random.default_rng(0)
    speech, noise = rng.normal(size=(2, RATE)).astype(np.float32) * 0.1
    noisy = add_noise(speech, noise, snr_db).astype(np.float64)
    measured = 10 * np.log10(
        np.mean(speech.astype(np.float64) ** 2) / np.mean((noisy - speech) ** 2)
    )
    assert abs(measured - snr_db) < 1e-3


def test_reverberation_keeps_power_length_and_the_place_of_the_direct_sound() -> None:
    from scipy.signal import fftconvolve

    rng = np.random.default_rng(0)
    speech = rng.normal(size=RATE).astype(np.float32)
    response = np.zeros(4000, dtype=np.float32)
    response[100] = 1.0
    response[101:] = 0.1 * rng.normal(size=3899) * np.exp(-np.arange(3899) / 800)
    wet = add_reverb(speech, response)
    reference = fftconvolve(speech.astype(np.float64), response)[100 : 100 + RATE]
    reference *= np.sqrt(np.mean(speech.astype(np.float64) ** 2) / np.mean(reference**2))
    np.testing.assert_allclose(wet, reference, atol=1e-5)
    assert abs(level_db(wet) - level_db(speech)) < 1e-3
    delayed = np.zeros(500, dtype=np.float32)
    delayed[50] = -0.5
    np.testing.assert_allclose(add_reverb(speech, delayed), -speech, atol=1e-5)


def test_masks_blank_whole_bands_and_stretches_within_their_limits() -> None:
    from mvector.config.augment_options import SpecAugConf

    config = SpecAugConf(prob=1.0, freq_mask_ratio=0.2, time_mask_ratio=0.1, n_time_masks=2)
    draws = torch.rand(200, num_draws(config), generator=torch.Generator().manual_seed(0))
    masked = mask_features(torch.ones(200, 100, 40), draws, config)
    blank_bins = (masked == 0).all(dim=1).sum(dim=1)
    blank_frames = (masked == 0).all(dim=2).sum(dim=1)
    assert blank_bins.max() == 8
    assert blank_bins.min() == 0
    assert 10 < blank_frames.max() <= 20
    off = mask_features(torch.ones(5, 100, 40), draws[:5], SpecAugConf(prob=0.0, n_time_masks=2))
    assert (off == 1).all()


def test_an_augmentation_without_its_folder_is_off_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from mvector.config import AugmentConf

    conf = AugmentConf.model_validate({"noise": {"prob": 1.0, "noise_dir": "nowhere"}})
    augmentor = WaveformAugmentor(conf, RATE)
    assert "Augmentation by noise is off: the folder 'nowhere' holds no audio." in caplog.text
    waveform = np.ones(10, dtype=np.float32)
    np.testing.assert_array_equal(augmentor(waveform, np.random.default_rng(0)), waveform)


def test_noise_from_a_folder_is_mixed_in(tmp_path: Path) -> None:
    from mvector.config import AugmentConf

    noise = np.random.default_rng(0).normal(size=RATE // 4) * 0.1
    soundfile.write(tmp_path / "noise.flac", noise, RATE)
    (tmp_path / "broken.wav").write_text("x")
    conf = AugmentConf.model_validate({"noise": {"prob": 1.0, "noise_dir": str(tmp_path)}})
    speech = np.sin(np.arange(RATE)).astype(np.float32)
    noisy = WaveformAugmentor(conf, RATE)(speech, np.random.default_rng(0))
    snr_db = level_db(speech) - level_db(noisy - speech)
    assert 10 <= snr_db <= 50


def test_a_sample_that_fails_is_a_value_and_not_an_exception(small_config: dict) -> None:
    data = TrainingData(load_config(small_config))
    data.clips.paths[3] = "gone.wav"
    assert isinstance(data.loader.dataset[SampleKey(0, 0, 3)], SkippedClip)
