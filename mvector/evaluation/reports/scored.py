"""Scores with the trials they belong to, in memory and in a file."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mvector.errors import EvaluationError
from mvector.evaluation.score_checks import checked_trials
from mvector.files import write_errors_as, write_npz
from mvector.scoring.trial_speakers import TrialSpeakers, count_speakers, find_speakers
from mvector.scoring.trials import AllPairs, EnrolmentModels, Trials

_FORMAT_VERSION = 1
_ARRAYS = (
    *("scores", "labels", "enroll_index", "test_index", "enroll_paths", "test_paths"),
    *("enroll_speakers", "test_speakers"),
)


@dataclass(frozen=True, eq=False)
class ScoredTrials:
    """Scores and labels of trials, and what was compared in each.

    Attributes:
        scores: float ``(num_trials,)``.
        labels: bool ``(num_trials,)``, True for the same speaker.
        enroll_index: int32 ``(num_trials,)`` into ``enroll_paths``.
        test_index: int32 ``(num_trials,)`` into ``test_paths``.
        enroll_paths: clips, or names of enrolment models.
        test_paths: clips.
        enroll_speakers: int64, the speaker of each of ``enroll_paths``; -1 where no trial has it.
        test_speakers: int64, the same of ``test_paths``, numbered alike.
        models: the clips of each of ``enroll_paths``, where those are models; not kept in files.
        about: where the scores come from, in words, such as ``model`` and ``description``.
    """

    scores: np.ndarray
    labels: np.ndarray
    enroll_index: np.ndarray
    test_index: np.ndarray
    enroll_paths: tuple[str, ...]
    test_paths: tuple[str, ...]
    enroll_speakers: np.ndarray
    test_speakers: np.ndarray
    models: EnrolmentModels | None = None
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def trial_speakers(self) -> tuple[np.ndarray, np.ndarray]:
        """Speaker of each side of every trial."""
        return self.enroll_speakers[self.enroll_index], self.test_speakers[self.test_index]

    @property
    def num_speakers(self) -> int:
        """Different speakers of the trials."""
        return count_speakers(self.enroll_speakers, self.test_speakers)

    @property
    def enrolled_clips(self) -> tuple[str, ...]:
        """The clips of the enrolment side; where it has models, what ``models.clips`` indexes."""
        return self.enroll_paths if self.models is None else self.test_paths


def scored_trials(
    scores: np.ndarray,
    trials: Trials,
    about: Mapping[str, str],
    speakers: TrialSpeakers | None = None,
) -> ScoredTrials:
    """Join scores, in the order of ``trials.labels``, with the trials they are of.

    ``speakers`` says whose clips these are; ``None`` takes what :func:`find_speakers` finds.
    """
    speakers = speakers or find_speakers(trials)
    enroll_index, test_index = trials.indices()
    return ScoredTrials(
        scores=scores,
        labels=trials.labels,
        enroll_index=enroll_index.astype(np.int32),
        test_index=test_index.astype(np.int32),
        enroll_paths=tuple(trials.enroll_paths),
        test_paths=tuple(trials.test_paths),
        enroll_speakers=speakers.enrolled,
        test_speakers=speakers.tested,
        models=None if isinstance(trials, AllPairs) else trials.models,
        about=about,
    )


def save_scores(scored: ScoredTrials, path: str | os.PathLike[str]) -> None:
    """Write scores and trials into a compressed npz file, which appears whole or not at all.

    It has an array for each attribute of :class:`ScoredTrials` up to ``test_speakers``, a number
    ``format_version`` and ``about`` as JSON.

    Raises:
        EvaluationError: the file cannot be written.
    """
    arrays: dict[str, Any] = {name: np.asarray(getattr(scored, name)) for name in _ARRAYS}
    arrays["format_version"] = np.array(_FORMAT_VERSION)
    arrays["about"] = np.array(json.dumps(dict(scored.about), ensure_ascii=False))
    with write_errors_as(EvaluationError, f"'{path}'", "choose another --save_scores"):
        write_npz(Path(path), arrays, compressed=True)


def load_scores(path: str | os.PathLike[str]) -> ScoredTrials:
    """Read what :func:`save_scores` wrote.

    Raises:
        EvaluationError: the file is missing, is no file of scores, or its scores are unusable.
    """
    name = os.fspath(path)
    try:
        with np.load(name, allow_pickle=False) as file:
            version = int(file["format_version"])
            arrays = {key: file[key] for key in _ARRAYS}
            about = json.loads(str(file["about"]))
    except FileNotFoundError as error:
        raise EvaluationError(
            f"The file of scores '{name}' does not exist; write one with eval.py --save_scores."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise EvaluationError(
            f"'{name}' is no file of scores, or is damaged; write one with eval.py --save_scores."
        ) from error
    if version != _FORMAT_VERSION:
        raise EvaluationError(
            f"'{name}' has format version {version}, and this mvector reads {_FORMAT_VERSION}; "
            "score the trials again."
        )
    if len({len(arrays[key]) for key in ("scores", "labels", "enroll_index", "test_index")}) > 1:
        raise EvaluationError(f"'{name}' has columns of different lengths; score the trials again.")
    arrays["scores"], arrays["labels"] = checked_trials(arrays["scores"], arrays["labels"])
    for key in ("enroll_paths", "test_paths"):
        arrays[key] = tuple(arrays[key].tolist())
    return ScoredTrials(**arrays, about=about)
