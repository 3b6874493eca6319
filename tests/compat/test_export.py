"""What is exported is what was imported; what another toolkit cannot compute is refused."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from published import GOLDEN, ROOT, read_keys, state_dict
from safetensors.torch import load_file

from mvector.compat import SOURCES, export_checkpoint, import_checkpoint
from mvector.compat.exporting import options_in_full
from mvector.compat.source import Hints
from mvector.errors import CheckpointError
from mvector.models.folder import load_model_folder, save_model_folder
from mvector.models.speaker_model import SpeakerModel

# depths, widths and groups of the published models and others; channels few, to be quick
ROUND_TRIPS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("wespeaker", "ResNet", 80, {"depth": 18, "channels": 4}),
    ("wespeaker", "ResNet", 40, {"depth": 34, "channels": 4, "embd_dim": 512}),
    ("wespeaker", "ResNet", 80, {"depth": 50, "channels": 4}),
    ("wespeaker", "ResNet", 64, {"depth": 101, "channels": 4, "two_embedding_layers": True}),
    ("wespeaker", "ResNet", 80, {"depth": 152, "channels": 4}),
    ("wespeaker", "ResNet", 80, {"depth": 221, "channels": 4}),
    ("speechbrain", "TDNN", 24, {"layout": "speechbrain", "channels": 16, "pooling_eps": 0.0}),
    ("speechbrain", "PreActResNet", 40, {"channels": [4, 4, 8, 8], "num_blocks": [1, 2, 3, 1]}),
    (
        "wespeaker",
        "DFResNet",
        80,
        {"channels": 4, "num_blocks": [3, 8, 45, 3], "two_embedding_layers": True},
    ),
    ("wespeaker", "SimAMResNet", 80, {"channels": 4, "embd_dim": 512}),
    ("wespeaker", "ReDimNet", 72, {"size": "B1", "pooling_norm": False}),
    ("wespeaker", "ReDimNet", 48, {"size": "B3", "channels": 8, "pooling_norm": False}),
    ("wespeaker", "ReDimNet", 72, {"size": "B5", "pooling_norm": False, "global_context": False}),
    ("3dspeaker", "ResNet", 80, {"depth": 34, "channels": 8, "pooling_eps": 1e-8}),
    ("wespeaker", "Res2Net34", 80, {"channels": 8, "scale": 4, "base_width": 26}),
    ("3dspeaker", "Res2Net34", 80, {"channels": 8, "embd_dim": 512, "pooling_eps": 1e-8}),
    ("3dspeaker", "ERes2Net", 80, {"channels": 16, "base_width": 24, "scale": 3, "expansion": 4}),
    ("wespeaker", "ERes2Net", 64, {"channels": 8, "scale": 3, "pooling_eps": 1e-7}),
    ("3dspeaker", "ERes2NetV2", 80, {"channels": 8, "base_width": 24, "scale": 4, "expansion": 4}),
    ("3dspeaker", "ERes2NetV2", 80, {"channels": 32}),
    ("3dspeaker", "CAMPPlus", 80, {"embd_dim": 512}),
    ("wespeaker", "CAMPPlus", 40, {"pooling_eps": 1e-7, "growth_rate": 8, "init_channels": 32}),
    ("wespeaker", "EcapaTdnn", 80, {"layout": "wespeaker", "channels": 1024, "embd_dim": 256}),
    (
        "wespeaker",
        "EcapaTdnn",
        40,
        {"layout": "wespeaker", "channels": 64, "global_context": False},
    ),
    ("wespeaker", "EcapaTdnn", 40, {"layout": "wespeaker", "channels": 64, "embedding_norm": True}),
    ("3dspeaker", "EcapaTdnn", 80, {"layout": "speechbrain", "channels": 512}),
    ("speechbrain", "EcapaTdnn", 60, {"layout": "speechbrain", "channels": [64, 64, 64, 64, 96]}),
    ("speechbrain", "EcapaTdnn", 80, {"layout": "speechbrain", "res2net_scale": 4, "channels": 64}),
    (
        "wespeaker",
        "EcapaTdnn",
        40,
        {
            "layout": "wespeaker",
            "channels": 64,
            "pooling_type": "MHASTP",
            "attention_channels": 64,
        },
    ),
    (
        "wespeaker",
        "ResNet",
        40,
        {"depth": 50, "channels": 4, "pooling_type": "MQMHASTP", "two_embedding_layers": True},
    ),
    ("wespeaker", "ERes2Net", 64, {"channels": 8, "pooling_type": "MHASTP"}),
    (
        "wespeaker",
        "DFResNet",
        80,
        {"channels": 4, "num_blocks": [1, 1, 2, 1], "pooling_type": "MQMHASTP"},
    ),
    ("wespeaker", "TDNN", 40, {"layout": "xvector", "two_embedding_layers": True}),
    ("3dspeaker", "TDNN", 24, {"layout": "xvector", "embd_dim": 512, "pooling_eps": 1e-8}),
]


def untrained(target: str, backbone: str, bins: int, options: dict[str, Any]) -> SpeakerModel:
    """A model with the target's front end."""
    front_end = SOURCES[target].front_end(bins, 16000, Hints())
    return SpeakerModel(front_end, backbone, options).eval()


@pytest.mark.parametrize(("target", "backbone", "bins", "options"), ROUND_TRIPS)
def test_what_is_exported_is_imported_as_the_same_model(
    target: str, backbone: str, bins: int, options: dict[str, Any]
) -> None:
    model = untrained(target, backbone, bins, options)
    again = import_checkpoint(export_checkpoint(model, target), target).model
    assert again.backbone_name == backbone
    assert options_in_full(backbone, again.backbone_options) == options_in_full(backbone, options)
    assert again.front_end == model.front_end
    exported, imported = model.backbone.state_dict(), again.backbone.state_dict()
    assert list(imported) == list(exported)
    assert all(torch.equal(imported[key], exported[key]) for key in exported)


@pytest.mark.parametrize(
    "name",
    [
        "wespeaker_ECAPA_TDNN_GLOB_c512",
        "wespeaker_ECAPA_TDNN_c512_MQMHASTP",
        "wespeaker_ERes2Net34_Base",
        "wespeaker_XVEC",
        "3dspeaker_CAMPPlus_192",
        "3dspeaker_ResNet34",
    ],
)
def test_an_imported_checkpoint_is_exported_as_it_was(name: str) -> None:
    source = name.split("_")[0]
    published = {
        key: torch.from_numpy(array).float() if array.dtype != "int64" else torch.from_numpy(array)
        for key, array in state_dict(read_keys(GOLDEN / f"{name}.txt"), "export").items()
    }
    exported = export_checkpoint(import_checkpoint(published, source).model, source)
    assert exported.keys() == published.keys()
    for key, value in published.items():
        assert torch.equal(exported[key], value)  # shapes included
        assert exported[key].dtype == value.dtype


@pytest.mark.parametrize(
    ("target", "backbone", "options", "message"),
    [
        ("wespeaker", "ResNet", {"pooling_eps": 1e-8}, "pooling_eps is 1e-08 here and 1e-07 there"),
        (
            "wespeaker",
            "ResNet",
            {"pooling_type": "ASP"},
            "^WeSpeaker publishes models of the kind ResNet, but no published model has a layer",
        ),
        ("wespeaker", "ERes2NetV2", {}, "WeSpeaker has no ERes2NetV2"),
        ("3dspeaker", "ResNetSE", {}, "3D-Speaker has no ResNetSE"),
        ("3dspeaker", "Res2Net", {}, "3D-Speaker has no Res2Net"),
        ("speechbrain", "CAMPPlus", {}, "SpeechBrain has no CAMPPlus"),
        (
            "speechbrain",
            "EcapaTdnn",
            {"channels": 16},
            "^SpeechBrain publishes models of the kind EcapaTdnn, but no published model has",
        ),
        (
            "speechbrain",
            "EcapaTdnn",
            {"layout": "speechbrain", "channels": 16, "padding_mode": "zeros"},
            "padding_mode is zeros here and reflect there",
        ),
        (
            "wespeaker",
            "EcapaTdnn",
            {"channels": 16},
            "^The model is no EcapaTdnn of WeSpeaker: its layers are not those that WeSpeaker "
            "publishes; choose another target.$",
        ),
        (
            "3dspeaker",
            "TDNN",
            {"channels": 16},
            "^3D-Speaker publishes models of the kind TDNN, but no",
        ),
        (
            "3dspeaker",
            "TDNN",
            {"layout": "xvector", "channels": 16, "two_embedding_layers": True},
            "is no TDNN of 3D-Speaker: its layers are not those",
        ),
        ("kaldi", "ResNet", {}, "no target 'kaldi'"),
    ],
)
def test_models_that_the_toolkit_has_not_are_refused_in_a_sentence(
    target: str, backbone: str, options: dict[str, Any], message: str
) -> None:
    small = {"channels": 4} if backbone in ("ResNet", "ResNetSE", "ERes2NetV2") else {}
    model = untrained("3dspeaker", backbone, 80, {**small, **options})
    with pytest.raises(CheckpointError, match=message) as refusal:
        export_checkpoint(model, target)
    assert "\n" not in str(refusal.value)


def test_bins_that_the_toolkit_cannot_have_are_refused() -> None:
    model = untrained("wespeaker", "ResNet", 83, {"channels": 4, "depth": 18})
    with pytest.raises(CheckpointError, match="83 bins, and 88 would be read"):
        export_checkpoint(model, "wespeaker")


def test_features_other_than_the_toolkits_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    options = {"layout": "xvector", "two_embedding_layers": True, "channels": 8}
    export_checkpoint(untrained("wespeaker", "TDNN", 16, options), "wespeaker")
    assert not caplog.text
    export_checkpoint(untrained("3dspeaker", "TDNN", 16, options), "wespeaker")
    assert "other features than WeSpeaker computes (preprocess, waveform_scale)" in caplog.text


def run_tool(name: str, *arguments: str) -> object:
    """The exit code of a tool that is run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / "tools" / name), run_name="__main__")
    return end.value.code


def test_the_tools_go_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = {"layout": "xvector", "two_embedding_layers": True, "channels": 8}
    model = untrained("wespeaker", "TDNN", 16, options)
    save_model_folder(tmp_path / "ours", model)
    file = tmp_path / "avg_model.safetensors"
    words = ("--target", "wespeaker", "--model_path", str(tmp_path / "ours"), "--out", str(file))
    assert run_tool("export_checkpoint.py", *words) == 0
    assert "32 entries" in capsys.readouterr().out
    assert len(load_file(file)) == 32
    words = ("--source", "wespeaker", "--path", str(file), "--out", str(tmp_path / "back"))
    assert run_tool("import_checkpoint.py", *words) == 0
    written, recognised, front_end, *_, following = capsys.readouterr().out.splitlines()
    assert written.startswith(f"Written:    {tmp_path / 'back'} (")
    assert recognised.startswith("Recognised: ")
    assert "scale 32768" in front_end
    assert following.startswith("Next:       python eval.py --model_path ")
    again, _ = load_model_folder(tmp_path / "back")
    clip = torch.randn(1, 16000)
    with torch.inference_mode():
        assert torch.equal(again(clip), model(clip))


def test_the_tools_end_with_one_sentence_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ("--source", "wespeaker", "--path", str(tmp_path / "no.pt"))
    assert run_tool("import_checkpoint.py", *words, "--out", str(tmp_path / "o")) == 2
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert "does not exist" in written
    assert not (tmp_path / "o").exists()
