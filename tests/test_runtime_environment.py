"""An environment with ``pip install .`` alone; make test-runtime makes one and runs this.

Then it adds the packages of evaluation to the environment, and runs this again.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from onnx_folder import with_onnx
from small_settings import ROOT

from mvector import MVectorPredictor
from mvector.embedding import SpeakerEncoder
from mvector.evaluation.run import verify_lists
from mvector.models.named import DEFAULT_MODEL

PYTHON = os.environ.get("MVECTOR_RUNTIME_PYTHON", "")

pytestmark = pytest.mark.skipif(not PYTHON, reason="make test-runtime makes the environment")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in the box with ``model.onnx``, and the sample clips as ``voice_a_1.flac`` …"""
    folder = tmp_path_factory.mktemp("runtime")
    with_onnx(shutil.copytree(DEFAULT_MODEL, folder / "model"))
    for clip in (ROOT / "dataset" / "samples").glob("*/*.flac"):
        shutil.copy(clip, folder / f"{clip.parent.name}_{clip.name}")
    return folder


def run(workplace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, "-m", "mvector", *words]
    environment = {**os.environ, "MVECTOR_HOME": str(workplace / "home")}
    return subprocess.run(
        command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=300
    )


def has(package: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([PYTHON, "-c", code]).returncode == 0


def test_it_has_neither_torch_nor_anything_else_of_training() -> None:
    names = ("torch", "safetensors", "filelock", "librosa", "onnx")
    assert not [name for name in names if has(name)]


@pytest.mark.parametrize("other", ["voice_a_2.flac", "voice_b_1.flac"])
def test_a_contrast_has_the_score_of_torch(workplace: Path, other: str) -> None:
    clips = ["voice_a_1.flac", other]
    told = run(workplace, "contrast", "--model_path", "model", *clips, "--json")
    assert told.returncode in (0, 1, 3), told.stderr
    assert told.stderr == ""
    expected = MVectorPredictor(workplace / "model", use_gpu=False, engine="torch").contrast(
        *(workplace / clip for clip in clips)
    )
    assert json.loads(told.stdout)["score"] == pytest.approx(float(expected), abs=1e-4)


def test_people_are_enrolled_recognised_and_heard_in_a_file(workplace: Path) -> None:
    library = ["recognition", "--model_path", "model", "--audio_db_path", "db"]
    for name in ("a", "b"):
        told = run(workplace, *library, "--register", name, f"voice_{name}_1.flac")
        assert told.returncode == 0, told.stderr
    told = run(workplace, *library, "--identify", "voice_b_2.flac", "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["speaker"] == "b"
    watch = [*library, "--watch", "voice_a_1.flac"]
    told = run(workplace, *watch, "--hop_seconds", "1")
    assert told.returncode == 0, told.stderr
    told = run(workplace, *watch)
    assert told.returncode == 2
    assert "--hop_seconds" in told.stderr
    assert run(workplace, "recognition", "--audio_db_path", "db", "--list").returncode == 0


def test_embeddings_are_extracted(workplace: Path) -> None:
    clips = [path.name for path in workplace.glob("voice_*.flac")]
    (workplace / "clips.txt").write_text("\n".join(clips))
    told = run(workplace, "extract_embeddings", "clips.txt", "o.npz", "--model_path", "model")
    assert told.returncode == 0, told.stderr
    encoder = SpeakerEncoder.from_folder(workplace / "model", "cpu", engine="torch")
    with np.load(workplace / "o.npz") as written:
        for path, embedding in zip(written["paths"], written["embeddings"], strict=True):
            expected = encoder.embed(workplace / str(path))
            assert np.abs(embedding - expected).max() < 1e-3 * np.abs(expected).max()


def test_an_evaluation_has_the_rates_of_torch_or_says_what_it_needs(workplace: Path) -> None:
    clips = sorted(path.name for path in workplace.glob("voice_*.flac"))
    pairs = itertools.combinations(clips, 2)
    lines = [f"{int(one[:7] == other[:7])} {one} {other}\n" for one, other in pairs]
    (workplace / "trials.txt").write_text("".join(lines))
    settings = ["--set", "dataset_conf.trials_list=trials.txt"]
    settings += ["--set", "dataset_conf.enroll_list=null"]
    words = ["--model_path", "model", "--save_scores", "scores.npz", *settings]
    told = run(workplace, "eval", *words, "--configs", "ecapa_tdnn")
    if not has("sklearn"):
        assert "This needs SciPy, which is not installed: pip install '.[evaluate]'" in told.stderr
        return
    assert told.returncode == 0, told.stderr
    encoder = SpeakerEncoder.from_folder(workplace / "model", "cpu", engine="torch")
    expected = verify_lists(encoder, str(workplace / "trials.txt"), root=str(workplace)).scores
    with np.load(workplace / "scores.npz") as written:
        np.testing.assert_allclose(written["scores"], expected, atol=1e-4)


def test_what_needs_torch_says_how_to_get_it(workplace: Path) -> None:
    told = run(workplace, "train", "--configs", "ecapa_tdnn")
    assert told.returncode == 2
    assert "needs PyTorch, which is not installed: pip install '.[train]'" in told.stderr
