"""The three-line interface: compare, decide, recognise."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from error_codes import raises_code

from mvector import MVectorPredictor
from mvector.errors import LibraryError, MVectorError
from mvector.evaluation import Calibration
from mvector.models.folder import load_model_folder, save_model_folder


@pytest.fixture(scope="module")
def predictor(trained_model: Path) -> MVectorPredictor:
    return MVectorPredictor(trained_model, use_gpu=False)


def test_contrast_is_the_cosine_of_the_embeddings(
    predictor: MVectorPredictor, voices: Path
) -> None:
    a, b = voices / "speaker_000" / "clip_00.wav", voices / "speaker_001" / "clip_00.wav"
    u, v = (predictor.predict(clip).astype(np.float64) for clip in (a, b))
    assert abs(predictor.contrast(a, b) - u @ v / np.linalg.norm(u) / np.linalg.norm(v)) < 1e-6
    assert abs(predictor.contrast(a, a) - 1.0) < 1e-6


def test_the_threshold_is_the_calibrated_one_and_says_so(predictor: MVectorPredictor) -> None:
    info = predictor.encoder.info
    assert info is not None
    assert info.calibration is not None
    calibrated, _ = Calibration.from_dict(info.calibration).limits()
    assert predictor.threshold == pytest.approx(min(calibrated, 1.0))  # no cosine is higher
    decision = predictor.decide(predictor.threshold)
    assert decision.same
    assert not predictor.decide(predictor.threshold - 1e-6).same
    assert decision.threshold_source.startswith("calibrated on ")
    assert decision.llr is not None


def test_a_threshold_given_wins(trained_model: Path) -> None:
    strict = MVectorPredictor(trained_model, threshold=0.9, use_gpu=False)
    assert strict.decide(0.89).same is False
    assert strict.threshold_source == "given"
    with pytest.raises(MVectorError, match=r"threshold 1\.5 is not a cosine"):
        MVectorPredictor(trained_model, threshold=1.5, use_gpu=False)


def test_a_model_that_was_never_measured_refuses_to_decide(
    trained_model: Path, tmp_path: Path
) -> None:
    save_model_folder(tmp_path / "bare", load_model_folder(trained_model)[0])
    bare = MVectorPredictor(tmp_path / "bare", use_gpu=False)
    with pytest.raises(MVectorError, match=r"no calibrated threshold: measure one with eval\.py"):
        bare.decide(0.5)
    assert MVectorPredictor(tmp_path / "bare", threshold=0.4, use_gpu=False).decide(0.5).same


def test_people_are_registered_recognised_listed_and_removed(
    trained_model: Path, voices: Path, tmp_path: Path
) -> None:
    predictor = MVectorPredictor(
        trained_model, audio_db_path=tmp_path, threshold=0.8, use_gpu=False
    )
    for name, k in (("Ada", 0), ("Bob", 1)):
        predictor.register(voices / f"speaker_00{k}" / "clip_00.wav", name)
    assert predictor.get_users() == ["Ada", "Bob"]
    name, score = predictor.recognition(voices / "speaker_001" / "clip_00.wav")
    assert name == "Bob"
    assert score > 0.99
    strict = MVectorPredictor(trained_model, audio_db_path=tmp_path, threshold=1.0, use_gpu=False)
    assert strict.recognition(voices / "speaker_004" / "clip_00.wav")[0] is None
    assert predictor.remove_user("Bob") == 1
    assert predictor.get_users() == ["Ada"]


def test_a_library_needs_a_folder(predictor: MVectorPredictor) -> None:
    with pytest.raises(LibraryError, match="give audio_db_path"):
        predictor.get_users()


def test_without_a_model_path_the_only_model_is_taken(
    trained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_config: dict
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained_model, "models/EcapaTdnn_Fbank/best_model")
    assert MVectorPredictor(use_gpu=False).model_path == Path("models/EcapaTdnn_Fbank/best_model")
    shutil.copytree(trained_model, "models/Other_Fbank/best_model")
    with raises_code("model-ambiguous"):
        MVectorPredictor(use_gpu=False)
    found = MVectorPredictor(configs=small_config, use_gpu=False).model_path
    assert found == Path("models/EcapaTdnn_Fbank/best_model")
