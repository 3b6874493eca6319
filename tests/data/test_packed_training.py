"""Training from packed corpora and cached features: the batches are those of the audio files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mvector.cli import run_script
from mvector.config import AugmentConf, ConfigError, load_config
from mvector.data.loader import TrainingData
from mvector.data.packed import PackedCorpus
from mvector.data.packing import pack_corpus
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


def packed_copy(config: dict, folder: Path, name: str, augment: dict) -> str:
    """The training list packed with an augmentation of whole clips."""
    settings = folder / f"{name}.yml"
    settings.write_text(yaml.safe_dump(augment))
    arguments = [config["dataset_conf"]["train_list"], str(folder / name), "--num_workers", "0"]
    assert run_script("pack_corpus", [*arguments, "--augment_conf_path", str(settings)]) == 0
    return str(folder / name)


SOFTER = {"volume": {"prob": 1.0, "min_gain_dBFS": -6.0206, "max_gain_dBFS": -6.0206}}


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


def test_a_copy_holds_every_clip_changed_and_in_its_place(
    small_config: dict, tmp_path: Path
) -> None:
    original = PackedCorpus(packed(small_config, tmp_path)["dataset_conf"]["train_list"])
    softer = PackedCorpus(packed_copy(small_config, tmp_path, "softer", SOFTER))
    assert list(softer.paths) == list(original.paths)
    for clip in range(len(original)):
        np.testing.assert_allclose(softer.read(clip), original.read(clip) / 2, atol=2e-5)
    sent = {"codec": {"prob": 1.0, "telephone": 0, "mu_law": 0, "low_pass": 1}}
    coded, again = (
        PackedCorpus(packed_copy(small_config, tmp_path, name, sent)) for name in ("a", "b")
    )
    np.testing.assert_array_equal(coded.num_samples, original.num_samples)
    np.testing.assert_array_equal(coded.read(3), again.read(3))
    assert not np.allclose(coded.read(3), original.read(3), atol=1e-3)


def test_crops_come_from_a_copy_as_often_as_configured_whatever_the_number_of_workers(
    small_config: dict, tmp_path: Path
) -> None:
    config = packed(small_config, tmp_path)
    folders = {
        "itself": config["dataset_conf"]["train_list"],
        "softer": packed_copy(small_config, tmp_path, "softer", SOFTER),
    }
    found = {}
    for name, num_workers in (("itself", 0), ("softer", 0), ("softer", 2)):
        config["augment_conf"] = {"copies": {"prob": 0.5, "folders": [folders[name]]}}
        config["dataset_conf"]["dataLoader"]["num_workers"] = num_workers
        found[name, num_workers] = torch.cat([batch.inputs for batch in batches(config)])
    assert torch.equal(found["softer", 0], found["softer", 2])
    expected, crops = found["itself", 0], found["softer", 0]
    ratios = crops.norm(dim=1) / expected.norm(dim=1)
    from_copy = ratios < 0.75
    torch.testing.assert_close(ratios, torch.where(from_copy, 0.5, 1.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(crops, expected * ratios[:, None], atol=1e-4, rtol=0)
    assert 0.3 < from_copy.float().mean() < 0.7


def test_copies_that_do_not_belong_to_the_corpus_are_refused(
    small_config: dict, tmp_path: Path
) -> None:
    copy = packed_copy(small_config, tmp_path, "softer", SOFTER)
    small_config["augment_conf"] = {"copies": {"prob": 0.5, "folders": [copy]}}
    with pytest.raises(DataError, match=r"augment_conf\.copies needs a packed training corpus"):
        TrainingData(load_config(small_config))
    source = Path(small_config["dataset_conf"]["train_list"])
    fewer = tmp_path / "fewer.txt"
    fewer.write_text("\n".join(source.read_text().splitlines()[::-1]))
    small_config["dataset_conf"]["train_list"] = str(fewer)
    config = packed(small_config, tmp_path)  # the same clips in another order
    with pytest.raises(
        DataError, match=r"softer' of augment_conf\.copies is no copy of '.*packed'"
    ):
        TrainingData(load_config(config))


@pytest.mark.parametrize("name", ["copies", "speed", "spec_aug"])
def test_what_is_for_crops_is_refused_where_whole_clips_are_packed(
    name: str, small_config: dict, tmp_path: Path
) -> None:
    config = AugmentConf.model_validate({name: {"prob": 0.5}})
    with pytest.raises(ConfigError, match=f"{name} is for crops in training and not for whole"):
        pack_corpus(small_config["dataset_conf"]["train_list"], tmp_path / "out", augment=config)


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
