"""Work in processes of its own, forked from that of the test."""

from __future__ import annotations

import os
from collections.abc import Callable


def forked(work: Callable[[], None]) -> int:
    """Run something in a process of its own; its exit code tells whether it came to an end."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)
    return process


def succeeded(process: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
