"""``tools/calibrate.py`` as a user runs it, on synthetic voices."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from small_settings import ROOT

from mvector import MVectorPredictor, read_audio
from mvector.cli import run_script
from mvector.embedding import SpeakerEncoder
from mvector.evaluation import Calibration, compute_eer
from mvector.scoring.strangers import OWN_COHORT, save_cohort


@pytest.fixture
def model(trained_model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(trained_model, folder)
    return folder


@pytest.fixture
def people(voices: Path, tmp_path: Path) -> Path:
    """Eight people with four clips each."""
    folder = tmp_path / "people"
    for speaker in sorted(voices.iterdir()):
        if speaker.is_dir():
            (folder / speaker.name).mkdir(parents=True)
            for clip in sorted(speaker.glob("*.wav"))[:4]:
                shutil.copy(clip, folder / speaker.name)
    return folder


def calibrate(*options: object) -> int:
    return run_script("calibrate", [*map(str, options), "--use_gpu", "False"])


def written(model: Path) -> dict:
    return yaml.safe_load((model / "model.yml").read_text(encoding="utf-8"))


def test_thresholds_of_all_pairs_of_clips_are_written(model, people, capsys):
    before = written(model)

    assert calibrate("--clips", people, "--model_path", model) == 0

    clips = sorted(people.glob("*/*.wav"))
    embeddings = SpeakerEncoder.from_folder(model, "cpu").embed_batch(clips).astype(np.float64)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    pairs = [(a, b) for a in range(len(clips)) for b in range(a + 1, len(clips))]
    scores = [embeddings[a] @ embeddings[b] for a, b in pairs]
    labels = [clips[a].parent == clips[b].parent for a, b in pairs]
    eer, threshold = compute_eer(scores, labels)
    after = written(model)
    measured = Calibration.from_dict(after["calibration"])
    assert (measured.num_target, measured.num_nontarget) == (8 * 6, 28 * 16)
    assert measured.num_speakers == 8
    assert measured.eer == pytest.approx(eer, abs=1e-6)
    assert measured.threshold_eer == pytest.approx(threshold, abs=1e-5)
    assert {**before, "calibration": None} == {**after, "calibration": None}
    said = capsys.readouterr().out
    assert f"from now on {measured.limits()[0]:.4f} decides" in said
    assert re.match(rf"Equal errors:  [\d.]+ % each, from {measured.threshold_eer:.4f}\n", said)
    assert "Verdicts on the very people that adapted it" in said  # too few to hold some out
    assert re.search(r"^before( +[\d.]+ %)( +[\d.]+ % \(\d+\)){4}$", said, re.MULTILINE)
    assert re.search(r"^adapted( +[\d.]+ %)( +[\d.]+ % \(\d+\)){4}$", said, re.MULTILINE)
    assert "32 clips of 8 people: 48 pairs of one person, 448 of two people" in said
    assert "Unsure (*): '1 of 1,000 strangers accepted' cannot be measured with 448" in said
    assert "Chosen on half of the people" in said
    assert re.search(r"^Cannot tell:   (no score: from|scores from) ", said, re.MULTILINE)


def test_a_chosen_duration_is_written_with_its_thresholds(model, people, capsys):
    assert calibrate("--clips", people, "--model_path", model, "--max_duration", 0.8) == 0

    said = capsys.readouterr().out
    assert "From now on the model hears the first 0.8 s of a clip, in windows of 30 s; " in said
    assert "before: all of a clip, in windows of 30 s. A speaker library" in said
    assert written(model)["listening"] == {"window_s": 30.0, "max_duration_s": 0.8}
    predictor = MVectorPredictor(model, use_gpu=False)
    deciding, _ = Calibration.from_dict(written(model)["calibration"]).limits()
    assert predictor.threshold == pytest.approx(deciding)
    clip = next(people.glob("*/*.wav"))
    beginning = read_audio(clip, duration_s=0.8)
    np.testing.assert_allclose(predictor.predict(clip), predictor.predict(beginning), atol=1e-6)

    assert calibrate("--clips", people, "--model_path", model, "--max_duration", "inf") == 0
    assert written(model)["listening"] == {"window_s": 30.0, "max_duration_s": None}


@pytest.mark.parametrize("wrong", ["0", "-1", "nan"])
def test_a_duration_that_leaves_nothing_is_refused(model, people, capsys, wrong):
    assert calibrate("--clips", people, "--model_path", model, f"--max_duration={wrong}") == 2
    assert "it must be a duration in seconds" in capsys.readouterr().err


def test_a_copy_of_the_model_takes_the_thresholds_and_the_model_keeps_its_own(
    model, people, tmp_path, capsys
):
    before, mine = (model / "model.yml").read_bytes(), tmp_path / "models" / "mine"
    encoder = SpeakerEncoder.from_folder(model, "cpu")
    strangers = np.random.default_rng(0).normal(size=(9, encoder.embd_dim))
    save_cohort(model, strangers, encoder.fingerprint)  # of the model, and so of its copy

    assert calibrate("--clips", people, "--model_path", model, "--out", f"{mine}/") == 0

    assert (model / "model.yml").read_bytes() == before
    now = written(mine)["calibration"]
    assert f"{people} (8 people, " in now["description"]
    assert f"Written to {mine}/model.yml: from now on " in capsys.readouterr().out
    deciding, _ = Calibration.from_dict(now).limits()
    assert MVectorPredictor(mine, use_gpu=False).threshold == pytest.approx(deciding)
    own = {path.name for path in model.iterdir()} | {OWN_COHORT}  # of the eight people
    assert {path.name for path in mine.iterdir()} == own
    for path in (mine, tmp_path / "people"):
        assert calibrate("--clips", people, "--model_path", model, "--out", path) == 2
        assert f"'{path}' is there already; choose another --out." in capsys.readouterr().err


def test_a_dry_run_writes_nothing(model, people, capsys):
    before = (model / "model.yml").read_bytes()

    assert calibrate("--clips", people, "--model_path", model, "--dry_run") == 0

    assert (model / "model.yml").read_bytes() == before
    assert "Nothing is written" in capsys.readouterr().out


def test_too_few_people_are_not_written_unless_forced(model, people, capsys):
    for number in range(3, 8):
        shutil.rmtree(people / f"speaker_00{number}")
    before = (model / "model.yml").read_bytes()

    assert calibrate("--clips", people, "--model_path", model) == 1

    assert (model / "model.yml").read_bytes() == before
    assert "NOT written: fewer than 5 people" in capsys.readouterr().out
    assert calibrate("--clips", people, "--model_path", model, "--force") == 0
    assert written(model)["calibration"]["num_speakers"] == 3


def test_quality_of_clips_joins_the_calibration(model, people):
    assert calibrate("--clips", people, "--model_path", model, "--quality", "True") == 0

    ratios = written(model)["calibration"]["ratios"]  # with own strangers, the other six, first
    assert [len(ratio["weights"]) for ratio in ratios] == [2 + 10, 2 + 8, 2 + 4]
    assert np.isfinite(np.concatenate([ratio["weights"] for ratio in ratios])).all()


def test_bad_clips_and_copies_are_left_out_and_counted(model, people, capsys, caplog):
    (people / "speaker_000" / "broken.wav").write_bytes(b"no sound")
    shutil.copy(people / "speaker_001" / "clip_00.wav", people / "speaker_001" / "copy.wav")
    soundfile.write(people / "speaker_002" / "still.wav", np.zeros(32_000), 16_000)

    with caplog.at_level("WARNING", logger="mvector"):
        assert calibrate("--clips", people, "--model_path", model) == 0

    said = capsys.readouterr()
    assert "33 clips of 8 people (2 could not be used)" in said.out
    assert "Left out: 1 pair of clips with the same audio" in said.err
    assert written(model)["calibration"]["num_target"] == 7 * 6 + 9


def test_clips_of_a_person_are_taken_evenly(model, people, capsys):
    options = ("--clips", people, "--model_path", model, "--dry_run")

    assert calibrate(*options, "--max_clips_per_person", "2") == 0

    assert "16 clips of 8 people: 8 pairs of one person" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda people: shutil.rmtree(people), "does not exist; check the path."),
        (
            lambda people: [shutil.rmtree(p) for p in people.iterdir()],
            "/people/<speaker>/<clip>.wav: check the path.",
        ),
        (
            lambda people: [shutil.rmtree(p) for p in sorted(people.iterdir())[1:]],
            "of one speaker",
        ),
        (
            lambda people: [clip.unlink() for clip in people.glob("*/clip_0[123].wav")],
            "has two usable clips",
        ),
    ],
)
def test_what_allows_no_threshold_is_said_in_a_sentence(model, people, capsys, change, message):
    change(people)

    assert calibrate("--clips", people, "--model_path", model) == 2

    assert message in capsys.readouterr().err


def test_the_tool_is_thin():
    text = (ROOT / "tools" / "calibrate.py").read_text()
    assert 'run_script("calibrate")' in text
    assert len(text.splitlines()) < 15
