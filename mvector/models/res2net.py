"""Res2Net in two forms: one that works at a sixth of the resolution and one at the full one.

Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", TPAMI 2021; for speakers:
Zhou, Zhao, Wu, "ResNeXt and Res2Net Structures for Speaker Verification", SLT 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from mvector.errors import ConfigError
from mvector.models.layers import frame_mask
from mvector.models.layers2d import (
    ConvNorm,
    Res2Block,
    embedding_layers,
    feature_map,
    flat_map,
    group_width,
    make_shortcut,
    make_stages,
    strided_mask,
    zero_padding,
)
from mvector.models.pooling import build_pooling

STEM_KERNEL, STEM_STRIDE, STEM_PADDING = 7, 3, 1


class Res2Net(nn.Module):
    """Frame features to a speaker embedding, at a sixth of their resolution from the stem on.

    With 80 bins and the defaults: 5,611,840 parameters; 0.17 G multiply-adds for 300 frames. A clip
    of less than five frames, the fewest that the stem takes, is continued by zeros.

    Args:
        feature_dim: bins of the input features, at least 5.
        embd_dim: size of the embedding.
        pooling_type: name of the pooling layer, see :data:`mvector.models.pooling.POOLINGS`.
        channels: channels of the stem; the stages have ``expansion`` times 1, 2, 4 and 8 as many.
        num_blocks: blocks of the four stages.
        base_width: channels of one group of a Res2 convolution, per 64 channels of the stage's
            1, 2, 4 or 8 times ``channels``.
        scale: number of groups in a Res2 convolution.
        expansion: see ``channels``.
        attention_channels: hidden width of the attention in the pooling.

    Raises:
        ConfigError: there are fewer than 5 bins.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 192,
        pooling_type: str = "ASP",
        channels: int = 32,
        num_blocks: Sequence[int] = (3, 4, 6, 3),
        base_width: int = 32,
        scale: int = 2,
        expansion: int = 4,
        attention_channels: int = 128,
    ) -> None:
        super().__init__()
        if feature_dim < 5:
            raise ConfigError(f"Res2Net needs at least 5 bins, not {feature_dim}; use more bins.")
        self.feature_dim = feature_dim
        self.embd_dim = embd_dim
        block = partial(PoolingRes2Block, base_width=base_width, scale=scale, expansion=expansion)
        self.stem = ConvNorm(1, channels, STEM_KERNEL, STEM_STRIDE, STEM_PADDING)
        self.stages = make_stages(block, channels, num_blocks)
        bins = -(-stem_size(feature_dim) // 16)
        self.pooling = build_pooling(
            pooling_type,
            8 * channels * expansion * bins,
            attention_channels=attention_channels,
            global_context=True,
            attention_norm=True,
            variance_floor=1e-12,
        )
        self.pooling_norm = nn.BatchNorm1d(self.pooling.output_dim)
        self.embedding = nn.Linear(self.pooling.output_dim, embd_dim)
        self.embedding_norm = nn.BatchNorm1d(embd_dim)

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Embed a batch of clips.

        Args:
            features: ``(batch, frames, feature_dim)``.
            num_frames: ``(batch,)`` frames of each clip; ``None`` means that all are full.

        Returns:
            Embeddings of shape ``(batch, embd_dim)``, not length-normalised.
        """
        x, mask = self._stem_with_pooling(features, num_frames)
        for stage in self.stages:
            x, mask = stage(x, mask)
        x = self.pooling_norm(self.pooling(*flat_map(x, mask)))
        return self.embedding_norm(self.embedding(x))

    def _stem_with_pooling(
        self, features: torch.Tensor, num_frames: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        x, mask = feature_map(features, num_frames)
        least = STEM_KERNEL - 2 * STEM_PADDING
        if x.shape[3] < least:
            x = F.pad(x, (0, least - x.shape[3]))
        x = torch.relu(self.stem(x))
        if num_frames is not None:
            # a frame of the stem counts if a clip alone has it, so if its window ends in the clip
            num_frames = stem_size(num_frames.clamp(min=least))
            mask = frame_mask(num_frames, x.shape[3], x.dtype).unsqueeze(2)
        # behind a ReLU, zeros in the padding never are a window's maximum alone
        x = F.max_pool2d(zero_padding(x, mask), kernel_size=3, stride=2, padding=1)
        return x, strided_mask(mask, 2)


class Res2Net34(nn.Module):
    """Frame features to a speaker embedding, with ResNet34's stages of Res2 bottlenecks.

    With 80 bins and the defaults: 4,689,024 parameters; 2.57 G multiply-adds for 300 frames.

    Args:
        feature_dim: bins of the input features.
        embd_dim: size of the embedding.
        pooling_type: name of the pooling layer, see :data:`mvector.models.pooling.POOLINGS`.
        channels: channels of the stem; the stages have ``expansion`` times 1, 2, 4 and 8 as many.
        num_blocks: blocks of the four stages.
        base_width: channels of one group of a Res2 convolution, per 64 channels of the stage's
            1, 2, 4 or 8 times ``channels``.
        scale: number of groups in a Res2 convolution.
        expansion: see ``channels``.
        two_embedding_layers: a ReLU, a normalisation and a second linear layer follow the first.
        pooling_eps: added to the variance under the root of TSTP pooling: 1e-7 in WeSpeaker, 1e-8
            in 3D-Speaker.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 256,
        pooling_type: str = "TSTP",
        channels: int = 32,
        num_blocks: Sequence[int] = (3, 4, 6, 3),
        base_width: int = 32,
        scale: int = 2,
        expansion: int = 2,
        two_embedding_layers: bool = False,
        pooling_eps: float = 1e-7,
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.embd_dim = embd_dim
        block = partial(
            Res2Block,
            base_width=base_width,
            scale=scale,
            expansion=expansion,
            convolve_last=False,
        )
        self.stem = ConvNorm(1, channels, kernel_size=3)
        self.stages = make_stages(block, channels, num_blocks)
        pooled_channels = 8 * channels * expansion * -(-feature_dim // 8)
        self.pooling = build_pooling(pooling_type, pooled_channels, eps=pooling_eps)
        self.embedding = embedding_layers(self.pooling.output_dim, embd_dim, two_embedding_layers)

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Embed a batch of clips.

        Args:
            features: ``(batch, frames, feature_dim)``.
            num_frames: ``(batch,)`` frames of each clip; ``None`` means that all are full.

        Returns:
            Embeddings of shape ``(batch, embd_dim)``, not length-normalised.
        """
        x, mask = feature_map(features, num_frames)
        x = torch.relu(self.stem(x))
        for stage in self.stages:
            x, mask = stage(x, mask)
        return self.embedding(self.pooling(*flat_map(x, mask)))


class PoolingRes2Block(nn.Module):
    """Res2Net's bottleneck with the stride in its groups: the convolved ones and the passing one.

    In a block that changes the shape, the first of its stage, the groups are convolved one by one,
    without the sums, and the last group is averaged over 3x3 cells, zeros at the edge included.

    Args:
        in_channels: channels of the input.
        planes: width on which the widths of all layers depend.
        stride: stride in bins and frames.
        base_width: a group has ``planes * base_width // 64`` channels.
        scale: number of groups.
        expansion: the block's result has ``expansion * planes`` channels.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int,
        *,
        base_width: int,
        scale: int,
        expansion: int,
    ) -> None:
        super().__init__()
        width = group_width(planes, base_width)
        self.out_channels = expansion * planes
        self.scale = scale
        self.stride = stride
        self.changes_shape = stride > 1 or in_channels != self.out_channels
        self.conv1 = ConvNorm(in_channels, scale * width)
        self.convs = nn.ModuleList(
            ConvNorm(width, width, kernel_size=3, stride=stride) for _ in range(scale - 1)
        )
        self.conv3 = ConvNorm(scale * width, self.out_channels)
        self.shortcut = make_shortcut(in_channels, self.out_channels, stride)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map and mask to map and mask."""
        *groups, last = torch.relu(self.conv1(x)).chunk(self.scale, dim=1)
        outputs: list[torch.Tensor] = []
        for group, conv in zip(groups, self.convs, strict=True):
            if outputs and not self.changes_shape:
                group = group + outputs[-1]
            outputs.append(torch.relu(conv(group, mask)))
        if self.changes_shape:
            last = F.avg_pool2d(zero_padding(last, mask), 3, self.stride, padding=1)
        y = self.conv3(torch.cat([*outputs, last], dim=1))
        return torch.relu(y + self.shortcut(x)), strided_mask(mask, self.stride)


Size = TypeVar("Size", int, torch.Tensor)


def stem_size(size: Size) -> Size:
    """Bins or frames behind the stem's convolution."""
    return (size + 2 * STEM_PADDING - STEM_KERNEL) // STEM_STRIDE + 1
