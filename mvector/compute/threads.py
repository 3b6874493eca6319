"""How many threads compute: one instead of many, where many do harm."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def num_processors() -> int:
    """Processors that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def num_threads() -> int:
    """Threads to compute with: one for each processor, or as OMP_NUM_THREADS says."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else num_processors()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Compute with one torch thread; also a decorator.

    How FFTs and matrix products are divided among threads may change the last bit of a sum. And of
    many short parallel sections each waits for the slowest thread: on a busy machine for one that
    the system does not run.
    """
    import torch

    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
