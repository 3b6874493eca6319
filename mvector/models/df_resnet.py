"""Gemini DF-ResNet: a deep ResNet of inverted bottlenecks, with more strides in bins than in time.

Liu, Chen, Wang, Wang, Han, Qian, "DF-ResNet: Boosting Speaker Verification Performance with
Depth-First Design", Interspeech 2022; strides: Liu, Lee, Wang, Li, "Golden Gemini is All You Need:
Finding the Sweet Spots for Speaker Verification", IEEE/ACM TASLP 2024.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mvector.models.layers import embedding_layers
from mvector.models.layers2d import ConvNorm, feature_map, flat_map, strided_mask
from mvector.models.pooling import build_pooling

_WIDENINGS = (1, 2, 4, 8)  # of the stages, over the stem
_TIME_STRIDES = (1, 2, 1, 1)
_INVERSION = 4  # a block is so many times wider inside


class DFResNet(nn.Module):
    """Frame features to a speaker embedding.

    With 80 bins and the defaults: 6,531,552 parameters; 7.85 G multiply-adds for 300 frames.

    Args:
        num_blocks: of each stage: 3, 3, 9, 3 in DF-ResNet60; 3, 3, 27, 3 in 114; 3, 8, 45, 3 in
            183; 3, 8, 63, 3 in 237.
        channels: of the stem and the first stage; the others have 2, 4 and 8 times as many.
        two_embedding_layers: a ReLU, a normalisation and a second linear layer follow the first.
        pooling_eps: added to the variance under the root of TSTP pooling.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 256,
        pooling_type: str = "TSTP",
        num_blocks: Sequence[int] = (3, 3, 27, 3),
        channels: int = 32,
        two_embedding_layers: bool = False,
        pooling_eps: float = 1e-7,
    ) -> None:
        super().__init__()
        self.feature_dim, self.embd_dim = feature_dim, embd_dim
        self.stem = ConvNorm(1, channels, kernel_size=3)
        widths = [channels * widening for widening in _WIDENINGS]
        self.downsamplings = nn.ModuleList(
            ConvNorm(before, width, kernel_size=3, stride=(2, time_stride))
            for before, width, time_stride in zip(
                (channels, *widths[:-1]), widths, _TIME_STRIDES, strict=True
            )
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(InvertedBlock(width) for _ in range(count))
            for width, count in zip(widths, num_blocks, strict=True)
        )
        pooled = widths[-1] * -(-feature_dim // 2 ** len(widths))
        self.pooling = build_pooling(pooling_type, pooled, eps=pooling_eps)
        self.embedding = embedding_layers(self.pooling.output_dim, embd_dim, two_embedding_layers)

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``(batch, frames, feature_dim) -> (batch, embd_dim)``, as all backbones."""
        x, mask = feature_map(features, num_frames)
        x = torch.relu(self.stem(x, mask))
        for downsampling, stage, time_stride in zip(
            self.downsamplings, self.stages, _TIME_STRIDES, strict=True
        ):
            x = downsampling(x, mask)
            mask = strided_mask(mask, time_stride)
            for block in stage:  # type: ignore[attr-defined]
                x = block(x, mask)
        return self.embedding(self.pooling(*flat_map(x, mask)))


class InvertedBlock(nn.Module):
    """A 3x3 convolution of each channel between two 1x1 convolutions, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = _INVERSION * channels
        self.conv1 = ConvNorm(channels, wide)
        self.conv2 = ConvNorm(wide, wide, kernel_size=3, groups=wide)
        self.conv3 = ConvNorm(wide, channels)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Map to map of the same shape."""
        y = torch.relu(self.conv2(torch.relu(self.conv1(x)), mask))
        return torch.relu(x + self.conv3(y))
