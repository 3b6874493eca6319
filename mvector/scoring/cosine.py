"""Scores of trials: the cosine of two embeddings, in [-1, 1]."""

from __future__ import annotations

import numpy as np

from mvector.errors import EvaluationError
from mvector.progress import progress_bar
from mvector.scoring.blocks import BLOCK_SIZE, all_pair_blocks, flatten_band, pair_products
from mvector.scoring.trials import AllPairs, Trials


def cosine_scores(
    enroll_embeddings: np.ndarray,
    test_embeddings: np.ndarray,
    trials: Trials,
    *,
    block_size: int = BLOCK_SIZE,
    progress: bool = False,
) -> np.ndarray:
    """Cosine similarity of the two clips of every trial.

    Embeddings are length-normalised once.

    Args:
        enroll_embeddings: float ``(E, D)``, one row for each of ``trials.enroll_paths``.
        test_embeddings: float ``(T, D)``, one row for each of ``trials.test_paths``; may be the
            same array for :class:`mvector.scoring.PairTrials`.
        trials: which rows to compare.
        block_size: float32 numbers in a temporary array, at least one row of it; a table for listed
            pairs has up to 16 times as many.
        progress: show a progress bar over the trials.

    Returns:
        float32 ``(num_trials,)`` in [-1, 1], in the order of ``trials.labels``.

    Raises:
        EvaluationError: an embedding is zero or not finite, or the arrays do not fit the trials.
    """
    enroll, test = unit_embeddings(enroll_embeddings, test_embeddings, trials)
    with progress_bar(
        total=len(trials), desc="Scoring", unit="trial", unit_scale=True, show=progress
    ) as bar:
        if isinstance(trials, AllPairs):
            scores = np.empty(len(trials), dtype=np.float32)
            for rows, part, left_out in all_pair_blocks(trials, block_size):
                scores[part] = flatten_band(test[rows] @ enroll.T, left_out)
                bar.update(part.stop - part.start)
        else:
            scores = pair_products(
                enroll,
                test,
                trials.enroll_index,
                trials.test_index,
                block_size=block_size,
                on_progress=bar.update,
            )
    # Rounding takes the cosine of parallel embeddings a little past 1.
    return np.clip(scores, -1.0, 1.0, out=scores)


def unit_embeddings(
    enroll_embeddings: np.ndarray, test_embeddings: np.ndarray, trials: Trials
) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of the trials, checked and of length 1; one array twice where given twice.

    Arguments and errors are those of :func:`cosine_scores`.
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
        return enroll, enroll
    return enroll, _length_normalised(test_embeddings, trials.test_paths, "test")


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
            "so it has no direction to compare; check that clip and the model.",
            code="embedding-without-direction",
        )
    normalised = np.empty(embeddings.shape, dtype=np.float32)
    return np.divide(embeddings, np.sqrt(power)[:, None], out=normalised, casting="same_kind")
