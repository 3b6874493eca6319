"""What tests of the library share."""

from __future__ import annotations

from typing import Any

import pytest
from stand_in import StandInEncoder


@pytest.fixture
def encoder() -> Any:
    return StandInEncoder()
