"""What tests of the library share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from postgres_server import PASSWORD, running_server
from s3_server import ENVIRONMENT, make_bucket, running_s3
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


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Where an object store listens that this session's tests share."""
    with running_s3() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place for clips in a new bucket, and the environment to reach it."""
    for key, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(key, value)
    return make_bucket(f"clips-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def postgres_and_bucket(postgres: str, bucket: str) -> str:
    """The address of a library that is not there yet, whose clips are to be in the bucket."""
    return f"{postgres}&clips={bucket}"
