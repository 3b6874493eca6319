"""What the residual networks over the features as an image share.

Such a network is a stem, stages of residual blocks, a pooling over time and an embedding. A file
for each architecture says which blocks, and what else it does differently: ``resnet.py`` is the
plainest example, ``eres2net.py`` one that fuses its stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from mvector.models.layers2d import ConvNorm, feature_map, flat_map


class MakeBlock(Protocol):
    """Builds a residual block of inner width ``planes``; it takes and returns a map and a mask."""

    def __call__(self, in_channels: int, planes: int, stride: int) -> nn.Module:
        """The block; its attribute ``out_channels`` says how wide its result is."""


class ResNetBase(nn.Module):
    """Stem and stages, and the way from features to an embedding.

    A subclass calls this constructor, then adds what else it has, ``pooling`` and ``embedding``
    last, in the order that the entries of its checkpoints have. It replaces the steps of
    :meth:`forward` that it does differently.

    Args:
        feature_dim: bins of the input features.
        embd_dim: size of the embedding.
        channels: channels of the stem and inner width of the first stage's blocks; the stages
            behind it have 2, 4 and 8 times as many.
        blocks: what builds the blocks of every stage, or one for each stage.
        num_blocks: how many blocks each stage has.
        stem: the first layer, from one channel to ``channels``; ``None`` is a 3x3 convolution.

    Arguments of the subclasses, the same in all that have them:
        pooling_type: name of the pooling layer, see :data:`mvector.models.pooling.POOLINGS`.
        pooling_eps: added to the variance under the root of TSTP pooling: 1e-7 in WeSpeaker, 1e-8
            in 3D-Speaker.
        attention_channels: hidden width of the attention in the pooling.
        two_embedding_layers: a ReLU, a normalisation and a second linear layer follow the first.
        expansion: a block's result is so many times wider than the block is inside.
        base_width: channels of one group of a Res2 convolution, per 64 of the block's inner width.
        scale: number of groups in a Res2 convolution.
    """

    pooling: Any
    embedding: nn.Module

    def __init__(
        self,
        feature_dim: int,
        embd_dim: int,
        channels: int,
        blocks: MakeBlock | Sequence[MakeBlock],
        num_blocks: Sequence[int],
        *,
        stem: ConvNorm | None = None,
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.embd_dim = embd_dim
        self.stem = ConvNorm(1, channels, kernel_size=3) if stem is None else stem
        self.stages = make_stages(blocks, channels, num_blocks)

    def pooled_channels(self, bins: int) -> int:
        """Channels times bins behind the stages, where the stem's map has so many ``bins``."""
        last_stage: Any = self.stages[-1]
        return last_stage[-1].out_channels * -(-bins // 2 ** (len(self.stages) - 1))

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Embed a batch of clips.

        Args:
            features: ``(batch, frames, feature_dim)``.
            num_frames: ``(batch,)`` frames of each clip; ``None`` means that all are full.

        Returns:
            Embeddings of shape ``(batch, embd_dim)``, not length-normalised.

        Raises:
            AudioError: a clip has no frames.
        """
        x, mask = feature_map(features, num_frames)
        x, mask = self.trunk(x, mask)
        return self.embed(*flat_map(x, mask))

    def trunk(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features ``(batch, 1, bins, frames)`` and their mask to the last map and its mask."""
        x, mask = self.run_stem(x, mask)
        for stage in self.stages:
            x, mask = stage(x, mask)
        return x, mask

    def run_stem(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features ``(batch, 1, bins, frames)`` and their mask to the first map and its mask."""
        return torch.relu(self.stem(x)), mask

    def embed(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """``(batch, channels * bins, frames) -> (batch, embd_dim)``."""
        return self.embedding(self.pooling(x, mask))


class Stage(nn.ModuleList):
    """Residual blocks of one width, of which the first may halve bins and frames."""

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map and mask to map and mask."""
        for block in self:
            x, mask = block(x, mask)
        return x, mask


def make_stages(
    blocks: MakeBlock | Sequence[MakeBlock], channels: int, num_blocks: Sequence[int]
) -> nn.ModuleList:
    """The stages behind a stem of ``channels`` channels; arguments as in :class:`ResNetBase`.

    Each stage has blocks twice as wide as the one before it, and all but the first halve bins and
    frames.
    """
    makers = blocks if isinstance(blocks, Sequence) else [blocks] * len(num_blocks)
    stages = nn.ModuleList()
    in_channels = channels
    for index, (make_block, count) in enumerate(zip(makers, num_blocks, strict=True)):
        stage = Stage()
        for position in range(count):
            stride = 2 if index > 0 and position == 0 else 1
            stage.append(make_block(in_channels, channels * 2**index, stride))
            in_channels = int(stage[-1].out_channels)  # type: ignore[arg-type]
        stages.append(stage)
    return stages
