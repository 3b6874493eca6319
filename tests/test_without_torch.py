"""Comparing and recognising where only the runtime is installed: no torch, SciPy, scikit-learn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from onnx_stand_in import stand_in_folder
from small_model import RATE, small_calibration, small_model, speech
from small_settings import ROOT

from mvector.audio import write_wav

OF_TRAINING = (
    *("torch", "scipy", "sklearn", "safetensors", "librosa", "visualdl", "torchinfo"),
    *("matplotlib", "torchaudio", "pyarrow", "av", "silero_vad", "faiss", "cryptography", "onnx"),
)
_HIDDEN = f"""
import sys
for name in {OF_TRAINING}:
    sys.modules[name] = None
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with ``model.onnx``, one with weights alone, and clips of two voices."""
    folder = tmp_path_factory.mktemp("runtime")
    stand_in_folder(folder / "tiny", calibration=small_calibration().to_dict())
    small_model(folder / "weights")
    for voice in range(2):
        write_wav(folder / f"voice_{voice}.wav", speech(voice, 3.2), RATE)
    return folder


def run_hidden(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it in a process that has none of these packages, with the folder as current one."""
    paths = f"sys.path.insert(0, {str(ROOT)!r})\n"
    words = [sys.executable, "-c", _HIDDEN + paths + code]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True)


def test_everything_from_import_to_watching_runs(workplace: Path) -> None:
    run = run_hidden(
        """
import json
import mvector
from mvector import MVectorPredictor
from mvector.cli import main
from mvector.embedding import SpeakerEncoder
from mvector.speakers import SpeakerLibrary

model = ["--model_path", "tiny"]
library = [*model, "--audio_db_path", "db"]
codes = [
    main(["contrast", *model, "voice_0.wav", "voice_0.wav", "--json"]),
    main(["recognition", *library, "--register", "Ada", "voice_0.wav"]),
    main(["recognition", *library, "--identify", "voice_0.wav", "--json"]),
    main(["recognition", *library, "--watch", "voice_0.wav", "--threshold", "0.9"]),
    main(["recognition", "--audio_db_path", "db", "--list"]),
    main(["recognition", "--audio_db_path", "db", "--audit"]),
]
encoder = SpeakerEncoder.from_folder("tiny")
with SpeakerLibrary("db", encoder) as people:
    best = people.identify("voice_0.wav")[0]
predictor = MVectorPredictor("tiny", engine="onnx")
score = predictor.contrast("voice_0.wav", "voice_1.wav")
batch = predictor.predict_batch(["voice_0.wav", "voice_1.wav"])
from fastapi.testclient import TestClient
from mvector.service.app import build_app
from mvector.service.service import Service
from mvector.service.settings import ServiceSettings
served = MVectorPredictor("tiny", audio_db_path="db", threshold=0.9)
with TestClient(build_app(Service(served, ServiceSettings(), None)), "http://localhost") as client:
    clip = {"file": open("voice_0.wav", "rb")}
    assert client.post("/v1/identify", files=clip).json()["name"] == "Ada"
print(json.dumps({"codes": codes, "best": best.name, "score": score, "shape": batch.shape}))
""",
        workplace,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["codes"] == [0] * 6
    assert told["best"] == "Ada"
    assert told["shape"] == [2, 16]
    assert -1.0 <= told["score"] < 0.9999
    assert "same person" not in run.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("train --configs ecapa_tdnn", "needs PyTorch, which is not installed: pip install '."),
        ("eval --configs ecapa_tdnn", "needs PyTorch, which is not installed: pip install '."),
        ("import_checkpoint --path weights/x.pt --out new", "needs PyTorch, which is not"),
        ("contrast --model_path weights voice_0.wav voice_1.wav", "has no model.onnx, and PyTorch"),
        ("contrast --model_path weights voice_0.wav voice_1.wav --engine onnx", "has no model.on"),
        ("contrast --model_path tiny voice_0.wav voice_1.wav --use_gpu True", "PyTorch"),
    ],
)
def test_what_needs_torch_says_so_in_one_sentence(
    workplace: Path, words: str, sentence: str
) -> None:
    code = f"from mvector.cli import main\nsys.exit(main({words.split()!r}))"
    run = run_hidden(code, workplace)
    assert run.returncode == 2, run.stderr
    assert sentence in run.stderr
    assert len(run.stderr.splitlines()) == 1, run.stderr


def test_names_of_the_package_that_need_torch_say_so(workplace: Path) -> None:
    run = run_hidden(
        """
from mvector.errors import MissingDependencyError
import mvector, mvector.models, mvector.features
for find in (
    lambda: mvector.MVectorTrainer,
    lambda: mvector.models.build_backbone,
    lambda: mvector.features.Fbank,
):
    try:
        find()
    except MissingDependencyError as error:
        print(error)
""",
        workplace,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("needs PyTorch, which is not installed: pip install '.[train]'") == 3
