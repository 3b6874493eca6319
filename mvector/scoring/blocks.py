"""Trials in blocks, so that no temporary array grows with their number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mvector.errors import EvaluationError
from mvector.scoring.trials import AllPairs

BLOCK_SIZE = 4_194_304  # numbers in the largest temporary array

_TRIALS_PER_TASK = 2**16
# Fetching the two rows of a listed trial takes as long as this many products of a matrix product.
_PRODUCTS_PER_FETCH = 32
_TABLE_BLOCKS = 16
_BYTES_AT_ONCE = 3 * 2**17  # of one side of listed trials; both stay in the cache of a core


def all_pair_blocks(
    trials: AllPairs, block_size: int = BLOCK_SIZE
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Cut the table of all pairs into bands of test clips.

    A band has up to ``block_size`` numbers, though one test clip at least.

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


def flatten_band(band: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """A band ``(test clips, enrolment clips)`` as the trials it makes."""
    return np.delete(band, left_out) if len(left_out) else band.ravel()


def row_blocks(num_rows: int, width: int, block_size: int = BLOCK_SIZE) -> Iterator[slice]:
    """Cut ``num_rows`` rows of ``width`` numbers into blocks of at most ``block_size`` numbers."""
    step = max(1, block_size // max(1, width))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def pair_products(
    enroll: np.ndarray,
    test: np.ndarray,
    enroll_index: np.ndarray,
    test_index: np.ndarray,
    *,
    block_size: int = BLOCK_SIZE,
    on_progress: Callable[[int], object] = lambda num_done: None,
) -> np.ndarray:
    """Products of listed rows: ``enroll[enroll_index[i]] @ test[test_index[i]]`` for each i.

    Pairs that fill a good part of the table of their rows are looked up in blocks of that table,
    which cost less than fetching rows pair by pair.

    Args:
        enroll: float ``(E, D)``.
        test: float ``(T, D)`` of the same type.
        enroll_index: integers ``(num_trials,)``.
        test_index: integers ``(num_trials,)``.
        block_size: a table has up to 16 times as many float32 numbers.
        on_progress: is told of every few trials that are done.

    Returns:
        ``(num_trials,)`` of that type.

    Raises:
        EvaluationError: an index points at no row.
    """
    for rows, index in ((enroll, enroll_index), (test, test_index)):
        if len(index) and not 0 <= index.min() <= index.max() < len(rows):
            raise EvaluationError(
                f"A trial points at row {int(index.max())} of {len(rows)} embeddings."
            )
    products = np.empty(len(enroll_index), dtype=enroll.dtype)
    enrolled, enroll_row = _used_rows(enroll_index, len(enroll))
    tested, test_row = _used_rows(test_index, len(test))
    if len(enrolled) * len(tested) > _PRODUCTS_PER_FETCH * len(products):
        _products_of_rows(enroll, test, enroll_index, test_index, products, on_progress)
    else:
        size = _TABLE_BLOCKS * block_size * 4 // enroll.itemsize
        _products_from_table(
            enroll[enrolled], test[tested], enroll_row, test_row, products, size, on_progress
        )
    return products


def _products_from_table(
    enroll: np.ndarray,
    test: np.ndarray,
    enroll_row: np.ndarray,
    test_row: np.ndarray,
    products: np.ndarray,
    table_size: int,
    on_progress: Callable[[int], object],
) -> None:
    bands = list(row_blocks(len(enroll), len(test), table_size))
    columns = test.T
    for rows in bands:
        table = (enroll[rows] @ columns).ravel()

        def look_up(part: slice, rows: slice = rows, table: np.ndarray = table) -> int:
            row, column, own = enroll_row[part], test_row[part], products[part]
            if len(bands) == 1:
                place = row * np.int64(len(test))
                place += column
                table.take(place, out=own, mode="clip")  # "raise" would make a copy
                return len(own)
            here = np.flatnonzero((row >= rows.start) & (row < rows.stop))
            place = (row[here] - rows.start) * np.int64(len(test)) + column[here]
            own[here] = table[place]
            return len(here)

        _run_in_threads(look_up, len(products), on_progress)


def _products_of_rows(
    enroll: np.ndarray,
    test: np.ndarray,
    enroll_index: np.ndarray,
    test_index: np.ndarray,
    products: np.ndarray,
    on_progress: Callable[[int], object],
) -> None:
    ones = np.ones(enroll.shape[1], dtype=enroll.dtype)
    num_rows = max(1, _BYTES_AT_ONCE // (enroll.itemsize * enroll.shape[1]))

    def multiply(part: slice) -> int:
        left, right = np.empty((2, num_rows, enroll.shape[1]), dtype=enroll.dtype)
        for start in range(part.start, part.stop, num_rows):
            few = slice(start, min(start + num_rows, part.stop))
            one, other = left[: few.stop - start], right[: few.stop - start]
            enroll.take(enroll_index[few], axis=0, out=one, mode="clip")
            test.take(test_index[few], axis=0, out=other, mode="clip")
            one *= other
            np.dot(one, ones, out=products[few])  # sums of rows, faster than `sum`
        return part.stop - part.start

    _run_in_threads(multiply, len(products), on_progress)


def _used_rows(index: np.ndarray, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that an index uses, and the index among them."""
    is_used = np.zeros(num_rows, dtype=bool)
    is_used[index] = True
    return np.flatnonzero(is_used), (np.cumsum(is_used, dtype=np.int32) - 1)[index]


def _run_in_threads(
    work: Callable[[slice], int], num_trials: int, on_progress: Callable[[int], object]
) -> None:
    """Work on parts of the trials in as many threads as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for num_done in pool.map(work, row_blocks(num_trials, 1, _TRIALS_PER_TASK)):
            on_progress(num_done)
