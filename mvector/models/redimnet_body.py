"""What ReDimNet and ReDimNet2 share: stages whose inputs are mixes of all that came before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from mvector.errors import ConfigError
from mvector.models.layers2d import feature_map, zero_padding
from mvector.models.redimnet_layers import (
    ChannelNorm,
    ConvNeXtBlock,
    LayerMix,
    SeparableBlock,
    TimeContext,
    map_of_rows,
    rows_of_map,
)

BlockName = Literal["convnext_like", "basic_resnet", "basic_resnet_fwse"]

_NORM_EPS = 1e-6


class StageForm(NamedTuple):
    """A stage: see the arguments of :class:`mvector.models.redimnet.ReDimNet`."""

    stride: int  # in bins
    time_stride: int
    num_blocks: int
    expansion: float
    reduction: int | None


class ReDimBody(nn.Module):
    """Features to the rows that are pooled.

    Bins that the strides do not divide are filled up with empty ones.

    Args:
        channels: of the stem; a stage has as many more as it has fewer bins.
        stages: what each stage is.
        block: what their blocks are.
        group_divisor: convolutions have so many times fewer groups than channels.

    Attributes:
        num_rows: rows of the result.
        channels: channels of these rows as a map.
        bins: bins of these rows as a map.

    Raises:
        ConfigError: a width does not divide into its groups.
    """

    def __init__(
        self,
        feature_dim: int,
        channels: int,
        stages: Sequence[StageForm],
        block: BlockName,
        group_divisor: int,
    ) -> None:
        super().__init__()
        strides = math.prod(form.stride for form in stages)
        self.empty_bins = -feature_dim % strides
        self.bins, self.channels = feature_dim + self.empty_bins, channels
        self.num_rows = self.bins * channels
        self.stem = nn.Conv2d(1, channels, kernel_size=3, padding=1)
        self.stem_norm = ChannelNorm(channels)
        self.stages = nn.ModuleList()
        for form in stages:
            stage = ReDimStage(self.channels, self.bins, form, block, group_divisor)
            self.stages.append(stage)
            self.channels, self.bins = stage.channels, self.bins // form.stride
        rows = [1 if number == 1 else self.num_rows for number in range(1, len(stages) + 2)]
        self.mixes = nn.ModuleList(LayerMix(number, n) for number, n in enumerate(rows, start=1))

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """``(batch, frames, feature_dim)`` to ``(batch, num_rows, frames)`` and their mask."""
        x, mask = feature_map(features, num_frames)
        if self.empty_bins:
            x = F.pad(x, (0, 0, 0, self.empty_bins))
        outputs = [rows_of_map(self.stem_norm(self.stem(x)))]
        for mix, stage in zip(self.mixes, self.stages, strict=False):
            outputs.append(stage(mix(outputs), mask))
        return self.mixes[-1](outputs), None if mask is None else mask.squeeze(2)


class ReDimStage(nn.Module):
    """Rows as a map of fewer bins and more channels, blocks, and back to rows.

    Args:
        channels: of the rows as a map.
        bins: of the rows as a map.
        form: what the stage is.
        block: what its blocks are.
        group_divisor: convolutions have so many times fewer groups than channels.

    Attributes:
        channels: of the map within.
    """

    def __init__(
        self, channels: int, bins: int, form: StageForm, block: BlockName, group_divisor: int
    ) -> None:
        super().__init__()
        self.in_channels = channels
        self.channels = channels * form.stride
        wide = int(self.channels * form.expansion)
        groups = _num_groups(wide, group_divisor)
        stride = (form.stride, 1)
        self.conv = nn.Conv2d(channels, wide, kernel_size=stride, stride=stride)
        bins //= form.stride
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(wide, groups)
            if block == "convnext_like"
            else SeparableBlock(wide, groups, bins if block == "basic_resnet_fwse" else None)
            for _ in range(form.num_blocks)
        )
        self.narrow = None if form.expansion == 1 else Narrowing(wide, self.channels, group_divisor)
        rows = self.channels * bins
        self.context = None if form.reduction is None else TimeContext(rows, form.reduction)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """``(batch, rows, frames) -> (batch, rows, frames)``; the mask is of a map."""
        y = self.conv(map_of_rows(x, self.in_channels))
        for block in self.blocks:
            y = block(y, mask)
        if self.narrow is not None:
            y = self.narrow(y, mask)
        y = rows_of_map(y)
        return (
            y
            if self.context is None
            else self.context(y, None if mask is None else mask.squeeze(2))
        )


class Narrowing(nn.Module):
    """A grouped 3x3 convolution and a 1x1 convolution from wide blocks to the stage's channels."""

    def __init__(self, wide: int, channels: int, group_divisor: int) -> None:
        super().__init__()
        groups = _num_groups(channels, group_divisor, wide)
        self.conv = nn.Conv2d(wide, channels, kernel_size=3, padding=1, groups=groups)
        self.norm = nn.BatchNorm2d(channels, eps=_NORM_EPS)
        self.pointwise = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Map to map of fewer channels."""
        return self.pointwise(F.gelu(self.norm(self.conv(zero_padding(x, mask)))))


def _num_groups(channels: int, group_divisor: int, in_channels: int | None = None) -> int:
    """Groups of a convolution.

    Raises:
        ConfigError: the channels do not divide into so many.
    """
    groups = channels // group_divisor
    if groups == 0 or channels % groups or (in_channels or 0) % groups:
        raise ConfigError(
            f"A group_divisor of {group_divisor} makes {groups} groups of {channels} channels, "
            "which do not divide into them; choose another group_divisor, or other channels."
        )
    return groups
