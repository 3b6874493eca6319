"""Trials in blocks, so that no temporary array grows with their number."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mvector.evaluation.trials import AllPairs

BLOCK_SIZE = 4_194_304  # numbers in the largest temporary array

_TRIALS_A_TASK = 2**16
_ROWS_AT_ONCE = 128  # listed trials whose rows are fetched together, into the cache of a core


def all_pair_blocks(
    trials: AllPairs, block_size: int = BLOCK_SIZE
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Cut the table of all pairs into bands of test clips.

    Args:
        trials: which pairs there are.
        block_size: most numbers of a band, though it has one test clip at least.

    Yields:
        The test clips of a band; the trials it makes, as a slice of ``trials.labels``; and the
        places in the flattened band that are no trials, because a clip meets itself there.
    """
    num_enroll, num_test = len(trials.enroll_paths), len(trials.test_paths)
    num_rows = max(1, block_size // max(1, num_enroll))
    num_done = 0
    for start in range(0, num_test, num_rows):
        stop = min(start + num_rows, num_test)
        edges = np.searchsorted(trials.self_pairs, (start * num_enroll, stop * num_enroll))
        left_out = trials.self_pairs[slice(*edges)] - start * num_enroll
        num_trials = (stop - start) * num_enroll - len(left_out)
        yield slice(start, stop), slice(num_done, num_done + num_trials), left_out
        num_done += num_trials


def flattened(band: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """A band ``(test clips, enrolment clips)`` as the trials it makes."""
    return np.delete(band, left_out) if len(left_out) else band.ravel()


def row_blocks(num_rows: int, width: int, block_size: int = BLOCK_SIZE) -> Iterator[slice]:
    """Cut ``num_rows`` rows of ``width`` numbers into blocks of at most ``block_size`` numbers."""
    step = max(1, block_size // max(1, width))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def pair_products(
    enroll: np.ndarray, test: np.ndarray, enroll_index: np.ndarray, test_index: np.ndarray
) -> np.ndarray:
    """Products of listed rows: ``enroll[enroll_index[i]] @ test[test_index[i]]`` for each i.

    Args:
        enroll: float ``(E, D)``.
        test: float ``(T, D)`` of the same type.
        enroll_index: integers ``(num_trials,)``.
        test_index: integers ``(num_trials,)``.

    Returns:
        ``(num_trials,)`` of that type.
    """
    products = np.empty(len(enroll_index), dtype=enroll.dtype)
    ones = np.ones(enroll.shape[1], dtype=enroll.dtype)

    def multiply(part: slice) -> None:
        for start in range(part.start, part.stop, _ROWS_AT_ONCE):
            few = slice(start, min(start + _ROWS_AT_ONCE, part.stop))
            rows = enroll[enroll_index[few]]
            rows *= test[test_index[few]]
            np.dot(rows, ones, out=products[few])  # sums of rows, faster than `sum`

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(multiply, row_blocks(len(products), 1, _TRIALS_A_TASK)))
    return products
