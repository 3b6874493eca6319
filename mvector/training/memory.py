"""Memory: of the CPU, that one step leaves to the next, and what to do when it does not suffice."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from mvector.config.schema import DatasetConf
from mvector.errors import MVectorError

# parameters of mallopt(3)
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NO_MEMORY = ("can't allocate memory", "not enough memory")  # in what torch raises on a CPU


def keep_freed_memory() -> bool:
    """Let this process keep the memory of large tensors that are freed, for the next ones.

    By default glibc hands every large block back to the system as soon as it is freed. A training
    step on the CPU makes and frees gigabytes, and the system fills each page with zeros when it is
    touched again: that takes as long as a third of the arithmetic. The process then stays as large
    as it was at its largest. Returns whether it could be arranged: with glibc only (Linux but for
    Alpine).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))


@contextmanager
def full_memory_as(sentence: str) -> Iterator[None]:
    """Within the block, memory that does not suffice becomes this sentence.

    Raises:
        MVectorError: the memory is full.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not any(
            sign in str(error) for sign in _NO_MEMORY
        ):
            raise
        raise MVectorError(sentence, code="out-of-memory") from error


def out_of_memory_errors(data: DatasetConf) -> AbstractContextManager[None]:
    """As :func:`full_memory_as`, for memory that does not suffice for the batches."""
    return full_memory_as(
        f"The memory does not suffice for batches of {data.dataLoader.batch_size} clips "
        f"of {data.max_duration:g} s; lower dataset_conf.dataLoader.batch_size (with "
        "train_conf.accumulate_batches the steps stay as large) or max_duration."
    )
