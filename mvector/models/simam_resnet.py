"""SimAM-ResNet: a wide ResNet whose blocks weigh each cell of their map, without parameters.

Yang, Zhang, Li, Xie, "SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural
Networks", ICML 2021; for speakers: Qin, Li, Wang, Cai, Li, "Simple Attention Module Based Speaker
Verification with Iterative Noisy Label Detection", ICASSP 2022.
"""

from __future__ import annotations

from functools import partial

import torch
from torch.onnx import is_in_onnx_export

from mvector.compute.precision import at_least_float32
from mvector.errors import ConfigError
from mvector.models.layers import masked_mean
from mvector.models.resnet import BasicBlock
from mvector.models.resnet_base import ResNetBase

NUM_BLOCKS = {34: (3, 4, 6, 3), 100: (6, 16, 24, 3)}

_VARIANCE_OFFSET = 1e-4  # keeps the weights of a constant map finite


class SimAMResNet(ResNetBase):
    """Frame features to a speaker embedding.

    With 80 bins and the defaults: 25,213,760 parameters; 27.3 G multiply-adds for 300 frames.

    Args:
        depth: number of layers: 34 or 100.
        others: see :class:`mvector.models.resnet_base.ResNetBase`.

    Raises:
        ConfigError: there is no such depth.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 256,
        pooling_type: str = "ASP",
        depth: int = 34,
        channels: int = 64,
        attention_channels: int = 128,
    ) -> None:
        if depth not in NUM_BLOCKS:
            depths = " or ".join(map(str, NUM_BLOCKS))
            raise ConfigError(f"There is no SimAM-ResNet of depth {depth}; choose {depths}.")
        block = partial(BasicBlock, weigh=simple_attention)
        super().__init__(feature_dim, embd_dim, channels, block, NUM_BLOCKS[depth])
        self.add_embedding(
            pooling_type,
            attention_channels=attention_channels,
            attention_norm=True,
            attention_tanh=False,
            variance_floor=1e-5,
        )


def simple_attention(x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Each cell times a weight that grows with its distance from the mean of its channel.

    With the squared distance d and the unbiased variance v over all bins and frames of a clip, the
    weight is sigmoid(d / (4 (v + 1e-4)) + 1/2).

    Args:
        x: ``(batch, channels, bins, frames)``.
        mask: ``(batch, 1, 1, frames)``, as everywhere in :mod:`mvector.models.layers2d`.

    Returns:
        Tensor of the same shape and type.
    """
    values = at_least_float32(x)
    frames = None if mask is None else mask.squeeze(2)
    mean = masked_mean(values.mean(dim=2), frames)
    distances = (values - mean[:, :, None, None]).square()
    cells: int | torch.Tensor = x.shape[2] * x.shape[3]
    if is_in_onnx_export():  # whose sizes are not known yet
        cells = torch.ones_like(x[:1, 0]).sum(dim=(1, 2))
    elif mask is not None:
        cells = x.shape[2] * mask.sum(dim=(1, 2, 3))
    biased = masked_mean(distances.mean(dim=2), frames)
    variance = biased * _unbiased(cells, biased)
    weights = torch.sigmoid(
        distances / (4.0 * (variance[:, :, None, None] + _VARIANCE_OFFSET)) + 0.5
    )
    return (values * weights).to(x.dtype)


def _unbiased(count: int | torch.Tensor, like: torch.Tensor) -> float | torch.Tensor:
    """Factor that makes a variance of so many values unbiased; 1 for a single value."""
    if isinstance(count, torch.Tensor):
        count = count.to(like.dtype)
        return (count / (count - 1.0).clamp(min=1.0)).unsqueeze(1)
    return count / max(count - 1, 1)
