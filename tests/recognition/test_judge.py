"""Verdicts: one rule, and a threshold told that is the one that decided."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_model import small_calibration

from mvector.audio.quality import SpeechQuality
from mvector.embedding.listening import Listening
from mvector.errors import MVectorError
from mvector.evaluation import Calibration
from mvector.models.folder import ModelInfo
from mvector.recognition.judge import Decision, Judge
from mvector.recognition.model_choice import usable_calibration

GOOD, POOR = SpeechQuality(6.0, 40.0), SpeechQuality(0.5, 10.0)


def judge_that_knows_quality(*of_quality: float) -> Judge:
    """Weights of lower and higher log duration of speech, lower and higher SNR."""
    weights = (-4.0, 10.0, *of_quality)
    calibration = replace(small_calibration(), slope=10.0, offset=-4.0, quality_weights=weights)
    return Judge(calibration, None, "m")


def calibration_of(judge: Judge) -> Calibration:
    assert judge.calibration is not None
    return judge.calibration


# ---- the rule, computed independently ---------------------------------------------------------


def log_ratio(
    known: Calibration, score: float, one: SpeechQuality | None, other: SpeechQuality | None
) -> float:
    """The log-likelihood ratio of a score, number by number."""
    if one is None or other is None or not known.quality_weights or known.quality_weights[1] <= 0:
        return known.offset + known.slope * score
    speech = sorted(math.log(max(side.speech_s, 0.1)) for side in (one, other))
    snr = sorted(side.snr_db for side in (one, other))
    measures = [*speech, *snr]
    if known.quality_range:
        ends = known.quality_range
        measures = [min(max(m, low), high) for m, (low, high) in zip(measures, ends, strict=True)]
    offset, slope, *weights = known.quality_weights
    weighted = sum(weight * measure for weight, measure in zip(weights, measures, strict=True))
    return offset + slope * score + weighted


def random_case(rng: np.random.Generator) -> tuple[Judge, dict]:
    """A calibration, steep or flat, that knows quality or not, a caller's threshold or none."""
    calibration = replace(
        small_calibration(),
        threshold_eer=float(rng.uniform(-0.3, 0.9)),
        slope=float(rng.choice([rng.uniform(0.5, 40.0), 0.01])),
        offset=float(rng.normal(0.0, 6.0)),
        num_speakers=int(rng.integers(2, 500)),
    )
    if rng.random() < 0.8:
        weights = (rng.normal(0, 5), rng.uniform(0.5, 40.0), *rng.normal(0, [2, 2, 0.1, 0.1]))
        calibration = replace(calibration, quality_weights=tuple(map(float, weights)))
        if rng.random() < 0.5:
            ends = ((-2.0, 1.5), (-1.0, 1.5), (3.0, 50.0), (6.0, 60.0))
            calibration = replace(calibration, quality_range=ends)
    given = float(rng.uniform(-1, 1)) if rng.random() < 0.2 else None
    sides = [
        SpeechQuality(float(rng.choice([0.0, rng.uniform(0, 30)])), float(rng.uniform(0, 60)))
        if rng.random() < 0.8
        else None
        for _ in range(2)
    ]
    case = {
        "score": float(rng.choice([rng.uniform(-1, 1), -1.0, 1.0], p=[0.9, 0.05, 0.05])),
        "sides": sides,
        "num_people": int(rng.choice([1, 2, 6, 1000, 10**6])),
    }
    return Judge(calibration, given, "m"), case


def test_verdict_threshold_text_and_json_never_disagree() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(3000):
        judge, case = random_case(rng)
        known, score, num_people = calibration_of(judge), case["score"], case["num_people"]
        decision = judge.decide(score, *case["sides"], num_people=num_people)

        # the verdict is what ratio and required ratio say, unless the caller's threshold decides
        ratio = log_ratio(known, score, *case["sides"])
        required = known.offset + known.slope * known.threshold_eer + math.log(num_people)
        if judge.given is not None:
            assert decision.threshold == judge.given
            assert decision.same == (score >= judge.given)
        elif abs(ratio - required) > 1e-9 and score < 1.0:
            assert decision.same == (ratio > required)
        assert decision.llr == pytest.approx(ratio, abs=1e-9)
        odds = ratio - math.log(num_people)
        assert decision.probability == pytest.approx(1 / (1 + math.exp(min(-odds, 700))), abs=1e-12)
        if abs(abs(odds) - math.log(10.0)) > 1e-9:
            is_mute = any(side and side.speech_s < 0.3 for side in case["sides"])
            assert decision.inconclusive == (is_mute or abs(odds) < math.log(10.0))

        # and what is told is what decided
        assert -1.0 <= decision.threshold <= 1.0
        assert decision.same == (score >= decision.threshold)
        values = json.loads(json.dumps(decision.to_dict()))
        assert (values["score"] >= values["threshold"]) == values["same"] == decision.same
        told = re.fullmatch(
            r"(.+?)(, inconclusive)? \(similarity (\S+), threshold (\S+)\)", str(decision)
        )
        assert told is not None
        assert (float(told[3]) >= float(told[4])) == decision.same
        assert (told[1] == "same person") == decision.same
        assert (told[2] is not None) == bool(decision.inconclusive)
        if decision.inconclusive_band is not None:
            low, high = decision.inconclusive_band
            assert -1.0 <= low <= high <= 1.0
            assert decision.inconclusive == (low <= score <= high)
        seen.add((decision.same, decision.inconclusive, judge.given is None))
    assert len(seen) == 8  # every kind of verdict came up


def test_which_side_is_which_makes_no_difference() -> None:
    judge = judge_that_knows_quality(-0.6, -0.4, 0.03, -0.02)
    assert judge.decide(0.4, GOOD, POOR) == judge.decide(0.4, POOR, GOOD)


def test_thresholds_of_many_comparisons_are_those_of_each() -> None:
    judge = judge_that_knows_quality(-0.6, -0.4, 0.03, -0.02)
    measures = np.random.default_rng(1).normal(1.0, 2.0, (50, 4))
    together = judge.limits(measures, 5)
    for row, of_one in enumerate(measures):
        assert judge.limits(of_one, 5) == tuple(limits[row] for limits in together)


# ---- the number of people ---------------------------------------------------------------------


def test_the_threshold_grows_with_the_number_of_people_unless_it_is_given() -> None:
    judge = Judge(small_calibration(), None, "model")
    known = calibration_of(judge)
    assert judge.decide(0.5).threshold == judge.threshold == known.threshold_eer
    for count in (2, 30):
        decision = judge.decide(0.5, num_people=count)
        # what is asked of the log-likelihood ratio grows by log N
        needed = known.llr(known.threshold_eer) + math.log(count)
        assert known.llr(decision.threshold) == pytest.approx(needed)
        assert decision.threshold_source == f"raised for {count} people"
        assert decision.llr == known.llr(0.5)
    assert judge.decide(0.5, num_people=10**30).threshold == 1.0
    given = judge.with_threshold(0.4).decide(0.5, num_people=30)
    assert (given.threshold, given.threshold_source) == (0.4, "given")
    assert Judge(None, 0.4, "model").decide(0.5, num_people=30).threshold == 0.4


# ---- quality of both sides --------------------------------------------------------------------


def test_the_enrolled_clips_count_and_not_only_the_one_heard() -> None:
    judge = judge_that_knows_quality(-0.6, -0.4, 0.0, 0.0)  # longer clips have higher scores
    known = calibration_of(judge)
    needed = known.llr(known.threshold_eer) + math.log(3)
    for enrolled, heard in ((GOOD, GOOD), (POOR, GOOD), (POOR, POOR)):
        decision = judge.decide(0.5, enrolled, heard, num_people=3)
        shorter, longer = sorted((enrolled.speech_s, heard.speech_s))
        correction = -0.6 * math.log(shorter) - 0.4 * math.log(longer)
        assert -4.0 + 10.0 * decision.threshold + correction == pytest.approx(needed)
        assert decision.threshold_source == "raised for 3 people, adjusted to the clips' quality"
    # a good clip asks for less where the enrolled one is poor
    poor, good = (judge.decide(0.5, enrolled, GOOD).threshold for enrolled in (POOR, GOOD))
    assert poor < good
    assert judge.with_threshold(0.4).decide(0.5, POOR, GOOD).threshold == 0.4


def test_where_one_side_is_not_known_the_score_alone_is_judged() -> None:
    judge = judge_that_knows_quality(-0.6, -0.4, 0.0, 0.0)
    for sides in ((None, GOOD), (GOOD, None), (None, None)):
        decision = judge.decide(0.5, *sides, num_people=3)
        assert decision == judge.decide(0.5, num_people=3)
        assert decision.threshold_source == "raised for 3 people"


@pytest.mark.parametrize("calibration", [None, small_calibration()])
@pytest.mark.parametrize("score", [-1.0, 0.1, 0.95, 1.0])
def test_without_speech_no_score_is_conclusive(
    calibration: Calibration | None, score: float
) -> None:
    judge = Judge(calibration, 0.45, "m")
    for mute in (SpeechQuality(0.0, 0.0), SpeechQuality(0.29, 40.0)):
        for sides in ((mute, GOOD), (GOOD, mute), (mute, None)):
            decision = judge.decide(score, *sides)
            assert decision.inconclusive is True
            assert decision.to_dict()["inconclusive_band"] == [-1.0, 1.0]
            assert decision.same == (score >= 0.45)
    assert not judge.decide(0.95, GOOD, SpeechQuality(0.3, 40.0)).inconclusive


def test_better_clips_are_believed_more() -> None:
    judge = judge_that_knows_quality(1.0, 0.5, 0.05, 0.0)
    llr = -4.0 + 10.0 * 0.45 + math.log(0.5) + 0.5 * math.log(6.0) + 0.05 * 10.0
    decision = judge.decide(0.45, GOOD, POOR)
    assert decision.llr == pytest.approx(llr)
    assert judge.decide(0.45, GOOD, GOOD).llr > llr
    assert decision.threshold_source == "adjusted to the clips' quality"


def test_quality_that_would_turn_scores_round_is_not_used() -> None:
    calibration = replace(small_calibration(), quality_weights=(0.0, -1.0, 1.0, 1.0, 1.0, 1.0))
    judge = Judge(calibration, None, "m")
    assert not judge.uses_quality
    assert judge.decide(0.5, GOOD, POOR) == judge.decide(0.5)


# ---- ends of the scale ------------------------------------------------------------------------


def test_band_and_threshold_end_where_cosines_do() -> None:
    flat = Judge(replace(small_calibration(), slope=2.0, offset=-1.0), None, "m")
    assert flat.decide(0.5).inconclusive_band == (pytest.approx(0.5 - math.log(10) / 2), 1.0)
    assert flat.decide(1.0).inconclusive
    far_off = Judge(replace(small_calibration(), slope=20.0, offset=-40.0), None, "m")
    assert far_off.decide(1.0).inconclusive_band is None  # it would begin at 1.88
    assert far_off.decide(1.0).inconclusive is False


def test_every_score_is_inconclusive_where_higher_ones_do_not_mean_the_same_person() -> None:
    untrained = replace(small_calibration(), slope=-1.0, threshold_eer=0.3)
    decision = Judge(untrained, None, "m").decide(0.4, GOOD, GOOD, num_people=9)
    assert (decision.threshold, decision.same) == (0.3, True)
    assert decision.inconclusive_band == (-1.0, 1.0)
    assert decision.threshold_source == "calibrated on 600 trials"


def test_score_and_threshold_are_told_with_the_decimals_that_tell_them_apart() -> None:
    assert Decision(0.5, 0.5, "given").as_text() == ("0.5000", "0.5000")
    assert Decision(0.50001, 0.50002, "given").as_text() == ("0.50001", "0.50002")
    close = Decision(float(np.nextafter(0.5, 0.0)), 0.5, "given")
    assert not close.same
    assert float(close.as_text()[0]) < float(close.as_text()[1])
    tiny = Decision(1e-30, 2e-30, "given")
    assert [float(text) for text in tiny.as_text()] == [1e-30, 2e-30]


# ---- without calibration ----------------------------------------------------------------------


def test_without_calibration_a_threshold_must_be_given() -> None:
    bare = Judge(None, None, "models/bare")
    with pytest.raises(MVectorError, match=r"'models/bare' has no calibrated threshold: measure"):
        bare.decide(0.5)
    decision = bare.with_threshold(0.4).decide(0.5, GOOD, GOOD)
    assert decision.same
    assert (decision.llr, decision.probability, decision.inconclusive) == (None, None, None)
    for wrong in (1.5, float("nan")):
        with pytest.raises(MVectorError, match="is not a cosine"):
            bare.with_threshold(wrong)


def test_thresholds_of_other_scores_than_cosines_are_not_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plda = replace(small_calibration(), score_type="plda").to_dict()

    def usable(calibration: dict[str, Any] | None) -> Calibration | None:
        return usable_calibration(ModelInfo("f", {}, {}, calibration), Listening(), Path("folder"))

    assert usable(plda) is None
    assert "'folder' are those of plda scores" in caplog.text
    assert usable(small_calibration().to_dict()) == small_calibration()
    assert usable(None) is None
