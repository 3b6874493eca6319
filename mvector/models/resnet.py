"""ResNet over the features as an image, with 18 to 293 layers.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; for speakers: Zeinali et al.,
"BUT System Description to VoxCeleb Speaker Recognition Challenge 2019".
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from mvector.errors import ConfigError
from mvector.models.layers2d import ConvNorm, SqueezeExcite, make_shortcut, strided_mask
from mvector.models.resnet_base import MakeBlock, ResNetBase

NUM_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    221: (6, 16, 48, 3),
    293: (10, 20, 64, 3),
}


class ResNet(ResNetBase):
    """Frame features to a speaker embedding.

    With 80 bins and the defaults: 6,634,336 parameters; 6.81 G multiply-adds for 300 frames.

    Args:
        depth: number of layers: 18 and 34 have blocks of two convolutions; 50, 101, 152, 221 and
            293 have bottlenecks.
        others: see :class:`mvector.models.resnet_base.ResNetBase`.

    Raises:
        ConfigError: there is no such depth.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 256,
        pooling_type: str = "TSTP",
        depth: int = 34,
        channels: int = 32,
        two_embedding_layers: bool = False,
        pooling_eps: float = 1e-7,
    ) -> None:
        if depth not in NUM_BLOCKS:
            depths = ", ".join(map(str, NUM_BLOCKS))
            raise ConfigError(f"There is no ResNet of depth {depth}; choose from {depths}.")
        block: MakeBlock = BasicBlock if depth < 50 else Bottleneck
        super().__init__(feature_dim, embd_dim, channels, block, NUM_BLOCKS[depth])
        self.add_embedding(pooling_type, two_embedding_layers, eps=pooling_eps)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, of which the first has the stride, added to the block's input.

    Args:
        planes: channels of both convolutions.
        stride: in bins and frames.
        weigh: if given, the result is passed through this function of a map and its mask.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int,
        *,
        weigh: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.out_channels = planes
        self.stride = stride
        self.conv1 = ConvNorm(in_channels, planes, kernel_size=3, stride=stride)
        self.conv2 = ConvNorm(planes, planes, kernel_size=3)
        self.weigh = weigh
        self.shortcut = make_shortcut(in_channels, planes, stride)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map and mask to map and mask."""
        y = torch.relu(self.conv1(x, mask))
        mask = strided_mask(mask, self.stride)
        y = self.conv2(y, mask)
        if self.weigh is not None:
            y = self.weigh(y, mask)
        return torch.relu(y + self.shortcut(x)), mask


class Bottleneck(nn.Module):
    """A 3x3 convolution with the stride between two 1x1 convolutions, added to the block's input.

    Args:
        planes: channels of the 3x3 convolution.
        stride: in bins and frames.
        expansion: the block's result has ``expansion * planes`` channels.
        se_reduction: if given, the result is gated by squeeze-and-excitation with a hidden layer
            so many times narrower.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int,
        *,
        expansion: int = 4,
        se_reduction: int | None = None,
    ) -> None:
        super().__init__()
        self.out_channels = expansion * planes
        self.stride = stride
        self.conv1 = ConvNorm(in_channels, planes)
        self.conv2 = ConvNorm(planes, planes, kernel_size=3, stride=stride)
        self.conv3 = ConvNorm(planes, self.out_channels)
        self.squeeze_excite = (
            None
            if se_reduction is None
            else SqueezeExcite(self.out_channels, max(1, self.out_channels // se_reduction))
        )
        self.shortcut = make_shortcut(in_channels, self.out_channels, stride)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map and mask to map and mask."""
        y = torch.relu(self.conv2(torch.relu(self.conv1(x)), mask))
        mask = strided_mask(mask, self.stride)
        y = self.conv3(y)
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y, mask)
        return torch.relu(y + self.shortcut(x)), mask
