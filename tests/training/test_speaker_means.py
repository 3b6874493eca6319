"""A second stage that begins with the speakers' mean embeddings in place of a random classifier."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from spawned_ranks import needs_gloo, run_ranks

from mvector import MVectorTrainer
from mvector.compute.distributed import World
from mvector.config import load_config
from mvector.data.lists import read_list
from mvector.errors import ConfigError
from mvector.training.building import build_learner
from mvector.training.learner import Learner
from mvector.training.pretrained import load_pretrained
from mvector.training.speaker_means import CLIPS_PER_SPEAKER

CPU = torch.device("cpu")


@pytest.fixture
def config(small_config: dict[str, Any]) -> dict[str, Any]:
    small_config["train_conf"]["classifier_from_means"] = True
    small_config["dataset_conf"]["max_duration"] = 4.0  # whole clips, repeated: no place is drawn
    small_config["dataset_conf"]["dataLoader"]["batch_size"] = 7
    return small_config


def begun(config: dict[str, Any], model: Path, world: World | None = None) -> Learner:
    learner, data = build_learner(load_config(config), CPU, world or World())
    load_pretrained(learner, model, data)
    return learner


def rows_of(learner: Learner) -> torch.Tensor:
    return learner.head.state_dict()["classifier.weight"]


def expected_means(config: dict[str, Any], learner: Learner) -> torch.Tensor:
    """Clip by clip, from files and backbone alone."""
    clips = read_list(config["dataset_conf"]["train_list"])
    front_end, model = learner.model.front_end, learner.model.eval()
    means = torch.zeros(clips.num_speakers, model.embd_dim)
    for path, label in zip(clips.paths, clips.labels, strict=True):
        crop = np.resize(front_end.decode(path), round(4.0 * front_end.sample_rate))
        features, _ = model.features(torch.from_numpy(crop)[None])
        with torch.no_grad():
            means[label] += F.normalize(model.backbone(features))[0]
    return F.normalize(means)


def test_rows_are_mean_directions_of_unaugmented_clips_and_as_long_as_before(
    config: dict[str, Any], trained_model: Path
) -> None:
    config["augment_conf"] = {"speed": {"prob": 1.0}, "spec_aug": {"prob": 1.0}}
    random_rows = rows_of(build_learner(load_config(config), CPU, World())[0])
    learner = begun(config, trained_model)
    rows = rows_of(learner)
    assert CLIPS_PER_SPEAKER >= 8  # so many clips has each speaker of the list
    torch.testing.assert_close(F.normalize(rows), expected_means(config, learner))
    torch.testing.assert_close(rows.norm(dim=1), random_rows.norm(dim=1))


def test_the_first_step_knows_the_speakers(config: dict[str, Any], trained_model: Path) -> None:
    learner, data = build_learner(load_config(config), CPU, World())
    load_pretrained(learner, trained_model, data)
    learner.network.eval()
    with torch.no_grad():
        counts = [learner.network(*learner.inputs(batch))[1] for batch in data.loader]
    assert sum(counts) > 0.8 * len(data.batches) * 7  # by chance an eighth


def test_the_means_depend_on_neither_workers_nor_what_was_drawn_before(
    config: dict[str, Any], trained_model: Path
) -> None:
    config["dataset_conf"]["max_duration"] = 0.6  # crops at places that are drawn
    alone = rows_of(begun(config, trained_model))
    state = torch.get_rng_state()
    config["dataset_conf"]["dataLoader"]["num_workers"] = 1
    learner, data = build_learner(load_config(config), CPU, World())
    next(iter(data.loader))
    load_pretrained(learner, trained_model, data)
    assert torch.equal(rows_of(learner), alone)
    assert torch.equal(torch.get_rng_state(), state)  # the course of a run is the same


def test_sub_centres_begin_beside_the_mean_and_speed_classes_with_it(
    config: dict[str, Any], trained_model: Path
) -> None:
    config["loss_conf"] = {"use_loss": "SubCenterLoss", "args": {"num_centers": 3}}
    config["augment_conf"] = {"speed": {"prob": 1.0, "speed_perturb_3_class": True}}
    learner = begun(config, trained_model)
    rows = F.normalize(rows_of(learner)).view(3, 8, 3, -1)  # speeds, speakers, centres
    means = expected_means(config, learner)
    for of_speed in rows:
        torch.testing.assert_close(of_speed[:, 0], means)
        cosines = (of_speed[:, 1:] * means.unsqueeze(1)).sum(dim=2)
        assert 0.98 < cosines.min() <= cosines.max() < 1.0
        assert (of_speed[:, 1] * of_speed[:, 2]).sum(dim=1).max() < 0.9999
    torch.testing.assert_close(rows[1], rows[0])


def test_a_speaker_without_a_usable_clip_keeps_a_random_row(
    config: dict[str, Any], trained_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    text = Path(config["dataset_conf"]["train_list"]).read_text()
    (tmp_path / "list.txt").write_text(f"{text}nowhere.wav\t8\n")
    config["dataset_conf"]["train_list"] = str(tmp_path / "list.txt")
    random_rows = rows_of(build_learner(load_config(config), CPU, World())[0])
    rows = rows_of(begun(config, trained_model))
    changed = (rows != random_rows).any(dim=1)
    assert changed.tolist() == [True] * 8 + [False]
    assert "1 speaker has no clip for a mean embedding" in caplog.text
    assert "the classifier starts from the speakers' mean embeddings" in caplog.text


def test_a_run_needs_a_trained_backbone_and_begins_so_once(
    config: dict[str, Any], trained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"classifier_from_means True .* --pretrained_model"):
        MVectorTrainer(config, use_gpu=False).train(tmp_path / "m", tmp_path / "log")
    calls: list[Learner] = []
    monkeypatch.setattr(
        "mvector.training.pretrained.begin_from_means", lambda learner, _: calls.append(learner)
    )
    config["train_conf"]["max_epoch"] = 1
    options = {"pretrained_model": trained_model, "do_eval": False}
    for max_epoch in (1, 2):
        config = copy.deepcopy(config)
        config["train_conf"]["max_epoch"] = max_epoch
        trainer = MVectorTrainer(config, use_gpu=False)
        trainer.train(tmp_path / "m", tmp_path / "log", resume_model="auto", **options)
    assert len(calls) == 1


def _rows_of_rank(world: World, config: dict[str, Any], model: Path) -> torch.Tensor:
    return rows_of(begun(config, model, world))


@needs_gloo
def test_two_processes_share_the_clips_and_begin_alike(
    config: dict[str, Any], trained_model: Path
) -> None:
    config["dataset_conf"]["max_duration"] = 0.6
    alone = rows_of(begun(config, trained_model))
    first, second = run_ranks(_rows_of_rank, config, trained_model)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, alone)
