"""Stopping and going on: N steps, a stop, and M more are N + M steps, bit for bit."""

from __future__ import annotations

import copy
import json
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from forked_scripts import finish, start_script
from small_settings import no_pictures

from mvector import MVectorTrainer
from mvector.errors import CheckpointError, ConfigError, MVectorError
from mvector.models.folder import load_model_folder
from mvector.training.checkpoint import load_checkpoint
from mvector.training.stopping import TrainingStopped

EVERYTHING = {
    "optimizer_conf": {
        "scheduler": "WarmupCosineSchedulerLR",
        "scheduler_args": {"warmup_epoch": 1},
        "learning_rate": 0.003,
    },
    "augment_conf": {
        "speed": {"prob": 1.0},
        "volume": {"prob": 0.5},
        "spec_aug": {"prob": 1.0},
    },
}
BATCHES = 8  # in an epoch of the small configuration


class StoppingTrainer(MVectorTrainer):
    """Gets SIGTERM behind a given batch of the run."""

    stop_at = 0

    def _learn(self, *args: Any) -> None:
        if self.run.step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        super()._learn(*args)


def train(trainer: MVectorTrainer, folder: Path, **options: Any) -> Path:
    with no_pictures():
        return trainer.train(folder / "m", folder / "log", **options)


def stopped_at(config: dict, folder: Path, batch: int, **options: Any) -> Path:
    """Run until a batch is done; returns the folder of the run."""
    trainer = StoppingTrainer(config, use_gpu=False)
    trainer.stop_at = batch
    with pytest.raises(TrainingStopped, match=r"SIGTERM stopped the run.*--resume_model"):
        train(trainer, folder, **options)
    return folder / "m" / "EcapaTdnn_Fbank"


def states(run: Path) -> dict[str, Any]:
    """Everything that training has changed."""
    state = load_checkpoint(run)
    found = {f"network.{key}": value for key, value in state["network"].items()}
    for number, values in state["optimizer"]["state"].items():
        found |= {f"optimizer.{number}.{key}": value for key, value in values.items()}
    for name in ("best_model", "last_model"):
        weights = load_model_folder(run / name)[0].backbone.state_dict()
        found |= {f"{name}.{key}": value for key, value in weights.items()}
    keys = ("step", "epoch", "next_batch", "best_eer", "epochs_since_best", "train_step", "plateau")
    return found | {key: state[key] for key in keys} | {"rng": state["rng"][0]["cpu"]}


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        same = torch.equal(found[key], value) if torch.is_tensor(value) else found[key] == value
        assert same, key


@pytest.mark.parametrize(
    ("batch", "changes", "resumed_with"),
    [
        (1, {}, {}),
        (5, {"loss_conf": {"use_loss": "SphereFace2", "use_margin_scheduler": True}}, {}),
        (11, {"dataset_conf": {"batch_sampler": "speakers", "sample_per_id": 2}}, {}),
        (
            7,
            {"dataset_conf": {"batch_sampler": "balanced", "min_crop_duration": 0.4}},
            {"num_workers": 2},
        ),
        (6, {"train_conf": {"enable_amp": True, "amp_dtype": "bfloat16"}}, {}),
        (6, {"train_conf": {"accumulate_batches": 3, "max_grad_norm": 1.0}}, {"num_workers": 1}),
        (13, {"train_conf": {"save_interval": 2, "ema_decay": 0.9}}, {}),
        (
            10,
            {
                "optimizer_conf": {
                    "scheduler": "ReduceLROnPlateau",
                    "scheduler_args": {"patience": 0, "threshold": 0.9},
                    "backbone_lr_scale": 0.5,
                }
            },
            {},
        ),
    ],
)
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(
    small_config: dict, tmp_path: Path, batch: int, changes: dict, resumed_with: dict
) -> None:
    config = copy.deepcopy(small_config)
    for section, values in [*EVERYTHING.items(), *changes.items()]:
        config.setdefault(section, {}).update(values)
    if "loss_conf" in changes:
        config["loss_conf"].pop("args", None)
    unbroken = train(MVectorTrainer(config, use_gpu=False), tmp_path / "whole").parent
    run = stopped_at(config, tmp_path / "parts", batch)
    state = load_checkpoint(run)
    assert 0 <= state["step"] - batch < config["train_conf"].get("accumulate_batches", 1)
    config["dataset_conf"]["dataLoader"].update(resumed_with)
    train(MVectorTrainer(config, use_gpu=False), tmp_path / "parts", resume_model=run)
    assert_equal(states(run), states(unbroken))


def test_a_run_can_be_stopped_again_and_again(small_config: dict, tmp_path: Path) -> None:
    unbroken = train(MVectorTrainer(small_config, use_gpu=False), tmp_path / "whole").parent
    for batch in (2, 3, 9, 16):
        run = stopped_at(small_config, tmp_path / "parts", batch, resume_model="auto")
    train(MVectorTrainer(small_config, use_gpu=False), tmp_path / "parts", resume_model="auto")
    assert_equal(states(run), states(unbroken))


def test_auto_begins_where_there_is_nothing_to_resume(small_config: dict, tmp_path: Path) -> None:
    small_config["train_conf"]["max_epoch"] = 1
    best = train(MVectorTrainer(small_config, use_gpu=False), tmp_path, resume_model="auto")
    assert load_checkpoint(best)["epoch"] == 1


def test_old_checkpoints_are_removed_and_a_damaged_one_is_passed_over(
    small_config: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small_config["train_conf"].update(max_epoch=1, save_interval=2, keep_last=3)
    run = train(MVectorTrainer(small_config, use_gpu=False), tmp_path).parent
    files = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert files == [f"step_00000000{step}.pt" for step in (4, 6, 8)]
    (run / "checkpoints" / files[-1]).write_bytes(b"half of it")
    assert load_checkpoint(run)["step"] == 6


def test_a_list_that_has_changed_in_mid_epoch_is_refused(
    small_config: dict, tmp_path: Path
) -> None:
    run = stopped_at(small_config, tmp_path, 3)
    small_config["dataset_conf"]["dataLoader"]["batch_size"] = 16
    with pytest.raises(CheckpointError, match=r"stands at batch 3 of 8 .* makes 4 of 64"):
        train(MVectorTrainer(small_config, use_gpu=False), tmp_path, resume_model=run)


def test_a_full_disk_keeps_the_previous_checkpoint_and_the_run(
    small_config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_config["train_conf"].update(max_epoch=1, save_interval=2)
    save, calls = torch.save, []

    def filling(state: dict, file: Path) -> None:
        calls.append(file)
        save(state, file)
        if len(calls) in (2, 3):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", filling)
    best = train(MVectorTrainer(small_config, use_gpu=False), tmp_path)
    assert load_checkpoint(best)["step"] == 8
    assert [p.name for p in (best.parent / "checkpoints").iterdir() if "tmp" in p.name] == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (
            RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
            "the disk is full, or it fails",
        ),
    ],
)
def test_a_disk_that_stays_full_is_one_sentence_at_the_end(
    small_config: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    small_config["train_conf"].update(max_epoch=1)

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError) as caught:
        train(MVectorTrainer(small_config, use_gpu=False), tmp_path)
    run = tmp_path / "m" / "EcapaTdnn_Fbank"
    file = run / "checkpoints" / "step_000000008.pt"
    assert str(caught.value) == f"Cannot write the checkpoint '{file}': {reason}."
    load_model_folder(run / "best_model")  # the run went on to its end
    before, last = (r.message for r in caplog.records if "stays" in r.message)
    assert before.endswith("What was saved before stays; the run goes on.")
    assert last.endswith("What was saved before stays.")


def test_a_batch_without_finite_gradients_is_left_out(small_config: dict, tmp_path: Path) -> None:
    class Poisoned(MVectorTrainer):
        def _learn(self, batch: Any, *args: Any) -> None:
            if self.run.next_batch == 3:
                batch.inputs.fill_(float("nan"))
            super()._learn(batch, *args)

    small_config["train_conf"]["max_epoch"] = 1
    best = train(Poisoned(small_config, use_gpu=False), tmp_path)
    assert load_checkpoint(best)["train_step"]["num_bad"] == 1
    for name, value in load_model_folder(best)[0].backbone.state_dict().items():
        assert torch.isfinite(value).all(), name


def test_a_run_of_nothing_but_bad_batches_ends(small_config: dict, tmp_path: Path) -> None:
    class Poisoned(MVectorTrainer):
        def _learn(self, batch: Any, *args: Any) -> None:
            batch.inputs.fill_(float("inf"))
            super()._learn(batch, *args)

    small_config["train_conf"]["max_bad_steps"] = 3
    with pytest.raises(
        MVectorError, match=r"not finite in 3 steps in a row.*epoch 1, batch 3; lower"
    ):
        train(Poisoned(small_config, use_gpu=False), tmp_path)


def test_accumulated_gradients_are_those_of_the_large_batch(
    small_config: dict, tmp_path: Path
) -> None:
    """Without batch statistics, as these depend on the batch."""
    small_config["train_conf"]["max_epoch"] = 1
    small_config["optimizer_conf"].update(optimizer="SGD", momentum=0.0, learning_rate=0.01)

    class Frozen(MVectorTrainer):
        def _train_epoch(self, curves: Any, stop: Any) -> None:
            network = self.learner.network
            network.train = lambda mode=True: network  # type: ignore[method-assign]
            for module in network.modules():
                module.training = False
            super()._train_epoch(curves, stop)

    large = train(Frozen(small_config, use_gpu=False), tmp_path / "large", do_eval=False)
    small_config["dataset_conf"]["dataLoader"]["batch_size"] = 4
    small_config["train_conf"]["accumulate_batches"] = 2
    small = train(Frozen(small_config, use_gpu=False), tmp_path / "small", do_eval=False)
    expected, found = (load_checkpoint(best)["network"] for best in (large, small))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-6, rtol=1e-4)


def test_a_run_ends_when_the_error_rate_stays(small_config: dict, tmp_path: Path) -> None:
    small_config["train_conf"].update(max_epoch=9, early_stop_epochs=2)
    small_config["optimizer_conf"]["learning_rate"] = 1e-30
    best = train(MVectorTrainer(small_config, use_gpu=False), tmp_path)
    state = load_checkpoint(best)
    assert state["epochs_since_best"] == 2
    assert state["epoch"] < 9


def test_a_frozen_backbone_stays_until_its_epochs_are_over(
    small_config: dict, trained_model: Path, tmp_path: Path
) -> None:
    small_config["train_conf"].update(max_epoch=1, freeze_backbone_epochs=1)
    options = {"pretrained_model": trained_model, "do_eval": False}
    best = train(MVectorTrainer(small_config, use_gpu=False), tmp_path, **options)
    before = load_model_folder(trained_model)[0].backbone.state_dict()
    after = load_model_folder(best)[0].backbone.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    small_config["train_conf"]["max_epoch"] = 2
    train(MVectorTrainer(small_config, use_gpu=False), tmp_path, resume_model="auto", do_eval=False)
    after = load_model_folder(best)[0].backbone.state_dict()
    assert not torch.equal(after["embedding.weight"], before["embedding.weight"])


def test_a_rate_that_follows_the_error_rate_needs_trials(
    small_config: dict, tmp_path: Path
) -> None:
    small_config["optimizer_conf"]["scheduler"] = "ReduceLROnPlateau"
    with pytest.raises(ConfigError, match="needs an evaluation after each epoch"):
        train(MVectorTrainer(small_config, use_gpu=False), tmp_path, do_eval=False)


# ---- a real process -------------------------------------------------------------------------


def start(config: dict, folder: Path) -> BaseProcess:
    """``train.py``, which resumes what there is; its output goes into out.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    options = {
        "configs": folder / "config.yml",
        "save_model_path": folder / "m",
        "log_dir": folder / "log",
        "resume_model": "auto",
        "use_gpu": False,
    }
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    return start_script("train.py", words, folder / "out.txt")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_run_killed_at_random_moments_goes_on_and_ends_as_if_nothing_had_happened(
    small_config: dict, tmp_path: Path
) -> None:
    small_config["train_conf"].update(max_epoch=25, save_interval=1)
    small_config["dataset_conf"].update(max_duration=0.6, trials_list=None, enroll_list=None)
    whole = MVectorTrainer(small_config, use_gpu=False)
    unbroken = train(whole, tmp_path / "whole", do_eval=False).parent
    folder = tmp_path / "killed"
    run, rng = folder / "m" / "EcapaTdnn_Fbank", random.Random(0)
    for _ in range(20):
        process, goal = start(small_config, folder), _newest_step(run) + rng.randint(1, 8)
        while process.is_alive() and _newest_step(run) < goal:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.03))  # anywhere in a step, or while one is saved
        process.kill()
        assert finish(process) == -signal.SIGKILL, (folder / "out.txt").read_text()
        load_checkpoint(run)
    assert finish(start(small_config, folder)) == 0, (folder / "out.txt").read_text()
    assert_equal(states(run), states(unbroken))
    lines = (run / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(set(steps))


def _newest_step(run: Path) -> int:
    return max((int(path.stem[5:]) for path in (run / "checkpoints").glob("step_*.pt")), default=0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_stops_the_script(
    small_config: dict, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    small_config["train_conf"]["max_epoch"] = 500
    small_config["dataset_conf"].update(trials_list=None, enroll_list=None)
    small_config["dataset_conf"]["dataLoader"]["num_workers"] = 1
    log = tmp_path / "out.txt"
    log.touch()
    process = start(small_config, tmp_path)
    while process.is_alive() and "Train epoch: [1/500]" not in log.read_text():
        time.sleep(0.05)
    os.kill(process.pid, number)
    assert finish(process) == code, log.read_text()
    assert "stopped the run in epoch" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert load_checkpoint(tmp_path / "m" / "EcapaTdnn_Fbank")["step"] > 0
