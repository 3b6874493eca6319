"""Error rates of all pairs without keeping their scores, against a sort of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from error_codes import raises_code

from mvector.errors import EvaluationError
from mvector.evaluation import error_rates, streaming
from mvector.evaluation.costs import NIST_SRE08, NIST_SRE10, VOXCELEB
from mvector.evaluation.rate_table import RATES
from mvector.evaluation.streaming import all_pairs_error_rates
from mvector.scoring import all_pairs, cosine_scores

COSTS = VOXCELEB + NIST_SRE10 + NIST_SRE08


def clips(speakers, spread, seed, dimensions=24):
    centres = np.random.default_rng(0).normal(size=(speakers.max() + 1, dimensions))
    noise = np.random.default_rng(seed).normal(size=(len(speakers), dimensions))
    return (centres[speakers] + spread * noise).astype(np.float32)


def both_ways(num_enroll, num_test, num_speakers, spread, shared=0, **options):
    rng = np.random.default_rng(3)
    enrolled, tested = (rng.integers(0, num_speakers, n) for n in (num_enroll, num_test))
    tested[:shared] = enrolled[:shared]
    names = [f"e{k}" for k in range(num_enroll)]
    trials = all_pairs(
        names, enrolled, names[:shared] + [f"t{k}" for k in range(shared, num_test)], tested
    )
    enroll, test = clips(enrolled, spread, 1), clips(tested, spread, 2)
    test[:shared] = enroll[:shared]
    streamed = all_pairs_error_rates(enroll, test, trials, costs=COSTS, **options)
    block_size = {k: v for k, v in options.items() if k == "block_size"}
    sorted_ = error_rates(cosine_scores(enroll, test, trials, **block_size), trials.labels)
    return streamed, sorted_


def assert_same_figures(streamed, sorted_):
    assert streamed.eer() == pytest.approx(sorted_.eer(), abs=1e-12)
    assert streamed.best_accuracy() == pytest.approx(sorted_.best_accuracy(), abs=1e-12)
    for cost in COSTS:
        one, other = (
            curve.min_dcf(cost.p_target, cost.c_miss, cost.c_fa) for curve in (streamed, sorted_)
        )
        assert one == other
    for rate in RATES:
        assert streamed.at_fpr(rate) == sorted_.at_fpr(rate)
        assert streamed.at_fnr(rate) == sorted_.at_fnr(rate)


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0, 100.0])
@pytest.mark.parametrize("block_size", [10_000, 4_194_304])
def test_every_wanted_point_is_that_of_a_full_sort(spread, block_size):
    streamed, sorted_ = both_ways(250, 600, 40, spread, block_size=block_size)

    assert_same_figures(streamed, sorted_)
    assert (streamed.num_target, streamed.num_nontarget) == (
        sorted_.num_target,
        sorted_.num_nontarget,
    )


def test_a_clip_against_itself_is_no_trial():
    assert_same_figures(*both_ways(200, 300, 30, 1.0, shared=150, block_size=5000))


def test_speakers_of_one_list_only_and_of_two_clips_are_counted():
    assert_same_figures(*both_ways(20, 500, 400, 1.0))


def test_every_other_point_of_the_curve_is_true_too():
    streamed, sorted_ = both_ways(250, 600, 40, 1.0)

    place = np.searchsorted(sorted_.thresholds, streamed.thresholds)

    np.testing.assert_array_equal(streamed.fnr, sorted_.fnr[place])
    np.testing.assert_array_equal(streamed.fpr, sorted_.fpr[place])
    assert len(streamed.thresholds) < len(sorted_.thresholds)
    assert streamed.area() == pytest.approx(sorted_.area(), abs=1e-4)


def test_scores_that_are_nearly_all_equal_are_told_apart(monkeypatch):
    monkeypatch.setattr(streaming, "_MAX_PENDING", 1000)  # counts are merged many times
    rng = np.random.default_rng(0)
    speakers = np.arange(300) % 20
    paths = [f"c{k}" for k in range(300)]
    trials = all_pairs(paths[:150], speakers[:150], paths[150:], speakers[150:])
    one = np.ones(16) + 1e-3 * rng.normal(size=(20, 16))[speakers]
    one = (one + 1e-3 * rng.normal(size=one.shape)).astype(np.float32)
    one[:30] = 1.0

    streamed = all_pairs_error_rates(one[:150], one[150:], trials, costs=COSTS, block_size=4000)
    sorted_ = error_rates(
        cosine_scores(one[:150], one[150:], trials, block_size=4000), trials.labels
    )

    assert_same_figures(streamed, sorted_)


def test_trials_of_one_kind_and_clips_without_direction_are_refused():
    trials = all_pairs(["a"], [0], ["b", "c"], [1, 1])
    with raises_code("trials-of-one-kind"):
        all_pairs_error_rates(np.ones((1, 4)), np.ones((2, 4)), trials)
    trials = all_pairs(["a"], [0], ["b", "c"], [0, 0])
    with raises_code("trials-of-one-kind"):
        all_pairs_error_rates(np.ones((1, 4)), np.ones((2, 4)), trials)
    trials = all_pairs(["a"], [0], ["b", "c"], [0, 1])
    with pytest.raises(EvaluationError, match=r"test embedding 0 \('b'\) .* is zero"):
        all_pairs_error_rates(np.ones((1, 4)), np.zeros((2, 4)), trials)


def test_targets_are_counted_without_labels_for_each_trial():
    rng = np.random.default_rng(5)
    speakers = rng.integers(0, 9, 80)
    paths = [f"c{k}" for k in range(80)]

    trials = all_pairs(paths[:50], speakers[:50], paths[20:], speakers[20:])

    assert trials.num_target == np.count_nonzero(trials.labels)
    assert len(trials) == len(trials.labels)
