"""Calibration: what a score of one model means.

Thresholds for several purposes, a map from score to a log-likelihood ratio, and the range of scores
that are no evidence either way. :mod:`mvector.evaluation.calibration_fit` measures them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, TypeVar, cast

import numpy as np

from mvector.errors import CheckpointError, EvaluationError
from mvector.evaluation.calibration_table import read_value
from mvector.evaluation.operating_points import PURPOSES, ErrorCounts, OperatingPoint

#: A score is inconclusive where the observation is less than so many times likelier under one
#: hypothesis than under the other. At even prior odds the posterior is then between 9 and 91 %.
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
        inconclusive_low: scores from here to ``inconclusive_high`` have a likelihood ratio between
            1/10 and 10: neither answer is ten times as likely as the other. ``None``, like the
            other end, where higher scores do not mean the same speaker.
        inconclusive_high: its upper end.
        errors: errors behind each threshold, by purpose; empty if they were not counted.
        num_speakers: different speakers in the trials; ``None`` if not known.
        score_type: what the scores are: ``cosine``, ``s-norm``, ``as-norm``, ``plda`` ...
        quality_weights: offset, slope and a weight for each of
            :data:`mvector.evaluation.quality.TRIAL_MEASURES`, for ratios that know how good the
            clips are; ``None`` if these were not measured.
        quality_range: lowest and highest of each of these measures among the trials. Clips beyond
            count as the most extreme that were seen: nothing is known of what follows. ``None``
            where that was not measured, and then the line goes on.
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
    inconclusive_low: float | None = None
    inconclusive_high: float | None = None
    errors: Mapping[str, ErrorCounts] = field(default_factory=dict)
    num_speakers: int | None = None
    score_type: str = "cosine"
    quality_weights: tuple[float, ...] | None = None
    quality_range: tuple[tuple[float, float], ...] | None = None

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
        """The inconclusive range within what scores can be: cosines lie in [-1, 1]."""
        if self.inconclusive_low is None or self.inconclusive_high is None:
            return None
        low, high = self.inconclusive_low, self.inconclusive_high
        if self.score_type.endswith("cosine"):
            low, high = (min(max(end, -1.0), 1.0) for end in (low, high))
        return low, high

    @property
    def knows_quality(self) -> bool:
        """Whether there is a ratio that takes the quality of the clips into account."""
        return self.quality_weights is not None and self.quality_weights[1] > 0

    def llr(self, score: Scores, quality: np.ndarray | None = None) -> Scores:
        """Natural log of P(score | same speaker) / P(score | different speakers).

        Args:
            score: a score, or an array of them.
            quality: ``(measures,)`` or ``(num_trials, measures)`` of these trials, from
                :func:`mvector.evaluation.quality.trial_quality`; ``None`` judges the score alone.

        Returns:
            ``slope * score + offset``, in the shape of ``score``; float64.

        Raises:
            EvaluationError: quality is given and was not part of the calibration, or does not fit.
        """
        slope, offset = self._slope_and_offset(quality)
        ratio = slope * np.asarray(score, dtype=np.float64) + offset
        return cast(Scores, float(ratio) if np.ndim(score) == 0 else ratio)

    def score_at(self, llr: float, quality: np.ndarray | None = None) -> float | np.ndarray:
        """The score whose :meth:`llr` is this; with the quality of several trials, of each.

        Raises:
            EvaluationError: higher scores do not mean the same speaker, or as :meth:`llr`.
        """
        slope, offset = self._slope_and_offset(quality)
        if slope <= 0:
            raise EvaluationError("Higher scores of this model do not mean the same speaker.")
        score = (llr - offset) / slope
        return float(score) if np.ndim(score) == 0 else score

    def _slope_and_offset(self, quality: np.ndarray | None) -> tuple[float, np.ndarray]:
        """Slope and offset of the ratio over the score; the offset, of each trial with quality."""
        if quality is None:
            return self.slope, np.asarray(self.offset)
        if self.quality_weights is None:
            raise EvaluationError(
                "The model was calibrated without the quality of clips; measure it first."
            )
        offset, slope, *weights = self.quality_weights
        if np.shape(quality)[-1:] != (len(weights),):
            raise EvaluationError(
                f"The model was calibrated with {len(weights)} measures of quality; "
                f"got shape {np.shape(quality)}."
            )
        measures = np.asarray(quality, dtype=np.float64)
        if self.quality_range is not None:
            measures = np.clip(measures, *np.transpose(self.quality_range))
        # not a matrix product, whose rounding depends on how many trials there are
        return slope, offset + (measures * np.array(weights)).sum(axis=-1)

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
        return cast(Scores, float(posterior) if np.ndim(score) == 0 else posterior)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for YAML; :meth:`from_dict` reads them back exactly."""
        values = asdict(self)
        if self.quality_weights is not None:
            values["quality_weights"] = list(self.quality_weights)
        if self.quality_range is not None:
            values["quality_range"] = [list(ends) for ends in self.quality_range]
        return values

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
        weights, ranges = converted.get("quality_weights"), converted.get("quality_range")
        if ranges is not None and len(ranges) != len(weights or ()) - 2:
            raise CheckpointError("The calibration's quality_range does not fit quality_weights.")
        if "inconclusive_low" not in converted:
            band = inconclusive_band(converted["slope"], converted["offset"])
            converted["inconclusive_low"], converted["inconclusive_high"] = band
        return cls(**converted)


# Keys that a calibration written by an earlier version does not have.
_OPTIONAL = {
    key.name
    for key in fields(Calibration)
    if key.default is not MISSING or key.default_factory is not MISSING
}


def score_suffix(score_type: str) -> str:
    """What the name of a file ends with, so that one kind of scores does not replace another."""
    return "" if score_type == "cosine" else "-" + score_type.replace(" ", "-")


def inconclusive_band(slope: float, offset: float) -> tuple[float | None, float | None]:
    """Scores whose likelihood ratio is :data:`CONCLUSIVE_RATIO` in favour of either answer."""
    if slope <= 0:
        return None, None
    limit = float(np.log(CONCLUSIVE_RATIO))
    return (-limit - offset) / slope, (limit - offset) / slope
