"""What ReDimNet and ReDimNet2 share: stages whose inputs are mixes of all that came before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from mvector.config.backbone_options import ReDimBlock
from mvector.errors import ConfigError
from mvector.models.layers import require_frames
from mvector.models.layers2d import feature_map, strided_mask, zero_padding
from mvector.models.redimnet_layers import (
    ChannelNorm,
    ConvNeXtBlock,
    LayerMix,
    RowNorm,
    SeparableBlock,
    TimeContext,
    map_of_rows,
    rows_of_map,
)

_Form = TypeVar("_Form")  # a dataclass

_NORM_EPS = 1e-6


class StageForm(NamedTuple):
    """A stage: see the arguments of :class:`mvector.models.redimnet.ReDimNet`."""

    stride: int  # in bins
    time_stride: int
    num_blocks: int
    expansion: float
    reduction: int | None


def form_of(network: str, sizes: Mapping[str, _Form], size: str, **chosen: Any) -> _Form:
    """The form of a network's size, with those arguments that are not ``None`` in place of its own.

    Raises:
        ConfigError: there is no such size.
    """
    if size not in sizes:
        raise ConfigError(f"There is no {network} of size '{size}'; choose from B0 to B6.")
    given = {name: value for name, value in chosen.items() if value is not None}
    return replace(sizes[size], **given)  # type: ignore[type-var]


class ReDimBody(nn.Module):
    """Features to the rows that are pooled.

    Bins that the strides do not divide are filled up with empty ones.

    Args:
        channels: of the stem; a stage has as many more as it has fewer bins.
        stages: what each stage is.
        block: what their blocks are.
        group_divisor: convolutions have so many times fewer groups than channels.
        second: as in ReDimNet2: strided convolutions have as many groups as can be, what makes
            blocks narrow again is a single convolution, and a single input is weighted by rows.
        group_norm: group normalisation of the stem and of each stage.

    Attributes:
        time_stride: frames that become one in the last stages; those beyond are not heard.
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
        block: ReDimBlock,
        group_divisor: int,
        *,
        second: bool = False,
        group_norm: bool = False,
    ) -> None:
        super().__init__()
        strides = math.prod(form.stride for form in stages)
        self.empty_bins = -feature_dim % strides
        self.bins, self.channels = feature_dim + self.empty_bins, channels
        self.num_rows = self.bins * channels
        self.stem = nn.Conv2d(1, channels, kernel_size=3, padding=1)
        self.stem_norm = ChannelNorm(channels)
        self.stem_group_norm = RowNorm(channels, self.num_rows) if group_norm else None
        self.stages = nn.ModuleList()
        self.time_stride = 1
        for form in stages:
            self.time_stride *= form.time_stride
            stage = ReDimStage(
                self.channels,
                self.bins,
                form,
                block,
                group_divisor,
                time_stride=self.time_stride,
                second=second,
                norm_groups=channels if group_norm else None,
            )
            self.stages.append(stage)
            self.channels, self.bins = stage.channels, self.bins // form.stride
        rows = [self.num_rows] * (len(stages) + 1)
        if not second:
            rows[0] = 1
        self.mixes = nn.ModuleList(LayerMix(number, n) for number, n in enumerate(rows, start=1))

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """``(batch, frames, feature_dim)`` to ``(batch, num_rows, frames)`` and their mask."""
        require_frames(num_frames, features.shape[1], self.time_stride)
        if self.time_stride > 1:
            features = features[:, : features.shape[1] // self.time_stride * self.time_stride]
            if num_frames is not None:
                num_frames = num_frames // self.time_stride * self.time_stride
        x, mask = feature_map(features, num_frames)
        if self.empty_bins:
            x = F.pad(x, (0, 0, 0, self.empty_bins))
        rows = rows_of_map(self.stem_norm(self.stem(x)))
        outputs = [rows if self.stem_group_norm is None else self.stem_group_norm(rows, mask)]
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
        time_stride: of this stage and all before it.
        second: see :class:`ReDimBody`.
        norm_groups: of the normalisation of the result, if there is one.

    Attributes:
        channels: of the map within.
    """

    def __init__(
        self,
        channels: int,
        bins: int,
        form: StageForm,
        block: ReDimBlock,
        group_divisor: int,
        *,
        time_stride: int,
        second: bool,
        norm_groups: int | None,
    ) -> None:
        super().__init__()
        self.in_channels = channels
        self.channels = channels * form.stride
        wide = int(self.channels * form.expansion)
        groups = _num_groups(wide, group_divisor)
        self.time_stride = time_stride
        stride = (form.stride, time_stride)
        together = math.gcd(channels, wide) if second else 1
        self.conv = nn.Conv2d(channels, wide, kernel_size=stride, stride=stride, groups=together)
        bins //= form.stride
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(wide, groups)
            if block == "convnext_like"
            else SeparableBlock(wide, groups, bins if block == "basic_resnet_fwse" else None)
            for _ in range(form.num_blocks)
        )
        self.narrow: nn.Module | None = None
        if form.expansion != 1:
            self.narrow = (
                PointwiseNarrowing(wide, self.channels)
                if second
                else Narrowing(wide, self.channels, group_divisor)
            )
        rows = self.channels * bins
        self.context = None if form.reduction is None else TimeContext(rows, form.reduction)
        self.norm = None if norm_groups is None else RowNorm(norm_groups, rows)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """``(batch, rows, frames) -> (batch, rows, frames)``; the mask is of a map."""
        y = self.conv(map_of_rows(x, self.in_channels))
        whole_mask, mask = mask, strided_mask(mask, self.time_stride)
        for block in self.blocks:
            y = block(y, mask)
        if self.narrow is not None:
            y = self.narrow(y, mask)
        y = rows_of_map(y)
        if self.context is not None:
            y = self.context(y, None if mask is None else mask.squeeze(2))
        if self.time_stride > 1:
            y = y.repeat_interleave(self.time_stride, dim=2)
        return y if self.norm is None else self.norm(y, whole_mask)


class PointwiseNarrowing(nn.Module):
    """A 1x1 convolution from wide blocks to the stage's channels."""

    def __init__(self, wide: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide, channels, kernel_size=1)
        self.norm = nn.BatchNorm2d(channels, eps=_NORM_EPS)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Map to map of fewer channels, or more."""
        return self.norm(self.conv(x))


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
