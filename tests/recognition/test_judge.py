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
from error_codes import raises_code
from small_model import small_calibration

from mvector.audio.quality import SpeechQuality
from mvector.embedding.listening import Listening
from mvector.errors import MVectorError
from mvector.evaluation import Calibration, calibrate
from mvector.evaluation.likelihood import LikelihoodRatio
from mvector.evaluation.quality import TRIAL_MEASURES
from mvector.models.description import ModelInfo
from mvector.recognition.decision import Decision
from mvector.recognition.judge import Judge, Side
from mvector.recognition.model_choice import usable_calibration

GOOD, POOR = SpeechQuality(6.0, 40.0), SpeechQuality(0.5, 10.0)
OF_SPEECH_AND_SNR = TRIAL_MEASURES[:4]


def judge_that_knows_quality(*of_quality: float) -> Judge:
    """Weights of lower and higher log duration of speech, lower and higher SNR."""
    ratio = LikelihoodRatio(OF_SPEECH_AND_SNR, (-4.0, 10.0, *of_quality))
    calibration = replace(small_calibration(), slope=10.0, offset=-4.0, ratios=(ratio,))
    return Judge(calibration, None, "m")


def calibration_of(judge: Judge) -> Calibration:
    assert judge.calibration is not None
    return judge.calibration


# ---- the rule, computed independently ---------------------------------------------------------


def measures_of(sides: list[Side | None]) -> dict[str, float]:
    """What is known of both sides, by name."""
    on_scales: dict[str, list[float | None]] = {}
    for side in (each or Side() for each in sides):
        q = side.quality
        known: dict[str, float | None] = {
            "log speech duration": None if q is None else math.log(max(q.speech_s, 0.1)),
            "SNR": None if q is None else q.snr_db,
            "bandwidth": None
            if q is None or q.bandwidth_hz is None
            else math.log2(min(max(q.bandwidth_hz, 2000.0), 8000.0)) - math.log2(8000.0),
            "hole share": None if q is None else q.hole_share,
            "likeness to strangers": side.likeness,
            "likeness to own strangers": side.own_likeness,
        }
        for name, value in known.items():
            on_scales.setdefault(name, []).append(value)
    found = {}
    for name, pair in on_scales.items():
        values = [value for value in pair if value is not None]
        if len(values) == 2:
            found[f"lower {name}"], found[f"higher {name}"] = min(values), max(values)
    return found


def rule_of(
    known: Calibration, point: str, score: float, sides: list[Side | None]
) -> tuple[float, float, float]:
    """The log-likelihood ratio of a score, and what it takes for one person, and for two."""
    found = measures_of(sides)
    line = known.offset + known.slope * score
    measured = getattr(known, f"threshold_{point}"), known.threshold_eer, known.threshold_miss_5pct
    far, eer, missed = (
        None if limit is None else known.offset + known.slope * limit for limit in measured
    )
    assert eer is not None
    same = max(math.log(10.0) if far is None else far, eer)
    different = min(same, -math.log(10.0) if missed is None else missed)
    for ratio in known.ratios:
        if ratio.weights[1] > 0 and set(ratio.measures) <= set(found):
            line = ratio.weights[0] + ratio.weights[1] * score
            for place, name in enumerate(ratio.measures):
                value = found[name]
                if ratio.ranges:
                    low, high = ratio.ranges[place]
                    value = min(max(value, low), high)
                line += ratio.weights[2 + place] * value
            if point in ratio.thresholds:
                same = max(ratio.thresholds[point], ratio.thresholds.get("eer", -math.inf))
            if ratio.different is not None:
                different = ratio.different
            break
    return line, same, min(same, different)


def is_beyond(known: Calibration, sides: list[Side | None]) -> bool:
    """Whether a side is worse than all clips of the calibration, by the ratio that judges it."""
    found = measures_of(sides)
    for ratio in known.ratios:
        if ratio.weights[1] > 0 and set(ratio.measures) <= set(found):
            for name, (low, high) in zip(ratio.measures, ratio.ranges or ()):  # noqa: B905
                margin = (0.25 if name == "lower bandwidth" else 0.02) * (high - low)
                if name in ("lower log speech duration", "lower SNR", "lower bandwidth"):
                    if found[name] < low - margin:
                        return True
                elif (
                    name
                    in (
                        "higher hole share",
                        "higher likeness to strangers",
                        "higher likeness to own strangers",
                    )
                    and found[name] > high + margin
                ):
                    return True
            return False
    return False


def random_ratio(rng: np.random.Generator, measures: tuple[str, ...]) -> LikelihoodRatio:
    """Of these measures, with or without ranges and limits of its own."""
    spread = [0.1 if "SNR" in name else 2.0 for name in measures]
    weights = (rng.normal(0, 5), rng.uniform(-2.0, 40.0), *rng.normal(0, spread))
    ranges = None
    if rng.random() < 0.5:
        ranges = tuple((low, low + 2.0) for low in rng.uniform(-2, 1, len(measures)).tolist())
    points = ("eer", "far_1pct", "far_0_1pct")
    thresholds = {point: float(rng.normal(1, 3)) for point in points if rng.random() < 0.6}
    different = float(rng.normal(-1, 3)) if rng.random() < 0.6 else None
    return LikelihoodRatio(measures, tuple(map(float, weights)), ranges, thresholds, different)


def random_side(rng: np.random.Generator) -> Side | None:
    """A side of which more or less is known."""
    if rng.random() < 0.2:
        return None
    speech_s = float(rng.choice([0.0, rng.uniform(0, 30)]))
    channel = (100.0, float(rng.uniform(1500, 9000)), float(rng.uniform(0, 0.3)))
    quality = SpeechQuality(
        speech_s, float(rng.uniform(0, 60)), *(channel if rng.random() < 0.7 else ())
    )
    likeness, own = rng.normal(0, 0.2, 2).tolist()
    return Side(
        quality if rng.random() < 0.9 else None,
        likeness if rng.random() < 0.7 else None,
        own if rng.random() < 0.5 else None,
    )


def random_case(rng: np.random.Generator) -> tuple[Judge, dict]:
    """A calibration, steep or flat, that knows measures or not, a caller's threshold or none."""
    calibration = replace(
        small_calibration(),
        threshold_eer=float(rng.uniform(-0.3, 0.9)),
        threshold_far_1pct=float(rng.uniform(-0.3, 0.9)) if rng.random() < 0.7 else None,
        threshold_far_0_1pct=float(rng.uniform(-0.3, 0.9)),
        threshold_miss_5pct=float(rng.uniform(-0.3, 0.9)) if rng.random() < 0.7 else None,
        slope=float(rng.choice([rng.uniform(0.5, 40.0), 0.01])),
        offset=float(rng.normal(0.0, 6.0)),
        num_speakers=int(rng.integers(2, 500)),
        ratios=tuple(
            random_ratio(rng, measures)
            for measures in (TRIAL_MEASURES, TRIAL_MEASURES[:10], OF_SPEECH_AND_SNR)
            if rng.random() < 0.7
        ),
    )
    given = float(rng.uniform(-1, 1)) if rng.random() < 0.2 else None
    case = {
        "score": float(rng.choice([rng.uniform(-1, 1), -1.0, 1.0], p=[0.9, 0.05, 0.05])),
        "sides": [random_side(rng) for _ in range(2)],
        "num_people": int(rng.choice([1, 2, 6, 1000, 10**6])),
    }
    purpose = str(rng.choice(["default", "login", "search"]))
    return Judge(calibration, given, "m", purpose), case


def test_answer_threshold_text_and_json_never_disagree() -> None:
    rng = np.random.default_rng(0)
    points = {"default": "far_1pct", "login": "far_0_1pct", "search": "eer"}
    seen = set()
    for _ in range(3000):
        judge, case = random_case(rng)
        known, score, num_people = calibration_of(judge), case["score"], case["num_people"]
        decision = judge.decide(score, *case["sides"], num_people=num_people)

        # the answer is what ratio and required ratios say, unless the caller's threshold decides
        ratio, same, different = rule_of(known, points[judge.purpose], score, case["sides"])
        odds = ratio - math.log(num_people)
        is_mute = any(
            side and side.quality and side.quality.speech_s < 0.3 for side in case["sides"]
        )
        if is_mute:
            assert decision.answer == "cannot tell"
        elif judge.given is not None:
            assert decision.threshold == judge.given
            assert decision.answer == ("same" if score >= judge.given else "different")
        elif is_beyond(known, case["sides"]):
            assert decision.answer == "cannot tell"
            assert decision.inconclusive_band == (-1.0, 1.0)
        elif min(abs(odds - same), abs(odds - different)) > 1e-9 and score < 1.0:
            unclear = "different" if odds < different else "cannot tell"
            assert decision.answer == ("same" if odds > same else unclear)
        assert decision.llr == pytest.approx(ratio, abs=1e-9)
        assert decision.probability == pytest.approx(1 / (1 + math.exp(min(-odds, 700))), abs=1e-12)

        # and what is told is what decided
        assert -1.0 <= decision.threshold <= 1.0
        is_unclear = decision.answer == "cannot tell"
        assert decision.same == (score >= decision.threshold and not is_unclear)
        assert (decision.reason is not None) == decision.inconclusive == is_unclear
        values = json.loads(json.dumps(decision.to_dict()))
        assert (values["answer"], values["same"]) == (decision.answer, decision.same)
        assert (values["reason"], values["inconclusive"]) == (decision.reason, is_unclear)
        told = re.fullmatch(
            r"(same person|different people|cannot tell: .+) "
            r"\(similarity (\S+), threshold (\S+)\)",
            str(decision),
        )
        assert told is not None
        assert (float(told[2]) >= float(told[3])) == (score >= decision.threshold)
        assert told[1].startswith("cannot tell") == is_unclear
        assert (told[1] == "same person") == decision.same
        if decision.inconclusive_band is not None:
            low, high = decision.inconclusive_band
            assert -1.0 <= low <= high <= 1.0
            assert is_unclear == (low <= score <= high)
        seen.add((decision.answer, judge.given is None, is_mute))
    assert len(seen) == 3 + 2 + 2  # every kind of verdict came up


def test_which_side_is_which_makes_no_difference() -> None:
    judge = judge_that_knows_quality(-0.6, -0.4, 0.03, -0.02)
    good, poor = Side(GOOD), Side(POOR)
    assert judge.decide(0.4, good, poor) == judge.decide(0.4, poor, good)


def test_limits_of_many_comparisons_are_those_of_each() -> None:
    rng = np.random.default_rng(1)
    every = (random_ratio(rng, TRIAL_MEASURES), random_ratio(rng, OF_SPEECH_AND_SNR))
    judge = Judge(replace(small_calibration(), ratios=every), None, "m")
    measures = rng.normal(1.0, 2.0, (60, len(TRIAL_MEASURES)))
    measures[20:40, 4:] = np.nan
    measures[40:] = np.nan
    together = judge.limits(measures, 5)
    for row, of_one in enumerate(measures):
        assert judge.limits(of_one, 5) == tuple(limits[row] for limits in together)
    assert judge.limits(measures[-1], 5) == judge.limits(None, 5)


# ---- what verdicts are for --------------------------------------------------------------------


def test_each_purpose_asks_for_its_rate_of_strangers_accepted() -> None:
    rng = np.random.default_rng(2)
    labels = np.arange(22_000) < 2000
    scores = np.where(labels, 0.6, 0.2) + 0.15 * rng.normal(size=22_000)
    known = calibrate(scores, labels, description="made-up trials")
    answers = {
        purpose: np.array([Judge(known, None, "m", purpose).decide(s).answer for s in scores[::10]])
        for purpose in ("default", "login", "search")
    }
    rates = {
        purpose: [
            np.mean(answer[is_kind] == wrong)
            for is_kind, wrong in ((~labels[::10], "same"), (labels[::10], "different"))
        ]
        for purpose, answer in answers.items()
    }
    assert rates["default"][0] == pytest.approx(0.01, abs=0.004)
    assert rates["login"][0] <= 0.003
    assert rates["search"][0] == pytest.approx(known.eer, abs=0.02)
    for purpose, rate in (("default", 0.05), ("login", 0.05), ("search", 0.05)):
        assert rates[purpose][1] == pytest.approx(rate, abs=0.02)
    thresholds = [Judge(known, None, "m", p).threshold for p in ("search", "default", "login")]
    assert thresholds == pytest.approx(
        [known.threshold_eer, known.threshold_far_1pct, known.threshold_far_0_1pct]
    )


def test_no_purpose_accepts_more_strangers_than_it_rejects_people() -> None:
    labels = np.arange(3000) < 1000
    scores = np.where(labels, 0.8, 0.2) + 0.1 * np.random.default_rng(3).normal(size=3000)
    known = calibrate(scores, labels, description="well separated")
    assert known.threshold_far_1pct is not None
    assert known.threshold_far_1pct < known.threshold_eer
    decision = Judge(known, None, "m").decide(known.threshold_eer - 1e-6)
    assert decision.threshold == pytest.approx(known.threshold_eer)
    assert decision.answer == "different"  # nothing lies between one person and two


def test_where_too_few_trials_show_the_rate_evidence_is_plain_or_the_purpose_is_refused() -> None:
    few = replace(
        small_calibration(), threshold_far_1pct=None, threshold_far_0_1pct=None, num_nontarget=66
    )
    threshold = Judge(few, None, "m").threshold
    assert threshold == pytest.approx(
        max(few.threshold_eer, (math.log(10.0) - few.offset) / few.slope)
    )
    with raises_code("threshold-not-calibrated"):
        _ = Judge(few, None, "m", "login").threshold
    assert Judge(few, 0.4, "m", "login").threshold == 0.4
    with pytest.raises(MVectorError, match="no purpose 'bank': choose default, login, search"):
        Judge(few, None, "m", "bank")


# ---- what is not known ------------------------------------------------------------------------


def test_unknown_measures_leave_the_verdict_to_the_next_ratio() -> None:
    every = LikelihoodRatio(
        (*OF_SPEECH_AND_SNR, *TRIAL_MEASURES[8:10]),
        (-4.0, 10.0, 0.0, 0.0, 0.0, 0.0, -3.0, -5.0),
        thresholds={"far_1pct": 2.0, "eer": 1.0},
        different=-1.0,
    )
    basic = LikelihoodRatio(OF_SPEECH_AND_SNR, (-3.0, 8.0, 0.1, 0.2, 0.0, 0.0))
    judge = Judge(replace(small_calibration(), ratios=(every, basic)), None, "m")
    known = calibration_of(judge)

    like_strangers = judge.decide(0.5, Side(GOOD, 0.1), Side(GOOD, 0.3))
    assert like_strangers.llr == pytest.approx(-4.0 + 5.0 - 3.0 * 0.1 - 5.0 * 0.3)
    assert like_strangers.threshold == pytest.approx((2.0 + 4.0 + 1.8) / 10.0)
    assert like_strangers.inconclusive_band is not None
    assert like_strangers.inconclusive_band[0] == pytest.approx((-1.0 + 4.0 + 1.8) / 10.0)
    without = judge.decide(0.5, Side(GOOD, 0.1), Side(GOOD))
    assert without.llr == pytest.approx(-3.0 + 4.0 + 0.3 * math.log(6.0))
    asked = known.llr(known.limits()[0])  # this ratio has no limits of its own
    assert without.threshold == pytest.approx((asked + 3.0 - 0.3 * math.log(6.0)) / 8.0)
    alone = judge.decide(0.5, Side(None, 0.1), Side(GOOD, 0.3))
    assert alone.llr == pytest.approx(known.llr(0.5))
    assert alone.threshold == pytest.approx(judge.threshold)


# ---- the number of people ---------------------------------------------------------------------


def test_the_threshold_grows_with_the_number_of_people_unless_it_is_given() -> None:
    judge = Judge(small_calibration(), None, "model")
    known = calibration_of(judge)
    assert judge.decide(0.5).threshold == judge.threshold == pytest.approx(known.limits()[0])
    for count in (2, 30):
        decision = judge.decide(0.5, num_people=count)
        # what is asked of the log-likelihood ratio grows by log N
        needed = known.llr(known.limits()[0]) + math.log(count)
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
    needed = known.llr(known.limits()[0]) + math.log(3)
    for enrolled, heard in ((GOOD, GOOD), (POOR, GOOD), (POOR, POOR)):
        decision = judge.decide(0.5, Side(enrolled), Side(heard), num_people=3)
        shorter, longer = sorted((enrolled.speech_s, heard.speech_s))
        correction = -0.6 * math.log(shorter) - 0.4 * math.log(longer)
        assert -4.0 + 10.0 * decision.threshold + correction == pytest.approx(needed)
        assert decision.threshold_source == "raised for 3 people, adjusted to the clips' quality"
    # a good clip asks for less where the enrolled one is poor
    poor, good = (
        judge.decide(0.5, Side(enrolled), Side(GOOD)).threshold for enrolled in (POOR, GOOD)
    )
    assert poor < good
    assert judge.with_threshold(0.4).decide(0.5, Side(POOR), Side(GOOD)).threshold == 0.4


def test_where_one_side_is_not_known_the_score_alone_is_judged() -> None:
    judge = judge_that_knows_quality(-0.6, -0.4, 0.0, 0.0)
    for sides in ((None, Side(GOOD)), (Side(GOOD), None), (Side(), Side(GOOD)), (None, None)):
        decision = judge.decide(0.5, *sides, num_people=3)
        assert decision == judge.decide(0.5, num_people=3)
        assert decision.threshold_source == "raised for 3 people"


@pytest.mark.parametrize("given", [None, 0.45])
@pytest.mark.parametrize("score", [-1.0, 0.1, 0.95, 1.0])
def test_without_speech_nothing_can_be_told(given: float | None, score: float) -> None:
    good = Side(GOOD)
    for calibration in (small_calibration(), None) if given else (small_calibration(),):
        judge = Judge(calibration, given, "m")
        for mute in (Side(SpeechQuality(0.0, 0.0)), Side(SpeechQuality(0.29, 40.0))):
            for sides in ((mute, good), (good, mute), (mute, None)):
                decision = judge.decide(score, *sides, reasons=("noisy",))
                assert decision.answer == "cannot tell"
                assert decision.to_dict()["inconclusive_band"] == [-1.0, 1.0]
                assert not decision.same
                assert decision.reason in [f"one side has only {s} s of speech" for s in (0.0, 0.3)]
                assert decision.cautions == ("noisy",)
        assert judge.decide(0.95, good, Side(SpeechQuality(0.3, 40.0))).same


def test_nothing_can_be_told_of_clips_that_are_worse_than_all_that_calibrated() -> None:
    measures = TRIAL_MEASURES[:10]
    ranges = ((-1.0, 3.0), (-1.0, 3.0), (5.0, 60.0), (5.0, 60.0), (-1.0, 0.0), (-1.0, 0.0))
    ranges += ((0.0, 0.2), (0.0, 0.2), (0.1, 0.4), (0.1, 0.4))
    ratio = LikelihoodRatio(measures, (-4.0, 10.0, *[0.0] * 10), ranges)
    judge = Judge(replace(small_calibration(), ratios=(ratio,)), None, "m")
    fine = Side(SpeechQuality(6.0, 40.0, 100.0, 8000.0, 0.01), 0.2)
    assert judge.decide(0.95, fine, fine).same
    assert judge.decide(-0.5, fine, fine).answer == "different"
    for worse, why in (
        (Side(SpeechQuality(0.32, 40.0, 100.0, 8000.0, 0.01), 0.2), "one side has less speech"),
        (Side(SpeechQuality(6.0, 3.0, 100.0, 8000.0, 0.01), 0.2), "one clip is noisier"),
        (
            Side(SpeechQuality(6.0, 40.0, 100.0, 3000.0, 0.01), 0.2),
            "the band of one clip is narrower",
        ),
        (
            Side(SpeechQuality(6.0, 40.0, 100.0, 8000.0, 0.3), 0.2),
            "one clip is more heavily compressed",
        ),
        (Side(fine.quality, 0.5), "one voice is more like those of strangers"),
    ):
        for score in (0.95, -0.5):
            for sides in ((worse, fine), (fine, worse)):
                decision = judge.decide(score, *sides)
                assert decision.answer == "cannot tell"
                assert decision.reason == f"{why} than any that calibrated the model"
        assert judge.with_threshold(0.9).decide(0.95, worse, fine).same
    # what is better than all of them is no reason for doubt, nor are the ends themselves
    better = Side(SpeechQuality(60.0, 70.0, 100.0, 8000.0, 0.0), 0.0)
    assert judge.decide(0.95, better, better).same
    last = Side(SpeechQuality(math.exp(-1.0), 5.0, 100.0, 4000.0, 0.2), 0.4)
    assert judge.decide(0.95, last, fine).same


def test_why_it_cannot_be_told_is_what_matters_most() -> None:
    judge = judge_that_knows_quality(0.0, 0.0, 0.0, 0.0)
    low, high = 0.4, calibration_of(judge).limits()[0]
    judge = replace(judge, calibration=replace(calibration_of(judge), threshold_miss_5pct=low))
    good, middle = Side(GOOD), (low + high) / 2
    plain = judge.decide(middle, good, good)
    assert plain.reason == "the similarity is weak evidence for clips like these"
    assert str(plain).startswith(f"cannot tell: {plain.reason} (similarity ")
    reasons = ("second clip: noisy", "first clip: telephone band")
    doubted = judge.decide(middle, good, good, reasons=reasons)
    assert (doubted.reason, doubted.cautions) == (reasons[0], reasons[1:])
    assert str(doubted).endswith(" [be careful: first clip: telephone band]")
    for clear in (low - 0.01, high + 0.01):
        decision = judge.decide(clear, good, good, reasons=reasons)
        assert (decision.reason, decision.cautions) == (None, reasons)


def test_better_clips_are_believed_more() -> None:
    judge = judge_that_knows_quality(1.0, 0.5, 0.05, 0.0)
    llr = -4.0 + 10.0 * 0.45 + math.log(0.5) + 0.5 * math.log(6.0) + 0.05 * 10.0
    decision = judge.decide(0.45, Side(GOOD), Side(POOR))
    assert decision.llr == pytest.approx(llr)
    better = judge.decide(0.45, Side(GOOD), Side(GOOD)).llr
    assert better is not None
    assert better > llr
    assert decision.threshold_source == "adjusted to the clips' quality"


def test_quality_that_would_turn_scores_round_is_not_used() -> None:
    ratio = LikelihoodRatio(OF_SPEECH_AND_SNR, (0.0, -1.0, 1.0, 1.0, 1.0, 1.0))
    judge = Judge(replace(small_calibration(), ratios=(ratio,)), None, "m")
    assert not judge.uses_quality
    assert judge.decide(0.5, Side(GOOD), Side(POOR)) == judge.decide(0.5)


# ---- ends of the scale ------------------------------------------------------------------------


def test_band_and_threshold_end_where_cosines_do() -> None:
    measured = {"threshold_far_1pct": None, "threshold_miss_5pct": None}
    flat = replace(small_calibration(), slope=2.0, offset=-1.0, **measured)
    decision = Judge(flat, None, "m").decide(0.9)
    assert decision.threshold == 1.0
    assert decision.inconclusive_band is not None
    assert decision.inconclusive_band[0] == pytest.approx(0.5 - math.log(10) / 2)
    assert decision.inconclusive_band[1] < 1.0
    assert decision.answer == "cannot tell"
    far_off = Judge(replace(small_calibration(), slope=20.0, offset=-40.0, **measured), None, "m")
    assert far_off.decide(0.99).inconclusive_band is None  # it would begin at 1.88
    assert far_off.decide(0.99).answer == "different"


def test_nothing_can_be_told_where_higher_scores_do_not_mean_the_same_person() -> None:
    untrained = replace(small_calibration(), slope=-1.0, threshold_eer=0.3)
    decision = Judge(untrained, None, "m").decide(0.4, Side(GOOD), Side(GOOD), num_people=9)
    assert (decision.threshold, decision.answer) == (0.3, "cannot tell")
    assert decision.inconclusive_band == (-1.0, 1.0)
    assert decision.reason == "this model's scores do not tell people apart"
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
    decision = bare.with_threshold(0.4).decide(0.5, Side(GOOD), Side(GOOD))
    assert decision.same
    assert (decision.llr, decision.probability, decision.inconclusive) == (None, None, False)
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
