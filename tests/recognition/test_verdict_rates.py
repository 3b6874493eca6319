"""Rates of wrong verdicts: counted at once, and the same as verdict by verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_encoder import small_encoder, write_noise
from small_model import RATE, small_calibration, speech

from mvector.audio import write_wav
from mvector.audio.quality import SpeechQuality
from mvector.evaluation.likelihood import LikelihoodRatio
from mvector.evaluation.quality import TRIAL_MEASURES, clip_measures, model_quality
from mvector.evaluation.run import measure_trials
from mvector.recognition import verdict_rates as module
from mvector.recognition.judge import Judge, Side
from mvector.recognition.verdict_rates import verdict_rates
from mvector.scoring.trials import AllPairs, EnrolmentModels, PairTrials, Trials, all_pairs

NUM_CLIPS = 40


def listed_pairs(rng: np.random.Generator) -> PairTrials:
    first, second = rng.integers(0, NUM_CLIPS, (2, 500)).astype(np.int32)
    labels = rng.random(500) < 0.3
    return PairTrials("t", tuple(map(str, range(NUM_CLIPS))), first, second, labels)


def every_pair(rng: np.random.Generator) -> AllPairs:
    """Two lists that share clips, which are not compared with themselves."""
    enroll, test = [str(k) for k in range(0, 25)], [str(k) for k in range(15, NUM_CLIPS)]
    return all_pairs(enroll, rng.integers(0, 4, 25), test, rng.integers(0, 4, len(test)))


def judges() -> dict[str, Judge]:
    plain = small_calibration()
    ends = ((-1.0, 1.5), (-0.5, 1.5), (5.0, 50.0), (8.0, 60.0))
    weights = (-3.0, 9.0, -0.6, -0.4, 0.03, -0.02)
    basic = LikelihoodRatio(TRIAL_MEASURES[:4], weights, ends, {"far_1pct": 2.0}, -1.0)
    channel = LikelihoodRatio(TRIAL_MEASURES[:8], (*weights, 0.3, -0.2, 2.0, 1.0))
    knowing = replace(plain, ratios=(channel, basic))
    return {
        "plain": Judge(plain, None, "m"),
        "knows quality": Judge(knowing, None, "m"),
        "for a search": Judge(knowing, None, "m", "search"),
        "threshold given": Judge(knowing, 0.45, "m"),
        "no calibration": Judge(None, 0.45, "m"),
        "untrained": Judge(replace(knowing, slope=-1.0), None, "m"),
    }


@pytest.mark.parametrize("kind", judges())
@pytest.mark.parametrize("make", [listed_pairs, every_pair])
def test_verdicts_are_those_of_the_judge_trial_by_trial(
    make, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TRIALS_AT_ONCE", 64)
    rng = np.random.default_rng(3)
    trials: Trials = make(rng)
    scores = rng.uniform(0, 1, len(trials)).astype(np.float32)
    lowest, highest = (0, 0, 50, 1500, 0), (10, 60, 300, 9000, 0.3)
    by_path = {
        str(k): Side(SpeechQuality(*rng.uniform(lowest, highest).tolist()[: 2 if k % 4 else 5]))
        for k in range(NUM_CLIPS)
    }
    enrolled, tested = (
        np.concatenate([by_path[path].measures for path in side])
        for side in (trials.enroll_paths, trials.test_paths)
    )
    judge = judges()[kind]

    measured = verdict_rates(judge, scores, trials, (enrolled, tested))

    decisions = [
        judge.decide(score, by_path[one], by_path[other])
        for score, (one, other) in zip(scores, named_pairs(trials), strict=True)
    ]
    for found, of_kind in ((measured.target, True), (measured.nontarget, False)):
        own = [d for d, label in zip(decisions, trials.labels, strict=True) if label == of_kind]
        wrong = "different" if of_kind else "same"
        assert found.num_trials == len(own)
        assert found.num_errors == sum(d.answer == wrong for d in own)
        assert found.num_inconclusive == sum(d.answer == "cannot tell" for d in own)
    assert measured.purpose == judge.purpose
    assert {d.threshold_source for d in decisions} == {measured.threshold_source}


def named_pairs(trials: Trials) -> list[tuple[str, str]]:
    """Paths of the two sides of each trial, one after the other, as lists have them."""
    if isinstance(trials, PairTrials):
        sides = zip(trials.enroll_index.tolist(), trials.test_index.tolist(), strict=True)
        return [(trials.paths[one], trials.paths[other]) for one, other in sides]
    return [
        (one, other) for other in trials.test_paths for one in trials.enroll_paths if one != other
    ]


def test_rates_come_with_the_trials_behind_them() -> None:
    scores = np.array([0.9, 0.5, 0.1, 0.9, 0.5, 0.1, 0.1])
    index = np.zeros(7, dtype=np.int32)
    labels = np.array([True, True, True, False, False, False, False])
    trials = PairTrials("t", ("a",), index, index, labels)
    steep = replace(
        small_calibration(),
        slope=20.0,
        offset=-9.0,
        threshold_eer=0.45,
        threshold_far_1pct=0.6,
        threshold_miss_5pct=0.4,
    )

    found = verdict_rates(Judge(steep, None, "m"), scores, trials).to_dict()

    assert found["target"] == {  # 0.5 lies between 0.4 and 0.6
        "num_trials": 3,
        "num_errors": 1,
        "num_inconclusive": 1,
        "num_conclusive_errors": 1,
        "error_rate": 1 / 3,
        "inconclusive_share": 1 / 3,
        "conclusive_error_rate": 1 / 2,
    }
    assert found["nontarget"]["error_rate"] == 1 / 4
    assert found["nontarget"]["inconclusive_share"] == 1 / 4
    assert found["nontarget"]["conclusive_error_rate"] == 1 / 3
    assert found["inconclusive_share"] == 2 / 7
    assert found["calibrated_on"] == "made-up trials"
    assert found["purpose"] == "default"
    assert found["threshold_source"] == "calibrated on 600 trials"
    only_targets = replace(trials, labels=np.ones(7, dtype=bool))
    none = verdict_rates(Judge(steep, None, "m"), scores, only_targets).to_dict()["nontarget"]
    assert (none["num_trials"], none["error_rate"]) == (0, None)


def test_clips_are_measured_as_the_encoder_measures_them_and_models_jointly(
    tmp_path: Path,
) -> None:
    encoder = small_encoder()
    paths = [str(path) for path in write_noise(tmp_path / "clips", 3)]
    write_wav(tmp_path / "speech.wav", speech(0), RATE)
    paths.append(str(tmp_path / "speech.wav"))
    own = clip_measures([encoder.measure(path) for path in paths])
    labels = np.array([True, False])
    index = np.array([0, 1], dtype=np.int32)
    pairs = PairTrials("t", tuple(paths), index, index + 2, labels)

    enrolled, tested = measure_trials(encoder, pairs)
    np.testing.assert_array_equal(enrolled, own)
    np.testing.assert_array_equal(tested, own)

    models = EnrolmentModels(("m", "n"), np.array([0, 3, 1], dtype=np.int32), np.array([0, 2, 3]))
    enrolled, tested = measure_trials(encoder, replace(pairs, models=models))
    np.testing.assert_array_equal(enrolled, model_quality(own, models))
    np.testing.assert_array_equal(tested, own)

    two_lists = all_pairs(paths[:2], [0, 1], paths[1:], [1, 0, 0])
    enrolled, tested = measure_trials(encoder, two_lists)
    np.testing.assert_array_equal(enrolled, own[:2])
    np.testing.assert_array_equal(tested, own[1:])
