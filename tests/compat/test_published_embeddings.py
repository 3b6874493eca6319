"""Checkpoint files in their published form, imported: the published embeddings come out."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from published import NAMES, features, golden_weights, load_golden, source_of, waveform

from mvector.compat import SOURCES, Conversion, convert, import_checkpoint
from mvector.compat.containers import read_checkpoint
from mvector.compat.source import Hints
from mvector.features import build_featurizer
from mvector.models import build_backbone

FILES = {
    "wespeaker": "avg_model.pt",
    "3dspeaker": "model.ckpt",
    "speechbrain": "embedding_model.ckpt",
    "mvector": "model.pth",
    "idrnd": "b2-vox2-ft_lm.pt",
    "palabra": "b2-vox2-lm.pt",
    "nemo": "titanet-s.nemo",
}
ONE_OF_EACH_SOURCE = [
    "wespeaker_XVEC",
    "3dspeaker_Xvector",
    "speechbrain_ECAPA_TDNN_c1024",
    "mvector1_TDNN",
    "idrnd_ReDimNet_b0",
    "palabra_ReDimNet2_b0",
    "nemo_TitaNet_small",
]


def write_checkpoint(folder: Path, name: str, dtype: torch.dtype) -> Path:
    """The checkpoint as its source publishes it, with the head and counters that it has there."""
    source = source_of(name)
    weights = {
        key: value.to(dtype) if value.is_floating_point() else value
        for key, value in golden_weights(name).items()
    }
    if source == "wespeaker":  # averaging divides the counters too; the training head is there
        weights = {
            key: value.double() / 10 if key.endswith("num_batches_tracked") else value
            for key, value in weights.items()
        }
        weights["projection.weight"] = torch.zeros(7, 5)
    file = folder / FILES[source]
    model_config = load_golden(name).get("model_config")
    if source == "nemo":
        write_nemo_archive(file, weights, model_config)
    elif model_config is not None:
        torch.save({"model_config": model_config, "state_dict": weights}, file)
    else:
        torch.save({"state_dict": weights} if "CAMPPlus" in name else weights, file)
    return file


def write_nemo_archive(file: Path, weights: dict[str, Any], model_config: dict[str, Any]) -> None:
    """A tar file with the two files that NeMo puts into it."""
    torch.save(weights, file.with_name("model_weights.ckpt"))
    file.with_name("model_config.yaml").write_text(yaml.safe_dump(model_config))
    with tarfile.open(file, "w") as archive:
        for name in ("model_config.yaml", "model_weights.ckpt"):
            archive.add(file.with_name(name), arcname=f"./{name}")
            file.with_name(name).unlink()


def dropped_of(name: str) -> tuple[str, ...]:
    """Entries that a network without head and front end has no place for."""
    heads = {"wespeaker": ("projection.weight",), "mvector": ("1.weight",)}
    golden = load_golden(name)
    of_front_end = golden.get("front_end", {}).get("keys", ())
    return (*heads.get(source_of(name), ()), *of_front_end, *golden.get("head_keys", ()))


def backbone_of(conversion: Conversion) -> torch.nn.Module:
    """The backbone with the checkpoint's own tensors, unrounded."""
    architecture = conversion.architecture
    with torch.device("meta"):
        backbone = build_backbone(
            architecture.backbone, architecture.feature_dim, **architecture.options
        )
    backbone.load_state_dict(conversion.weights, strict=True, assign=True)
    return backbone.eval()


def first_clip(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of one clip, and its published embedding."""
    golden = load_golden(name)
    spec = golden["inputs"][0]
    clip = torch.from_numpy(features(spec["shape"], spec["salt"]))[:1]
    return clip, torch.tensor(golden["embeddings"][0][:1], dtype=torch.float64)


def test_every_source_is_there_with_all_its_models() -> None:
    assert len(NAMES) == 40
    assert {source_of(name) for name in NAMES} == set(FILES)


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_the_published_ones_in_float64(name: str, tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path, name, torch.float64)
    state, model_config = read_checkpoint(file)
    conversion = convert(state, source_of(name), model_config=model_config)
    backbone = backbone_of(conversion)
    clip, published = first_clip(name)
    with torch.inference_mode():
        difference = (backbone(clip) - published).abs().max()
    assert difference <= 1e-8 * published.abs().max()
    assert sum(p.numel() for p in backbone.parameters()) == load_golden(name)["parameters"]
    assert conversion.dropped == dropped_of(name)


@pytest.mark.parametrize("name", [name for name in NAMES if "waveforms" in load_golden(name)])
def test_embeddings_of_waveforms_are_the_published_ones_in_float64(name: str) -> None:
    golden, source = load_golden(name), source_of(name)
    model_config = golden["model_config"]
    conversion = convert(golden_weights(name), source, model_config=model_config)
    bins = conversion.architecture.feature_dim
    front_end = SOURCES[source].front_end(bins, 16000, Hints(model_config=model_config))
    featurizer, backbone = build_featurizer(front_end.preprocess).double(), backbone_of(conversion)
    clips = [
        torch.from_numpy(waveform(spec["duration_s"], spec["sample_rate"], salt))
        for spec in golden["waveforms"]
        for salt in spec["salts"]
    ]
    lengths = torch.tensor([len(clip) for clip in clips[:2]])
    batch = torch.nn.utils.rnn.pad_sequence(clips[:2], batch_first=True, padding_value=0.3)
    with torch.inference_mode():
        found = backbone(*featurizer(batch, lengths))
    published = [golden["waveform_embeddings"][row][0] for row in (0, 1)]
    published = torch.tensor(published, dtype=torch.float64)
    assert (found - published).abs().max() <= 1e-8 * published.abs().max()


@pytest.mark.parametrize("name", ONE_OF_EACH_SOURCE)
def test_embeddings_are_the_published_ones_in_float32(name: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, name, torch.float32)
    imported = import_checkpoint(tmp_path, source_of(name))
    clip, published = first_clip(name)
    with torch.inference_mode():
        embedding = imported.model.backbone(clip.float())
    assert embedding.dtype == torch.float32
    assert (embedding - published).abs().max() <= 1e-4 * published.abs().max()
