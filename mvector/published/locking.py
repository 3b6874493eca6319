"""Of processes that get one model, one works at a time."""

from __future__ import annotations

import logging
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from mvector.files import NO_LOCKS

logger = logging.getLogger(__name__)


def locked(folder: Path, name: str) -> BaseFileLock:
    """The lock of a model's downloads, once it is this process's; to be released.

    It is one of the system, which a killed process leaves free, or, where the disk has no locks, a
    file that is there meanwhile.

    Raises:
        OSError: the folder cannot be written to.
    """
    file = folder / "lock"
    try:
        return _acquired(FileLock(file), name)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        told = file.with_suffix(".file")
        logger.warning(
            "'%s' is on a disk without locks (%s): '%s' keeps other processes from getting '%s' "
            "meanwhile; delete it where it stays behind and no process is at work.",
            *(folder, error.strerror, told, name),
        )
        return _acquired(SoftFileLock(told), name)


def _acquired(lock: BaseFileLock, name: str) -> BaseFileLock:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("Another process gets '%s': waiting for it.", name)
        lock.acquire()
    return lock
