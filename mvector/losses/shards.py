"""Which classes a process holds, and what it exchanges with the others about them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from mvector.compute.distributed import current_world

_ROWS_DRAWN_TOGETHER = 4096


# ---- exchange in forward and backward pass ----------------------------------------------------


def counts_of_rows(num_rows: int) -> list[int]:
    """How many rows each process has; asked between CPUs, so that no GPU is waited for."""
    size = current_world().size
    if size == 1:
        return [num_rows]
    counts = [torch.empty(1, dtype=torch.long) for _ in range(size)]
    dist.all_gather(counts, torch.tensor([num_rows]))
    return [int(count) for count in counts]


def gather_rows(rows: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """The rows of all processes ``(sum of counts, ...)`` in the order of ranks; no gradient."""
    if len(counts) == 1:
        return rows
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])


class GatherEmbeddings(torch.autograd.Function):
    """The embeddings of all processes, for a loss to which every process contributes a part.

    Backward, the parts of the gradient are added up over the processes, and each takes the rows of
    its own embeddings times the number of processes: ``DistributedDataParallel`` will divide the
    backbone's gradients by this number, while the loss is a mean over all clips already.
    """

    @staticmethod
    def forward(ctx: Any, embeddings: torch.Tensor, counts: list[int]) -> torch.Tensor:
        rank = current_world().rank
        start = sum(counts[:rank])
        ctx.own, ctx.size = slice(start, start + counts[rank]), len(counts)
        return gather_rows(embeddings, counts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.own] * ctx.size, None


class SumOverProcesses(torch.autograd.Function):
    """A sum over the processes, of which every process goes on to compute the same loss.

    Backward, the gradient of the sum is that of each term: all processes hold the same one.
    """

    @staticmethod
    def forward(ctx: Any, terms: torch.Tensor) -> torch.Tensor:
        total = terms.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


# ---- shards -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shard:
    """Which of the ``num_classes`` of all processes one of them holds."""

    num_classes: int
    rank: int
    size: int

    @property
    def first(self) -> int:
        """The first class of this process; the first of the next one is the end of its own."""
        return self.num_classes * self.rank // self.size

    def __len__(self) -> int:
        return Shard(self.num_classes, self.rank + 1, self.size).first - self.first

    def rows(self, rows_per_class: int = 1) -> slice:
        """Its rows in a tensor of all classes."""
        return slice(self.first * rows_per_class, (self.first + len(self)) * rows_per_class)

    def all_shards(self) -> list[Shard]:
        """The shards of all processes, this one included, in order."""
        return [Shard(self.num_classes, rank, self.size) for rank in range(self.size)]


def initial_rows(rows: slice, num_rows: int, dim: int, *, seed: int) -> torch.Tensor:
    """Some rows of a weight ``(num_rows, dim)``, Xavier-uniform over all of it.

    The values do not depend on which rows are asked for, so that any number of processes starts
    from the same classifier, and none holds all of it.
    """
    bound = math.sqrt(6.0 / (num_rows + dim))
    weight = torch.empty(rows.stop - rows.start, dim)
    block = _ROWS_DRAWN_TOGETHER
    for number in range(rows.start // block, -(-rows.stop // block)):
        drawn = np.random.default_rng((seed, number)).random((block, dim), dtype=np.float32)
        start, stop = max(rows.start, number * block), min(rows.stop, (number + 1) * block)
        values = torch.from_numpy(drawn[start - number * block : stop - number * block])
        weight[start - rows.start : stop - rows.start] = (2.0 * values - 1.0) * bound
    return weight


def num_sampled_classes(num_classes: int, sample_rate: float, batch_size: int) -> int:
    """How many classes of a shard take part in a step: a share, and all that the batch may hold."""
    return min(num_classes, max(math.ceil(sample_rate * num_classes), batch_size))


class ClassifierMemory(NamedTuple):
    """Bytes that a classifier takes in each process of a run, in float32."""

    weights: int
    gradients: int
    optimizer: int  # Adam's two averages
    logits: int  # of the batch of all processes, with the copies that the loss makes of them
    directions: int  # the normalised class vectors that take part in a step, and their gradients

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


def classifier_memory(
    num_speakers: int,
    *,
    num_processes: int = 1,
    embd_dim: int = 192,
    global_batch: int = 512,
    num_centers: int = 1,
    sample_rate: float = 1.0,
) -> ClassifierMemory:
    """What the largest shard of a classifier takes while it is trained with Adam in float32.

    Speakers and ``global_batch`` are those of all processes; other arguments are as in
    :class:`mvector.losses.sharded.ShardedClassifier`.
    """
    classes = -(-num_speakers // num_processes)
    taking_part = num_sampled_classes(classes, sample_rate, global_batch)
    weights = 4 * classes * num_centers * embd_dim
    directions = 4 * taking_part * num_centers * embd_dim
    logits = 4 * taking_part * num_centers * global_batch
    return ClassifierMemory(
        weights=weights,
        gradients=weights,
        optimizer=2 * weights,
        logits=3 * logits,
        directions=2 * directions if sample_rate == 1.0 else 4 * directions,
    )
