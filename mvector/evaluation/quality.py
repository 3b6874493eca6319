"""How good the two clips of a trial are, for a calibration that takes it into account.

A score of two short or noisy clips says less than the same score of two good ones. Quality measure
functions give the calibration these measures beside the score (Thienpondt, Desplanques & Demuynck,
"The IDLab VoxCeleb speaker recognition challenge 2020 system description", 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mvector.errors import EvaluationError
from mvector.scoring.trials import EnrolmentModels, Trials

if TYPE_CHECKING:
    from mvector.audio.clip_report import ClipReport

#: What :func:`trial_quality` gives of each trial.
TRIAL_MEASURES = (
    "lower log speech duration",
    "higher log speech duration",
    "lower SNR",
    "higher SNR",
)

_NUM_CLIP_MEASURES = 2  # duration of speech in seconds and SNR in dB, as in mvector.audio.quality
_LEAST_SPEECH_S = 0.1


def clip_measures(reports: Sequence[ClipReport]) -> np.ndarray:
    """What of clips' quality a calibration knows: float64 ``(clips, 2)``, speech in s and SNR."""
    measures = [report.quality[:_NUM_CLIP_MEASURES] for report in reports]
    return np.array(measures, dtype=np.float64).reshape(-1, _NUM_CLIP_MEASURES)


def model_quality(quality: np.ndarray, models: EnrolmentModels) -> np.ndarray:
    """Measures of M enrolment models: total duration of their speech, and mean SNR.

    From ``(clips, 2)`` of the clips that ``models.clips`` points into to float64 ``(M, 2)``.
    """
    sums = np.add.reduceat(quality[models.clips].astype(np.float64), models.starts[:-1], axis=0)
    return sums / np.column_stack([np.ones(len(sums)), models.num_clips])


def trial_quality(
    enroll_quality: np.ndarray, test_quality: np.ndarray, trials: Trials
) -> np.ndarray:
    """Measures of both clips of every trial, the same whichever of them comes first.

    Args:
        enroll_quality: float ``(E, 2)`` of each of ``trials.enroll_paths``, see
            :data:`mvector.audio.quality.CLIP_MEASURES`; of models, see :func:`model_quality`.
        test_quality: float ``(T, 2)`` of each of ``trials.test_paths``.
        trials: what is compared.

    Returns:
        float64 ``(num_trials, 4)``: see :data:`TRIAL_MEASURES`. Less than 0.1 s of speech counts
        as 0.1 s.

    Raises:
        EvaluationError: the arrays do not fit the trials.
    """
    for quality, paths, kind in (
        (enroll_quality, trials.enroll_paths, "enrolment"),
        (test_quality, trials.test_paths, "test"),
    ):
        if quality.shape != (len(paths), _NUM_CLIP_MEASURES):
            raise EvaluationError(
                f"The {kind} qualities have shape {quality.shape}; the trials need "
                f"({len(paths)}, {_NUM_CLIP_MEASURES})."
            )
    enroll_index, test_index = trials.indices()
    return pair_quality(enroll_quality[enroll_index], test_quality[test_index])


def pair_quality(enroll_quality: np.ndarray, test_quality: np.ndarray) -> np.ndarray:
    """Measures of N pairs of clips: from ``(N, 2)`` of each side to float64 ``(N, 4)``.

    See :data:`mvector.audio.quality.CLIP_MEASURES` and :data:`TRIAL_MEASURES`.
    """
    enroll, test = (
        np.column_stack(
            [np.log(np.maximum(side[:, 0].astype(np.float64), _LEAST_SPEECH_S)), side[:, 1]]
        )
        for side in (enroll_quality, test_quality)
    )
    lower, higher = np.minimum(enroll, test), np.maximum(enroll, test)
    return np.column_stack([lower[:, 0], higher[:, 0], lower[:, 1], higher[:, 1]])
