"""Memory of the CPU that one step leaves to the next."""

from __future__ import annotations

import ctypes
import platform

# parameters of mallopt(3)
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Let this process keep the memory of large tensors that are freed, for the next ones.

    By default glibc hands every large block back to the system as soon as it is freed. A training
    step on the CPU makes and frees gigabytes, and the system fills each page with zeros when it is
    touched again: that takes as long as a third of the arithmetic. The process then stays as large
    as it was at its largest.

    Returns:
        Whether it could be arranged: with glibc only (Linux but for Alpine).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))
