"""Trials: which clip is compared with which, and whether both are of the same speaker.

Two kinds. :class:`AllPairs` is every test clip against every enrolment clip and keeps no index
per trial; :class:`PairTrials` is a list of pairs as the VoxCeleb corpora publish it. Both give
``enroll_paths``, ``test_paths`` and ``labels``; the order of the labels is the order in which
:func:`mvector.evaluation.cosine_scores` gives the scores.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class AllPairs:
    """Every test clip against every enrolment clip, a clip against itself left out.

    Attributes:
        enroll_paths: clips of the enrolment list, E of them.
        enroll_labels: int64 ``(E,)`` speakers.
        test_paths: clips of the test list, T of them.
        test_labels: int64 ``(T,)`` speakers.
        self_pairs: int64, ascending: the places ``test * E + enroll`` in the full (T, E) table
            where both clips have the same path; no trial is made of them.
        labels: bool ``(T * E - len(self_pairs),)``, True for the same speaker; test clip by test
            clip, and for each the enrolment clips in their order.
    """

    enroll_paths: tuple[str, ...]
    enroll_labels: np.ndarray
    test_paths: tuple[str, ...]
    test_labels: np.ndarray
    self_pairs: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class PairTrials:
    """Listed pairs of clips.

    Attributes:
        source: the list they were read from, for messages.
        paths: each clip once, in the order of its first appearance.
        enroll_index: int32 ``(num_trials,)`` into ``paths``: the first clip of each line.
        test_index: int32 ``(num_trials,)`` into ``paths``: the second clip.
        labels: bool ``(num_trials,)``, True for the same speaker.
    """

    source: str
    paths: tuple[str, ...]
    enroll_index: np.ndarray
    test_index: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def enroll_paths(self) -> tuple[str, ...]:
        """The clips that ``enroll_index`` points into: all of them."""
        return self.paths

    @property
    def test_paths(self) -> tuple[str, ...]:
        """The clips that ``test_index`` points into: all of them, the same object."""
        return self.paths


Trials: TypeAlias = AllPairs | PairTrials


def all_pairs(
    enroll_paths: Sequence[str | os.PathLike[str]],
    enroll_labels: ArrayLike,
    test_paths: Sequence[str | os.PathLike[str]],
    test_labels: ArrayLike,
) -> AllPairs:
    """Compare every test clip with every enrolment clip.

    A trial is a target where the labels are equal. A clip is never compared with itself: pairs
    with the same path (``a/./b.wav`` is ``a/b.wav``) are left out.

    Args:
        enroll_paths: E clips.
        enroll_labels: ``(E,)`` integer speakers.
        test_paths: T clips.
        test_labels: ``(T,)`` integer speakers, numbered as in the enrolment list.

    Raises:
        DataError: a list whose labels are not integers, one for each path.
    """
    enroll_names, enroll_speakers = _checked_list(enroll_paths, enroll_labels, "enrolment")
    test_names, test_speakers = _checked_list(test_paths, test_labels, "test")
    self_pairs = _self_pairs(enroll_names, test_names)
    labels = (test_speakers[:, None] == enroll_speakers[None, :]).ravel()
    return AllPairs(
        enroll_paths=enroll_names,
        enroll_labels=enroll_speakers,
        test_paths=test_names,
        test_labels=test_speakers,
        self_pairs=self_pairs,
        labels=np.delete(labels, self_pairs),
    )


def read_trials(
    path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None
) -> PairTrials:
    """Read a list of trials, one ``label path path`` a line (the form of the VoxCeleb corpora).

    Fields are separated by spaces or tabs; a line with tabs alone between the fields may have
    spaces in its paths. Blank lines are skipped.

    Args:
        path: the list, UTF-8.
        root: folder that relative clip paths start from; ``None`` leaves them as they are.

    Raises:
        DataError: the list is missing, empty or not text, or a line is malformed.
    """
    source = os.fspath(path)
    index_of: dict[str, int] = {}
    enroll_index: list[int] = []
    test_index: list[int] = []
    labels: list[bool] = []
    for number, line in _lines(source):
        fields = _trial_fields(line)
        if fields is None:
            raise DataError(
                f"{source}, line {number}: expected 'label path path', got '{_shortened(line)}'."
            )
        label, first, second = fields
        if label not in ("0", "1"):
            raise DataError(
                f"{source}, line {number}: the label must be 1 (same speaker) or 0 (different "
                f"speakers), got '{_shortened(label)}'."
            )
        if root is not None:
            first, second = os.path.join(root, first), os.path.join(root, second)
        enroll_index.append(index_of.setdefault(first, len(index_of)))
        test_index.append(index_of.setdefault(second, len(index_of)))
        labels.append(label == "1")
    if not labels:
        raise DataError(f"{source} is empty; write one trial 'label path path' a line.")
    trials = PairTrials(
        source=source,
        paths=tuple(index_of),
        enroll_index=np.array(enroll_index, dtype=np.int32),
        test_index=np.array(test_index, dtype=np.int32),
        labels=np.array(labels, dtype=bool),
    )
    num_self = int(np.count_nonzero(trials.enroll_index == trials.test_index))
    if num_self:
        logger.warning(
            "%s: %d of %d trials compare a clip with itself, which flatters the result.",
            source,
            num_self,
            len(trials),
        )
    return trials


def is_trials_file(path: str | os.PathLike[str]) -> bool:
    """Whether a list holds trials ``label path path`` (True) or clips ``path<TAB>label`` (False).

    The first line that is not blank decides.

    Raises:
        DataError: the list is missing, empty or not text, or that line has neither form.
    """
    source = os.fspath(path)
    for number, line in _lines(source):
        columns = line.split("\t")
        if len(columns) == 2 and columns[1].strip().isdecimal():
            return False
        fields = _trial_fields(line)
        if fields is not None and fields[0] in ("0", "1"):
            return True
        if len(columns) == 2:
            return False
        raise DataError(
            f"{source}, line {number}: expected a trial 'label path path' with label 0 or 1, "
            f"or a clip 'path<TAB>label', got '{_shortened(line)}'."
        )
    raise DataError(f"{source} is empty; write trials 'label path path' or clips 'path<TAB>label'.")


def _self_pairs(enroll_paths: tuple[str, ...], test_paths: tuple[str, ...]) -> np.ndarray:
    places: defaultdict[str, list[int]] = defaultdict(list)
    for enroll, path in enumerate(enroll_paths):
        places[os.path.normpath(path)].append(enroll)
    return np.array(
        [
            test * len(enroll_paths) + enroll
            for test, path in enumerate(test_paths)
            for enroll in places.get(os.path.normpath(path), ())
        ],
        dtype=np.int64,
    )


def _checked_list(
    paths: Sequence[str | os.PathLike[str]], labels: ArrayLike, name: str
) -> tuple[tuple[str, ...], np.ndarray]:
    speakers = np.asarray(labels)
    if speakers.size == 0:
        speakers = speakers.astype(np.int64)
    if speakers.ndim != 1 or speakers.dtype.kind not in "iu":
        raise DataError(f"The labels of the {name} clips must be integers, one for each clip.")
    if len(paths) != len(speakers):
        raise DataError(
            f"There are {len(paths)} {name} clips and {len(speakers)} labels; "
            "give one label for each clip."
        )
    return tuple(os.fspath(path) for path in paths), speakers.astype(np.int64)


def _trial_fields(line: str) -> tuple[str, str, str] | None:
    fields = [field.strip(" ") for field in line.split("\t")]
    if len(fields) != 3 or not all(fields):
        # Not str.split(): a file name may hold an ideographic space.
        fields = re.split(r"[ \t]+", line)
    return (fields[0], fields[1], fields[2]) if len(fields) == 3 else None


def _lines(source: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1."""
    try:
        with Path(source).open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                text = line.strip(" \t\r\n")
                if text:
                    yield number, text
    except FileNotFoundError as error:
        raise DataError(f"{source} does not exist; check the path of the list.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 text; save the list as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}.") from error


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
