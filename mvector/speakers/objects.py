"""Objects of a bucket, in an object store that speaks S3's protocol, through fsspec.

Endpoint and credentials are those of the usual environment variables and files of S3's clients
(``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_PROFILE``, ``AWS_ENDPOINT_URL`` and so on).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

from mvector.errors import LibraryError, import_errors_as

SCHEME = "s3://"
AT_ONCE = 16  # requests
# Who writes has the library's lock meanwhile, and loses it after 60 s without a word
_WAIT_S = 30.0  # for what is written, read or deleted at once; those of the client know no writing
_LIST_S = 600.0
_CONFIG = {
    "connect_timeout": 4,
    "read_timeout": 8,
    "retries": {"mode": "standard", "total_max_attempts": 2},
}


class Objects:
    """Objects below a prefix, by their names; usable from any thread and after a fork.

    Args:
        address: ``s3://bucket/prefix``.

    All methods raise a ``LibraryError`` where the object store cannot be reached, or refuses.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._root = address.removeprefix(SCHEME)
        self._lock, self._process = threading.Lock(), os.getpid()
        self._opened: list[Any] = []  # the last is in use; one must not be closed beyond a fork

    def put(self, objects: Mapping[str, bytes]) -> None:
        """Write objects; each is there whole or not at all. If one fails, no other is under way."""
        written = [(self._path(name), data) for name, data in objects.items()]
        with self._errors("written"):
            self._ask(lambda files: _all_done(files._pipe_file, written))

    def get(self, name: str) -> bytes | None:
        """What an object holds; ``None`` where there is none."""
        with self._errors("read"):
            try:
                return bytes(self._ask(lambda files: files._cat_file(self._path(name))))
            except FileNotFoundError as error:
                if _code(error) == "NoSuchBucket":
                    raise
                return None

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; what is not there is passed over."""
        deleted = [(self._path(name),) for name in names]
        with self._errors("deleted"):
            self._ask(lambda files: _all_done(files._rm_file, deleted))

    def names(self) -> list[str]:
        """Names of all objects, which takes one request for each thousand."""
        with self._errors("listed"):
            found = self._ask(lambda files: files._find(self._root), _LIST_S)
        return [path.removeprefix(f"{self._root}/") for path in found]

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _ask(self, work: Callable[[Any], Awaitable[Any]], wait_s: float | None = None) -> Any:
        """Do something with the file system, in the loop of its thread."""
        files = self._files()
        from fsspec.asyn import sync

        return sync(files.loop, work, files, timeout=wait_s or _WAIT_S)

    def _files(self) -> Any:
        with self._lock:
            if not self._opened or self._process != os.getpid():
                what = "Clips in an object store need packages that are not installed: "
                with import_errors_as(f"{what}pip install '.[s3]' in the folder of mvector."):
                    import fsspec

                    files = fsspec.filesystem(
                        "s3",
                        anon=False,
                        max_concurrency=1,  # of one object, whose size is not asked for then
                        config_kwargs=_CONFIG,
                        use_listings_cache=False,
                        skip_instance_cache=True,
                    )
                files.retries = 1  # beside those of the client below it
                self._opened.append(files)
                self._process = os.getpid()
            return self._opened[-1]

    @contextmanager
    def _errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except LibraryError:
            raise
        except Exception as error:  # OSError, and what botocore has, which is not of one kind
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            if isinstance(error, asyncio.TimeoutError):
                reason = "there is no answer in time"
            raise LibraryError(
                f"The clips in '{self.address}' cannot be {done}: {reason}; check that the bucket "
                "is there, AWS_ENDPOINT_URL and the credentials of the AWS_ variables.",
                code="clips-unreachable",
            ) from error


async def _all_done(
    work: Callable[..., Awaitable[object]], arguments: Iterable[tuple[Any, ...]]
) -> None:
    """Do something with each of some arguments, a few at a time.

    The first failure is raised when nothing else is under way.
    """
    rest = iter(arguments)
    while some := [work(*each) for each in islice(rest, AT_ONCE)]:
        for result in await asyncio.gather(*some, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


def _code(error: BaseException) -> str:
    """What the object store calls a failure."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
