"""What ``tools/import_checkpoint.py`` leaves behind and says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from mvector.cli import run_script
from mvector.compat import SOURCES, export_checkpoint
from mvector.compat.source import Hints
from mvector.models.folder import load_model_folder
from mvector.models.onnx_file import ONNX_FILE
from mvector.models.onnx_model import load_onnx_model
from mvector.models.speaker_model import SpeakerModel


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    front_end = SOURCES["3dspeaker"].front_end(16, 16000, Hints())
    options = {"layout": "xvector", "embd_dim": 12, "channels": [8] * 5, "pooling_eps": 1e-8}
    model = SpeakerModel(front_end, "TDNN", options).eval()
    torch.save(export_checkpoint(model, "3dspeaker"), tmp_path / "theirs.bin")
    return tmp_path / "theirs.bin"


def import_to(folder: Path, checkpoint: Path) -> int:
    words = ["--source", "3dspeaker", "--path", str(checkpoint), "--out", str(folder)]
    return run_script("import_checkpoint", words)


def test_an_imported_model_can_be_used_without_torch(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    assert import_to(tmp_path / "model", checkpoint) == 0
    assert f"{tmp_path / 'model' / ONNX_FILE}, for use without PyTorch" in capsys.readouterr().out
    _, info = load_model_folder(tmp_path / "model")
    model, _ = load_onnx_model(tmp_path / "model")
    assert model.fingerprint == info.fingerprint


def test_without_onnx_the_model_is_imported_and_the_way_to_the_file_is_told(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    folder = tmp_path / "model"
    assert import_to(folder, checkpoint) == 0
    (told,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ONNX:")]
    assert "pip install onnx" in told
    assert f"python tools/export_onnx.py --model_path '{folder}'" in told
    load_model_folder(folder)
    assert not (folder / ONNX_FILE).exists()
