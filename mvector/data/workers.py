"""Worker processes: what each does first, and a map over many items in several of them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from mvector.compute.threads import num_processors
from mvector.errors import DataError

_TASKS_PER_WORKER = 4
_GRACE_S = 1.0
# Windows waits for 63 things at once at the most, of which the pool needs two itself.
_MAX_WORKERS = 61 if sys.platform == "win32" else sys.maxsize

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def end_with_parent() -> None:
    """Leave interrupts to the parent process, and end when it is gone, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def end_daemons() -> None:
    """End the daemonic processes of this one; to be registered with :mod:`atexit`.

    Where an exception ends the program, its traceback keeps a data loader and so its workers
    alive. Python would send them SIGTERM, which they leave to the parent, and wait for ever.
    """
    if hasattr(signal, "SIGCHLD"):  # torch's handler would raise for each worker that is killed
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    daemons = [process for process in multiprocessing.active_children() if process.daemon]
    for process in daemons:
        process.terminate()
    until_s = time.monotonic() + _GRACE_S
    for process in daemons:
        process.join(max(0.0, until_s - time.monotonic()))
        if process.is_alive():
            process.kill()


def map_in_order(
    task: Callable[[_Item], _Result],
    items: Iterable[_Item],
    num_workers: int | None,
    *,
    num_items: int = sys.maxsize,
    when_lost: Callable[[_Item], _Result] | None = None,
) -> Generator[_Result, None, None]:
    """``map(task, items)`` in several processes, a few results ahead of the caller.

    Processes, not threads: decoding goes through Python file objects, which threads would wait
    for one another at. Close the iterator to stop early. The processes end with this one, even
    if it is killed.

    Args:
        task: a function that pickles.
        items: its arguments.
        num_workers: 0 works in this process; ``None`` takes a process per processor.
        num_items: how many there are, where that is known: more processes are not started.
        when_lost: called with each item that a process died of, or together with; its result
            takes the place of the one that is missing.

    Raises:
        DataError: a process died, and ``when_lost`` is not given.
    """
    if num_workers == 0:
        yield from map(task, items)
        return
    num_workers = min(num_workers or num_processors(), max(num_items, 1), _MAX_WORKERS)
    remaining = iter(items)
    while lost := (yield from _map_in_one_pool(task, remaining, num_workers)):
        if when_lost is None:
            raise DataError(
                "A worker process died, perhaps for want of memory; run the same command again "
                "with fewer --num_workers."
            )
        yield from map(when_lost, lost)


def _map_in_one_pool(
    task: Callable[[_Item], _Result], items: Iterator[_Item], num_workers: int
) -> Generator[_Result, None, list[_Item]]:
    """Yield results until a worker dies; return the items that were taken and have no result."""
    waiting: deque[_Item] = deque()
    futures: deque[Future[_Result]] = deque()
    with ProcessPoolExecutor(num_workers, initializer=end_with_parent) as pool:
        try:
            while True:
                # a bounded queue: neither items nor results pile up
                for item in islice(items, num_workers * _TASKS_PER_WORKER - len(waiting)):
                    waiting.append(item)  # first, as submitting fails where the pool is broken
                    futures.append(pool.submit(task, item))
                if not waiting:
                    return []
                result = futures.popleft().result()
                waiting.popleft()
                yield result
        except BrokenProcessPool:
            return list(waiting)
        except BaseException:  # Ctrl-C, or the caller stops: do not finish what is queued
            pool.shutdown(cancel_futures=True)
            raise
