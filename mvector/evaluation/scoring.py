"""Scores of trials: the cosine of two embeddings, in [-1, 1]."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from mvector.errors import EvaluationError
from mvector.evaluation.trials import AllPairs, PairTrials, Trials


def cosine_scores(
    enroll_embeddings: np.ndarray,
    test_embeddings: np.ndarray,
    trials: Trials,
    *,
    block_size: int = 4_194_304,
    progress: bool = False,
) -> np.ndarray:
    """Cosine similarity of the two clips of every trial.

    Embeddings are length-normalised once. Beside them and the result only one block of
    ``block_size`` numbers is held at a time.

    Args:
        enroll_embeddings: float ``(E, D)``, one row for each of ``trials.enroll_paths``.
        test_embeddings: float ``(T, D)``, one row for each of ``trials.test_paths``; the same
            array for :class:`PairTrials`.
        trials: which rows to compare.
        block_size: float32 numbers in the largest temporary array, at least one row of it.
        progress: show a progress bar over test clips (all pairs) or trials (listed pairs).

    Returns:
        float32 ``(num_trials,)`` in [-1, 1], in the order of ``trials.labels``.

    Raises:
        EvaluationError: an embedding is zero or not finite, or the arrays do not fit the trials.
    """
    _check_shape(enroll_embeddings, trials.enroll_paths, "enrolment")
    _check_shape(test_embeddings, trials.test_paths, "test")
    if enroll_embeddings.shape[1] != test_embeddings.shape[1]:
        raise EvaluationError(
            f"Enrolment embeddings have {enroll_embeddings.shape[1]} dimensions and test "
            f"embeddings {test_embeddings.shape[1]}; compute both with one model."
        )
    enroll = _length_normalised(enroll_embeddings, trials.enroll_paths, "enrolment")
    if test_embeddings is enroll_embeddings:
        test = enroll
    else:
        test = _length_normalised(test_embeddings, trials.test_paths, "test")
    if isinstance(trials, PairTrials):
        scores = _pair_scores(enroll, test, trials, block_size, progress)
    else:
        scores = _all_pair_scores(enroll, test, trials, block_size, progress)
    # Rounding takes the cosine of parallel embeddings a little past 1.
    return np.clip(scores, -1.0, 1.0, out=scores)


def _all_pair_scores(
    enroll: np.ndarray, test: np.ndarray, trials: AllPairs, block_size: int, progress: bool
) -> np.ndarray:
    num_enroll, num_test = len(enroll), len(test)
    scores = np.empty(len(trials), dtype=np.float32)
    num_rows = max(1, block_size // max(1, num_enroll))
    num_done = 0
    with tqdm(total=num_test, unit="clip", disable=not progress) as bar:
        for start in range(0, num_test, num_rows):
            stop = min(start + num_rows, num_test)
            block = (test[start:stop] @ enroll.T).ravel()
            first, last = np.searchsorted(
                trials.self_pairs, (start * num_enroll, stop * num_enroll)
            )
            if last > first:
                block = np.delete(block, trials.self_pairs[first:last] - start * num_enroll)
            scores[num_done : num_done + len(block)] = block
            num_done += len(block)
            bar.update(stop - start)
    return scores


def _pair_scores(
    enroll: np.ndarray, test: np.ndarray, trials: PairTrials, block_size: int, progress: bool
) -> np.ndarray:
    num_trials = len(trials)
    scores = np.empty(num_trials, dtype=np.float32)
    num_rows = max(1, block_size // max(1, 2 * enroll.shape[1]))
    with tqdm(total=num_trials, unit="trial", unit_scale=True, disable=not progress) as bar:
        for start in range(0, num_trials, num_rows):
            part = slice(start, min(start + num_rows, num_trials))
            left, right = enroll[trials.enroll_index[part]], test[trials.test_index[part]]
            np.einsum("ij,ij->i", left, right, out=scores[part])
            bar.update(part.stop - part.start)
    return scores


def _check_shape(embeddings: np.ndarray, paths: tuple[str, ...], kind: str) -> None:
    if embeddings.ndim != 2 or len(embeddings) != len(paths):
        raise EvaluationError(
            f"The {kind} embeddings have shape {embeddings.shape}; the trials have {len(paths)} "
            f"{kind} clips, so the shape must be ({len(paths)}, dimensions)."
        )


def _length_normalised(embeddings: np.ndarray, paths: tuple[str, ...], kind: str) -> np.ndarray:
    # float64 sums: the square of a small float32 may vanish where its length does not.
    power = np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(power) & (power > 0)))
    if len(bad):
        index = int(bad[0])
        fault = "is zero" if power[index] == 0 else "is NaN, infinite or too large"
        others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise EvaluationError(
            f"The {kind} embedding {index} ('{paths[index]}'){others} {fault}, "
            "so it has no direction to compare; check that clip and the model."
        )
    normalised = np.empty(embeddings.shape, dtype=np.float32)
    return np.divide(embeddings, np.sqrt(power)[:, None], out=normalised, casting="same_kind")
