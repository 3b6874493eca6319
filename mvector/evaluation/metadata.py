"""What is known of clips beside their sound: a table of metadata, and their durations."""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TextIO

import numpy as np

from mvector.audio import audio_info
from mvector.errors import DataError, MVectorError
from mvector.files import read_errors_as, read_utf8
from mvector.progress import progress_bar

logger = logging.getLogger(__name__)

SPEAKER = "speaker"
_PATH = "path"
_NUM_READERS = 4


@dataclass(frozen=True)
class Metadata:
    """A table with a line for each clip.

    Attributes:
        source: the file it was read from.
        columns: names of the columns beside ``path``.
        rows: the values of these columns by path.
        root: folder that relative paths of trials start from, if it is not the working directory.
    """

    source: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    root: str | None = None

    def values(self, column: str, paths: Sequence[str]) -> list[str | None]:
        """The value of each clip; ``None`` where the table has no line for it or an empty field.

        Raises:
            DataError: there is no such column.
        """
        self.check_column(column)
        place = self.columns.index(column)
        found = [self._row(path) for path in paths]
        return [row[place].strip() or None if row else None for row in found]

    def check_column(self, column: str) -> None:
        """Raise ``DataError`` where there is no such column."""
        if column not in self.columns:
            raise DataError(
                f"'{self.source}' has no column '{column}'; choose of {', '.join(self.columns)}."
            )

    def _row(self, path: str) -> tuple[str, ...] | None:
        names = [os.path.normpath(path)]
        if self.root is not None:
            names.append(os.path.relpath(path, self.root))
        for name in names:
            if name in self.rows:
                return self.rows[name]
        for name in names:  # the list may name .wav what lies on the disk as .flac
            row = self._by_stem.get(os.path.splitext(name)[0])
            if row is not None:
                return row
        return None

    @cached_property
    def _by_stem(self) -> dict[str, tuple[str, ...] | None]:
        """Rows by path without suffix; ``None`` where paths differ in their suffix alone."""
        rows: dict[str, tuple[str, ...] | None] = {}
        for path, row in self.rows.items():
            stem = os.path.splitext(path)[0]
            rows[stem] = None if stem in rows else row
        return rows


def read_metadata(path: str | os.PathLike[str], root: str | None = None) -> Metadata:
    """Read a table of clips: comma-separated, or tab-separated where its first line has tabs.

    Args:
        path: UTF-8 text with a line of column names, ``path`` among them.
        root: folder that relative paths of trials start from; paths of the table may start there
            too, or at the working directory.

    Raises:
        DataError: the file is missing or malformed, has no column ``path``, or says two things of
            one clip.
    """
    source = os.fspath(path)
    try:
        with (
            read_errors_as(DataError, f"The metadata '{source}'", "check --metadata"),
            open(source, encoding="utf-8-sig", newline="") as stream,
        ):
            columns, rows = _read_rows(stream, source)
    except csv.Error as error:
        raise DataError(
            f"The metadata '{source}' is no table; export it as csv or tsv again."
        ) from error
    return Metadata(source, columns, rows, root)


def read_speakers(path: str | os.PathLike[str], root: str | None = None) -> Metadata:
    """Read whose each clip is: lines ``path<TAB>speaker``, or a table with those two columns.

    Without a tab, the last word of a line is the speaker. ``path`` and ``root`` as for
    :func:`read_metadata`.

    Raises:
        DataError: the file is missing or malformed, or gives a clip to two speakers.
    """
    source = os.fspath(path)
    with read_errors_as(DataError, f"The list of speakers '{source}'", "check --speakers"):
        lines = [line.strip() for line in read_utf8(source).split("\n")]
    header = [name.strip() for name in re.split("[\t,]", lines[0])]
    if _PATH in header and SPEAKER in header:
        return read_metadata(source, root)
    rows: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        fields = line.rsplit("\t" if "\t" in line else None, 1)
        if len(fields) != 2:
            raise DataError(
                f"{source}, line {number}: expected a clip and its speaker, 'path<TAB>speaker', "
                f"got '{line}'."
            )
        clip, row = os.path.normpath(fields[0].strip()), (fields[1].strip(),)
        if rows.setdefault(clip, row) != row:
            raise DataError(
                f"{source}, line {number}: '{clip}' is of '{row[0]}' here and of "
                f"'{rows[clip][0]}' in a line before; keep one of them."
            )
    return Metadata(source, (SPEAKER,), rows, root)


def _read_rows(stream: TextIO, source: str) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Names of the columns beside the path, and their values by path."""
    delimiter = "\t" if "\t" in stream.readline() else ","
    stream.seek(0)
    reader = csv.reader(stream, delimiter=delimiter)
    header = [name.strip() for name in next(reader, [])]
    if _PATH not in header:
        raise DataError(
            f"'{source}' has no column '{_PATH}' in its first line; name the columns there."
        )
    place = header.index(_PATH)
    rows: dict[str, tuple[str, ...]] = {}
    for fields in reader:
        if not fields:
            continue
        if len(fields) != len(header):
            raise DataError(
                f"'{source}' has {len(fields)} fields in line {reader.line_num} and {len(header)} "
                "in the first one; quote fields that hold the separator."
            )
        row = tuple(field for column, field in enumerate(fields) if column != place)
        if rows.setdefault(os.path.normpath(fields[place]), row) != row:
            raise DataError(
                f"'{source}' says different things of '{fields[place]}', again in line "
                f"{reader.line_num}; keep one of the lines."
            )
    return tuple(name for name in header if name != _PATH), rows


def clip_durations(paths: Sequence[str], *, progress: bool = False) -> np.ndarray:
    """Seconds of each clip by its header, float64; NaN where that cannot be read."""
    with ThreadPoolExecutor(_NUM_READERS) as pool:
        read = progress_bar(
            pool.map(_duration_s, paths),
            total=len(paths),
            desc="Durations",
            unit="clip",
            show=progress,
        )
        return np.fromiter(read, dtype=np.float64, count=len(paths))


def _duration_s(path: str) -> float:
    try:
        return audio_info(path).duration_s
    except MVectorError as error:
        logger.debug("No duration: %s", error)
        return float("nan")
