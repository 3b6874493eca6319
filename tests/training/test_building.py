"""What cannot be trained is refused before the first batch, in words that name the setting."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mvector import MVectorTrainer
from mvector.compute.distributed import World
from mvector.config import load_config
from mvector.data.lists import read_list
from mvector.data.loader import TrainingData
from mvector.errors import ConfigError, MVectorError
from mvector.models.speaker_model import SpeakerModel
from mvector.training.building import build_learner
from mvector.training.step import BatchWeight

TDNN = {"use_model": "TDNN", "model_conf": {"backbone": {"channels": 16}}}  # needs 15 frames
REFLECTING = {"model_conf": {"backbone": {"channels": 16, "padding_mode": "reflect"}}}  # 5


@pytest.fixture
def no_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("the list is read")

    monkeypatch.setattr(TrainingData, "__init__", read)


@pytest.mark.usefixtures("no_batches")
@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        # Fbank of 25 ms every 10 ms: 8 frames in 0.1 s, 14 in 0.16, 4 in 0.055
        (TDNN, {"max_duration": 0.1}, "max_duration 0.1 s have 8 frames, and TDNN needs 15"),
        (TDNN, {"min_crop_duration": 0.16}, "min_crop_duration 0.16 s have 14 frames"),
        (TDNN, {"batch_sampler": "duration"}, "min_duration 0.02 s have 0 frames"),
        (REFLECTING, {"max_duration": 0.055}, "have 4 frames, and EcapaTdnn needs 5 at least"),
    ],
)
def test_crops_too_short_for_the_backbone_are_refused(
    small_config: dict, model: dict[str, Any], data: dict[str, Any], words: str
) -> None:
    small_config.update(model)
    small_config["dataset_conf"].update({"min_duration": 0.02, **data})
    with pytest.raises(ConfigError) as caught:
        MVectorTrainer(small_config, use_gpu=False).dry_run()
    assert words in str(caught.value)


def test_crops_as_short_as_the_backbone_can_take_train(small_config: dict) -> None:
    small_config.update(TDNN)
    small_config["dataset_conf"].update(min_duration=0.05, max_duration=0.165)  # 15 frames
    config = load_config(small_config)
    model = SpeakerModel.from_config(config)
    assert model.featurizer.num_frames(round(0.165 * 16000)) == 15
    assert model(torch.randn(2, round(0.165 * 16000))).shape == (2, 192)
    assert MVectorTrainer(small_config, use_gpu=False).dry_run().num_steps >= 2


@pytest.mark.usefixtures("no_batches")
def test_a_random_backbone_that_is_frozen_to_the_end_is_refused(small_config: dict) -> None:
    small_config["train_conf"].update(max_epoch=2, freeze_backbone_epochs=2)
    with pytest.raises(ConfigError, match=r"of max_epoch 2 the backbone would keep its random"):
        MVectorTrainer(small_config, use_gpu=False).dry_run()


def test_what_one_process_alone_cannot_do_is_told_and_classes_beside_speakers(
    small_config: dict, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    small_config["train_conf"]["sync_batch_norm"] = True
    small_config["dataset_conf"]["num_speakers"] = 300
    MVectorTrainer(small_config, use_gpu=False).dry_run()
    assert "sync_batch_norm changes nothing: there is one process" in caplog.text
    assert re.search(r"Training clips: 64, speakers: \d+ \(classes for 300\)", caplog.text)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda config: MVectorTrainer(""), "The name of the configuration is empty"),
        (lambda config: MVectorTrainer(config).train(save_model_path=5), "save_model_path is 5;"),
        (lambda config: MVectorTrainer(config).train(log_dir=""), "log_dir is ''; give the path"),
        (lambda config: MVectorTrainer(config).evaluate(5), "resume_model is 5; give the path"),
        (lambda config: MVectorTrainer(config).dry_run(5), "resume_model is 5; give the path"),
        (lambda config: MVectorTrainer(config, use_gpu="yes"), "use_gpu is 'yes'; give True"),
    ],
)
def test_arguments_that_are_no_paths_and_no_switches_are_told(
    small_config: dict, call: Callable[[dict], object], words: str
) -> None:
    with pytest.raises(MVectorError, match=words):
        call(small_config)


def test_memory_too_small_for_the_speakers_says_how_many_they_are(
    small_config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allocate(*_: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")

    small_config["dataset_conf"]["num_speakers"] = 9_000_000
    monkeypatch.setattr("mvector.training.learner.build_head", allocate)
    with pytest.raises(MVectorError, match=r"for 9,000,000 classes of speakers; .*num_speakers"):
        MVectorTrainer(small_config, use_gpu=False).dry_run()


@pytest.mark.parametrize(
    ("loss", "domain_batches"),
    [("AAMLoss", True), ("AAMLoss", False), ("TripletAngularMarginLoss", True)],
)
def test_a_run_within_domains_trains_on_clips_of_both(
    small_config: dict, tmp_path: Path, loss: str, domain_batches: bool
) -> None:
    data = small_config["dataset_conf"]
    labels = sorted(set(read_list(data["train_list"]).labels.tolist()))
    lines = [f"{label}\t{'ab'[place % 2]}\n" for place, label in enumerate(labels)]
    (tmp_path / "domains.txt").write_text("".join(lines))
    data.update(domains=str(tmp_path / "domains.txt"), domain_batches=domain_batches)
    if loss != "AAMLoss":
        data.update(batch_sampler="speakers", sample_per_id=2)
        small_config["loss_conf"] = {"use_loss": loss}
    learner, training = build_learner(load_config(small_config), torch.device("cpu"), World())
    learner.begin_epoch(0)
    seen = set()
    for batch in training.loader:
        loss_of_batch = learner.learn(batch, weight=BatchWeight(), last=True).loss
        assert torch.isfinite(loss_of_batch)
        learner.update("here")
        if learner.domains is not None:
            seen.add(tuple(tuple(share.rows.tolist()) for share in learner.domains.shares))
    even, odd = (0, 2, 4, 6), (1, 3, 5, 7)
    if loss != "AAMLoss":  # it compares embeddings, and has no classes to choose from
        assert seen == set()
    elif domain_batches:
        assert seen == {(even,), (odd,)}
    else:
        assert (even, odd) in seen
