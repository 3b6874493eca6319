"""One torch thread instead of many, where many do harm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def single_threaded() -> Iterator[None]:
    """Compute with one torch thread; also a decorator.

    How FFTs and matrix products are divided among threads may change the last bit of a sum. And of
    many short parallel sections each waits for the slowest thread: on a busy machine for one that
    the system does not run.
    """
    num_threads = torch.get_num_threads()
    if num_threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
