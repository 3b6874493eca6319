"""One thread, so that results have the same bits in the main process and in any worker."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def single_threaded(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function with one torch thread.

    How FFTs and matrix products are divided among threads may change the last bit of a sum, and a
    worker of a data loader has one thread where the main process has many.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        num_threads = torch.get_num_threads()
        if num_threads == 1:
            return function(*args, **kwargs)
        torch.set_num_threads(1)
        try:
            return function(*args, **kwargs)
        finally:
            torch.set_num_threads(num_threads)

    return run
