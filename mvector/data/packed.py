"""Packed clips, reading: one memory-mapped file and an index, so that a crop is one slice.

A packed folder holds ``audio.bin`` or ``features.bin`` (the payload: rows of one clip behind those
of another, nothing between them), ``index.bin`` (one record of :data:`INDEX_DTYPE` a clip),
``paths.txt`` and ``corpus.json``. :mod:`mvector.data.pack_writer` writes it.
"""

from __future__ import annotations

import json
import mmap
import operator
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, overload

import numpy as np

from mvector.data.lists import ClipList
from mvector.data.resumable import JOB_NAME, JOURNAL_NAME
from mvector.errors import DataError
from mvector.progress import progress_bar

META_NAME = "corpus.json"
INDEX_NAME = "index.bin"
PATHS_NAME = "paths.txt"

FORMAT = "mvector packed clips"
FORMAT_VERSION = 1

# start: first row in the payload; path_start: first byte in paths.txt; crc32: of the payload
INDEX_DTYPE = np.dtype(
    [
        ("start", "<i8"),
        ("path_start", "<i8"),
        ("length", "<i4"),
        ("path_length", "<i4"),
        ("label", "<i4"),
        ("crc32", "<u4"),
    ]
)
INT16_SCALE = 32768.0

_CURE = "copy the whole folder again, or pack it again"
_MAX_SHOWN = 5


def partial_folder(path: Path) -> Path:
    """Where unfinished work on a packed folder lies."""
    return path.with_name(f"{path.name}.partial")


def payload_name(kind: str) -> str:
    """File name of ``audio`` or ``features``."""
    return f"{kind}.bin"


def file_crc32(path: Path) -> int:
    """CRC-32 of a file, without holding it in memory."""
    checksum, buffer = 0, bytearray(1 << 20)
    with open(path, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            checksum = zlib.crc32(memoryview(buffer)[:count], checksum)
    return checksum


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a packed folder, perhaps a damaged or unfinished one.

    Opening tells what is wrong with such a folder; nothing else could be meant by its path.
    """
    folder = Path(os.path.abspath(path))
    if any((folder / name).is_file() for name in (META_NAME, INDEX_NAME, JOURNAL_NAME)):
        return True
    return not folder.exists() and partial_folder(folder).is_dir()


def packed_kind(path: str | os.PathLike[str]) -> str:
    """``audio`` or ``features``: what a packed folder holds, also while it is unfinished.

    Where nothing tells, it is called ``audio``: opening it says what is wrong.
    """
    folder = Path(os.path.abspath(path))
    for file in (folder / META_NAME, folder / JOB_NAME, partial_folder(folder) / JOB_NAME):
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["kind"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return "audio"


class PackedPaths(Sequence[str]):
    """Paths of the clips of a packed folder, decoded one by one when asked for."""

    def __init__(self, folder: PackedFolder, index: np.ndarray) -> None:
        self._folder = folder
        self._text = _map_file(folder.path / PATHS_NAME)
        self._starts, self._lengths = index["path_start"], index["path_length"]

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        start = int(self._starts[operator.index(index)])
        return self._text[start : start + int(self._lengths[index])].decode("utf-8")

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.attrgetter("paths"), (self._folder,)


class PackedFolder:
    """What packed audio and packed features share.

    Opening costs neither time nor memory for each clip, but for a checksum over the index. An
    object pickles as its path.

    Attributes:
        path: the folder.
        meta: what ``corpus.json`` says.
        labels: ``(clips,)`` int32, speaker of each clip, read from the file when used.
        lengths: ``(clips,)`` int32, rows (samples or frames) of each clip.
        crc32: ``(clips,)`` uint32, checksum of each clip's rows.
        paths: where each clip came from; a lazy sequence of str.

    Raises:
        DataError: the folder is missing, unfinished, incomplete, damaged, or of another version.
    """

    kind: ClassVar[str]
    tool: ClassVar[str]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.meta = self._read_meta()
        self._check_files()
        index = np.frombuffer(_map_file(self.path / INDEX_NAME), dtype=INDEX_DTYPE)
        self.labels, self.lengths = index["label"], index["length"]
        self._starts, self.crc32 = index["start"], index["crc32"]
        payload = np.frombuffer(_map_file(self.path / payload_name(self.kind)), self.meta["dtype"])
        self._rows = payload.reshape(-1, *self.meta["row_shape"])
        self.paths: Sequence[str] = PackedPaths(self, index)
        for clip in {0, len(self) // 2, len(self) - 1}:  # reading all would take too long
            if not self._is_intact(clip):
                raise DataError(
                    f"'{self.path / payload_name(self.kind)}' does not belong to its index, or it "
                    f"is damaged: the checksum of '{self.paths[clip]}' differs; {_CURE}."
                )

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (os.path.abspath(self.path),)

    def as_clip_list(self) -> ClipList:
        """The clips as a list, whose paths and labels stay on disk."""
        return ClipList(os.fspath(self.path), self.paths, self.labels)

    def rows(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """A stretch of a clip as it is stored, without copying; bounds as those of a slice."""
        first, length = int(self._starts[index]), int(self.lengths[index])
        start, stop, _ = slice(start, stop).indices(length)
        return self._rows[first + start : first + stop]

    def verify(self, *, show_progress: bool = False) -> None:
        """Read everything and compare it with its checksums.

        Raises:
            DataError: ``paths.txt`` or clips are damaged; up to five clips are named.
        """
        if file_crc32(self.path / PATHS_NAME) != self.meta["files"][PATHS_NAME]["crc32"]:
            raise DataError(f"'{self.path / PATHS_NAME}' is damaged; {_CURE}.")
        clips = progress_bar(range(len(self)), desc="Verifying", unit="clip", show=show_progress)
        damaged = [clip for clip in clips if not self._is_intact(clip)]
        if damaged:
            named = ", ".join(f"'{self.paths[clip]}'" for clip in damaged[:_MAX_SHOWN])
            more = " and others" if len(damaged) > _MAX_SHOWN else ""
            raise DataError(
                f"{len(damaged)} of {len(self)} clips in '{self.path}' are damaged: {named}{more}; "
                f"{_CURE}."
            )

    def _is_intact(self, clip: int) -> bool:
        return zlib.crc32(self.rows(clip).data) == self.crc32[clip]

    def _read_meta(self) -> dict[str, Any]:
        try:
            meta = json.loads((self.path / META_NAME).read_text(encoding="utf-8"))
            if not isinstance(meta, dict) or meta["format"] != FORMAT:
                raise ValueError("another format")
            version, kind = meta["format_version"], meta["kind"]
            if version == FORMAT_VERSION:
                _ = meta["dtype"], meta["row_shape"], meta["files"], meta["num_clips"]
        except OSError as error:
            raise DataError(self._why_missing(error), code="packed-not-there") from error
        except (ValueError, KeyError) as error:
            raise DataError(f"'{self.path / META_NAME}' is damaged; {_CURE}.") from error
        if version != FORMAT_VERSION:
            raise DataError(
                f"'{self.path}' is packed in format version {version} and this program reads "
                f"version {FORMAT_VERSION}; pack it again with {self.tool}."
            )
        if kind != self.kind:
            raise DataError(
                f"'{self.path}' holds packed {kind}, not {self.kind}; use {self.tool}.",
                code="packed-other-kind",
            )
        return meta

    def _why_missing(self, error: OSError) -> str:
        folder = Path(os.path.abspath(self.path))
        unfinished = not folder.exists() and partial_folder(folder).is_dir()
        if unfinished or (folder / JOURNAL_NAME).is_file():
            return (
                f"'{self.path}' is still being packed, or packing was cut off; run the same "
                f"{self.tool} command again to complete it."
            )
        if isinstance(error, FileNotFoundError) and not folder.exists():
            return f"The packed folder '{self.path}' does not exist; make it with {self.tool}."
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return f"'{self.path}' is no packed folder, as it has no {META_NAME}; use {self.tool}."
        return f"'{self.path / META_NAME}' cannot be read: {error.strerror or error}."

    def _check_files(self) -> None:
        """Sizes of all parts, and the checksum of the index: what is quick to check."""
        for name, known in self.meta["files"].items():
            try:
                size = (self.path / name).stat().st_size
            except OSError as error:
                raise DataError(f"'{self.path}' lacks its part '{name}'; {_CURE}.") from error
            if size != known["bytes"]:
                what = "is cut short" if size < known["bytes"] else "is of another corpus"
                raise DataError(
                    f"'{self.path / name}' {what}: it has {size} bytes where {META_NAME} says "
                    f"{known['bytes']}; {_CURE}."
                )
        if file_crc32(self.path / INDEX_NAME) != self.meta["files"][INDEX_NAME]["crc32"]:
            raise DataError(
                f"'{self.path / INDEX_NAME}' is the index of another corpus, or it is damaged: its "
                f"checksum is not that of {META_NAME}; {_CURE}."
            )


class PackedCorpus(PackedFolder):
    """Clips as 16-bit samples, which ``tools/pack_corpus.py`` packed.

    Attributes:
        sample_rate: of all clips, in Hz.
        num_samples: ``(clips,)`` int32, length of each clip.
    """

    kind = "audio"
    tool = "tools/pack_corpus.py"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.sample_rate = int(self.meta["sample_rate"])
        self.num_samples = self.lengths

    def read(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """A stretch of a clip as a new float32 array ``(samples,)`` in [-1, 1); slice bounds."""
        samples = self.rows(index, start, stop).astype(np.float32)
        samples *= np.float32(1.0 / INT16_SCALE)  # exact; faster than one pass with mixed types
        return samples

    def duration_s(self, index: int) -> float:
        """Length of a clip in seconds."""
        return int(self.num_samples[index]) / self.sample_rate


@dataclass(frozen=True)
class PackedClip:
    """One clip of a packed corpus, read when its samples are asked for."""

    corpus: PackedCorpus
    index: int

    @property
    def path(self) -> str:
        """Where it came from."""
        return self.corpus.paths[self.index]


def _map_file(path: Path) -> mmap.mmap:
    try:
        with open(path, "rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be mapped into memory: {error}; {_CURE}.") from error
