"""What another model found in the training clips, for a student that is to find them as alike."""

from __future__ import annotations

import logging
import os

import numpy as np
import torch

from mvector.data.lists import ClipList
from mvector.embedding.files import read_embeddings
from mvector.errors import DataError, count_of, shorten_list

logger = logging.getLogger(__name__)

_MOST_MISSING = 0.01  # of all clips: silent ones, which the training passes over as well


def read_teacher(
    path: str | os.PathLike[str], clips: ClipList, domain_of_class: torch.Tensor | None = None
) -> torch.Tensor:
    """A teacher's embeddings of all training clips, as their similarities are taken.

    Each has length 1 before the mean of all is subtracted, or that of its domain's clips: what they
    all share, as a microphone, says nothing about which of them are alike. Clips that the teacher
    could not use are without a target: zeros, to which no loss holds a student. They are warned of
    once, and must be few.

    Args:
        path: an ``.npz`` of :func:`mvector.embedding.files.write_embeddings`.
        clips: the training list; each clip is found by its path.
        domain_of_class: int64 domain of each label, if speakers are told apart within domains.

    Returns:
        ``(clips, D)`` float32.

    Raises:
        DataError: the file cannot be used, or lacks more than 1 % of the list's clips.
    """
    names, embeddings = read_embeddings(path)
    row_of = {name: row for row, name in enumerate(names)}
    wanted = list(clips.paths)
    missing = [clip for clip in wanted if clip not in row_of]
    if missing:
        lacking = (
            f"'{os.fspath(path)}' lacks the embeddings of {len(missing):,} of "
            f"{count_of(len(wanted), 'clip')} of '{clips.source}' ({shorten_list(missing)})"
        )
        if len(missing) > _MOST_MISSING * len(wanted):
            raise DataError(
                f"{lacking}; write it from this list with tools/extract_embeddings.py, or leave "
                "those clips out of it.",
                code="teacher-incomplete",
            )
        logger.warning("%s; they are without a teacher.", lacking)
    is_known = np.array([clip in row_of for clip in wanted])
    known = embeddings[[row_of[clip] for clip in wanted if clip in row_of]]
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    domain_of_known = np.zeros(len(known), dtype=np.int64)
    if domain_of_class is not None:
        domain_of_known = domain_of_class.numpy()[clips.labels[is_known]]
    for domain in np.unique(domain_of_known):
        among = domain_of_known == domain
        known[among] -= known[among].mean(axis=0, dtype=np.float64).astype(np.float32)
    rows = np.zeros((len(wanted), embeddings.shape[1]), dtype=np.float32)
    rows[is_known] = known
    return torch.from_numpy(rows)
