"""Checkpoint files in their published form, imported: the published embeddings come out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from published import NAMES, features, golden_weights, load_golden, source_of

from mvector.compat import Conversion, convert, import_checkpoint
from mvector.compat.containers import read_state_dict
from mvector.models import build_backbone

FILES = {
    "wespeaker": "avg_model.pt",
    "3dspeaker": "model.ckpt",
    "speechbrain": "embedding_model.ckpt",
    "mvector": "model.pth",
}
ONE_OF_EACH_SOURCE = [
    "wespeaker_XVEC",
    "3dspeaker_Xvector",
    "speechbrain_ECAPA_TDNN_c1024",
    "mvector1_TDNN",
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
    torch.save({"state_dict": weights} if "CAMPPlus" in name else weights, file)
    return file


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
    assert len(NAMES) == 25
    assert {source_of(name) for name in NAMES} == set(FILES)


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_the_published_ones_in_float64(name: str, tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path, name, torch.float64)
    conversion = convert(read_state_dict(file), source_of(name))
    backbone = backbone_of(conversion)
    clip, published = first_clip(name)
    with torch.inference_mode():
        difference = (backbone(clip) - published).abs().max()
    assert difference <= 1e-8 * published.abs().max()
    assert sum(p.numel() for p in backbone.parameters()) == load_golden(name)["parameters"]
    heads = {"wespeaker": ("projection.weight",), "mvector": ("1.weight",)}
    assert conversion.dropped == heads.get(conversion.source, ())


@pytest.mark.parametrize("name", ONE_OF_EACH_SOURCE)
def test_embeddings_are_the_published_ones_in_float32(name: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, name, torch.float32)
    imported = import_checkpoint(tmp_path, source_of(name))
    clip, published = first_clip(name)
    with torch.inference_mode():
        embedding = imported.model.backbone(clip.float())
    assert embedding.dtype == torch.float32
    assert (embedding - published).abs().max() <= 1e-4 * published.abs().max()
