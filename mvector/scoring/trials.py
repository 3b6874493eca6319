"""Trials: which clip is compared with which, and whether both are of the same speaker.

Two kinds. :class:`AllPairs` is every test clip against every enrolment clip and keeps no index
per trial; :class:`PairTrials` is a list of pairs as corpora publish it, of two clips or of an
enrolment model (one or several clips of a person) and a clip. Both give ``enroll_paths``,
``test_paths`` and ``labels``; the order of the labels is the order in which
:func:`mvector.scoring.cosine_scores` gives the scores.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import DataError


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
    """

    enroll_paths: tuple[str, ...]
    enroll_labels: np.ndarray
    test_paths: tuple[str, ...]
    test_labels: np.ndarray
    self_pairs: np.ndarray

    def __len__(self) -> int:
        return len(self.enroll_paths) * len(self.test_paths) - len(self.self_pairs)

    @cached_property
    def labels(self) -> np.ndarray:
        """Bool ``(num_trials,)``, True for the same speaker; a byte a trial, made when asked for.

        Test clip by test clip, and for each the enrolment clips in their order.
        """
        labels = (self.test_labels[:, None] == self.enroll_labels[None, :]).ravel()
        return np.delete(labels, self.self_pairs) if len(self.self_pairs) else labels

    @cached_property
    def num_target(self) -> int:
        """Trials of the same speaker, counted without making the labels."""
        num_enrolled = Counter(self.enroll_labels.tolist())
        tests, enrolled = np.divmod(self.self_pairs, max(1, len(self.enroll_paths)))
        num_self = np.count_nonzero(self.test_labels[tests] == self.enroll_labels[enrolled])
        return sum(num_enrolled[label] for label in self.test_labels.tolist()) - int(num_self)

    def indices(self, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Positions in ``enroll_paths`` and in ``test_paths`` of some trials, or of all."""
        trial = np.arange(start, len(self) if stop is None else stop)
        num_before = self.self_pairs - np.arange(len(self.self_pairs))  # trials before each
        place = trial + np.searchsorted(num_before, trial, side="right")
        test_index, enroll_index = np.divmod(place, len(self.enroll_paths))
        return enroll_index, test_index


@dataclass(frozen=True, eq=False)
class EnrolmentModels:
    """People enrolled with one or several clips each.

    Attributes:
        names: what trials call each model, M of them.
        clips: int32: the clips of all models, model by model, as positions in
            :attr:`PairTrials.paths`.
        starts: int64 ``(M + 1,)``: model m has the clips ``clips[starts[m] : starts[m + 1]]``, at
            least one.
    """

    names: tuple[str, ...]
    clips: np.ndarray
    starts: np.ndarray

    @property
    def num_clips(self) -> np.ndarray:
        """int64 ``(M,)``: clips of each model."""
        return np.diff(self.starts)


@dataclass(frozen=True, eq=False)
class PairTrials:
    """Listed pairs of clips, or of an enrolment model and a clip.

    Attributes:
        source: the list they were read from, for messages.
        paths: each clip once.
        enroll_index: int32 ``(num_trials,)`` into ``enroll_paths``.
        test_index: int32 ``(num_trials,)`` into ``paths``.
        labels: bool ``(num_trials,)``, True for the same speaker.
        models: what ``enroll_index`` points into; ``None`` where it is single clips.
    """

    source: str
    paths: tuple[str, ...]
    enroll_index: np.ndarray
    test_index: np.ndarray
    labels: np.ndarray
    models: EnrolmentModels | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def enroll_paths(self) -> tuple[str, ...]:
        """What ``enroll_index`` points into: names of the models, or all clips."""
        return self.paths if self.models is None else self.models.names

    @property
    def test_paths(self) -> tuple[str, ...]:
        """The clips that ``test_index`` points into: all of them."""
        return self.paths

    def indices(self, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Positions in ``enroll_paths`` and in ``test_paths`` of some trials, or of all."""
        return self.enroll_index[start:stop], self.test_index[start:stop]


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
    return AllPairs(
        enroll_paths=enroll_names,
        enroll_labels=enroll_speakers,
        test_paths=test_names,
        test_labels=test_speakers,
        self_pairs=_self_pairs(enroll_names, test_names),
    )


def drop_unusable_clips(trials: PairTrials, is_usable: np.ndarray) -> PairTrials:
    """The trials that are left without some clips, and without models that lose their last clip.

    ``is_usable`` is bool ``(clips,)``, for each of ``trials.paths``.
    """
    new_row = np.where(is_usable, np.cumsum(is_usable) - 1, -1).astype(np.int32)
    models, new_model = trials.models, new_row
    if models is not None:
        is_kept = is_usable[models.clips]
        owner = np.repeat(np.arange(len(models.names)), models.num_clips)
        num_left = np.bincount(owner[is_kept], minlength=len(models.names))
        stays = num_left > 0
        new_model = np.where(stays, np.cumsum(stays) - 1, -1).astype(np.int32)
        models = EnrolmentModels(
            tuple(models.names[index] for index in np.flatnonzero(stays)),
            new_row[models.clips[is_kept]],
            np.concatenate([[0], np.cumsum(num_left[stays])]),
        )
    enroll_index, test_index = new_model[trials.enroll_index], new_row[trials.test_index]
    is_left = (enroll_index >= 0) & (test_index >= 0)
    return replace(
        trials,
        paths=tuple(trials.paths[position] for position in np.flatnonzero(is_usable)),
        enroll_index=enroll_index[is_left],
        test_index=test_index[is_left],
        labels=trials.labels[is_left],
        models=models,
    )


def drop_self_comparisons(trials: PairTrials) -> PairTrials:
    """The trials that compare no clip with itself, neither alone nor within an enrolment model.

    Paths that name one file (``a/./b.wav`` and ``a/b.wav``) are one clip.
    """
    number_of: dict[str, int] = {}
    names = map(os.path.normpath, trials.paths)
    clip = np.array([number_of.setdefault(name, len(number_of)) for name in names])
    tested = clip[trials.test_index]
    if trials.models is None:
        is_left = clip[trials.enroll_index] != tested
    else:
        owner = np.repeat(np.arange(len(trials.models.names)), trials.models.num_clips)
        enrolled = owner * len(clip) + clip[trials.models.clips]
        compared = trials.enroll_index.astype(np.int64) * len(clip) + tested
        is_left = ~np.isin(compared, enrolled)
    return replace(
        trials,
        enroll_index=trials.enroll_index[is_left],
        test_index=trials.test_index[is_left],
        labels=trials.labels[is_left],
    )


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
