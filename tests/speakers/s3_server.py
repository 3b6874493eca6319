"""An object store of the tests' own that speaks S3's protocol, on the loopback of this process."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# Nothing of the machine's: no settings, no credentials, no question for them in the network
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "not-to-be-told",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
_PACKAGES = ("s3fs", "moto", "flask", "flask_cors")


@contextmanager
def running_s3(port: int = 0) -> Iterator[str]:
    """Its endpoint; tests are skipped where the packages are missing.

    All such servers of a process hold the same, and one can come back at the ``port`` it had.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"no object store to be tested with: {', '.join(missing)}")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def make_bucket(name: str) -> str:
    """A new bucket of the server that the environment names: a place in it for clips."""
    import boto3

    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/some/where"


def object_names(place: str) -> set[str]:
    """The last parts of the names of all objects below a place, the library's sign left out."""
    import boto3

    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    listed = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    names = {entry["Key"].rpartition("/")[2] for entry in listed}
    return {name for name in names if not name.startswith("voiceprints.")}
