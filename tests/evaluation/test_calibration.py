"""Calibration, against scikit-learn, SciPy and the closed form for normal scores."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import yaml
from scipy.optimize import minimize
from scipy.special import expit, logit

from mvector.errors import CheckpointError, EvaluationError
from mvector.evaluation import (
    Calibration,
    best_accuracy,
    calibrate,
    compute_eer,
    compute_min_dcf,
)


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


@pytest.mark.parametrize("counts", [(3000, 3000), (400, 4000), (4000, 400)])
def test_fit_is_the_class_balanced_logistic_regression(counts):
    scores, labels = normal_scores(*counts, seed=1)
    target, nontarget = scores[labels == 1].astype(float), scores[labels == 0].astype(float)

    def cost(parameters):
        slope, offset = parameters
        missed = np.logaddexp(0.0, -(slope * target + offset)).mean()
        accepted = np.logaddexp(0.0, slope * nontarget + offset).mean()
        return missed + accepted

    slope, offset = minimize(cost, (20.0, -5.0), method="Nelder-Mead", options={"xatol": 1e-6}).x

    fitted = calibrate(scores, labels, description="")

    assert fitted.slope == pytest.approx(slope, rel=2e-3)
    assert fitted.offset == pytest.approx(offset, rel=2e-3)


def test_balance_of_the_trials_does_not_move_the_ratio():
    even = calibrate(*normal_scores(4000, 4000, seed=2), description="")
    skewed = calibrate(*normal_scores(4000, 100_000, seed=3), description="")

    at = np.array([0.1, 0.3, 0.5])
    np.testing.assert_allclose(even.llr(at), skewed.llr(at), atol=0.6)


def test_thresholds_and_figures_are_those_of_the_metrics(calibration):
    scores, labels = normal_scores(2000, 5000)

    assert (calibration.eer, calibration.threshold_eer) == compute_eer(scores, labels)
    assert calibration.min_dcf == compute_min_dcf(scores, labels, p_target=0.01)
    assert (calibration.accuracy, calibration.threshold_best_accuracy) == best_accuracy(
        scores, labels
    )
    accepted = scores >= calibration.threshold_min_dcf
    cost = np.mean(~accepted[labels == 1]) + 99 * np.mean(accepted[labels == 0])
    assert cost == pytest.approx(calibration.min_dcf, abs=1e-9)
    assert (calibration.num_target, calibration.num_nontarget) == (2000, 5000)
    assert calibration.description == "a test"


@pytest.mark.parametrize(
    ("name", "rate"), [("threshold_far_1pct", 0.01), ("threshold_far_0_1pct", 0.001)]
)
def test_far_thresholds_keep_the_rate_and_no_lower_score_does(calibration, name, rate):
    scores, labels = normal_scores(2000, 5000)
    threshold = getattr(calibration, name)
    lower = scores[scores < threshold].max()

    assert np.mean(scores[labels == 0] >= threshold) <= rate
    assert np.mean(scores[labels == 0] >= lower) > rate


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
    assert 1.0 < fitted.llr(0.8) < np.log(100 * (count + 1))
    assert 1.0 < -fitted.llr(0.1) < np.log(100 * (count + 1))


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
    measured = calibrate(*normal_scores(50, num_nontarget), description="清单 list")

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
    ],
)
def test_a_damaged_table_is_refused_by_key(calibration, change, message):
    with pytest.raises(CheckpointError, match=message):
        Calibration.from_dict({**calibration.to_dict(), **change})


def test_a_table_with_missing_keys_is_refused(calibration):
    values = calibration.to_dict()
    del values["offset"]

    with pytest.raises(CheckpointError, match="lacks offset"):
        Calibration.from_dict(values)
    with pytest.raises(CheckpointError, match="not a table"):
        Calibration.from_dict(None)


def test_scores_without_both_classes_are_refused():
    with pytest.raises(EvaluationError, match="no target trials"):
        calibrate([0.1, 0.2], [0, 0], description="")
