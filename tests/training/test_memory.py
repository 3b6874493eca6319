"""Memory of large tensors that stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# pages, of whatever size, that the system must supply while 64 MB are taken and given back 20 times
# once the heap has found its shape
_SCRIPT = """
import resource, torch
from mvector.training.memory import keep_freed_memory
def pages():
    for n in range(40):
        if n == 20:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(1 << 24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(pages())
assert keep_freed_memory()
print(pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_a_tensor_takes_the_pages_that_an_earlier_one_left() -> None:
    output = subprocess.check_output([sys.executable, "-c", _SCRIPT], text=True)
    without, kept = map(int, output.split())
    assert kept < 0.1 * without
