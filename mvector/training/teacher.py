"""What another model found in the training clips, for a student that is to find them as alike."""

from __future__ import annotations

import os

import numpy as np
import torch

from mvector.data.lists import ClipList
from mvector.embedding.files import read_embeddings
from mvector.errors import DataError, count_of, shorten_list


def read_teacher(path: str | os.PathLike[str], clips: ClipList) -> torch.Tensor:
    """A teacher's embeddings of all training clips, as their similarities are taken.

    Each has length 1 before the mean of all is subtracted: what all clips share says nothing about
    which of them are alike.

    Args:
        path: an ``.npz`` of :func:`mvector.embedding.files.write_embeddings`.
        clips: the training list; each clip is found by its path.

    Returns:
        ``(clips, D)`` float32.

    Raises:
        DataError: the file cannot be used, or lacks clips of the list.
    """
    names, embeddings = read_embeddings(path)
    row_of = {name: row for row, name in enumerate(names)}
    wanted = list(clips.paths)
    missing = [clip for clip in wanted if clip not in row_of]
    if missing:
        raise DataError(
            f"'{os.fspath(path)}' lacks the embeddings of {len(missing):,} of "
            f"{count_of(len(wanted), 'clip')} of '{clips.source}' ({shorten_list(missing)}); write "
            "it from this list with tools/extract_embeddings.py, or leave those clips out of it.",
            code="teacher-incomplete",
        )
    rows = embeddings[[row_of[clip] for clip in wanted]]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows -= rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    return torch.from_numpy(rows)
