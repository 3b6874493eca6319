"""A clip's embedding is its own: alone, in any batch, from any source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from error_codes import raises_code
from safetensors.torch import load_file, save_file

from mvector import read_audio
from mvector.embedding import SpeakerEncoder
from mvector.errors import AudioError, CheckpointError
from mvector.models.description import update_model_folder
from mvector.models.folder import load_model_folder, save_model_folder
from mvector.models.speaker_model import SpeakerModel


@pytest.fixture(scope="module", params=["torch", "onnx"])
def encoder(request: pytest.FixtureRequest, trained_onnx_model: Path) -> SpeakerEncoder:
    return SpeakerEncoder.from_folder(trained_onnx_model, "cpu", engine=request.param)


@pytest.fixture
def model(trained_model: Path) -> SpeakerModel:
    return load_model_folder(trained_model)[0]


@pytest.fixture(scope="module")
def clips(voices: Path) -> list[str]:
    return [str(path) for path in sorted(voices.glob("*/*.wav"))[:20]]


def test_a_batch_of_any_lengths_equals_clip_by_clip(
    encoder: SpeakerEncoder, clips: list[str]
) -> None:
    waveforms = [(read_audio(clip)[: 9000 + 700 * k], 16000) for k, clip in enumerate(clips)]
    batch = encoder.embed_batch(waveforms, batch_size=7)
    alone = np.stack([encoder.embed(waveform) for waveform in waveforms])
    assert batch.shape == (20, 32)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, alone, atol=1e-5)


def test_clips_that_cannot_be_read_are_listed_and_the_others_embedded(
    encoder: SpeakerEncoder, clips: list[str], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    sources = [clips[0], str(tmp_path / "silent.wav"), clips[1], "gone.wav"]
    table = encoder.embed_readable(sources)
    assert table.good.tolist() == [0, 2]
    assert [position for position, _ in table.failures] == [1, 3]
    np.testing.assert_allclose(table.embeddings[1], encoder.embed(clips[1]), atol=1e-5)
    with pytest.raises(AudioError, match=r"silent\.wav' is silent"):
        encoder.embed_batch(sources)


def test_a_folder_gives_back_the_model_that_was_saved(
    model: SpeakerModel, clips: list[str], tmp_path: Path
) -> None:
    fingerprint = save_model_folder(tmp_path / "copy", model)
    copy = SpeakerEncoder.from_folder(tmp_path / "copy", "cpu")
    assert copy.info is not None
    assert copy.info.fingerprint == fingerprint
    own = SpeakerEncoder(model, device="cpu")
    np.testing.assert_array_equal(copy.embed(clips[0]), own.embed(clips[0]))


def test_an_older_folder_is_replaced_and_an_interrupted_replacement_recovered(
    model: SpeakerModel, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    for epochs in (1, 2):
        save_model_folder(folder, model, provenance={"epochs": epochs})
    assert load_model_folder(folder)[1].provenance == {"epochs": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    folder.rename(tmp_path / "model.old")  # as a kill between the two renames leaves it
    assert load_model_folder(folder)[1].provenance == {"epochs": 2}


def test_a_failed_write_leaves_the_older_folder(
    model: SpeakerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    save_model_folder(folder, model, provenance={"epochs": 1})

    def full_disk(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mvector.models.folder.save_file", full_disk)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_model_folder(folder, model, provenance={"epochs": 2})
    assert load_model_folder(folder)[1].provenance == {"epochs": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_folder_of_a_run_is_told_from_its_model(model: SpeakerModel, tmp_path: Path) -> None:
    save_model_folder(tmp_path / "best_model", model)
    with pytest.raises(
        CheckpointError, match="is the folder of a training run; give its model, "
    ) as e:
        load_model_folder(tmp_path)
    assert str(e.value).endswith(f"'{tmp_path / 'best_model'}'.")


def test_damaged_folders_are_one_sentence(model: SpeakerModel, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with pytest.raises(CheckpointError, match=r"does not exist; train a model"):
        load_model_folder(folder)
    folder.mkdir()
    with pytest.raises(CheckpointError, match=r"is not a model folder: it has no model\.yml"):
        load_model_folder(folder)
    save_model_folder(folder, model)
    state = load_file(folder / "model.safetensors")
    changed = {**state, "embedding.bias": state["embedding.bias"] + 1}
    save_file(changed, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="do not belong together"):
        load_model_folder(folder)
    save_file({"other": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="belongs to another model"):
        load_model_folder(folder)
    (folder / "model.safetensors").write_bytes(b"garbage")
    with raises_code("checkpoint-damaged"):
        load_model_folder(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors; copy the whole folder"):
        load_model_folder(folder)
    (folder / "model.yml").write_text("format_version: 99")
    with pytest.raises(CheckpointError, match="format version 99"):
        load_model_folder(folder)
    (folder / "model.yml").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_model_folder(folder)


def test_calibration_can_be_replaced_alone(model: SpeakerModel, tmp_path: Path) -> None:
    save_model_folder(tmp_path, model, metrics={"eer": 0.5, "old": 1})
    before = load_model_folder(tmp_path)[1].fingerprint
    heard = {"window_s": 30.0, "max_duration_s": 20.0}
    update_model_folder(tmp_path, calibration={"a": 1}, listening=heard, metrics={"eer": 0.1})
    info = load_model_folder(tmp_path)[1]
    assert (info.calibration, info.metrics) == ({"a": 1}, {"eer": 0.1, "old": 1})
    assert info.listening == heard
    assert info.fingerprint == before


def test_loudness_does_not_change_the_embedding(encoder: SpeakerEncoder, clips: list[str]) -> None:
    waveform = read_audio(clips[0])
    loud, quiet = (encoder.embed((gain * waveform, 16000)) for gain in (1.0, 0.05))
    np.testing.assert_allclose(loud, quiet, atol=1e-4)


def test_the_voices_are_told_apart(encoder: SpeakerEncoder, voices: Path) -> None:
    clips = [str(voices / f"speaker_00{k}" / f"clip_0{c}.wav") for k in range(8) for c in (8, 9)]
    embeddings = encoder.embed_batch(clips)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = embeddings[::2] @ embeddings[1::2].T
    same, different = np.diag(cosines), cosines[~np.eye(8, dtype=bool)]
    assert same.mean() > different.mean() + 0.2


def test_both_engines_give_one_embedding_and_one_fingerprint(
    trained_onnx_model: Path, clips: list[str]
) -> None:
    torch_, onnx = (
        SpeakerEncoder.from_folder(trained_onnx_model, "cpu", engine=engine)
        for engine in ("torch", "onnx")
    )
    assert torch_.fingerprint == onnx.fingerprint
    expected, found = (encoder.embed_batch(clips) for encoder in (torch_, onnx))
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
