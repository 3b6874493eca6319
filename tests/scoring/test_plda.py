"""PLDA and LDA, against explicit joint normal densities, loops of EM and scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from mvector.errors import CheckpointError, EvaluationError
from mvector.scoring.lda import LdaTransform, fit_lda, length_normalise
from mvector.scoring.plda import Plda
from mvector.scoring.plda_training import adapt_plda, train_plda
from mvector.scoring.trials import EnrolmentModels, PairTrials, all_pairs

DIM = 5


def some_covariance(generator, dim=DIM, scale=1.0):
    root = generator.normal(size=(dim, 2 * dim))
    return scale * root @ root.T / (2 * dim)


def clips_of(num_speakers, num_clips, seed=0, dim=DIM, between=None, within=None):
    """Clips drawn from the model: (clips, dim) and the speaker of each."""
    generator = np.random.default_rng(seed)
    between = some_covariance(generator, dim) if between is None else between
    within = some_covariance(generator, dim, 0.3) if within is None else within
    counts = generator.integers(1, num_clips + 1, num_speakers)
    speakers = np.repeat(np.arange(num_speakers), counts)
    voices = generator.multivariate_normal(np.ones(dim), between, num_speakers)
    return voices[speakers] + generator.multivariate_normal(
        np.zeros(dim), within, len(speakers)
    ), speakers


@pytest.fixture(scope="module")
def plda():
    generator = np.random.default_rng(1)
    return Plda(
        LdaTransform(generator.normal(size=8), generator.normal(size=(8, DIM))),
        generator.normal(size=DIM),
        some_covariance(generator),
        some_covariance(generator, scale=0.3),
        "0123456789abcdef",
    )


def joint_log_likelihood(plda, vectors):
    """log p of clips that share a speaker, as one normal density of all of them."""
    n = len(vectors)
    covariance = np.kron(np.ones((n, n)), plda.between) + np.kron(np.eye(n), plda.within)
    return multivariate_normal.logpdf(vectors.ravel(), np.tile(plda.mean, n), covariance)


def ratio_by_the_book(plda, enrolled, test):
    together = joint_log_likelihood(plda, np.vstack([enrolled, test]))
    return (
        together - joint_log_likelihood(plda, enrolled) - joint_log_likelihood(plda, test[None, :])
    )


def vectors_by_hand(transform, embeddings):
    rows = []
    for row in embeddings:
        turned = (row - transform.mean) @ transform.projection
        rows.append(turned / np.sqrt(sum(value * value for value in turned)))
    return np.array(rows)


def pairs(enroll_index, test_index, num_paths):
    return PairTrials(
        "list",
        tuple(f"{i}.wav" for i in range(num_paths)),
        np.array(enroll_index, dtype=np.int32),
        np.array(test_index, dtype=np.int32),
        np.zeros(len(enroll_index), dtype=bool),
    )


def test_listed_pairs_score_the_ratio_of_joint_normal_densities(plda):
    embeddings = np.random.default_rng(2).normal(size=(12, 8))
    first, second = np.random.default_rng(3).integers(0, 12, (2, 40))
    vectors = vectors_by_hand(plda.transform, embeddings)

    scores = plda.score(embeddings, embeddings, pairs(first, second, 12))

    expected = [
        ratio_by_the_book(plda, vectors[[a]], vectors[b])
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)


def test_all_pairs_leave_out_a_clip_with_itself_and_score_alike(plda):
    embeddings = np.random.default_rng(4).normal(size=(7, 8))
    names = [f"{i}.wav" for i in range(7)]
    trials = all_pairs(names[:4], [0, 0, 1, 1], names[2:], [1, 1, 2, 2, 3])
    vectors = vectors_by_hand(plda.transform, embeddings)

    scores = plda.score(embeddings[:4], embeddings[2:], trials)

    expected = [
        ratio_by_the_book(plda, vectors[[e]], vectors[t])
        for t in range(2, 7)
        for e in range(4)
        if e != t
    ]
    assert len(scores) == len(trials.labels) == 18
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)


def test_several_enrolment_clips_are_scored_jointly(plda):
    generator = np.random.default_rng(5)
    clips = generator.normal(size=(9, 8))
    vectors = vectors_by_hand(plda.transform, clips)
    members = [[0, 5], [2], [3, 1, 6, 2], [8]]  # clip 2 is in two models
    models = EnrolmentModels(
        ("ann", "bob", "cas", "dan"), np.concatenate(members), np.array([0, 2, 3, 7, 8])
    )
    first, second = generator.integers(0, 4, 30), generator.integers(0, 9, 30)
    trials = replace(pairs(first, second, 9), models=models)

    scores = plda.score(clips, clips, trials)

    expected = [
        ratio_by_the_book(plda, vectors[members[m]], vectors[t])
        for m, t in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)


def total_log_likelihood(plda, vectors, speakers):
    return sum(joint_log_likelihood(plda, vectors[speakers == s]) for s in np.unique(speakers))


def test_training_ends_at_a_maximum_of_the_likelihood():
    embeddings, speakers = clips_of(30, 6, seed=6, dim=3)
    trained = train_plda(embeddings, speakers, max_iterations=500, tolerance=1e-12)
    vectors = vectors_by_hand(trained.transform, embeddings)
    best = total_log_likelihood(trained, vectors, speakers)
    generator = np.random.default_rng(7)

    for size in (0.3, 0.03):
        for _ in range(6):
            turn = np.eye(3) + size * generator.normal(size=(3, 3))
            name = generator.choice(["between", "within"])
            moved = {name: turn @ getattr(trained, name) @ turn.T, "mean": trained.mean}
            moved["mean"] = trained.mean + 0.1 * size * generator.normal(size=3)
            other = Plda(**{**vars_of(trained), **moved})
            assert total_log_likelihood(other, vectors, speakers) < best


def vars_of(plda):
    return {
        name: getattr(plda, name)
        for name in ("transform", "mean", "between", "within", "fingerprint")
    }


@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_training_is_em_written_as_loops(num_steps):
    embeddings, speakers = clips_of(25, 5, seed=8)
    trained = train_plda(embeddings, speakers, max_iterations=num_steps, tolerance=-1.0)
    vectors = vectors_by_hand(trained.transform, embeddings)
    groups = [vectors[speakers == s] for s in np.unique(speakers)]
    mean, total = vectors.mean(axis=0), len(vectors)
    between = sum(len(g) * np.outer(g.mean(0) - mean, g.mean(0) - mean) for g in groups) / total
    within = sum((g - g.mean(0)).T @ (g - g.mean(0)) for g in groups) / total

    for _ in range(num_steps):
        hidden, unsure = [], []
        for g in groups:
            precision = np.linalg.inv(between) + len(g) * np.linalg.inv(within)
            unsure.append(np.linalg.inv(precision))
            pull = np.linalg.inv(between) @ mean + np.linalg.inv(within) @ g.sum(axis=0)
            hidden.append(unsure[-1] @ pull)
        mean = np.mean(hidden, axis=0)
        between = np.mean(
            [np.outer(y - mean, y - mean) + c for y, c in zip(hidden, unsure, strict=True)], axis=0
        )
        within = np.zeros_like(within)
        for g, y, c in zip(groups, hidden, unsure, strict=True):
            for x in g:
                within += (np.outer(x - y, x - y) + c) / total

    np.testing.assert_allclose(trained.mean, mean, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(trained.between, between, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(trained.within, within, rtol=1e-8, atol=1e-10)


def test_plda_tells_speakers_apart_where_the_cosine_is_misled_by_the_channel():
    """Clips vary most where speakers do not differ."""
    spreads = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    model = {"dim": 8, "between": np.diag(spreads), "within": np.diag(0.2 + 5.0 * (1.0 - spreads))}
    trained = train_plda(*clips_of(400, 6, seed=9, **model))
    embeddings, speakers = clips_of(40, 4, seed=10, **model)
    first, second = np.triu_indices(len(speakers), 1)
    same = speakers[first] == speakers[second]

    scores = trained.score(embeddings, embeddings, pairs(first, second, len(speakers)))

    unit = length_normalise(embeddings)
    cosines = np.einsum("ij,ij->i", unit[first], unit[second])
    assert area_under_curve(scores, same) > area_under_curve(cosines, same) + 0.1


def area_under_curve(scores, same):
    return np.mean(scores[same][:, None] > scores[~same][None, :])


def test_adaptation_is_the_published_formula(plda):
    generator = np.random.default_rng(11)
    embeddings = generator.normal(size=(60, 8)) * np.linspace(0.5, 2.0, 8) + 1.0

    adapted = adapt_plda(plda, embeddings, between_weight=0.3, within_weight=0.8)

    centred = LdaTransform(embeddings.mean(axis=0), plda.transform.projection)
    vectors = vectors_by_hand(centred, embeddings)
    new_total = np.cov(vectors.T, bias=True)

    def root(matrix):
        values, vectors = np.linalg.eigh(matrix)
        return vectors @ np.diag(np.sqrt(values)) @ vectors.T

    carry = root(new_total) @ np.linalg.inv(root(plda.between + plda.within))
    for name, weight in (("between", 0.3), ("within", 0.8)):
        old = getattr(plda, name)
        new = carry @ old @ carry.T
        # Both are diagonal in the eigenvectors of inv(old) @ new, scaled so that old is 1.
        values, directions = np.linalg.eig(np.linalg.inv(old) @ new)
        directions = directions / np.sqrt(np.diag(directions.T @ old @ directions))
        back = np.linalg.inv(directions)
        expected = back.T @ np.diag(1.0 + weight * np.maximum(values - 1.0, 0.0)) @ back
        np.testing.assert_allclose(getattr(adapted, name), expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(adapted.mean, vectors.mean(axis=0), rtol=1e-10, atol=1e-12)
    assert adapted.fingerprint == plda.fingerprint


def test_adaptation_to_the_training_domain_changes_little():
    embeddings, speakers = clips_of(400, 6, seed=12)
    trained = train_plda(embeddings, speakers)

    adapted = adapt_plda(trained, embeddings)

    np.testing.assert_allclose(adapted.between, trained.between, atol=0.02)
    np.testing.assert_allclose(adapted.within, trained.within, atol=0.02)


def test_adaptation_refuses_weights_out_of_range_and_a_single_clip(plda):
    with pytest.raises(EvaluationError, match=r"between 0 and 1; got 1\.5 for between"):
        adapt_plda(plda, np.ones((3, 8)), between_weight=1.5)
    with pytest.raises(EvaluationError, match="two clips at least"):
        adapt_plda(plda, np.ones((1, 8)))


def test_a_saved_plda_scores_alike_and_belongs_to_its_model(plda, tmp_path):
    file = tmp_path / "plda.safetensors"
    plda.save(file)
    embeddings = np.random.default_rng(13).normal(size=(4, 8))
    trials = pairs([0, 1, 2], [1, 2, 3], 4)

    loaded = Plda.load(file, fingerprint=plda.fingerprint)

    np.testing.assert_array_equal(
        loaded.score(embeddings, embeddings, trials), plda.score(embeddings, embeddings, trials)
    )
    with pytest.raises(CheckpointError, match="belongs to model 0123456789abcdef, not to fedc"):
        Plda.load(file, fingerprint="fedc")
    assert [path.name for path in tmp_path.iterdir()] == ["plda.safetensors"]


def test_what_is_no_plda_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        Plda.load(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("nothing of the kind")
    with pytest.raises(CheckpointError, match="is no PLDA or is damaged"):
        Plda.load(tmp_path / "text")


@pytest.mark.parametrize("dim", [1, 3])
def test_lda_is_that_of_scikit_learn(dim):
    embeddings, speakers = clips_of(40, 6, seed=14)
    several = np.bincount(speakers)[speakers] > 1  # of one clip, scikit-learn warns
    embeddings, speakers = embeddings[several], speakers[several]

    transform = fit_lda(embeddings, speakers, dim)

    reference = LinearDiscriminantAnalysis(solver="eigen").fit(embeddings, speakers)
    expected = reference.scalings_[:, :dim]
    assert subspace_angles(transform.projection, expected).max() < 1e-6
    np.testing.assert_allclose(
        np.abs(transform.projection / np.linalg.norm(transform.projection, axis=0)),
        np.abs(expected / np.linalg.norm(expected, axis=0)),
        atol=1e-6,
    )
    centred = embeddings - embeddings.mean(axis=0)
    within = sum(
        (g - g.mean(0)).T @ (g - g.mean(0))
        for g in (centred[speakers == s] for s in np.unique(speakers))
    ) / len(centred)
    identity = transform.projection.T @ within @ transform.projection
    np.testing.assert_allclose(identity, np.eye(dim), atol=1e-9)


def test_without_lda_vectors_are_centred_unit_vectors():
    embeddings, speakers = clips_of(10, 4, seed=15)

    vectors = fit_lda(embeddings, speakers)(embeddings)

    centred = embeddings - embeddings.mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_length_normalisation_survives_small_and_large_rows(dtype):
    rows = np.array([[3e-20, 4e-20], [3e18, 4e18], [-0.6, 0.8]], dtype=dtype)

    unit = length_normalise(rows)

    assert unit.dtype == dtype
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0.6, 0.8], [-0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 0.0], [0.0, 0.0]], "row 1 is zero"),
        ([[1.0, np.nan]], "row 0 is NaN or infinite"),
        ([1.0, 2.0], "has the shape"),
        (np.empty((0, 4)), "has the shape"),
    ],
)
def test_rows_without_a_direction_are_refused(rows, message):
    with pytest.raises(EvaluationError, match=message):
        length_normalise(rows)


def test_mistakes_of_training_are_named():
    embeddings, speakers = clips_of(6, 4, seed=16)
    with pytest.raises(EvaluationError, match="of one speaker"):
        train_plda(embeddings, np.zeros(len(embeddings), dtype=int))
    with pytest.raises(EvaluationError, match="one speaker for each embedding"):
        train_plda(embeddings, speakers[:-1])
    with pytest.raises(EvaluationError, match="gives 1 to 5 directions, not 9"):
        train_plda(embeddings, speakers, lda_dim=9)
    wide = np.random.default_rng(17).normal(size=(8, 20))
    with pytest.raises(EvaluationError, match="needs more clips than these"):
        train_plda(wide, np.arange(8) // 2)


def test_mistakes_of_scoring_are_named(plda):
    trials = pairs([0], [1], 2)
    with pytest.raises(EvaluationError, match="of 8 dimensions and these have 7"):
        plda.score(np.ones((2, 7)), np.ones((2, 7)), trials)
    some = np.random.default_rng(18).normal(size=(3, 8))
    with pytest.raises(EvaluationError, match="3 enrolment embeddings and the trials have 2"):
        plda.score(some, some[:2], trials)
    with pytest.raises(EvaluationError, match="3 test embeddings and the trials have 2"):
        plda.score(some[:2], some, trials)
