"""The model in the box adapted to a user's people, whose folder stays as it is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from onnx_folder import with_onnx

from mvector import MVectorPredictor
from mvector.cli import run_script
from mvector.embedding import SpeakerEncoder
from mvector.embedding.listening import Listening
from mvector.evaluation import Calibration
from mvector.evaluation.likelihood import LikelihoodRatio
from mvector.evaluation.quality import TRIAL_MEASURES
from mvector.models import named
from mvector.models.description import read_model_info, update_model_folder
from mvector.scoring.strangers import OWN_COHORT, load_own_cohort

OWN = tuple(name for name in TRIAL_MEASURES if "own strangers" in name)
LIMITS = {"eer": 0.0, "far_1pct": 1.0, "far_0_1pct": 2.0}


@pytest.fixture
def box(trained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model in the place of the box, with a ratio that knows own strangers."""
    folder = tmp_path / "the_box"
    shutil.copytree(trained_model, folder)
    known = Calibration.from_dict(read_model_info(folder).calibration or {})
    ratio = LikelihoodRatio(OWN, (-2.0, 10.0, -3.0, -3.0), None, LIMITS, -1.0)
    update_model_folder(
        folder,
        calibration=replace(known, ratios=(ratio,)).to_dict(),
        listening=Listening().to_dict(),
        metrics={},
    )
    monkeypatch.setattr(named, "DEFAULT_MODEL", folder)
    return folder


@pytest.fixture
def people(voices: Path, tmp_path: Path) -> Path:
    """Eight people with two clips each."""
    folder = tmp_path / "people"
    for clip in sorted(voices.glob("*/clip_0[01].wav")):
        (folder / clip.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, folder / clip.parent.name)
    return folder


def calibrate(*options: object) -> int:
    return run_script("calibrate", [*map(str, options)])


def adapt(people: Path, *options: object) -> int:
    return calibrate("--clips", people, "--model_path", "box", "--use_gpu", "False", *options)


def test_its_people_are_kept_in_the_users_data_folder_and_used_until_they_are_forgotten(
    box, people, no_data_of_the_user, capsys
):
    before = {file.name: file.read_bytes() for file in box.iterdir()}
    source = MVectorPredictor("box", use_gpu=False).threshold_source
    clips = sorted(people.glob("*/*.wav"))

    assert adapt(people) == 0

    said = capsys.readouterr().out
    assert "the voiceprints of 8 people, without names" in said
    assert "5 people are enough to adapt, 20 to set a threshold" in said
    assert "--forget takes it back" in said
    assert {file.name: file.read_bytes() for file in box.iterdir()} == before
    encoder = SpeakerEncoder.from_folder(box, "cpu")
    (kept,) = (no_data_of_the_user / "adapted").iterdir()
    assert kept.name == encoder.fingerprint
    units = encoder.embed_batch(clips).astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    means = units.reshape(8, 2, -1).sum(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    own = load_own_cohort(kept, encoder.fingerprint)
    assert own is not None
    np.testing.assert_allclose(own.vectors, means, atol=1e-3)
    assert not any(b"speaker_00" in file.read_bytes() for file in kept.iterdir())

    adapted = MVectorPredictor("box", use_gpu=False)
    assert adapted.threshold_source == "adapted to 8 of your people"
    decision = adapted.contrast(clips[0], clips[1]).decide()
    expected = "adapted to 8 of your people, adjusted to the clips' quality"
    assert decision.threshold_source == expected

    assert calibrate("--forget") == 0
    assert "judges as it came" in capsys.readouterr().out
    assert not (no_data_of_the_user / "adapted").exists()
    assert MVectorPredictor("box", use_gpu=False).threshold_source == source
    assert calibrate("--forget") == 0
    assert "nothing to forget" in capsys.readouterr().out


def test_thresholds_of_its_people_decide_and_ratios_keep_their_lines(box, people, capsys):
    assert adapt(people, "--force") == 0

    assert "thresholds that hold for clips like these" in capsys.readouterr().out
    predictor = MVectorPredictor("box", use_gpu=False)
    assert predictor.threshold_source == "calibrated on 8 of your people"
    (ratio,) = predictor.calibration.ratios
    assert ratio.weights == (-2.0, 10.0, -3.0, -3.0)
    assert ratio.thresholds["far_1pct"] != LIMITS["far_1pct"]
    assert ratio.thresholds["far_0_1pct"] >= ratio.thresholds["far_1pct"]  # of the model, at least
    login = MVectorPredictor("box", use_gpu=False, purpose="login")
    assert login.threshold_source == "adapted to 8 of your people"  # 112 pairs cannot tell


def test_a_copy_has_it_all_and_the_users_data_folder_nothing(
    box, people, no_data_of_the_user, tmp_path
):
    mine = tmp_path / "mine"

    assert adapt(people, "--out", mine) == 0

    assert not no_data_of_the_user.exists()
    assert (mine / OWN_COHORT).is_file()
    copy = MVectorPredictor(mine, use_gpu=False)
    assert copy.threshold_source == "adapted to 8 of your people"
    assert MVectorPredictor("box", use_gpu=False).threshold_source.startswith("calibrated on")


def test_a_copy_runs_without_torch_where_the_model_does(box: Path, people: Path, tmp_path: Path):
    pytest.importorskip("onnx")
    with_onnx(box)
    assert adapt(people, "--out", tmp_path / "mine", "--engine", "onnx") == 0
    copy = MVectorPredictor(tmp_path / "mine", engine="onnx")
    assert copy.threshold_source == "adapted to 8 of your people"


def test_what_was_kept_for_another_model_is_not_used_and_damage_is_told_with_the_cure(
    box, people, no_data_of_the_user, capsys
):
    assert adapt(people) == 0
    (kept,) = (no_data_of_the_user / "adapted").iterdir()
    file, clip = kept / "adaptation.yml", str(next(people.glob("*/*.wav")))
    values = yaml.safe_load(file.read_text(encoding="utf-8"))

    file.write_text(yaml.safe_dump({**values, "fingerprint": "0" * 16}), encoding="utf-8")
    source = MVectorPredictor("box", use_gpu=False).threshold_source
    assert source.startswith("calibrated on")

    for damaged in ("", "- 1", "a: [", yaml.safe_dump({**values, "calibration": {"eer": "x"}})):
        file.write_text(damaged, encoding="utf-8")
        capsys.readouterr()
        compared = ["--model_path", "box", "--use_gpu", "False", "--json", clip, clip]
        assert run_script("contrast", compared) == 2
        said = capsys.readouterr().err
        assert f"'{file}', which adapts the model in the box to your people, is damaged" in said
        assert "tools/calibrate.py --forget" in said
    assert calibrate("--forget") == 0
    assert run_script("contrast", compared) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["threshold_source"] != ""


def test_too_few_people_and_another_part_of_clips_are_refused(box, people, tmp_path, capsys):
    assert adapt(people, "--max_duration", "0.5") == 2
    assert "give --out DIR for a copy" in capsys.readouterr().err
    for folder in sorted(people.iterdir())[4:]:
        shutil.rmtree(folder)
    assert adapt(people) == 1
    assert "NOT written: there are 4 people; 5 people are enough" in capsys.readouterr().out
