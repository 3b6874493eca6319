"""Figures read from the curve beside EER and minDCF, against scikit-learn and loops in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from error_codes import raises_code
from sklearn.metrics import log_loss, roc_auc_score

from mvector.evaluation.costs import NIST_SRE08, NIST_SRE10, NIST_SRE16, VOXCELEB, DetectionCost
from mvector.evaluation.llr_quality import cllr, min_cllr
from mvector.evaluation.metrics import error_rates
from mvector.evaluation.rate_table import rate_table


def overlapping(num_target, num_nontarget, seed=0, decimals=15):
    generator = np.random.default_rng(seed)
    scores = np.concatenate(
        [generator.normal(2.0, 2.0, num_target), generator.normal(-2.0, 2.0, num_nontarget)]
    )
    labels = np.repeat([1, 0], [num_target, num_nontarget])
    order = generator.permutation(len(scores))
    return np.round(scores[order], decimals), labels[order]


CASES = {
    "random": overlapping(80, 150),
    "many ties": overlapping(80, 150, decimals=0),
    "all ties": (np.full(7, 0.25), np.array([1, 0, 0, 1, 0, 0, 0])),
    "separable": (np.array([0.9, 0.8, 0.7, 0.2, 0.1]), np.array([1, 1, 1, 0, 0])),
    "reversed": (np.array([0.1, 0.2, 0.7, 0.8]), np.array([1, 1, 0, 0])),
    "reversed, overlapping": (-overlapping(80, 60)[0], overlapping(80, 60)[1]),
    "one target": (np.linspace(-1, 1, 50), np.arange(50) == 20),
    "one of each": (np.array([0.3, 0.3]), np.array([1, 0])),
    "few non-targets": overlapping(100, 2, seed=4),
    "huge": (1e30 * overlapping(20, 30)[0], overlapping(20, 30)[1]),
}
every_case = pytest.mark.parametrize(
    ("scores", "labels"), list(CASES.values()), ids=list(CASES.keys())
)


def rates(scores, labels, threshold):
    accepted = scores >= threshold
    is_target = labels.astype(bool)
    return np.mean(~accepted[is_target]), np.mean(accepted[~is_target])


def cllr_by_loop(llrs, labels):
    bits = {True: [], False: []}
    for llr, label in zip(llrs, labels, strict=True):
        bits[bool(label)].append(math.log2(1.0 + math.exp(-llr if label else llr)))
    return 0.5 * sum(sum(each) / len(each) for each in bits.values())


def min_cllr_by_hull(scores, labels):
    """The ROC curve's convex hull: each of its edges is one likelihood ratio."""
    points = [rates(scores, labels, t) for t in [*sorted(set(scores.tolist())), np.inf]]
    corner, total = 0, 0.0  # from (FNR 0, FPR 1) on
    while corner < len(points) - 1:
        fnr, fpr = points[corner]
        slopes = [(b - fnr) / (fpr - a) if fpr > a else math.inf for b, a in points[corner + 1 :]]
        flattest = max(k for k, slope in enumerate(slopes) if slope <= min(slopes) + 1e-13)
        b, a = points[corner + 1 + flattest]
        target, nontarget = b - fnr, fpr - a
        if target > 0:
            total += target * math.log2(1.0 + nontarget / target)
        if nontarget > 0:
            total += nontarget * math.log2(1.0 + target / nontarget)
        corner += 1 + flattest
    return 0.5 * total


@every_case
def test_area_is_that_under_the_roc_curve_of_scikit_learn(scores, labels):
    assert error_rates(scores, labels).area() == pytest.approx(
        roc_auc_score(labels, scores), abs=1e-9
    )


@every_case
@pytest.mark.parametrize("threshold", [-3.0, 0.0, 0.25, 0.3, 0.7, 5.0])
def test_errors_at_a_threshold_are_those_of_applying_it(scores, labels, threshold):
    curve = error_rates(scores, labels)
    point = curve.at_threshold(threshold)

    fnr, fpr = rates(scores, labels, threshold)

    assert (point.threshold, point.fnr, point.fpr) == (threshold, fnr, fpr)
    assert point.num_misses == np.count_nonzero((scores < threshold) & (labels == 1))
    assert point.num_false_accepts == np.count_nonzero((scores >= threshold) & (labels == 0))


@every_case
@pytest.mark.parametrize("rate", [0.5, 0.1, 0.01])
def test_one_rate_is_the_best_possible_while_the_other_is_held(scores, labels, rate):
    curve = error_rates(scores, labels)
    points = [rates(scores, labels, t) for t in [*sorted(set(scores.tolist())), np.inf]]

    at_fpr, at_fnr = curve.at_fpr(rate), curve.at_fnr(rate)

    assert at_fpr.fnr == min(fnr for fnr, fpr in points if fpr <= rate)
    assert at_fnr.fpr == min(fpr for fnr, fpr in points if fnr <= rate)
    for point in (at_fpr, at_fnr):
        assert rates(scores, labels, point.threshold) == (point.fnr, point.fpr)


def test_the_table_is_silent_where_there_are_too_few_trials():
    curve = error_rates(*overlapping(50, 400))

    rows = {row.rate: row for row in rate_table(curve)}

    assert rows[0.01].at_far == curve.at_fpr(0.01)
    assert rows[0.01].at_frr is None
    assert rows[0.05].at_frr == curve.at_fnr(0.05)
    assert rows[0.001].at_far is None


@pytest.mark.parametrize("name", [name for name in CASES if name != "huge"])
def test_cllr_is_the_mean_of_bits_over_the_trials(name):
    scores, labels = CASES[name]
    labels = labels.astype(int)
    weights = np.where(labels == 1, 0.5 / labels.sum(), 0.5 / (1 - labels).sum())
    by_scikit_learn = log_loss(labels, 1.0 / (1.0 + np.exp(-scores)), sample_weight=weights)

    measured = cllr(error_rates(scores, labels))

    assert measured == pytest.approx(cllr_by_loop(scores, labels), abs=1e-9)
    assert measured == pytest.approx(by_scikit_learn / math.log(2.0), abs=1e-9)


def test_cllr_of_no_information_is_one_bit_and_of_huge_ratios_finite():
    assert cllr(error_rates([0.0, 0.0, 0.0], [1, 0, 0])) == pytest.approx(1.0, abs=1e-15)
    assert cllr(error_rates([2000.0, -2000.0], [1, 0])) == 0.0
    assert cllr(error_rates([-2000.0, 2000.0], [1, 0])) == pytest.approx(2000.0 / math.log(2.0))


@every_case
def test_min_cllr_is_that_of_the_convex_hull_of_the_roc_curve(scores, labels):
    measured = min_cllr(error_rates(scores, labels))

    assert measured == pytest.approx(min_cllr_by_hull(scores, labels), abs=1e-9)


def test_min_cllr_is_below_the_cllr_of_every_rising_map():
    scores, labels = overlapping(200, 300, seed=2)
    lowest = min_cllr(error_rates(scores, labels))

    assert all(
        lowest < cllr(error_rates(slope * scores + offset, labels))
        for slope in (0.3, 0.7, 1.0, 1.5)
        for offset in (-0.5, 0.0, 0.5)
    )
    rising = error_rates(7.0 * scores - 3.0, labels)
    assert min_cllr(rising) == pytest.approx(lowest, abs=1e-12)


def test_actual_dcf_decides_at_the_threshold_of_bayes():
    scores, labels = overlapping(200, 300)
    for p_target, c_miss, c_fa in [(0.01, 1, 1), (0.05, 1, 1), (0.5, 1, 1), (0.01, 10, 1)]:
        accepted = scores >= math.log(c_fa * (1 - p_target) / (c_miss * p_target))
        fnr, fpr = np.mean(~accepted[labels == 1]), np.mean(accepted[labels == 0])
        cost = c_miss * p_target * fnr + c_fa * (1 - p_target) * fpr

        measured = error_rates(scores, labels).actual_dcf(p_target, c_miss, c_fa)

        assert measured == pytest.approx(
            cost / min(c_miss * p_target, c_fa * (1 - p_target)), abs=1e-9
        )
        assert measured >= error_rates(scores, labels).min_dcf(p_target, c_miss, c_fa).min_dcf


def test_published_costs_have_their_names():
    assert [cost.p_target for cost in VOXCELEB] == [0.01, 0.05]
    assert (DetectionCost(0.01, 10.0, 1.0),) == NIST_SRE08
    assert [cost.p_target for cost in NIST_SRE10] == [0.001]
    assert [cost.p_target for cost in NIST_SRE16] == [0.01, 0.005]
    assert VOXCELEB[0].llr_threshold == pytest.approx(math.log(99.0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_refused(value):
    with raises_code("scores-not-finite"):
        error_rates([0.1, value, 0.3], [1, 0, 0])
