"""A calibration adapted to a user's people: what is kept of the model's, and what is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mvector.evaluation.calibration import MIN_SPEAKERS, MIN_TARGETS, Calibration
from mvector.evaluation.calibration_fit import calibrate, with_limits
from mvector.evaluation.likelihood import LikelihoodRatio
from mvector.evaluation.operating_points import PURPOSES
from mvector.scoring.strangers import MIN_OWN

#: Likeness to so many people is enough to adapt ratios that know it; to set the thresholds of
#: ratios, it takes more: the rarest error that is seen is one pair of people.
MIN_PEOPLE, MIN_PEOPLE_OF_THRESHOLDS = MIN_OWN, 20


@dataclass(frozen=True)
class Plan:
    """What of a model is adapted to a user's people.

    Attributes:
        keeps_ratios: the model has ratios that know the clips, whose lines are kept.
        sets_thresholds: thresholds are measured anew.
        fits_ratios: ratios are fitted anew.
        is_supported: what that gives rests on enough to be used.
    """

    keeps_ratios: bool
    sets_thresholds: bool
    fits_ratios: bool
    is_supported: bool

    @classmethod
    def of(
        cls,
        known: Calibration | None,
        num_people: int,
        num_target: int,
        *,
        fits_ratios: bool = False,
        is_forced: bool = False,
    ) -> Plan:
        """What so many people, with so many pairs of one person, are enough for.

        Args:
            known: calibration of the model; ``None`` if it has none.
            num_people: whose clips there are.
            num_target: pairs of one person.
            fits_ratios: it is asked for.
            is_forced: thresholds are measured and used in any case.
        """
        is_enough = is_forced or (num_people >= MIN_SPEAKERS and num_target >= MIN_TARGETS)
        if known is None or not known.knows_quality or fits_ratios:
            return cls(False, True, fits_ratios, is_enough)
        sets = is_forced or (is_enough and num_people >= MIN_PEOPLE_OF_THRESHOLDS)
        return cls(True, sets, False, sets or (num_people >= MIN_PEOPLE and _knows_own(known)))


def _knows_own(known: Calibration) -> bool:
    """Whether a ratio takes likeness to the user's own strangers."""
    ratios = [ratio for ratio in known.ratios if ratio.slope > 0]
    return any("own strangers" in measure for ratio in ratios for measure in ratio.measures)


def adapted_calibration(
    known: Calibration | None,
    scores: np.ndarray,
    is_target: np.ndarray,
    quality: np.ndarray,
    plan: Plan,
    *,
    description: str,
    num_people: int,
) -> Calibration:
    """A model's calibration adapted to pairs of the user's clips.

    The ratios that a model has come from more people than a user has: they keep their weights,
    and what they are held to is measured on the pairs at hand. A purpose that these are
    too few for keeps the ratio that the model asks for, or that of the purpose measured last
    where it is higher. All else is measured as :func:`calibrate` does.

    Args:
        known: of the model; ``None`` if it has none.
        scores: cosines ``(pairs,)``.
        is_target: bool ``(pairs,)``.
        quality: ``(pairs, TRIAL_MEASURES)``.
        plan: what is measured anew.
        description: the pairs in words.
        num_people: whose clips they are.

    Raises:
        EvaluationError: the pairs allow no error rate.
    """
    if known is not None and not plan.sets_thresholds:
        return known if known.own_purposes else replace(known, num_own_people=num_people)
    measured = calibrate(
        scores,
        is_target,
        description=description,
        quality=quality if plan.fits_ratios else None,
        num_speakers=num_people,
    )
    far = {name: getattr(measured, f"threshold_{name}") for name in PURPOSES}
    own = {name: value for name, value in far.items() if value is not None}
    measured = replace(measured, num_own_people=num_people, own_purposes=tuple(own))
    if known is None or not plan.keeps_ratios:
        return measured
    earlier = {name: getattr(known, f"threshold_{name}") for name in PURPOSES}
    kept = _joined({name: value for name, value in earlier.items() if value is not None}, own)
    thresholds: dict[str, Any] = {f"threshold_{name}": value for name, value in kept.items()}
    ratios = tuple(_adapted_ratio(ratio, scores, is_target, quality) for ratio in known.ratios)
    return replace(measured, ratios=ratios, **thresholds)


def _adapted_ratio(
    ratio: LikelihoodRatio, scores: np.ndarray, is_target: np.ndarray, quality: np.ndarray
) -> LikelihoodRatio:
    """The same line, with the limits of the pairs that it knows; as it is if these are too few.

    It is known for all of these pairs then: the ranges that it had grow to take them in.
    """
    is_known = ratio.knows(quality)
    labels = is_target[is_known]
    if ratio.slope <= 0 or not labels.any() or labels.all():
        return ratio
    wider = replace(ratio, ranges=ratio.ranges_with(quality[is_known]))
    own = with_limits(wider, scores[is_known], labels, quality[is_known])
    return replace(own, thresholds=_joined(ratio.thresholds, own.thresholds))


def _joined(earlier: Mapping[str, float], own: Mapping[str, float]) -> dict[str, float]:
    """Own thresholds, and earlier ones of the purposes that have none, in the order of purposes.

    A rarer error asks for no less than a more frequent one.
    """
    joined, least = {}, -np.inf
    for name, far in PURPOSES.items():
        value = own.get(name, earlier.get(name))
        if value is None:
            continue
        if far is not None:
            least = value = max(value, least) if name not in own else value
        joined[name] = float(value)
    return joined
