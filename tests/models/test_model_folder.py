"""A model folder from a stranger: what it says costs nothing, and its faults are sentences."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from error_codes import raises_code
from safetensors.torch import load_file, save_file
from small_model import small_model
from small_settings import SMALL_BACKBONES

from mvector import MVectorPredictor
from mvector.errors import CheckpointError, MVectorError
from mvector.features.front_end import FrontEnd
from mvector.models.description import load_training_config, new_model_folder, read_model_info
from mvector.models.folder import load_model_folder, save_model_folder
from mvector.models.speaker_model import SpeakerModel

PREPROCESS = {"feature_method": "Fbank", "method_args": {"num_mel_bins": 40}}
STRANGE_VALUES = (-1, 0, 10**9, 3 * 10**7, 10**30, 1.5, "8", "", None, True, [], [[1]], {"a": 1})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("models") / "whole")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def described(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "model.yml").read_text())


def describe(folder: Path, content: Any) -> None:
    (folder / "model.yml").write_text(yaml.safe_dump(content))


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value stands, sections and items of lists included."""
    if path:
        yield path
    items = content.items() if isinstance(content, dict) else ()
    for key, value in items if not isinstance(content, list) else enumerate(content):
        yield from places(value, (*path, key))


@pytest.mark.parametrize("name", SMALL_BACKBONES)
def test_a_loaded_model_is_the_one_that_was_saved(name: str, tmp_path: Path) -> None:
    model = SpeakerModel(FrontEnd(16000, PREPROCESS), name, SMALL_BACKBONES[name]).eval()
    save_model_folder(tmp_path / "model", model)
    loaded, _ = load_model_folder(tmp_path / "model")
    assert {tensor.device.type for tensor in (*loaded.parameters(), *loaded.buffers())} == {"cpu"}
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    clip = torch.randn(1, 16000)
    with torch.no_grad():
        torch.testing.assert_close(loaded(clip), model(clip), rtol=0, atol=0)


def test_a_folder_is_read_from_within_and_paths_that_hold_no_model_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert read_model_info(".").fingerprint == read_model_info(folder).fingerprint
    for path in ("/", "..", "a" * 5000, "a/" * 2500):
        with raises_code("model-not-found"):
            read_model_info(path)
    for path in (".", "..", "/"):
        with pytest.raises(CheckpointError, match="is the current folder, or holds it; give the"):
            new_model_folder(path)


def test_a_loaded_model_does_not_change_with_its_file(folder: Path) -> None:
    loaded, _ = load_model_folder(folder)
    before = {key: value.clone() for key, value in loaded.state_dict().items()}
    with open(folder / "model.safetensors", "r+b") as stream:
        stream.seek(-4000, 2)
        stream.write(bytes(4000))
    for key, value in loaded.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embd_dim": 10**9}, "embd_dim: 1000000000 is not valid"),
        ({"channels": 3 * 10**7}, r"channels.*: 30000000 is not valid; must be less"),
        # within what a configuration may ask for: terabytes, if they were allocated
        ({"channels": 900_000}, r"has shape \[16, 40, \d\], and model.yml describes \[900000, 40"),
        ({"embd_dim": -1}, "embd_dim: -1 is not valid"),
        ({"embd_dim": "32"}, "embd_dim: '32' is not valid; it must be 32"),
        ({"chanels": 32}, "chanels: unknown key .* did you mean 'channels'"),
    ],
)
def test_a_description_decides_no_memory_beyond_its_weights(
    options: dict[str, Any], message: str, folder: Path
) -> None:
    content = described(folder)
    content["backbone"]["options"].update(options)
    describe(folder, content)
    with pytest.raises(CheckpointError, match=message):
        load_model_folder(folder)


def test_nor_does_a_number_of_layers(folder: Path) -> None:
    content = described(folder)
    options = {"num_blocks": [10**6] * 4}
    describe(folder, {**content, "backbone": {"name": "ResNetSE", "options": options}})
    with pytest.raises(CheckpointError, match=r"num_blocks\.0: 1000000 is not valid"):
        load_model_folder(folder)


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        ({"feature_method": "Fbank", "method_args": {"num_mel_bins": 10**6}}, "bands of"),
        ({"feature_method": "Fbank", "method_args": {"frame_length": 1e9}}, "frame_length"),
        ({"feature_method": "Spectrogram", "method_args": {"n_fft": 10**9}}, "n_fft"),
        ({"feature_method": "Spectrogram", "method_args": {"pad": 10**12}}, "pad"),
        ({"feature_method": "MelSpectrogram", "method_args": {"n_mels": 10**6}}, "bands of"),
        ({"feature_method": "SpeechbrainFbank", "method_args": {"n_mels": 10**6}}, "bands of"),
        (
            {
                "feature_method": "MFCC",
                "method_args": {
                    "n_mfcc": 10**6,
                    "melkwargs": {"n_mels": 10**6, "n_fft": 2, "win_length": 2},
                },
            },
            "bands of",
        ),
        ({"feature_method": ["Fbank"]}, "feature_method"),
        ({"feature_method": "Fbank", "method_args": "40"}, "method_args"),
        ({"feature_method": "Fbank", "method_args": {"use_energy": []}}, "use_energy"),
    ],
)
def test_nor_do_features(preprocess: dict[str, Any], message: str, folder: Path) -> None:
    content = described(folder)
    content["front_end"]["preprocess"] = preprocess
    describe(folder, content)
    with pytest.raises(CheckpointError, match=message):
        load_model_folder(folder)


_LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)
_MERGES = "\n".join(
    ["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_LAUGHS, "its aliases stand for more than 100,000 values"),
        (_MERGES, "could not determine a constructor for the tag 'tag:yaml.org,2002:merge'"),
        ("a: " + "[" * 1500, r"no plain YAML \(RecursionError\)"),
        ("a: &a [*a]", "nested more than 50 deep"),
        ("- " * 60 + "1", "nested more than 50 deep"),
        ("x" * 1_000_001, "1,000,001 characters"),
        ("a: 1" + "0" * 5000, r"no plain YAML \(ValueError\)"),
        ("a: !!timestamp never", "no plain YAML"),
        ("a: !!python/object:os.system {}", "could not determine a constructor"),
    ],
    ids=["laughs", "merges", "open", "itself", "deep", "long", "digits", "timestamp", "object"],
)
def test_a_text_that_is_no_description_is_refused(text: str, message: str, folder: Path) -> None:
    (folder / "model.yml").write_text(text)
    for read in (load_model_folder, read_model_info):
        with pytest.raises(CheckpointError, match=message):
            read(folder)
    (folder / "config.yml").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.yml' cannot be read"):
        load_training_config(folder)


def test_weights_are_compared_before_they_are_read(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = {key: value.clone() for key, value in load_file(file).items()}  # it may map the file
    key = next(key for key, value in weights.items() if len(value.shape) == 3)
    others = {other: value for other, value in weights.items() if other != key}
    for changed, message in (
        ({**weights, key: weights[key][None]}, rf"{key} has shape \[1, "),
        (others, f"it has no {key}"),
        ({**weights, "more": torch.zeros(1)}, "it has more, which model.yml does not describe"),
    ):
        save_file(changed, file)
        with pytest.raises(CheckpointError, match=message):
            load_model_folder(folder)
    file.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="is damaged or belongs to another model"):
        load_model_folder(folder)


def test_whatever_a_value_is_changed_to_only_an_error_of_ours_comes_out(folder: Path) -> None:
    whole = described(folder)
    num_refused = 0
    for number, path in enumerate(places(whole)):
        for value in STRANGE_VALUES[number % 3 :: 3]:
            content = copy.deepcopy(whole)
            holder = content
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = value
            describe(folder, content)
            said = what_is_said_of(folder)
            num_refused += said is not None
            assert said is None or "model.yml" in said or "calibration" in said, (path, value)
    assert num_refused > 100


def what_is_said_of(folder: Path) -> str | None:
    """The error with which a model is refused, if it is; any other exception ends the test."""
    try:
        MVectorPredictor(folder, use_gpu=False)
    except MVectorError as error:
        return str(error)
    return None
