"""Training learns, resumes exactly, and survives bad clips; evaluation measures and calibrates."""

from __future__ import annotations

import json
import logging
import math
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from small_settings import ROOT, SMALL_BACKBONES, no_pictures

from mvector import MVectorTrainer
from mvector.config import load_config
from mvector.data import read_list, write_list
from mvector.embedding.files import write_embeddings
from mvector.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    EvaluationError,
    MVectorError,
)
from mvector.losses import LOSSES
from mvector.models import BACKBONES
from mvector.models.description import read_model_info
from mvector.models.folder import load_model_folder
from mvector.training.checkpoint import load_checkpoint
from mvector.training.model_evaluation import EpochEvaluation
from mvector.training.schedules import learning_rate_at
from mvector.training.short_runs import DryRun

CONFIGURATIONS = sorted({*ROOT.glob("configs/*.yml")} - {ROOT / "configs/augmentation.yml"})


def trained(config: dict, folder: Path, **options) -> Path:
    with no_pictures():
        return MVectorTrainer(config, use_gpu=False).train(folder / "m", folder / "log", **options)


def dry_run(config: dict, _: Path, **options) -> DryRun:
    return MVectorTrainer(config, use_gpu=False).dry_run(**options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model_folder(folder)[0].backbone.state_dict()


def curve(folder: Path, name: str) -> list[float]:
    (file,) = folder.glob("m*/*/metrics.jsonl")
    lines = file.read_text().splitlines()
    return [record[name] for record in map(json.loads, lines) if name in record]


def test_a_few_epochs_learn_the_voices(trained_model: Path) -> None:
    losses = curve(trained_model.parents[2], "train/loss")
    accuracies = curve(trained_model.parents[2], "train/accuracy")
    assert losses[-1] < 0.5 * losses[0]
    assert accuracies[-1] > 0.8
    assert curve(trained_model.parents[2], "eval/eer")


def test_a_run_leaves_best_and_last_model_with_configuration_and_calibration(
    trained_model: Path,
) -> None:
    assert trained_model.name == "best_model"
    run = trained_model.parent
    assert run.name == "EcapaTdnn_Fbank"
    for name in ("best_model", "last_model"):
        files = sorted(path.name for path in (run / name).iterdir())
        assert files == ["config.yml", "model.safetensors", "model.yml"]
    described = yaml.safe_load((trained_model / "model.yml").read_text())
    assert described["calibration"]["num_target"] == 8
    assert described["metrics"]["eer"] == min(curve(run.parents[1], "eval/eer"))
    assert load_config(trained_model / "config.yml").train_conf.max_epoch == 12


def test_resuming_what_does_not_fit_is_refused(
    small_config: dict, trained_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"There is no checkpoint in '.*nowhere'"):
        trained(small_config, tmp_path, resume_model=tmp_path / "nowhere")
    small_config["model_conf"]["backbone"]["channels"] = 16
    with pytest.raises(CheckpointError, match=r"model_conf\.backbone\.channels: 32 -> 16"):
        trained(small_config, tmp_path, resume_model=trained_model.parent)
    small_config["model_conf"]["backbone"]["channels"] = 32
    small_config["dataset_conf"]["drop_silence"] = True
    with pytest.raises(CheckpointError, match=r"dataset_conf\.drop_silence: False -> True"):
        trained(small_config, tmp_path, resume_model=trained_model.parent)
    small_config["dataset_conf"]["drop_silence"] = False
    write_list(tmp_path / "two.txt", [("a.wav", k % 2) for k in range(8)])
    small_config["dataset_conf"]["train_list"] = str(tmp_path / "two.txt")
    small_config["dataset_conf"]["trials_list"] = None
    expected = r"does not fit .* \(it was trained with 8 speakers, and the list now has 2\)"
    for try_to_go_on in (trained, dry_run):  # a dry run says the same as the training
        with pytest.raises(CheckpointError, match=expected) as caught:
            try_to_go_on(small_config, tmp_path, resume_model=trained_model.parent)
        assert "\n" not in str(caught.value)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step_000000001.pt").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="is damaged"):
        trained(small_config, tmp_path, resume_model=tmp_path)


@pytest.mark.parametrize(
    ("section", "change", "words"),
    [
        ("preprocess_conf", {"normalize_mean": False}, "preprocess_conf.normalize_mean: True"),
        ("dataset_conf", {"use_dB_normalization": False}, "dataset_conf.use_dB_normalization"),
        ("train_conf", {"seed": 7}, "train_conf.seed: 1000 -> 7"),
        ("optimizer_conf", {"optimizer": "SGD"}, "optimizer_conf.optimizer: Adam -> SGD"),
    ],
)
def test_a_run_is_not_continued_as_another_one(
    small_config: dict,
    trained_model: Path,
    tmp_path: Path,
    section: str,
    change: dict,
    words: str,
) -> None:
    small_config[section].update(change)
    with pytest.raises(CheckpointError, match="cannot be continued") as caught:
        trained(small_config, tmp_path, resume_model=trained_model.parent)
    assert words in str(caught.value)


def test_an_earlier_run_is_never_overwritten(small_config: dict, tmp_path: Path) -> None:
    small_config["train_conf"]["max_epoch"] = 1
    best = trained(small_config, tmp_path)
    with pytest.raises(CheckpointError, match=r"holds an earlier run: continue it with --resume"):
        trained(small_config, tmp_path)
    assert load_model_folder(best)


def test_a_run_resumed_into_another_folder_has_a_best_model_there(
    small_config: dict, tmp_path: Path
) -> None:
    small_config["train_conf"]["max_epoch"] = 1
    first = trained(small_config, tmp_path / "a")
    small_config["train_conf"]["max_epoch"] = 2
    best = trained(small_config, tmp_path / "b", resume_model=first.parent)
    assert load_model_folder(best)[1].provenance["epochs"] == 2


def test_an_evaluation_that_fails_does_not_lose_the_epoch(
    small_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise EvaluationError("all clips are gone")

    monkeypatch.setattr(EpochEvaluation, "__call__", failing)
    with pytest.raises(EvaluationError, match="all clips are gone"):
        trained(small_config, tmp_path)
    run = tmp_path / "m" / "EcapaTdnn_Fbank"
    assert load_model_folder(run / "last_model")[1].provenance["epochs"] == 1
    assert load_checkpoint(run)["step"] == 8


def test_an_evaluation_that_fails_leaves_the_best_model_as_it_is(
    small_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_config["train_conf"]["max_epoch"] = 1
    best = trained(small_config, tmp_path)
    fingerprint = load_model_folder(best)[1].fingerprint

    def failing(*_: object) -> None:
        raise EvaluationError("all clips are gone")

    monkeypatch.setattr(EpochEvaluation, "__call__", failing)
    small_config["train_conf"]["max_epoch"] = 2
    with pytest.raises(EvaluationError, match="all clips are gone"):
        trained(small_config, tmp_path, resume_model=best.parent)
    info = load_model_folder(best)[1]
    assert info.fingerprint == fingerprint
    assert info.calibration is not None
    assert load_model_folder(best.parent / "last_model")[1].fingerprint != fingerprint


def test_trials_are_checked_before_an_epoch_is_spent(small_config: dict, tmp_path: Path) -> None:
    small_config["dataset_conf"]["trials_list"] = str(tmp_path / "gone.txt")
    with pytest.raises(DataError, match=r"gone\.txt"):
        trained(small_config, tmp_path)
    assert not (tmp_path / "log").exists()


def test_a_full_disk_under_the_curves_does_not_end_the_run(
    small_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mvector.training.loggers.MetricLogger._write", full)
    assert load_model_folder(trained(small_config, tmp_path))


def test_a_pretrained_backbone_is_taken_over(
    small_config: dict, trained_model: Path, tmp_path: Path
) -> None:
    small_config["train_conf"]["max_epoch"] = 1
    small_config["optimizer_conf"]["learning_rate"] = 1e-30
    found = weights(trained(small_config, tmp_path, pretrained_model=trained_model, do_eval=False))
    expected = weights(trained_model)
    assert torch.equal(found["embedding.weight"], expected["embedding.weight"])


def test_a_pretrained_backbone_that_does_not_fit_is_one_sentence(
    small_config: dict, trained_model: Path, tmp_path: Path
) -> None:
    config_of_it = rf"--configs '{trained_model}/config\.yml'"
    small_config["model_conf"]["backbone"].update(channels=16, embd_dim=24)
    sizes = r"\(its values and those wanted: channels: 32 -> 16, embd_dim: 32 -> 24\)"
    other_sizes = rf"{sizes}.*{config_of_it}"
    for try_to_begin in (trained, dry_run):
        with pytest.raises(CheckpointError, match=other_sizes) as caught:
            try_to_begin(small_config, tmp_path, pretrained_model=trained_model)
        assert "\n" not in str(caught.value)
    small_config["use_model"] = "TDNN"
    with pytest.raises(CheckpointError, match="it is EcapaTdnn and use_model is TDNN"):
        dry_run(small_config, tmp_path, pretrained_model=trained_model)


def test_of_embeddings_that_are_kept_those_of_the_newest_epoch_stay(
    small_config: dict, tmp_path: Path
) -> None:
    small_config["train_conf"]["max_epoch"] = 3
    small_config["dataset_conf"]["eval_conf"] = {"cache": str(tmp_path / "cache")}
    trained(small_config, tmp_path)
    (folder,) = (tmp_path / "cache").iterdir()
    (last,) = tmp_path.glob("m/*/last_model")
    assert folder.name == read_model_info(last).fingerprint
    assert [*folder.glob("*.embeddings")]


def test_a_dry_run_with_weights_that_fit_writes_nothing(
    small_config: dict, trained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(trained_model.parent.rglob("*"))
    small_config["train_conf"]["max_epoch"] = 12
    for option, path in (
        ("resume_model", trained_model.parent),
        ("pretrained_model", trained_model),
        ("save_model_path", trained_model.parents[1]),
    ):
        found = dry_run(small_config, tmp_path, **{option: path})
        assert str(found).startswith("fits: ")
    assert sorted(trained_model.parent.rglob("*")) == before
    assert not [*tmp_path.rglob("*")]


def test_a_dry_run_of_an_automatic_resumption_takes_the_run_of_the_folder_if_there_is_one(
    small_config: dict, trained_model: Path, tmp_path: Path
) -> None:
    options = {"resume_model": "auto", "save_model_path": tmp_path / "none"}
    assert str(dry_run(small_config, tmp_path, **options)).startswith("fits: ")
    assert not [*tmp_path.rglob("none")]
    small_config["model_conf"]["backbone"].update(channels=16, embd_dim=24)
    options["save_model_path"] = trained_model.parents[1]
    with pytest.raises(CheckpointError, match=r"channels: 32 -> 16"):
        dry_run(small_config, tmp_path, **options)


def test_a_dry_run_refuses_what_the_evaluation_of_its_training_would(
    small_config: dict, tmp_path: Path
) -> None:
    small_config["train_conf"]["early_stop_epochs"] = 2
    with pytest.raises(ConfigError, match="needs an evaluation after each epoch"):
        dry_run(small_config, tmp_path, do_eval=False)


def test_the_classifier_of_a_run_over_the_same_list_is_taken_over(
    small_config: dict, tmp_path: Path
) -> None:
    """As for large-margin fine-tuning behind a training with speed classes."""
    small_config["train_conf"]["max_epoch"] = 1
    speeds = {"speed": {"prob": 1.0, "speed_perturb_3_class": True}}
    first = trained({**small_config, "augment_conf": speeds}, tmp_path / "a", do_eval=False)
    small_config["optimizer_conf"]["learning_rate"] = 1e-30
    options = {"pretrained_model": first, "do_eval": False}
    second = trained(small_config, tmp_path / "b", **options)
    before, after = (load_checkpoint(path)["network"] for path in (first, second))
    key = "head.classifier.weight"
    assert before[key].shape[0] == 24
    assert torch.equal(after[key], before[key][:8])

    entries = Path(small_config["dataset_conf"]["train_list"]).read_text().splitlines()
    (tmp_path / "other.txt").write_text("\n".join(entries[::-1]))
    small_config["dataset_conf"]["train_list"] = str(tmp_path / "other.txt")
    third = trained(small_config, tmp_path / "c", **options)
    assert not torch.equal(load_checkpoint(third)["network"][key], before[key][:8])


def test_eight_voices_are_learned_without_a_mistake(small_config: dict, tmp_path: Path) -> None:
    lists = small_config["dataset_conf"]
    lists["trials_list"] = lists["enroll_list"] = lists["train_list"]
    lists["dataLoader"]["batch_size"] = 16
    small_config["model_conf"]["backbone"]["channels"] = 64
    small_config["loss_conf"]["args"]["margin"] = 0.4
    small_config["optimizer_conf"].update(learning_rate=0.002, scheduler="CosineAnnealingLR")
    small_config["train_conf"]["max_epoch"] = 60
    best = trained(small_config, tmp_path, do_eval=False)
    assert MVectorTrainer(small_config, use_gpu=False).evaluate(best).calibration.eer == 0.0


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_every_configuration_takes_two_steps(
    small_config: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: Path
) -> None:
    monkeypatch.setattr("mvector.training.short_runs._MEASURED_S", 0.0)
    lists = small_config["dataset_conf"]
    short = ["max_duration=0.6", "dataLoader.batch_size=2", "dataLoader.num_workers=0"]
    shipped, clips = load_config(path), read_list(lists["train_list"])
    if shipped.dataset_conf.min_crop_duration is not None:
        short.append("min_crop_duration=0.5")
    if shipped.dataset_conf.domains is not None:
        domains = [f"{label}\t{'ab'[label % 2]}\n" for label in sorted(set(clips.labels.tolist()))]
        (tmp_path / "domains.txt").write_text("".join(domains))
        short.append(f"domains={tmp_path / 'domains.txt'}")
    settings = [f"dataset_conf.{setting}" for setting in short]
    settings += [f"dataset_conf.{key}={lists[key]}" for key in ("train_list", "trials_list")]
    settings.append("train_conf.early_stop_epochs=null")  # which needs an evaluation
    settings.append("train_conf.classifier_from_means=false")  # which needs a trained backbone
    if shipped.loss_conf.teacher is not None:
        size = (len(clips), shipped.model_conf.backbone.embd_dim)  # type: ignore[attr-defined]
        embeddings = np.random.default_rng(0).normal(size=size).astype(np.float32)
        write_embeddings(tmp_path / "teacher.npz", list(clips.paths), embeddings)
        settings.append(f"loss_conf.teacher={tmp_path / 'teacher.npz'}")
    config = load_config(path, settings)
    assert MVectorTrainer(config, use_gpu=False).dry_run(do_eval=False).num_steps == 2


def test_the_margin_follows_its_schedule(small_config: dict, tmp_path: Path) -> None:
    small_config["loss_conf"].update(
        use_margin_scheduler=True,
        margin_scheduler_args={
            "initial_margin": 0.1,
            "final_margin": 0.3,
            "increase_start_epoch": 0,
            "fix_epoch": 2,
            "increase_type": "linear",
        },
    )
    trained(small_config, tmp_path, do_eval=False)
    # 8 batches an epoch, logged every 4
    expected = [0.1 + 0.2 * (done / 8) / 2 for done in (3, 7, 11, 15)]
    np.testing.assert_allclose(curve(tmp_path, "train/margin"), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("scheduler", "args", "epoch", "expected"),
    [
        (None, None, 7.0, 1e-2),
        ("CosineAnnealingLR", None, 0.0, 1e-2),
        ("CosineAnnealingLR", {"min_lr": 1e-4}, 5.0, 1e-4 + (1e-2 - 1e-4) / 2),
        ("CosineAnnealingLR", {"min_lr": 1e-4}, 10.0, 1e-4),
        ("WarmupCosineSchedulerLR", {"warmup_epoch": 2, "min_lr": 0}, 1.0, 5e-3),
        ("WarmupCosineSchedulerLR", {"warmup_epoch": 2, "min_lr": 0}, 2.0, 1e-2),
        ("WarmupCosineSchedulerLR", {"warmup_epoch": 2, "min_lr": 0}, 6.0, 5e-3),
        ("WarmupCosineSchedulerLR", {"warmup_epoch": 2, "max_lr": 0.5}, 2.0, 0.5),
    ],
)
def test_the_learning_rate_is_a_function_of_the_epoch(
    small_config: dict, scheduler: str | None, args: dict | None, epoch: float, expected: float
) -> None:
    small_config["optimizer_conf"] = {
        "learning_rate": 1e-2,
        "scheduler": scheduler,
        "scheduler_args": args,
    }
    conf = load_config(small_config).optimizer_conf
    assert math.isclose(learning_rate_at(epoch, conf, 10), expected, rel_tol=1e-9)


def test_cosine_annealing_equals_the_one_of_torch(small_config: dict) -> None:
    small_config["optimizer_conf"] = {"learning_rate": 0.1, "scheduler": "CosineAnnealingLR"}
    conf = load_config(small_config).optimizer_conf
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    for epoch in range(10):
        assert math.isclose(
            learning_rate_at(epoch, conf, 10), reference.get_last_lr()[0], rel_tol=1e-9
        )
        optimizer.step()
        reference.step()


def test_log_lines_have_the_familiar_form(
    small_config: dict,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "mvector")
    trained(small_config, tmp_path)
    line = (
        r"Train epoch: \[1/2\], batch: \[4/8\], loss: [\d.]+, accuracy: [\d.]+, "
        r"learning rate: 0\.00300000, speed: [\d.]+ data/sec, eta: 0:00:\d\d"
    )
    assert re.search(line, caplog.text)
    assert "Total params: " in caplog.text
    assert "  loss_conf:" in caplog.text
    told = "\n".join(own.message for own in caplog.records if own.levelno >= logging.INFO)
    assert "\n  loss_conf.use_loss: AAMLoss\n" in told
    assert re.search(r"\nParameters: [\d,]+\n", told)
    assert "Total params: " not in told
    assert "Evaluation of epoch 2: EER: " in caplog.text


def test_bad_clips_are_skipped_counted_and_reported(
    small_config: dict,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clips = read_list(small_config["dataset_conf"]["train_list"])
    entries = list(zip(clips.paths, clips.labels.tolist(), strict=True))
    (tmp_path / "text.wav").write_text("not audio")
    soundfile.write(tmp_path / "short.wav", np.ones(100), 16000)
    bad = [(str(tmp_path / name), 0) for name in ("text.wav", "short.wav", "gone.wav")]
    write_list(tmp_path / "list.txt", entries[:10] + bad + entries[10:])
    small_config["dataset_conf"]["train_list"] = str(tmp_path / "list.txt")
    small_config["dataset_conf"]["dataLoader"]["drop_last"] = False
    trained(small_config, tmp_path)
    assert "3 of 67 training clips could not be used" in caplog.text
    for word in ("text.wav' is not audio", "short.wav' is too short", "gone.wav' does not exist"):
        assert word in caplog.text
    described = yaml.safe_load((tmp_path / "m/EcapaTdnn_Fbank/best_model/model.yml").read_text())
    assert described["provenance"]["num_clips"] == 64


def test_a_list_without_a_single_usable_clip_is_an_error(
    small_config: dict, tmp_path: Path
) -> None:
    write_list(tmp_path / "list.txt", [(f"gone{k}.wav", k) for k in range(8)])
    small_config["dataset_conf"]["train_list"] = str(tmp_path / "list.txt")
    with pytest.raises(DataError, match=r"No training clip could be used.*does not exist"):
        trained(small_config, tmp_path)


def test_without_trials_the_last_model_is_the_best(small_config: dict, tmp_path: Path) -> None:
    small_config["dataset_conf"]["trials_list"] = None
    best = trained(small_config, tmp_path)
    last = weights(best.parent / "last_model")
    assert all(torch.equal(value, last[key]) for key, value in weights(best).items())
    assert load_model_folder(best)[1].calibration is None


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"num_speakers": 5}, DataError, r"the label 5 is out of range for num_speakers 5"),
        ({"train_list": "nowhere.txt"}, DataError, r"'nowhere\.txt' does not exist"),
        (
            {"dataLoader": {"batch_size": 999, "num_workers": 0}},
            DataError,
            "fewer than a batch of 999",
        ),
    ],
)
def test_mistakes_in_the_data_are_told_before_training(
    small_config: dict, tmp_path: Path, change: dict, error: type, words: str
) -> None:
    small_config["dataset_conf"].update(change)
    with pytest.raises(error, match=words):
        trained(small_config, tmp_path)


def test_one_speaker_alone_cannot_be_trained_on(small_config: dict, tmp_path: Path) -> None:
    write_list(tmp_path / "list.txt", [("a.wav", 0)] * 8)
    small_config["dataset_conf"]["train_list"] = str(tmp_path / "list.txt")
    with pytest.raises(DataError, match="single speaker; training needs at least two"):
        trained(small_config, tmp_path)


def test_an_unwritable_output_folder_is_told_before_training(
    small_config: dict, tmp_path: Path
) -> None:
    (tmp_path / "m").write_text("a file where the folder should be")
    with pytest.raises(CheckpointError, match=r"Cannot write models to .*choose another"):
        trained(small_config, tmp_path)


def test_a_gpu_that_is_not_there_is_an_error(
    small_config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MVectorError, match="finds no CUDA GPU"):
        MVectorTrainer(small_config, use_gpu=True)


def test_a_loss_that_is_not_finite_stops_the_run(small_config: dict, tmp_path: Path) -> None:
    small_config["optimizer_conf"] = {"optimizer": "SGD", "learning_rate": 1e30, "scheduler": None}
    with pytest.raises(MVectorError, match=r"not finite in 4 steps in a row.*; lower"):
        trained(small_config, tmp_path)


def test_training_in_bfloat16_learns_too(small_config: dict, tmp_path: Path) -> None:
    small_config["train_conf"].update(enable_amp=True, amp_dtype="bfloat16", max_epoch=4)
    trained(small_config, tmp_path, do_eval=False)
    losses = curve(tmp_path, "train/loss")
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("loss", ["AAMLoss", "CELoss"])
@pytest.mark.parametrize("method", ["MelSpectrogram", "Spectrogram", "MFCC", "Fbank"])
def test_every_feature_method_trains_with_every_loss(
    small_config: dict, tmp_path: Path, method: str, loss: str
) -> None:
    log = method in ("MelSpectrogram", "Spectrogram")
    small_config["preprocess_conf"] = {"feature_method": method, "log_spectrum": log}
    small_config["loss_conf"] = {"use_loss": loss}
    small_config["train_conf"]["max_epoch"] = 1
    best = trained(small_config, tmp_path)
    assert best.parent.name == f"EcapaTdnn_{method}"
    assert 0 <= load_model_folder(best)[1].metrics["eer"] <= 1


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_on_batches_of_several_clips_a_speaker(
    small_config: dict, tmp_path: Path, loss: str
) -> None:
    small_config["dataset_conf"].update(batch_sampler="speakers", sample_per_id=4)
    small_config["dataset_conf"]["dataLoader"]["batch_size"] = 16
    small_config["loss_conf"] = {"use_loss": loss}
    small_config["train_conf"]["max_epoch"] = 10
    trained(small_config, tmp_path, do_eval=False)
    losses = curve(tmp_path, "train/loss")
    assert np.mean(losses[-2:]) < 0.95 * losses[0]


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_trains(small_config: dict, tmp_path: Path, name: str) -> None:
    small_config["use_model"] = name
    small_config["model_conf"]["backbone"] = {"embd_dim": 16, **SMALL_BACKBONES[name]}
    small_config["train_conf"]["max_epoch"] = 1
    small_config["dataset_conf"]["max_duration"] = 0.6
    best = trained(small_config, tmp_path)
    assert best.parent.name == f"{name}_Fbank"
    assert load_model_folder(best)[0].embd_dim == 16


def test_silence_can_be_dropped_before_training(small_config: dict, tmp_path: Path) -> None:
    pytest.importorskip("librosa", reason="the train extra is not installed")
    small_config["dataset_conf"]["do_vad"] = True
    small_config["train_conf"]["max_epoch"] = 1
    assert load_model_folder(trained(small_config, tmp_path))[0].front_end.do_vad


def test_evaluation_writes_calibration_and_a_picture(
    small_config: dict, trained_model: Path, tmp_path: Path
) -> None:
    result = MVectorTrainer(small_config, use_gpu=False).evaluate(trained_model, tmp_path)
    picture = tmp_path / "EcapaTdnn_Fbank.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(result.scores) == 64
    assert result.labels.sum() == 8
    info = load_model_folder(trained_model)[1]
    assert info.calibration == result.calibration.to_dict()
    assert (
        info.listening
        == result.listening.to_dict()
        == {
            "window_s": 30.0,
            "max_duration_s": None,
        }
    )


def test_listed_pairs_need_no_enrolment_list(
    small_config: dict, voices: Path, trained_model: Path, tmp_path: Path
) -> None:
    a, b = (f"speaker_00{k}" for k in (0, 1))
    (tmp_path / "trials.txt").write_text(
        f"1 {a}/clip_00.wav {a}/clip_01.wav\n"
        f"0 {a}/clip_00.wav {b}/clip_00.wav\n"
        f"0 {a}/gone.wav {b}/clip_00.wav\n"
    )
    small_config["dataset_conf"].update(
        trials_list=str(tmp_path / "trials.txt"), enroll_list=None, data_root=str(voices)
    )
    small_config["dataset_conf"]["eval_conf"] = {"skip_missing": True}
    trainer = MVectorTrainer(small_config, use_gpu=False)
    result = trainer.evaluate(trained_model, write_calibration=False)
    assert result.labels.tolist() == [True, False]
    assert result.num_skipped == 1


def test_lists_that_allow_no_error_rate_are_named(
    small_config: dict, trained_model: Path, tmp_path: Path
) -> None:
    enrolled = read_list(small_config["dataset_conf"]["enroll_list"])
    write_list(tmp_path / "trials.txt", [(enrolled.paths[0], 99)])
    small_config["dataset_conf"]["trials_list"] = str(tmp_path / "trials.txt")
    trainer = MVectorTrainer(small_config, use_gpu=False)
    with pytest.raises(EvaluationError, match=r"trials\.txt"):
        trainer.evaluate(trained_model)
    small_config["dataset_conf"]["enroll_list"] = None
    with pytest.raises(EvaluationError, match="there is no enrolment list"):
        MVectorTrainer(small_config, use_gpu=False).evaluate(trained_model)


def test_a_speaker_with_one_clip_in_the_trials_is_counted_in_a_warning(
    small_config: dict,
    trained_model: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    enrolled = read_list(small_config["dataset_conf"]["enroll_list"])
    tests = read_list(small_config["dataset_conf"]["trials_list"])
    entries = list(zip(tests.paths, tests.labels.tolist(), strict=True))
    write_list(tmp_path / "trials.txt", [*entries[1:], (enrolled.paths[0], 0)])
    small_config["dataset_conf"]["trials_list"] = str(tmp_path / "trials.txt")
    trainer = MVectorTrainer(small_config, use_gpu=False)
    result = trainer.evaluate(trained_model, write_calibration=False)
    assert len(result.scores) == 63
    assert "1 of 8 speakers have a single clip" in caplog.text


def test_augmentation_given_apart_takes_the_place_of_the_configuration(small_config: dict) -> None:
    trainer = MVectorTrainer(
        small_config, use_gpu=False, data_augment_configs={"speed": {"prob": 0.7}}
    )
    assert trainer.config.augment_conf.speed.prob == 0.7
    with pytest.raises(ConfigError, match=r"speed\.prob: 7 is not valid"):
        MVectorTrainer(small_config, use_gpu=False, data_augment_configs={"speed": {"prob": 7}})
