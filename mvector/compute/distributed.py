"""Several processes that train one model: joining them, and what they exchange.

``torchrun`` starts the processes and says in the environment who each of them is. Every function
here also works in a run of one process, and then without torch. All but :func:`lost_process_errors`
and :func:`current_world` are collective: every process must call them, in the same order. Tensors
are exchanged by :mod:`mvector.compute.exchange`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np

from mvector.errors import MVectorError, needing_training_packages

T = TypeVar("T")
TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
CPU_TIMEOUT_S = 60.0
GPU_TIMEOUT_S = 600.0
# What the messages of torch's RuntimeErrors hold when the fault is not in this process.
_LOST_PROCESS_SIGNS = (
    "connection closed",
    "connection reset",
    "connection refused",
    "broken pipe",
    "timed out",
    "timeout",
    "gloo",
    "nccl",
)
_kept_groups: list[object] = []


class DistributedError(MVectorError):
    """Processes of one run that cannot start together, or one of them that was lost."""

    code = "distributed"


@dataclass(frozen=True)
class World:
    """Which process of a run this is.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        local_rank: number of this process among those of its host; also its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and logs."""
        return self.rank == 0

    def share(self, total: int) -> slice:
        """This process's part of a list of ``total`` items; parts differ by one item at most.

        The parts of all processes, put together in the order of their ranks (as
        :func:`all_gather_rows` does), are the list again.
        """
        return slice(total * self.rank // self.size, total * (self.rank + 1) // self.size)


@contextmanager
def open_world(device_type: str, *, timeout_s: float | None = None) -> Iterator[World]:
    """Join the other processes of a ``torchrun``; without it, be the only one.

    Tensors on the CPU travel by gloo, those on GPUs by NCCL. A process that waits longer than the
    timeout for another raises :class:`DistributedError` on the CPU. On GPUs NCCL ends the process
    with a message of its own; its timeout is longer because compiling a model or choosing kernels
    may take minutes. When a process ends with an error, ``torchrun`` stops the others of its host
    at once: the timeouts are for processes that hang and for other hosts that are lost.

    Args:
        device_type: ``cuda`` (each process then uses the GPU of its local rank) or ``cpu``.
        timeout_s: longest wait for another process; ``None`` is one minute on the CPU and ten on
            GPUs. Work of one process alone must be shorter than that.

    Raises:
        DistributedError: the other processes cannot be reached, or there are more than GPUs.
    """
    if any(name not in os.environ for name in TORCHRUN_VARIABLES):
        yield World()
        return
    with needing_training_packages():
        import torch
        import torch.distributed as dist
    if not dist.is_available():
        raise DistributedError(
            "This build of PyTorch cannot train in several processes; start train.py without "
            "torchrun."
        )
    world = _world_of_environment()
    on_gpu = device_type == "cuda"
    if on_gpu:
        _choose_gpu(world)
    default_s = GPU_TIMEOUT_S if on_gpu else CPU_TIMEOUT_S
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            timeout=timedelta(seconds=default_s if timeout_s is None else timeout_s),
            device_id=torch.device("cuda", world.local_rank) if on_gpu else None,
        )
    except (RuntimeError, ValueError) as error:
        raise DistributedError(
            f"Process {world.rank} of {world.size} cannot join the others at "
            f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} ({_first_line(error)}); "
            "check that all hosts reach this address and start as many processes as they say."
        ) from error
    # A DistributedDataParallel that outlives the group must not drop its last reference: it would
    # hold the GIL while it waits for threads of gloo that want the GIL, for ever.
    _kept_groups.append(dist.group.WORLD)
    failed = True
    try:
        yield world
        failed = False
    finally:
        # After a failure NCCL would wait here for exchanges that never come; leaving the process
        # closes its connections just as well.
        if not (failed and on_gpu):
            dist.destroy_process_group()


@contextmanager
def lost_process_errors() -> Iterator[None]:
    """Within the block, an exchange that fails because another process is gone is one sentence.

    For code that exchanges tensors by itself, such as ``DistributedDataParallel``; the functions
    of this module need no such wrapping.

    Raises:
        DistributedError: another process ended or did not answer in time.
    """
    try:
        yield
    except RuntimeError as error:
        message = str(error).lower()
        world = current_world()
        if world.size == 1 or not any(sign in message for sign in _LOST_PROCESS_SIGNS):
            raise
        raise DistributedError(
            f"Process {world.rank} of {world.size} lost another process of the run "
            f"({_first_line(error)}); mend what the message of the one that ended first says, "
            "and continue from the last checkpoint with --resume_model."
        ) from error


def any_rank(flag: bool) -> bool:
    """Whether the flag is set in any process.

    The answer travels between the CPUs, so that asking in every step leaves a GPU's queue of work
    alone.
    """
    if not _is_joined():
        return bool(flag)
    import torch
    import torch.distributed as dist

    number = torch.tensor([int(flag)])
    with lost_process_errors():
        dist.all_reduce(number)
    return bool(number.item())


def gather_objects(item: T) -> list[T]:
    """A picklable object of every process, in the order of ranks; an empty list but on rank 0."""
    if not _is_joined():
        return [item]
    import torch.distributed as dist

    is_main = dist.get_rank() == 0
    items: list[Any] = [None] * dist.get_world_size()
    with lost_process_errors():
        dist.gather_object(item, items if is_main else None, dst=0)
    return items if is_main else []


def from_main(item: T) -> T:
    """The picklable object that rank 0 holds, in every process; those of others are ignored."""
    if not _is_joined():
        return item
    import torch.distributed as dist

    items: list[Any] = [item]
    with lost_process_errors():
        dist.broadcast_object_list(items, src=0)
    return items[0]


def all_gather_rows(rows: np.ndarray) -> np.ndarray:
    """The rows ``(rows, ...)`` of all processes in the order of the ranks, in each of them.

    Processes may have different numbers of rows, zero included.

    Raises:
        ValueError: types or shapes differ otherwise.
    """
    if not _is_joined():
        return rows
    import torch
    import torch.distributed as dist

    size = dist.get_world_size()
    forms: list[Any] = [None] * size
    with lost_process_errors():
        dist.all_gather_object(forms, (rows.dtype.str, rows.shape))
    if len({(dtype, shape[1:]) for dtype, shape in forms}) > 1:
        raise ValueError(f"Arrays of different forms cannot be joined: {forms}")
    num_bytes = [int(np.prod(shape)) * rows.dtype.itemsize for _, shape in forms]
    padded = torch.zeros(max(1, *num_bytes), dtype=torch.uint8)
    padded.numpy()[: rows.nbytes] = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
    gathered = [torch.empty_like(padded) for _ in range(size)]
    with lost_process_errors():
        dist.all_gather(gathered, padded)
    parts = [
        part.numpy()[:count].view(rows.dtype).reshape(shape)
        for part, count, (_, shape) in zip(gathered, num_bytes, forms, strict=True)
    ]
    return np.concatenate(parts)


def barrier() -> None:
    """Wait until every process is here."""
    any_rank(False)


def current_world() -> World:
    """The run that this process has joined, by rank and size; of one process if it has not."""
    dist = sys.modules.get("torch.distributed")  # who has joined a run has imported it
    if dist is not None and dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()


def _is_joined() -> bool:
    return current_world().size > 1


def _world_of_environment() -> World:
    try:
        rank, size, local_rank = (int(os.environ[name]) for name in TORCHRUN_VARIABLES[:3])
    except ValueError as error:
        raise DistributedError(
            "RANK, WORLD_SIZE and LOCAL_RANK in the environment are not whole numbers; start "
            "with torchrun, which sets them."
        ) from error
    return World(rank, size, local_rank)


def _choose_gpu(world: World) -> None:
    import torch

    num_gpus = torch.cuda.device_count()
    if world.local_rank >= num_gpus:
        raise DistributedError(
            f"There is no GPU for process {world.local_rank + 1} of this host, which has "
            f"{num_gpus}; lower --nproc_per_node of torchrun to {max(num_gpus, 1)}."
        )
    torch.cuda.set_device(world.local_rank)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")
