"""A calibration adapted to a user's people, on voices made of numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mvector.evaluation import Calibration
from mvector.evaluation.adaptation import Plan, adapted_calibration
from mvector.evaluation.calibration_fit import calibrate
from mvector.evaluation.likelihood import LikelihoodRatio
from mvector.evaluation.own_clips import OwnPairs
from mvector.evaluation.quality import SIDE_MEASURES, TRIAL_MEASURES
from mvector.recognition.adapting import adapt, measure_gain
from mvector.scoring.leaving_out import likeness_to_others
from mvector.scoring.strangers import Strangers, own_likeness

OWN = tuple(name for name in TRIAL_MEASURES if "own strangers" in name)


def own_pairs(num_people: int, num_clips: int = 4, *, spread: float = 0.7, seed: int = 0):
    """All pairs of clips; every voice shares a direction, as those of one channel do."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(num_people), num_clips)
    voices = rng.normal(size=(num_people, 16)) + 1.5
    embeddings = (voices[person] + spread * rng.normal(size=(len(person), 16))).astype(np.float32)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    sides = np.triu_indices(len(person), 1)
    measures = np.full((len(person), len(SIDE_MEASURES)), np.nan)
    measures[:, 0] = 3.0
    scores = (units[sides[0]] * units[sides[1]]).sum(axis=1)
    names = tuple(f"p{number:02d}" for number in range(num_people))
    return OwnPairs("people", names, embeddings, person, measures, sides, scores, 0)


@pytest.fixture
def known() -> Calibration:
    """Of a model whose ratio knows own strangers, and accepts everybody of this channel."""
    rng = np.random.default_rng(1)
    labels = np.arange(3000) < 500
    scores = np.where(labels, 0.6, 0.0) + 0.15 * rng.normal(size=3000)
    thresholds = {"eer": 0.0, "far_1pct": 1.0, "far_0_1pct": 3.0}
    ratio = LikelihoodRatio(OWN, (-1.0, 20.0, -8.0, -8.0), None, thresholds, -1.0)
    return replace(calibrate(scores, labels, description="large"), ratios=(ratio,))


def plan_of(known: Calibration | None, pairs: OwnPairs, **how: bool) -> Plan:
    return Plan.of(known, len(pairs.names), int(pairs.labels.sum()), **how)


def test_own_likeness_leaves_both_people_of_a_comparison_out():
    rng = np.random.default_rng(0)
    embeddings, person = rng.normal(size=(30, 8)), rng.integers(0, 14, size=30)
    strangers = rng.normal(size=(12, 8))
    strangers /= np.linalg.norm(strangers, axis=1, keepdims=True)
    whose = rng.permutation(14)[:12]

    found = likeness_to_others(embeddings, person, strangers, whose)

    for other in range(14):
        left_out = (whose == person[:, None]) | (whose == other)
        expected = own_likeness(embeddings, strangers, left_out)
        np.testing.assert_allclose(found[:, other], expected, atol=1e-12)


@pytest.mark.parametrize(("num_strangers", "is_known"), [(6, False), (7, True)])
def test_five_strangers_have_to_be_left(num_strangers, is_known):
    pairs = own_pairs(num_strangers)

    quality = pairs.quality_among()

    of_two = quality[~pairs.labels][:, -2:]
    assert np.isfinite(of_two).all() == is_known
    assert np.isfinite(quality[pairs.labels][:, -2:]).all()  # one person less is left out


def test_twenty_people_set_what_ratios_are_held_to_and_their_lines_stay(known):
    pairs = own_pairs(24)

    adapted = adapt(known, pairs, plan_of(known, pairs))

    (ratio,), (before,) = adapted.ratios, known.ratios
    assert (ratio.measures, ratio.weights) == (before.measures, before.weights)
    llrs = before.slope * pairs.scores + before.offset(pairs.quality_among())
    strangers, own = llrs[~pairs.labels], llrs[pairs.labels]
    for purpose, far in (("far_1pct", 0.01), ("far_0_1pct", 0.001)):
        assert 0.5 * far < np.mean(strangers >= ratio.thresholds[purpose]) <= far
    assert np.mean(own < ratio.different) == pytest.approx(0.05, abs=0.01)
    assert "far_0_01pct" not in adapted.own_purposes  # of 4,416 pairs
    assert adapted.num_own_people == 24
    assert adapted.threshold_far_0_01pct is None


def test_what_twenty_people_sound_like_is_known_from_then_on(known):
    pairs = own_pairs(24)
    narrow = replace(known.ratios[0], ranges=((-0.1, 0.0), (0.0, 0.9)))
    known = replace(known, ratios=(narrow,))
    quality = pairs.quality_among()

    (ratio,) = adapt(known, pairs, plan_of(known, pairs)).ratios

    own = quality[:, [TRIAL_MEASURES.index(name) for name in OWN]]
    for (low, high), before, values in zip(ratio.ranges, narrow.ranges, own.T, strict=True):
        assert (low, high) == (min(before[0], values.min()), max(before[1], values.max()))
    assert not adapt(known, pairs, plan_of(known, pairs)).beyond(quality).any()


def test_a_purpose_that_pairs_are_too_few_for_keeps_the_models_or_the_stricter_one(known):
    pairs = own_pairs(24, 2)  # 1,104 pairs of two people
    strict = replace(known.ratios[0], thresholds={"far_0_1pct": 2.0, "far_0_01pct": 50.0})
    loose = replace(strict, thresholds={"far_0_01pct": -50.0})

    adapted = [
        adapt(replace(known, ratios=(ratio,)), pairs, plan_of(known, pairs, is_forced=True))
        for ratio in (strict, loose)
    ]

    kept, raised = (each.ratios[0].thresholds for each in adapted)
    assert kept["far_0_01pct"] == 50.0
    assert raised["far_0_01pct"] == raised["far_0_1pct"] == kept["far_0_1pct"]


def test_five_people_adapt_and_thresholds_stay(known):
    pairs = own_pairs(5)
    plan = plan_of(known, pairs)

    adapted = adapt(known, pairs, plan)

    assert plan.is_supported
    assert adapted == replace(known, num_own_people=5)
    assert Calibration.from_dict(adapted.to_dict()) == adapted
    assert not plan_of(known, own_pairs(4, 8)).is_supported
    unknowing = replace(known, ratios=(LikelihoodRatio((), (0.0, 1.0)),))
    assert not plan_of(unknowing, pairs).is_supported  # the same verdicts as before
    again = replace(adapted, num_own_people=30, own_purposes=("eer",))
    assert adapt(again, pairs, plan) == again  # thresholds of thirty people are not of five


def test_a_model_without_ratios_has_plain_thresholds_of_the_pairs():
    pairs = own_pairs(8)

    adapted = adapt(None, pairs, plan_of(None, pairs))

    plain = calibrate(pairs.scores, pairs.labels, description=pairs.description, num_speakers=8)
    assert replace(adapted, num_own_people=None, own_purposes=()) == plain
    assert adapted.own_purposes == ("eer", "min_dcf", "far_1pct")


def test_what_is_gained_is_measured_on_people_held_out(known):
    pairs = own_pairs(24)

    gain = measure_gain(known, Strangers(None), pairs, plan_of(known, pairs))

    # twelve people in either half, four clips each
    assert gain.is_held_out
    assert gain.after.counts[:, 0].tolist() == [2 * 66 * 16, 24 * 6]
    assert gain.before is not None
    far_before, far = (each.counts[0, 1] / each.counts[0, 0] for each in (gain.before, gain.after))
    assert far_before > 0.2  # all are alike here, which the model did not know of
    assert far < 0.05


def test_too_few_people_are_measured_on_themselves(known):
    pairs = own_pairs(9)

    gain = measure_gain(known, Strangers(None), pairs, plan_of(known, pairs))

    assert not gain.is_held_out
    assert gain.after.counts[:, 0].tolist() == [36 * 16, 9 * 6]


def test_two_names_of_one_person_are_noticed():
    pairs = own_pairs(12, 6, seed=1)
    assert pairs.too_alike() == []

    person = pairs.person.copy()
    person[[3, 4, 5]] = 12  # half of the clips of one person lie in another folder
    twice = replace(pairs, person=person, names=(*pairs.names, "p00 again"))

    assert twice.too_alike() == [("p00", "p00 again")]


def test_adapted_calibration_needs_both_kinds_of_pairs(known):
    pairs = own_pairs(8)
    is_own = pairs.labels
    about = {"description": "one kind", "num_people": 8}
    plan = Plan(True, True, False, True)
    with pytest.raises(Exception, match="non-target"):
        adapted_calibration(
            known,
            pairs.scores[is_own],
            is_own[is_own],
            pairs.quality_among()[is_own],
            plan,
            **about,
        )
