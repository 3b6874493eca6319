"""ResNetSE: a narrow ResNet of bottlenecks with squeeze-and-excitation.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; Hu, Shen, Sun,
"Squeeze-and-Excitation Networks", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from mvector.models.layers2d import ConvNorm, feature_map, flat_map, make_stages
from mvector.models.pooling import build_pooling
from mvector.models.resnet import Bottleneck


class ResNetSE(nn.Module):
    """Frame features to a speaker embedding.

    With 80 bins and the defaults: 9,123,896 parameters; 5.50 G multiply-adds for 300 frames.

    Args:
        feature_dim: bins of the input features.
        embd_dim: size of the embedding.
        pooling_type: name of the pooling layer, see :data:`mvector.models.pooling.POOLINGS`.
        channels: channels of the stem; the stages have ``expansion`` times 1, 2, 4 and 8 as many.
        num_blocks: blocks of the four stages.
        expansion: a block's result is so many times wider than its 3x3 convolution.
        se_reduction: the hidden layer of squeeze-and-excitation is so many times narrower.
        attention_channels: hidden width of the attention in the pooling.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 192,
        pooling_type: str = "ASP",
        channels: int = 32,
        num_blocks: Sequence[int] = (3, 4, 6, 3),
        expansion: int = 2,
        se_reduction: int = 8,
        attention_channels: int = 128,
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.embd_dim = embd_dim
        block = partial(Bottleneck, expansion=expansion, se_reduction=se_reduction)
        self.stem = ConvNorm(1, channels, kernel_size=3)
        self.stages = make_stages(block, channels, num_blocks)
        self.pooling = build_pooling(
            pooling_type,
            8 * channels * expansion * -(-feature_dim // 8),
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
        x, mask = feature_map(features, num_frames)
        x = torch.relu(self.stem(x))
        for stage in self.stages:
            x, mask = stage(x, mask)
        x = self.pooling_norm(self.pooling(*flat_map(x, mask)))
        return self.embedding_norm(self.embedding(x))
