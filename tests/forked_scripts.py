"""Root scripts in processes of their own that need not import torch again."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from small_settings import ROOT

PRELOADED = ["torch._dynamo", "mvector.cli.train", "mvector.training.trainer", "visualdl"]
PATIENCE_S = 300.0  # for what must come: a busy machine may take long, a hang takes for ever


def forking() -> BaseContext:
    """One process that has imported torch and the trainer makes all others by forking."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def start_script(script: str, words: Sequence[str], log: Path, **environment: str) -> BaseProcess:
    """``python <script> <words>``, with its output behind what the file holds already."""
    process = forking().Process(target=_run, args=(script, [*words], str(log), environment))
    process.start()
    return process


def finish(process: BaseProcess) -> int | None:
    """Wait for its end and give its exit code; ``None`` for one that hangs, which is killed."""
    process.join(PATIENCE_S)
    code = process.exitcode
    process.kill()
    return code


def _run(script: str, words: list[str], log: str, environment: dict[str, str]) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    torch.set_num_threads(1)
    sys.argv = [script, *words]
    runpy.run_path(str(ROOT / script), run_name="__main__")
