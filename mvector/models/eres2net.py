"""ERes2Net and ERes2NetV2: Res2 blocks whose maps are fused by attention.

Chen et al., "An Enhanced Res2Net with Local and Global Feature Fusion for Speaker Verification",
Interspeech 2023; Chen et al., "ERes2NetV2: Boosting Short-Duration Speaker Verification Performance
with Computational Efficiency", Interspeech 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from mvector.models.layers2d import AttentiveFusion, Res2Block, zero_padding
from mvector.models.resnet_base import MakeBlock, ResNetBase


class ERes2Net(ResNetBase):
    """Frame features to a speaker embedding; the maps of all stages are fused.

    With 80 bins and the defaults (the published base model): 6,610,688 parameters; 5.06 G
    multiply-adds for 300 frames. The large model has 64 channels; the huge one also base width 24,
    scale 3 and expansion 4.

    Arguments: see :class:`mvector.models.resnet_base.ResNetBase`.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 192,
        pooling_type: str = "TSTP",
        channels: int = 32,
        num_blocks: Sequence[int] = (3, 4, 6, 3),
        base_width: int = 32,
        scale: int = 2,
        expansion: int = 2,
        two_embedding_layers: bool = False,
        pooling_eps: float = 1e-8,
    ) -> None:
        blocks = stage_blocks(base_width, scale, expansion)
        super().__init__(feature_dim, embd_dim, channels, blocks, num_blocks)
        widths = [expansion * channels * factor for factor in (1, 2, 4, 8)]
        self.downsamplings = nn.ModuleList(downsampling(width) for width in widths[:-1])
        self.fusions = nn.ModuleList(AttentiveFusion(width) for width in widths[1:])
        self.add_embedding(pooling_type, two_embedding_layers, eps=pooling_eps)

    def run_stages(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map and mask to map and mask: each stage's result joins those of all before it."""
        x, mask = self.stages[0](x, mask)
        fused = x
        for stage, downsample, fuse in zip(
            self.stages[1:], self.downsamplings, self.fusions, strict=True
        ):
            fused = downsample(zero_padding(fused, mask))
            x, mask = stage(x, mask)
            fused = fuse(x, fused)
        return fused, mask


class ERes2NetV2(ResNetBase):
    """Frame features to a speaker embedding: ERes2Net's blocks, fusing the last two stages only.

    With 80 bins and the defaults: 17,859,632 parameters; 12.50 G multiply-adds for 300 frames. The
    larger published model has base width 24, scale 4 and expansion 4; with 32 channels the defaults
    have 5,458,202 parameters and 3.13 G multiply-adds.

    Arguments: see :class:`mvector.models.resnet_base.ResNetBase`.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 192,
        pooling_type: str = "TSTP",
        channels: int = 64,
        num_blocks: Sequence[int] = (3, 4, 6, 3),
        base_width: int = 26,
        scale: int = 2,
        expansion: int = 2,
        two_embedding_layers: bool = False,
        pooling_eps: float = 1e-8,
    ) -> None:
        blocks = stage_blocks(base_width, scale, expansion)
        super().__init__(feature_dim, embd_dim, channels, blocks, num_blocks)
        width = 8 * channels * expansion
        self.downsampling = downsampling(width // 2)
        self.fusion = AttentiveFusion(width)
        self.add_embedding(pooling_type, two_embedding_layers, eps=pooling_eps)

    def run_stages(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map and mask to map and mask: the last stage's result joins the one before it."""
        for stage in self.stages[:-1]:
            x, mask = stage(x, mask)
        downsampled = self.downsampling(zero_padding(x, mask))
        x, mask = self.stages[-1](x, mask)
        return self.fusion(x, downsampled), mask


def stage_blocks(base_width: int, scale: int, expansion: int) -> list[MakeBlock]:
    """The blocks of each stage: groups are summed in the first two, fused in the others."""
    sums = partial(Res2Block, base_width=base_width, scale=scale, expansion=expansion)
    fusions = partial(sums, fuse=True)
    return [sums, sums, fusions, fusions]


def downsampling(channels: int) -> nn.Conv2d:
    """A convolution that halves bins and frames and doubles the channels."""
    return nn.Conv2d(channels, 2 * channels, kernel_size=3, stride=2, padding=1, bias=False)
