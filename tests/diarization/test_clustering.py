"""Windows become voices: as many as there are, or as many as are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from mvector.diarization import clustering
from mvector.diarization.clustering import centres_of, cluster_windows, resemblance

DIM = 48


def conversation(
    turns: list[int], *, windows_each: int = 4, noise: float = 0.8, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings of windows, their places, their segments and who speaks in each.

    All have a part in common, as what is heard in one room has.
    """
    random = np.random.default_rng(seed)
    common = random.normal(size=DIM)
    people = random.normal(size=(max(turns) + 1, DIM))
    labels = np.repeat(turns, windows_each)
    vectors = people[labels] + 0.7 * common + noise * random.normal(size=(len(labels), DIM))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    starts = np.arange(len(labels)) * 0.75
    return (
        units,
        np.stack([starts, starts + 1.5], 1),
        np.repeat(np.arange(len(turns)), windows_each),
        labels,
    )


def in_turns(num_people: int, num_turns: int, seed: int = 1) -> list[int]:
    random = np.random.default_rng(seed)
    others = random.integers(0, num_people, num_turns).tolist()
    return [*range(num_people), *others]


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = {*zip(one.tolist(), other.tolist(), strict=True)}
    return len(pairs) == len({*one.tolist()}) == len({*other.tolist()})


@pytest.mark.parametrize("num_people", [1, 2, 3, 5])
def test_there_are_as_many_voices_as_people(num_people: int) -> None:
    *heard, truth = conversation(in_turns(num_people, 25))
    assert same_partition(cluster_windows(*heard, limit=0.68), truth)


def test_the_number_of_people_is_given_or_bounded() -> None:
    *heard, _ = conversation(in_turns(3, 25))
    for least, most, expected in ((2, 2, 2), (5, 5, 5), (1, 2, 2), (4, 20, 4)):
        found = cluster_windows(*heard, limit=0.68, least=least, most=most)
        assert found.max() + 1 == expected


def test_labels_count_from_0_in_the_order_of_first_words() -> None:
    *heard, _ = conversation([2, 0, 2, 1, 0, 1, 2, 0, 1])
    found = cluster_windows(*heard, limit=0.68)
    assert found[[0, 4, 12]].tolist() == [0, 1, 2]


def test_a_voice_of_few_windows_is_part_of_the_others() -> None:
    *heard, truth = conversation([0, 1, 0, 1, 0, 1, 0, 1, 0, 1])
    heard[0][3] = conversation([0, 1, 2], seed=9)[0][-1]  # one odd window
    found = cluster_windows(*heard, limit=0.68)
    assert found.max() == 1
    assert same_partition(np.delete(found, 3), np.delete(truth, 3))


def test_chunks_of_a_long_recording_have_voices_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    *heard, truth = conversation(in_turns(3, 60))
    monkeypatch.setattr(clustering, "_CHUNK", 90)
    assert same_partition(cluster_windows(*heard, limit=0.68), truth)
    assert cluster_windows(*heard, limit=0.68, least=2, most=2).max() == 1


def test_resemblance_is_1_within_a_voice_and_small_between_two() -> None:
    units, windows, segment_of, truth = conversation(in_turns(2, 30))
    halves = np.where(truth == 0, segment_of % 2, 2)  # the first person under two labels
    alike = resemblance(units, halves, windows, segment_of)
    assert alike[0, 1] == pytest.approx(1.0, abs=0.1)
    assert alike[0, 2] < 0.6


def test_centres_have_length_1() -> None:
    units, *_, truth = conversation(in_turns(2, 5))
    assert np.linalg.norm(centres_of(units, truth), axis=1) == pytest.approx(1.0)


def test_one_window_is_one_voice() -> None:
    *heard, _ = conversation([0], windows_each=1)
    assert cluster_windows(*heard, limit=0.68).tolist() == [0]
