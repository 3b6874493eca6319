"""Lists of clips: one ``path<TAB>label`` a line, the label being an integer speaker id from 0."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvector.audio.formats import refuse_as_list
from mvector.errors import DataError, count_of
from mvector.files import (
    read_errors_as,
    read_utf8,
    with_local_separators,
    write_errors_as,
    write_text,
)

_MAX_SHOWN = 5
_LARGEST_LABEL = 10_000_000
_OTHER_SEPARATOR = re.compile(r"[^\t]*[^\t ,;]([ ,;]+)\d+")  # between path and speaker number
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
    with list_errors(path):
        text = read_utf8(path)
    paths: list[str] = []
    labels: list[int] = []
    mistakes: list[str] = []
    cure = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            clip, label = _parse_line(line, num_speakers)
        except ValueError as error:
            mistakes.append(f"line {number}: {error}")
            if isinstance(error, _WordLabelError):
                cure = f"; {_renumbering(name)} numbers the speakers of a training list"
            continue
        paths.append(clip if root is None else os.path.join(root, clip))
        labels.append(label)
    if mistakes:
        shown = "; ".join(mistakes[:_MAX_SHOWN])
        more = f"; and {len(mistakes) - _MAX_SHOWN} more" if len(mistakes) > _MAX_SHOWN else ""
        wrong = count_of(len(mistakes), "wrong line")
        raise DataError(
            f"The list '{name}' has {wrong}: {shown}{more}{cure}.", code="list-malformed"
        )
    if not paths:
        raise DataError(f"The list '{name}' is empty; expected lines 'path<TAB>speaker number'.")
    return ClipList(name, with_local_separators(paths), np.array(labels, dtype=np.int64))


@contextmanager
def list_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within the block, which reads a list of clips or trials, a ``DataError`` says why it fails.

    Raises:
        DataError: also before, where the file is a clip.
    """
    refuse_as_list(path)
    cure = "create it with create_data.py or correct its path"
    with read_errors_as(DataError, f"The list '{os.fspath(path)}'", cure, code="list-not-found"):
        yield


def write_list(path: str | os.PathLike[str], entries: Iterable[tuple[str, int]]) -> None:
    """Write ``path<TAB>label`` lines; the file appears whole or not at all.

    Raises:
        DataError: the folder cannot be written to.
    """
    with write_errors_as(DataError, f"the list '{path}'"):
        write_text(Path(path), (f"{clip}\t{label}\n" for clip, label in entries))


class _WordLabelError(ValueError):
    """A speaker that has a name in the place of a number."""


def _parse_line(line: str, num_speakers: int | None) -> tuple[str, int]:
    clip, tab, label_text = line.rpartition("\t")
    if not tab or not clip.strip():
        cure = ""
        if instead := _OTHER_SEPARATOR.fullmatch(line.strip()):
            mark = "comma" if "," in instead[1] else "semicolon" if ";" in instead[1] else "space"
            cure = f", but a {mark}; put a tab in its place"
        raise ValueError(f"no tab between path and speaker number in '{_shorten(line)}'{cure}")
    try:
        label = int(label_text)
    except ValueError:
        raise _WordLabelError(f"the label '{_shorten(label_text)}' is not a whole number") from None
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


def label_doubts(clips: ClipList, num_speakers: int) -> list[str]:
    """What is strange about the speakers of a training list, a sentence each, with the cure.

    Args:
        clips: the list.
        num_speakers: classes that a classifier of it would have.
    """
    used = np.unique(clips.labels)
    classes, speakers = count_of(num_speakers, "class", "classes"), count_of(len(used), "speaker")
    doubts = []
    if len(used) < clips.num_speakers:
        has_gaps = len(used) <= used[-1] - used[0]
        what = "have gaps" if has_gaps else f"begin at {used[0]} and not at 0"
        doubts.append(
            f"{classes} for {speakers} in {clips.source}: the labels, {used[0]} to {used[-1]}, "
            f"{what}; renumber them: {_renumbering(clips.source)}."
        )
    elif len(used) < num_speakers:
        doubts.append(
            f"{classes} for {speakers} in {clips.source}: leave dataset_conf.num_speakers "
            f"{num_speakers} out to have them counted."
        )
    if isinstance(clips.paths, list) and len(twice := _with_two_labels(clips)):
        path, labels = next(iter(twice.items()))
        doubts.append(
            f"{count_of(len(twice), 'clip')} of {clips.source} under more than one label, such as "
            f"'{path}' under {' and '.join(map(str, sorted(labels)))}; keep the right line of each."
        )
    return doubts


def _renumbering(path: str) -> str:
    """The command that cures a list, as it works from a clone and from an installed wheel."""
    return f"python -m mvector inspect_data '{path}' --renumber OUT"


def _with_two_labels(clips: ClipList) -> dict[str, set[int]]:
    if len(set(clips.paths)) == len(clips.paths):
        return {}
    labels_of: dict[str, set[int]] = {}
    for path, label in zip(clips.paths, clips.labels.tolist(), strict=True):
        labels_of.setdefault(path, set()).add(label)
    return {path: labels for path, labels in labels_of.items() if len(labels) > 1}


def renumber_list(path: str | os.PathLike[str], out: str | os.PathLike[str]) -> int:
    """Write a list with its speakers numbered from 0 without gaps, in the order of their labels.

    Args:
        path: a list whose labels are numbers or words.
        out: the list to write.

    Returns:
        The number of speakers.

    Raises:
        DataError: the list cannot be read, a line has no tab, or the other cannot be written.
    """
    name = os.fspath(path)
    with read_errors_as(DataError, f"The list '{name}'", code="list-not-found"):
        lines = [line for line in read_utf8(path).split("\n") if line.strip()]
    entries = [
        (clip, label.strip()) for clip, _, label in (line.rpartition("\t") for line in lines)
    ]
    for line, (clip, label) in zip(lines, entries, strict=True):
        if not clip or not label:
            raise DataError(
                f"The list '{name}' has no tab between path and speaker in '{_shorten(line)}'.",
                code="list-malformed",
            )
    labels = {label for _, label in entries}
    are_numbers = all(label.isdecimal() for label in labels)
    order = sorted(labels, key=int) if are_numbers else sorted(labels)
    number_of = {label: number for number, label in enumerate(order)}
    write_list(out, ((clip, number_of[label]) for clip, label in entries))
    return len(order)


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
