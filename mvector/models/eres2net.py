"""ERes2Net.

Chen et al., "An Enhanced Res2Net with Local and Global Feature Fusion for Speaker Verification",
Interspeech 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

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


class ERes2Net(nn.Module):
    """Frame features to a speaker embedding.

    With 80 bins and the defaults (the published base model): 6,610,688 parameters; 5.06 G
    multiply-adds for 300 frames. The large model has 64 channels; the huge one also base width 24,
    scale 3 and expansion 4.

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
        channels: int = 32,
        num_blocks: Sequence[int] = (3, 4, 6, 3),
        base_width: int = 32,
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
        widths = [expansion * channels * factor for factor in (1, 2, 4, 8)]
        self.stem = ConvNorm(1, channels, kernel_size=3)
        self.stages = make_stages([sums, sums, fusions, fusions], channels, num_blocks)
        self.downsamplings = nn.ModuleList(downsampling(width) for width in widths[:-1])
        self.fusions = nn.ModuleList(AttentiveFusion(width) for width in widths[1:])
        self.pooling = build_pooling(
            pooling_type, widths[-1] * -(-feature_dim // 8), eps=pooling_eps
        )
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
        x, mask = self.stages[0](x, mask)
        fused = x
        for stage, downsample, fuse in zip(
            self.stages[1:], self.downsamplings, self.fusions, strict=True
        ):
            fused = downsample(zero_padding(fused, mask))
            x, mask = stage(x, mask)
            fused = fuse(x, fused)
        return self.embedding(self.pooling(*flat_map(fused, mask)))


def downsampling(channels: int) -> nn.Conv2d:
    """A convolution that halves bins and frames and doubles the channels."""
    return nn.Conv2d(channels, 2 * channels, kernel_size=3, stride=2, padding=1, bias=False)
