"""Res2Net in two forms: one that works at a sixth of the resolution and one at the full one.

Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", TPAMI 2021; for speakers:
Zhou, Zhao, Wu, "ResNeXt and Res2Net Structures for Speaker Verification", SLT 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.onnx import is_in_onnx_export

from mvector.errors import ConfigError
from mvector.models.layers2d import (
    ConvNorm,
    Res2Block,
    group_width,
    make_shortcut,
    strided_mask,
    zero_padding,
)
from mvector.models.pooling import SPEECHBRAIN_ATTENTION
from mvector.models.resnet_base import ResNetBase

STEM_KERNEL, STEM_STRIDE, STEM_PADDING = 7, 3, 1


class Res2Net(ResNetBase):
    """Frame features to a speaker embedding, at a sixth of their resolution from the stem on.

    With 80 bins and the defaults: 5,611,840 parameters; 0.17 G multiply-adds for 300 frames. A clip
    of less than five frames, the fewest that the stem takes, is continued by zeros.

    Arguments: see :class:`mvector.models.resnet_base.ResNetBase`.

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
        if feature_dim < 5:
            raise ConfigError(f"Res2Net needs at least 5 bins, not {feature_dim}; use more bins.")
        block = partial(PoolingRes2Block, base_width=base_width, scale=scale, expansion=expansion)
        stem = ConvNorm(1, channels, STEM_KERNEL, STEM_STRIDE, STEM_PADDING)
        super().__init__(feature_dim, embd_dim, channels, block, num_blocks, stem=stem)
        stem_bins = -(-stem_size(feature_dim) // 2)
        self.add_normalised_embedding(
            pooling_type,
            stem_bins,
            attention_channels=attention_channels,
            **SPEECHBRAIN_ATTENTION,
        )

    def run_stem(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Convolution with stride 3, then the maximum over 3x3 cells with stride 2."""
        least = STEM_KERNEL - 2 * STEM_PADDING
        if is_in_onnx_export():  # whose sizes are not known yet
            size = torch.ones_like(x[0, 0, 0], dtype=torch.int64).sum().clamp(min=least)
            x = F.pad(x, (0, least))[..., :size]
        elif x.shape[3] < least:
            x = F.pad(x, (0, least - x.shape[3]))
        x = torch.relu(self.stem(x))
        if mask is not None:
            # a frame of the stem counts if a clip alone has it: the first one always, the others
            # if their window ends in the clip
            mask = F.pad(mask[..., least - 1 + STEM_STRIDE :: STEM_STRIDE], (1, 0), value=1.0)
        # behind a ReLU, zeros in the padding never are a window's maximum alone
        x = F.max_pool2d(zero_padding(x, mask), kernel_size=3, stride=2, padding=1)
        return x, strided_mask(mask, 2)


class Res2Net34(ResNetBase):
    """Frame features to a speaker embedding, with ResNet34's stages of Res2 bottlenecks.

    With 80 bins and the defaults: 4,689,024 parameters; 2.57 G multiply-adds for 300 frames.

    Arguments: see :class:`mvector.models.resnet_base.ResNetBase`.
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
        block = partial(
            Res2Block, base_width=base_width, scale=scale, expansion=expansion, convolve_last=False
        )
        super().__init__(feature_dim, embd_dim, channels, block, num_blocks)
        self.add_embedding(pooling_type, two_embedding_layers, eps=pooling_eps)


class PoolingRes2Block(nn.Module):
    """Res2Net's bottleneck with the stride in its groups: the convolved ones and the passing one.

    In a block that changes the shape, the first of its stage, the groups are convolved one by one,
    without the sums, and the last group is averaged over 3x3 cells, zeros at the edge included.
    Arguments: see :class:`mvector.models.layers2d.Res2Block`.
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


def stem_size(bins: int) -> int:
    """Bins behind the stem's convolution."""
    return (bins + 2 * STEM_PADDING - STEM_KERNEL) // STEM_STRIDE + 1
