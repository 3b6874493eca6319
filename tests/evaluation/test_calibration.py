"""Calibration, against scikit-learn, SciPy and the closed form for normal scores."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import yaml
from error_codes import raises_code
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from mvector.errors import CheckpointError, EvaluationError
from mvector.evaluation import Calibration, calibrate, compute_eer, compute_min_dcf, error_rates
from mvector.evaluation.quality import TRIAL_MEASURES


def normal_scores(num_target, num_nontarget, spread=0.12, seed=0):
    generator = np.random.default_rng(seed)
    scores = np.concatenate(
        [generator.normal(0.5, spread, num_target), generator.normal(0.1, spread, num_nontarget)]
    )
    return scores.astype(np.float32), np.repeat([1, 0], [num_target, num_nontarget])


@pytest.fixture(scope="module")
def calibration():
    return calibrate(*normal_scores(2000, 5000), description="a test")


def test_normal_scores_of_equal_spread_give_the_closed_form(calibration):
    """log N(s; 0.5, v) - log N(s; 0.1, v) = (0.4 s - (0.25 - 0.01) / 2) / v."""
    variance = 0.12**2

    assert calibration.slope == pytest.approx(0.4 / variance, rel=0.05)
    assert -calibration.offset / calibration.slope == pytest.approx(0.3, abs=0.01)


def cost_by_hand(weights, columns, labels, p_target):
    """Prior-weighted cross-entropy of weights[0] + columns @ weights[1:], trial by trial."""
    shift = logit(p_target)
    llrs = weights[0] + columns @ weights[1:]
    missed = np.logaddexp(0.0, -(llrs[labels == 1] + shift)).mean()
    accepted = np.logaddexp(0.0, llrs[labels == 0] + shift).mean()
    return p_target * missed + (1 - p_target) * accepted


def best_by_scipy(columns, labels, p_target, start):
    def gradient(weights, *_):
        log_odds = weights[0] + columns @ weights[1:] + logit(p_target)
        weight = np.where(labels == 1, p_target / sum(labels), (1 - p_target) / sum(1 - labels))
        return np.column_stack([np.ones(len(labels)), columns]).T @ (
            weight * (expit(log_odds) - labels)
        )

    options = {"gtol": 1e-12, "maxiter": 10_000}
    found = minimize(
        cost_by_hand, start, (columns, labels, p_target), "BFGS", jac=gradient, options=options
    )
    return found.x


@pytest.mark.parametrize("counts", [(3000, 3000), (400, 4000), (4000, 400)])
@pytest.mark.parametrize("p_target", [0.5, 0.01])
def test_fit_is_the_minimum_of_the_prior_weighted_cross_entropy(counts, p_target):
    scores, labels = normal_scores(*counts, seed=1)
    columns = scores[:, None].astype(float)

    fitted = calibrate(scores, labels, description="", p_target=p_target)

    offset, slope = best_by_scipy(columns, labels, p_target, (-8.0, 27.0))
    assert fitted.slope == pytest.approx(slope, rel=1e-6)
    assert fitted.offset == pytest.approx(offset, rel=1e-6)


def test_fit_is_the_class_balanced_logistic_regression_of_scikit_learn():
    scores, labels = normal_scores(500, 2000, seed=6)
    model = LogisticRegression(C=1e12, class_weight="balanced", tol=1e-12, max_iter=10_000)
    model.fit(scores[:, None].astype(float), labels)

    fitted = calibrate(scores, labels, description="")

    assert fitted.slope == pytest.approx(model.coef_[0, 0], rel=1e-5)
    assert fitted.offset == pytest.approx(model.intercept_[0], rel=1e-5)


@pytest.mark.parametrize("outlier", [None, 1e4])
def test_the_line_of_very_many_trials_is_that_of_all_of_them(outlier):
    scores, labels = normal_scores(50_000, 350_000, seed=7)
    columns = scores[:, None].astype(float)
    if outlier is not None:
        columns[-1] = outlier  # one stranger above all others: bins over all scores would be coarse

    fitted = calibrate(columns[:, 0], labels, description="")

    start = (fitted.offset, fitted.slope)
    at_fit = cost_by_hand(np.array(start), columns, labels, 0.5)
    offset, slope = best_by_scipy(columns, labels, 0.5, start)
    assert fitted.slope == pytest.approx(slope, rel=1e-6)
    assert fitted.offset == pytest.approx(offset, rel=1e-6)
    assert at_fit < cost_by_hand(np.array(start) * 1.001, columns, labels, 0.5)


def test_the_fit_ends_where_rounding_leaves_nothing_to_gain(monkeypatch):
    generator = np.random.default_rng(0)
    labels = np.arange(5000) % 20 == 0
    targets, nontargets = generator.normal(0.5, 0.15, 5000), generator.normal(0.0, 0.12, 5000)
    scores = np.where(labels, targets, nontargets)
    scores[1] = 1e4
    num_steps, solve = [], np.linalg.lstsq
    monkeypatch.setattr(np.linalg, "lstsq", lambda *a, **k: num_steps.append(1) or solve(*a, **k))

    calibrate(scores, labels, description="")

    assert 1 < len(num_steps) < 20


def test_balance_of_the_trials_does_not_move_the_ratio():
    even = calibrate(*normal_scores(4000, 4000, seed=2), description="")
    skewed = calibrate(*normal_scores(4000, 100_000, seed=3), description="")

    at = np.array([0.1, 0.3, 0.5])
    np.testing.assert_allclose(even.llr(at), skewed.llr(at), atol=0.6)


def test_thresholds_and_figures_are_those_of_the_metrics(calibration):
    scores, labels = normal_scores(2000, 5000)

    assert (calibration.eer, calibration.threshold_eer) == compute_eer(scores, labels)
    assert calibration.min_dcf == compute_min_dcf(scores, labels, p_target=0.01)
    best = error_rates(scores, labels).best_accuracy()
    assert (calibration.accuracy, calibration.threshold_best_accuracy) == best
    accepted = scores >= calibration.threshold_min_dcf
    cost = np.mean(~accepted[labels == 1]) + 99 * np.mean(accepted[labels == 0])
    assert cost == pytest.approx(calibration.min_dcf, abs=1e-9)
    assert (calibration.num_target, calibration.num_nontarget) == (2000, 5000)
    assert calibration.description == "a test"


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("threshold_far_1pct", 0.01),
        ("threshold_far_0_1pct", 0.001),
        ("threshold_far_0_01pct", 0.0001),
    ],
)
def test_far_thresholds_keep_the_rate_and_no_lower_score_does(name, rate):
    scores, labels = normal_scores(100, 30_000)
    threshold = getattr(calibrate(scores, labels, description=""), name)
    lower = scores[scores < threshold].max()

    assert np.mean(scores[labels == 0] >= threshold) <= rate
    assert np.mean(scores[labels == 0] >= lower) > rate


def test_errors_behind_each_threshold_are_counted():
    scores, labels = normal_scores(300, 20_000, seed=8)

    points = calibrate(scores, labels, description="").operating_points()

    assert [point.purpose for point in points] == [
        "eer",
        "min_dcf",
        "far_1pct",
        "far_0_1pct",
        "far_0_01pct",
    ]
    for point in points:
        accepted = scores >= point.threshold
        assert point.errors.num_misses == np.count_nonzero(~accepted & (labels == 1))
        assert point.errors.num_false_accepts == np.count_nonzero(accepted & (labels == 0))
        assert point.fnr == pytest.approx(np.mean(~accepted[labels == 1]))
        assert point.fpr == pytest.approx(np.mean(accepted[labels == 0]))


@pytest.mark.parametrize(
    ("num_nontarget", "purpose", "doubt"),
    [
        (3000, "far_1pct", None),
        (2999, "far_1pct", "rests on 29 false acceptances; 30 take about 3,000 non-target trials"),
        (30_000, "far_0_1pct", None),
        (29_999, "far_0_1pct", "rests on 29 false acceptances; 30 take about 30,000"),
        (30_000, "far_0_01pct", "rests on 3 false acceptances; 30 take about 300,000"),
        (9999, "far_0_01pct", "cannot be measured with 9,999 non-target trials: it takes 10,000"),
    ],
)
def test_thresholds_with_fewer_than_thirty_errors_are_doubted(num_nontarget, purpose, doubt):
    measured = calibrate(*normal_scores(500, num_nontarget, seed=9), description="")
    (point,) = [point for point in measured.operating_points() if point.purpose == purpose]

    assert point.doubt is None if doubt is None else point.doubt.startswith(doubt)


@pytest.mark.parametrize(("num_target", "is_doubted"), [(200, True), (5000, False)])
def test_the_equal_error_rate_needs_thirty_errors_of_both_kinds(num_target, is_doubted):
    measured = calibrate(*normal_scores(num_target, 5000, seed=10), description="")

    assert (measured.operating_points()[0].doubt is not None) == is_doubted


def test_verdicts_cannot_tell_scores_of_strangers_that_many_of_one_person_reach():
    scores, labels = normal_scores(2000, 8000, seed=3)
    measured = calibrate(scores, labels, description="")

    same, different = measured.limits()

    assert np.mean(scores[labels == 0] >= same) == pytest.approx(0.01, abs=1e-3)
    assert np.mean(scores[labels == 1] < different) == pytest.approx(0.05, abs=1e-3)
    assert measured.inconclusive_scores == (different, same)
    for point, far in (("eer", measured.eer), ("far_0_1pct", 0.001)):
        same, _ = measured.limits(point)
        assert np.mean(scores[labels == 0] >= same) == pytest.approx(far, abs=1e-3)


def test_limits_leave_nothing_between_where_hardly_anybody_is_mistaken():
    scores, labels = normal_scores(2000, 8000, seed=3)
    measured = calibrate(scores + 3.0 * labels, labels, description="")

    same, different = measured.limits()

    assert same == different == measured.threshold_eer > measured.threshold_far_1pct
    assert measured.inconclusive_scores is None


def test_limits_that_were_not_measured_take_plain_evidence(calibration):
    unmeasured = replace(calibration, threshold_far_1pct=None, threshold_miss_5pct=None)

    same, different = unmeasured.limits()

    assert np.exp(unmeasured.llr(different)) == pytest.approx(0.1)
    plain = (np.log(10.0) - unmeasured.offset) / unmeasured.slope
    assert same == pytest.approx(max(plain, unmeasured.threshold_eer))


def test_no_range_is_told_where_higher_scores_do_not_mean_the_same_speaker():
    scores, labels = normal_scores(100, 100)

    assert calibrate(scores, 1 - labels, description="").inconclusive_scores is None


def noisy_scores(num_trials, seed, known=(0, 1)):
    """Scores that short clips shift and blur; some measures of each trial, the others unknown."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, num_trials)
    quality = np.full((num_trials, len(TRIAL_MEASURES)), np.nan)
    quality[:, known] = generator.normal(size=(num_trials, len(known)))
    quality[:, 0] = generator.uniform(0, 2, num_trials)
    scores = generator.normal(0.3 * labels - 0.2 * quality[:, 0], 0.12)
    return scores, labels, quality


def test_quality_measures_join_the_regression():
    scores, labels, quality = noisy_scores(3000, 11)

    fitted = calibrate(scores, labels, description="", quality=quality)

    (ratio,) = fitted.ratios
    assert ratio.measures == TRIAL_MEASURES[:2]
    taken = quality[:, :2]
    expected = best_by_scipy(np.column_stack([scores, taken]), labels, 0.5, np.zeros(4))
    np.testing.assert_allclose(ratio.weights, expected, rtol=1e-5, atol=1e-6)
    llrs = fitted.llr(scores, quality)
    np.testing.assert_allclose(
        llrs, expected[0] + expected[1] * scores + taken @ expected[2:], rtol=1e-5, atol=1e-5
    )
    assert fitted.llr(float(scores[3]), quality[3]) == pytest.approx(llrs[3])
    assert compute_eer(llrs, labels)[0] < 0.75 * fitted.eer


def test_a_ratio_has_limits_of_its_own():
    scores, labels, quality = noisy_scores(5000, 14)
    fitted = calibrate(scores, labels, description="", quality=quality)
    llrs = fitted.llr(scores, quality)

    (ratio,) = fitted.ratios

    assert ratio.thresholds["eer"] == pytest.approx(compute_eer(llrs, labels)[1])
    for point, far in (("far_1pct", 0.01), ("far_0_1pct", 0.001)):
        accepted = np.mean(llrs[labels == 0] >= ratio.thresholds[point])
        assert accepted == pytest.approx(far, abs=1e-3)
    assert "far_0_01pct" not in ratio.thresholds  # fewer than 10,000 pairs of two people
    assert np.mean(llrs[labels == 1] < ratio.different) == pytest.approx(0.05, abs=1e-3)
    measured = ratio.limits("far_1pct", 1.0, -1.0)
    assert measured == (ratio.thresholds["far_1pct"], ratio.different)
    assert ratio.limits("far_0_01pct", 9.0, -1.0) == (9.0, ratio.different)


def test_each_trial_is_judged_by_the_ratio_that_knows_most_of_it():
    known = tuple(range(len(TRIAL_MEASURES)))
    scores, labels, quality = noisy_scores(2000, 16, known)
    fitted = calibrate(scores, labels, description="", quality=quality)
    assert [ratio.measures for ratio in fitted.ratios] == [
        TRIAL_MEASURES,
        TRIAL_MEASURES[:-2],
        TRIAL_MEASURES[:4],
    ]
    assert calibrate(scores, labels, description="", quality=np.nan * quality).ratios == ()
    every = quality[:5].copy()
    every[1, -1] = np.nan  # no strangers of the user's own
    every[2, 4:] = np.nan  # a clip of an earlier library
    every[3, 1] = np.nan

    llrs = fitted.llr(scores[:5], every)

    for row, ratio in ((0, 0), (1, 1), (2, 2), (4, 0)):
        weights, places = fitted.ratios[ratio].weights, len(fitted.ratios[ratio].measures)
        expected = weights[0] + weights[1] * scores[row] + quality[row, :places] @ weights[2:]
        assert llrs[row] == pytest.approx(expected)
    assert llrs[3] == fitted.llr(float(scores[3]))
    assert [fitted.llr(float(scores[row]), every[row]) for row in range(5)] == llrs.tolist()


def test_quality_beyond_that_of_the_trials_counts_as_the_most_extreme_seen():
    scores, labels, quality = noisy_scores(800, 15)
    fitted = calibrate(scores, labels, description="", quality=quality)

    lowest, highest = quality.min(axis=0), quality.max(axis=0)
    for beyond, end in ((lowest - 3.0, lowest), (highest + 3.0, highest)):
        assert fitted.llr(0.4, beyond) == fitted.llr(0.4, end)
    (ratio,) = fitted.ratios
    extended = replace(fitted, ratios=(replace(ratio, ranges=None),))  # as once it was
    assert extended.llr(0.4, highest + 3.0) == pytest.approx(
        fitted.llr(0.4, highest) + 3.0 * np.sum(ratio.weights[2:])
    )


def test_a_measure_that_never_changes_has_no_weight():
    scores, labels, quality = noisy_scores(500, 12)
    quality[:, 1] = 7.3

    (ratio,) = calibrate(scores, labels, description="", quality=quality).ratios

    assert ratio.weights[-1] == 0.0
    assert ratio.weights[2] > 0.0


def test_quality_is_refused_that_does_not_fit():
    scores, labels, quality = noisy_scores(50, 13)
    for wrong in (quality[1:], quality[:, :4]):
        with pytest.raises(EvaluationError, match=r"must be of shape \(50, 12\); got \(\d+, \d+\)"):
            calibrate(scores, labels, description="", quality=wrong)
    with pytest.raises(EvaluationError, match="p_target must be between 0 and 1; got 1"):
        calibrate(scores, labels, description="", p_target=1)


@pytest.mark.parametrize(
    ("num_nontarget", "one_percent", "one_permille"),
    [(99, False, False), (100, True, False), (999, True, False), (1000, True, True)],
)
def test_rates_too_small_to_measure_have_no_threshold(num_nontarget, one_percent, one_permille):
    measured = calibrate(*normal_scores(50, num_nontarget), description="")

    assert (measured.threshold_far_1pct is not None) == one_percent
    assert (measured.threshold_far_0_1pct is not None) == one_permille


@pytest.mark.parametrize("count", [1, 10, 2000])
def test_separable_scores_keep_a_slope_the_number_of_trials_can_bear(count):
    """So many trials without an error support odds of that order, and not of any height."""
    generator = np.random.default_rng(4)
    scores = np.concatenate([generator.uniform(0.7, 0.9, count), generator.uniform(0, 0.2, count)])

    fitted = calibrate(scores, np.repeat([1, 0], count), description="")

    assert fitted.eer == 0.0
    assert fitted.slope > 0
    assert 0.5 < fitted.llr(0.8) < np.log(100 * (count + 1))
    assert 0.5 < -fitted.llr(0.1) < np.log(100 * (count + 1))
    least_likely = fitted.llr(scores[:count]).min(), -fitted.llr(scores[count:]).max()
    assert min(least_likely) < np.log(count + 1.0001)


@pytest.mark.parametrize("counts", [(1, 1), (5, 300)])
def test_separable_scores_take_labels_for_wrong_as_often_as_the_trials_leave_open(counts):
    """Platt's targets: (n + 1) / (n + 2) for targets, 1 / (n + 2) for non-targets."""
    generator = np.random.default_rng(5)
    num_target, num_nontarget = counts
    scores = np.concatenate(
        [generator.uniform(5, 6, num_target), generator.uniform(0, 4, counts[1])]
    )
    labels = np.repeat([1, 0], counts)
    wanted = np.where(labels, (num_target + 1) / (num_target + 2), 1 / (num_nontarget + 2))
    weight = 0.5 / np.where(labels, num_target, num_nontarget)

    def cost(parameters):
        log_odds = parameters[1] * scores + parameters[0]
        return weight @ (np.logaddexp(0, log_odds) - wanted * log_odds)

    offset, slope = minimize(cost, (0.0, 0.0), method="BFGS", options={"gtol": 1e-10}).x

    fitted = calibrate(scores, labels, description="")

    assert fitted.slope == pytest.approx(slope, rel=1e-4)
    assert fitted.offset == pytest.approx(offset, rel=1e-4)


def test_equal_scores_say_nothing_about_the_speaker():
    fitted = calibrate([0.3] * 10, [1] * 4 + [0] * 6, description="")

    assert fitted.eer == pytest.approx(0.5)
    assert fitted.llr(0.3) == 0.0
    assert fitted.probability(0.3, prior=0.2) == pytest.approx(0.2)


def test_swapped_labels_are_warned_of(caplog):
    scores, labels = normal_scores(100, 100)

    with caplog.at_level(logging.WARNING):
        fitted = calibrate(scores, 1 - labels, description="swapped list")

    assert fitted.slope < 0
    assert "swapped list" in caplog.text


def test_probability_is_bayes_rule_on_the_ratio(calibration):
    scores = np.linspace(-1.0, 1.0, 9)

    for prior in (0.5, 0.01, 0.9):
        expected = expit(calibration.slope * scores + calibration.offset + logit(prior))
        np.testing.assert_allclose(calibration.probability(scores, prior), expected, rtol=1e-12)
    assert isinstance(calibration.llr(0.4), float)
    assert isinstance(calibration.probability(np.float32(0.4)), float)
    with pytest.raises(EvaluationError, match="prior must be between 0 and 1"):
        calibration.probability(0.4, prior=1.0)


def test_calibrated_scores_are_calibrated(calibration):
    """Among unseen trials judged 80 to 90 % likely, 80 to 90 % are of the same speaker."""
    scores, labels = normal_scores(100_000, 100_000, seed=5)
    judged = calibration.probability(scores)
    chosen = (judged > 0.8) & (judged < 0.9)

    assert 0.8 < labels[chosen].mean() < 0.9


@pytest.mark.parametrize("num_nontarget", [50, 5000])
def test_calibration_survives_yaml_exactly(num_nontarget):
    scores, labels = normal_scores(50, num_nontarget)
    quality = np.random.default_rng(14).normal(size=(len(scores), len(TRIAL_MEASURES)))
    measured = calibrate(scores, labels, description="清单 list", quality=quality, num_speakers=7)

    text = yaml.safe_dump(measured.to_dict(), allow_unicode=True)

    assert Calibration.from_dict(yaml.safe_load(text)) == measured


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slope": None}, "has None for slope"),
        ({"slope": "steep"}, "has 'steep' for slope"),
        ({"eer": float("nan")}, "has nan for eer"),
        ({"num_target": 1.5}, "has 1.5 for num_target"),
        ({"description": 3}, "has 3 for description"),
        ({"threshold": 0.3}, "has the unknown threshold"),
        ({"errors": {"eer": 3}}, "has {'eer': 3} for errors"),
        ({"errors": None}, "has None for errors"),
        ({"quality_weights": "abc"}, "has 'abc' for quality_weights"),
        ({"quality_range": [[1.0]]}, r"has \[\[1.0\]\] for quality_range"),
        ({"quality_range": [[0.0, 1.0]]}, "quality_range does not fit quality_weights"),
        ({"ratios": [{"measures": ["height"]}]}, "for a ratio; evaluate the model again"),
        ({"ratios": 3}, "has 3 for ratios"),
        ({"num_speakers": True}, "has True for num_speakers"),
    ],
)
def test_a_damaged_table_is_refused_by_key(calibration, change, message):
    with pytest.raises(CheckpointError, match=message):
        Calibration.from_dict({**calibration.to_dict(), **change})


def test_a_table_of_an_earlier_version_still_loads(calibration):
    values = calibration.to_dict()
    for name in (
        "threshold_far_0_01pct",
        "errors",
        "num_speakers",
        "score_type",
        "ratios",
        "threshold_miss_5pct",
    ):
        del values[name]
    values |= {"inconclusive_low": 0.1, "inconclusive_high": 0.4}

    old = Calibration.from_dict(values)

    assert old.llr(0.3) == calibration.llr(0.3)
    assert old.score_type == "cosine"
    weights, ends = [-3.0, 9.0, -0.6, -0.4, 0.03, -0.02], [[-2.0, 3.0]] * 2 + [[0.0, 60.0]] * 2
    knowing = Calibration.from_dict({**values, "quality_weights": weights, "quality_range": ends})
    measures = np.array([0.5, 1.0, 10.0, 70.0, *[np.nan] * 8])
    assert knowing.llr(0.5, measures) == pytest.approx(-3.0 + 4.5 - 0.3 - 0.4 + 0.3 - 1.2)
    assert old.llr(0.5, measures) == old.llr(0.5)
    assert [point.threshold for point in old.operating_points()[:4]] == [
        point.threshold for point in calibration.operating_points()[:4]
    ]
    assert old.operating_points()[0].errors is None
    assert old.operating_points()[0].doubt is None


def test_a_table_with_missing_keys_is_refused(calibration):
    values = calibration.to_dict()
    del values["offset"]

    with pytest.raises(CheckpointError, match="lacks offset"):
        Calibration.from_dict(values)
    with pytest.raises(CheckpointError, match="not a table"):
        Calibration.from_dict(None)


def test_scores_without_both_classes_are_refused():
    with raises_code("trials-of-one-kind"):
        calibrate([0.1, 0.2], [0, 0], description="")


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        ((20, 500), (40, 300), None),
        ((20, 500), (13, 900), "it was measured on 20 speakers, this one on 13"),
        ((20, 500), (4, 900), "this one rests on fewer than 5 people or 30 comparisons"),
        ((20, 500), (90, 29), "this one rests on fewer than 5 people or 30 comparisons"),
        ((3, 9), (2, 900), "it was measured on 3 speakers, this one on 2"),
        ((None, 500), (90, 300), "500 comparisons of one person, this one on 300"),
    ],
)
def test_a_calibration_on_more_has_an_advantage(calibration, own, other, words):
    one, another = (
        replace(calibration, description=name, num_speakers=speakers, num_target=targets)
        for name, (speakers, targets) in (("one", own), ("other", other))
    )
    found = one.advantage_over(another)

    assert (found is None) if words is None else words in found
    assert one.advantage_over(replace(another, description="one")) is None
