"""A model as an ONNX file: what it takes, gives and tells, and when none is written."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from error_codes import raises_code

pytest.importorskip("onnx")

from small_encoder import small_encoder

from mvector.cli import run_script
from mvector.errors import CheckpointError
from mvector.export import checking, export_onnx
from mvector.models.folder import fingerprint_of, save_model_folder
from mvector.models.onnx_file import ONNX_FILE, open_session
from mvector.models.speaker_model import SpeakerModel
from mvector.shipped import shipped_folder

LENGTHS = torch.tensor([16000, 4400, 2800, 7777])


@pytest.fixture(scope="module")
def model() -> SpeakerModel:
    return small_encoder().model.eval()


@pytest.fixture(scope="module")
def file(model: SpeakerModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(model, tmp_path_factory.mktemp("exported") / "m.onnx").path


@pytest.fixture
def batch() -> torch.Tensor:
    waveforms = 0.1 * torch.randn(4, 16000, generator=torch.Generator().manual_seed(3))
    for row, length in zip(waveforms, LENGTHS, strict=True):
        row[length:] = 0.0
    return waveforms


def embeddings(file: Path, batch: torch.Tensor, lengths: torch.Tensor = LENGTHS) -> np.ndarray:
    session, _ = open_session(file)
    given = {"waveform": batch.numpy(), "num_samples": lengths.numpy()}
    (found,) = session.run(["embedding"], given)
    return found


def test_a_batch_of_any_lengths_has_the_embeddings_of_the_model(
    model: SpeakerModel, file: Path, batch: torch.Tensor
) -> None:
    with torch.inference_mode():
        expected = model(batch, LENGTHS).numpy()
    np.testing.assert_allclose(embeddings(file, batch), expected, rtol=0, atol=2e-5)


def test_neither_neighbours_nor_what_is_behind_the_end_change_an_embedding(
    file: Path, batch: torch.Tensor
) -> None:
    together = embeddings(file, batch)
    alone = [
        embeddings(file, row[None, :length], length[None])[0]
        for row, length in zip(batch, LENGTHS, strict=True)
    ]
    np.testing.assert_array_equal(together, alone)
    batch[1, LENGTHS[1] :] = np.nan
    np.testing.assert_array_equal(embeddings(file, batch), together)


def test_an_empty_batch_has_no_embeddings(model: SpeakerModel, file: Path) -> None:
    found = embeddings(file, torch.zeros(0, 8000), torch.zeros(0, dtype=torch.int64))
    assert found.shape == (0, model.embd_dim)


def test_the_file_tells_which_model_it_is(model: SpeakerModel, file: Path) -> None:
    _, told = open_session(file)
    assert told.fingerprint == fingerprint_of(model)
    assert told.front_end == model.front_end.to_dict()
    assert (told.embd_dim, told.sample_rate, told.name) == (16, 16000, "TDNN_Fbank")
    assert (told.input, told.precision) == ("waveform", "float32")


def test_the_file_tells_the_shortest_clip_that_the_model_takes(
    model: SpeakerModel, file: Path
) -> None:
    shortest = open_session(file)[1].min_samples
    with torch.inference_mode():
        model(torch.ones(1, shortest))
        with raises_code("audio-too-short"):
            model(torch.ones(1, shortest - 1))
    clip = torch.linspace(-0.1, 0.1, shortest)[None]
    assert np.isfinite(embeddings(file, clip, torch.tensor([shortest]))).all()


def test_features_of_a_front_end_of_ones_own_can_be_given(
    model: SpeakerModel, batch: torch.Tensor, tmp_path: Path
) -> None:
    file = export_onnx(model, tmp_path / "f.onnx", input="features").path
    session, told = open_session(file)
    assert told.input == "features"
    with torch.inference_mode():
        features, num_frames = model.features(batch, LENGTHS)
        expected = model(batch, LENGTHS).numpy()
    given = {"features": features.numpy(), "num_frames": num_frames.numpy()}
    (found,) = session.run(["embedding"], given)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_float16_halves_the_weights_and_hardly_moves_embeddings(
    model: SpeakerModel, file: Path, batch: torch.Tensor, tmp_path: Path
) -> None:
    half = export_onnx(model, tmp_path / "h.onnx", precision="float16")
    assert half.cosine >= 0.9999
    num_weights = sum(p.numel() for p in model.backbone.parameters() if p.dim() > 1)
    saved = file.stat().st_size - half.num_bytes
    assert saved == pytest.approx(2 * num_weights, rel=0.1)
    found, exact = embeddings(half.path, batch), embeddings(file, batch)
    assert 0.9999 <= checking.cosines(exact, found).min() < 1.0
    assert open_session(half.path)[1].precision == "float16"


def test_int8_makes_a_smaller_file_of_close_embeddings_that_tells_what_it_is(
    model: SpeakerModel, batch: torch.Tensor, tmp_path: Path
) -> None:
    exported = export_onnx(model, tmp_path / "i.onnx", precision="int8")
    assert 0.99 <= exported.cosine <= exported.mean_cosine < 1.0
    _, told = open_session(exported.path)
    assert told.precision == "int8"
    assert (told.fingerprint, told.front_end) == (fingerprint_of(model), model.front_end.to_dict())
    with torch.inference_mode():
        expected = model(batch, LENGTHS).numpy()
    found = embeddings(exported.path, batch)
    assert checking.cosines(expected, found).min() > 0.95  # of noise, which it was not scaled by
    alone = embeddings(exported.path, batch[2:3, : LENGTHS[2]], LENGTHS[2:3])
    np.testing.assert_array_equal(found[2:3], alone)


def test_int8_that_is_not_close_is_not_written(
    model: SpeakerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checking.LEAST_COSINE, "int8", 1.1)
    with raises_code("export-inexact"):
        export_onnx(model, tmp_path / "m.onnx", precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_exporting_leaves_the_model_as_it_was(model: SpeakerModel, tmp_path: Path) -> None:
    before = fingerprint_of(model)
    model.train()
    export_onnx(model, tmp_path / "m.onnx")
    assert model.training
    model.eval()
    assert fingerprint_of(model) == before


def test_a_graph_that_is_not_the_model_is_not_written(
    model: SpeakerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checking.LEAST_COSINE, "float16", 1.1)
    with pytest.raises(CheckpointError, match=r"the cosine .* nothing was written") as caught:
        export_onnx(model, tmp_path / "m.onnx", precision="float16")
    assert caught.value.code == "export-inexact"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_model_whose_embeddings_are_not_finite_is_not_written(bad: float, tmp_path: Path) -> None:
    model = small_encoder().model
    with torch.no_grad():
        model.backbone.embedding[0].weight[0, 0] = bad
    with raises_code("export-inexact"):
        export_onnx(model, tmp_path / "m.onnx")


def test_a_place_that_cannot_be_written_to_is_told_before_the_work(
    model: SpeakerModel, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"Cannot write .*it is a folder"):
        export_onnx(model, tmp_path)


def test_a_missing_package_is_one_sentence_with_the_cure(
    model: SpeakerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with raises_code("missing-dependency"):
        export_onnx(model, tmp_path / "m.onnx")


def test_the_command_puts_the_file_into_the_models_folder(
    model: SpeakerModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    save_model_folder(folder, model)
    assert run_script("export_onnx", ["--model_path", str(folder)]) == 0
    _, told = open_session(folder / ONNX_FILE)
    assert told.fingerprint == fingerprint_of(model)
    out = capsys.readouterr().out
    assert str(folder / ONNX_FILE) in out
    assert "1.00000" in out


def test_the_command_tells_the_error_rates_of_the_file_and_of_the_model(
    model: SpeakerModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, samples = tmp_path / "model", shipped_folder("samples")
    save_model_folder(folder, model)
    (tmp_path / "trials").write_text(
        "1 voice_a/1.flac voice_a/2.flac\n0 voice_a/1.flac voice_b/1.flac\n"
    )
    words = ["--model_path", str(folder), "--list", str(tmp_path / "trials")]
    assert run_script("export_onnx", [*words, "--data_root", str(samples)]) == 0
    assert re.search(r"EER: +\d+\.\d\d %, of the model \d+\.\d\d %", capsys.readouterr().out)
    assert run_script("export_onnx", words) == 2  # clips that are not here are told before the work
    told = capsys.readouterr()
    assert "voice_a/1.flac" in told.err
    assert "Written" not in told.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model_path", "box"], "stays as it is; give --out FILE"),
        (["--model_path", "m", "--input", "features"], "give --out FILE"),
        (["--model_path", "nowhere", "--out", "o"], "does not exist"),
    ],
)
def test_what_the_command_refuses(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_script("export_onnx", words) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
