"""CAM++ against the published models' own numbers, and what its masks promise."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch
from reference_weights import (
    count_multiply_adds,
    count_parameters,
    golden_difference,
    golden_weights,
    load_golden,
    load_renamed,
)
from torch import nn

from mvector.errors import AudioError
from mvector.models import campplus
from mvector.models.campplus import CAMPPlus, _clip_and_segment_mean

PUBLISHED = {
    "3dspeaker_CAMPPlus_192": {},
    "mvector1_CAMPPlus": {},
    "wespeaker_CAMPPlus_512": {"embd_dim": 512, "pooling_eps": 1e-7},
}

# rewritten in this order; published layers count from 1, ours from 0
RENAMES = [
    (r"^0\.", ""),
    (r"^head\.(conv|bn)1\.", r"head.first.\1."),
    (r"^head\.(conv|bn)2\.", r"head.last.\1."),
    (r"^head\.layer(\d)\.(\d)\.", lambda found: _head_block(int(found[1]), int(found[2]))),
    (r"\.(conv|bn)(\d)\.", r".conv\2.\1."),
    (r"\.shortcut\.0\.", ".shortcut.conv."),
    (r"\.shortcut\.1\.", ".shortcut.norm."),
    (r"\.bn\.", ".norm."),
    (r"^xvector\.block(\d+)\.tdnnd(\d+)\.", lambda found: f"blocks.{_less(found[1], found[2])}."),
    (r"^xvector\.transit(\d+)\.linear\.", lambda found: f"transitions.{_less(found[1])}.conv."),
    (r"^xvector\.transit(\d+)\.", lambda found: f"transitions.{_less(found[1])}."),
    (r"^xvector\.tdnn\.linear\.", "tdnn."),
    (r"^xvector\.(tdnn|out)[._]nonlinear\.batchnorm\.", r"\1_norm."),
    (r"^xvector\.dense\.linear\.", "embedding."),
    (r"^xvector\.dense\.nonlinear\.batchnorm\.", "embedding_norm."),
    (r"\.nonlinear1\.batchnorm\.", ".bottleneck.norm."),
    (r"(\.\d+)\.linear1\.", r"\1.bottleneck.conv."),
    (r"\.nonlinear2?\.batchnorm\.", ".norm."),
    (r"\.cam_layer\.linear_local\.", ".masking.local."),
    (r"\.cam_layer\.linear1\.", ".masking.squeeze."),
    (r"\.cam_layer\.linear2\.", ".masking.excite."),
]


def _head_block(layer: int, block: int) -> str:
    return f"head.blocks.{2 * (layer - 1) + block}."


def _less(*counts_from_1: str) -> str:
    return ".".join(str(int(count) - 1) for count in counts_from_1)


def to_ours(key: str) -> str | None:
    if key == "1.weight":  # the classifier
        return None
    for pattern, replacement in RENAMES:
        key = re.sub(pattern, replacement, key)
    return key


@cache
def published_model(name: str) -> nn.Module:
    """The published model, in float64; its weights are such that every layer matters."""
    return load_renamed(CAMPPlus(80, **PUBLISHED[name]), golden_weights(name), to_ours)


@pytest.fixture
def model() -> nn.Module:
    return published_model("3dspeaker_CAMPPlus_192")


def clips(num_frames: int, *, count: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 5.0 * torch.randn(count, num_frames, 80, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_weights_give_the_published_embeddings(name: str) -> None:
    model = published_model(name)
    assert golden_difference(name, model) < 1e-9
    assert count_parameters(model) == load_golden(name)["parameters"]


def test_the_pooling_constant_matters() -> None:
    name = "wespeaker_CAMPPlus_512"
    model = CAMPPlus(80, embd_dim=512).double().eval()
    model.load_state_dict(published_model(name).state_dict())
    assert golden_difference(name, model) > 1e-5


def test_the_gate_is_computed_once_for_each_segment() -> None:
    multiply_adds = count_multiply_adds(CAMPPlus(80).eval(), torch.zeros(1, 300, 80))
    published = load_golden("3dspeaker_CAMPPlus_192")["macs_3s"]["conv_matmul"]
    of_gate = 128 * 64 + 64 * 32  # in each of 52 layers; for 2 segments, not for 150 frames
    assert multiply_adds == published - 52 * of_gate * (150 - 2) == 1_609_914_368


def test_a_clip_has_the_embedding_it_has_alone(model: nn.Module) -> None:
    num_frames = [1, 2, 150, 199, 200, 201, 202, 255]  # a segment is 200 frames of the features
    alone = [clips(length, seed=length) for length in num_frames]
    batch = torch.full((len(alone), 255, 80), float("nan"), dtype=torch.float64)
    for row, clip in zip(batch, alone, strict=True):
        row[: clip.shape[1]] = clip[0]
    with torch.inference_mode():
        expected = torch.cat([model(clip) for clip in alone])
        embeddings = model(batch, torch.tensor(num_frames))
    torch.testing.assert_close(embeddings, expected, rtol=0, atol=1e-12)
    assert (expected.abs().amax(dim=1) > 0.1).all()


def test_the_same_holds_in_float32(model: nn.Module) -> None:
    single = CAMPPlus(80).eval()
    single.load_state_dict(model.state_dict())
    batch = torch.full((2, 310, 80), 1e4)
    batch[0, :230] = clips(230)[0].float()
    batch[1] = clips(310, seed=1)[0].float()
    with torch.inference_mode():
        alone = single(batch[:1, :230])[0]
        in_batch = single(batch, torch.tensor([230, 310]))[0]
    torch.testing.assert_close(in_batch, alone, rtol=0, atol=1e-5)


def test_segments_are_averaged_over_the_frames_that_each_clip_has() -> None:
    num_frames = [1, 99, 100, 101, 230, 247]
    x = torch.randn(len(num_frames), 3, 247, dtype=torch.float64)
    mask = torch.zeros(len(num_frames), 1, 247, dtype=torch.float64)
    for clip, length in enumerate(num_frames):
        mask[clip, :, :length] = 1
    context = _clip_and_segment_mean(x * mask, mask)
    assert context.shape == (len(num_frames), 3, 3)
    for clip, length in enumerate(num_frames):
        for start in range(0, length, 100):
            segment = x[clip, :, start : min(start + 100, length)]
            expected = x[clip, :, :length].mean(dim=1) + segment.mean(dim=1)
            torch.testing.assert_close(context[clip, :, start // 100], expected)
    without_mask = _clip_and_segment_mean(x[-1:], None)
    torch.testing.assert_close(without_mask, context[-1:])


@pytest.mark.parametrize("num_frames", [1, 3, 40])
def test_gradients_are_finite_also_where_nothing_changes_over_time(num_frames: int) -> None:
    model = CAMPPlus(80).train()
    features = torch.zeros(2, num_frames, 80, requires_grad=True)
    model(features).square().sum().backward()
    gradients = [features.grad, *(parameter.grad for parameter in model.parameters())]
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_autocast_gives_nearly_the_same_embedding(model: nn.Module) -> None:
    single = CAMPPlus(80).eval()
    single.load_state_dict(model.state_dict())
    features = clips(220, count=2).float()
    with torch.inference_mode():
        full = single(features)
        with torch.autocast("cpu", torch.bfloat16):
            half = single(features, torch.tensor([220, 220])).float()
    assert torch.cosine_similarity(half, full).min() > 0.999


def test_the_model_can_be_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campplus, "DENSE_BLOCKS", ((1, 1), (1, 2)))  # 52 layers take half a minute
    model = CAMPPlus(80).eval()
    features = clips(220).float()
    traced = torch.export.export(model, (features,), strict=True).module()
    torch.testing.assert_close(traced(features), model(features))


def test_the_number_of_bins_need_not_be_a_multiple_of_eight() -> None:
    model = CAMPPlus(21, embd_dim=16, growth_rate=8, init_channels=32, head_channels=4).eval()
    assert model(torch.randn(2, 50, 21)).shape == (2, 16)


def test_attentive_pooling_can_take_the_place_of_statistics() -> None:
    model = CAMPPlus(80, pooling_type="ASP").eval()
    with torch.inference_mode():
        assert model(torch.randn(2, 30, 80), torch.tensor([30, 11])).isfinite().all()


def test_a_clip_without_frames_is_refused() -> None:
    with pytest.raises(AudioError, match="frame"):
        CAMPPlus(80)(torch.zeros(1, 0, 80))
