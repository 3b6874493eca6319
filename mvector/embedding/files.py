"""Files of embeddings for other programs: npz, safetensors, Kaldi ark and scp, parquet."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvector.errors import DataError, MissingDependencyError
from mvector.files import write_atomically


def check_embedding_file(path: str | os.PathLike[str], clips: Sequence[str]) -> None:
    """Refuse a file that could not be written, before long work and not after it.

    Args:
        path: the file to write.
        clips: what would be in it.

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
    target = Path(path)
    check_embedding_file(target, clips)
    write = _WRITERS[target.suffix]
    try:
        write(target, clips, np.ascontiguousarray(embeddings, dtype="<f4"), labels, fingerprint)
    except OSError as error:
        raise DataError(f"Cannot write '{path}': {error.strerror or error}.") from error


def _write_npz(
    path: Path,
    clips: Sequence[str],
    embeddings: np.ndarray,
    labels: np.ndarray | None,
    fingerprint: str,
) -> None:
    arrays: dict[str, Any] = {"paths": np.array(clips), "embeddings": embeddings}
    arrays["fingerprint"] = np.array(fingerprint)
    if labels is not None:
        arrays["labels"] = labels

    def write(file: Path) -> None:
        with open(file, "wb") as stream:
            np.savez(stream, **arrays)

    write_atomically(path, write)


def _write_safetensors(
    path: Path,
    clips: Sequence[str],
    embeddings: np.ndarray,
    labels: np.ndarray | None,
    fingerprint: str,
) -> None:
    from safetensors.numpy import save_file

    tensors = {"embeddings": embeddings}
    if labels is not None:
        tensors["labels"] = labels
    metadata = {"paths": json.dumps(list(clips), ensure_ascii=False), "fingerprint": fingerprint}
    write_atomically(path, lambda file: save_file(tensors, file, metadata))


def _write_ark(
    path: Path,
    clips: Sequence[str],
    embeddings: np.ndarray,
    labels: np.ndarray | None,
    fingerprint: str,
) -> None:
    index: list[str] = []
    form = b"\0BFV \4" + np.int32(embeddings.shape[1]).astype("<i4").tobytes()

    def write(file: Path) -> None:
        with open(file, "wb") as stream:
            for clip, row in zip(clips, embeddings, strict=True):
                stream.write(f"{clip} ".encode())
                index.append(f"{clip} {path}:{stream.tell()}\n")
                stream.write(form + row.tobytes())

    def write_index(file: Path) -> None:
        file.write_text("".join(index), encoding="utf-8", newline="\n")

    write_atomically(path, write)
    write_atomically(path.with_suffix(".scp"), write_index)


def _write_parquet(
    path: Path,
    clips: Sequence[str],
    embeddings: np.ndarray,
    labels: np.ndarray | None,
    fingerprint: str,
) -> None:
    _require_pyarrow()
    import pyarrow
    from pyarrow import parquet

    flat = pyarrow.array(embeddings.reshape(-1))
    columns = {
        "path": pyarrow.array(clips, pyarrow.string()),
        "embedding": pyarrow.FixedSizeListArray.from_arrays(flat, embeddings.shape[1]),
    }
    if labels is not None:
        columns["label"] = pyarrow.array(labels)
    table = pyarrow.table(columns).replace_schema_metadata({"fingerprint": fingerprint})
    write_atomically(path, lambda file: parquet.write_table(table, file))


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "Writing parquet needs pyarrow: pip install pyarrow, or write .npz or .safetensors."
        ) from error


_Writer = Callable[[Path, Sequence[str], np.ndarray, "np.ndarray | None", str], None]
_WRITERS: dict[str, _Writer] = {
    ".npz": _write_npz,
    ".safetensors": _write_safetensors,
    ".ark": _write_ark,
    ".parquet": _write_parquet,
}
