"""What a score means for the very clips that were compared.

The log-likelihood ratio is a line over the score, whose offset depends on measures of both clips:
how much speech they hold, how noisy and how narrow they are, how much they resemble strangers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mvector.errors import CheckpointError, EvaluationError
from mvector.evaluation.quality import TRIAL_MEASURES

#: Measures with an end that is worse for telling people apart, and what clips are that lie beyond
#: the worst of the trials behind a ratio. Beyond the other end all is well.
BEYOND = {
    "lower log speech duration": "one side has less speech",
    "lower SNR": "one clip is noisier",
    "lower bandwidth": "the band of one clip is narrower",
    "higher hole share": "one clip is more heavily compressed",
    "higher likeness to strangers": "one voice is more like those of strangers",
    "higher likeness to own strangers": "one voice is more like those of your own strangers",
}
# Shares of a range beyond its end, which is that of a sample. White noise hides the band of a
# voice, so that it seems narrower than it is.
_TOLERANCE = dict.fromkeys(BEYOND, 0.02) | {"lower bandwidth": 0.25}


@dataclass(frozen=True)
class LikelihoodRatio:
    """Natural-log likelihood ratio of a score, given measures of both clips.

    Attributes:
        measures: which of :data:`mvector.evaluation.quality.TRIAL_MEASURES` it takes.
        weights: offset, slope over the score, and a weight for each measure.
        ranges: lowest and highest of each measure among the trials behind it. Clips beyond count as
            the most extreme that were seen: nothing is known of what follows, and past the worse
            end (:data:`BEYOND`) no score tells anything. ``None`` where that was not measured, and
            then the line goes on.
        thresholds: the ratio that each purpose of
            :data:`mvector.evaluation.operating_points.PURPOSES` asks for, as far as measured.
        different: ratio below which a score speaks for two people: 5 % of the target trials behind
            it lie there; ``None`` if not measured.
    """

    measures: tuple[str, ...]
    weights: tuple[float, ...]
    ranges: tuple[tuple[float, float], ...] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    different: float | None = None

    def __post_init__(self) -> None:
        sizes = {len(self.measures), len(self.weights) - 2}
        if self.ranges is not None:
            sizes.add(len(self.ranges))
        if len(sizes) > 1:
            raise EvaluationError(
                "The measures, weights and ranges of a likelihood ratio are not equally many."
            )
        if unknown := [name for name in self.measures if name not in TRIAL_MEASURES]:
            raise EvaluationError(f"No trial is measured by its '{unknown[0]}'.")

    @property
    def slope(self) -> float:
        """Over the score."""
        return self.weights[1]

    def knows(self, quality: np.ndarray) -> np.ndarray:
        """Which trials ``(..., TRIAL_MEASURES)`` have all that it takes: bool ``(...)``."""
        return np.isfinite(quality[..., self._columns]).all(axis=-1)

    def offset(self, quality: np.ndarray) -> np.ndarray:
        """The ratio at score 0 of trials ``(..., TRIAL_MEASURES)``: float64 ``(...)``."""
        ends = self.ranges or [(-np.inf, np.inf)] * len(self.measures)
        total = np.full(np.shape(quality)[:-1], self.weights[0])
        # one by one: the rounding of a sum may depend on how many trials there are
        for column, weight, (low, high) in zip(self._columns, self.weights[2:], ends, strict=True):
            total = total + weight * np.clip(quality[..., column], low, high)
        return total

    def beyond(self, quality: np.ndarray) -> np.ndarray:
        """Which measure of :data:`BEYOND` lies past the worse end, the first of several.

        Of trials ``(..., TRIAL_MEASURES)`` that it knows: int64 ``(...)``, positions in
        :attr:`measures`, or -1 where none does.
        """
        found = np.full(np.shape(quality)[:-1], -1)
        for place, (column, (low, high)) in reversed(
            [*enumerate(zip(self._columns, self.ranges or (), strict=False))]
        ):
            name, values = self.measures[place], quality[..., column]
            if name in BEYOND:
                slack = _TOLERANCE[name] * (high - low)
                is_past = values < low - slack if "lower" in name else values > high + slack
                found = np.where(is_past, place, found)
        return found

    def ranges_with(self, quality: np.ndarray) -> tuple[tuple[float, float], ...] | None:
        """The ranges, wide enough for trials ``(N, TRIAL_MEASURES)`` too that it knows."""
        if self.ranges is None:
            return None
        own = quality[:, self._columns]
        ends = zip(self.ranges, own.min(axis=0).tolist(), own.max(axis=0).tolist(), strict=True)
        return tuple((min(low, least), max(high, most)) for (low, high), least, most in ends)

    def limits(self, point: str, same: float, different: float) -> tuple[float, float]:
        """Ratios that speak for one person, from there on, and for two, below.

        ``same`` is that of the operating point, or of the equal error rate if it is higher; where
        one was not measured, the arguments say it.
        """
        if point in self.thresholds:
            same = max(self.thresholds[point], self.thresholds.get("eer", self.thresholds[point]))
        return same, different if self.different is None else self.different

    @property
    def _columns(self) -> list[int]:
        return [TRIAL_MEASURES.index(name) for name in self.measures]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML."""
        values = asdict(self)
        values["ranges"] = None if self.ranges is None else [list(ends) for ends in self.ranges]
        return {**values, "measures": list(self.measures), "weights": list(self.weights)}

    @classmethod
    def from_dict(cls, values: Any) -> LikelihoodRatio:
        """Rebuild what :meth:`to_dict` gave.

        Raises:
            CheckpointError: a value is missing or of another type.
        """
        try:
            ranges, different = values["ranges"], values["different"]
            return cls(
                tuple(str(name) for name in values["measures"]),
                tuple(_number(weight) for weight in values["weights"]),
                None
                if ranges is None
                else tuple((_number(low), _number(high)) for low, high in ranges),
                {str(key): _number(value) for key, value in values["thresholds"].items()},
                None if different is None else _number(different),
            )
        except (TypeError, ValueError, KeyError, AttributeError, EvaluationError) as error:
            raise CheckpointError(
                f"The calibration has {values!r} for a ratio; evaluate the model again."
            ) from error


def ratio_from_weights(
    weights: Sequence[float], ranges: Sequence[tuple[float, float]] | None
) -> LikelihoodRatio:
    """The ratio that earlier versions kept as weights of speech duration and SNR alone.

    Raises:
        CheckpointError: the two do not fit together.
    """
    try:
        measures = TRIAL_MEASURES[: max(0, len(weights) - 2)]
        return LikelihoodRatio(measures, tuple(weights), None if ranges is None else tuple(ranges))
    except EvaluationError as error:
        raise CheckpointError(
            "The calibration's quality_range does not fit quality_weights."
        ) from error


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise TypeError
    return float(value)
