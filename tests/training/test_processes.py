"""Training in several processes is training in one, with the batches of all of them together."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from filelock import FileLock
from forked_scripts import PATIENCE_S, finish, start_script
from small_settings import ROOT
from spawned_ranks import free_port, needs_gloo

from mvector import MVectorTrainer
from mvector.models.folder import load_model_folder
from mvector.training.checkpoint import load_checkpoint

RUN = Path("m") / "EcapaTdnn_Fbank"
pytestmark = needs_gloo


def start(config: dict[str, Any], folder: Path, *options: str) -> subprocess.Popen:
    """``torchrun --standalone --nproc_per_node=2 train.py …``; its output goes into out.txt."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words = [*launcher, "--nproc_per_node=2", str(ROOT / "train.py")]
    words += described(config, folder, *options)
    log = open(folder / "out.txt", "ab")  # noqa: SIM115 - the process holds it
    return subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=log)


def described(config: dict[str, Any], folder: Path, *options: str) -> list[str]:
    """The words behind ``train.py``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    words = ["--configs", str(folder / "config.yml"), "--save_model_path", str(folder / "m")]
    return [*words, "--log_dir", str(folder / "log"), "--use_gpu", "False", *options]


def output(folder: Path) -> str:
    return (folder / "out.txt").read_text()


def train(config: dict[str, Any], folder: Path, *options: str) -> dict[str, Any]:
    """The last checkpoint of a run of two processes, which are told what torchrun tells them."""
    words, log = described(config, folder, *options), folder / "out.txt"
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    ranks = [
        start_script("train.py", words, log, RANK=rank, LOCAL_RANK=rank, **world) for rank in "01"
    ]
    assert [finish(rank) for rank in ranks] == [0, 0], output(folder)
    return load_checkpoint(folder / RUN)


def train_alone(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    MVectorTrainer(config, use_gpu=False).train(folder / "m", folder / "log")
    return load_checkpoint(folder / RUN)


def changed(config: dict[str, Any], **train_conf: Any) -> dict[str, Any]:
    """The configuration for one process of two, with batches of half the size."""
    config = copy.deepcopy(config)
    config["dataset_conf"]["dataLoader"]["batch_size"] //= 2
    config["train_conf"].update(train_conf)
    return config


@pytest.fixture
def config(small_config: dict[str, Any]) -> dict[str, Any]:
    small_config["train_conf"].update(max_epoch=3, max_grad_norm=1.0)  # 24 steps
    # small steps: training on few clips makes large differences of small ones within some steps
    small_config["optimizer_conf"].update(optimizer="SGD", learning_rate=1e-4)
    small_config["augment_conf"] = {"speed": {"prob": 0.5}, "spec_aug": {"prob": 0.5}}
    return small_config


def assert_moved(state: dict[str, Any], start: dict[str, Any]) -> None:
    """The steps are far longer than what two runs may differ by."""
    key = "backbone.first.conv.weight"
    assert (state["network"][key] - start["network"][key]).abs().max() > 5e-5


def assert_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["step"] == expected["step"]
    assert found["best_eer"] == pytest.approx(expected["best_eer"], abs=1e-6)
    assert found["network"].keys() == expected["network"].keys()
    for key, value in expected["network"].items():
        close = {"rtol": 1e-4, "atol": 1e-5}
        if "running_" in key:  # of a batch of few clips: differences grow most in its variance
            close = {"rtol": 1e-3, "atol": 1e-4}
        torch.testing.assert_close(found["network"][key], value, **close)


def test_two_processes_train_as_one_with_the_batch_of_both(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["train_conf"].update(save_interval=8, keep_last=9)
    alone = train_alone(config, tmp_path / "alone")
    both = train(changed(config, sync_batch_norm=True), tmp_path / "both")
    assert_close(both, alone)
    assert_moved(alone, load_checkpoint(tmp_path / "alone" / RUN / "checkpoints/step_000000008.pt"))
    assert output(tmp_path / "both").count("Train epoch: [1/3]") == 2  # as rank 0 alone logs them
    assert "processes: 2" in output(tmp_path / "both")


def test_a_split_classifier_trains_as_a_whole_one_and_can_go_on_as_such(
    config: dict[str, Any], tmp_path: Path
) -> None:
    alone = train_alone(config, tmp_path / "alone")
    split = changed(config, sync_batch_norm=True, classifier_sharding=True)
    # the same weights to begin with: those of the split classifier do not come from torch
    config["train_conf"].update(max_epoch=1)
    first = train(changed(config, sync_batch_norm=True), tmp_path / "split")
    assert first["step"] == 8
    both = train(split, tmp_path / "split", "--resume_model", "auto")
    assert_close(both, alone)


def test_a_run_of_two_processes_stops_and_goes_on_bit_for_bit(
    config: dict[str, Any], tmp_path: Path
) -> None:
    settings = {"save_interval": 1, "accumulate_batches": 2, "freeze_backbone_epochs": 1}
    unbroken = train(changed(config, **settings), tmp_path / "unbroken")
    folder = tmp_path / "stopped"
    process = start(changed(config, **settings), folder)
    while process.poll() is None and not list((folder / RUN).glob("checkpoints/step_*.pt")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) != 0
    assert "SIGTERM stopped the run" in output(folder) or "Evaluation" in output(folder)
    assert load_checkpoint(folder / RUN)["step"] < 24
    resumed = train(changed(config, **settings), folder, "--resume_model", "auto")
    for part in ("network", "train_step", "plateau", "best_eer"):
        torch.testing.assert_close(resumed[part], unbroken[part], rtol=0, atol=0)
    for number, values in unbroken["optimizer"]["state"].items():
        for key, value in values.items():
            assert torch.equal(resumed["optimizer"]["state"][number][key], value)
    weights, expected = (
        load_model_folder(run / RUN / "best_model")[0].backbone.state_dict()
        for run in (folder, tmp_path / "unbroken")
    )
    torch.testing.assert_close(weights, expected, rtol=0, atol=0)


def test_a_process_that_dies_ends_the_run(config: dict[str, Any], tmp_path: Path) -> None:
    config["train_conf"]["max_epoch"] = 500
    process = start(changed(config, save_interval=1), tmp_path)
    while process.poll() is None and "Train epoch: [1/500]" not in output(tmp_path):
        time.sleep(0.05)
    own = f"/proc/{process.pid}/task/{process.pid}/children"
    children = [int(pid) for pid in Path(own).read_text().split()]
    os.kill(children[-1], signal.SIGKILL)
    assert process.wait(PATIENCE_S) != 0
    load_checkpoint(tmp_path / RUN)


def test_a_mistake_in_the_data_is_told_by_the_process_that_finds_it(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["dataset_conf"]["train_list"] = str(tmp_path / "nowhere.txt")
    process = start(changed(config), tmp_path)
    assert process.wait(PATIENCE_S) != 0
    assert "nowhere.txt" in output(tmp_path)
    assert "train.py: error: " in output(tmp_path)
    assert "mvector/trainer.py" not in output(tmp_path)  # torchrun adds a traceback of its own


def test_a_folder_in_use_is_refused_by_all_processes(
    config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / RUN).mkdir(parents=True)
    with FileLock(tmp_path / RUN / "run.lock"):
        process = start(changed(config), tmp_path)
        assert process.wait(timeout=60) != 0
    assert output(tmp_path).count("train.py: error: Another process is training in") == 2
    assert "lost another process" not in output(tmp_path)
    assert [path.name for path in (tmp_path / RUN).iterdir()] == ["run.lock"]
