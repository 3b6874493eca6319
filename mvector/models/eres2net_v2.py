"""ERes2NetV2.

Chen et al., "ERes2NetV2: Boosting Short-Duration Speaker Verification Performance with
Computational Efficiency", Interspeech 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from mvector.models.eres2net import downsampling
from mvector.models.layers import embedding_layers
from mvector.models.layers2d import AttentiveFusion, Res2Block, zero_padding
from mvector.models.pooling import build_pooling
from mvector.models.resnet_base import ResNetBase


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
        sums = partial(Res2Block, base_width=base_width, scale=scale, expansion=expansion)
        fusions = partial(sums, fuse=True)
        blocks = [sums, sums, fusions, fusions]
        super().__init__(feature_dim, embd_dim, channels, blocks, num_blocks)
        width = 8 * channels * expansion
        self.downsampling = downsampling(width // 2)
        self.fusion = AttentiveFusion(width)
        self.pooling = build_pooling(
            pooling_type, self.pooled_channels(feature_dim), eps=pooling_eps
        )
        self.embedding = embedding_layers(self.pooling.output_dim, embd_dim, two_embedding_layers)

    def trunk(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Stem and stages; the last stage's result joins the one before it."""
        x, mask = self.run_stem(x, mask)
        for stage in self.stages[:-1]:
            x, mask = stage(x, mask)
        downsampled = self.downsampling(zero_padding(x, mask))
        x, mask = self.stages[-1](x, mask)
        return self.fusion(x, downsampled), mask
