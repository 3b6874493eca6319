"""Intervals by drawing speakers, against the trials written out as often as they count."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from mvector.errors import EvaluationError
from mvector.evaluation import bootstrap, compute_eer, compute_min_dcf
from mvector.evaluation.bootstrap import bootstrap_difference, bootstrap_intervals
from mvector.evaluation.costs import VOXCELEB
from mvector.scoring import all_pairs
from mvector.scoring.trial_speakers import trial_speakers
from mvector.scoring.trials import EnrolmentModels, PairTrials


def trials_of(num_speakers, clips_each, seed, spread=0.3):
    """Scores that some speakers find harder than others."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(num_speakers), clips_each)
    first, second = np.triu_indices(len(speakers), 1)
    enrolled, tested = speakers[first], speakers[second]
    labels = enrolled == tested
    hard = rng.normal(0.0, spread, num_speakers)
    scores = np.where(labels, 1.0, 0.0) + hard[enrolled] + hard[tested]
    return scores + rng.normal(0.0, 0.3, len(labels)), labels, enrolled, tested


def written_out(scores, labels, enrolled, tested, draws):
    times = np.where(enrolled == tested, draws[enrolled], draws[enrolled] * draws[tested])
    return np.repeat(scores, times), np.repeat(labels, times)


def quantiles(values):
    return np.quantile(values, [0.025, 0.975])


@pytest.mark.parametrize("decimals", [15, 1])
def test_each_replicate_is_the_error_rate_of_its_trials_written_out(decimals):
    scores, labels, enrolled, tested = trials_of(12, 4, seed=0)
    scores = np.round(scores, decimals)
    draws = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), 50)
    expected = [written_out(scores, labels, enrolled, tested, draw) for draw in draws]

    result = bootstrap_intervals(scores, labels, enrolled, tested, num_replicates=50, seed=7)

    eers = [compute_eer(*each)[0] for each in expected]
    assert (result.eer.low, result.eer.high) == pytest.approx(quantiles(eers), abs=1e-9)
    assert result.eer.estimate == compute_eer(scores, labels)[0]
    for interval, cost in zip(result.min_dcf, VOXCELEB, strict=True):
        dcfs = [compute_min_dcf(*each, cost.p_target) for each in expected]
        assert (interval.low, interval.high) == pytest.approx(quantiles(dcfs), abs=1e-9)
    assert (result.num_speakers, result.num_replicates) == (12, 50)


def test_the_difference_is_taken_replicate_by_replicate():
    scores, labels, enrolled, tested = trials_of(12, 4, seed=0)
    other = scores + np.random.default_rng(1).normal(0.0, 0.3, len(scores))
    draws = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), 50)

    result = bootstrap_difference(
        scores, other, labels, enrolled, tested, num_replicates=50, seed=7
    )

    differences = [
        compute_eer(*written_out(scores, labels, enrolled, tested, draw))[0]
        - compute_eer(*written_out(other, labels, enrolled, tested, draw))[0]
        for draw in draws
    ]
    assert (result.eer.low, result.eer.high) == pytest.approx(quantiles(differences), abs=1e-9)
    expected = compute_eer(scores, labels)[0] - compute_eer(other, labels)[0]
    assert result.eer.estimate == pytest.approx(expected, abs=1e-12)


def test_a_system_is_no_better_than_itself():
    scores, labels, enrolled, tested = trials_of(30, 3, seed=0)

    result = bootstrap_difference(
        scores, 2.0 * scores - 1.0, labels, enrolled, tested, num_replicates=20
    )

    assert (result.eer.low, result.eer.high) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    truth = compute_eer(*trials_of(800, 2, seed=99)[:2])[0]
    num_held = 0
    for seed in range(40):
        result = bootstrap_intervals(*trials_of(25, 2, seed), num_replicates=150)
        num_held += result.eer.low <= truth <= result.eer.high

    assert num_held >= 33  # 38 by right


def test_thinned_thresholds_hardly_move_the_intervals(monkeypatch):
    scores, labels, enrolled, tested = trials_of(60, 4, seed=3)
    options = {"num_replicates": 40}
    exact = bootstrap_intervals(scores, labels, enrolled, tested, **options)
    monkeypatch.setattr(bootstrap, "_MAX_EXACT_POINTS", 100)

    thinned = bootstrap_intervals(scores, labels, enrolled, tested, **options)

    assert thinned.eer.estimate == exact.eer.estimate
    for one, other in zip(
        [thinned.eer, *thinned.min_dcf], [exact.eer, *exact.min_dcf], strict=True
    ):
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=5e-3)


def test_the_pieces_it_works_in_leave_no_trace(monkeypatch):
    given = trials_of(25, 3, seed=0)
    whole = bootstrap_intervals(*given, num_replicates=30)
    monkeypatch.setattr(bootstrap, "_MAX_ARRAY_SIZE", 1)

    assert bootstrap_intervals(*given, num_replicates=30) == whole


def test_speakers_may_be_names():
    scores, labels, enrolled, tested = trials_of(25, 3, seed=0)
    names = np.array([f"id{k:03d}" for k in range(25)])

    assert bootstrap_intervals(
        scores, labels, names[enrolled], names[tested], num_replicates=20
    ) == bootstrap_intervals(scores, labels, enrolled, tested, num_replicates=20)


def test_too_few_speakers_are_refused_or_warned_of(caplog):
    with pytest.raises(EvaluationError, match="all trials are of one"):
        bootstrap_intervals([0.1, 0.2], [1, 0], [0, 0], [0, 0])
    with pytest.raises(EvaluationError, match="most draws leave no target"):
        bootstrap_intervals([0.1] * 6, [1, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5], [0, 6, 6, 6, 6, 6])
    with pytest.raises(EvaluationError, match="are of 4 speakers, and an interval needs 5 or more"):
        bootstrap_intervals(*trials_of(4, 3, seed=0), num_replicates=20)
    with caplog.at_level(logging.WARNING):
        bootstrap_intervals(*trials_of(8, 3, seed=0), num_replicates=20)
    assert "Only 8 speakers" in caplog.text


def test_speakers_that_do_not_fit_the_trials_are_refused():
    with pytest.raises(EvaluationError, match="one of each side for each trial"):
        bootstrap_intervals([0.1, 0.2], [1, 0], [0, 1], [0])
    with pytest.raises(EvaluationError, match="2 trials and speakers of 5"):
        bootstrap_intervals([0.1, 0.2], [1, 0], [0, 1, 2, 3, 4], [0, 1, 1, 1, 1])


def test_speakers_of_all_pairs_are_those_of_the_lists():
    trials = all_pairs(["a", "b", "c"], [5, 6, 7], ["b", "d"], [6, 7])

    enrolled, tested = trial_speakers(trials)

    assert enrolled.tolist() == [5, 7, 5, 6, 7]
    assert tested.tolist() == [6, 6, 7, 7, 7]
    assert ((enrolled == tested) == trials.labels).all()


def test_target_trials_join_the_clips_of_a_speaker():
    first, second = np.array([0, 1, 3, 0, 2], np.int32), np.array([1, 2, 4, 3, 5], np.int32)
    trials = PairTrials("list", tuple("abcdef"), first, second, np.array([1, 1, 1, 0, 0], bool))

    enrolled, tested = trial_speakers(trials)

    a, d, f = enrolled[0], enrolled[2], tested[4]
    assert len({a, d, f}) == 3
    assert enrolled.tolist() == [a, a, d, a, a]
    assert tested.tolist() == [a, a, d, d, f]


def test_a_model_is_of_the_speaker_of_its_clips():
    models = EnrolmentModels(
        ("m", "n"), np.array([0, 1, 2], np.int32), np.array([0, 2, 3], np.int64)
    )
    trials = PairTrials(
        "list",
        tuple("abcd"),
        np.array([0, 1, 1], np.int32),
        np.array([3, 1, 0], np.int32),
        np.array([True, False, False]),
        models,
    )

    enrolled, tested = trial_speakers(trials)

    assert tested.tolist() == [enrolled[0]] * 3
    assert enrolled[1] == enrolled[2] != enrolled[0]
