"""Whose clips trials compare, for intervals that draw speakers and for halves of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mvector.errors import EvaluationError
from mvector.scoring.trials import AllPairs, PairTrials, Trials

#: The speaker of each of some paths, or ``None`` where it is not known.
SpeakerNames: TypeAlias = Callable[[Sequence[str]], Sequence[str | None]]

BY_LABELS = "labels of the lists"
BY_FOLDERS = "folders of the paths"
BY_PAIRS = "clips that target trials join, which may overcount"


@dataclass(frozen=True, eq=False)
class TrialSpeakers:
    """Whose clips trials compare.

    Attributes:
        enrolled: int64, the speaker of each of ``trials.enroll_paths``; -1 where no trial has it.
        tested: int64, the same of ``trials.test_paths``, numbered alike.
        source: how this is known, in words.
    """

    enrolled: np.ndarray
    tested: np.ndarray
    source: str

    @property
    def num_speakers(self) -> int:
        """Different speakers of the trials."""
        return count_speakers(self.enrolled, self.tested)

    def of_part(self, listed: PairTrials, part: PairTrials) -> TrialSpeakers:
        """The same for what is left of ``listed`` trials: clips and models go by their names."""
        sides = []
        for speakers, names, left, index in (
            (self.enrolled, listed.enroll_paths, part.enroll_paths, part.enroll_index),
            (self.tested, listed.test_paths, part.test_paths, part.test_index),
        ):
            of_name = {
                name: of for name, of in zip(names, speakers.tolist(), strict=True) if of >= 0
            }
            side = np.full(len(left), -1, dtype=np.int64)
            for place in np.unique(index).tolist():
                side[place] = of_name[left[place]]
            sides.append(side)
        return TrialSpeakers(sides[0], sides[1], self.source)


def count_speakers(enrolled: np.ndarray, tested: np.ndarray) -> int:
    """Different speakers of clips of both sides; -1 is nobody."""
    return int(np.count_nonzero(np.union1d(enrolled, tested) >= 0))


def find_speakers(
    trials: Trials, names: SpeakerNames | None = None, source: str = ""
) -> TrialSpeakers:
    """Whose clips trials compare.

    Lists of clips say it. A list of pairs does not; there it is, of these, the first there is:

    - what ``names`` says;
    - the folders of the paths, at the first depth at which all target trials lie within one folder
      and all non-target trials in two;
    - clips that target trials join, directly or through others. Clips of one speaker that no target
      trial joins count as several.

    Args:
        trials: the trials.
        names: of the speakers, by path; only for listed pairs.
        source: how messages call that.

    Raises:
        EvaluationError: ``names`` lacks a clip, or contradicts a label.
    """
    if isinstance(trials, AllPairs):
        return TrialSpeakers(trials.enroll_labels, trials.test_labels, BY_LABELS)
    alike, different = _known_pairs(trials)
    if names is not None:
        speakers = _numbers(_complete(names(trials.paths), trials.paths, source))
        _check_agreement(speakers, trials, alike, different, source)
        return _of_listed(trials, speakers, source)
    for speakers in _folders(trials.paths):
        if _agrees(speakers, alike, different):
            return _of_listed(trials, speakers, BY_FOLDERS)
    return _of_listed(trials, _joined(len(trials.paths), alike), BY_PAIRS)


def trial_speakers(trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """Speaker of each side of every trial, as :func:`find_speakers` finds them.

    Returns:
        int64 ``(num_trials,)`` of the enrolment side and of the test side, numbered alike, in the
        order of ``trials.labels``.
    """
    speakers = find_speakers(trials)
    enroll_index, test_index = trials.indices()
    return speakers.enrolled[enroll_index], speakers.tested[test_index]


def _known_pairs(trials: PairTrials) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of clips of one speaker and of two, int64 ``(2, pairs)``; a model is its first clip."""
    models, enrolled = trials.models, trials.enroll_index.astype(np.int64)
    within = np.zeros((2, 0), dtype=np.int64)
    if models is not None:
        first_clip = models.clips[models.starts[:-1]].astype(np.int64)
        enrolled = first_clip[enrolled]
        within = np.stack([np.repeat(first_clip, models.num_clips), models.clips])
    pairs = np.stack([enrolled, trials.test_index])
    return np.hstack([pairs[:, trials.labels], within]), pairs[:, ~trials.labels]


def _of_listed(trials: PairTrials, speakers: np.ndarray, source: str) -> TrialSpeakers:
    models = trials.models
    of_enrolled = speakers if models is None else speakers[models.clips[models.starts[:-1]]]
    enrolled = np.full(len(trials.enroll_paths), -1, dtype=np.int64)
    tested = np.full(len(trials.test_paths), -1, dtype=np.int64)
    enrolled[trials.enroll_index] = of_enrolled[trials.enroll_index]
    tested[trials.test_index] = speakers[trials.test_index]
    return TrialSpeakers(enrolled, tested, source)


def _numbers(names: Sequence[object]) -> np.ndarray:
    number_of: dict[object, int] = {}
    return np.array([number_of.setdefault(name, len(number_of)) for name in names], dtype=np.int64)


def _agrees(speakers: np.ndarray, alike: np.ndarray, different: np.ndarray) -> bool:
    return bool(
        (speakers[alike[0]] == speakers[alike[1]]).all()
        and (speakers[different[0]] != speakers[different[1]]).all()
    )


def _folders(paths: Sequence[str]) -> Iterator[np.ndarray]:
    """The folder of each path, as a number, at every depth from the top."""
    parts = [os.path.dirname(os.path.normpath(path)).split(os.sep) for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        yield _numbers([tuple(of_path[:depth]) for of_path in parts])


def _joined(num_clips: int, alike: np.ndarray) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(alike.shape[1], dtype=bool)
    places = tuple(alike.astype(np.int32))  # of int64, older SciPy makes graphs it cannot walk
    joined = coo_array((ones, places), shape=(num_clips, num_clips))
    _, speakers = connected_components(joined.tocsr(), directed=False)
    return speakers.astype(np.int64)


def _complete(names: Sequence[str | None], paths: Sequence[str], source: str) -> Sequence[str]:
    unknown = [path for path, name in zip(paths, names, strict=True) if name is None]
    if unknown:
        raise EvaluationError(
            f"{source} says no speaker of {len(unknown):,} of the {len(paths):,} clips in the "
            f"trials, such as '{unknown[0]}'; add them, a line 'path<TAB>speaker' each.",
            code="trial-speakers",
        )
    return [name for name in names if name is not None]


def _check_agreement(
    speakers: np.ndarray, trials: PairTrials, alike: np.ndarray, different: np.ndarray, source: str
) -> None:
    for pairs, is_wrong, listed, known in (
        (alike, np.not_equal, "one speaker", "two"),
        (different, np.equal, "different speakers", "one"),
    ):
        wrong = np.flatnonzero(is_wrong(speakers[pairs[0]], speakers[pairs[1]]))
        if len(wrong):
            one, other = (trials.paths[clip] for clip in pairs[:, wrong[0]])
            raise EvaluationError(
                f"{trials.source} says that '{one}' and '{other}' are of {listed}, and {source} "
                f"that they are of {known} ({len(wrong):,} such pairs); correct the one that is "
                "wrong.",
                code="trial-speakers",
            )
