"""Layers over frames: torch's own numbers and gradients, with channels side by side in memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mvector.models.attention import attentive_statistics
from mvector.models.layers import ConvReluNorm, FrameConv, join_channels, split_channels

CONVS = [
    {"kernel_size": 1},
    {"kernel_size": 1, "bias": False},
    {"kernel_size": 5, "padding": 2},
    {"kernel_size": 3, "padding": 4, "dilation": 4, "bias": False},
    {"kernel_size": 3, "dilation": 2},
    {"kernel_size": 1, "groups": 4},
]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def side_by_side(x: torch.Tensor) -> bool:
    """Whether the channels of a frame are neighbours in memory."""
    return x.transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("options", CONVS)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_frame_convolution_is_that_of_torch(options: dict, transposed: bool) -> None:
    ours, theirs = FrameConv(8, 12, **options).double(), nn.Conv1d(8, 12, **options).double()
    theirs.load_state_dict(ours.state_dict())
    x = draw(3, 17, 8).transpose(1, 2) if transposed else draw(3, 8, 17)
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    results = [ours(inputs[0]), theirs(inputs[1])]
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-12)
    for result in results:
        (result * draw(*result.shape, seed=1)).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=0, atol=1e-12)
    for own, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own.grad, their.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", CONVS[:4])
def test_a_frame_convolution_leaves_the_channels_side_by_side(options: dict) -> None:
    assert side_by_side(FrameConv(16, 32, **options)(torch.randn(3, 16, 17)))


def test_split_channels_join_to_what_they_were() -> None:
    x = draw(2, 12, 5)
    groups = split_channels(x, 4)
    assert torch.equal(torch.stack(groups), torch.stack(x.split(4, dim=1)))
    joined = join_channels(groups)
    assert torch.equal(joined, x)
    assert side_by_side(joined)


def test_convolution_relu_and_norm_train_as_torch_trains_them() -> None:
    ours = ConvReluNorm(8, 12, 3, 2).double()
    theirs = nn.Sequential(
        nn.Conv1d(8, 12, 3, dilation=2, padding=2, bias=False), nn.ReLU(), nn.BatchNorm1d(12)
    ).double()
    for own, their in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        their.copy_(own)
    x = [draw(3, 8, 17).requires_grad_() for _ in range(2)]
    results = [ours(x[0]), theirs(x[1])]
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-12)
    for result in results:
        (result * draw(3, 12, 17, seed=1)).sum().backward()
    torch.testing.assert_close(x[0].grad, x[1].grad, rtol=0, atol=1e-12)
    for own, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own.grad, their.grad, rtol=0, atol=1e-12)
    for own, their in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(own, their)


@pytest.mark.parametrize("channels_of_scores", [5, 1])
@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_of_attentive_statistics_is_that_of_its_differences(
    channels_of_scores: int, masked: bool
) -> None:
    mask = torch.ones(2, 1, 7, dtype=torch.float64)
    mask[1, :, 4:] = 0
    inputs = (
        draw(2, 5, 7).requires_grad_(),
        draw(2, channels_of_scores, 7, seed=1).requires_grad_(),
    )
    assert torch.autograd.gradcheck(
        lambda x, scores: attentive_statistics(x, scores, mask if masked else None, 1e-9), inputs
    )
