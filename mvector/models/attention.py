"""Attention over time: softmax weights for frames, and the statistics of frames so weighted.

Frames are the last axis; ``mask``, if there is one, holds 0 behind a clip's end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.onnx import is_in_onnx_export

from mvector.compute.precision import at_least_float32


def masked_scores(scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Scores that leave no weight to the frames behind a clip's end."""
    scores = at_least_float32(scores)
    return scores if mask is None else scores.masked_fill(mask == 0, float("-inf"))


def softmax_over_frames(scores: torch.Tensor) -> torch.Tensor:
    """Weights that sum to 1 over the last axis, without a copy to get it together in memory."""
    if is_in_onnx_export():
        return torch.softmax(scores, dim=-1)
    return torch.softmax(scores.transpose(-1, -2), dim=-2).transpose(-1, -2)


def attentive_statistics(
    x: torch.Tensor, scores: torch.Tensor, mask: torch.Tensor | None, variance_floor: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted mean and standard deviation over the last axis."""
    mean, variance = _WeightedMoments.apply(at_least_float32(x), masked_scores(scores, mask))
    return mean, variance.clamp(min=variance_floor).sqrt()


class _WeightedMoments(torch.autograd.Function):
    """Mean and variance over the last axis with weights ``softmax(scores)``.

    Left to autograd, the widest tensors of a network would be read and written twice as often. With
    weights w and deviations d from the mean: the mean's slope is w by x and w d by the scores, the
    variance's 2 w d and w (d^2 - variance).
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scores: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        weights = softmax_over_frames(scores)
        mean = (weights * x).sum(dim=-1, keepdim=True)
        variance = (x - mean).square_().mul_(weights).sum(dim=-1, keepdim=True)
        ctx.save_for_backward(x, weights, mean, variance)
        return mean.squeeze(-1), variance.squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_mean: torch.Tensor, grad_variance: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x, weights, mean, variance = ctx.saved_tensors
        grad_mean, grad_variance = grad_mean.unsqueeze(-1), grad_variance.unsqueeze(-1)
        deviation = x - mean
        grad_x = torch.addcmul(grad_mean, deviation, 2.0 * grad_variance).mul_(weights)
        grad_scores = torch.addcmul(grad_mean, deviation, grad_variance).mul_(deviation)
        grad_scores = grad_scores.sub_(grad_variance * variance).mul_(weights)
        return grad_x, grad_scores.sum_to_size(weights.shape)
