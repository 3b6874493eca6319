"""Which files are read and how: nothing is executed, nothing is guessed, nothing is lost."""

from __future__ import annotations

import argparse
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from error_codes import raises_code
from mvector_1 import mvector_state
from safetensors.torch import save_file

from mvector.compat import SOURCES, export_checkpoint, import_checkpoint
from mvector.compat.source import Hints
from mvector.errors import CheckpointError
from mvector.models.folder import load_model_folder, save_model_folder
from mvector.models.speaker_model import SpeakerModel

State = dict[str, torch.Tensor]


def small_model(
    source: str = "wespeaker", bins: int = 16, sample_rate: int = 16000
) -> SpeakerModel:
    """An untrained x-vector with the front end of a source."""
    options: dict[str, Any] = {"layout": "xvector", "embd_dim": 12, "channels": [8, 8, 8, 8, 10]}
    constants = {
        "wespeaker": {"two_embedding_layers": True, "pooling_eps": 1e-7},
        "3dspeaker": {"pooling_eps": 1e-8},
    }
    front_end = SOURCES[source].front_end(bins, sample_rate, Hints())
    return SpeakerModel(front_end, "TDNN", {**options, **constants[source]}).eval()


@pytest.fixture
def state() -> State:
    return export_checkpoint(small_model(), "wespeaker")


def test_a_plain_state_dict_one_in_a_dict_and_an_old_file_are_read(
    state: State, tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "wrapped.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "safe.safetensors")
    prints = {
        import_checkpoint(tmp_path / name, "wespeaker").save(tmp_path / "out")
        for name in ("plain.pt", "wrapped.pt", "old.pt", "safe.safetensors")
    }
    assert len(prints) == 1


def test_tensors_are_mapped_and_not_read(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(state, tmp_path / "plain.pt")
    calls = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: (calls.append(k), load(*a, **k))[1])
    import_checkpoint(tmp_path / "plain.pt", "wespeaker")
    assert [(call["weights_only"], call["mmap"]) for call in calls] == [(True, True)]


def test_a_file_that_holds_objects_is_refused_and_nothing_is_executed(
    state: State, tmp_path: Path
) -> None:
    executed = tmp_path / "executed"

    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (executed,))

    torch.save({"state_dict": state, "args": Payload()}, tmp_path / "evil.pt")
    with raises_code("checkpoint-unsafe"):
        import_checkpoint(tmp_path / "evil.pt", "wespeaker")
    assert not executed.exists()
    torch.save({"state_dict": state, "args": argparse.Namespace()}, tmp_path / "args.pt")
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace.*weights_only=False"):
        import_checkpoint(tmp_path / "args.pt", "wespeaker")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; copy or download it again"),
        (b"PK\x03\x04 half of a file", "is damaged or cut short; copy or download it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 83316686\n",
            "is a pointer of Git LFS and not the file it stands for; .*git lfs pull",
        ),
        (b"\n<!DOCTYPE html>\n<html>Log in</html>", "is a page of a web site.*download the file"),
        (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:\x00", "is an ONNX model; choose the PyTorch"),
        (b"\x1f\x8b\x08\x00 gzip", "is an archive; unpack it"),
        (b"\x89HDF\r\n\x1a\n\x00", "is an HDF5 file"),
        ("Modèle\n".encode() * 200, r"is a text \('Modèle'\); give the file of the weights"),
        (bytes(range(200, 256)) * 20, "is no checkpoint that PyTorch or safetensors wrote"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(
    content: bytes, message: str, tmp_path: Path
) -> None:
    for suffix in (".pt", ".bin", ".safetensors"):
        file = tmp_path / f"file{suffix}"
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            import_checkpoint(file, "wespeaker")


def test_an_archive_of_a_checkpoint_and_a_program_are_refused(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "archive.pt", "w") as archive:
        archive.write(tmp_path / "model.pt", "model.pt")
    with pytest.raises(CheckpointError, match=r"archive\.pt' is an archive; unpack it"):
        import_checkpoint(tmp_path / "archive.pt", "wespeaker")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as program:  # as torch.jit.save writes it
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            program.writestr(f"script/{name}", b"")
    with pytest.raises(CheckpointError, match=r"TorchScript program; save the model's state_dict"):
        import_checkpoint(tmp_path / "script.pt", "wespeaker")


def test_a_torch_file_that_is_cut_or_changed_is_refused(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "model.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("model.pt", "old.pt"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(CheckpointError, match=r"cut\.pt' (is|cannot be read)"):
            import_checkpoint(tmp_path / "cut.pt", "wespeaker")


def test_the_content_and_not_the_name_tells_the_format(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "torch.safetensors")
    save_file(state, tmp_path / "safe.pt")
    for name in ("torch.safetensors", "safe.pt"):
        assert import_checkpoint(tmp_path / name, "wespeaker").conversion.family


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"model_state_dict": state, "optimizer": {"state": {0: {"m": state}}}},
        lambda state: {"epoch": 1, "modules": {"speaker_encoder": state}},
        lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}},
        lambda state: {f"speaker_encoder.{key}": value for key, value in state.items()},
        lambda state: {f"encoder.module.{key}": value for key, value in state.items()},
        lambda state: {"model": state, "ema": state},
    ],
)
def test_weights_are_found_in_dicts_and_behind_prefixes(
    wrap: Callable[[State], dict[str, Any]], state: State, tmp_path: Path
) -> None:
    expected = import_checkpoint(state, "wespeaker").save(tmp_path / "expected")
    torch.save(wrap(state), tmp_path / "wrapped.pt")
    imported = import_checkpoint(tmp_path / "wrapped.pt", "wespeaker")
    assert imported.save(tmp_path / "found") == expected
    assert imported.dropped == ()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused_with_the_entry(state: State, value: float) -> None:
    state["frame_3.bn.running_var"][2] = value
    with pytest.raises(CheckpointError, match=r"its entry frame_3\.bn\.running_var holds NaN"):
        import_checkpoint(state, "wespeaker")


def test_files_without_a_state_dict_are_refused(state: State, tmp_path: Path) -> None:
    contents = {
        "list": ([1, 2], "holds a list and no state dict"),
        "other": ({"epoch": 3, "model": "resnet"}, "epoch, model hold no tensors"),
        "several": ({"a": state, "b": {"c": state}}, r"several state dicts \(a, b\.c\)"),
        "run": ({"network": state, "num_batches": 3, "config": {}}, "of a training run of mvector"),
        "ssl": ({"teacher": state, "student": state}, "self-supervised"),
        "empty": ({}, "holds no weights: it is empty"),
        "empty inside": ({"state_dict": {}, "epoch": 3}, "no weights: its 'state_dict' is empty"),
    }
    for name, (content, message) in contents.items():
        torch.save(content, tmp_path / f"{name}.pt")
        with pytest.raises(CheckpointError, match=message):
            import_checkpoint(tmp_path / f"{name}.pt", "wespeaker")


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("wespeaker", ["avg_model.pt", "model_5.pt"]),
        ("3dspeaker", ["campplus_cn_common.bin"]),
        ("3dspeaker", ["pretrained_eres2net.ckpt"]),
        ("3dspeaker", ["campplus_cn_en_common.pt"]),
    ],
)
def test_the_checkpoint_of_a_folder_is_found(source: str, files: list[str], tmp_path: Path) -> None:
    torch.save(export_checkpoint(small_model(source), source), tmp_path / files[0])
    for other in [*files[1:], "README.md"]:
        (tmp_path / other).touch()
    assert import_checkpoint(tmp_path, source).provenance["file"] == files[0]


def test_a_folder_with_several_checkpoints_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no checkpoint, looked for: .*\.bin"):
        import_checkpoint(tmp_path, "3dspeaker")
    (tmp_path / "a.ckpt").touch()
    (tmp_path / "b.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"name one of: a\.ckpt, b\.ckpt"):
        import_checkpoint(tmp_path, "3dspeaker")
    with pytest.raises(CheckpointError, match="does not exist"):
        import_checkpoint(tmp_path / "nothing.pt", "3dspeaker")
    save_model_folder(tmp_path / "ours", small_model())
    with pytest.raises(CheckpointError, match="a model folder of mvector already"):
        import_checkpoint(tmp_path / "ours", "3dspeaker")


def test_half_precision_becomes_float32(state: State) -> None:
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    model = import_checkpoint(half, "wespeaker").model
    weight = model.backbone.state_dict()["frame_layers.0.conv.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, half["frame_1.conv_1d.weight"].float())


def test_a_model_folder_remembers_where_the_weights_come_from(state: State, tmp_path: Path) -> None:
    torch.save({**state, "projection.weight": torch.zeros(4)}, tmp_path / "avg_model.pt")
    imported = import_checkpoint(tmp_path, "wespeaker")
    imported.save(tmp_path / "model")
    loaded, info = load_model_folder(tmp_path / "model")
    assert info.provenance["source"] == "wespeaker"
    assert info.provenance["file"] == "avg_model.pt"
    assert info.provenance["dropped"] == ["projection.weight"]
    assert info.calibration is None
    clip = torch.randn(1, 16000)
    with torch.inference_mode():
        assert torch.equal(loaded(clip), imported.model(clip))


def test_saving_replaces_a_model_folder_and_nothing_else(state: State, tmp_path: Path) -> None:
    imported = import_checkpoint(state, "wespeaker")
    imported.save(tmp_path / "model")
    imported.save(tmp_path / "model")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    with pytest.raises(CheckpointError, match="not a model folder"):
        imported.save(tmp_path / "photos")
    assert (tmp_path / "photos" / "one.jpg").exists()


def write_config(folder: Path, **changes: Any) -> None:
    config = {
        "model": "XVEC",
        "model_args": {"feat_dim": 16, "embed_dim": 12, "pooling_func": "TSTP"},
        "dataset_args": {"resample_rate": 8000, "fbank_args": {"num_mel_bins": 16}},
    }
    for section, values in changes.items():
        config[section] = {**config[section], **values}  # type: ignore[dict-item]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_the_configuration_of_wespeaker_tells_the_rate(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "avg_model.pt")
    write_config(tmp_path)
    front_end = import_checkpoint(tmp_path, "wespeaker").model.front_end
    assert front_end.sample_rate == 8000
    assert front_end.preprocess["method_args"]["sample_frequency"] == 8000
    told = import_checkpoint(tmp_path, "wespeaker", sample_rate=16000).model.front_end
    assert told.sample_rate == 16000


def test_a_configuration_of_another_model_is_refused(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "avg_model.pt")
    write_config(tmp_path, model_args={"embed_dim": 256})
    with pytest.raises(CheckpointError, match=r"says embed_dim 256, and .* has 12"):
        import_checkpoint(tmp_path, "wespeaker")
    write_config(tmp_path, dataset_args={"frontend": "s3prl"})
    with pytest.raises(CheckpointError, match="features of 's3prl'"):
        import_checkpoint(tmp_path, "wespeaker")
    for text in ("model: [", "[" * 5000):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(CheckpointError, match=r"config\.yaml' cannot be read"):
            import_checkpoint(tmp_path, "wespeaker")


def test_the_features_of_mvector_1_come_from_its_configuration(tmp_path: Path) -> None:
    torch.save(mvector_state(), tmp_path / "model.pth")
    (tmp_path / "model.state").write_text(json.dumps({"feature_method": "MelSpectrogram"}))
    with pytest.raises(CheckpointError, match="features are MelSpectrogram, but not with which"):
        import_checkpoint(tmp_path, "mvector")
    features = {"feature_method": "MelSpectrogram", "method_args": {"n_mels": 16, "n_fft": 512}}
    levels = {"sample_rate": 16000, "use_dB_normalization": False}
    for data in (levels, {"dataset": levels}):  # both spellings of 1.x
        config = {"preprocess_conf": features, "dataset_conf": data}
        (tmp_path / "config.yml").write_text(yaml.safe_dump(config))
        front_end = import_checkpoint(
            tmp_path, "mvector", configs=tmp_path / "config.yml"
        ).model.front_end
        assert front_end.preprocess["feature_method"] == "MelSpectrogram"
        assert front_end.preprocess["log_spectrum"] is False
        assert front_end.use_dB_normalization is False


def test_a_configuration_that_does_not_fit_is_refused(state: State, tmp_path: Path) -> None:
    torch.save(mvector_state(), tmp_path / "model.pth")
    file = tmp_path / "config.yml"
    fbank = {"feature_method": "Fbank", "method_args": {"num_mel_bins": 80}}
    file.write_text(yaml.safe_dump({"preprocess_conf": fbank}))
    with pytest.raises(CheckpointError, match="hears 16 bins and its front end has 80"):
        import_checkpoint(tmp_path, "mvector", configs=file)
    file.write_text(yaml.safe_dump({"preprocess_conf": {"use_hf_model": True}}))
    with pytest.raises(CheckpointError, match="use_hf_model"):
        import_checkpoint(tmp_path, "mvector", configs=file)
    file.write_text("nothing: here")
    with pytest.raises(CheckpointError, match="no preprocess_conf"):
        import_checkpoint(tmp_path, "mvector", configs=file)
    with pytest.raises(CheckpointError, match="leave configs out"):
        import_checkpoint(state, "wespeaker", configs=file)


def test_the_place_of_a_self_supervised_network_is_not_taken_by_a_filter_bank(
    state: State, caplog: pytest.LogCaptureFixture
) -> None:
    front = {"frontend.encoder.weight": torch.zeros(2)}
    imported = import_checkpoint({**state, **front}, "wespeaker")
    assert imported.dropped == ("frontend.encoder.weight",)
    assert "trained behind a network of its own" in caplog.text
    wide = export_checkpoint(small_model(bins=200), "wespeaker")
    wide["frame_1.conv_1d.weight"] = torch.zeros(8, 768, 5)
    with pytest.raises(CheckpointError, match="hears 768 values per frame"):
        import_checkpoint({**wide, **front}, "wespeaker")
