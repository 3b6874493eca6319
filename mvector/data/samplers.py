"""The sampler that walks the batches of a plan (see :mod:`mvector.data.batch_plans`).

A plan is a function of (seed, epoch): it can be started at any batch, and every process of a run
computes the same one and takes its share of each batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from torch.utils.data import Sampler


class SampleKey(NamedTuple):
    """What a dataset needs to make one training sample.

    Attributes:
        epoch: counted from 0.
        position: the sample's place in the epoch; with the epoch it seeds all that is random.
        clip: index into the list.
        crop_s: length of the crop in seconds; ``None`` is the configured one.
    """

    epoch: int
    position: int
    clip: int
    crop_s: float | None = None


class PlannedBatch(NamedTuple):
    """Clips of a batch, ``(clips,)`` indices, and their common length (None: as configured)."""

    clips: np.ndarray
    crop_s: float | None = None


class BatchPlan(Protocol):
    """The batches of an epoch; as many in every epoch."""

    def __len__(self) -> int: ...

    def batches(self, epoch: int) -> Iterator[PlannedBatch]:
        """The epoch's batches in order."""

    def describe(self) -> str:
        """One sentence for the log: what an epoch holds and what it leaves out."""


class TrainingBatches(Sampler[list[SampleKey]]):
    """Batches of keys from a plan, from any batch on, for one of several processes.

    Args:
        plan: the batches of all processes together; the size of each is a multiple of their
            number.
        rank: which process this is.
        world_size: number of processes.
    """

    def __init__(self, plan: BatchPlan, *, rank: int = 0, world_size: int = 1) -> None:
        self.plan = plan
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.first_batch = 0

    def set_position(self, epoch: int, first_batch: int = 0) -> None:
        """Choose what the next iteration yields: an epoch, from one of its batches on."""
        self.epoch = epoch
        self.first_batch = first_batch

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return len(self.plan)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        position = 0
        for number, batch in enumerate(self.plan.batches(self.epoch)):
            size = len(batch.clips)
            if number >= self.first_batch:
                share = size // self.world_size
                start = self.rank * share
                yield [
                    SampleKey(self.epoch, position + place, int(batch.clips[place]), batch.crop_s)
                    for place in range(start, start + share)
                ]
            position += size
