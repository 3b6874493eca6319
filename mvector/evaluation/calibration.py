"""Calibration: what a score means, measured on labelled trials of one model.

Thresholds for several purposes, and a map from cosine to a log-likelihood ratio.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import CheckpointError, EvaluationError
from mvector.evaluation.metrics import error_rates

logger = logging.getLogger(__name__)

# Inverse strength of the L2 penalty on the slope, for standardised scores. It takes 0.2 % off the
# slope at 400 trials of the rarer class and an EER of 5 %; separable classes meet it in full.
_PENALTY_C = 100.0

# The regression sees scores in bins this fine, so that its cost does not grow with the trials.
_NUM_BINS = 16_384


@dataclass(frozen=True)
class Calibration:
    """Thresholds and log-likelihood ratio of one model's cosine scores.

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
        slope: of the log-likelihood ratio over the cosine.
        offset: natural-log likelihood ratio at cosine 0.
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

    @overload
    def llr(self, score: float) -> float: ...
    @overload
    def llr(self, score: np.ndarray) -> np.ndarray: ...
    def llr(self, score: float | np.ndarray) -> float | np.ndarray:
        """Natural log of P(score | same speaker) / P(score | different speakers).

        Args:
            score: cosine, or an array of them.

        Returns:
            ``slope * score + offset``, in the shape of ``score``; float64.
        """
        ratio = self.slope * np.asarray(score, dtype=np.float64) + self.offset
        return float(ratio) if np.ndim(score) == 0 else ratio

    @overload
    def probability(self, score: float, prior: float = 0.5) -> float: ...
    @overload
    def probability(self, score: np.ndarray, prior: float = 0.5) -> np.ndarray: ...
    def probability(self, score: float | np.ndarray, prior: float = 0.5) -> float | np.ndarray:
        """Posterior probability that both clips are of the same speaker.

        Args:
            score: cosine, or an array of them.
            prior: probability of the same speaker before the clips are heard.

        Raises:
            EvaluationError: the prior is not between 0 and 1.
        """
        if not 0.0 < prior < 1.0:
            raise EvaluationError(f"The prior must be between 0 and 1; got {prior}.")
        log_odds = np.asarray(self.llr(score)) + np.log(prior / (1.0 - prior))
        posterior = np.exp(-np.logaddexp(0.0, -log_odds))  # no overflow at either end
        return float(posterior) if np.ndim(score) == 0 else posterior

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for YAML; :meth:`from_dict` reads them back exactly."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Rebuild what :meth:`to_dict` gave.

        Raises:
            CheckpointError: a value is missing, unknown or of another type.
        """
        if not isinstance(values, Mapping):
            raise CheckpointError(
                "The calibration is not a table of keys and values; evaluate the model again."
            )
        names = [field.name for field in fields(cls)]
        for kind, keys in (
            ("lacks", [name for name in names if name not in values]),
            ("has the unknown", [str(key) for key in values if key not in names]),
        ):
            if keys:
                raise CheckpointError(
                    f"The calibration {kind} {', '.join(keys)}; evaluate the model again."
                )
        return cls(**{name: _converted(name, values[name]) for name in names})


def calibrate(scores: ArrayLike, labels: ArrayLike, *, description: str) -> Calibration:
    """Measure thresholds and the log-likelihood ratio of a model's scores.

    The ratio comes from a logistic regression in which both classes weigh the same, whatever the
    balance of the trials, so that its log-odds are the log-likelihood ratio (Brümmer & du Preez,
    "Application-independent evaluation of speaker detection", 2006). A mild L2 penalty, whose
    weight falls with the number of trials of the rarer class, keeps the slope finite where the
    classes are separable.

    Args:
        scores: float ``(num_trials,)`` cosines.
        labels: ``(num_trials,)``, 1 or True where both clips are of the same speaker.
        description: the trials in words, for example the name of the list.

    Raises:
        EvaluationError: as :func:`mvector.evaluation.error_rates`.
    """
    curve = error_rates(scores, labels)
    eer, threshold_eer = curve.eer()
    point = curve.min_dcf()
    accuracy, threshold_best_accuracy = curve.best_accuracy()
    slope, offset = _fit_llr(np.asarray(scores), np.asarray(labels).astype(bool))
    if slope <= 0:
        logger.warning(
            "Scores of the same speaker are not higher than those of different speakers (%s); "
            "the labels may be swapped, or the model untrained.",
            description,
        )
    return Calibration(
        description=description,
        num_target=curve.num_target,
        num_nontarget=curve.num_nontarget,
        eer=eer,
        threshold_eer=threshold_eer,
        min_dcf=point.min_dcf,
        threshold_min_dcf=point.threshold,
        accuracy=accuracy,
        threshold_best_accuracy=threshold_best_accuracy,
        threshold_far_1pct=curve.threshold_at_fpr(0.01),
        threshold_far_0_1pct=curve.threshold_at_fpr(0.001),
        slope=slope,
        offset=offset,
    )


def _fit_llr(scores: np.ndarray, is_target: np.ndarray) -> tuple[float, float]:
    low, high = float(scores.min()), float(scores.max())
    if low == high:
        return 0.0, 0.0  # one score for all trials says nothing about the speaker
    from sklearn.linear_model import LogisticRegression

    # float64, or a narrow range of float32 scores would not hold this many edges.
    edges = np.linspace(low, high, _NUM_BINS + 1)
    counts = np.array(
        [np.histogram(scores[chosen], bins=edges)[0] for chosen in (~is_target, is_target)]
    )
    totals = counts.sum(axis=1, keepdims=True)
    weights = counts * (totals.min() / totals)  # both classes weigh as much as the rarer one
    label, place = np.nonzero(counts)
    centres = 0.5 * (edges[:-1] + edges[1:])[place]
    mean = float(scores.mean(dtype=np.float64))
    spread = float(scores.std(dtype=np.float64))
    model = LogisticRegression(C=_PENALTY_C, solver="newton-cholesky", tol=1e-8, max_iter=200)
    model.fit(((centres - mean) / spread)[:, None], label, sample_weight=weights[label, place])
    slope = float(model.coef_[0, 0]) / spread
    return slope, float(model.intercept_[0]) - slope * mean


def _converted(name: str, value: Any) -> Any:
    if name == "description":
        valid = isinstance(value, str)
    elif name.startswith("num_"):
        valid = isinstance(value, int) and not isinstance(value, bool)
    else:
        valid = isinstance(value, (int, float)) and not isinstance(value, bool)
        valid = (valid and bool(np.isfinite(value))) or (
            value is None and name.startswith("threshold_far_")
        )
    if not valid:
        raise CheckpointError(
            f"The calibration has {value!r} for {name}; evaluate the model again."
        )
    return float(value) if isinstance(value, int) and not name.startswith("num_") else value
