"""Files of embeddings for other programs: npz, safetensors, Kaldi ark and scp, parquet."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from mvector.errors import DataError, import_errors_as
from mvector.files import (
    read_errors_as,
    write_atomically,
    write_errors_as,
    write_npz,
    write_text,
)


def check_embedding_file(path: str | os.PathLike[str], clips: Sequence[str]) -> None:
    """Refuse a file that could not be written, before long work and not after it.

    Raises:
        DataError: the suffix is unknown, or the format cannot hold these paths.
        MissingDependencyError: parquet needs pyarrow.
    """
    suffix = Path(path).suffix
    if suffix not in _WRITERS:
        raise DataError(
            f"'{path}' has none of the suffixes that say what to write: {', '.join(_WRITERS)}."
        )
    if suffix == ".parquet":
        _require_pyarrow()
    if suffix == ".ark":
        spaced = next((clip for clip in clips if re.search(r"\s", clip)), None)
        if spaced is not None:
            raise DataError(
                f"The clip '{spaced}' has a space in its path, which no Kaldi ark can name; "
                "rename it or write another format."
            )


def write_embeddings(
    path: str | os.PathLike[str],
    clips: Sequence[str],
    embeddings: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    fingerprint: str = "",
) -> None:
    """Write embeddings in the format that the file's suffix names; it appears whole or not at all.

    ``.npz``
        arrays ``paths``, ``embeddings``, ``labels``, ``fingerprint``.
    ``.safetensors``
        tensors ``embeddings`` and ``labels``; paths (JSON) and fingerprint in the metadata.
    ``.ark``
        Kaldi's binary float vectors, the path being the key; and beside it the index ``.scp``.
        Labels have no place there.
    ``.parquet``
        columns ``path``, ``embedding`` (a list of fixed size), ``label``; fingerprint in the
        metadata of the schema.

    Args:
        path: the file.
        clips: paths, N of them.
        embeddings: ``(N, D)`` float32.
        labels: ``(N,)`` int64 speakers, if they are known.
        fingerprint: of the model.

    Raises:
        DataError: the file cannot be written.
        MissingDependencyError: parquet needs pyarrow.
    """
    check_embedding_file(path, clips)
    rows = np.ascontiguousarray(embeddings, dtype="<f4")
    write = _WRITERS[Path(path).suffix]
    with write_errors_as(DataError, f"'{path}'"):
        write(Path(path), _Table(clips, rows, labels, fingerprint))


class EmbeddingTable(NamedTuple):
    """What an ``.npz`` file of embeddings holds.

    Attributes:
        paths: of the clips, N.
        embeddings: float32 ``(N, D)``.
        labels: ``(N,)`` speakers, numbers or words, or ``None`` where the file has none.
        is_good: bool ``(N,)``: whether the embedding is finite and not zero.
    """

    paths: list[str]
    embeddings: np.ndarray
    labels: np.ndarray | None
    is_good: np.ndarray


def read_embeddings(path: str | os.PathLike[str]) -> tuple[list[str], np.ndarray]:
    """Paths of clips and their embeddings, float32 ``(N, D)``, of an ``.npz`` file.

    Raises:
        DataError: as :func:`read_embedding_table`; or an embedding is zero or not finite.
    """
    table = read_embedding_table(path)
    bad = np.flatnonzero(~table.is_good)
    if len(bad):
        raise DataError(
            f"'{os.fspath(path)}': the embedding of '{table.paths[bad[0]]}' is zero or not finite; "
            "check that clip and the model.",
        )
    return table.paths, table.embeddings


def read_embedding_table(path: str | os.PathLike[str]) -> EmbeddingTable:
    """All that an ``.npz`` file says of clips and their embeddings.

    Of the arrays that :func:`write_embeddings` writes, ``paths``, ``embeddings`` and, where it is
    there, ``labels`` are read; what another program has written under these names will do.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    name = os.fspath(path)
    with read_errors_as(DataError, f"The file of embeddings '{name}'"):
        try:
            with np.load(path, allow_pickle=False) as file:
                clips, rows = file["paths"], file["embeddings"]
                labels = file.get("labels")
        except (ValueError, KeyError, EOFError, TypeError, IndexError, BadZipFile) as error:
            raise DataError(
                f"'{name}' is damaged or no .npz with the arrays paths and embeddings; write it "
                "with tools/extract_embeddings.py."
            ) from error
    is_table = clips.ndim == 1 and clips.dtype.kind == "U" and rows.ndim == 2
    if not is_table or len(clips) != len(rows) or rows.dtype.kind != "f":
        raise DataError(
            f"'{name}' holds paths {clips.dtype.str} {clips.shape} and embeddings {rows.dtype.str} "
            f"{rows.shape}; write N paths as text and (N, D) floating-point numbers."
        )
    if labels is not None and labels.shape != clips.shape:
        raise DataError(f"'{name}' has {len(clips)} paths and labels {labels.shape}; write N.")
    rows = rows.astype(np.float32)
    is_good = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
    return EmbeddingTable(clips.tolist(), rows, labels, is_good)


class _Table(NamedTuple):
    clips: Sequence[str]
    embeddings: np.ndarray  # (clips, D) float32, little-endian
    labels: np.ndarray | None
    fingerprint: str

    def arrays(self) -> dict[str, np.ndarray]:
        labels = {} if self.labels is None else {"labels": self.labels}
        return {"embeddings": self.embeddings, **labels}


def _write_npz(path: Path, table: _Table) -> None:
    about = {"paths": np.array(table.clips), "fingerprint": np.array(table.fingerprint)}
    write_npz(path, about | table.arrays())


def _write_safetensors(path: Path, table: _Table) -> None:
    from safetensors.numpy import save_file

    paths = json.dumps(list(table.clips), ensure_ascii=False)
    metadata = {"paths": paths, "fingerprint": table.fingerprint}
    write_atomically(path, lambda file: save_file(table.arrays(), file, metadata))


def _write_ark(path: Path, table: _Table) -> None:
    num_values = table.embeddings.shape[1]
    form = b"\0BFV \4" + num_values.to_bytes(4, "little")

    def write(file: Path) -> None:
        with open(file, "wb") as stream:
            for clip, row in zip(table.clips, table.embeddings, strict=True):
                stream.write(f"{clip} ".encode() + form + row.tobytes())

    def index() -> Iterator[str]:
        place = 0
        for clip in table.clips:
            place += len(f"{clip} ".encode())
            yield f"{clip} {path}:{place}\n"
            place += len(form) + 4 * num_values

    write_atomically(path, write)
    write_text(path.with_suffix(".scp"), index())


def _write_parquet(path: Path, table: _Table) -> None:
    _require_pyarrow()
    import pyarrow
    from pyarrow import parquet

    flat = pyarrow.array(table.embeddings.reshape(-1))
    columns = {
        "path": pyarrow.array(table.clips, pyarrow.string()),
        "embedding": pyarrow.FixedSizeListArray.from_arrays(flat, table.embeddings.shape[1]),
    }
    if table.labels is not None:
        columns["label"] = pyarrow.array(table.labels)
    content = pyarrow.table(columns).replace_schema_metadata({"fingerprint": table.fingerprint})
    write_atomically(path, lambda file: parquet.write_table(content, file))


def _require_pyarrow() -> None:
    with import_errors_as(
        "Writing parquet needs pyarrow; install it with pip install pyarrow, or "
        "write .npz or .safetensors."
    ):
        import pyarrow  # noqa: F401


_WRITERS: dict[str, Callable[[Path, _Table], None]] = {
    ".npz": _write_npz,
    ".safetensors": _write_safetensors,
    ".ark": _write_ark,
    ".parquet": _write_parquet,
}
