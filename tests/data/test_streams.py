"""Random streams of samples: functions of (seed, epoch, place), apart from one another, even."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from mvector.data.streams import RandomStreams


@pytest.mark.parametrize(
    ("seed", "epoch", "position"), [(0, 0, 0), (1000, 3, 17), (2**63 - 1, 9, 1)]
)
def test_a_stream_is_that_of_a_new_generator_with_this_key_and_counter(
    seed: int, epoch: int, position: int
) -> None:
    key = np.array([seed, epoch], dtype=np.uint64)
    counter = np.array([0, 0, 0, position], dtype=np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key, counter=counter)).random(100)
    np.testing.assert_array_equal(RandomStreams(seed).at(epoch, position).random(100), expected)


def test_what_was_drawn_before_has_no_influence() -> None:
    streams = RandomStreams(7)
    expected = streams.at(2, 5).random(9)
    rng = streams.at(0, 1)
    rng.random(3, dtype=np.float32)  # leaves half a word over
    rng.integers(5, size=3, dtype=np.uint32)
    np.testing.assert_array_equal(streams.at(2, 5).random(9), expected)


def test_a_pickled_copy_finds_the_same_streams_one_after_another() -> None:
    streams = RandomStreams(7)
    streams.at(3, 3).random(3)
    copy = pickle.loads(pickle.dumps(streams))
    for epoch, position in [(2, 5), (0, 0), (2, 5), (1, 2**40)]:
        expected = RandomStreams(7).at(epoch, position).random(9)
        np.testing.assert_array_equal(copy.at(epoch, position).random(9), expected)


def test_seed_epoch_and_place_each_give_other_numbers() -> None:
    first = {
        RandomStreams(seed).at(epoch, position).random()
        for seed in range(10)
        for epoch in range(10)
        for position in range(10)
    }
    assert len(first) == 1000


@pytest.mark.parametrize("axis", ["seed", "epoch", "position"])
def test_neighbouring_streams_are_even_and_not_correlated(axis: str) -> None:
    places = [{"seed": 1, "epoch": 1, "position": 1, axis: number} for number in range(4000)]
    drawn = np.stack(
        [RandomStreams(p["seed"]).at(p["epoch"], p["position"]).random(4) for p in places]
    )
    counts = np.histogram(drawn[:, 0], bins=20, range=(0, 1))[0]
    chi_square = float(np.sum((counts - 200) ** 2 / 200))
    assert chi_square < 43.8  # 19 degrees of freedom: exceeded once in a thousand
    left, right = drawn[:-1].ravel(), drawn[1:].ravel()
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.03  # 3.8 standard deviations
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.06
