"""ResNetSE equals the published one, and a clip's embedding does not depend on its batch."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from reference_weights import (
    count_multiply_adds,
    count_parameters,
    features,
    golden_difference,
    golden_weights,
    load_golden,
    load_renamed,
    state_dict,
)

from mvector.models.pooling import POOLINGS
from mvector.models.resnet_se import ResNetSE

PUBLISHED: dict[str, dict[str, Any]] = {"mvector1_ResNetSE": {}}
RENAMES = (
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"\.conv(\d)\.", r".conv\1.conv."),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"\.se\.fc\.0\.", ".squeeze_excite.squeeze."),
    (r"\.se\.fc\.2\.", ".squeeze_excite.excite."),
    (r"\.(shortcut|downsample)\.0\.", ".shortcut.conv."),
    (r"\.(shortcut|downsample)\.1\.", ".shortcut.norm."),
    (r"^pooling\.tdnn\.conv\.conv\.", "pooling.hidden."),
    (r"^pooling\.tdnn\.norm\.norm\.", "pooling.hidden_norm."),
    (r"^pooling\.conv\.conv\.", "pooling.attention."),
    (r"^bn2\.", "pooling_norm."),
    (r"^linear\.", "embedding."),
    (r"^bn3\.", "embedding_norm."),
)
SMALL: list[dict[str, Any]] = [
    {"channels": 4, "num_blocks": [1, 2, 1, 2]},
    {"channels": 4, "num_blocks": [1, 1, 2, 1], "expansion": 3, "pooling_type": "TSTP"},
]


def to_ours(key: str) -> str | None:
    if key.startswith("1."):  # the classifier of mvector 1.x, whose backbone's keys begin with 0.
        return None
    key = key.removeprefix("0.")
    key = re.sub(r"^layer(\d)\.", lambda found: f"stages.{int(found[1]) - 1}.", key)
    for published, ours in RENAMES:
        key = re.sub(published, ours, key)
    return key


def with_random_weights(model: ResNetSE) -> torch.nn.Module:
    """Offsets and statistics are random too: what passes through a layer is zero nowhere."""
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = {key: torch.from_numpy(value) for key, value in state_dict(shapes, "random").items()}
    return load_renamed(model, weights, str)


@pytest.mark.parametrize("name", PUBLISHED)
def test_embeds_as_the_published_model(name: str) -> None:
    model = load_renamed(ResNetSE(80, **PUBLISHED[name]), golden_weights(name), to_ours)
    assert golden_difference(name, model) < 1e-9


@pytest.mark.parametrize("name", PUBLISHED)
def test_has_the_published_size(name: str) -> None:
    golden = load_golden(name)
    with torch.device("meta"):
        model = ResNetSE(80, **PUBLISHED[name]).eval()
        clip = torch.zeros(1, 300, 80)
    assert count_parameters(model) == golden["parameters"]
    # the published code repeats mean and deviation for each of 38 frames; here their share of the
    # attention is computed once per clip
    repeated = 37 * 128 * 2 * 5120
    assert count_multiply_adds(model, clip) == golden["macs_3s"]["conv_matmul"] - repeated


@pytest.mark.parametrize("options", SMALL)
def test_padding_has_no_influence(options: dict[str, Any]) -> None:
    model = with_random_weights(ResNetSE(20, **options))
    num_frames = torch.tensor([40, 1, 2, 3, 8, 9, 16, 17, 31, 39])
    clips = torch.from_numpy(features((10, 40, 20), "padding"))
    padded = clips.clone()
    for clip, end in zip(padded, num_frames, strict=True):
        clip[end:] = torch.nan
    with torch.inference_mode():
        together = model(padded, num_frames)
        alone = torch.cat([model(clips[i : i + 1, :end]) for i, end in enumerate(num_frames)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12 * float(alone.abs().max()))


@pytest.mark.parametrize("options", SMALL)
def test_constant_clips_and_a_clip_of_one_frame_have_finite_gradients(
    options: dict[str, Any],
) -> None:
    model = ResNetSE(20, **options)
    clips = torch.ones(3, 17, 20, requires_grad=True)
    model(clips, torch.tensor([17, 1, 5])).square().sum().backward()
    for tensor in (clips, *model.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


@pytest.mark.parametrize("options", SMALL)
def test_autocast_to_bfloat16_keeps_the_embedding(options: dict[str, Any]) -> None:
    model = with_random_weights(ResNetSE(20, **options)).float()
    clips = torch.from_numpy(features((2, 40, 20), "autocast")).float()
    num_frames = torch.tensor([40, 25])
    with torch.inference_mode():
        expected = model(clips, num_frames)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embeddings = model(clips, num_frames).float()
    assert torch.cosine_similarity(embeddings, expected).min() > 0.999


def test_can_be_exported_and_compiled() -> None:
    model = with_random_weights(ResNetSE(20, channels=4, num_blocks=[1, 1, 1, 1]))
    clips = torch.from_numpy(features((2, 40, 20), "export"))
    exported = torch.export.export(model, (clips,)).module()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(exported(clips), model(clips))
        torch.testing.assert_close(compiled(clips), model(clips))


@pytest.mark.parametrize("pooling_type", POOLINGS)
def test_takes_every_pooling(pooling_type: str) -> None:
    model = ResNetSE(
        20, embd_dim=24, pooling_type=pooling_type, channels=4, num_blocks=[1, 1, 1, 1]
    )
    assert model(torch.randn(2, 20, 20)).shape == (2, 24)
