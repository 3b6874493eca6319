"""What a published file says of its network beside the weights: features, and a second account."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from error_codes import raises_code

from mvector.compat import SOURCES, import_checkpoint
from mvector.errors import CheckpointError
from mvector.models import build_backbone

BINS = 24
OPTIONS: dict[str, Any] = {
    "embd_dim": 6,
    "channels": 4,
    "block": "basic_resnet",
    "group_divisor": 2,
    "stages": [[1, 1, 2, None], [2, 2, 1, 8]],
}
CONFIG: dict[str, Any] = {
    "F": BINS,
    "C": 4,
    "embed_dim": 6,
    "block_2d_type": "basic_resnet",
    "stages_setup": [(1, 1, 2, [(3, 3)], None), (2, 2, 1, [(3, 3)], 8)],
}


def published_state() -> dict[str, torch.Tensor]:
    """The entries of a small network, and a table of its front end, under the authors' names."""
    torch.manual_seed(0)
    state = build_backbone("ReDimNet", BINS, **OPTIONS).state_dict()
    names = SOURCES["idrnd"].families["ReDimNet"].table_for(OPTIONS).published(state)
    entries = {theirs: state[ours] for ours, (theirs, _) in names.items()}
    return {**entries, "spec.torchfbank.2.spectrogram.window": torch.ones(400)}


def imported(**changes: Any) -> Any:
    return import_checkpoint({"model_config": CONFIG | changes, "state_dict": published_state()})


def test_a_file_tells_how_it_hears_and_its_front_end_is_dropped(tmp_path: Path) -> None:
    content = {"model_config": CONFIG | {"hop_length": 240}, "state_dict": published_state()}
    torch.save(content, tmp_path / "b0-vox2-ptn.pt")
    found = import_checkpoint(tmp_path, "idrnd")
    assert found.dropped == ("spec.torchfbank.2.spectrogram.window",)
    assert found.model.front_end.preprocess["feature_method"] == "ReDimNetFbank"
    assert found.model.featurizer.num_frames(16000) == 1 + 16000 // 240
    assert not found.model.front_end.use_dB_normalization
    found.save(tmp_path / "model")


def test_settings_of_the_features_are_those_of_the_file() -> None:
    params = {"do_preemph": False, "norm_signal": True, "f_min": 50, "do_spec_aug": True}
    args = imported(spec_params=params).model.front_end.preprocess["method_args"]
    assert args["preemphasis"] == 0.0
    assert args["normalize_signal"] is True
    assert (args["f_min"], args["hop_length"], args["n_mels"]) == (50, 160, BINS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"C": 8}, "its model_config says C 8, its shapes 4"),
        ({"F": 72}, "its model_config says F 72, its shapes 24"),
        (
            {"block_2d_type": "convnext_like"},
            "block_2d_type convnext_like, its shapes basic_resnet",
        ),
        ({"stages_setup": []}, "its model_config has 0 stages, its shapes 2"),
        ({"feat_type": "tf_spec"}, "feat_type 'tf_spec', which mvector does not"),
        (
            {"spec_params": {"spec_norm": "bn"}},
            "spec_norm 'bn' of its features, which mvector does not",
        ),
        ({"hop_length": "x"}, "front end of 'the state dict' cannot be built: .*hop_length"),
    ],
)
def test_what_contradicts_the_weights_or_is_unknown_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        imported(**changes)


SECOND: dict[str, Any] = {
    "embd_dim": 6,
    "channels": 4,
    "stages": [[1, 1, 1, 2, 8], [2, 2, 2, 0.5, None]],
    "out_channels": 0,
}


def second(model_config: dict[str, Any] | None, **options: Any) -> Any:
    """A small ReDimNet2 as Palabra publishes it, imported."""
    given = SECOND | options
    state = build_backbone("ReDimNet2", BINS, **given).state_dict()
    names = SOURCES["palabra"].families["ReDimNet2"].table_for(given).published(state)
    entries = {theirs: state[ours] for ours, (theirs, _) in names.items()}
    if model_config is None:
        return import_checkpoint(entries)
    return import_checkpoint({"model_config": model_config, "state_dict": entries}, "palabra")


@pytest.mark.parametrize("is_map", [True, False])
def test_whether_maps_are_pooled_is_what_the_file_says(is_map: bool) -> None:
    config = {"C": 4, "F": BINS, "feat_type": "tf", "return_2d_output": is_map}
    found = second(config)
    assert found.model.backbone_options["output_2d"] is is_map
    assert found.model.backbone_options["stages"] == SECOND["stages"]
    assert "assumed" not in found.provenance
    assert found.model.front_end.preprocess["method_args"]["normalize_signal"] is False


@pytest.mark.parametrize("is_map", [True, False])
def test_or_what_its_head_shows(is_map: bool) -> None:
    found = second(None, out_channels=5, output_2d=is_map, group_norm=True)
    assert found.model.backbone_options["output_2d"] is is_map
    assert found.model.backbone_options["group_norm"] is True
    assert found.conversion.source == "palabra"
    assert found.model.front_end.preprocess["method_args"]["normalize_signal"] is True


def test_or_else_it_is_assumed_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    found = second(None)
    assert found.model.backbone_options["output_2d"] is True
    assert "assumed that maps are pooled" in caplog.text
    assert found.provenance["assumed"]


@pytest.mark.parametrize(("key", "value"), [("causal", "full"), ("block_1d_type", "att")])
def test_another_network_of_the_same_shapes_is_refused(key: str, value: str) -> None:
    with pytest.raises(CheckpointError, match=f"says {key} '{value}', which no backbone"):
        second({"C": 4, "F": BINS, key: value})


TITANET: dict[str, Any] = {"channels": 8, "out_channels": 16, "num_repeats": 2, "embd_dim": 6}
NEMO_CONFIG: dict[str, Any] = {
    "preprocessor": {"window_size": 0.02, "window_stride": 0.0125, "n_fft": 512, "window": "hann"},
    "encoder": {"feat_in": BINS, "activation": "relu"},
    "decoder": {"pool_mode": "attention"},
}


def write_nemo(file: Path, config: str, mode: str = "w", **parts: bytes) -> None:
    """A file as NeMo writes it, of a small network; ``parts`` replace what is in it."""
    torch.manual_seed(0)
    state = build_backbone("TitaNet", BINS, **TITANET).state_dict()
    table = SOURCES["nemo"].families["TitaNet"].table_for(TITANET)
    names = table.published(state)
    entries = {theirs: state[ours].reshape(shape) for ours, (theirs, shape) in names.items()}
    buffer = io.BytesIO()
    torch.save(entries | {"decoder.final.weight": torch.zeros(3, 6)}, buffer)
    contents = {
        "weights": buffer.getvalue(),
        "config": config.encode(errors="surrogateescape"),
        **parts,
    }
    with tarfile.open(file, mode) as archive:
        for name, content in zip(
            ("model_weights.ckpt", "model_config.yaml"), contents.values(), strict=True
        ):
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_nemo_file_is_read_without_unpacking_it(mode: str, tmp_path: Path) -> None:
    write_nemo(tmp_path / "titanet-s.nemo", yaml.safe_dump(NEMO_CONFIG), mode)
    found = import_checkpoint(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["titanet-s.nemo"]
    assert (found.conversion.source, found.dropped) == ("nemo", ("decoder.final.weight",))
    assert found.model.backbone_options["num_repeats"] == 2
    args = found.model.front_end.preprocess["method_args"]
    assert (args["win_length"], args["hop_length"]) == (320, 200)
    assert not found.model.front_end.preprocess["normalize_mean"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": {"pool_mode": "xvector"}}, "says decoder.pool_mode 'xvector', and not"),
        ({"encoder": {"feat_in": 80}}, "says encoder.feat_in 80, and not 24"),
        ({"preprocessor": {"normalize": "all_features"}}, "normalize 'all_features' of its feat"),
        ({"preprocessor": {"window_size": "long"}}, "no number as win_length: 'long'"),
    ],
)
def test_a_nemo_file_of_another_network_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_nemo(tmp_path / "a.nemo", yaml.safe_dump(NEMO_CONFIG | changes))
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(tmp_path / "a.nemo", "nemo")


def test_an_archive_of_something_else_or_of_zeros_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.nemo"
    with tarfile.open(file, "w") as archive:
        archive.addfile(tarfile.TarInfo("readme.txt"))
    with pytest.raises(CheckpointError, match=r"archive without model_weights\.ckpt; unpack it"):
        import_checkpoint(file)
    write_nemo(file, "[", weights=b"")
    with raises_code("checkpoint-damaged"):
        import_checkpoint(file)
    write_nemo(file, "{}", "w:gz", weights=bytes(10_000_000))
    with pytest.raises(CheckpointError, match="cannot be read as a PyTorch file"):
        import_checkpoint(file)


DOUBLED = "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 20))


@pytest.mark.parametrize("config", ["[" * 5000, f"a0: &a0 {{}}\n{DOUBLED}", "\udcff"])
def test_a_configuration_that_is_none_condemns_the_nemo_file(config: str, tmp_path: Path) -> None:
    write_nemo(tmp_path / "a.nemo", config)
    with raises_code("checkpoint-damaged"):
        import_checkpoint(tmp_path / "a.nemo")
