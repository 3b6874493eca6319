"""EER, minDCF and accuracy, against scikit-learn, SciPy and loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from mvector.errors import EvaluationError
from mvector.evaluation import compute_eer, compute_min_dcf, error_rates


def overlapping(num_target, num_nontarget, seed=0, dtype=np.float64):
    generator = np.random.default_rng(seed)
    scores = np.concatenate(
        [generator.normal(0.5, 0.2, num_target), generator.normal(0.1, 0.15, num_nontarget)]
    ).astype(dtype)
    labels = np.repeat([1, 0], [num_target, num_nontarget])
    order = generator.permutation(len(scores))
    return scores[order], labels[order]


def tied(num_target, num_nontarget, decimals, seed=0):
    scores, labels = overlapping(num_target, num_nontarget, seed)
    return np.round(scores, decimals), labels


CASES = {
    "random": overlapping(150, 350),
    "float32": overlapping(150, 350, seed=1, dtype=np.float32),
    "odd counts": overlapping(37, 211, seed=2),
    "few distinct values": tied(200, 500, decimals=1),
    "three distinct values": tied(50, 90, decimals=0),
    "separable": (np.array([0.9, 0.8, 0.7, 0.2, 0.1]), np.array([1, 1, 1, 0, 0])),
    "inverted": (-overlapping(80, 60)[0], overlapping(80, 60)[1]),
    "inverted and separable": (np.array([0.1, 0.2, 0.7, 0.8]), np.array([1, 1, 0, 0])),
    "all scores equal": (np.full(7, 0.25), np.array([1, 0, 0, 1, 0, 0, 0])),
    "one target below": (np.linspace(0, 1, 50), np.arange(50) == 10),
    "one target on top": (np.linspace(0, 1, 50), np.arange(50) == 49),
    "one target at the bottom": (np.linspace(0, 1, 50), np.arange(50) == 0),
    "one of each": (np.array([0.3, 0.3]), np.array([1, 0])),
    "few targets among many": overlapping(2, 600, seed=3),
    "few non-targets among many": overlapping(600, 2, seed=4),
    "negative scores": (overlapping(40, 60)[0] - 5.0, overlapping(40, 60)[1]),
    "integer scores": (np.array([3, 1, 2, 2, 0]), np.array([1, 0, 1, 0, 0])),
}
every_case = pytest.mark.parametrize(
    ("scores", "labels"), list(CASES.values()), ids=list(CASES.keys())
)


def reference_eer(scores, labels):
    """Where 1 - TPR = FPR on scikit-learn's ROC curve, joined by straight lines."""
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    # A root finder needs a function of FPR; at a vertical step of the curve it finds the jump.
    joined = interp1d(fpr, tpr)
    return brentq(lambda x: 1.0 - x - joined(x), 0.0, 1.0, xtol=1e-14)


def rates_by_loop(scores, labels):
    """(threshold, FNR, FPR) at every distinct score and above all, by counting."""
    scores = np.asarray(scores, dtype=np.float64)
    target, nontarget = scores[np.asarray(labels) == 1], scores[np.asarray(labels) == 0]
    points = []
    for threshold in [*sorted(set(scores.tolist())), np.inf]:
        missed = sum(score < threshold for score in target)
        accepted = sum(score >= threshold for score in nontarget)
        points.append((threshold, missed / len(target), accepted / len(nontarget)))
    return points


@every_case
def test_eer_is_that_of_the_interpolated_roc_curve(scores, labels):
    eer, threshold = compute_eer(scores, labels)

    assert eer == pytest.approx(reference_eer(scores, labels), abs=1e-9)
    assert np.isfinite(threshold)


@every_case
def test_eer_and_threshold_divide_the_crossing_segment_alike(scores, labels):
    points = rates_by_loop(scores, labels)
    after = next(i for i, (_, fnr, fpr) in enumerate(points) if fnr >= fpr)
    (low, fnr_0, fpr_0), (high, fnr_1, fpr_1) = points[after - 1], points[after]
    part = (fpr_0 - fnr_0) / ((fpr_0 - fnr_0) + (fnr_1 - fpr_1))
    high = min(high, np.max(scores))  # reject-all lies just above the highest score

    eer, threshold = compute_eer(scores, labels)

    assert eer == pytest.approx(fnr_0 + part * (fnr_1 - fnr_0), abs=1e-9)
    assert eer == pytest.approx(fpr_0 + part * (fpr_1 - fpr_0), abs=1e-9)
    assert threshold == pytest.approx(low + part * (high - low), abs=1e-6)


@every_case
@pytest.mark.parametrize(
    ("p_target", "c_miss", "c_fa"),
    [(0.01, 1, 1), (0.05, 1, 1), (0.5, 1, 1), (0.01, 10, 1), (0.9, 1, 3)],
)
def test_min_dcf_is_the_lowest_cost_over_all_thresholds(scores, labels, p_target, c_miss, c_fa):
    expected = min(
        (c_miss * p_target * fnr + c_fa * (1 - p_target) * fpr)
        / min(c_miss * p_target, c_fa * (1 - p_target))
        for _, fnr, fpr in rates_by_loop(scores, labels)
    )

    assert compute_min_dcf(scores, labels, p_target, c_miss, c_fa) == pytest.approx(
        expected, abs=1e-9
    )


@every_case
def test_min_dcf_threshold_reaches_its_cost_when_applied(scores, labels):
    point = error_rates(scores, labels).min_dcf()

    accepted = scores >= point.threshold
    fnr, fpr = np.mean(~accepted[labels == 1]), np.mean(accepted[labels == 0])

    assert (point.fnr, point.fpr) == pytest.approx((fnr, fpr), abs=1e-12)
    assert (0.01 * fnr + 0.99 * fpr) / 0.01 == pytest.approx(point.min_dcf, abs=1e-9)


@every_case
def test_best_accuracy_is_the_highest_over_all_thresholds(scores, labels):
    accuracy, threshold = error_rates(scores, labels).best_accuracy()

    expected = max(
        np.mean((scores >= candidate) == (labels == 1))
        for candidate in [*np.unique(scores), np.inf]
    )
    assert accuracy == pytest.approx(expected, abs=1e-12)
    assert np.mean((scores >= threshold) == (labels == 1)) == pytest.approx(expected, abs=1e-12)


@every_case
def test_curve_holds_one_point_per_distinct_score_and_reject_all(scores, labels):
    curve = error_rates(scores, labels)

    expected = np.array(rates_by_loop(scores, labels))
    np.testing.assert_array_equal(curve.thresholds[:-1], expected[:-1, 0])
    np.testing.assert_allclose(curve.fnr, expected[:, 1], atol=1e-12)
    np.testing.assert_allclose(curve.fpr, expected[:, 2], atol=1e-12)
    # As a plain float, which takes the type of the scores when compared.
    assert not np.any(scores >= float(curve.thresholds[-1]))


@pytest.mark.parametrize("max_fpr", [0.5, 0.1, 0.01])
def test_threshold_at_fpr_is_the_lowest_that_keeps_the_rate(max_fpr):
    scores, labels = overlapping(100, 400, seed=5)

    threshold = error_rates(scores, labels).threshold_at_fpr(max_fpr)

    kept = [point[0] for point in rates_by_loop(scores, labels) if point[2] <= max_fpr]
    assert threshold == min(kept)


@pytest.mark.parametrize(("num_nontarget", "measurable"), [(99, False), (100, True)])
def test_threshold_at_fpr_needs_enough_non_targets_to_measure_it(num_nontarget, measurable):
    curve = error_rates(*overlapping(50, num_nontarget))

    assert (curve.threshold_at_fpr(0.01) is not None) == measurable


def test_equal_scores_have_the_eer_of_a_coin():
    eer, threshold = compute_eer([0.4] * 6, [1, 0, 0, 0, 0, 0])

    assert eer == pytest.approx(0.5)
    assert threshold == pytest.approx(0.4)


def test_deciding_without_listening_costs_one():
    assert compute_min_dcf([0.4] * 6, [1, 0, 0, 0, 0, 0]) == pytest.approx(1.0)


def test_separable_scores_have_no_errors():
    scores, labels = CASES["separable"]

    assert compute_eer(scores, labels) == (0.0, 0.7)
    assert compute_min_dcf(scores, labels) == 0.0
    assert error_rates(scores, labels).best_accuracy() == (1.0, 0.7)


@pytest.mark.parametrize("kind", [list, tuple, np.float32, np.float64])
def test_scores_and_labels_may_come_in_any_plain_form(kind):
    scores, labels = [0.75, 0.5, 0.25, 0.0], [True, False, 1, 0]
    if kind in (list, tuple):
        given = compute_eer(kind(scores), kind(labels))
    else:
        given = compute_eer(np.array(scores, dtype=kind), np.array(labels, dtype=kind))

    assert given == pytest.approx((0.5, 0.5))


def test_inputs_stay_as_they_were():
    scores, labels = overlapping(20, 30)
    kept_scores, kept_labels = scores.copy(), labels.copy()

    compute_eer(scores, labels)

    np.testing.assert_array_equal(scores, kept_scores)
    np.testing.assert_array_equal(labels, kept_labels)


def test_a_million_trials_agree_with_scikit_learn():
    scores, labels = overlapping(20_000, 980_000, seed=6, dtype=np.float32)

    assert compute_eer(scores, labels)[0] == pytest.approx(reference_eer(scores, labels), abs=1e-9)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, 0.2], [1], "2 scores and 1 labels"),
        ([0.1, 0.2], [0, 0], "no target trials"),
        ([0.1, 0.2], [1, 1], "no non-target trials"),
        ([], [], "no target trials"),
        ([0.1, np.nan, np.nan, 0.4], [1, 0, 1, 0], "2 of 4 scores .* NaN"),
        ([0.1, np.inf], [1, 0], "1 of 2 scores are NaN or infinite"),
        ([0.1, 0.2, 0.3], [1, 0, 2], "1 of 3 labels are neither 0 nor 1"),
        ([0.1, 0.2, 0.3], [1, 0, -1], "1 of 3 labels are neither 0 nor 1"),
        ([0.1, 0.2], [1.0, 0.5], "1 of 2 labels are neither 0 nor 1"),
        ([[0.1, 0.2]], [[1, 0]], r"shape \(num_trials,\)"),
        (["high", "low"], [1, 0], "Scores must be numbers"),
        ([0.1, 0.2], ["1", "0"], "Labels must be numbers"),
    ],
)
def test_trials_without_an_error_rate_are_refused_in_words(scores, labels, message):
    with pytest.raises(EvaluationError, match=message):
        compute_eer(scores, labels)
    with pytest.raises(EvaluationError, match=message):
        compute_min_dcf(scores, labels)
    with pytest.raises(EvaluationError, match=message):
        error_rates(scores, labels)


@pytest.mark.parametrize("costs", [(0.0, 1, 1), (1.0, 1, 1), (0.01, 0, 1), (0.01, 1, -1)])
def test_a_prior_or_cost_out_of_range_is_refused(costs):
    with pytest.raises(EvaluationError, match="0 < p_target < 1"):
        compute_min_dcf([0.1, 0.2], [0, 1], *costs)
