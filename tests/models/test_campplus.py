"""What the masks of CAM++ promise, with a published model's weights."""

from __future__ import annotations

import pytest
import torch
from published_models import published_backbone
from torch import nn

from mvector.models.campplus import CAMPPlus, _clip_and_segment_mean


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """In float64; its weights are such that every layer matters."""
    return published_backbone("3dspeaker_CAMPPlus_192")


def clips(num_frames: int, *, count: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 5.0 * torch.randn(count, num_frames, 80, generator=generator, dtype=torch.float64)


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
