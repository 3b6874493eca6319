"""Downloading a file: what was begun goes on, and nothing counts as there that is not whole."""

from __future__ import annotations

import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO

from mvector.errors import CheckpointError
from mvector.files import file_sha256
from mvector.progress import progress_bar
from mvector.published.connections import (
    FOR_GOOD,
    NotGotError,
    OtherFileError,
    Redirects,
    length_of,
    reason_of,
    start_of,
    total_of,
    version_of,
)
from mvector.published.table import PublishedFile
from mvector.version import __version__

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0

_MOST_BYTES = 4 << 30
_MOST_CONNECTIONS = 20  # for one file from one place
_MOST_IN_VAIN = 4  # of them, one behind the other, that bring nothing
_PAUSE_S = 0.5
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Download:
    """A file that came whole: where it lies, its sum, and the address it is from."""

    path: Path
    sha256: str
    url: str


@dataclass(frozen=True)
class _Begun:
    """What is written down of a file that is begun: its address and, if known, version."""

    url: str
    version: str | None


def download(
    file: PublishedFile,
    urls: Sequence[str],
    folder: Path,
    *,
    sha256: str | None = None,
    progress: bool = True,
    timeout_s: float = TIMEOUT_S,
) -> Download:
    """Get a file from the first place that has it, going on with what is there of it.

    Args:
        file: what to get.
        urls: places to ask, in this order.
        folder: to write it into, beside what is begun of it.
        sha256: that it must have.
        progress: show how far it is.
        timeout_s: how long a place may say nothing.

    Raises:
        CheckpointError: no place has it (code ``download-failed``), or what they have is another
            file (``download-mismatch``).
        OSError: it cannot be written.
    """
    reasons, is_other = [], False
    part = folder / f"{file.name}.part"

    def fetch(url: str) -> str:
        _fetch(file, url, part, knows_sum=sha256 is not None, show=progress, wait=timeout_s)
        return file_sha256(part)

    for url in urls:
        is_pieced = part.exists()
        try:
            found = fetch(url)
            if is_pieced and sha256 not in (None, found):  # a piece that was there may be at fault
                _forget(part)
                found = fetch(url)
        except NotGotError as reason:
            logger.info("%s: %s", url, reason)
            reasons.append(f"{url}: {reason}")
            is_other |= isinstance(reason, OtherFileError)
            continue
        if sha256 in (None, found):
            os.replace(part, folder / file.name)
            _note_of(part).unlink(missing_ok=True)
            return Download(folder / file.name, found, url)
        _forget(part)
        is_other = True
        reasons.append(f"{url}: the file there has the sha256 {found} and not {sha256}")
    if is_other:
        raise CheckpointError("; ".join(reasons), code="download-mismatch")
    raise CheckpointError("; ".join(reasons), code="download-failed")


def _fetch(
    file: PublishedFile, url: str, part: Path, *, knows_sum: bool, show: bool, wait: float
) -> None:
    """Fill ``part``, over as many connections as it takes."""
    if _begun(part, url, knows_sum) is None:
        _forget(part)
    in_vain, most = 0, 0
    for _ in range(_MOST_CONNECTIONS):
        before = _size(part)
        try:
            if _is_whole_behind(file, url, part, knows_sum=knows_sum, show=show, wait=wait):
                return
            reason = "the connection ended before the file did"
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}".strip()
            error.close()
            if error.code == 416 and before:  # nothing lies behind what is there
                if total_of(error.headers) == before:
                    return
                _forget(part)
            elif error.code < 500 and error.code not in (408, 429):
                raise NotGotError(reason) from error
        except (urllib.error.URLError, HTTPException, ConnectionError) as error:
            reason = reason_of(error)
            if isinstance(getattr(error, "reason", None), FOR_GOOD):
                raise NotGotError(reason) from error
        in_vain = 0 if _size(part) > most else in_vain + 1
        most = max(most, _size(part))
        if in_vain >= _MOST_IN_VAIN:
            break
        time.sleep(_PAUSE_S * in_vain)
    raise NotGotError(reason)


def _is_whole_behind(
    file: PublishedFile, url: str, part: Path, *, knows_sum: bool, show: bool, wait: float
) -> bool:
    """Open a connection, write what it brings, and tell whether the file is whole then."""
    begun = _begun(part, url, knows_sum)
    have = _size(part) if begun else 0
    headers = {"User-Agent": f"mvector/{__version__}", "Accept-Encoding": "identity"}
    if begun is not None and have:
        headers["Range"] = f"bytes={have}-"
        if begun.version is not None:
            headers["If-Range"] = begun.version
    with _opened(urllib.request.Request(url, headers=headers), wait) as response:
        if response.headers.get_content_type() == "text/html":
            raise NotGotError("it answers with a web page, which may ask to log in")
        goes_on = response.status == 206 and start_of(response.headers) == have
        if response.status == 206 and not goes_on:
            _forget(part)
            raise ConnectionError("it answered with another part of the file than was asked for")
        total = total_of(response.headers) if goes_on else length_of(response.headers)
        _check_size(file, total)
        if not goes_on:
            have = 0
        begun = _Begun(url, version_of(response.headers))
        with open(part, "ab" if goes_on else "wb") as stream:
            # behind the truncation: a new version must never be noted over the bytes of an old one
            _note_of(part).write_text(json.dumps(asdict(begun)), encoding="utf-8")
            _copy(response, stream, file, have, total, show=show)
    whole = file.num_bytes if total is None else total
    return whole is None or _size(part) == whole


def _copy(
    source: HTTPResponse,
    target: IO[bytes],
    file: PublishedFile,
    have: int,
    total: int | None,
    *,
    show: bool,
) -> None:
    with progress_bar(
        desc=f"downloading {file.name}",
        unit="byte",
        unit_scale=True,
        total=total or file.num_bytes,
        initial=have,
        show=show,
    ) as bar:
        while block := _read(source):
            have += len(block)
            _check_size(file, have, is_all=False)
            target.write(block)
            bar.update(len(block))


def _opened(request: urllib.request.Request, wait: float) -> HTTPResponse:
    with _as_connection_errors():
        response: HTTPResponse = urllib.request.build_opener(Redirects).open(request, timeout=wait)
        return response


def _read(source: HTTPResponse) -> bytes:
    with _as_connection_errors():
        return source.read1(_BLOCK)


@contextmanager
def _as_connection_errors() -> Iterator[None]:
    """Tell what fails here from what fails on the disk."""
    try:
        yield
    except urllib.error.URLError:
        raise
    except OSError as error:
        raise ConnectionError(reason_of(error)) from error
    except ValueError as error:  # an address of a proxy or in a redirection that is none
        raise NotGotError(reason_of(error)) from error


def _check_size(file: PublishedFile, size: int | None, *, is_all: bool = True) -> None:
    known = file.num_bytes
    if size is None:
        return
    if known is not None and (size > known or (is_all and size != known)):
        raise OtherFileError(f"it has {size:,} bytes, and {known:,} are published")
    if size > _MOST_BYTES:
        raise NotGotError(f"it has more than {_MOST_BYTES:,} bytes")


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _begun(part: Path, url: str, knows_sum: bool) -> _Begun | None:
    """What is known of a file that is begun, if what is missing can be asked for at this address.

    A sum tells in the end whether the pieces belong together; without one, they have to be of one
    version that the address has.
    """
    try:
        begun = _Begun(**json.loads(_note_of(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    if begun.url == url and (begun.version is not None or knows_sum):
        return begun
    return _Begun(url, None) if knows_sum else None


def _forget(part: Path) -> None:
    for path in (part, _note_of(part)):
        path.unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
