"""Score normalisation: a score seen against those of strangers.

Each side of a trial is compared with a cohort of clips of other speakers. S-norm (Shum et al.,
"Unsupervised speaker adaptation based on the cosine similarity for text-independent speaker
verification", 2010) subtracts the mean of these scores and divides by their standard deviation, for
both sides, and takes the mean of the two results; AS-norm (Matějka et al., "Analysis of score
normalization in multilingual speaker recognition", 2017) takes only the ``top_n`` cohort clips most
alike to that side. Normalised scores are no cosines: they are measured in standard deviations.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import EvaluationError
from mvector.scoring.blocks import all_pair_blocks, flatten_band, pair_products, row_blocks
from mvector.scoring.cohort import Cohort, CohortStatistics, cohort_statistics
from mvector.scoring.lda import check_row_count, checked_embeddings, length_normalise
from mvector.scoring.trials import AllPairs, Trials


def embedding_mean(embeddings: ArrayLike) -> np.ndarray:
    """Mean of the embeddings as the model gives them: float64 ``(embd_dim,)``.

    Taken over the training list, it is what all clips have in common.

    Raises:
        EvaluationError: an embedding is not finite.
    """
    return checked_embeddings(embeddings).mean(axis=0, dtype=np.float64)


def subtract_mean(embeddings: ArrayLike, mean: np.ndarray) -> np.ndarray:
    """Embeddings without what all clips have in common, in the same shape and type.

    Args:
        embeddings: float ``(clips, embd_dim)`` as the model gives them.
        mean: ``(embd_dim,)``, from :func:`embedding_mean`.

    Raises:
        EvaluationError: the dimensions differ, or an embedding is not finite.
    """
    array = checked_embeddings(embeddings)
    if np.shape(mean) != array.shape[1:]:
        raise EvaluationError(
            f"The mean has the shape {np.shape(mean)} and the embeddings {array.shape[1]} "
            "dimensions; take it from embeddings of this model."
        )
    return (array - mean).astype(array.dtype)


def normalised_scores(
    enroll_embeddings: ArrayLike,
    test_embeddings: ArrayLike,
    trials: Trials,
    *,
    cohort: Cohort,
    top_n: int | None = 300,
    cache_folder: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Cosines of trials after S-norm or AS-norm.

    ``0.5 * ((cosine - mean_e) / std_e + (cosine - mean_t) / std_t)``, computed in float64.

    Args:
        enroll_embeddings: float ``(E, embd_dim)``, of each of ``trials.enroll_paths``.
        test_embeddings: float ``(T, embd_dim)``, of each of ``trials.test_paths``.
        trials: which to compare, listed pairs or all pairs.
        cohort: whom both sides are compared with; see :func:`cohort_statistics` for what follows.
        top_n: clips of the cohort most alike to each side (AS-norm); ``None``: all (S-norm).
        cache_folder: where statistics are kept.
        progress: show a bar over the clips that are compared with the cohort.

    Returns:
        float32 ``(num_trials,)`` in the order of ``trials.labels``, in standard deviations.

    Raises:
        EvaluationError: the embeddings do not fit the trials or the cohort.
    """
    sides: list[tuple[np.ndarray, CohortStatistics]] = []
    for kind, embeddings, paths in (
        ("enrolment", enroll_embeddings, trials.enroll_paths),
        ("test", test_embeddings, trials.test_paths),
    ):
        check_row_count(len(np.asarray(embeddings)), len(paths), kind)
        if sides and embeddings is enroll_embeddings:
            sides.append(sides[0])
            continue
        array = checked_embeddings(embeddings)
        statistics = cohort_statistics(
            array, cohort, top_n=top_n, cache_folder=cache_folder, progress=progress
        )
        sides.append((length_normalise(array.astype(np.float64)), statistics))
    return _apply_norm(sides[0], sides[1], trials)


def _apply_norm(
    enroll_side: tuple[np.ndarray, CohortStatistics],
    test_side: tuple[np.ndarray, CohortStatistics],
    trials: Trials,
) -> np.ndarray:
    # The norm is scale * cosine - shift, and each side gives its part of both.
    (enroll, of_enroll), (test, of_test) = enroll_side, test_side
    enroll_scale, test_scale = 0.5 / of_enroll.std, 0.5 / of_test.std
    enroll_shift, test_shift = of_enroll.mean * enroll_scale, of_test.mean * test_scale
    scores = np.empty(len(trials), dtype=np.float32)
    if isinstance(trials, AllPairs):
        for clips, made, left_out in all_pair_blocks(trials):
            band = test[clips] @ enroll.T
            band *= test_scale[clips, None] + enroll_scale
            band -= test_shift[clips, None] + enroll_shift
            scores[made] = flatten_band(band, left_out)
        return scores
    cosines = pair_products(enroll, test, trials.enroll_index, trials.test_index)
    for part in row_blocks(len(trials), 4):
        enrolled, tested = trials.enroll_index[part], trials.test_index[part]
        cosines[part] *= enroll_scale[enrolled] + test_scale[tested]
        scores[part] = cosines[part] - enroll_shift[enrolled] - test_shift[tested]
    return scores
