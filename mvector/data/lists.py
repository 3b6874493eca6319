"""Lists of clips: one ``path<TAB>label`` a line, the label being an integer speaker id from 0."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvector.errors import DataError
from mvector.files import read_errors_as, write_errors_as, write_text

_MAX_SHOWN = 5
_LARGEST_LABEL = 10_000_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class ClipList:
    """Clips and their speakers.

    Attributes:
        source: the list file, for messages.
        paths: where each clip lies.
        labels: int64 array of shape ``(clips,)``, speaker of each clip.
    """

    source: str
    paths: Sequence[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def num_speakers(self) -> int:
        """Classes a classifier needs: the largest label plus one."""
        return int(self.labels.max()) + 1


def read_list(
    path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    num_speakers: int | None = None,
) -> ClipList:
    """Read a list and check every line of it.

    Args:
        path: the list file, UTF-8.
        root: folder that relative clip paths start from; ``None`` is the working directory.
        num_speakers: labels must lie below this; ``None`` accepts any.

    Raises:
        DataError: the file is missing or empty, or lines are malformed; up to five lines are named
            with what is wrong in each.
    """
    name = os.fspath(path)
    cure = "create it with create_data.py or correct its path"
    with read_errors_as(DataError, f"The list '{name}'", cure, code="list-not-found"):
        text = Path(path).read_text(encoding="utf-8-sig")
    paths: list[str] = []
    labels: list[int] = []
    mistakes: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            clip, label = _parse_line(line.rstrip("\r"), num_speakers)
        except ValueError as error:
            mistakes.append(f"line {number}: {error}")
            continue
        paths.append(clip if root is None else os.path.join(root, clip))
        labels.append(label)
    if mistakes:
        shown = "; ".join(mistakes[:_MAX_SHOWN])
        more = f"; and {len(mistakes) - _MAX_SHOWN} more" if len(mistakes) > _MAX_SHOWN else ""
        raise DataError(
            f"The list '{name}' has {len(mistakes)} wrong lines: {shown}{more}.",
            code="list-malformed",
        )
    if not paths:
        raise DataError(f"The list '{name}' is empty; expected lines 'path<TAB>speaker number'.")
    return ClipList(name, paths, np.array(labels, dtype=np.int64))


def write_list(path: str | os.PathLike[str], entries: Iterable[tuple[str, int]]) -> None:
    """Write ``path<TAB>label`` lines; the file appears whole or not at all.

    Raises:
        DataError: the folder cannot be written to.
    """
    with write_errors_as(DataError, f"the list '{path}'"):
        write_text(Path(path), (f"{clip}\t{label}\n" for clip, label in entries))


def _parse_line(line: str, num_speakers: int | None) -> tuple[str, int]:
    clip, tab, label_text = line.rpartition("\t")
    if not tab or not clip.strip():
        raise ValueError(f"no tab between path and speaker number in '{_shorten(line)}'")
    try:
        label = int(label_text)
    except ValueError:
        raise ValueError(f"the label '{_shorten(label_text)}' is not a whole number") from None
    if label < 0:
        raise ValueError(f"the label {label} is negative; speakers are counted from 0")
    if label > _LARGEST_LABEL:
        raise ValueError(
            f"the label {_shorten(label_text)} is no number of a speaker; count from 0"
        )
    if num_speakers is not None and label >= num_speakers:
        raise ValueError(
            f"the label {label} is out of range for num_speakers {num_speakers} "
            f"(allowed: 0 to {num_speakers - 1})"
        )
    return clip, label


def _shorten(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def clips_of_each_speaker(labels: Sequence[int] | np.ndarray, most: int | None) -> list[np.ndarray]:
    """Positions of at most ``most`` clips of each speaker (``None``: all), evenly spaced.

    ``labels`` are ``(clips,)``; the speakers come in ascending order.
    """
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(np.asarray(labels)[order])) + 1)
    if most is None:
        return groups
    return [own[len(own) * np.arange(min(most, len(own))) // min(most, len(own))] for own in groups]


def printable(path: str) -> str:
    """A path on one line of UTF-8 text."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), path)
