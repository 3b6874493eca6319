"""ResNet whose blocks normalise and activate before they convolve: the one of SpeechBrain.

He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016; with attentive
pooling: Villalba et al., "State-of-the-art speaker recognition with neural network embeddings in
NIST SRE18 and Speakers in the Wild evaluations", Computer Speech & Language 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from mvector.models.layers2d import SqueezeExcite, make_shortcut, strided_mask, zero_padding
from mvector.models.resnet_base import ResNetBase


class PreActResNet(ResNetBase):
    """Frame features to a speaker embedding.

    With 80 bins and the defaults: 15,438,336 parameters; 42.3 G multiply-adds for 300 frames.

    Args:
        channels: width of each of the four stages; the stem has that of the first.
        num_gated: so many stages, from the first on, gate channels by squeeze-and-excitation.
        others: see :class:`mvector.models.resnet_base.ResNetBase`.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 256,
        pooling_type: str = "ASP",
        channels: Sequence[int] = (128, 128, 256, 256),
        num_blocks: Sequence[int] = (3, 4, 6, 3),
        num_gated: int = 2,
        attention_channels: int = 128,
    ) -> None:
        makers = [partial(PreActBlock, is_gated=stage < num_gated) for stage in range(4)]
        super().__init__(feature_dim, embd_dim, channels[0], makers, num_blocks, widths=channels)
        self.add_normalised_embedding(
            pooling_type,
            feature_dim,
            attention_channels=attention_channels,
            attention_norm=True,
            attention_tanh=False,
            variance_floor=1e-5,
        )


class PreActBlock(nn.Module):
    """Two 3x3 convolutions and a 1x1 convolution, each behind its normalisation and ReLU.

    Args:
        is_gated: the result is gated by squeeze-and-excitation with a hidden layer as wide.
    """

    def __init__(
        self, in_channels: int, planes: int, stride: int, *, is_gated: bool = False
    ) -> None:
        super().__init__()
        self.out_channels = planes
        self.stride = stride
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes, 1, bias=False)
        self.squeeze_excite = SqueezeExcite(planes, planes) if is_gated else None
        self.shortcut = make_shortcut(in_channels, planes, stride)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map and mask to map and mask."""
        y = self.conv1(zero_padding(torch.relu(self.norm1(x)), mask))
        mask = strided_mask(mask, self.stride)
        y = self.conv2(zero_padding(torch.relu(self.norm2(y)), mask))
        y = self.conv3(torch.relu(self.norm3(y)))
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y, mask)
        return y + self.shortcut(x), mask
