"""Cosine scores, against SciPy and against a loop over the trials."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from mvector.errors import EvaluationError
from mvector.scoring import PairTrials, all_pairs, cosine_scores, read_trials

NUM_ENROLL, NUM_TEST, DIMENSIONS = 7, 23, 16


def embeddings(num_clips, seed, dtype=np.float32):
    generator = np.random.default_rng(seed)
    lengths = generator.uniform(0.01, 100.0, (num_clips, 1))
    return (generator.normal(size=(num_clips, DIMENSIONS)) * lengths).astype(dtype)


def names(prefix, count):
    return [f"{prefix}{index}" for index in range(count)]


def cross_trials(self_pairs=False):
    test = names("t", NUM_TEST)
    if self_pairs:
        test[0], test[11], test[12], test[22] = "e6", "e0", "e3", "e1"
    return all_pairs(
        names("e", NUM_ENROLL), np.arange(NUM_ENROLL) % 3, test, np.arange(NUM_TEST) % 3
    )


@pytest.fixture
def pair_trials(tmp_path):
    generator = np.random.default_rng(3)
    lines = [
        f"{generator.integers(2)} c{generator.integers(30)} c{generator.integers(30)}"
        for _ in range(200)
    ]
    path = tmp_path / "pairs.txt"
    path.write_text("\n".join(lines))
    return read_trials(path)


@pytest.mark.parametrize("block_size", [1, 20, 50, 10_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_pairs_have_the_cosine_of_scipy_in_the_order_of_the_labels(block_size, dtype):
    enroll, test = embeddings(NUM_ENROLL, 0, dtype), embeddings(NUM_TEST, 1, dtype)

    scores = cosine_scores(enroll, test, cross_trials(), block_size=block_size)

    expected = 1.0 - cdist(test.astype(np.float64), enroll.astype(np.float64), "cosine")
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected.ravel(), atol=1e-6)


@pytest.mark.parametrize("block_size", [1, 20, 50, 10_000])
def test_a_clip_against_itself_gets_no_score_and_shifts_no_other(block_size):
    enroll, test = embeddings(NUM_ENROLL, 0), embeddings(NUM_TEST, 1)
    trials = cross_trials(self_pairs=True)

    scores = cosine_scores(enroll, test, trials, block_size=block_size)

    table = 1.0 - cdist(test.astype(np.float64), enroll.astype(np.float64), "cosine")
    expected = [
        table[t, e]
        for t in range(NUM_TEST)
        for e in range(NUM_ENROLL)
        if trials.test_paths[t] != trials.enroll_paths[e]
    ]
    assert len(scores) == len(trials) == NUM_ENROLL * NUM_TEST - 4
    np.testing.assert_allclose(scores, expected, atol=1e-6)


# 200 trials of 30 clips: looked up in a table, of one row at a time and of all.
@pytest.mark.parametrize("block_size", [1, 100, 1_000_000])
def test_listed_pairs_have_the_cosine_of_their_two_clips(pair_trials, block_size):
    clips = embeddings(len(pair_trials.paths), 2)

    scores = cosine_scores(clips, clips, pair_trials, block_size=block_size)

    expected = []
    for first, second in zip(pair_trials.enroll_index, pair_trials.test_index, strict=True):
        a, b = clips[first].astype(np.float64), clips[second].astype(np.float64)
        expected.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_few_pairs_of_many_clips_have_the_cosine_of_their_two_clips():
    generator = np.random.default_rng(5)
    first, second = generator.integers(0, 500, (2, 700), dtype=np.int32)
    trials = PairTrials("list", tuple(names("c", 500)), first, second, first == second)
    clips = embeddings(500, 2)

    scores = cosine_scores(clips, clips, trials)

    unit = clips.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    np.testing.assert_allclose(scores, np.sum(unit[first] * unit[second], axis=1), atol=1e-6)


def test_scores_stay_within_one_for_parallel_embeddings():
    direction = np.random.default_rng(4).normal(size=DIMENSIONS)
    enroll = (direction * np.linspace(0.1, 9.0, 50)[:, None]).astype(np.float32)
    trials = all_pairs(names("e", 50), np.zeros(50, int), names("t", 50), np.zeros(50, int))

    scores = cosine_scores(enroll, -enroll, trials)

    assert scores.min() >= -1.0
    assert -scores.max() == pytest.approx(1.0, abs=1e-6)
    assert cosine_scores(enroll, enroll.copy(), trials).max() <= 1.0


def test_the_length_of_an_embedding_has_no_influence_however_small():
    enroll, test = embeddings(NUM_ENROLL, 0), embeddings(NUM_TEST, 1)
    scores = cosine_scores(enroll, test, cross_trials())

    tiny = cosine_scores(enroll * np.float32(1e-25), test, cross_trials())

    np.testing.assert_allclose(tiny, scores, atol=1e-6)


def test_embeddings_stay_as_they_were():
    enroll, test = embeddings(NUM_ENROLL, 0), embeddings(NUM_TEST, 1)

    cosine_scores(enroll, test, cross_trials())

    np.testing.assert_array_equal(enroll, embeddings(NUM_ENROLL, 0))
    np.testing.assert_array_equal(test, embeddings(NUM_TEST, 1))


@pytest.mark.parametrize(
    ("side", "value", "message"),
    [
        ("enroll", 0.0, r"enrolment embedding 5 \('e5'\) is zero"),
        ("test", 0.0, r"test embedding 5 \('t5'\) is zero"),
        ("test", np.nan, r"test embedding 5 \('t5'\) is NaN"),
        ("enroll", np.inf, r"enrolment embedding 5 \('e5'\) is NaN, infinite"),
    ],
)
def test_an_embedding_without_direction_is_refused_by_index(side, value, message):
    enroll, test = embeddings(NUM_ENROLL, 0), embeddings(NUM_TEST, 1)
    (enroll if side == "enroll" else test)[5] = value

    with pytest.raises(EvaluationError, match=message):
        cosine_scores(enroll, test, cross_trials())


def test_arrays_that_do_not_fit_the_trials_are_refused():
    enroll, test = embeddings(NUM_ENROLL, 0), embeddings(NUM_TEST, 1)

    with pytest.raises(EvaluationError, match="enrolment embeddings have shape"):
        cosine_scores(enroll[:-1], test, cross_trials())
    with pytest.raises(EvaluationError, match="test embeddings have shape"):
        cosine_scores(enroll, test[:, 0], cross_trials())
    with pytest.raises(EvaluationError, match="16 dimensions and test embeddings 15"):
        cosine_scores(enroll, test[:, :15], cross_trials())


def test_progress_is_shown_only_when_asked_for(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("mvector.progress.BAR_AFTER_S", 0.0)
    enroll, test = embeddings(NUM_ENROLL, 0), embeddings(NUM_TEST, 1)

    cosine_scores(enroll, test, cross_trials())
    assert capsys.readouterr().err == ""

    cosine_scores(enroll, test, cross_trials(), progress=True)
    assert re.search(rf"Scoring: .*/{NUM_ENROLL * NUM_TEST} ", capsys.readouterr().err)
