"""Memory of large tensors that stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# pages, of whatever size, that the system must supply while 64 MB are taken and given back 20 times
_COUNT = """
import resource, torch
from mvector.training.memory import keep_freed_memory
{call}
for n in range(22):
    if n == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_pages(call: str) -> int:
    script = _COUNT.format(call=call)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_a_tensor_takes_the_pages_that_an_earlier_one_left() -> None:
    assert count_pages("assert keep_freed_memory()") < 0.1 * count_pages("")
