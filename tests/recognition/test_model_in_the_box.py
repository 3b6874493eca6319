"""The model in the box."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from mvector import MVectorPredictor
from mvector.audio import read_audio
from mvector.cli import run_script
from mvector.data.augmentation.codec import telephone_line, through_codec
from mvector.embedding import SpeakerEncoder
from mvector.errors import CheckpointError
from mvector.models.description import load_training_config
from mvector.models.folder import load_model_folder
from mvector.models.named import model_folder
from mvector.recognition.model_choice import DEFAULT_MODEL, find_model, is_default_model
from mvector.scoring.strangers import load_cohort
from mvector.training.averaging import average_model_folders

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "dataset/samples"


@pytest.fixture(scope="module")
def predictor() -> MVectorPredictor:
    return MVectorPredictor(use_gpu=False)


def test_it_is_used_where_no_model_is_named_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    logging.getLogger("mvector").propagate = True
    with caplog.at_level(logging.INFO, "mvector"):
        assert MVectorPredictor(use_gpu=False).model_path == DEFAULT_MODEL
    assert "The model in the box is used" in caplog.text


def test_one_trained_here_goes_first_and_of_several_one_must_be_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("Mine", "Other"):
        Path(f"models/{name}/best_model").mkdir(parents=True)
    Path("models/Mine/best_model/model.yml").touch()
    assert find_model() == Path("models/Mine/best_model")
    Path("models/Other/best_model/model.yml").touch()
    with pytest.raises(CheckpointError, match="several models; choose one by --model_path"):
        find_model()


def test_its_thresholds_are_not_changed(voices: Path, capsys: pytest.CaptureFixture) -> None:
    before = (DEFAULT_MODEL / "model.yml").read_bytes()
    few = ["--max_clips_per_person", "3", "--use_gpu", "False", "--force"]
    assert run_script("calibrate", ["--clips", str(voices), "--model_path", "box", *few]) == 0
    assert "It is used with the model in the box from now on" in capsys.readouterr().out
    assert (DEFAULT_MODEL / "model.yml").read_bytes() == before


def test_it_takes_at_most_20_megabytes() -> None:
    assert sum(path.stat().st_size for path in DEFAULT_MODEL.iterdir()) <= 20e6


def test_its_thresholds_were_measured(predictor: MVectorPredictor) -> None:
    calibration = predictor.calibration
    assert calibration is not None
    assert calibration.num_target >= 1000
    assert calibration.threshold_far_1pct is not None
    assert calibration.threshold_far_1pct > calibration.threshold_eer
    assert calibration.knows_quality


def test_it_says_where_it_comes_from_and_how_good_it_is() -> None:
    _, info = load_model_folder(DEFAULT_MODEL)
    assert "CC BY 4.0" in info.provenance["licence"]
    assert 0 < info.metrics["development"]["as they are"]["mean"]["eer"] < 0.2


def test_sample_clips_of_one_voice_are_the_same_person_and_of_two_are_not(
    predictor: MVectorPredictor,
) -> None:
    voices = sorted(path for path in SAMPLES.iterdir() if path.is_dir())
    assert len(voices) >= 3
    clips = [sorted(voice.glob("*.flac")) for voice in voices]
    for own in clips:
        assert predictor.contrast(own[0], own[1]).decide().same
    for one, other in itertools.pairwise(clips):
        assert not predictor.contrast(one[0], other[0]).decide().same


def test_digital_silence_around_a_clip_changes_nobody(predictor: MVectorPredictor) -> None:
    rate, zeros = predictor.encoder.sample_rate, np.zeros(3 * 16000, np.float32)
    for clip in sorted(SAMPLES.glob("*/1.flac")):
        waveform = read_audio(clip, rate)
        middle = len(waveform) // 2
        for parts in (
            (zeros, waveform),
            (waveform, zeros),
            (waveform[:middle], zeros, waveform[middle:]),
        ):
            assert predictor.contrast((np.concatenate(parts), rate), clip) > 0.95


def test_strangers_on_one_bad_line_do_not_log_in() -> None:
    predictor = MVectorPredictor("box", use_gpu=False, purpose="login")
    rate = predictor.encoder.sample_rate
    clips = [read_audio(clip, rate) for clip in sorted(SAMPLES.glob("*/1.flac"))]
    for change in (
        lambda clip: telephone_line(clip, rate),
        lambda clip: through_codec(clip, rate, "mp3", 24.0),
        lambda clip: through_codec(clip, rate, "gsm"),
    ):
        for one, other in itertools.combinations([change(clip) for clip in clips], 2):
            assert not predictor.contrast((one, rate), (other, rate)).decide().same


def test_it_comes_with_strangers_that_its_calibration_knows(predictor: MVectorPredictor) -> None:
    info = predictor.encoder.info
    assert info is not None
    cohort = load_cohort(DEFAULT_MODEL, info.fingerprint)
    assert cohort is not None
    assert len(cohort.vectors) >= 1000
    assert (DEFAULT_MODEL / "cohort.npz").stat().st_size <= 2e6
    calibration = predictor.calibration
    assert calibration is not None
    assert "lower likeness to strangers" in calibration.ratios[0].measures
    assert "lower likeness to own strangers" in calibration.ratios[0].measures


def test_its_folder_is_known_by_any_path(tmp_path: Path) -> None:
    os.symlink(DEFAULT_MODEL, tmp_path / "link")
    assert is_default_model(tmp_path / "link")
    assert not is_default_model(tmp_path)


def test_its_name_is_known_to_all_that_read_models_and_a_path_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(DEFAULT_MODEL, "box")
    assert model_folder("box") == DEFAULT_MODEL
    assert model_folder("./box") == model_folder(Path("box")) == Path("box")
    for file in ("model.safetensors", "model.onnx"):
        (tmp_path / "box" / file).unlink()
    name = SpeakerEncoder.from_folder("box", "cpu", engine="torch").model.name
    assert load_training_config("box") == load_training_config(DEFAULT_MODEL) is not None
    with pytest.raises(CheckpointError, match=r"'box' has no model\.safetensors"):
        SpeakerEncoder.from_folder("./box", "cpu")

    average_model_folders(["box", DEFAULT_MODEL], "mean")
    assert load_model_folder("mean")[0].name == name
    with pytest.raises(CheckpointError, match="'box' stands for the model in the box; give anoth"):
        average_model_folders(["mean", "mean"], "box")


def test_thresholds_measured_for_it_go_into_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--clips", str(SAMPLES), "--model_path", "box", "--force", "--out")
    assert run_script("calibrate", [*options, "box"]) == 2
    assert "'box' stands for the model in the box" in capsys.readouterr().err
    assert run_script("calibrate", [*options, "a" * 5000]) == 2
    assert "File name too long; choose another --out." in capsys.readouterr().err

    assert run_script("calibrate", [*options, "mine"]) == 0

    assert MVectorPredictor("mine").threshold != MVectorPredictor("box").threshold
    assert MVectorPredictor("mine").encoder.fingerprint == MVectorPredictor().encoder.fingerprint


def test_matrices_are_stored_in_half_the_space_and_used_as_stored(tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from small_encoder import small_encoder

    from mvector.models.folder import save_model_folder

    model = small_encoder().model
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    save_model_folder(tmp_path / "half", model, half_precision=True)
    stored = load_file(tmp_path / "half/model.safetensors")
    again = load_model_folder(tmp_path / "half")[0].backbone.state_dict()
    for key, value in model.backbone.state_dict().items():
        expected = before[key].half().float() if before[key].dim() > 1 else before[key]
        np.testing.assert_array_equal(value, expected)
        np.testing.assert_array_equal(again[key], expected)
        assert stored[key].element_size() == (2 if before[key].dim() > 1 else value.element_size())
