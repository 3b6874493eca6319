"""Calibration: what a score of one model means.

Thresholds for several purposes, a map from score to a log-likelihood ratio, and the range of scores
that are no evidence either way. :mod:`mvector.evaluation.calibration_fit` measures them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, TypeVar, cast

import numpy as np

from mvector.errors import CheckpointError, EvaluationError
from mvector.evaluation.calibration_table import read_value
from mvector.evaluation.likelihood import LikelihoodRatio, ratio_from_weights
from mvector.evaluation.operating_points import PURPOSES, ErrorCounts, OperatingPoint

#: What verdicts are held to unless another purpose is named: 1 of 100 strangers is accepted.
DEFAULT_POINT = "far_1pct"
#: Where there are too few trials to see that, an answer takes evidence that is so many times
#: likelier if it is true than if it is not.
CONCLUSIVE_RATIO = 10.0

#: Fewer speakers, or fewer trials of one speaker, are no ground for a threshold.
MIN_SPEAKERS, MIN_TARGETS = 5, 30

Scores = TypeVar("Scores", float, np.ndarray)


@dataclass(frozen=True)
class Calibration:
    """Thresholds and log-likelihood ratio of one model's scores.

    Attributes:
        description: the trials it was measured on, in words.
        num_target: target trials among them.
        num_nontarget: non-target trials among them.
        eer: equal error rate.
        threshold_eer: threshold at the equal error rate.
        min_dcf: normalised minimum detection cost at ``p_target`` 0.01 and unit costs.
        threshold_min_dcf: threshold at that minimum.
        accuracy: highest share of right decisions on these trials.
        threshold_best_accuracy: threshold at that accuracy.
        threshold_far_1pct: lowest threshold with a measured false-acceptance rate of at most 1 %;
            ``None`` with fewer than 100 non-target trials.
        threshold_far_0_1pct: the same for 0.1 %; ``None`` with fewer than 1000.
        slope: of the log-likelihood ratio over the score.
        offset: natural-log likelihood ratio at score 0.
        threshold_far_0_01pct: the same for 0.01 %; ``None`` with fewer than 10,000.
        errors: errors behind each threshold, by purpose; empty if they were not counted.
        num_speakers: different speakers in the trials; ``None`` if not known.
        score_type: what the scores are: ``cosine``, ``s-norm``, ``as-norm``, ``plda`` ...
        ratios: likelihood ratios that know more of the clips than their score, the one that knows
            most first; empty if nothing else was measured.
        threshold_miss_5pct: threshold below which 5 % of the target trials lie; ``None`` if it was
            not measured.
        num_own_people: people of the user that it was adapted to; ``None`` if to none.
        own_purposes: keys of :data:`PURPOSES` whose thresholds were measured on these people.
    """

    description: str
    num_target: int
    num_nontarget: int
    eer: float
    threshold_eer: float
    min_dcf: float
    threshold_min_dcf: float
    accuracy: float
    threshold_best_accuracy: float
    threshold_far_1pct: float | None
    threshold_far_0_1pct: float | None
    slope: float
    offset: float
    threshold_far_0_01pct: float | None = None
    errors: Mapping[str, ErrorCounts] = field(default_factory=dict)
    num_speakers: int | None = None
    score_type: str = "cosine"
    ratios: tuple[LikelihoodRatio, ...] = ()
    threshold_miss_5pct: float | None = None
    num_own_people: int | None = None
    own_purposes: tuple[str, ...] = ()

    def operating_points(self) -> list[OperatingPoint]:
        """The thresholds, each with its error rates and the trials behind it."""
        return [
            OperatingPoint(
                purpose,
                getattr(self, f"threshold_{purpose}"),
                self.errors.get(purpose),
                self.num_target,
                self.num_nontarget,
            )
            for purpose in PURPOSES
        ]

    @property
    def is_supported(self) -> bool:
        """Whether it rests on enough speakers, as far as they are known, and target trials."""
        few_speakers = self.num_speakers is not None and self.num_speakers < MIN_SPEAKERS
        return not few_speakers and self.num_target >= MIN_TARGETS

    def advantage_over(self, other: Calibration) -> str | None:
        """Why this one should not be replaced by ``other`` unasked, in words; ``None``: it may."""
        if self.description == other.description:  # the same trials again
            return None
        if self.is_supported and not other.is_supported:
            return (
                f"this one rests on fewer than {MIN_SPEAKERS} people or {MIN_TARGETS} comparisons "
                "of one person"
            )
        own, others, unit = self.num_speakers, other.num_speakers, "speakers"
        if own is None or others is None:
            own, others, unit = self.num_target, other.num_target, "comparisons of one person"
        return (
            f"it was measured on {own:,} {unit}, this one on {others:,}" if own > others else None
        )

    @property
    def inconclusive_scores(self) -> tuple[float, float] | None:
        """Scores of which verdicts say that it cannot be told, from one to below the other.

        ``None`` where there are none, or higher scores do not mean the same speaker.
        """
        if self.slope <= 0:
            return None
        high, low = self.limits()
        if self.score_type.endswith("cosine"):
            low, high = (min(max(end, -1.0), 1.0) for end in (low, high))
        return (low, high) if low < high else None

    def limits(self, point: str = DEFAULT_POINT) -> tuple[float, float]:
        """Scores from which it is the same speaker, and below which it is two, by the score alone.

        The first is the threshold of an operating point, a key of :data:`PURPOSES`, or that of the
        equal error rate if it is higher: nobody gains by accepting more strangers than people are
        rejected. Below the other one lie 5 % of the target trials. What lies between cannot be
        told. What was not measured takes plain evidence. The slope must be positive.
        """
        far, plain = getattr(self, f"threshold_{point}"), np.log(CONCLUSIVE_RATIO)
        same = (plain - self.offset) / self.slope if far is None else far
        same = max(float(same), self.threshold_eer)
        lowest = self.threshold_miss_5pct
        different = (-plain - self.offset) / self.slope if lowest is None else lowest
        return same, min(float(different), same)

    @property
    def knows_quality(self) -> bool:
        """Whether there is a ratio that takes more into account than the score."""
        return any(ratio.slope > 0 for ratio in self.ratios)

    def ratios_for(self, quality: np.ndarray) -> Iterator[tuple[LikelihoodRatio, np.ndarray]]:
        """The ratios of trials ``(..., TRIAL_MEASURES)``, each with those that it knows: bool.

        The last one that knows a trial is the one to judge it.
        """
        for ratio in self.ratios[::-1]:
            if ratio.slope > 0:
                yield ratio, ratio.knows(quality)

    def ratio_for(self, quality: np.ndarray | None) -> LikelihoodRatio | None:
        """The ratio that takes most of what is known of one trial, ``(TRIAL_MEASURES,)``.

        ``None`` where the score alone is to be judged.
        """
        if quality is None:
            return None
        usable = (ratio for ratio in self.ratios if ratio.slope > 0 and ratio.knows(quality))
        return next(usable, None)

    def llr(self, score: Scores, quality: np.ndarray | None = None) -> Scores:
        """Natural log of P(score | same speaker) / P(score | different speakers).

        Args:
            score: a score, or an array of them.
            quality: ``(TRIAL_MEASURES,)`` or ``(num_trials, TRIAL_MEASURES)`` of these trials,
                from :func:`mvector.evaluation.quality.trial_quality`; the ratio is taken that knows
                most of each trial, and where none does, or with ``None``, the score alone counts.

        Returns:
            Offset plus slope times score, in the shape of ``score``; float64.
        """
        slope, offset = self.slope_and_offset(quality)
        ratio = slope * np.asarray(score, dtype=np.float64) + offset
        return cast(Scores, float(ratio) if np.ndim(ratio) == 0 else ratio)

    def slope_and_offset(self, quality: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Slope and offset of the ratio over the score, of each trial; see :meth:`llr`."""
        if quality is None:
            return np.asarray(self.slope), np.asarray(self.offset)
        slope, offset = (np.full(np.shape(quality)[:-1], of) for of in (self.slope, self.offset))
        for ratio, is_known in self.ratios_for(quality):
            slope = np.where(is_known, ratio.slope, slope)
            offset = np.where(is_known, ratio.offset(quality), offset)
        return slope, offset

    def beyond(self, quality: np.ndarray) -> np.ndarray:
        """Which trials ``(..., TRIAL_MEASURES)`` are worse than all behind their ratio: bool.

        See :meth:`mvector.evaluation.likelihood.LikelihoodRatio.beyond`.
        """
        is_beyond = np.zeros(np.shape(quality)[:-1], dtype=bool)
        for ratio, is_known in self.ratios_for(quality):
            is_beyond = np.where(is_known, ratio.beyond(quality) >= 0, is_beyond)
        return is_beyond

    def probability(
        self, score: Scores, prior: float = 0.5, quality: np.ndarray | None = None
    ) -> Scores:
        """Posterior probability that both clips are of the same speaker.

        Args:
            score: a score, or an array of them.
            prior: probability of the same speaker before the clips are heard.
            quality: as for :meth:`llr`.

        Raises:
            EvaluationError: the prior is not between 0 and 1, or as :meth:`llr`.
        """
        if not 0.0 < prior < 1.0:
            raise EvaluationError(f"The prior must be between 0 and 1; got {prior}.")
        log_odds = np.asarray(self.llr(score, quality)) + np.log(prior / (1.0 - prior))
        posterior = np.exp(-np.logaddexp(0.0, -log_odds))  # no overflow at either end
        return cast(Scores, float(posterior) if np.ndim(posterior) == 0 else posterior)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for YAML; :meth:`from_dict` reads them back exactly."""
        values = {**asdict(self), "ratios": [ratio.to_dict() for ratio in self.ratios]}
        return {**values, "own_purposes": list(self.own_purposes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Rebuild what :meth:`to_dict` gave, also of a version that measured less.

        Raises:
            CheckpointError: a value is missing, unknown or of another type.
        """
        if not isinstance(values, Mapping):
            raise CheckpointError(
                "The calibration is not a table of keys and values; evaluate the model again."
            )
        values = {key: value for key, value in values.items() if key not in _ONCE}
        weights, ranges = (  # of a version with one ratio
            read_value(key, values.pop(key, None)) for key in ("quality_weights", "quality_range")
        )
        names = [key.name for key in fields(cls)]
        for kind, keys in (
            ("lacks", [name for name in names if name not in values and name not in _OPTIONAL]),
            ("has the unknown", [str(key) for key in values if key not in names]),
        ):
            if keys:
                raise CheckpointError(
                    f"The calibration {kind} {', '.join(keys)}; evaluate the model again."
                )
        converted = {name: read_value(name, value) for name, value in values.items()}
        if weights is not None or ranges is not None:
            converted["ratios"] = (ratio_from_weights(weights or (), ranges),)
        return cls(**converted)


_ONCE = {"inconclusive_low", "inconclusive_high"}  # keys of earlier versions
# Keys that a calibration written by an earlier version does not have.
_OPTIONAL = {
    key.name
    for key in fields(Calibration)
    if key.default is not MISSING or key.default_factory is not MISSING
}


def score_suffix(score_type: str) -> str:
    """What the name of a file ends with, so that one kind of scores does not replace another."""
    return "" if score_type == "cosine" else "-" + score_type.replace(" ", "-")
