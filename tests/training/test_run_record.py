"""What a run folder records: configuration, code, machine, command, starts and ends."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

import mvector
from mvector.config import load_config
from mvector.errors import DataError
from mvector.training.run_record import git_version, last_recorded, record_run
from mvector.training.stopping import TrainingStopped

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _log_to_pytest(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mvector")


def entries(folder: Path) -> list[dict]:
    return json.loads((folder / "environment.json").read_text())


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def record(config: dict, folder: Path, *, goes_on: bool = False, **started: Any) -> dict:
    """Start and end a run; returns the last entry as it was in between."""
    options = {"goes_on": goes_on, "started": started, "ended": lambda: {"step": 10}}
    with record_run(folder, load_config(config), CPU, **options):
        return entries(folder)[-1]


def test_the_configuration_of_a_run_can_be_run_again(small_config: dict, tmp_path: Path) -> None:
    record(small_config, tmp_path)
    assert load_config(tmp_path / "config.yml") == load_config(small_config)


def test_code_machine_and_command_are_recorded_without_the_name_of_the_host(
    small_config: dict, tmp_path: Path
) -> None:
    entry = record(small_config, tmp_path, run_id="one")
    assert entry["run_id"] == "one"
    assert entry["mvector"] == mvector.__version__
    assert entry["torch"] == str(torch.__version__)
    assert entry["python"] == ".".join(map(str, sys.version_info[:3]))
    assert shlex.split(entry["command"]) == sys.orig_argv
    assert entry["device"]
    assert entry["num_cpus"] >= 1
    assert entry["num_processes"] == 1
    assert entry["started"][:2] == "20"
    values = [value for key, value in entry.items() if key not in ("command", "working_folder")]
    assert socket.gethostname() not in values


def test_a_resumed_run_adds_an_entry(small_config: dict, tmp_path: Path) -> None:
    record(small_config, tmp_path)
    first = entries(tmp_path)[0]
    small_config["train_conf"]["max_epoch"] = 7
    record(small_config, tmp_path, goes_on=True, resumed_at_step=123)
    both = entries(tmp_path)
    assert len(both) == 2
    assert both[0] == first
    assert both[1]["resumed_at_step"] == 123
    assert load_config(tmp_path / "config.yml").train_conf.max_epoch == 7


def test_a_new_run_begins_a_new_record(small_config: dict, tmp_path: Path) -> None:
    for _ in range(2):
        record(small_config, tmp_path)
    assert len(entries(tmp_path)) == 1


@pytest.mark.parametrize("damage", ["", '{"not": "a list"}', "[{"])
def test_a_damaged_record_does_not_keep_a_run_from_going_on(
    small_config: dict, tmp_path: Path, damage: str
) -> None:
    (tmp_path / "environment.json").write_text(damage)
    assert last_recorded(tmp_path, "run_id") is None
    record(small_config, tmp_path, goes_on=True, run_id="one")
    assert len(entries(tmp_path)) == 1
    assert last_recorded(tmp_path, "run_id") == "one"


@pytest.mark.parametrize(
    ("error", "how"),
    [
        (None, "finished"),
        (DataError("the list is gone"), "failed: the list is gone"),
        (KeyboardInterrupt(), "failed: KeyboardInterrupt"),
        (TrainingStopped("", signal.SIGTERM), "stopped by SIGTERM"),
    ],
)
def test_the_end_joins_the_entry_of_this_start(
    small_config: dict, tmp_path: Path, error: BaseException | None, how: str
) -> None:
    record(small_config, tmp_path)
    config, ended = load_config(small_config), {"best_eer": 0.25, "best_min_dcf": float("inf")}
    with (
        nullcontext() if error is None else pytest.raises(type(error)),
        record_run(tmp_path, config, CPU, goes_on=True, started={}, ended=lambda: ended),
    ):
        assert "ended" not in entries(tmp_path)[-1]  # as a killed process leaves it
        if error is not None:
            raise error
    first, last = entries(tmp_path)
    assert first["how_it_ended"] == "finished"
    assert last["how_it_ended"] == how
    assert last["ended"] >= last["started"]
    assert last["best_eer"] == 0.25
    assert last["best_min_dcf"] is None


def test_a_full_disk_costs_the_record_and_not_the_run(
    small_config: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mvector.training.run_record.write_text", full)
    options = {"goes_on": False, "started": {}, "ended": dict}
    with record_run(tmp_path, load_config(small_config), CPU, **options):
        pass
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
