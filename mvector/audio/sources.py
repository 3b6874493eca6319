"""Encoded sources, wherever they come from, as one stream that the decoders can seek in."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, TypeAlias

from mvector.audio.channels import ChannelOf
from mvector.audio.limits import AudioLimits
from mvector.audio.samples import Samples, is_samples
from mvector.errors import AudioError

Encoded: TypeAlias = "bytes | bytearray | memoryview"
AudioSource: TypeAlias = (
    "str | os.PathLike[str] | Encoded | BinaryIO | Samples | tuple[Samples, int] "
    "| tuple[int, Samples] | ChannelOf"
)

_BYTES = (bytes, bytearray, memoryview)
# Where the open files of a process lie: a pipe there has a writer, unlike one with a name
_OPEN_FILES = re.compile(r"(/dev/fd|/proc/\d+/fd)/.*")
_ADDRESS = re.compile(r"(https?|ftp|s3|gs)://", re.IGNORECASE)


def source_name(source: AudioSource) -> str:
    """How messages call a source."""
    if isinstance(source, ChannelOf):
        return source_name(source.source)
    if isinstance(source, (str, os.PathLike)):
        return f"'{os.fspath(source)}'"
    if isinstance(source, _BYTES):
        return f"the clip given as {memoryview(source).nbytes} bytes"
    if isinstance(source, tuple) or is_samples(source):
        return "the clip given as an array"
    return f"'{getattr(source, 'name', 'the clip given as a file object')}'"


class ClipStream:
    """A stream as the decoders see it: it begins where the source stands.

    Damaged headers make decoders seek to places before the beginning. That is answered by not
    moving, because an exception in there would reach the terminal and not the caller.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._start = stream, stream.tell()
        self._patch_place, self._patch = 0, b""

    def patch(self, place: int, content: bytes) -> None:
        """Let the decoders read other bytes at a place."""
        self._patch_place, self._patch = place, content

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell() - self._start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            offset += self._start
        try:  # decoders seek often
            return self._stream.seek(offset, whence) - self._start
        except (OSError, ValueError, OverflowError):
            return self.tell()

    def read(self, size: int = -1) -> bytes:
        if not self._patch:
            return self._stream.read(size)
        first = self._patch_place - self.tell()
        data = self._stream.read(size)
        last = first + len(self._patch)
        if last <= 0 or first >= len(data):
            return data
        patched = bytearray(data)
        for k in range(max(0, first), min(last, len(data))):
            patched[k] = self._patch[k - first]
        return bytes(patched)


@contextmanager
def open_encoded(source: Any, limits: AudioLimits) -> Iterator[ClipStream]:
    """A stream over any encoded source; one that the caller gave stands where it stood, after.

    Raises:
        AudioError: the source cannot be opened, is empty or is no source of audio.
    """
    name = source_name(source)
    if isinstance(source, _BYTES):
        if not memoryview(source).nbytes:
            raise AudioError(f"{name} is empty.", code="audio-empty")
        yield ClipStream(io.BytesIO(source if isinstance(source, bytes) else bytes(source)))
    elif isinstance(source, (str, os.PathLike)):
        with _open_file(source, name) as stream:
            if stream.seekable():
                yield ClipStream(stream)
            else:
                yield ClipStream(io.BytesIO(read_stream(stream, name, limits)))
    elif hasattr(source, "read"):
        try:
            start = source.tell() if source.seekable() else None
            is_binary = start is None or isinstance(source.read(0), bytes)
        except (OSError, ValueError, AttributeError) as error:
            reason = str(error).rstrip(".")
            raise AudioError(f"{name} cannot be read: {reason}.") from error
        if start is None:
            yield ClipStream(io.BytesIO(read_stream(source, name, limits)))
            return
        if not is_binary:
            raise AudioError(f"{name} is open as text; open it in binary mode, open(path, 'rb').")
        try:
            yield ClipStream(source)
        finally:
            with suppress(OSError, ValueError):  # it was closed meanwhile
                source.seek(start)  # the caller may read the same object again
    else:
        raise AudioError(
            f"Cannot read audio from {type(source).__name__}: give a path, bytes, a file object, "
            "an array or tensor, or (samples, rate)."
        )


def buffer_unseekable(source: AudioSource, limits: AudioLimits) -> AudioSource:
    """The source, or all bytes of one that can be read only once; see :func:`read_stream`."""
    if isinstance(source, ChannelOf):
        return ChannelOf(buffer_unseekable(source.source, limits), source.channel)
    name = source_name(source)
    if isinstance(source, (str, os.PathLike)):
        if not _is_open_pipe(source):
            return source
        with _open_file(source, name) as stream:
            return read_stream(stream, name, limits)
    once = hasattr(source, "read") and not is_samples(source) and not source.seekable()  # type: ignore[union-attr]
    return read_stream(source, name, limits) if once else source  # type: ignore[arg-type]


def _is_open_pipe(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a pipe that another process writes to, such as the shell's ``<(...)``."""
    try:
        is_pipe = stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
    return is_pipe and _OPEN_FILES.fullmatch(os.path.realpath(path)) is not None


def read_stream(stream: BinaryIO, name: str, limits: AudioLimits) -> bytes:
    """All bytes of a stream that cannot seek.

    Raises:
        AudioError: there are none, or too many, or they cannot be read.
    """
    data = bytearray()
    try:
        while len(data) <= limits.max_stream_bytes:
            more = stream.read(limits.max_stream_bytes + 1 - len(data))
            if not more:
                break
            data += more
    except (OSError, ValueError, TypeError) as error:
        raise AudioError(f"{name} cannot be read: {error}.") from error
    if not data:
        raise AudioError(f"{name} is empty.", code="audio-empty")
    if len(data) > limits.max_stream_bytes:
        raise AudioError(
            f"{name} goes on beyond {limits.max_stream_bytes:,} bytes; give a file, or raise "
            "AudioLimits.max_stream_bytes.",
            code="audio-beyond-limits",
        )
    return bytes(data)


def _open_file(source: str | os.PathLike[str], name: str) -> BinaryIO:
    try:
        mode = os.stat(source).st_mode
        if stat.S_ISFIFO(mode) and not _is_open_pipe(source):  # opening it may wait for ever
            raise AudioError(
                f"{name} cannot be opened: it is not a file but a named pipe; give what comes out "
                "of it on standard input (as -), or as bytes."
            )
        if stat.S_ISDIR(mode):
            raise AudioError(f"{name} is a folder; give a file.")
        if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
            raise AudioError(f"{name} cannot be opened: it is not a file.")
        stream = open(source, "rb")  # noqa: SIM115 - the caller closes it
    except FileNotFoundError as error:
        is_address = _ADDRESS.match(os.fsdecode(source))
        what = (
            "is an address; download it first" if is_address else "does not exist; check the path"
        )
        raise AudioError(f"{name} {what}.", code="audio-not-found") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{name} cannot be opened: {reason}.") from error
    if stat.S_ISREG(mode) and os.fstat(stream.fileno()).st_size == 0:
        stream.close()
        raise AudioError(f"{name} is an empty file; record or copy it again.", code="audio-empty")
    return stream
