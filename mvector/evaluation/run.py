"""Error rates of a model on lists of clips: lists -> embeddings -> scores -> calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from mvector.audio.clip_report import ClipReport
from mvector.compute.distributed import all_gather_rows, current_world, from_main
from mvector.embedding.encoder import SpeakerEncoder
from mvector.embedding.extraction import until_all_ranks_finish
from mvector.embedding.listening import Listening
from mvector.errors import EvaluationError
from mvector.evaluation.back_end import BackEnd, score_trials
from mvector.evaluation.calibration import Calibration
from mvector.evaluation.calibration_fit import calibrate_curve, calibrate_quality
from mvector.evaluation.costs import COSTS
from mvector.evaluation.embedded_trials import EmbeddedTrials, check_lists, embed_trials
from mvector.evaluation.metrics import DetCurve, error_rates
from mvector.evaluation.quality import clip_measures, model_quality, trial_quality
from mvector.evaluation.streaming import all_pairs_error_rates
from mvector.progress import progress_bar
from mvector.scoring.enrolment import mean_embeddings
from mvector.scoring.strangers import Strangers
from mvector.scoring.trial_speakers import TrialSpeakers
from mvector.scoring.trials import AllPairs, Trials

__all__ = ["VerificationResult", "check_lists", "verify_lists"]

# All pairs beyond this are counted and not kept; with all that is reported of them, 30 million
# took 4.8 GiB.
_MAX_KEPT_SCORES = 15_000_000
_CLIPS_AT_ONCE = 64

# of enrolment and test clips, in the order of SIDE_MEASURES: ``(E, 2)`` and ``(T, 2)``
SideLikeness: TypeAlias = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class VerificationResult:
    """Scores of all trials and what follows from them.

    Attributes:
        scores: ``(trials,)``; ``None`` where there are so many pairs that scores were counted only.
        curve: error rates at every threshold.
        calibration: thresholds; its ``score_type`` says of what.
        num_skipped: clips that are missing or could not be used.
        trials: which clips were compared.
        num_trials_left_out: trials without a score, because of skipped clips.
        enrolment: how models of several clips were enrolled, in words; ``None`` where every model
            is one clip.
        listening: how much of clips was heard; thresholds hold for that alone.
        speakers: whose clips were compared.
        num_self_trials: listed trials of a clip with itself, which are no trials.
        scored_by: what the scores are, in words.
        quality: ``(trials, TRIAL_MEASURES)`` of :func:`trial_quality`, if measured.
        likeness: of both sides to strangers, see :func:`trial_likeness`; ``None`` where scores
            were counted only.
    """

    scores: np.ndarray | None
    curve: DetCurve
    calibration: Calibration
    num_skipped: int
    trials: Trials
    num_trials_left_out: int
    enrolment: str | None
    listening: Listening
    speakers: TrialSpeakers
    num_self_trials: int = 0
    scored_by: str = "cosine"
    quality: np.ndarray | None = None
    likeness: SideLikeness | None = None

    @property
    def labels(self) -> np.ndarray:
        """Bool ``(trials,)``, True where both clips are of the same speaker."""
        return self.trials.labels


def verify_lists(
    encoder: SpeakerEncoder,
    trials_list: str,
    enroll_list: str | None = None,
    *,
    root: str | None = None,
    batch_size: int = 16,
    enrolment: str = "mean",
    skip_missing: bool = False,
    cache: str | None = None,
    back_end: BackEnd | None = None,
    with_quality: bool = False,
    speakers: str | None = None,
    progress: bool = False,
) -> VerificationResult:
    """Measure a model's verification error rates.

    Where the caller has joined several processes, all must call this together; each computes its
    part of the embeddings, and all get the same result.

    Args:
        encoder: the model.
        trials_list: test clips ``path<TAB>label``, each compared with every clip of
            ``enroll_list``; or trials in any form of :mod:`mvector.scoring.trial_lists`.
        enroll_list: enrolment clips ``path<TAB>label``, or the clips of each enrolment model.
        root: folder that relative clip paths start from; ``None`` is the working directory.
        batch_size: clips computed at once.
        enrolment: how models of several clips are enrolled: ``mean`` (a PLDA is given all clips
            jointly instead), ``raw-mean``, ``max``, ``top-N`` or ``concat``.
        skip_missing: leave out trials of clips that do not exist, rather than refuse the list.
        cache: folder in which embeddings are kept, see
            :func:`mvector.embedding.extraction.extract_embeddings`.
        back_end: what to score with; ``None`` is the cosine.
        with_quality: measure the clips too (speech, SNR, channel), and calibrate ratios that know
            it beside the one of the scores alone.
        speakers: whose each clip of listed pairs is, see
            :func:`mvector.evaluation.metadata.read_speakers`; ``None`` leaves it to the folders of
            the paths, or to the pairs (:func:`mvector.scoring.trial_speakers.find_speakers`).
        progress: show bars over clips and trials.

    Raises:
        DataError: a list is missing or malformed.
        EvaluationError: the trials allow no error rate, or clips are missing.
    """
    back_end = back_end or BackEnd()
    back_end.check()
    enrolment = _checked_enrolment(enrolment, back_end, with_quality)
    extraction = {"batch_size": batch_size, "cache": cache}
    embedded = embed_trials(
        encoder,
        trials_list,
        enroll_list,
        root=root,
        enrolment=enrolment,
        skip_missing=skip_missing,
        speakers=speakers,
        progress=progress,
        **extraction,
    )
    trials = embedded.trials
    about: dict[str, Any] = {
        "description": embedded.description,
        "num_speakers": embedded.speakers.num_speakers,
    }
    scores = quality = likeness = None
    if isinstance(trials, AllPairs) and len(trials) > _MAX_KEPT_SCORES:
        _check_streamable(len(trials), back_end, with_quality)
        scored_by = "cosine"
        curve = all_pairs_error_rates(
            embedded.enrolled, embedded.tested, trials, costs=COSTS, progress=progress
        )
        calibration = calibrate_curve(curve, **about)
    else:
        scores, scored_by = score_trials(
            encoder, embedded, back_end, root=root, progress=progress, **extraction
        )
        likeness = trial_likeness(embedded, Strangers.of_model(encoder.info))
        if with_quality:
            sides = measure_trials(encoder, trials, likeness, progress=progress)
            quality = trial_quality(*sides, trials)
        curve = error_rates(scores, trials.labels)
        calibration = calibrate_curve(curve, score_type=back_end.score_type, **about)
        if quality is not None:
            calibration = calibrate_quality(calibration, scores, trials.labels, quality)
    return VerificationResult(
        scores,
        curve,
        from_main(calibration),  # hosts may round differently, and must decide alike
        embedded.num_skipped,
        trials,
        embedded.num_trials_left_out,
        embedded.enrolment,
        encoder.listening,
        embedded.speakers,
        embedded.num_self_trials,
        scored_by,
        quality,
        likeness,
    )


def _checked_enrolment(enrolment: str, back_end: BackEnd, with_quality: bool) -> str:
    if with_quality and enrolment == "concat":
        raise EvaluationError(
            "Quality is measured clip by clip, and 'concat' joins clips; enrol by mean instead."
        )
    if back_end.method != "plda":
        return enrolment
    if enrolment == "raw-mean":
        raise EvaluationError(
            "A PLDA takes no mean of embeddings; enrol with mean (which gives it all clips "
            "jointly), max, top-3 or concat."
        )
    return "joint" if enrolment == "mean" else enrolment


def _check_streamable(num_trials: int, back_end: BackEnd, with_quality: bool) -> None:
    if with_quality or back_end.score_type != "cosine":
        what = "a ratio that knows quality" if with_quality else f"{back_end.score_type} scores"
        raise EvaluationError(
            f"{num_trials:,} pairs are too many to keep their scores ({_MAX_KEPT_SCORES:,} at "
            f"most), and {what} need that; list fewer trials, or score by cosine alone."
        )


def trial_likeness(embedded: EmbeddedTrials, strangers: Strangers) -> SideLikeness:
    """How alike both sides of trials are to the model's strangers, and to the user's own.

    A model of several clips is as alike as its mean embedding is.

    Returns:
        float64 ``(E, 2)`` of ``trials.enroll_paths``, or of the models, and ``(T, 2)`` of
        ``trials.test_paths``; NaN where there are no such strangers.

    Raises:
        CheckpointError: the strangers are those of another model, or damaged.
    """

    def likeness(embeddings: np.ndarray) -> np.ndarray:
        kinds = strangers.likeness(embeddings), strangers.own_likeness(embeddings)
        return np.stack(kinds, axis=1)

    trials, tested = embedded.trials, likeness(embedded.tested)
    models = None if isinstance(trials, AllPairs) else trials.models
    if models is not None:
        is_unit = embedded.method != "raw-mean"
        return likeness(mean_embeddings(embedded.tested, models, unit=is_unit)), tested
    is_alike = embedded.enrolled is embedded.tested
    return tested if is_alike else likeness(embedded.enrolled), tested


def measure_trials(
    encoder: SpeakerEncoder,
    trials: Trials,
    likeness: SideLikeness | None = None,
    *,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Quality of both sides of trials; each clip is measured once, by all processes together.

    ``likeness`` of both sides to strangers, from :func:`trial_likeness`, joins what is measured.

    Returns:
        :func:`mvector.evaluation.quality.side_measures`: ``(E, SIDE_MEASURES)`` of
        ``trials.enroll_paths``, or of the models, and ``(T, SIDE_MEASURES)`` of
        ``trials.test_paths``.

    Raises:
        AudioError: a clip cannot be used.
    """
    models = None if isinstance(trials, AllPairs) else trials.models
    enroll_paths = trials.enroll_paths if models is None else trials.test_paths
    paths = list(dict.fromkeys([*enroll_paths, *trials.test_paths]))
    world = current_world()
    own = paths[world.share(len(paths))]
    parts = (own[start : start + _CLIPS_AT_ONCE] for start in range(0, len(own), _CLIPS_AT_ONCE))
    measured: list[ClipReport] = []
    show = progress and world.is_main
    with progress_bar(total=len(own), desc="Measuring", unit="clip", show=show) as bar:
        for part in until_all_ranks_finish(map(encoder.measure_batch, parts)):
            measured += part
            bar.update(len(part))
    quality = all_gather_rows(clip_measures(measured))
    row_of = {path: row for row, path in enumerate(paths)}
    enrolled, tested = (
        quality[[row_of[path] for path in side]] for side in (enroll_paths, trials.test_paths)
    )
    sides = enrolled if models is None else model_quality(enrolled, models), tested
    if likeness is not None:
        for side, known in zip(sides, likeness, strict=True):
            side[:, -2:] = known
    return sides


def metrics_of(measured: Calibration) -> dict[str, Any]:
    """What the model folder says was measured, beside the calibration."""
    return {
        "eer": measured.eer,
        "min_dcf": measured.min_dcf,
        "accuracy": measured.accuracy,
        "trials": measured.description,
    }
