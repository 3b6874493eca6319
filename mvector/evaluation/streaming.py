"""Error rates of all pairs without keeping their scores, for trials that outgrow memory.

Two passes over the matrix of scores. The first counts them in bins. The counts say between which
bins the equal error rate, the lowest costs and the wanted rates lie; the second pass keeps the
scores of these few bins, so that those operating points are the ones of a full sort.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mvector.evaluation.costs import VOXCELEB, DetectionCost
from mvector.evaluation.metrics import DetCurve, count_distinct, curve_from_counts
from mvector.evaluation.rate_table import RATES
from mvector.evaluation.score_checks import check_both_kinds
from mvector.progress import progress_bar
from mvector.scoring.blocks import BLOCK_SIZE, all_pair_blocks
from mvector.scoring.cosine import unit_embeddings
from mvector.scoring.trials import AllPairs

if TYPE_CHECKING:
    from tqdm import tqdm

# Bins in a unit of cosine. A power of two: scaling and rounding down are exact in float32.
_SCALE = 2**14
_NUM_BINS = 2 * _SCALE + 1  # [-1, 1], with a bin for 1 itself
# A clip against itself is no trial; this number falls into a bin behind the others.
_SELF_PAIR_SCORE = np.float32(1.0 + 1.5 / _SCALE)
# Scores worked on at once: they stay in the cache of a core.
_CHUNK = 2**16
_MAX_PENDING = 2**24


def all_pairs_error_rates(
    enroll_embeddings: np.ndarray,
    test_embeddings: np.ndarray,
    trials: AllPairs,
    *,
    costs: Sequence[DetectionCost] = VOXCELEB,
    rates: Sequence[float] = RATES,
    block_size: int = BLOCK_SIZE,
    progress: bool = False,
) -> DetCurve:
    """Error rates of the cosine of all pairs, in memory that does not grow with their number.

    EER, minDCF for ``costs``, best accuracy, and FRR@FAR and FAR@FRR for ``rates`` are those of
    ``error_rates(cosine_scores(...), trials.labels)``, thresholds included. Elsewhere on the curve,
    scores within 6e-5 of each other may count as equal; such points are true ones, but not all.

    Args:
        enroll_embeddings: float ``(E, D)``, one row for each of ``trials.enroll_paths``.
        test_embeddings: float ``(T, D)``, one row for each of ``trials.test_paths``.
        trials: all pairs of both.
        costs: detection costs whose minimum is wanted.
        rates: error rates at which the other one is wanted.
        block_size: scores held at a time.
        progress: show a bar.

    Raises:
        EvaluationError: an embedding is zero or not finite, the arrays do not fit the trials, or
            there is no target or no non-target trial.
    """
    check_both_kinds(trials.num_target, len(trials))
    enroll, test = unit_embeddings(enroll_embeddings, test_embeddings, trials)
    num_trials, num_target = (np.zeros(_NUM_BINS + 1, dtype=np.int64) for _ in range(2))
    with progress_bar(
        total=2 * len(trials), desc="Scoring", unit="pair", unit_scale=True, show=progress
    ) as bar:
        for scores, targets in _score_bands(enroll, test, trials, block_size, bar):
            _count_bins(scores, num_trials)
            _count_bins(targets, num_target)
        filled = np.flatnonzero(num_trials[:_NUM_BINS])
        lows = ((filled - _SCALE) / _SCALE).astype(np.float32)
        coarse = curve_from_counts(lows, num_trials[filled], num_target[filled])
        is_deciding = _decisive_bins(coarse, costs, rates)
        is_wanted = np.zeros(_NUM_BINS + 1, dtype=bool)
        is_wanted[filled[is_deciding]] = True
        kept = _DistinctScores()
        for scores, targets in _score_bands(enroll, test, trials, block_size, bar):
            kept.add(_scores_in_bins(scores, is_wanted), _scores_in_bins(targets, is_wanted))
    kept.merge_pending()
    assert kept.num_trials.sum() == num_trials[filled[is_deciding]].sum(), "the passes differ"
    rest = filled[~is_deciding]
    values = np.concatenate([lows[~is_deciding], kept.values])
    order = np.argsort(values)
    return curve_from_counts(
        values[order],
        np.concatenate([num_trials[rest], kept.num_trials])[order],
        np.concatenate([num_target[rest], kept.num_target])[order],
    )


class _DistinctScores:
    """Each score once with its trials: equal scores, however many, take no room."""

    def __init__(self) -> None:
        self.values = np.empty(0, dtype=np.float32)
        self.num_trials = self.num_target = np.empty(0, dtype=np.int64)
        self._scores: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []
        self._num_pending = 0

    def add(self, scores: np.ndarray, targets: np.ndarray) -> None:
        self._scores.append(scores)
        self._targets.append(targets)
        self._num_pending += len(scores)
        if self._num_pending > _MAX_PENDING:
            self.merge_pending()

    def merge_pending(self) -> None:
        """Count what was added."""
        if not self._scores:
            return
        values, num_trials, num_target = count_distinct(
            np.sort(np.concatenate(self._scores)), np.sort(np.concatenate(self._targets))
        )
        merged, place = np.unique(np.concatenate([self.values, values]), return_inverse=True)
        counts = np.zeros((2, len(merged)), dtype=np.int64)
        np.add.at(counts[0], place, np.concatenate([self.num_trials, num_trials]))
        np.add.at(counts[1], place, np.concatenate([self.num_target, num_target]))
        self.values, (self.num_trials, self.num_target) = merged, counts
        self._scores, self._targets, self._num_pending = [], [], 0


def _score_bands(
    enroll: np.ndarray, test: np.ndarray, trials: AllPairs, block_size: int, bar: tqdm[Any]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Flat scores of some test clips against all of the enrolment, and those of its targets."""
    num_enroll = len(enroll)
    by_speaker = np.argsort(trials.enroll_labels, kind="stable")
    speakers = trials.enroll_labels[by_speaker]
    first = np.searchsorted(speakers, trials.test_labels)
    num_own = np.searchsorted(speakers, trials.test_labels, side="right") - first
    buffer = np.empty(0, dtype=np.float32)
    for rows, part, left_out in all_pair_blocks(trials, block_size):
        num_rows = rows.stop - rows.start
        if len(buffer) < num_rows * num_enroll:
            buffer = np.empty(num_rows * num_enroll, dtype=np.float32)
        scores = buffer[: num_rows * num_enroll]
        # The product that `cosine_scores` makes, in the same blocks: the same bits.
        np.matmul(test[rows], enroll.T, out=scores.reshape(num_rows, num_enroll))
        np.clip(scores, -1.0, 1.0, out=scores)
        scores[left_out] = _SELF_PAIR_SCORE
        own = num_own[rows]
        within = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
        columns = by_speaker[np.repeat(first[rows], own) + within]
        yield scores, scores[np.repeat(np.arange(num_rows) * num_enroll, own) + columns]
        bar.update(part.stop - part.start)


def _chunks(scores: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some scores after the other, with their bins."""
    for start in range(0, len(scores), _CHUNK):
        part = scores[start : start + _CHUNK]
        bins = part * np.float32(_SCALE)
        np.floor(bins, out=bins)
        bins += np.float32(_SCALE)
        yield part, bins.astype(np.intp)


def _count_bins(scores: np.ndarray, counts: np.ndarray) -> None:
    for _, bins in _chunks(scores):
        counts += np.bincount(bins, minlength=len(counts))


def _scores_in_bins(scores: np.ndarray, is_wanted: np.ndarray) -> np.ndarray:
    found = [part[is_wanted[bins]] for part, bins in _chunks(scores)]
    return np.concatenate(found) if found else scores[:0].copy()


def _decisive_bins(
    curve: DetCurve, costs: Sequence[DetectionCost], rates: Sequence[float]
) -> np.ndarray:
    """Which bins hold a wanted operating point, or one beside it."""
    is_deciding = np.zeros(len(curve.thresholds) - 1, dtype=bool)
    is_deciding[-1] = True  # its highest score says where rejecting all begins
    crossings = [np.searchsorted(curve.fnr - curve.fpr, 0.0)]
    for rate in rates:
        crossings += [
            np.searchsorted(-curve.fpr, -rate),
            np.searchsorted(curve.fnr, rate, side="right"),
        ]
    for crossing in crossings:
        is_deciding[max(0, crossing - 1) : crossing + 1] = True
    weights = [(cost.miss_weight, cost.fa_weight) for cost in costs]
    for miss, fa in [*weights, (curve.num_target, curve.num_nontarget)]:
        missed, accepted = miss * curve.fnr, fa * curve.fpr
        # No point of a bin has fewer misses than its lower edge or false accepts than its upper.
        bound = missed[:-1] + accepted[1:]
        is_deciding |= bound <= (missed + accepted).min() * (1.0 + 1e-12)
    return is_deciding
