"""What a run folder tells: configuration, code, machine, command, starts and ends, a picture."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mvector
from mvector.config import load_config
from mvector.training.loggers import MetricLogger
from mvector.training.run_story import begin_story, draw_curves, end_story, git_version

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _log_to_pytest(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(logging.getLogger("mvector"), "propagate", True)
    monkeypatch.setitem(sys.modules, "visualdl", None)
    caplog.set_level(logging.INFO, "mvector")


def entries(folder: Path) -> list[dict]:
    return json.loads((folder / "environment.json").read_text())


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_configuration_of_a_run_can_be_run_again(small_config: dict, tmp_path: Path) -> None:
    config = load_config(small_config)
    begin_story(tmp_path, config, CPU)
    assert load_config(tmp_path / "config.yml") == config


def test_the_environment_is_told_without_the_name_of_the_host(
    small_config: dict, tmp_path: Path
) -> None:
    begin_story(tmp_path, load_config(small_config), CPU)
    (entry,) = entries(tmp_path)
    assert entry["mvector"] == mvector.__version__
    assert entry["torch"] == str(torch.__version__)
    assert entry["python"] == ".".join(map(str, sys.version_info[:3]))
    assert shlex.split(entry["command"]) == sys.orig_argv
    assert entry["device"]
    assert entry["num_cpus"] >= 1
    assert entry["num_processes"] == 1
    assert entry["started"][:2] == "20"
    assert "resumed_at_step" not in entry
    values = [value for key, value in entry.items() if key not in ("command", "working_folder")]
    assert socket.gethostname() not in values


def test_a_resumed_run_adds_an_entry_with_what_changed(small_config: dict, tmp_path: Path) -> None:
    begin_story(tmp_path, load_config(small_config), CPU)
    first = entries(tmp_path)[0]
    small_config["train_conf"]["max_epoch"] = 7
    begin_story(tmp_path, load_config(small_config), CPU, resume_step=123)
    told = entries(tmp_path)
    assert len(told) == 2
    assert told[0] == first
    assert told[1]["resumed_at_step"] == 123
    assert told[1]["changed_settings"] == ["train_conf.max_epoch: 2 -> 7"]
    assert load_config(tmp_path / "config.yml").train_conf.max_epoch == 7


def test_a_new_run_begins_a_new_story(small_config: dict, tmp_path: Path) -> None:
    for _ in range(2):
        begin_story(tmp_path, load_config(small_config), CPU)
    assert len(entries(tmp_path)) == 1


@pytest.mark.parametrize("damage", ["", '{"not": "a list"}', "[{"])
def test_a_damaged_story_does_not_keep_a_run_from_going_on(
    small_config: dict, tmp_path: Path, damage: str
) -> None:
    (tmp_path / "environment.json").write_text(damage)
    begin_story(tmp_path, load_config(small_config), CPU, resume_step=5)
    (entry,) = entries(tmp_path)
    assert entry["resumed_at_step"] == 5
    assert entry["changed_settings"] == []


def test_the_end_is_told_in_the_entry_of_this_start(small_config: dict, tmp_path: Path) -> None:
    config = load_config(small_config)
    begin_story(tmp_path, config, CPU)
    begin_story(tmp_path, config, CPU, resume_step=5)
    end_story(tmp_path, "finished", step=10, best_eer=0.25, best_min_dcf=float("inf"))
    killed, finished = entries(tmp_path)
    assert "ended" not in killed
    assert finished["ended"] >= finished["started"]
    assert finished["how_it_ended"] == "finished"
    assert finished["best_eer"] == 0.25
    assert finished["best_min_dcf"] is None


def test_a_full_disk_costs_the_story_and_not_the_run(
    small_config: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mvector.training.run_story.write_text", full)
    begin_story(tmp_path, load_config(small_config), CPU)
    end_story(tmp_path, "finished")
    assert "environment.json': No space left on device" in caplog.text


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_of_the_code_is_told_and_whether_it_was_changed(tmp_path: Path) -> None:
    package = tmp_path / "checkout" / "package"
    package.mkdir(parents=True)
    (package / "code.py").write_text("a = 1\n")
    git(package.parent, "init", "-q")
    git(package, "add", ".")
    git(package, "commit", "-qm", "first")
    commit = git(package, "rev-parse", "HEAD")
    assert git_version(package) == {"commit": commit, "dirty": False}
    (package.parent / "notes.txt").write_text("not code")
    assert git_version(package) == {"commit": commit, "dirty": False}
    (package / "code.py").write_text("a = 2\n")
    assert git_version(package) == {"commit": commit, "dirty": True}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_package_installed_within_another_checkout_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "theirs.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    installed = tmp_path / "site-packages" / "package"
    installed.mkdir(parents=True)
    (installed / "code.py").write_text("a = 1\n")
    assert git_version(installed) is None


def test_without_git_there_is_no_commit_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_version(Path(mvector.__file__).parent) is None


# ---- the picture ----------------------------------------------------------------------------


def write_curves(folder: Path, *, with_evaluation: bool = True) -> Path:
    with MetricLogger(folder) as curves:
        for step in range(0, 100, 10):
            curves.log(
                step,
                **{
                    "train/loss": 10.0 / (step + 1),
                    "train/accuracy": step / 100,
                    "train/learning_rate": 1e-3,
                    "train/margin": 0.2,
                },
            )
        curves.log(100, **{"train/loss": float("nan")})
        if with_evaluation:
            curves.log(50, **{"eval/eer": 0.25, "eval/min_dcf": 0.9})
            curves.log(100, **{"eval/eer": 0.125, "eval/min_dcf": 0.8})
    return folder / "metrics.jsonl"


def drawn(monkeypatch: pytest.MonkeyPatch, metrics: Path, picture: Path) -> list[list]:
    """Legend labels of each part of the picture, and the points behind them."""
    figure_module = pytest.importorskip("matplotlib.figure")
    figures = []
    save = figure_module.Figure.savefig

    def keep(figure: object, *args: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(figure_module.Figure, "savefig", keep)
    assert draw_curves(metrics, picture)
    return [list(axes.get_lines()) for axes in figures[0].axes]


def test_the_picture_holds_all_six_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(monkeypatch, write_curves(tmp_path / "log"), tmp_path / "run" / "curves.png")
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")
    by_name = {line.get_label().split(",")[0]: line for axes in lines for line in axes}
    names = {"loss", "accuracy", "learning rate", "margin", "EER (%)", "minDCF"}
    assert set(by_name) == names
    assert list(by_name["EER (%)"].get_xdata()) == [50, 100]
    assert list(by_name["EER (%)"].get_ydata()) == [25.0, 12.5]
    assert by_name["EER (%)"].get_label() == "EER (%), lowest 12.5"
    assert list(by_name["loss"].get_xdata()) == list(range(0, 100, 10))


def test_a_run_without_evaluation_has_no_empty_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = write_curves(tmp_path / "log", with_evaluation=False)
    lines = drawn(monkeypatch, metrics, tmp_path / "curves.png")
    assert [len(axes) for axes in lines] == [1, 1, 1, 1]


def test_without_matplotlib_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = write_curves(tmp_path / "log")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    caplog.clear()
    assert not draw_curves(metrics, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "pip install matplotlib" in record.getMessage()


def test_nothing_to_draw_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "metrics.jsonl").write_text('{"step"')
    assert not draw_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
    assert "has no points" in caplog.text
    assert not draw_curves(tmp_path / "gone.jsonl", tmp_path / "curves.png")
    assert "gone.jsonl" in caplog.text
    assert not list(tmp_path.glob("*.png"))
