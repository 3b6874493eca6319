"""What tests of the library share."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from stand_in import StandInEncoder


@pytest.fixture
def encoder() -> Any:
    return StandInEncoder()


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(logging.getLogger("mvector"), "propagate", True)
    return caplog
