"""Attention over time: softmax weights for frames, and the statistics of frames so weighted.

Frames are the last axis; ``mask``, if there is one, holds 0 behind a clip's end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.onnx import is_in_onnx_export

from mvector.compute.precision import at_least_float32

_VALUES_TOGETHER = 1 << 19  # 2 MB of float32


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
    """Weighted mean and standard deviation over the last axis, float32 at least."""
    if mask is not None:
        scores = masked_scores(scores, mask)
    moments = _moments_in_a_graph if is_in_onnx_export() else _WeightedMoments.apply
    mean, variance = moments(x, scores)
    return mean, variance.clamp(min=variance_floor).sqrt()


def _moments_in_a_graph(x: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of :class:`_WeightedMoments`, by operators that a graph of any batch can hold."""
    weights, x = softmax_over_frames(at_least_float32(scores)), at_least_float32(x)
    mean = (weights * x).sum(dim=-1, keepdim=True)
    variance = (weights * (x - mean).square()).sum(dim=-1)
    return mean.squeeze(-1), variance


class _WeightedMoments(torch.autograd.Function):
    """Mean and variance over the last axis with weights ``softmax(scores)``, float32 at least.

    Left to autograd, the widest tensors of a network would be read and written twice as often. With
    weights w and deviations d from the mean: the mean's slope is w by x and w d by the scores, the
    variance's 2 w d and w (d^2 - variance).
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scores: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        weights, means, variances = [], [], []
        for clips in _pieces(x):
            w = softmax_over_frames(at_least_float32(scores[clips]))
            values = at_least_float32(x[clips])
            mean = (w * values).sum(dim=-1, keepdim=True)
            variances.append((values - mean).square_().mul_(w).sum(dim=-1, keepdim=True))
            weights.append(w)
            means.append(mean)
        mean, variance = torch.cat(means), torch.cat(variances)
        ctx.save_for_backward(x, mean, variance, *weights)
        ctx.dtype = scores.dtype
        return mean.squeeze(-1), variance.squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_mean: torch.Tensor, grad_variance: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x, mean, variance, *weights = ctx.saved_tensors
        of_mean, of_variance = grad_mean.unsqueeze(-1), grad_variance.unsqueeze(-1)
        grads_x, grads_scores = [], []
        for clips, w in zip(_pieces(x), weights, strict=True):
            m, v = of_mean[clips], of_variance[clips]
            deviation = at_least_float32(x[clips]) - mean[clips]
            grads_x.append(torch.addcmul(m, deviation, 2.0 * v).mul_(w).to(x.dtype))
            slope = torch.addcmul(m, deviation, v).mul_(deviation)
            slope = slope.sub_(v * variance[clips]).mul_(w)
            grads_scores.append(slope.sum_to_size(w.shape).to(ctx.dtype))
        return _joined(grads_x), _joined(grads_scores)


def _pieces(x: torch.Tensor) -> list[slice]:
    """The clips of a batch that are gone through together: on a CPU, as many as its cache holds.

    What one operation writes is then still there when the next one reads it.
    """
    together = len(x)
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        together = max(_VALUES_TOGETHER // max(x[0].numel(), 1), 1)
    return [slice(start, start + together) for start in range(0, len(x), together)]


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    """Pieces as one batch, laid out in memory as they are: channels of a frame side by side."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat([part.transpose(-1, -2) for part in parts]).transpose(-1, -2)
