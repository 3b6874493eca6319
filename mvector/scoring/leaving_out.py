"""Own strangers among people who are compared with each other: all but the two at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mvector.scoring.lda import length_normalise
from mvector.scoring.strangers import MIN_OWN, num_kept


def likeness_to_others(
    embeddings: ArrayLike, person: np.ndarray, strangers: np.ndarray, whose: np.ndarray
) -> np.ndarray:
    """:func:`mvector.scoring.strangers.own_likeness` of clips to all but two people.

    Those two are whose clip it is, and whom it is compared with.

    Args:
        embeddings: float ``(N, D)``.
        person: integers ``(N,)`` below P, whose each clip is.
        strangers: unit vectors ``(M, D)``, one for each person who counts as a stranger.
        whose: ``(M,)``, different integers below P.

    Returns:
        float64 ``(N, P)``, of each clip when it is compared with each person; NaN where fewer than
        :data:`mvector.scoring.strangers.MIN_OWN` strangers are left.

    Raises:
        EvaluationError: an embedding is zero or not finite.
    """
    cosines = length_normalise(np.asarray(embeddings, np.float64)) @ strangers.T.astype(np.float64)
    is_own = whose == person[:, None]
    cosines[is_own] = np.inf  # behind all others
    order = np.argsort(cosines, axis=1)
    rank = np.argsort(order, axis=1)
    in_order = np.where(np.isinf(cosines), 0.0, cosines)
    sums = np.cumsum(np.take_along_axis(in_order, order, axis=1), axis=1)
    sums = np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)  # of the first 0, 1, 2 …
    num_others = len(whose) - is_own.sum(axis=1)
    num_people = int(max(person.max(initial=-1), whose.max(initial=-1))) + 1

    kept = num_kept(num_others)
    own_mean = np.take_along_axis(sums, kept[:, None], axis=1) / np.maximum(kept, 1)[:, None]
    own_mean[num_others < MIN_OWN] = np.nan
    means = np.repeat(own_mean, num_people, axis=1)

    kept = num_kept(num_others - 1)[:, None]  # without the one compared with, too
    one_more = np.take_along_axis(sums, np.minimum(kept + 1, len(whose)), axis=1) - in_order
    without = np.where(rank >= kept, np.take_along_axis(sums, kept, axis=1), one_more)
    without /= np.maximum(kept, 1)
    without[num_others - 1 < MIN_OWN] = np.nan
    means[:, whose] = np.where(is_own, own_mean, without)
    return means
