"""ERes2Net and ERes2NetV2 equal the published ones; padding does not change an embedding."""

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

from mvector.models.eres2net import ERes2Net
from mvector.models.eres2net_v2 import ERes2NetV2
from mvector.models.layers2d import Res2Block
from mvector.models.pooling import POOLINGS

PUBLISHED: dict[str, tuple[type[torch.nn.Module], dict[str, Any]]] = {
    "3dspeaker_ERes2Net_base_192": (ERes2Net, {}),
    "3dspeaker_ERes2Net_large_512": (ERes2Net, {"embd_dim": 512, "channels": 64}),
    "mvector1_ERes2Net": (ERes2Net, {}),
    "wespeaker_ERes2Net34_Base": (ERes2Net, {"embd_dim": 512, "pooling_eps": 1e-7}),
    "3dspeaker_ERes2NetV2_192": (ERes2NetV2, {}),
    "mvector1_ERes2NetV2": (ERes2NetV2, {"channels": 32}),
}
RENAMES = (
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"\.conv(\d)\.", r".conv\1.conv."),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"\.convs\.(\d)\.", r".convs.\1.conv."),
    (r"\.bns\.(\d)\.", r".convs.\1.norm."),
    (r"\.shortcut\.0\.", ".shortcut.conv."),
    (r"\.shortcut\.1\.", ".shortcut.norm."),
    (r"\.fuse_models\.", ".fusions."),
    (r"^layer1_downsample\.", "downsamplings.0."),
    (r"^layer2_downsample\.", "downsamplings.1."),
    (r"^layer3_downsample\.", "downsamplings.2."),
    (r"^fuse_mode12\.", "fusions.0."),
    (r"^fuse_mode123\.", "fusions.1."),
    (r"^fuse_mode1234\.", "fusions.2."),
    (r"^layer3_ds\.", "downsampling."),
    (r"^fuse34\.", "fusion."),
    (r"\.local_att\.", ".attention."),
    (r"^seg_1\.", "embedding.0."),
)
SMALL: list[tuple[type[torch.nn.Module], dict[str, Any]]] = [
    (ERes2Net, {"channels": 8, "num_blocks": [1, 1, 2, 1], "scale": 3}),
    (ERes2NetV2, {"channels": 8, "num_blocks": [1, 2, 1, 1], "two_embedding_layers": True}),
]


def to_ours(key: str) -> str | None:
    if key.startswith("1."):  # the classifier of mvector 1.x, whose backbone's keys begin with 0.
        return None
    key = key.removeprefix("0.")
    key = re.sub(r"^layer(\d)\.", lambda found: f"stages.{int(found[1]) - 1}.", key)
    for published, ours in RENAMES:
        key = re.sub(published, ours, key)
    return key


def from_wespeaker(key: str) -> str | None:
    """In stages 3 and 4 WeSpeaker gives the first convolution and its norm names of their own."""
    found = re.fullmatch(r"(layer[34]\.\d+)\.(convs|bns)\.(\d)\.(\w+)", key)
    if found:
        key = f"{found[1]}.{found[2]}.{int(found[3]) + 1}.{found[4]}"
    return to_ours(key.replace(".conv2_1.", ".convs.0.").replace(".bn2_1.", ".bns.0."))


def with_random_weights(model: torch.nn.Module) -> torch.nn.Module:
    """Offsets and statistics are random too: what passes through a layer is zero nowhere."""
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    weights = {key: torch.from_numpy(value) for key, value in state_dict(shapes, "random").items()}
    return load_renamed(model, weights, str)


def published_model(name: str) -> torch.nn.Module:
    kind, options = PUBLISHED[name]
    rename = from_wespeaker if name.startswith("wespeaker") else to_ours
    return load_renamed(kind(80, **options), golden_weights(name), rename)


@pytest.mark.parametrize("name", ["3dspeaker_ERes2Net_base_192", "mvector1_ERes2NetV2"])
def test_embeds_as_the_published_model(name: str) -> None:
    assert golden_difference(name, published_model(name)) < 1e-9


@pytest.mark.parametrize(
    "name",
    [
        "3dspeaker_ERes2Net_large_512",
        "mvector1_ERes2Net",
        "wespeaker_ERes2Net34_Base",
        "3dspeaker_ERes2NetV2_192",
    ],
)
def test_embeds_one_clip_as_the_published_model(name: str) -> None:
    golden = load_golden(name)
    clip = torch.from_numpy(features(golden["inputs"][0]["shape"], golden["salt"]))[:1]
    published = torch.tensor(golden["embeddings"][0][:1], dtype=torch.float64)
    with torch.inference_mode():
        difference = (published_model(name)(clip) - published).abs().max()
    assert difference < 1e-9 * published.abs().max()


@pytest.mark.parametrize("name", PUBLISHED)
def test_has_the_published_size(name: str) -> None:
    kind, options = PUBLISHED[name]
    golden = load_golden(name)
    with torch.device("meta"):
        model = kind(80, **options).eval()
        clip = torch.zeros(1, 300, 80)
    assert count_parameters(model) == golden["parameters"]
    assert count_multiply_adds(model, clip) == golden["macs_3s"]["conv_matmul"]


@pytest.mark.parametrize(
    ("kind", "options", "millions", "giga_multiply_adds"),
    [
        (ERes2Net, {"channels": 64, "base_width": 24, "scale": 3, "expansion": 4}, 55.165, 47.03),
        (ERes2NetV2, {"base_width": 24, "scale": 4, "expansion": 4}, 53.514, 37.01),
    ],
)
def test_the_largest_variants_have_the_published_size(
    kind: type[torch.nn.Module],
    options: dict[str, Any],
    millions: float,
    giga_multiply_adds: float,
) -> None:
    with torch.device("meta"):
        model = kind(80, **options).eval()
        clip = torch.zeros(1, 300, 80)
    assert round(count_parameters(model) / 1e6, 3) == millions
    assert round(count_multiply_adds(model, clip) / 1e9, 2) == giga_multiply_adds


@pytest.mark.parametrize("fuse", [False, True])
def test_every_group_is_convolved_and_joined_with_the_one_before(fuse: bool) -> None:
    block = with_random_weights(Res2Block(4, 8, 1, base_width=64, scale=3, fuse=fuse))
    joined: list[torch.Tensor] = []
    block.conv3.register_forward_pre_hook(lambda _, inputs: joined.append(inputs[0]))
    x = torch.from_numpy(features((4, 7, 9), "map"))[None]
    block(x)
    a, b, c = block.conv1(x).clamp(0, 20).split(8, dim=1)
    a = block.convs[0](a).clamp(0, 20)
    b = block.convs[1](block.fusions[0](a, b) if fuse else a + b).clamp(0, 20)
    c = block.convs[2](block.fusions[1](b, c) if fuse else b + c).clamp(0, 20)
    torch.testing.assert_close(joined[0], torch.cat([a, b, c], dim=1))


@pytest.mark.parametrize(("kind", "options"), SMALL)
def test_padding_has_no_influence(kind: type[torch.nn.Module], options: dict[str, Any]) -> None:
    model = with_random_weights(kind(20, **options))
    num_frames = torch.tensor([40, 1, 2, 3, 8, 9, 16, 17, 31, 39])
    clips = torch.from_numpy(features((10, 40, 20), "padding"))
    padded = clips.clone()
    for clip, end in zip(padded, num_frames, strict=True):
        clip[end:] = torch.nan
    with torch.inference_mode():
        together = model(padded, num_frames)
        alone = torch.cat([model(clips[i : i + 1, :end]) for i, end in enumerate(num_frames)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12 * float(alone.abs().max()))


@pytest.mark.parametrize(("kind", "options"), SMALL)
def test_constant_clips_and_a_clip_of_one_frame_have_finite_gradients(
    kind: type[torch.nn.Module], options: dict[str, Any]
) -> None:
    model = kind(20, **options)
    clips = torch.ones(3, 17, 20, requires_grad=True)
    model(clips, torch.tensor([17, 1, 5])).square().sum().backward()
    for tensor in (clips, *model.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


@pytest.mark.parametrize(("kind", "options"), SMALL)
def test_autocast_to_bfloat16_keeps_the_embedding(
    kind: type[torch.nn.Module], options: dict[str, Any]
) -> None:
    model = with_random_weights(kind(20, **options)).float()
    clips = torch.from_numpy(features((2, 40, 20), "autocast")).float()
    num_frames = torch.tensor([40, 25])
    with torch.inference_mode():
        expected = model(clips, num_frames)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embeddings = model(clips, num_frames).float()
    assert torch.cosine_similarity(embeddings, expected).min() > 0.999


@pytest.mark.parametrize("kind", [ERes2Net, ERes2NetV2])
def test_can_be_exported_and_compiled(kind: type[torch.nn.Module]) -> None:
    model = with_random_weights(kind(20, channels=8, num_blocks=[1, 1, 1, 1]))
    clips = torch.from_numpy(features((2, 40, 20), "export"))
    exported = torch.export.export(model, (clips,)).module()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(exported(clips), model(clips))
        torch.testing.assert_close(compiled(clips), model(clips))


@pytest.mark.parametrize("pooling_type", POOLINGS)
@pytest.mark.parametrize("kind", [ERes2Net, ERes2NetV2])
def test_takes_every_pooling(kind: type[torch.nn.Module], pooling_type: str) -> None:
    model = kind(20, embd_dim=24, pooling_type=pooling_type, channels=8, num_blocks=[1, 1, 1, 1])
    assert model(torch.randn(2, 20, 20)).shape == (2, 24)
