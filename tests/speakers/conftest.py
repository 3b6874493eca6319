"""What tests of the library share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from postgres_server import PASSWORD, running_server
from stand_in import StandInEncoder


@pytest.fixture
def encoder() -> Any:
    return StandInEncoder()


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[str]:
    """The folder of the socket of a PostgreSQL that this session's tests share."""
    with running_server() as folder:
        yield folder


@pytest.fixture
def postgres(postgres_socket: str) -> str:
    """The address of a library that is not there yet, with a password that nothing may tell."""
    schema = f"library_{uuid.uuid4().hex[:12]}"
    return f"postgresql://owner:{PASSWORD}@/postgres?host={postgres_socket}&schema={schema}"
