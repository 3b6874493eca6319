"""The values of a calibration as a model folder keeps them, checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mvector.errors import CheckpointError
from mvector.evaluation.likelihood import LikelihoodRatio
from mvector.evaluation.operating_points import PURPOSES, ErrorCounts

_MAY_BE_NONE = (
    "threshold_far_1pct",
    "threshold_far_0_1pct",
    "threshold_far_0_01pct",
    "num_speakers",
    "quality_weights",
    "quality_range",
    "threshold_miss_5pct",
    "num_own_people",
)


def read_value(name: str, value: Any) -> Any:
    """A value of :class:`mvector.evaluation.Calibration` from the plain one in a file.

    Raises:
        CheckpointError: it is of another type.
    """
    if value is None and name in _MAY_BE_NONE:
        return None
    try:
        if name == "errors":
            return _error_counts(value)
        if name == "ratios":
            return tuple(LikelihoodRatio.from_dict(ratio) for ratio in value)
        if name == "quality_weights":
            return tuple(_number(weight) for weight in value)
        if name == "quality_range":
            return tuple((_number(low), _number(high)) for low, high in value)
        if name == "own_purposes":
            return tuple(_purpose(each) for each in value)
        if name in ("description", "score_type"):
            return _of_type(str, value)
        if name.startswith("num_"):
            return _of_type(int, value)
        return _number(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"The calibration has {value!r} for {name}; evaluate the model again."
        ) from error


def _error_counts(values: Mapping[str, Mapping[str, int]]) -> dict[str, ErrorCounts]:
    if not set(values) <= set(PURPOSES):
        raise TypeError
    return {
        purpose: ErrorCounts(**{name: _of_type(int, number) for name, number in numbers.items()})
        for purpose, numbers in values.items()
    }


def _purpose(name: str) -> str:
    if name not in PURPOSES:
        raise TypeError
    return name


def _of_type(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise TypeError
    return float(value)
