"""A model adapted to a user's people, and what that changes."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from mvector.errors import EvaluationError
from mvector.evaluation.adaptation import MIN_PEOPLE, Plan, adapted_calibration
from mvector.evaluation.calibration import Calibration
from mvector.evaluation.held_out import first_half
from mvector.evaluation.metrics import error_rates
from mvector.evaluation.own_clips import OwnPairs
from mvector.recognition.judge import Judge
from mvector.recognition.verdict_rates import count_verdicts
from mvector.scoring.strangers import Strangers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answers:
    """How well pairs are told apart.

    Attributes:
        eer: equal error rate of the likelihood ratios.
        counts: of pairs of two people and of one, how many there are, are answered wrongly, and
            cannot be told; see :func:`mvector.recognition.verdict_rates.count_verdicts`.
    """

    eer: float
    counts: np.ndarray


@dataclass(frozen=True)
class Gain:
    """What an adaptation changes.

    Attributes:
        is_held_out: each half of the people adapted, and the other half was measured; else all
            were measured that adapted.
        eer: equal error rate of the cosines, which stay.
        before: verdicts of the model as it is; ``None`` if it has no calibration.
        after: verdicts of the model adapted.
    """

    is_held_out: bool
    eer: float
    before: Answers | None
    after: Answers


def adapt(
    known: Calibration | None, pairs: OwnPairs, plan: Plan, chosen: np.ndarray | None = None
) -> Calibration:
    """The calibration of a model adapted to the pairs of all people, or of those chosen.

    Args:
        known: the model's calibration, if any.
        pairs: of the user's clips.
        plan: what is adapted.
        chosen: bool ``(P,)``; ``None`` is everybody.

    Raises:
        EvaluationError: the pairs allow no error rate.
    """
    own = pairs if chosen is None else pairs.of_people(chosen)
    return adapted_calibration(
        known,
        own.scores,
        own.labels,
        own.quality_among(chosen),
        plan,
        description=own.description,
        num_people=len(pairs.names) if chosen is None else int(chosen.sum()),
    )


def measure_gain(
    known: Calibration | None, strangers: Strangers, pairs: OwnPairs, plan: Plan
) -> Gain:
    """Verdicts before and after :func:`adapt`, on people held out where there are enough.

    Args:
        known: the model's calibration, if any.
        strangers: of the model as it is.
        pairs: of the user's clips.
        plan: what is adapted.
    """
    folds = _folds(known, pairs, plan)
    measured = folds or [(pairs, pairs.quality_among(), adapt(known, pairs, plan))]
    parts = [part for part, _, _ in measured]
    before = None
    if known is not None:
        before = _answers([(part, part.quality(strangers), known) for part in parts])
    scores, labels = (
        np.concatenate([getattr(p, of) for p in parts]) for of in ("scores", "labels")
    )
    return Gain(bool(folds), error_rates(scores, labels).eer()[0], before, _answers(measured))


_Judged = tuple[OwnPairs, np.ndarray, Calibration]  # pairs, their quality, and what judges them


def _folds(known: Calibration | None, pairs: OwnPairs, plan: Plan) -> list[_Judged]:
    """Either half of the people judged by what the other half adapts; empty if these are too few.

    Pairs of a person of one half with one of the other are left out.
    """
    num_people = len(pairs.names)
    if num_people < 2 * MIN_PEOPLE:
        return []
    half = first_half(pairs.speakers[0], pairs.labels, num_people, seed=0)
    folds = []
    for adapting in (half, ~half):
        measured = pairs.of_people(~adapting)
        if not measured.labels.any() or measured.labels.all():
            return []
        try:
            calibration = adapt(known, pairs, plan, adapting)
        except EvaluationError as error:
            logger.info("Nobody can be held out: %s", error)
            return []
        quality = measured.quality_beside(pairs.voiceprints(adapting))
        folds.append((measured, quality, calibration))
    return folds


def _answers(judged: list[_Judged]) -> Answers:
    counts = np.zeros((2, 3), dtype=np.int64)
    ratios, labels = [], []
    for pairs, quality, calibration in judged:
        judge = Judge(calibration, None, pairs.folder)
        measures = quality if judge.uses_quality else None
        counts += count_verdicts(judge, pairs.scores, pairs.labels, measures, pairs.least_speech_s)
        ratios.append(calibration.llr(pairs.scores, measures))
        labels.append(pairs.labels)
    curve = error_rates(np.concatenate(ratios), np.concatenate(labels))
    return Answers(curve.eer()[0], counts)
