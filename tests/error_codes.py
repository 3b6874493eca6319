"""Expecting an error by its code: each message is pinned in the one test that is about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mvector.errors import MVectorError


@contextmanager
def raises_code(code: str) -> Iterator[None]:
    """``with raises_code("audio-silent"):`` passes if the block ends with an error of that code.

    A code belongs to one class, so that this pins the class too.
    """
    with pytest.raises(MVectorError) as caught:
        yield
    assert caught.value.code == code, f"{caught.value} has the code {caught.value.code}"
