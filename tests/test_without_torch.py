"""Comparing and recognising where only the runtime is installed: no torch, SciPy, scikit-learn."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx_folder import with_onnx
from onnx_stand_in import stand_in_folder
from small_model import RATE, small_calibration, small_model, speech
from small_settings import ROOT

from mvector.audio import write_wav
from mvector.cli import main
from mvector.data.lists import write_list

OF_TRAINING = (
    *("torch", "scipy", "sklearn", "safetensors", "librosa", "visualdl", "torchinfo"),
    *("matplotlib", "torchaudio", "pyarrow", "av", "silero_vad", "faiss", "cryptography", "onnx"),
)
OF_EVALUATION = ("scipy", "sklearn")
# Not by a None in sys.modules, which SciPy takes for a torch that is imported already.
_HIDING = """
import sys
from importlib.machinery import PathFinder

def find(name, *places, find=PathFinder.find_spec):
    return None if name.partition(".")[0] in {hidden} else find(name, *places)

PathFinder.find_spec = find
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


def run_hidden(
    code: str, folder: Path, hidden: Sequence[str] = OF_TRAINING
) -> subprocess.CompletedProcess[str]:
    """Run it in a process that has none of these packages, with the folder as current one."""
    paths = f"sys.path.insert(0, {str(ROOT)!r})\n"
    words = [sys.executable, "-c", _HIDING.format(hidden=tuple(hidden)) + paths + code]
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
    main(["recognition", *library, "--watch", "voice_0.wav", "--threshold", "0.9",
          "--hop_seconds", "1"]),
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
    assert told["codes"] == [0, 0, 0, 0, 2, 0, 0]
    assert "Turns need what finds speech: pip install silero-vad, or librosa." in run.stderr
    assert "--hop_seconds 1 tells each second who is heard." in run.stderr
    assert told["best"] == "Ada"
    assert told["shape"] == [2, 16]
    assert -1.0 <= told["score"] < 0.9999
    assert "same person" not in run.stderr


def test_evaluation_and_extraction_give_by_onnx_what_they_give_by_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_onnx(small_model(tmp_path / "model"))
    clips = []
    for voice, seed in itertools.product(range(3), range(2)):
        clips.append((f"{voice}_{seed}.wav", voice))
        write_wav(tmp_path / clips[-1][0], speech(voice, 1.5, seed), RATE)
    write_list(tmp_path / "clips.txt", clips)
    pairs = itertools.combinations(clips, 2)
    trials = "".join(f"{int(one[1] == other[1])} {one[0]} {other[0]}\n" for one, other in pairs)
    (tmp_path / "trials.txt").write_text(trials)

    def words(engine: str) -> list[list[str]]:
        model = ["--model_path", "model", "--engine", engine]
        lists = ["dataset_conf.trials_list=trials.txt", "dataset_conf.enroll_list=null"]
        settings = [word for each in lists for word in ("--set", each)]
        figures = ["--out", f"{engine}.json", "--save_scores", f"{engine}_scores.npz"]
        evaluation = ["eval", *model, "--configs", "tdnn", *settings, *figures, "--verdict"]
        return [["extract_embeddings", "clips.txt", f"{engine}.npz", *model], evaluation]

    monkeypatch.chdir(tmp_path)
    assert [main(each) for each in words("torch")] == [0, 0]
    code = f"from mvector.cli import main\nsys.exit(any([main(each) for each in {words('onnx')}]))"
    run = run_hidden(code, tmp_path, [name for name in OF_TRAINING if name not in OF_EVALUATION])
    assert run.returncode == 0, run.stderr

    with np.load("torch.npz") as torch_clips, np.load("onnx.npz") as onnx_clips:
        assert onnx_clips["fingerprint"] == torch_clips["fingerprint"]
        np.testing.assert_allclose(onnx_clips["embeddings"], torch_clips["embeddings"], atol=1e-4)
    with np.load("torch_scores.npz") as by_torch, np.load("onnx_scores.npz") as by_onnx:
        np.testing.assert_allclose(by_onnx["scores"], by_torch["scores"], atol=1e-4)
    told, expected = (json.loads(Path(f"{name}.json").read_text()) for name in ("onnx", "torch"))
    assert told["model"] == expected["model"]
    assert told["eer"]["value"] == expected["eer"]["value"]
    assert told["verdict"] == expected["verdict"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("train --configs ecapa_tdnn", "needs PyTorch, which is not installed: pip install '."),
        (
            "eval --model_path tiny --configs tdnn",
            "needs SciPy, which is not installed: pip install '.[evaluate]'",
        ),
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
