"""ERes2Net.

Chen et al., "An Enhanced Res2Net with Local and Global Feature Fusion for Speaker Verification",
Interspeech 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from mvector.models.layers import embedding_layers
from mvector.models.layers2d import AttentiveFusion, Res2Block, zero_padding
from mvector.models.pooling import build_pooling
from mvector.models.resnet_base import ResNetBase


class ERes2Net(ResNetBase):
    """Frame features to a speaker embedding.

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
        sums = partial(Res2Block, base_width=base_width, scale=scale, expansion=expansion)
        fusions = partial(sums, fuse=True)
        blocks = [sums, sums, fusions, fusions]
        super().__init__(feature_dim, embd_dim, channels, blocks, num_blocks)
        widths = [expansion * channels * factor for factor in (1, 2, 4, 8)]
        self.downsamplings = nn.ModuleList(downsampling(width) for width in widths[:-1])
        self.fusions = nn.ModuleList(AttentiveFusion(width) for width in widths[1:])
        self.pooling = build_pooling(
            pooling_type, self.pooled_channels(feature_dim), eps=pooling_eps
        )
        self.embedding = embedding_layers(self.pooling.output_dim, embd_dim, two_embedding_layers)

    def trunk(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Stem and stages; each stage's result joins those of all before it."""
        x, mask = self.run_stem(x, mask)
        x, mask = self.stages[0](x, mask)
        fused = x
        for stage, downsample, fuse in zip(
            self.stages[1:], self.downsamplings, self.fusions, strict=True
        ):
            fused = downsample(zero_padding(fused, mask))
            x, mask = stage(x, mask)
            fused = fuse(x, fused)
        return fused, mask


def downsampling(channels: int) -> nn.Conv2d:
    """A convolution that halves bins and frames and doubles the channels."""
    return nn.Conv2d(channels, 2 * channels, kernel_size=3, stride=2, padding=1, bias=False)
