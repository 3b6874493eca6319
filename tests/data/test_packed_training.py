"""Training from packed corpora and cached features: the batches are those of the audio files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mvector.cli import run_script
from mvector.config import load_config
from mvector.data.loader import TrainingData
from mvector.errors import DataError
from mvector.models.speaker_model import SpeakerModel
from mvector.training.trainer import MVectorTrainer


def packed(config: dict, folder: Path) -> dict:
    """The configuration with its training list packed."""
    source = config["dataset_conf"]["train_list"]
    assert run_script("pack_corpus", [source, str(folder / "packed"), "--num_workers", "0"]) == 0
    return {
        **config,
        "dataset_conf": {**config["dataset_conf"], "train_list": str(folder / "packed")},
    }


def cached(config: dict, folder: Path) -> dict:
    """The configuration with its training list as cached features."""
    settings = folder / "config.yml"
    settings.write_text(yaml.safe_dump(config))
    source = config["dataset_conf"]["train_list"]
    arguments = [source, str(folder / "cached"), "--configs", str(settings)]
    assert run_script("extract_features", [*arguments, "--num_workers", "0"]) == 0
    return {
        **config,
        "dataset_conf": {**config["dataset_conf"], "train_list": str(folder / "cached")},
    }


def batches(config: dict) -> list:
    return list(TrainingData(load_config(config)).loader)


@pytest.mark.parametrize("sampler", ["random", "duration"])
def test_a_packed_corpus_gives_the_batches_of_its_files(
    small_config: dict, tmp_path: Path, sampler: str
) -> None:
    small_config["dataset_conf"]["batch_sampler"] = sampler
    small_config["augment_conf"] = {"speed": {"prob": 1.0}, "volume": {"prob": 0.5}}
    from_files, from_pack = batches(small_config), batches(packed(small_config, tmp_path))
    assert len(from_files) == len(from_pack) > 3
    for expected, found in zip(from_files, from_pack, strict=True):
        assert torch.equal(expected.labels, found.labels)
        torch.testing.assert_close(expected.inputs, found.inputs, atol=1e-4, rtol=0)


def test_cached_features_give_nearly_the_features_of_the_files(
    small_config: dict, tmp_path: Path
) -> None:
    small_config["dataset_conf"].update(max_duration=1.8, use_dB_normalization=False)
    model = SpeakerModel.from_config(load_config(small_config))
    # clips are shorter than the crop of 1.8 s: both begin with the whole clip
    from_files, from_cache = batches(small_config), batches(cached(small_config, tmp_path))
    for expected, found in zip(from_files, from_cache, strict=True):
        assert torch.equal(expected.labels, found.labels)
        features, _ = model.features(expected.inputs[:, :16000])
        again = model.featurizer.normalise(found.inputs[:, : features.shape[1]])
        torch.testing.assert_close(again, features, atol=0.05, rtol=0)


@pytest.mark.parametrize("packing", [packed, cached])
def test_a_model_trains_on_them(small_config: dict, tmp_path: Path, packing) -> None:
    small_config["train_conf"]["max_epoch"] = 1
    trainer = MVectorTrainer(packing(small_config, tmp_path), use_gpu=False)
    trainer.train(tmp_path / "models", tmp_path / "log", do_eval=False)
    assert not trainer.run.skipped


def test_features_computed_otherwise_are_refused(small_config: dict, tmp_path: Path) -> None:
    config = cached(small_config, tmp_path)
    config["preprocess_conf"]["method_args"] = {"num_mel_bins": 64}
    with pytest.raises(DataError, match=r"num_mel_bins was 40 and is 64"):
        TrainingData(load_config(config))


def test_waveforms_of_cached_features_cannot_be_augmented(
    small_config: dict, tmp_path: Path
) -> None:
    config = cached(small_config, tmp_path)
    config["augment_conf"] = {"volume": {"prob": 0.5}, "spec_aug": {"prob": 0.5}}
    with pytest.raises(DataError, match=r"augmentation of waveforms \(volume\) comes too late"):
        TrainingData(load_config(config))


def test_a_corpus_packed_at_another_rate_is_refused(small_config: dict, tmp_path: Path) -> None:
    config = packed(small_config, tmp_path)
    config["dataset_conf"]["sample_rate"] = 8000
    config["preprocess_conf"]["method_args"]["sample_frequency"] = 8000
    with pytest.raises(DataError, match="packed at 16000 Hz and the configuration asks for 8000"):
        TrainingData(load_config(config))


def test_labels_beyond_the_number_of_speakers_are_refused(
    small_config: dict, tmp_path: Path
) -> None:
    config = packed(small_config, tmp_path)
    config["dataset_conf"]["num_speakers"] = 5
    with pytest.raises(DataError, match="labels up to 7, out of range for num_speakers 5"):
        TrainingData(load_config(config))


def test_lengths_of_cached_clips_are_known(small_config: dict, tmp_path: Path) -> None:
    small_config["dataset_conf"].update(batch_sampler="duration", max_duration=1.8)
    sizes = {batch.inputs.shape[1] for batch in batches(cached(small_config, tmp_path))}
    assert len(sizes) > 1
    assert np.all(np.array(sorted(sizes)) <= 180)
