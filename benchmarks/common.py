"""What the benchmarks share: the machine's name, tasks that are timed in turns, trainings."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # a clone need not be installed
from mvector.cli import run_script
from mvector.config import Config
from mvector.training.trainer import MVectorTrainer


@dataclass(frozen=True)
class TimedTraining:
    """A training that was done: the folder of its best model, what it took, and on how much."""

    folder: Path
    wall_s: float
    num_clips: int

    @property
    def speed(self) -> float:
        """Utterances per second, with decoding, augmentation, features and saving."""
        return self.num_clips / self.wall_s


def print_machine(device: str = "cpu") -> None:
    """Processor, threads, versions and device, as one line."""
    name = torch.cuda.get_device_name() if device == "cuda" else cpu_name()
    print(f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, ", end="")
    print(f"torch {torch.__version__}, device {device}", flush=True)


def cpu_name() -> str:
    """Model of the processor, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def interleaved_times(
    tasks: dict[str, Callable[[], object]], num_runs: int, device: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds that each task takes in rounds in which every task has its turn.

    Whatever else the machine does thus falls on all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for round_number in range(num_runs + 2):
        for name, task in tasks.items():
            _wait_for(device)
            start = time.perf_counter()
            task()
            _wait_for(device)
            if round_number >= 2:  # the first rounds fill caches and pools
                times[name].append(time.perf_counter() - start)
    return times


def _wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def timed_training(config: Config, out: Path, log_dir: Path) -> TimedTraining:
    """Train on the CPU without evaluation."""
    started = time.monotonic()
    trainer = MVectorTrainer(config, use_gpu=False)
    folder = trainer.train(out, log_dir, do_eval=False)
    wall_s = time.monotonic() - started
    return TimedTraining(folder, wall_s, config.train_conf.max_epoch * len(trainer.data.clips))


def pack_corpus(listed: Path, out: Path, *options: str) -> Path:
    """What the command ``pack_corpus`` makes of a list of clips; gives the folder."""
    if run_script("pack_corpus", [str(listed), str(out), *options]) != 0:
        raise SystemExit("the corpus could not be packed")
    return out
