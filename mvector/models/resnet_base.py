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

from mvector.models.layers import embedding_layers
from mvector.models.layers2d import ConvNorm, feature_map, flat_map
from mvector.models.pooling import build_pooling


class MakeBlock(Protocol):
    """Builds a residual block of inner width ``planes``; it takes and returns a map and a mask."""

    def __call__(self, in_channels: int, planes: int, stride: int) -> nn.Module:
        """The block; its attribute ``out_channels`` says how wide its result is."""


class ResNetBase(nn.Module):
    """Stem and stages, and the way from features to an embedding.

    A subclass calls this constructor, then adds what else it has, and last its embedding by
    :meth:`add_embedding` or :meth:`add_normalised_embedding`: the order is that of the entries of
    its checkpoints. It replaces the steps of :meth:`forward` that it does differently.

    Args:
        channels: channels of the stem and inner width of the first stage's blocks. Each stage is
            twice as wide as the one before it, and all but the first halve bins and frames.
        blocks: what builds the blocks of every stage, or one for each stage.
        num_blocks: how many blocks each stage has.
        stem: the first layer, from one channel to ``channels``; ``None`` is a 3x3 convolution.
        widths: inner width of each stage's blocks, where a stage is not twice as wide as the one
            before it.

    Arguments of the subclasses, the same in all that have them:
        pooling_eps: added to the variance under the root of TSTP pooling: 1e-7 in WeSpeaker, 1e-8
            in 3D-Speaker.
        attention_channels: hidden width of the attention in the pooling.
        two_embedding_layers: a ReLU, a normalisation and a second linear layer follow the first.
        expansion: a block's result is so many times wider than the block is inside.
        base_width: channels of one group of a Res2 convolution, per 64 of the block's inner width.
        scale: number of groups in a Res2 convolution.
    """

    pooling: Any
    pooling_norm: nn.Module
    embedding: nn.Module
    embedding_norm: nn.Module

    def __init__(
        self,
        feature_dim: int,
        embd_dim: int,
        channels: int,
        blocks: MakeBlock | Sequence[MakeBlock],
        num_blocks: Sequence[int],
        *,
        stem: ConvNorm | None = None,
        widths: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.embd_dim = embd_dim
        self.stem = ConvNorm(1, channels, kernel_size=3) if stem is None else stem
        self.stages = nn.ModuleList()
        if widths is None:
            widths = [channels * 2**index for index in range(len(num_blocks))]
        makers = blocks if isinstance(blocks, Sequence) else [blocks] * len(num_blocks)
        in_channels = channels
        for index, (make_block, count) in enumerate(zip(makers, num_blocks, strict=True)):
            stage = Stage()
            for position in range(count):
                stride = 2 if index > 0 and position == 0 else 1
                stage.append(make_block(in_channels, widths[index], stride))
                in_channels = int(stage[-1].out_channels)  # type: ignore[arg-type]
            self.stages.append(stage)

    def add_embedding(
        self, pooling_type: str, two_embedding_layers: bool = False, **pooling_options: Any
    ) -> None:
        """Pooling and one linear layer or two, without normalisation around them."""
        channels = self._pooled_channels(self.feature_dim)
        self.pooling = build_pooling(pooling_type, channels, **pooling_options)
        self.pooling_norm = self.embedding_norm = nn.Identity()
        self.embedding = embedding_layers(
            self.pooling.output_dim, self.embd_dim, two_embedding_layers
        )

    def add_normalised_embedding(
        self, pooling_type: str, stem_bins: int, **pooling_options: Any
    ) -> None:
        """Pooling and a linear layer, each normalised, behind a stem's map of so many bins."""
        self.pooling = build_pooling(
            pooling_type, self._pooled_channels(stem_bins), **pooling_options
        )
        self.pooling_norm = nn.BatchNorm1d(self.pooling.output_dim)
        self.embedding = nn.Linear(self.pooling.output_dim, self.embd_dim)
        self.embedding_norm = nn.BatchNorm1d(self.embd_dim)

    def _pooled_channels(self, stem_bins: int) -> int:
        last_stage: Any = self.stages[-1]
        return last_stage[-1].out_channels * -(-stem_bins // 2 ** (len(self.stages) - 1))

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``(batch, frames, feature_dim) -> (batch, embd_dim)``, as all backbones."""
        x, mask = self.run_stem(*feature_map(features, num_frames))
        pooled = self.pooling(*flat_map(*self.run_stages(x, mask)))
        return self.embedding_norm(self.embedding(self.pooling_norm(pooled)))

    def run_stem(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features ``(batch, 1, bins, frames)`` and their mask to the first map and its mask."""
        return torch.relu(self.stem(x)), mask

    def run_stages(
        self, x: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map and mask to map and mask: one stage after the other."""
        for stage in self.stages:
            x, mask = stage(x, mask)
        return x, mask


class Stage(nn.ModuleList):
    """Residual blocks of one width, of which the first may halve bins and frames."""

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map and mask to map and mask."""
        for block in self:
            x, mask = block(x, mask)
        return x, mask
