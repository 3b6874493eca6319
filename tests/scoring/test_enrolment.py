"""Models of several clips: each way of enrolling equals a loop over models and clips."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mvector.errors import EvaluationError
from mvector.scoring import PairTrials, cosine_scores
from mvector.scoring.enrolment import concatenate_enrolment_clips, describe_enrolment, score_models
from mvector.scoring.trials import EnrolmentModels

SIZES = (1, 3, 2, 7, 4)
NUM_CLIPS = 24


@pytest.fixture(scope="module")
def trials() -> PairTrials:
    generator = np.random.default_rng(3)
    clips = [generator.choice(NUM_CLIPS, size, replace=False) for size in SIZES]
    models = EnrolmentModels(
        tuple(f"model {number}" for number in range(len(SIZES))),
        np.concatenate(clips).astype(np.int32),
        np.cumsum([0, *SIZES]),
    )
    return PairTrials(
        source="trials.lst",
        paths=tuple(f"{number}.wav" for number in range(NUM_CLIPS)),
        enroll_index=generator.integers(0, len(SIZES), 200).astype(np.int32),
        test_index=generator.integers(0, NUM_CLIPS, 200).astype(np.int32),
        labels=generator.random(200) < 0.3,
        models=models,
    )


@pytest.fixture(scope="module")
def embeddings() -> np.ndarray:
    generator = np.random.default_rng(4)
    lengths = generator.uniform(0.1, 20, (NUM_CLIPS, 1))
    return (generator.normal(size=(NUM_CLIPS, 8)) * lengths).astype(np.float32)


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def reference(rows: np.ndarray, test: np.ndarray, method: str) -> float:
    rows, test = rows.astype(np.float64), test.astype(np.float64)
    if method == "mean":
        return cosine(np.mean([row / np.linalg.norm(row) for row in rows], axis=0), test)
    if method == "raw-mean":
        return cosine(rows.mean(axis=0), test)
    scores = sorted((cosine(row, test) for row in rows), reverse=True)
    return float(np.mean(scores[: 1 if method == "max" else int(method[4:])]))


@pytest.mark.parametrize("method", ["mean", "raw-mean", "max", "top-1", "top-3", "top-100"])
def test_every_way_of_enrolling_equals_a_loop(
    trials: PairTrials, embeddings: np.ndarray, method: str
) -> None:
    scores = score_models(embeddings, trials, method, cosine_scores)
    assert trials.models is not None
    expected = []
    for model, test in zip(trials.enroll_index, trials.test_index, strict=True):
        own = trials.models.clips[trials.models.starts[model] : trials.models.starts[model + 1]]
        expected.append(reference(embeddings[own], embeddings[test], method))
    assert scores.shape == (200,)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_ways_differ_for_models_of_several_clips(
    trials: PairTrials, embeddings: np.ndarray
) -> None:
    ways = ("mean", "raw-mean", "max", "top-3")
    scores = [score_models(embeddings, trials, way, cosine_scores) for way in ways]
    single = trials.enroll_index == 0
    for one, other in pairwise(scores):
        np.testing.assert_allclose(one[single], other[single], atol=1e-6)
        assert np.abs(one[~single] - other[~single]).max() > 0.05


def test_joined_models_are_clips_of_several_files(trials: PairTrials) -> None:
    joined, files = concatenate_enrolment_clips(trials)
    assert joined.models is None
    assert len(joined.paths) == len(files) == len(set(trials.test_index.tolist())) + len(SIZES)
    assert trials.models is not None
    for row in range(len(trials)):
        model = trials.enroll_index[row]
        own = trials.models.clips[trials.models.starts[model] : trials.models.starts[model + 1]]
        assert files[joined.enroll_index[row]] == tuple(trials.paths[clip] for clip in own)
        assert files[joined.test_index[row]] == (trials.paths[trials.test_index[row]],)
    np.testing.assert_array_equal(joined.labels, trials.labels)


def test_the_way_is_stated_in_words() -> None:
    assert describe_enrolment("mean") == "mean of unit vectors"
    assert describe_enrolment("top-12") == "mean of the 12 highest scores"


@pytest.mark.parametrize("method", ["median", "top-0", "top-", "top-x", ""])
def test_an_unknown_way_is_refused_with_the_choices(method: str) -> None:
    with pytest.raises(EvaluationError, match=f"'{method}' is no way .* choose mean, raw-mean"):
        describe_enrolment(method)
