"""What benchmarks/gpu.py does for a GPU works, but for CUDA: here it runs on the CPU, in small."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from small_settings import ROOT


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu
    import gpu_checks
    import gpu_runs
    import step_cases

    monkeypatch.setattr(gpu_checks, "QUICK_BACKBONES", ("CAMPPlus",))
    monkeypatch.setattr(gpu_runs, "QUICK_BACKBONES", ("EcapaTdnn",))
    monkeypatch.setitem(step_cases.PRODUCTS, "cpu", [(64, 64, 64)])
    return gpu


@pytest.fixture
def setting(gpu: ModuleType, voices: Path, tmp_path: Path) -> Any:
    return gpu.Setting("cpu", True, gpu.speech(voices, tmp_path), str(tmp_path))


@pytest.mark.parametrize("name", ["features", "embeddings", "steps", "amp", "speed", "whole"])
def test_a_check_runs_and_finds_the_cpu_equal_to_itself(
    name: str, gpu: ModuleType, setting: Any
) -> None:
    rows = list(gpu.CHECKS[name].run(setting))
    assert rows
    assert all(row.passed is not False for row in rows), [row.text() for row in rows]


@pytest.mark.parametrize("name", ["waits", "pinning"])
def test_what_only_a_gpu_can_show_is_told(name: str, gpu: ModuleType, setting: Any) -> None:
    (row,) = gpu.CHECKS[name].run(setting)
    assert (row.found, row.passed) == ("needs a GPU", None)


def test_a_difference_is_found(
    gpu: ModuleType, setting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpu_checks

    real = gpu_checks.loss_and_gradient
    found = iter([1.0, 1.1])

    def another(*given: Any) -> tuple[torch.Tensor, torch.Tensor]:
        loss, gradient = real(*given)
        return loss, gradient * next(found)

    monkeypatch.setattr(gpu_checks, "loss_and_gradient", another)
    (row,) = gpu.CHECKS["steps"].run(setting)
    assert not row.passed


@pytest.mark.parametrize(("code", "passed"), [(0, True), (1, False)])
def test_commands_are_those_of_torchrun(
    code: int, passed: bool, gpu: ModuleType, setting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, code, "", "it failed")

    monkeypatch.setattr(subprocess, "run", run)
    rows = list(gpu.CHECKS["processes"].run(setting))
    assert [row.passed for row in rows] == [passed] * 4
    assert [command[4] for command in commands] == ["--nproc_per_node=1"] * 2 + [
        "--nproc_per_node=2"
    ] * 2


def broken(_: Any) -> Any:
    raise RuntimeError("no kernel image")


def dead(_: Any) -> Any:
    sys.exit(3)


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="processes are spawned here"
)
@pytest.mark.parametrize(
    ("check", "text"), [(broken, "RuntimeError: no kernel image"), (dead, "ended with code 3")]
)
def test_a_check_that_fails_is_a_row(
    check: Callable[[Any], Any],
    text: str,
    gpu: ModuleType,
    setting: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forking = multiprocessing.get_context("fork")  # it has the check that is put in here
    monkeypatch.setattr(gpu.multiprocessing, "get_context", lambda _: forking)
    monkeypatch.setitem(gpu.CHECKS, "features", gpu.Check("features", check))
    rows = list(gpu.outcome(gpu.CHECKS["features"], setting, float("inf")))
    assert [(text in row.found, row.passed) for row in rows] == [(True, False)]
    assert not next(gpu.outcome(gpu.CHECKS["features"], setting, 0.0)).passed


def test_without_a_gpu_it_says_so(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 2
    assert capsys.readouterr().err.strip() == gpu.NO_GPU
