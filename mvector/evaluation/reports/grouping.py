"""Parting trials by what is known of their clips: duration, gender, language, session ..."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mvector.errors import DataError
from mvector.evaluation.metadata import Metadata, clip_durations
from mvector.evaluation.reports.scored import ScoredTrials
from mvector.scoring.trials import EnrolmentModels

#: What trials can be parted by without metadata.
DURATION = "duration"

#: Where durations of the shorter clip are parted, in seconds.
DURATION_EDGES_S = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0)

_MAX_GROUPS = 20


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which group each trial is in.

    Attributes:
        by: what the trials are parted by.
        explanation: what a group is, in a sentence.
        names: of the groups.
        group: int32 ``(num_trials,)`` into ``names``; -1 where a value is not known.
        num_clips: clips of the trials.
        num_unknown: clips among them whose value is not known.
    """

    by: str
    explanation: str
    names: tuple[str, ...]
    group: np.ndarray
    num_clips: int
    num_unknown: int


def group_by(
    column: str, scored: ScoredTrials, metadata: Metadata | None = None, *, progress: bool = False
) -> Grouping:
    """Part trials by a column of the metadata, or by the duration of their clips.

    A column of numbers with decimals is parted by size. ``duration``, where the metadata have no
    such column, is read from the headers of the clips.

    Raises:
        DataError: there is no such column.
    """
    sides = scored.enrolled_clips, scored.test_paths
    if column == DURATION and (metadata is None or column not in metadata.columns):
        paths = list(dict.fromkeys([*sides[0], *sides[1]]))
        seconds = clip_durations(paths, progress=progress).tolist()
        duration_s = dict(zip(paths, seconds, strict=True))
        one, other = (np.array([duration_s[path] for path in side]) for side in sides)
        return group_by_lower_value(scored, column, one, other, edges=DURATION_EDGES_S, unit="s")
    if metadata is None:
        raise DataError(f"There is no metadata to part trials by {column}; give --metadata.")
    enrolled, tested = (metadata.values(column, side) for side in sides)
    if not _has_decimals([*enrolled, *tested]):
        return group_by_category(scored, column, enrolled, tested)
    one, other = (
        np.array([np.nan if value is None else float(value) for value in side])
        for side in (enrolled, tested)
    )
    return group_by_lower_value(scored, column, one, other)


def group_by_category(
    scored: ScoredTrials,
    by: str,
    enrolled: Sequence[str | None],
    tested: Sequence[str | None],
) -> Grouping:
    """Part trials by a value of their clips: a group for pairs of each value, and one for mixed.

    Where there are many values, those with fewer trials share a group.

    Args:
        scored: the trials.
        by: what the value is.
        enrolled: the value of each of ``scored.enrolled_clips``; ``None`` where it is not known.
            A model of clips of different values is mixed with whatever it is compared with.
        tested: the value of each of ``scored.test_paths``.
    """
    values = sorted({value for value in (*enrolled, *tested) if value is not None})
    number_of: dict[str | None, int] = {value: place for place, value in enumerate(values)}
    one, other = (
        np.array([number_of.get(value, -1) for value in side], dtype=np.int32)
        for side in (enrolled, tested)
    )
    if scored.models is not None:
        one = _values_of_models(one, scored.models)
    first, second = one[scored.enroll_index], other[scored.test_index]
    mixed = len(values)
    group = np.where(first == second, first, mixed).astype(np.int32)
    group[(first == -1) | (second == -1)] = -1
    names, group = _merge_rare_values(values, group)
    return Grouping(
        by,
        f"Pairs of clips with the same {by}, and pairs of clips that differ in it.",
        names,
        group,
        *_count_unknown(scored, [value is None for value in enrolled], [v is None for v in tested]),
    )


def group_by_lower_value(
    scored: ScoredTrials,
    by: str,
    enrolled: np.ndarray,
    tested: np.ndarray,
    *,
    edges: Sequence[float] | None = None,
    unit: str = "",
) -> Grouping:
    """Part trials by a number of their clips, the lower one of both.

    Args:
        scored: the trials.
        by: what the number is.
        enrolled: float, of each of ``scored.enrolled_clips``; NaN where it is not known. A model
            has the sum of its clips' durations, and the mean of any other number.
        tested: float, of each of ``scored.test_paths``.
        edges: where to part, ascending; ``None`` makes four groups of about as many trials.
        unit: written behind the numbers.
    """
    known = _count_unknown(scored, np.isnan(enrolled), np.isnan(tested))
    if scored.models is not None:
        enrolled = np.add.reduceat(enrolled[scored.models.clips], scored.models.starts[:-1])
        if by != DURATION:
            enrolled = enrolled / scored.models.num_clips
    lower = np.minimum(enrolled[scored.enroll_index], tested[scored.test_index])
    is_known = ~np.isnan(lower)
    if edges is None:
        quarters = np.quantile(lower[is_known], [0.25, 0.5, 0.75]) if is_known.any() else []
        edges = np.unique([float(f"{edge:.3g}") for edge in quarters]).tolist()
    ends = [f"{edge:g}" for edge in edges]
    unit = f" {unit}" if unit else ""
    names = ["all"] if not ends else [f"below {ends[0]}{unit}"]
    names += [f"{low} to {high}{unit}" for low, high in pairwise(ends)]
    names += [f"{ends[-1]}{unit} and more"] if ends else []
    group = np.searchsorted(edges, lower, side="right").astype(np.int32)
    group[~is_known] = -1
    return Grouping(by, f"By the lower {by} of both clips.", tuple(names), group, *known)


def _has_decimals(values: Sequence[str | None]) -> bool:
    """Whether values are numbers to be parted by size; whole numbers alone may be names."""
    known = {value for value in values if value is not None}
    try:
        numbers = [float(value) for value in known]
    except ValueError:
        return False
    return any(not number.is_integer() for number in numbers)


def _values_of_models(of_clips: np.ndarray, models: EnrolmentModels) -> np.ndarray:
    """The value of each model: -1 if a clip's is not known, -2 if its clips differ."""
    values = of_clips[models.clips]
    low, high = (
        extreme.reduceat(values, models.starts[:-1]) for extreme in (np.minimum, np.maximum)
    )
    return np.where(low == -1, -1, np.where(low == high, low, -2)).astype(np.int32)


def _merge_rare_values(values: list[str], group: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the groups, where the group behind those of the values is the mixed one."""
    num_trials = np.bincount(group[group >= 0], minlength=len(values) + 1)
    used = np.flatnonzero(num_trials[:-1])
    kept = used
    if len(used) > _MAX_GROUPS:
        kept = np.sort(used[np.argsort(-num_trials[used], kind="stable")[: _MAX_GROUPS - 1]])
    others, mixed = len(kept), len(kept) + 1
    new_group = np.full(len(values) + 2, others, dtype=np.int32)
    new_group[kept] = np.arange(len(kept))
    new_group[len(values)] = mixed
    new_group[-1] = -1  # what -1 points at
    names = [*(values[place] for place in kept), f"{len(used) - len(kept)} other values", "mixed"]
    return tuple(names), new_group[group]


def _count_unknown(
    scored: ScoredTrials, enrolled: Sequence[bool] | np.ndarray, tested: Sequence[bool] | np.ndarray
) -> tuple[int, int]:
    """Distinct clips of the trials, and how many of them have no value."""
    unknown = dict(zip(scored.enrolled_clips, enrolled, strict=True))
    unknown.update(zip(scored.test_paths, tested, strict=True))
    return len(unknown), sum(map(bool, unknown.values()))
