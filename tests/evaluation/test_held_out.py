"""Calibration on half of the speakers, checked on the other half."""

from __future__ import annotations

import numpy as np
import pytest

from mvector.errors import EvaluationError
from mvector.evaluation.calibration_fit import calibrate
from mvector.evaluation.held_out import held_out_check
from mvector.evaluation.quality import TRIAL_MEASURES


def pairs_of(num_speakers, clips_each, seed=0):
    """Every pair of clips: scores, labels, and the speaker of each side, as odd numbers."""
    generator = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(num_speakers) * 1000 + 7, clips_each)
    first, second = np.triu_indices(len(speaker), 1)
    labels = speaker[first] == speaker[second]
    scores = generator.normal(0.1 + 0.4 * labels, 0.12)
    return scores, labels, (speaker[first], speaker[second])


def test_halves_share_no_speaker_and_follow_from_the_seed():
    scores, labels, speakers = pairs_of(20, 5)

    checks = [held_out_check(scores, labels, speakers, seed=seed) for seed in (0, 1, 2, 0)]

    for check in checks:
        assert check.num_speakers == 10
        assert check.num_target == 10 * 10
        assert check.num_nontarget == 45 * 25
        assert check.min_cllr <= check.cllr < 1.0
        assert check.min_dcf <= check.actual_dcf
    assert len({check.cllr for check in checks}) == 3
    assert checks[0] == checks[3]


def test_figures_are_those_of_the_definitions(monkeypatch):
    scores, labels, (one, other) = pairs_of(12, 4, seed=1)
    seen = {}

    def spy(scores, labels, **options):
        seen.update(scores=scores, labels=labels)
        return calibrate(scores, labels, **options)

    monkeypatch.setattr("mvector.evaluation.held_out.calibrate", spy)
    check = held_out_check(scores, labels, (one, other), p_target=0.05)

    calibrating = np.isin(scores, seen["scores"])
    first_half = set(one[calibrating]) | set(other[calibrating])
    held = ~np.isin(one, list(first_half)) & ~np.isin(other, list(first_half))
    assert len(first_half) == 6
    assert calibrating.sum() == 24 * 23 / 2
    assert held.sum() == 24 * 23 / 2
    measured = calibrate(scores[calibrating], labels[calibrating], description="")
    target, nontarget = scores[held & labels], scores[held & ~labels]
    assert check.num_misses == sum(target < measured.threshold_eer)
    assert check.num_false_accepts == sum(nontarget >= measured.threshold_eer)
    cost = 0.5 * np.mean(np.log2(1 + np.exp(-measured.llr(target))))
    cost += 0.5 * np.mean(np.log2(1 + np.exp(measured.llr(nontarget))))
    assert check.cllr == pytest.approx(cost, rel=1e-9)
    limit = np.log(0.95 / 0.05)
    missed = np.mean(measured.llr(target) < limit)
    accepted = np.mean(measured.llr(nontarget) >= limit)
    assert check.actual_dcf == pytest.approx((0.05 * missed + 0.95 * accepted) / 0.05)


def test_speakers_with_target_trials_are_shared_evenly():
    """Only 4 of 20 speakers have two clips: both halves get two of them."""
    generator = np.random.default_rng(2)
    speaker = np.concatenate([np.arange(20), np.arange(4)])
    first, second = np.triu_indices(len(speaker), 1)
    labels = speaker[first] == speaker[second]
    scores = generator.normal(0.4 * labels, 0.2)

    for seed in range(5):
        check = held_out_check(scores, labels, (speaker[first], speaker[second]), seed=seed)
        assert check.num_target == 2


def test_a_ratio_that_knows_the_quality_is_checked_with_it():
    scores, labels, speakers = pairs_of(30, 4, seed=3)
    quality = np.full((len(scores), len(TRIAL_MEASURES)), np.nan)
    quality[:, 0] = np.random.default_rng(4).uniform(0, 2, len(scores))
    scores = scores - 0.2 * quality[:, 0]

    plain = held_out_check(scores, labels, speakers)
    known = held_out_check(scores, labels, speakers, quality=quality)

    assert known.cllr < plain.min_cllr
    assert known.num_misses == plain.num_misses


def test_too_few_speakers_are_refused():
    with pytest.raises(EvaluationError, match="speakers it has not seen; add speakers"):
        held_out_check(*pairs_of(3, 4))
