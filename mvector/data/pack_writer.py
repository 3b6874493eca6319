"""Packed folders, writing: what is done survives any crash, and only a whole folder gets its name.

Work lies in ``<name>.partial`` until then.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvector.data.lists import printable
from mvector.data.packed import (
    FORMAT,
    FORMAT_VERSION,
    INDEX_DTYPE,
    INDEX_NAME,
    META_NAME,
    PATHS_NAME,
    file_crc32,
    is_packed,
    partial_folder,
    payload_name,
)
from mvector.data.resumable import ResumableFolder
from mvector.errors import DataError
from mvector.files import recover_folder, write_errors_as, write_text

BAD_NAME = "bad_clips.txt"


@dataclass
class PackProgress:
    """How far packing has come; each line of the journal is one."""

    num_listed: int = 0  # clips of the list that have been dealt with
    num_clips: int = 0  # packed
    num_rows: int = 0  # samples or frames packed
    num_path_bytes: int = 0  # length of paths.txt
    num_bad: int = 0  # clips left out
    num_bad_bytes: int = 0  # length of bad_clips.txt
    num_clipped_clips: int = 0  # clips with samples beyond full scale
    num_clipped_samples: int = 0  # samples beyond full scale, which were set to it


class PackWriter:
    """Writes a packed folder, going on where an earlier run of the same job ended.

    Close it (:func:`contextlib.closing`); without :meth:`finish` that keeps what was committed.

    Args:
        out: folder to make.
        kind: ``audio`` or ``features``.
        dtype: of the payload's values.
        row_shape: shape of one row: ``()`` for samples, ``(bins,)`` for frames.
        job: what must be the same for a run to go on with the work of another.
        overwrite: replace an earlier packed folder, once the new one is whole.

    Raises:
        DataError: ``out`` exists and is not to be replaced, another process is writing it, or
            unfinished work is of another job or damaged; in all methods: the disk is full or fails.
    """

    def __init__(
        self,
        out: Path,
        *,
        kind: str,
        dtype: np.dtype,
        row_shape: tuple[int, ...],
        job: Mapping[str, Any],
        overwrite: bool = False,
    ) -> None:
        self.out = Path(os.path.abspath(out))
        self.form = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "kind": kind,
            "dtype": dtype.str,
            "row_shape": [*row_shape],
        }
        self._payload = payload_name(kind)
        self._row_bytes = dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
        self._uncommitted = {name: bytearray() for name in (INDEX_NAME, PATHS_NAME, BAD_NAME)}
        partial = partial_folder(self.out)
        with write_errors_as(DataError, f"'{partial}'"):
            recover_folder(self.out)
            _check_target(self.out, overwrite)
            self._work = ResumableFolder(partial, {**self.form, **job})
            self.progress = PackProgress(**self._work.state)
            for name, size in self._sizes().items():
                self._work.open(name, size)

    def append(self, rows: np.ndarray, path: str, label: int, crc32: int) -> None:
        """Add a clip, and count it as listed.

        Args:
            rows: ``(length, *row_shape)``, of the payload's type.
            path: where the clip came from.
            label: its speaker.
            crc32: checksum of the rows.
        """
        progress, name = self.progress, path.encode("utf-8")
        record = (progress.num_rows, progress.num_path_bytes, len(rows), len(name), label, crc32)
        self._uncommitted[INDEX_NAME] += np.array([record], dtype=INDEX_DTYPE).tobytes()
        self._uncommitted[PATHS_NAME] += name + b"\n"
        with self._work.write_errors_explained():
            self._work.append(self._payload, rows.data.cast("B"))
        progress.num_listed += 1
        progress.num_clips += 1
        progress.num_rows += len(rows)
        progress.num_path_bytes += len(name) + 1

    def skip(self, path: str, reason: str) -> None:
        """Leave a clip out, and count it as listed."""
        line = f"{printable(path)}\t{reason}\n".encode(errors="backslashreplace")
        self._uncommitted[BAD_NAME] += line
        self.progress.num_listed += 1
        self.progress.num_bad += 1
        self.progress.num_bad_bytes += len(line)

    def commit(self) -> None:
        """Make sure that a crash loses nothing of what was added so far."""
        with self._work.write_errors_explained():
            for name, data in self._uncommitted.items():
                self._work.append(name, data)
                data.clear()
            self._work.commit(asdict(self.progress))

    def finish(self, meta: Mapping[str, Any]) -> None:
        """Complete the folder and give it its name.

        Args:
            meta: what ``corpus.json`` shall say besides the format and the counts.

        Raises:
            DataError: no clip is good.
        """
        self.commit()
        done = self.progress
        if not done.num_clips:
            raise self._no_good_clip_error()
        folder = self._work.path
        with self._work.write_errors_explained():
            files = {name: {"bytes": size} for name, size in self._sizes().items()}
            del files[BAD_NAME]  # for people; nothing depends on it
            for name in (INDEX_NAME, PATHS_NAME):
                files[name]["crc32"] = file_crc32(folder / name)
            if not done.num_bad:
                (folder / BAD_NAME).unlink()
            counts = {name: getattr(done, name) for name in ("num_clips", "num_rows", "num_bad")}
            content = {**self.form, **counts, **meta, "files": files}
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            write_text(folder / META_NAME, text)
            self._work.publish(self.out)

    def close(self) -> None:
        """Leave what was committed, for a later run to go on with, unless all is finished."""
        self._work.close()

    def _sizes(self) -> dict[str, int]:
        """How long each file is, as the progress says."""
        return {
            self._payload: self.progress.num_rows * self._row_bytes,
            INDEX_NAME: self.progress.num_clips * INDEX_DTYPE.itemsize,
            PATHS_NAME: self.progress.num_path_bytes,
            BAD_NAME: self.progress.num_bad_bytes,
        }

    def _no_good_clip_error(self) -> DataError:
        folder = self._work.path
        first = (folder / BAD_NAME).read_text(encoding="utf-8").partition("\n")[0]
        path, _, reason = first.partition("\t")
        self._work.close()
        shutil.rmtree(folder)  # or a run with other options would be refused
        return DataError(
            f"None of the {self.progress.num_listed} clips can be used; the first, '{path}', "
            f"{reason}"
        )


def _check_target(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not overwrite:
        raise DataError(
            f"'{out}' exists already; choose another folder, or replace it with --overwrite True."
        )
    if not is_packed(out):
        raise DataError(
            f"'{out}' is no packed folder, so --overwrite does not touch it; choose another folder."
        )
