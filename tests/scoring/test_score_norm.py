"""Mean subtraction, S-norm and AS-norm, against loops in float64."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from error_codes import raises_code

from mvector.errors import CheckpointError, EvaluationError
from mvector.scoring.cohort import Cohort, CohortStatistics, cohort_statistics
from mvector.scoring.norms import embedding_mean, normalised_scores, subtract_mean
from mvector.scoring.trials import PairTrials, all_pairs

DIM = 16


def embeddings_of(num_clips, seed=0, dtype=np.float64):
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(num_clips, DIM)) + 0.4).astype(dtype)


def cosine(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return sum(a * b) / np.sqrt(sum(a * a)) / np.sqrt(sum(b * b))


def statistics_by_hand(clip, cohort, top_n):
    scores = sorted((cosine(clip, other) for other in cohort), reverse=True)[:top_n]
    mean = sum(scores) / len(scores)
    return mean, np.sqrt(sum((score - mean) ** 2 for score in scores) / len(scores))


def normalised_by_hand(enroll, test, cohort, top_n):
    score, (mean_e, std_e), (mean_t, std_t) = (
        cosine(enroll, test),
        statistics_by_hand(enroll, cohort, top_n),
        statistics_by_hand(test, cohort, top_n),
    )
    return 0.5 * ((score - mean_e) / std_e + (score - mean_t) / std_t)


@pytest.mark.parametrize("top_n", [None, 7, 50])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_listed_pairs_are_normalised_as_the_loop_does(top_n, dtype):
    clips, cohort = embeddings_of(9, 1, dtype), embeddings_of(50, 2, dtype)
    first, second = np.random.default_rng(3).integers(0, 9, (2, 25)).astype(np.int32)
    trials = PairTrials("list", tuple("abcdefghi"), first, second, np.zeros(25, dtype=bool))

    scores = normalised_scores(
        clips, clips, trials, cohort=Cohort.from_embeddings(cohort), top_n=top_n
    )

    expected = [
        normalised_by_hand(clips[a], clips[b], cohort, top_n)
        for a, b in zip(first, second, strict=True)
    ]
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("top_n", [None, 7])
def test_all_pairs_are_normalised_as_the_loop_does(top_n):
    clips, cohort = embeddings_of(8, 4), embeddings_of(30, 5)
    names = list("abcdefgh")
    trials = all_pairs(names[:5], [0, 0, 1, 1, 2], names[2:], [1, 1, 2, 3, 3, 3])

    scores = normalised_scores(
        clips[:5], clips[2:], trials, cohort=Cohort.from_embeddings(cohort), top_n=top_n
    )

    pairs = [(e, t) for t in range(2, 8) for e in range(5) if e != t]
    expected = [normalised_by_hand(clips[e], clips[t], cohort, top_n) for e, t in pairs]
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)


def test_a_mean_is_taken_off_trials_as_off_the_cohort():
    clips, cohort = embeddings_of(6, 18), embeddings_of(20, 19)
    mean = embedding_mean(cohort)
    trials = all_pairs(list("abc"), [0, 1, 2], list("def"), [0, 1, 2])

    scores = normalised_scores(
        subtract_mean(clips[:3], mean),
        subtract_mean(clips[3:], mean),
        trials,
        cohort=Cohort.from_embeddings(cohort - mean),
        top_n=5,
    )

    expected = [
        normalised_by_hand(clips[e] - mean, clips[t] - mean, cohort - mean, 5)
        for t in range(3, 6)
        for e in range(3)
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("block_size", [1, 60, 61, 10_000])
def test_the_size_of_blocks_changes_nothing(block_size):
    clips, cohort = embeddings_of(11, 6), Cohort.from_embeddings(embeddings_of(20, 7))
    whole = cohort_statistics(clips, cohort, top_n=5)

    blocked = cohort_statistics(clips, cohort, top_n=5, block_size=block_size)

    np.testing.assert_allclose(blocked.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(blocked.std, whole.std, rtol=1e-12)


def test_a_cohort_of_speakers_holds_the_mean_of_their_unit_vectors():
    clips = embeddings_of(7, 8)
    speakers = np.array(["b", "a", "b", "c", "a", "b", "a"])

    cohort = Cohort.from_embeddings(clips, speakers=speakers)

    for row, name in enumerate("abc"):
        chosen = [clip / np.linalg.norm(clip) for clip in clips[speakers == name]]
        mean = np.mean(chosen, axis=0)
        np.testing.assert_allclose(cohort.vectors[row], mean / np.linalg.norm(mean), rtol=1e-12)


def test_a_cohort_below_top_n_is_taken_whole_and_said_so(caplog):
    clips, cohort = embeddings_of(4, 9), Cohort.from_embeddings(embeddings_of(12, 10))

    with caplog.at_level(logging.WARNING):
        short = cohort_statistics(clips, cohort, top_n=300)

    whole = cohort_statistics(clips, cohort, top_n=None)
    np.testing.assert_array_equal(short.mean, whole.mean)
    assert short.num_cohort == whole.num_cohort == 12
    assert [record.getMessage() for record in caplog.records] == [
        "The cohort has 12 vectors, fewer than the top 300 that AS-norm asks for; all of them are "
        "used, as in S-norm."
    ]


def test_statistics_are_taken_from_the_cache_only_where_nothing_differs(tmp_path):
    clips, strangers = embeddings_of(4, 11), embeddings_of(12, 12)
    cohort = Cohort.from_embeddings(strangers, fingerprint="0123456789abcdef")

    def run(clips=clips, cohort=cohort, top_n=5):
        return cohort_statistics(clips, cohort, top_n=top_n, cache_folder=tmp_path)

    first = run()
    (file,) = tmp_path.iterdir()
    assert "0123456789abcdef" in file.name
    # What a second run gives is what the file says, so the file was read.
    CohortStatistics(first.mean + 1.0, first.std, 5, "0123456789abcdef").save(file)
    np.testing.assert_array_equal(run().mean, first.mean + 1.0)

    fresh = [
        run(top_n=6),
        run(clips=clips[::-1]),
        run(cohort=Cohort.from_embeddings(strangers[1:], fingerprint="0123456789abcdef")),
        run(cohort=Cohort.from_embeddings(strangers, fingerprint="fedcba9876543210")),
    ]
    assert all(statistics.mean.max() < 1.0 for statistics in fresh)
    assert len(list(tmp_path.iterdir())) == 5


def test_cohort_and_statistics_survive_saving(tmp_path):
    cohort = Cohort.from_embeddings(embeddings_of(12, 13, np.float32), fingerprint="0123")
    statistics = cohort_statistics(embeddings_of(3, 14), cohort, top_n=4)

    cohort.save(tmp_path / "cohort.npz")
    statistics.save(tmp_path / "statistics.npz")

    again = Cohort.load(tmp_path / "cohort.npz", fingerprint="0123")
    np.testing.assert_array_equal(again.vectors, cohort.vectors)
    assert again.vectors.dtype == np.float64
    loaded = CohortStatistics.load(tmp_path / "statistics.npz")
    np.testing.assert_array_equal(loaded.std, statistics.std)
    np.testing.assert_array_equal(loaded.mean, statistics.mean)
    assert (loaded.num_cohort, loaded.fingerprint) == (4, "0123")


def test_a_cohort_of_another_model_and_damaged_files_are_refused(tmp_path):
    Cohort.from_embeddings(embeddings_of(3), fingerprint="0123").save(tmp_path / "cohort.npz")
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "empty.npz").write_bytes(b"")

    with pytest.raises(CheckpointError, match="belongs to model 0123, not to 4567"):
        Cohort.load(tmp_path / "cohort.npz", fingerprint="4567")
    for name in ("damaged.npz", "empty.npz", "cohort.npz"):
        with pytest.raises(CheckpointError, match=f"{name}' holds no cohort statistics"):
            CohortStatistics.load(tmp_path / name)
    with pytest.raises(CheckpointError, match="file does not exist"):
        Cohort.load(tmp_path / "none.npz")


def test_mean_subtraction_centres_what_the_mean_was_taken_of():
    embeddings = embeddings_of(20, 15, np.float32)

    centred = subtract_mean(embeddings, embedding_mean(embeddings))

    assert centred.dtype == np.float32
    expected = embeddings.astype(np.float64) - embeddings.astype(np.float64).sum(axis=0) / 20
    np.testing.assert_allclose(centred, expected, atol=1e-6)
    with pytest.raises(EvaluationError, match=r"mean has the shape \(3,\)"):
        subtract_mean(embeddings, np.zeros(3))


def test_mistakes_are_named():
    clips = embeddings_of(3, 16)
    cohort = Cohort.from_embeddings(embeddings_of(5, 17))
    bad = clips.copy()
    bad[1, 2] = np.nan
    with pytest.raises(EvaluationError, match="cohort embedding in row 1 is NaN"):
        Cohort.from_embeddings(bad)
    with raises_code("embedding-without-direction"):
        cohort_statistics(bad, cohort)
    with pytest.raises(EvaluationError, match="cohort has 16 dimensions and the embeddings 15"):
        cohort_statistics(clips[:, :15], cohort)
    with pytest.raises(EvaluationError, match="top_n of at least 2; got 1"):
        cohort_statistics(clips, cohort, top_n=1)
    with pytest.raises(EvaluationError, match="equally like all 4 cohort clips"):
        cohort_statistics(clips, Cohort.from_embeddings(np.tile(clips[:1], (4, 1))), top_n=None)
    with pytest.raises(EvaluationError, match="one speaker for each embedding"):
        Cohort.from_embeddings(clips, speakers=[1, 2])
    trials = PairTrials("", ("a", "b", "c"), np.array([0]), np.array([1]), np.array([True]))
    with pytest.raises(EvaluationError, match="2 test embeddings and the trials have 3"):
        normalised_scores(clips, clips[:2], trials, cohort=cohort)
