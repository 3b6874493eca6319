"""Short runs tell what a training would need, and leave nothing behind."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_settings import ROOT
from spawned_ranks import needs_gloo, run_ranks

from mvector import MVectorTrainer
from mvector.cli import run_script
from mvector.compute.distributed import World
from mvector.config import load_config
from mvector.errors import DataError, MVectorError
from mvector.training import short_runs
from mvector.training.building import build_learner


def test_a_dry_run_tells_memory_speed_and_time(small_config: dict, tmp_path: Path) -> None:
    small_config["train_conf"]["max_epoch"] = 50
    found = MVectorTrainer(small_config, use_gpu=False).dry_run()
    assert found.num_steps >= 2
    assert found.peak_memory > 2**26
    # 50 epochs of 8 batches of 8 clips, at the speed that was measured
    assert found.training_s == pytest.approx(50 * 64 / found.utterances_per_s, rel=1e-6)
    assert str(found).startswith("fits: peak memory ")


def test_a_dry_run_of_the_script_writes_nothing(
    small_config: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    import yaml

    (tmp_path / "config.yml").write_text(yaml.safe_dump(small_config))
    monkeypatch.chdir(tmp_path)
    words = ["--configs", "config.yml", "--dry_run", "--seed", "7", "--use_gpu", "False"]
    assert run_script("train", words) == 0
    assert "utterances/s, estimated total time" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["config.yml"]


def test_a_dry_run_without_a_usable_clip_is_an_error(small_config: dict, tmp_path: Path) -> None:
    wrong = tmp_path / "list.txt"
    wrong.write_text("".join(f"nowhere_{k}.wav\t{k % 2}\n" for k in range(16)))
    small_config["dataset_conf"]["train_list"] = str(wrong)
    with pytest.raises(DataError, match="No training clip could be used"):
        MVectorTrainer(small_config, use_gpu=False).dry_run()


@pytest.mark.parametrize(
    "raised",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        torch.OutOfMemoryError("CUDA out of memory."),
    ],
)
def test_full_memory_is_one_sentence(
    small_config: dict, monkeypatch: pytest.MonkeyPatch, raised: RuntimeError
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("mvector.training.learner.Learner.learn", failing)
    with pytest.raises(MVectorError, match=r"batches of 8 clips of 1 s; lower .*batch_size"):
        MVectorTrainer(small_config, use_gpu=False).dry_run()


def test_other_errors_are_not_taken_for_full_memory(
    small_config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("mvector.training.learner.Learner.learn", failing)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        MVectorTrainer(small_config, use_gpu=False).dry_run()


def short_runs_of(world: World, config: dict[str, Any]) -> tuple[int, list[float]]:
    """Steps of a dry run in which one process is at its end at once and the other one never,
    and the losses of a range test."""
    torch.set_num_threads(1)
    short_runs._MEASURED_S = -1.0 if world.rank == 1 else 1e9
    made = build_learner(load_config(config), torch.device("cpu"), world)
    num_steps = short_runs.dry_run(*made).num_steps
    curve = short_runs.learning_rate_test(*made, min_lr=1e-6, max_lr=1e-5, num_steps=20)
    return num_steps, curve.losses.tolist()


@needs_gloo
def test_all_processes_of_a_short_run_take_the_same_steps(small_config: dict) -> None:
    small_config["dataset_conf"]["dataLoader"]["batch_size"] = 4
    one, other = run_ranks(short_runs_of, small_config, timeout_s=20.0)
    assert one[0] == other[0] == 2
    assert one[1] == other[1]


def test_a_range_test_finds_where_the_loss_falls(
    small_config: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    import yaml

    (tmp_path / "config.yml").write_text(yaml.safe_dump(small_config))
    words = ["--configs", str(tmp_path / "config.yml"), "--use_gpu", "False", "--num_steps", "60"]
    words += ["--min_lr", "1e-6", "--max_lr", "3", "--out", str(tmp_path / "rates.png")]
    assert run_script("find_learning_rate", words) == 0
    assert "learning rate" in capsys.readouterr().out
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
    assert (ROOT / "tools" / "find_learning_rate.py").is_file()


def test_a_range_test_begins_with_the_loss_of_chance(small_config: dict) -> None:
    small_config["loss_conf"] = {"use_loss": "CELoss"}
    trainer = MVectorTrainer(small_config, use_gpu=False)
    curve = trainer.find_learning_rate(min_lr=1e-9, max_lr=1e-7, num_steps=20)
    assert curve.losses[:5].mean() == pytest.approx(math.log(8), abs=1.0)
    assert curve.suggestion is None
