"""Which engine runs a model folder, and what is said where it cannot."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from error_codes import raises_code
from onnx_stand_in import metadata, stand_in_folder, write_tiny_model
from small_model import small_model

from mvector.errors import CheckpointError, MissingDependencyError, MVectorError
from mvector.models.description import read_model_info
from mvector.models.engine import load_model
from mvector.models.folder import load_model_folder
from mvector.models.onnx_model import OnnxModel
from mvector.models.speaker_model import SpeakerModel


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder without ``model.onnx``."""
    return small_model(tmp_path_factory.mktemp("engine") / "model")


@pytest.fixture
def both(weights: Path, tmp_path: Path) -> Path:
    """A folder with weights, and a ``model.onnx`` that says it is of them."""
    return add_onnx(shutil.copytree(weights, tmp_path / "both"))


def add_onnx(folder: Path, **changes: Any) -> Path:
    model, info = load_model_folder(folder)
    known = {"fingerprint": info.fingerprint, "front_end": model.front_end.to_dict()}
    told = metadata(**{**known, **changes})
    write_tiny_model(folder / "model.onnx", told.to_properties())
    return folder


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)


def test_on_a_cpu_onnx_runs_a_folder_that_has_it_and_torch_another(
    weights: Path, both: Path
) -> None:
    assert isinstance(load_model(weights, "auto", "cpu")[0], SpeakerModel)
    assert isinstance(load_model(both, "torch", "cpu")[0], SpeakerModel)
    model, info = load_model(both, "auto", "cpu")
    assert isinstance(model, OnnxModel)
    assert (model.fingerprint, info.folder) == (info.fingerprint, both)
    assert info == read_model_info(both)


def test_on_a_gpu_torch_runs_it(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvector.models.engine.may_have_gpu", lambda: True)
    monkeypatch.setattr("mvector.models.engine.choose_device", lambda *_: torch.device("cuda"))
    assert isinstance(load_model(both)[0], SpeakerModel)
    monkeypatch.setattr("mvector.models.engine.may_have_gpu", lambda: False)
    assert isinstance(load_model(both)[0], OnnxModel)


def test_an_engine_or_device_that_there_is_not_is_refused(both: Path) -> None:
    with pytest.raises(MVectorError, match="no engine 'tflite': choose auto, torch, onnx"):
        load_model(both, "tflite")  # type: ignore[arg-type]
    with pytest.raises(MVectorError, match="computes on the CPU"):
        load_model(both, "onnx", "cuda")


def test_a_clip_shorter_than_the_file_says_is_too_short(weights: Path, tmp_path: Path) -> None:
    folder = add_onnx(shutil.copytree(weights, tmp_path / "both"), min_samples=800)
    model, _ = load_model(folder, "onnx")
    assert isinstance(model, OnnxModel)
    model.embed(np.ones(800, np.float32))
    with raises_code("audio-too-short"):
        model.embed(np.ones(799, np.float32))


def test_a_folder_without_the_file_says_how_to_make_it(weights: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no model\.onnx; make it where torch is"):
        load_model(weights, "onnx")
    with raises_code("model-not-found"):
        load_model(weights.parent / "gone", "onnx")


def test_without_torch_a_folder_needs_the_file(
    weights: Path, both: Path, without_torch: None
) -> None:
    assert isinstance(load_model(both)[0], OnnxModel)
    with pytest.raises(MissingDependencyError, match=r"make the file where it is \(python tools/"):
        load_model(weights)
    with raises_code("missing-dependency"):
        load_model(both, "torch")
    with raises_code("model-not-found"):  # and not that torch is missing
        load_model(weights.parent / "gone")


@pytest.mark.parametrize(
    "other", [{"fingerprint": "ffff"}, {"front_end": {"sample_rate": 8000, "preprocess": {}}}]
)
def test_a_file_of_another_model_is_refused(both: Path, other: dict[str, Any]) -> None:
    add_onnx(both, **other)
    with raises_code("model-mismatch"):
        load_model(both, "onnx")


def test_where_torch_is_there_a_file_that_cannot_be_used_is_passed_over(
    both: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (both / "model.onnx").write_bytes(b"<html>")
    with caplog.at_level(logging.WARNING):
        assert isinstance(load_model(both, "auto", "cpu")[0], SpeakerModel)
    assert "The engine torch is used: " in caplog.text
    with raises_code("checkpoint-damaged"):
        load_model(both, "onnx")


def test_where_it_is_not_the_fault_of_the_file_is_told(both: Path, without_torch: None) -> None:
    (both / "model.onnx").write_bytes(b"<html>")
    with raises_code("checkpoint-damaged"):
        load_model(both)


def test_embeddings_of_int8_weights_are_told_from_others(
    both: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_onnx(both, precision="int8")
    for has_instructions in (True, False):
        monkeypatch.setattr(
            "mvector.models.onnx_model.cpu_multiplies_int8", lambda has=has_instructions: has
        )
        caplog.clear()
        model, info = load_model(both, "onnx")
        assert isinstance(model, OnnxModel)
        assert model.fingerprint == f"{info.fingerprint}-int8"
        assert ("(VNNI)" in caplog.text) is not has_instructions


def test_a_stand_in_needs_no_weights(tmp_path: Path) -> None:
    model, _ = load_model(stand_in_folder(tmp_path / "tiny"), "onnx")
    assert model.name == "Tiny_Fbank"
