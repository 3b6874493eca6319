"""Verdicts know how alike both sides are to strangers: the model's, the user's, the library's."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from error_codes import raises_code
from small_model import RATE, small_calibration, small_model, speech

from mvector import MVectorPredictor
from mvector.evaluation.likelihood import LikelihoodRatio
from mvector.evaluation.quality import TRIAL_MEASURES
from mvector.models.description import update_model_folder
from mvector.recognition.judge import Judge, Side
from mvector.scoring.strangers import (
    Cohort,
    likeness,
    own_likeness,
    save_cohort,
    save_own_cohort,
)

MODELS, OWN = "likeness to strangers", "likeness to own strangers"


def ratio(*kinds: str) -> LikelihoodRatio:
    """That takes likeness of these kinds alone."""
    names = tuple(name for name in TRIAL_MEASURES if name.split(" ", 1)[1] in kinds)
    weights = tuple(-1.0 - k for k in range(len(names)))
    return LikelihoodRatio(names, (-3.0, 12.0, *weights), thresholds={"far_1pct": 3.0})


KNOWING = replace(small_calibration(), ratios=(ratio(MODELS, OWN), ratio(MODELS)))
COHORT = np.random.default_rng(0).normal(size=(40, 16))
PEOPLE = np.random.default_rng(1).normal(size=(12, 16))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model whose verdicts take likeness into account, and has strangers."""
    folder = small_model(tmp_path / "model")
    update_model_folder(folder, calibration=KNOWING.to_dict(), listening={}, metrics={})
    save_cohort(folder, COHORT, open_model(folder).encoder.fingerprint)
    return folder


def open_model(folder: Path, library: Path | None = None) -> MVectorPredictor:
    return MVectorPredictor(folder, use_gpu=False, audio_db_path=library)


def clip(voice: int) -> tuple[np.ndarray, int]:
    return speech(voice), RATE


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def side(vector: np.ndarray, strangers: np.ndarray | None) -> Side:
    """What is known of a voice: from all strangers, as they were before they were rounded."""
    own = None if strangers is None else own_likeness(vector[None], unit(strangers)).item()
    return Side(None, likeness(vector[None], Cohort.from_embeddings(COHORT)).item(), own)


def test_two_clips_are_judged_beside_the_strangers_of_model_and_user(folder: Path) -> None:
    plain = open_model(folder)
    save_own_cohort(folder, PEOPLE, plain.encoder.fingerprint)
    vectors = [plain.predict(clip(voice)) for voice in (0, 1)]
    judge = Judge(KNOWING, None, "m")
    for predictor, own in ((plain, PEOPLE), (open_model(folder), PEOPLE)):
        score = predictor.contrast(clip(0), clip(1))
        decision = score.decide()
        expected = judge.decide(score, *(side(vector, own) for vector in vectors))
        assert decision.threshold == pytest.approx(expected.threshold, abs=1e-3)
        assert decision.llr == pytest.approx(expected.llr, abs=1e-2)
        assert pickle.loads(pickle.dumps(score)).decide() == decision
    assert expected.llr != pytest.approx(judge.decide(score).llr, abs=0.1)


def test_without_own_strangers_those_of_the_model_count(folder: Path) -> None:
    predictor = open_model(folder)
    score = predictor.contrast(clip(0), clip(1))
    sides = (side(predictor.predict(clip(voice)), None) for voice in (0, 1))
    expected = Judge(KNOWING, None, "m").decide(score, *sides)
    assert score.decide().llr == pytest.approx(expected.llr, abs=1e-2)


def test_in_a_search_the_other_people_are_the_strangers(folder: Path, tmp_path: Path) -> None:
    predictor = open_model(folder, tmp_path / "people")
    save_own_cohort(folder, -PEOPLE, predictor.encoder.fingerprint)  # who do not count beside them
    voice = predictor.predict(clip(0))
    near = voice + 0.3 * np.linalg.norm(voice) * unit(PEOPLE[0])
    predictor.library.register_embeddings(
        ["near", *map(str, range(12))], np.stack([near, *PEOPLE]).astype(np.float32)
    )

    result = predictor.recognition(clip(0))

    assert result.candidates[0].name == "near"
    expected = Judge(KNOWING, None, "m").decide(
        result.score, side(near, PEOPLE), side(voice, PEOPLE), num_people=13
    )
    assert result.threshold == pytest.approx(expected.threshold, abs=1e-3)
    assert result.llr == pytest.approx(expected.llr, abs=1e-2)


@pytest.mark.parametrize("is_calibrated", [False, True])
def test_in_a_small_library_the_strangers_are_those_the_model_was_given(
    folder: Path, tmp_path: Path, is_calibrated: bool
) -> None:
    predictor = open_model(folder, tmp_path / "people")
    if is_calibrated:
        save_own_cohort(folder, PEOPLE, predictor.encoder.fingerprint)
    voice = predictor.predict(clip(0))
    enrolled = np.stack([voice + 0.1, *PEOPLE[:5]])  # of whom four are left
    predictor.library.register_embeddings(["near", *"abcde"][:5], enrolled[:5])

    result = predictor.recognition(clip(0))

    own = PEOPLE if is_calibrated else None
    expected = Judge(KNOWING, None, "m").decide(
        result.score, side(enrolled[0], own), side(voice, own), num_people=5
    )
    assert result.llr == pytest.approx(expected.llr, abs=1e-2)


def test_opposite_clips_of_a_person_are_judged_by_the_score_alone(
    folder: Path, tmp_path: Path
) -> None:
    predictor = open_model(folder, tmp_path / "people")
    predictor.library.register_embeddings(["odd", "odd"], np.stack([PEOPLE[0], -PEOPLE[0]]))
    result = predictor.recognition(clip(0))
    assert (result.score, result.name) == (0.0, None)
    assert result.threshold == pytest.approx(predictor.threshold)


def test_strangers_of_another_model_are_told_when_they_are_needed(folder: Path) -> None:
    save_cohort(folder, COHORT, "another")
    predictor = open_model(folder)
    assert predictor.predict(clip(0)).shape == (16,)
    with raises_code("model-mismatch"):
        predictor.contrast(clip(0), clip(1))
