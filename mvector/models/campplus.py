"""CAM++: a densely connected time-delay network with context-aware masking.

Wang, Zheng, Chen, Cheng, Chen, "CAM++: A Fast and Efficient Network for Speaker Verification Using
Context-Aware Masking", Interspeech 2023.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.onnx import is_in_onnx_export

from mvector.compute.precision import at_least_float32
from mvector.models.layers import FrameConv, join_channels, normalised_frames
from mvector.models.layers2d import ConvNorm, feature_map, flat_map, strided_mask, zero_padding
from mvector.models.pooling import build_pooling

SEGMENT_FRAMES = 100
DENSE_BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers, dilation


class CAMPPlus(nn.Module):
    """Frame features to a speaker embedding.

    With 80 bins and the defaults: 6,848,544 parameters; 1.61 G multiply-adds for 300 frames.

    Args:
        pooling_eps: added to the variance under the root by TSTP pooling: 0 in 3D-Speaker, 1e-7 in
            WeSpeaker.
        head_channels: channels of the two-dimensional convolutions at the front.
        init_channels: channels that the first dense block starts from.
        growth_rate: channels that each layer of a dense block adds.
        bn_size: a dense layer's bottleneck has ``bn_size * growth_rate`` channels.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 192,
        pooling_type: str = "TSTP",
        pooling_eps: float = 0.0,
        head_channels: int = 32,
        init_channels: int = 128,
        growth_rate: int = 32,
        bn_size: int = 4,
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.embd_dim = embd_dim
        self.head = FrontConvolutions(head_channels)
        in_channels = head_channels * -(-feature_dim // FrontConvolutions.bin_stride)
        self.tdnn = nn.Conv1d(in_channels, init_channels, 5, stride=2, padding=2, bias=False)
        self.tdnn_norm = nn.BatchNorm1d(init_channels)
        self.blocks = nn.ModuleList()
        self.transitions = nn.ModuleList()
        channels = init_channels
        for num_layers, dilation in DENSE_BLOCKS:
            self.blocks.append(DenseBlock(num_layers, channels, growth_rate, bn_size, dilation))
            channels += num_layers * growth_rate
            self.transitions.append(NormReluConv(channels, channels // 2))
            channels //= 2
        self.out_norm = nn.BatchNorm1d(channels)
        self.pooling = build_pooling(pooling_type, channels, eps=pooling_eps)
        self.embedding = nn.Linear(self.pooling.output_dim, embd_dim, bias=False)
        self.embedding_norm = nn.BatchNorm1d(embd_dim, affine=False)

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``(batch, frames, feature_dim) -> (batch, embd_dim)``, as all backbones."""
        x, mask = feature_map(features, num_frames)
        x, mask = flat_map(self.head(x, mask), mask)
        x = _normalised_relu(self.tdnn_norm, self.tdnn(zero_padding(x, mask)))
        mask = strided_mask(mask, 2)
        for block, transition in zip(self.blocks, self.transitions, strict=True):
            x = transition(block(x, mask))
        x = self.pooling(_normalised_relu(self.out_norm, x), mask)
        return self.embedding_norm(self.embedding(x))


class FrontConvolutions(nn.Module):
    """Residual 3x3 convolutions that keep every frame and an eighth of the bins."""

    bin_stride = 8

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(1, channels, kernel_size=3)
        self.blocks = nn.ModuleList(MapBlock(channels, bin_stride) for bin_stride in (2, 1, 2, 1))
        self.last = ConvNorm(channels, channels, kernel_size=3, stride=(2, 1))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, 1, bins, frames) -> (batch, channels, bins / 8 rounded up, frames)``."""
        x = _relu_(self.first(x, mask))
        for block in self.blocks:
            x = block(x, mask)
        return _relu_(self.last(x, mask))


class MapBlock(nn.Module):
    """Two 3x3 convolutions, the first of which may have a stride over bins, added to the input."""

    def __init__(self, channels: int, bin_stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, channels, kernel_size=3, stride=(bin_stride, 1))
        self.conv2 = ConvNorm(channels, channels, kernel_size=3)
        self.shortcut = (
            ConvNorm(channels, channels, stride=(bin_stride, 1))
            if bin_stride > 1
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, bins, frames) -> (batch, channels, fewer bins, frames)``."""
        y = self.conv2(_relu_(self.conv1(x, mask)), mask)
        return _relu_(y + self.shortcut(x))


class DenseBlock(nn.ModuleList):
    """Layers of which each sees what all before it have made.

    The channels are joined once for each layer: normalisation and convolution want them side by
    side in memory, so a list of pieces would be copied as often.
    """

    def __init__(
        self, num_layers: int, in_channels: int, growth_rate: int, bn_size: int, dilation: int
    ) -> None:
        super().__init__(
            DenseLayer(in_channels + index * growth_rate, growth_rate, bn_size, dilation)
            for index in range(num_layers)
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, in_channels, frames) -> (batch, in_channels + what was made, frames)``."""
        for layer in self:
            x = join_channels([x, layer(x, mask)])
        return x


class DenseLayer(nn.Module):
    """A bottleneck, then a gated convolution over time."""

    def __init__(self, in_channels: int, growth_rate: int, bn_size: int, dilation: int) -> None:
        super().__init__()
        self.bottleneck = NormReluConv(in_channels, bn_size * growth_rate)
        self.norm = nn.BatchNorm1d(bn_size * growth_rate)
        self.masking = ContextAwareMasking(bn_size * growth_rate, growth_rate, dilation)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, in_channels, frames) -> (batch, growth_rate, frames)``."""
        return self.masking(_normalised_relu(self.norm, self.bottleneck(x)), mask)


class NormReluConv(nn.Module):
    """Batch normalisation, ReLU, and a layer that sees one frame at a time."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(in_channels)
        self.conv = FrameConv(in_channels, out_channels, kernel_size=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, in_channels, frames) -> (batch, out_channels, frames)``."""
        return self.conv(_normalised_relu(self.norm, x))


class ContextAwareMasking(nn.Module):
    """A convolution over time whose channels are scaled by a gate, one for each segment.

    The gate sees the mean over the clip plus the mean over the segment, whose 100 frames are one
    second or two. The gate being the same for a whole segment, it is computed once for each.
    """

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__()
        self.local = FrameConv(
            in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.squeeze = FrameConv(in_channels, in_channels // 2, kernel_size=1)
        self.excite = FrameConv(in_channels // 2, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, in_channels, frames) -> (batch, out_channels, frames)``."""
        x = zero_padding(x, mask)
        gate = torch.sigmoid(self.excite(_relu_(self.squeeze(_clip_and_segment_mean(x, mask)))))
        gates = gate.unsqueeze(3).expand(-1, -1, -1, SEGMENT_FRAMES).flatten(2)
        return self.local(x) * gates[:, :, : x.shape[2]]


def _clip_and_segment_mean(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over the clip plus mean over each segment: ``(batch, channels, segments)``.

    ``x`` is zero behind each clip's end. The last segment may be shorter than the others; its mean
    is over the frames that it has.
    """
    if is_in_onnx_export():  # the number of segments is not known; a clip has no mask
        x = at_least_float32(x)
        of_segments = F.avg_pool1d(x, SEGMENT_FRAMES, ceil_mode=True, count_include_pad=False)
        return x.mean(dim=2, keepdim=True) + of_segments
    sums = _SumOverSegments.apply(x)
    frames = _SumOverSegments.apply(torch.ones_like(x[:1, :1]) if mask is None else mask)
    of_clip = sums.sum(dim=2, keepdim=True) / frames.sum(dim=2, keepdim=True)
    return of_clip + sums / frames.clamp(min=1)


class _SumOverSegments(torch.autograd.Function):
    """``(batch, channels, frames) -> (batch, channels, segments)``, float32 at least.

    Neither pass makes a float32 copy of the map, and the gradient, the same for all frames of a
    segment, is written once.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.dtype, ctx.num_frames = x.dtype, x.shape[2]
        rows, dtype = x.transpose(1, 2), torch.promote_types(x.dtype, torch.float32)
        whole = ctx.num_frames // SEGMENT_FRAMES * SEGMENT_FRAMES
        sums = (
            rows[:, :whole]
            .unflatten(1, (whole // SEGMENT_FRAMES, SEGMENT_FRAMES))
            .sum(dim=2, dtype=dtype)
        )
        if whole < ctx.num_frames:
            rest = rows[:, whole:].sum(dim=1, keepdim=True, dtype=dtype)
            sums = torch.cat([sums, rest], dim=1)
        return sums.transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        rows = gradient.transpose(1, 2).to(ctx.dtype).unsqueeze(2)
        rows = rows.expand(-1, -1, SEGMENT_FRAMES, -1).flatten(1, 2)
        return rows[:, : ctx.num_frames].transpose(1, 2)


def _normalised_relu(norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return torch.relu(normalised_frames(norm, x))


def _relu_(x: torch.Tensor) -> torch.Tensor:
    return F.relu(x, inplace=True)  # normalisation keeps its input, not its output: one map less
