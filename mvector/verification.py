"""Error rates of a model on lists of clips: lists -> embeddings -> scores -> calibration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from mvector.distributed import from_main
from mvector.evaluation import Calibration, Trials, calibrate, cosine_scores
from mvector.speakers.encoder import SpeakerEncoder
from mvector.trial_embeddings import check_lists, embed_trials

__all__ = ["VerificationResult", "check_lists", "verify_lists"]


@dataclass(frozen=True)
class VerificationResult:
    """Scores of all trials and what follows from them.

    Attributes:
        scores: ``(trials,)`` cosines.
        labels: ``(trials,)`` True where both clips are of the same speaker.
        calibration: error rates and thresholds.
        num_skipped: clips that are missing or could not be used.
        trials: which clips were compared.
        num_trials_left_out: trials without a score, because of skipped clips.
        enrolment: how models of several clips were enrolled, in words; ``None`` where every model
            is one clip.
    """

    scores: np.ndarray
    labels: np.ndarray
    calibration: Calibration
    num_skipped: int
    trials: Trials
    num_trials_left_out: int
    enrolment: str | None


def verify_lists(
    encoder: SpeakerEncoder,
    trials_list: str,
    enroll_list: str | None = None,
    *,
    root: str | None = None,
    batch_size: int = 16,
    max_duration_s: float | None = 20.0,
    enrolment: str = "mean",
    skip_missing: bool = False,
    cache: str | None = None,
    progress: bool = False,
) -> VerificationResult:
    """Measure a model's verification error rates.

    Where the caller has joined several processes, all must call this together; each computes its
    part of the embeddings, and all get the same result.

    Args:
        encoder: the model.
        trials_list: test clips ``path<TAB>label``, each compared with every clip of
            ``enroll_list``; or trials in any form of :mod:`mvector.evaluation.trial_lists`.
        enroll_list: enrolment clips ``path<TAB>label``, or the clips of each enrolment model.
        root: folder that relative clip paths start from; ``None`` is the working directory.
        batch_size: clips computed at once.
        max_duration_s: hear only the beginning of longer clips.
        enrolment: how models of several clips are enrolled: ``mean``, ``raw-mean``, ``max``,
            ``top-N`` or ``concat``.
        skip_missing: leave out trials of clips that do not exist, rather than refuse the list.
        cache: folder in which embeddings are kept, see :func:`extract_embeddings`.
        progress: show bars over clips and trials.

    Raises:
        DataError: a list is missing or malformed.
        EvaluationError: the trials allow no error rate, or clips are missing.
    """
    embedded = embed_trials(
        encoder,
        trials_list,
        enroll_list,
        root=root,
        enrolment=enrolment,
        skip_missing=skip_missing,
        batch_size=batch_size,
        max_duration_s=max_duration_s,
        cache=cache,
        progress=progress,
    )
    scores = embedded.score(partial(cosine_scores, progress=progress))
    labels = embedded.trials.labels
    calibration = calibrate(scores, labels, description=embedded.description)
    return VerificationResult(
        scores,
        labels,
        from_main(calibration),  # hosts may round differently, and must decide alike
        embedded.num_skipped,
        embedded.trials,
        embedded.num_trials_left_out,
        embedded.enrolment,
    )
