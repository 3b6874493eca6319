"""ERes2NetV2.

Chen et al., "ERes2NetV2: Boosting Short-Duration Speaker Verification Performance with
Computational Efficiency", Interspeech 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from mvector.models.eres2net import downsampling
from mvector.models.layers2d import (
    AttentiveFusion,
    ConvNorm,
    Res2Block,
    embedding_layers,
    feature_map,
    flat_map,
    make_stages,
    zero_padding,
)
from mvector.models.pooling import build_pooling


class ERes2NetV2(nn.Module):
    """Frame features to a speaker embedding: ERes2Net's blocks, fusing the last two stages only.

    With 80 bins and the defaults: 17,859,632 parameters; 12.50 G multiply-adds for 300 frames. The
    larger published model has base width 24, scale 4 and expansion 4; with 32 channels the defaults
    have 5,458,202 parameters and 3.13 G multiply-adds.

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
        super().__init__()
        self.feature_dim = feature_dim
        self.embd_dim = embd_dim
        sums = partial(Res2Block, base_width=base_width, scale=scale, expansion=expansion)
        fusions = partial(sums, fuse=True)
        width = 8 * channels * expansion
        self.stem = ConvNorm(1, channels, kernel_size=3)
        self.stages = make_stages([sums, sums, fusions, fusions], channels, num_blocks)
        self.downsampling = downsampling(width // 2)
        self.fusion = AttentiveFusion(width)
        self.pooling = build_pooling(pooling_type, width * -(-feature_dim // 8), eps=pooling_eps)
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
        for stage in self.stages[:-1]:
            x, mask = stage(x, mask)
        downsampled = self.downsampling(zero_padding(x, mask))
        x, mask = self.stages[-1](x, mask)
        return self.embedding(self.pooling(*flat_map(self.fusion(x, downsampled), mask)))
