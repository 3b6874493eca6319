"""ResNetSE: a narrow ResNet of bottlenecks with squeeze-and-excitation.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; Hu, Shen, Sun,
"Squeeze-and-Excitation Networks", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mvector.models.pooling import SPEECHBRAIN_ATTENTION
from mvector.models.resnet import Bottleneck
from mvector.models.resnet_base import ResNetBase


class ResNetSE(ResNetBase):
    """Frame features to a speaker embedding.

    With 80 bins and the defaults: 9,123,896 parameters; 5.50 G multiply-adds for 300 frames.

    Args:
        se_reduction: the hidden layer of squeeze-and-excitation is so many times narrower.
        others: see :class:`mvector.models.resnet_base.ResNetBase`.
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
        block = partial(Bottleneck, expansion=expansion, se_reduction=se_reduction)
        super().__init__(feature_dim, embd_dim, channels, block, num_blocks)
        self.add_normalised_embedding(
            pooling_type,
            feature_dim,
            attention_channels=attention_channels,
            **SPEECHBRAIN_ATTENTION,
        )
