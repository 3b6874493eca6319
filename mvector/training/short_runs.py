"""Runs of a few steps that write nothing: does it fit, how long will it take, at which rate?"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch

from mvector.compute.distributed import any_rank
from mvector.compute.exchange import all_reduce_sum
from mvector.data.dataset import TrainingBatch
from mvector.data.loader import TrainingData
from mvector.errors import DataError
from mvector.training.checkpoint import run_folder_of
from mvector.training.learner import Learner
from mvector.training.learning_rate_finder import LearningRateCurve, find_learning_rate
from mvector.training.optimizers import set_learning_rate
from mvector.training.pretrained import load_pretrained
from mvector.training.run import open_run
from mvector.training.run_folder import Folder

_MEASURED_S = 5.0


@dataclass(frozen=True)
class DryRun:
    """What a few steps tell of the whole run.

    Attributes:
        peak_memory: bytes; of the GPU, or of this process on a CPU (loader workers not included).
        utterances_per_s: of all processes, loading and augmentation included.
        training_s: all epochs, in seconds, without evaluation.
        num_steps: steps taken; the first one is not in the speed.
    """

    peak_memory: int
    utterances_per_s: float
    training_s: float
    num_steps: int

    def __str__(self) -> str:
        return (
            f"fits: peak memory {self.peak_memory / 2**30:.2f} GiB, "
            f"{self.utterances_per_s:.1f} utterances/s, estimated total time "
            f"{timedelta(seconds=round(self.training_s))} without evaluation "
            f"(measured on {self.num_steps} steps)"
        )


def dry_run(
    learner: Learner,
    data: TrainingData,
    resume_model: Folder | None = None,
    pretrained_model: Folder | None = None,
) -> DryRun:
    """Take two steps, or more while they last less than five seconds.

    The steps change the learner, which is not to be used afterwards.

    Args:
        learner: of the run.
        data: of the run.
        resume_model: run whose weights it goes on with, for :meth:`MVectorTrainer.train`.
        pretrained_model: model folder that it begins with.

    Raises:
        CheckpointError: the run or model does not fit.
        DataError: no batch could be used.
    """
    if resume_model is not None:
        path = Path(resume_model)
        open_run(learner, data, (run_folder_of(path) or path, path))
    elif pretrained_model is not None:
        load_pretrained(learner, pretrained_model, data)
    if learner.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(learner.device)
    learner.begin_epoch(0)
    num_clips, num_steps, since = 0, 0, 0.0
    for batch in _batches_of_all_epochs(data):
        if num_steps == 1:
            since = time.monotonic()
        elif num_steps > 1 and any_rank(time.monotonic() - since > _MEASURED_S):
            break  # each process has a clock of its own: they stop together, or one would be lost
        _train_on(learner, batch, num_steps)
        if learner.device.type == "cuda":
            torch.cuda.synchronize(learner.device)
        num_clips += len(batch.labels) if num_steps else 0
        num_steps += 1
    elapsed_s = time.monotonic() - since
    batch_s = elapsed_s / (num_steps - 1)
    return DryRun(
        peak_memory=_peak_memory(learner.device),
        utterances_per_s=num_clips * learner.world.size / elapsed_s,
        training_s=batch_s * len(data.batches) * learner.config.train_conf.max_epoch,
        num_steps=num_steps,
    )


def learning_rate_test(
    learner: Learner, data: TrainingData, *, min_lr: float, max_lr: float, num_steps: int
) -> LearningRateCurve:
    """A range test with the network, loss, margin and batches that training begins with.

    Rates as for :func:`mvector.training.learning_rate_finder.find_learning_rate`. The steps change
    the learner, which is not to be used afterwards.

    Raises:
        ConfigError: the rates are no range, or the loss is never finite.
        DataError: no batch could be used.
    """
    learner.begin_epoch(0)
    batches = enumerate(_batches_of_all_epochs(data))

    def step(rate: float) -> float:
        number, batch = next(batches)
        return _train_on(learner, batch, number, rate)

    return find_learning_rate(step, min_lr=min_lr, max_lr=max_lr, num_steps=num_steps)


def _batches_of_all_epochs(data: TrainingData) -> Iterator[TrainingBatch]:
    """Batches of one epoch after the other, but for those that are too small."""
    for epoch in itertools.count():
        data.batches.set_position(epoch)
        used, reason = 0, ""
        for batch in data.loader:
            if len(batch.labels) >= 2:
                used += 1
                yield batch
            elif batch.skipped:
                reason = batch.skipped[0].reason
        if not used:
            raise DataError(f"No training clip could be used in a whole epoch; the last: {reason}")


def _train_on(
    learner: Learner, batch: TrainingBatch, number: int, rate: float | None = None
) -> float:
    """One step; returns the loss before it, the mean over all processes, which so agree on it."""
    learner.set_schedules(0.0, number)
    if rate is not None:
        set_learning_rate(learner.optimizer, rate)
    weight = learner.batch_weight(len(batch.labels))
    loss = torch.tensor(math.nan)
    if weight is not None:
        loss = learner.learn(batch, weight=weight, last=True).loss
    learner.update(f"step {number + 1}")
    return float(all_reduce_sum(loss)) / learner.world.size


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0  # no simple way to ask
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
