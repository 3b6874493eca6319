"""Windows become voices: as many as there are, or as many as are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from mvector.diarization import clustering
from mvector.diarization.clustering import cluster_windows, cores_of, resemblance

DIM = 48


def conversation(
    turns: list[int], *, windows_each: int = 4, noise: float = 0.8, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of windows, and who speaks in each.

    All have a part in common, as what is heard in one room has.
    """
    random = np.random.default_rng(seed)
    common = random.normal(size=DIM)
    people = random.normal(size=(max(turns) + 1, DIM))
    labels = np.repeat(turns, windows_each)
    vectors = people[labels] + 0.7 * common + noise * random.normal(size=(len(labels), DIM))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels


def in_turns(num_people: int, num_turns: int, seed: int = 1) -> list[int]:
    random = np.random.default_rng(seed)
    others = random.integers(0, num_people, num_turns).tolist()
    return [*range(num_people), *others]


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = {*zip(one.tolist(), other.tolist(), strict=True)}
    return len(pairs) == len({*one.tolist()}) == len({*other.tolist()})


@pytest.mark.parametrize("num_people", [1, 2, 3, 5])
def test_there_are_as_many_voices_as_people(num_people: int) -> None:
    units, truth = conversation(in_turns(num_people, 25))
    assert same_partition(cluster_windows(units, limit=0.68), truth)


def test_the_number_of_people_is_given_or_bounded() -> None:
    units, _ = conversation(in_turns(3, 25))
    for least, most, expected in ((2, 2, 2), (5, 5, 5), (1, 2, 2), (4, 20, 4)):
        found = cluster_windows(units, limit=0.68, least=least, most=most)
        assert found.max() + 1 == expected


def test_labels_count_from_0_in_the_order_of_first_words() -> None:
    units, _ = conversation([2, 0, 2, 1, 0, 1, 2, 0, 1])
    found = cluster_windows(units, limit=0.68)
    assert found[[0, 4, 12]].tolist() == [0, 1, 2]


def test_who_says_little_is_a_voice_beside_the_one_they_were_taken_for() -> None:
    units, truth = conversation([0] * 10 + [2] * 2 + [1] * 10 + [0] * 5)
    taken_for = np.where(truth == 2, 0, truth)
    centred = units - units.mean(axis=0)
    for most, expected in ((20, truth), (2, taken_for)):
        found = clustering._divided(units, centred, taken_for, 0.68, most, 4)
        assert same_partition(found, expected)
    found = clustering._divided(units, centred, taken_for, 0.68, 20, 9)  # 8 are too few
    assert same_partition(found, taken_for)


@pytest.mark.parametrize("num_people", [1, 2, 4])
def test_parts_that_are_joined_are_as_many_as_there_are_people(num_people: int) -> None:
    units, _ = conversation(in_turns(num_people, 25))
    centred = units - units.mean(axis=0)
    vectors = clustering._eigenvectors(centred, 12)
    assert clustering._number_by_joining(units, centred, vectors, 0.6, 4) == num_people


def test_a_voice_of_few_windows_is_part_of_the_others() -> None:
    units, truth = conversation([0, 1, 0, 1, 0, 1, 0, 1, 0, 1])
    units[3] = conversation([0, 1, 2], seed=9)[0][-1]  # one odd window
    found = cluster_windows(units, limit=0.68)
    assert found.max() == 1
    assert same_partition(np.delete(found, 3), np.delete(truth, 3))


def test_chunks_of_a_long_recording_have_voices_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    units, truth = conversation(in_turns(3, 60))
    monkeypatch.setattr(clustering, "_CHUNK", 90)
    assert same_partition(cluster_windows(units, limit=0.68), truth)
    assert cluster_windows(units, limit=0.68, least=2, most=2).max() == 1


def test_resemblance_is_1_within_a_voice_and_small_between_two() -> None:
    units, truth = conversation(in_turns(2, 30))
    halves = np.where(truth == 0, np.arange(len(units)) // 4 % 2, 2)  # one person, two labels
    alike = resemblance(units, halves)
    assert alike[0, 1] == pytest.approx(1.0, abs=0.1)
    assert alike[0, 2] < 0.6


def test_the_core_of_a_voice_is_without_the_windows_that_are_somebody_else() -> None:
    units, truth = conversation(in_turns(2, 30))
    clean = cores_of(units, truth)
    labels = truth.copy()
    labels[np.flatnonzero(truth == 1)[:10]] = 0  # some windows of the second person
    mixed = cores_of(units, labels)
    assert np.linalg.norm(mixed, axis=1) == pytest.approx(1.0)
    mean = units[labels == 0].mean(axis=0)
    assert 1.0 - mixed[0] @ clean[0] < (1.0 - mean @ clean[0] / np.linalg.norm(mean)) / 2.0


def test_one_window_is_one_voice() -> None:
    units, _ = conversation([0], windows_each=1)
    assert cluster_windows(units, limit=0.68).tolist() == [0]
