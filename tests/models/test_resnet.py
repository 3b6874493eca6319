"""ResNet equals the published ones, and a clip's embedding does not depend on its batch."""

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

from mvector.errors import AudioError, ConfigError
from mvector.models.resnet import ResNet

TWO_LAYERS = {"embd_dim": 192, "two_embedding_layers": True, "pooling_eps": 1e-8}
PUBLISHED: dict[str, dict[str, Any]] = {
    "wespeaker_ResNet34": {},
    "3dspeaker_ResNet34": TWO_LAYERS,
    "wespeaker_ResNet293": {"depth": 293},
}
RENAMES = (
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"\.conv(\d)\.", r".conv\1.conv."),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"\.shortcut\.0\.", ".shortcut.conv."),
    (r"\.shortcut\.1\.", ".shortcut.norm."),
    (r"^seg_1\.", "embedding.0."),
    (r"^seg_bn_1\.", "embedding.2."),
    (r"^seg_2\.", "embedding.3."),
)
SMALL: list[dict[str, Any]] = [
    {"depth": 18, "channels": 4},
    {"depth": 50, "channels": 4, "two_embedding_layers": True, "pooling_type": "ASP"},
]


def to_ours(key: str) -> str:
    key = re.sub(r"^layer(\d)", lambda found: f"stages.{int(found[1]) - 1}", key)
    for published, ours in RENAMES:
        key = re.sub(published, ours, key)
    return key


def with_random_weights(model: ResNet) -> torch.nn.Module:
    """Offsets and statistics are random too: what passes through a layer is zero nowhere."""
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = {key: torch.from_numpy(value) for key, value in state_dict(shapes, "random").items()}
    return load_renamed(model, weights, str)


@pytest.mark.parametrize("name", ["wespeaker_ResNet34", "3dspeaker_ResNet34"])
def test_embeds_as_the_published_model(name: str) -> None:
    model = load_renamed(ResNet(80, **PUBLISHED[name]), golden_weights(name), to_ours)
    assert golden_difference(name, model) < 1e-9


def test_embeds_as_the_published_model_of_293_layers() -> None:
    golden = load_golden("wespeaker_ResNet293")
    model = load_renamed(ResNet(80, depth=293), golden_weights("wespeaker_ResNet293"), to_ours)
    clip = torch.from_numpy(features(golden["inputs"][0]["shape"], golden["salt"]))[:1]
    published = torch.tensor(golden["embeddings"][0][:1], dtype=torch.float64)
    with torch.inference_mode():
        difference = (model(clip) - published).abs().max()
    assert difference < 1e-9 * published.abs().max()


@pytest.mark.parametrize("name", PUBLISHED)
def test_has_the_published_size(name: str) -> None:
    golden = load_golden(name)
    with torch.device("meta"):
        model = ResNet(80, **PUBLISHED[name]).eval()
        clip = torch.zeros(1, 300, 80)
    assert count_parameters(model) == golden["parameters"]
    assert count_multiply_adds(model, clip) == golden["macs_3s"]["conv_matmul"]


@pytest.mark.parametrize(
    ("depth", "millions", "giga_multiply_adds"),
    [
        (18, 4.105, 3.26),
        (50, 11.131, 7.62),
        (101, 15.892, 14.73),
        (152, 19.815, 21.83),
        (221, 23.792, 31.44),
    ],
)
def test_other_depths_have_the_published_size(
    depth: int, millions: float, giga_multiply_adds: float
) -> None:
    with torch.device("meta"):
        model = ResNet(80, depth=depth).eval()
        clip = torch.zeros(1, 300, 80)
    assert round(count_parameters(model) / 1e6, 3) == millions
    assert round(count_multiply_adds(model, clip) / 1e9, 2) == giga_multiply_adds


@pytest.mark.parametrize("options", SMALL)
def test_padding_has_no_influence(options: dict[str, Any]) -> None:
    model = with_random_weights(ResNet(20, **options))
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
    model = ResNet(20, **options)
    clips = torch.ones(3, 17, 20, requires_grad=True)
    model(clips, torch.tensor([17, 1, 5])).square().sum().backward()
    for tensor in (clips, *model.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


@pytest.mark.parametrize("options", SMALL)
def test_autocast_to_bfloat16_keeps_the_embedding(options: dict[str, Any]) -> None:
    model = with_random_weights(ResNet(20, **options)).float()
    clips = torch.from_numpy(features((2, 40, 20), "autocast")).float()
    num_frames = torch.tensor([40, 25])
    with torch.inference_mode():
        expected = model(clips, num_frames)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embeddings = model(clips, num_frames).float()
    assert torch.cosine_similarity(embeddings, expected).min() > 0.999


def test_can_be_exported_and_compiled() -> None:
    model = with_random_weights(ResNet(20, **SMALL[0]))
    clips = torch.from_numpy(features((2, 40, 20), "export"))
    exported = torch.export.export(model, (clips,)).module()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(exported(clips), model(clips))
        torch.testing.assert_close(compiled(clips), model(clips))


def test_refuses_a_clip_without_frames() -> None:
    with pytest.raises(AudioError, match="at least 1 frame"):
        ResNet(20, **SMALL[0])(torch.zeros(1, 0, 20))


def test_refuses_an_unknown_depth() -> None:
    with pytest.raises(ConfigError, match="depth 35; choose from 18, 34, 50"):
        ResNet(20, depth=35)
