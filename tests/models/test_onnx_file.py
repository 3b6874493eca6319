"""What a model.onnx says of its model, and what else such a file may be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from error_codes import raises_code
from onnx_stand_in import expected_embedding, metadata, write_tiny_model

from mvector.errors import CheckpointError
from mvector.models.onnx_file import (
    EMBEDDING,
    NUM_SAMPLES,
    WAVEFORM,
    OnnxMetadata,
    open_session,
    require_runnable,
)


def test_metadata_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = metadata(front_end={"sample_rate": 8000, "preprocess": {"a": [1, "é"]}})
    properties = written.to_properties()
    assert properties["mvector_format"] == "1"
    assert all(isinstance(value, str) for value in properties.values())
    assert OnnxMetadata.from_properties(properties, tmp_path) == written


def test_a_file_of_the_first_versions_tells_no_shortest_clip(tmp_path: Path) -> None:
    properties = metadata(min_samples=400).to_properties()
    assert OnnxMetadata.from_properties(properties, tmp_path).min_samples == 400
    del properties["min_samples"]
    assert OnnxMetadata.from_properties(properties, tmp_path).min_samples == 0


def test_a_file_is_opened_and_computes_each_clip_by_itself(tmp_path: Path) -> None:
    session, found = open_session(write_tiny_model(tmp_path / "model.onnx"))
    assert found == metadata()
    require_runnable(session, found, tmp_path)
    clips = [np.random.default_rng(k).normal(size=4000 + 900 * k) for k in range(3)]
    padded = np.zeros((3, 5800), np.float32)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    lengths = np.array([len(clip) for clip in clips])
    (embeddings,) = session.run([EMBEDDING], {WAVEFORM: padded, NUM_SAMPLES: lengths})
    for embedding, clip in zip(embeddings, clips, strict=True):
        np.testing.assert_allclose(embedding, expected_embedding(clip), atol=1e-5)


def test_a_folder_without_the_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no model\.onnx; make it where torch is"):
        open_session(tmp_path / "model.onnx")


def test_files_that_are_no_model_are_one_sentence_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    whole = write_tiny_model(file).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>not found</html>", bytes(100)):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"model\.onnx' is damaged or no") as caught:
            open_session(file)
        assert caught.value.code == "checkpoint-damaged"
        assert "\n" not in str(caught.value)
        assert "ONNXRuntimeError" not in str(caught.value)


def test_a_file_of_another_program_is_told_from_one_of_mvector(tmp_path: Path) -> None:
    file = write_tiny_model(tmp_path / "other.onnx", {"framework": "wespeaker"})
    with pytest.raises(CheckpointError, match="was not exported by mvector"):
        open_session(file)


@pytest.mark.parametrize("newer", [{"opset": 99}, {"ir_version": 99}])
def test_a_file_of_a_newer_onnx_says_so(tmp_path: Path, newer: dict[str, int]) -> None:
    file = write_tiny_model(tmp_path / "new.onnx", **newer)
    with pytest.raises(CheckpointError, match=r"newer ONNX than onnxruntime \d"):
        open_session(file)


def test_a_newer_format_asks_for_an_update(tmp_path: Path) -> None:
    properties = {**metadata().to_properties(), "mvector_format": "2"}
    with pytest.raises(CheckpointError, match="format version 2, this mvector reads 1; update"):
        open_session(write_tiny_model(tmp_path / "new.onnx", properties))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("embd_dim", "many"),
        ("front_end", "{"),
        ("front_end", "[]"),
        ("front_end", "[" * 100_000),
        ("precision", "int4"),
        ("input", "text"),
        ("fingerprint", None),
    ],
)
def test_metadata_that_make_no_sense_are_damage(
    tmp_path: Path, key: str, value: str | None
) -> None:
    properties = metadata().to_properties()
    del properties[key]
    if value is not None:
        properties[key] = value
    with raises_code("checkpoint-damaged"):
        OnnxMetadata.from_properties(properties, tmp_path / "model.onnx")


def test_a_model_of_features_is_not_run_on_waveforms(tmp_path: Path) -> None:
    properties = metadata(input="features").to_properties()
    file = write_tiny_model(tmp_path / "model.onnx", properties)
    session, found = open_session(file)
    with pytest.raises(CheckpointError, match="takes features and no waveform"):
        require_runnable(session, found, file)
