"""How good the two clips of a trial are, for a calibration that takes it into account.

A score of two short or noisy clips says less than the same score of two good ones. Quality measure
functions give the calibration these measures beside the score (Thienpondt, Desplanques & Demuynck,
"The IDLab VoxCeleb speaker recognition challenge 2020 system description", 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import EvaluationError

if TYPE_CHECKING:
    from mvector.audio.clip_report import ClipReport
    from mvector.audio.quality import SpeechQuality
    from mvector.scoring.trials import EnrolmentModels, Trials

#: What is known of each side of a trial, a clip or an enrolled person, in this order; what is not
#: known is NaN. Likeness is that to the strangers of the model, and to those of the user, see
#: :mod:`mvector.scoring.strangers`.
SIDE_MEASURES = (
    "speech_s",
    "snr_db",
    "bandwidth_hz",
    "hole_share",
    "likeness",
    "own_likeness",
)

#: What :func:`trial_quality` gives of each trial.
TRIAL_MEASURES = tuple(
    f"{end} {measure}"
    for measure in (
        "log speech duration",
        "SNR",
        "bandwidth",
        "hole share",
        "likeness to strangers",
        "likeness to own strangers",
    )
    for end in ("lower", "higher")
)

_LEAST_SPEECH_S = 0.1
_BANDWIDTHS_HZ = 2000.0, 8000.0


def side_measures(
    quality: Sequence[SpeechQuality | None],
    likeness: ArrayLike | None = None,
    own_likeness: ArrayLike | None = None,
) -> np.ndarray:
    """What is known of N sides: float64 ``(N, SIDE_MEASURES)``, NaN where it is not.

    Args:
        quality: of each clip, or of the clips of a person together.
        likeness: ``(N,)``, to the strangers of the model.
        own_likeness: ``(N,)``, to those of the user.
    """
    measures = np.full((len(quality), len(SIDE_MEASURES)), np.nan)
    for row, known in zip(measures, quality, strict=True):
        if known is not None:
            row[:4] = known.speech_s, known.snr_db, known.bandwidth_hz, known.hole_share
    if likeness is not None:
        measures[:, 4] = likeness
    if own_likeness is not None:
        measures[:, 5] = own_likeness
    return measures


def clip_measures(reports: Sequence[ClipReport]) -> np.ndarray:
    """:func:`side_measures` of clips that were measured."""
    return side_measures([report.quality for report in reports])


def model_quality(quality: np.ndarray, models: EnrolmentModels) -> np.ndarray:
    """Measures of M enrolment models: total duration of their speech, the mean of all else.

    From ``(clips, SIDE_MEASURES)`` of the clips that ``models.clips`` points into to float64
    ``(M, SIDE_MEASURES)``. How alike strangers a model is follows from its own embedding.
    """
    sums = np.add.reduceat(quality[models.clips].astype(np.float64), models.starts[:-1], axis=0)
    sums[:, 1:] /= np.asarray(models.num_clips)[:, None]
    return sums


def trial_quality(
    enroll_quality: np.ndarray, test_quality: np.ndarray, trials: Trials
) -> np.ndarray:
    """Measures of both clips of every trial, the same whichever of them comes first.

    Args:
        enroll_quality: float ``(E, SIDE_MEASURES)`` of each of ``trials.enroll_paths``; of
            models, see :func:`model_quality`.
        test_quality: float ``(T, SIDE_MEASURES)`` of each of ``trials.test_paths``.
        trials: what is compared.

    Returns:
        float64 ``(num_trials, TRIAL_MEASURES)``, NaN where it is not known of both sides. Less than
        0.1 s of speech counts as 0.1 s.

    Raises:
        EvaluationError: the arrays do not fit the trials.
    """
    for quality, paths, kind in (
        (enroll_quality, trials.enroll_paths, "enrolment"),
        (test_quality, trials.test_paths, "test"),
    ):
        if quality.shape != (len(paths), len(SIDE_MEASURES)):
            raise EvaluationError(
                f"The {kind} qualities have shape {quality.shape}; the trials need "
                f"({len(paths)}, {len(SIDE_MEASURES)})."
            )
    enroll_index, test_index = trials.indices()
    return pair_quality(enroll_quality[enroll_index], test_quality[test_index])


def pair_quality(enroll_quality: np.ndarray, test_quality: np.ndarray) -> np.ndarray:
    """Measures of N pairs: from ``(N, SIDE_MEASURES)`` of each side to ``(N, TRIAL_MEASURES)``.

    Bandwidth counts in octaves below 8 kHz; there is no more of it, and no voice below 2 kHz.
    """
    enroll, test = (_on_scales(side) for side in (enroll_quality, test_quality))
    ends = np.stack([np.minimum(enroll, test), np.maximum(enroll, test)], axis=-1)
    return ends.reshape(len(ends), -1)


def _on_scales(side: np.ndarray) -> np.ndarray:
    """The measures of sides on the scales where a line fits: float64 ``(N, SIDE_MEASURES)``."""
    scaled = np.array(side, dtype=np.float64)
    scaled[:, 0] = np.log(np.maximum(scaled[:, 0], _LEAST_SPEECH_S))
    scaled[:, 2] = np.log2(np.clip(scaled[:, 2], *_BANDWIDTHS_HZ) / _BANDWIDTHS_HZ[1])
    return scaled
