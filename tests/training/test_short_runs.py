"""Short runs tell what a training would need, and leave nothing behind."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from small_settings import ROOT

from mvector import MVectorTrainer
from mvector.cli import run_script
from mvector.errors import DataError, MVectorError


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
