"""Layers of ReDimNet and ReDimNet2: between the features as an image and as a sequence.

Maps ``(batch, channels, bins, frames)`` and rows ``(batch, bins * channels, frames)`` hold the same
numbers; all channels of the first bin come first in rows. Masks are as in
:mod:`mvector.models.layers` and :mod:`mvector.models.layers2d`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from mvector.compute.precision import at_least_float32
from mvector.errors import ConfigError
from mvector.models.layers import ChannelGate, masked_mean
from mvector.models.layers2d import zero_padding

CONTEXT_KERNELS = (7, 19, 31, 59)
NUM_HEADS = 4

_NORM_EPS = 1e-6


def rows_of_map(x: torch.Tensor) -> torch.Tensor:
    """``(batch, channels, bins, frames) -> (batch, bins * channels, frames)``."""
    return x.transpose(1, 2).flatten(1, 2)


def map_of_rows(x: torch.Tensor, channels: int) -> torch.Tensor:
    """``(batch, bins * channels, frames) -> (batch, channels, bins, frames)``."""
    return x.unflatten(1, (-1, channels)).transpose(1, 2)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels, which are the second axis."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=_NORM_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tensor ``(batch, channels, ...)`` to one of the same shape."""
        last = x.dim() - 1  # counted from the front, as exported graphs need it
        return super().forward(x.movedim(1, last)).movedim(last, 1)


class RowNorm(nn.GroupNorm):
    """Group normalisation of rows: over the rows of a group and the frames of a clip."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, rows, frames)`` to the same shape; the mask is of a map."""
        if mask is None:
            return super().forward(x)
        grouped = at_least_float32(x).unflatten(1, (self.num_groups, -1))
        frames = mask.squeeze(2)
        mean = masked_mean(grouped.mean(dim=2), frames)[:, :, None, None]
        variance = masked_mean((grouped - mean).square().mean(dim=2), frames)[:, :, None, None]
        y = ((grouped - mean) * (variance + self.eps).rsqrt()).flatten(1, 2)
        return (y * self.weight[:, None] + self.bias[:, None]).to(x.dtype)


class LayerMix(nn.Module):
    """A weighted sum of the outputs of earlier stages; weights sum to 1, row by row.

    Args:
        num_inputs: outputs to be summed. A single one has the weight 1, whatever is learnt.
        rows: weights there are of each output, one for each row.
    """

    def __init__(self, num_inputs: int, rows: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, num_inputs, rows, 1))

    def forward(self, outputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Tensors ``(batch, rows, frames)`` to one of that shape."""
        first, *weights = torch.softmax(self.weight, dim=1).unbind(dim=1)
        total = outputs[0] * first.to(outputs[0].dtype)
        for output, weight in zip(outputs[1:], weights, strict=True):
            total = torch.addcmul(total, output, weight.to(output.dtype))
        return total


class ConvNeXtBlock(nn.Module):
    """A grouped 3x3 convolution and a 1x1 convolution, added to the block's input.

    Liu et al., "A ConvNet for the 2020s", CVPR 2022, with one layer of width for all.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=groups)
        self.norm = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Map to map of the same shape."""
        return x + self.pointwise(F.gelu(self.norm(self.conv(zero_padding(x, mask)))))


class SeparableBlock(nn.Module):
    """Two grouped 3x3 convolutions, each before a 1x1 convolution, added to the block's input.

    Args:
        bins: of the map; if given, the result is gated by squeeze-and-excitation over bins
            (Thienpondt, Desplanques, Demuynck, "Integrating Frequency Translational Invariance in
            TDNNs and Frequency Positional Information in 2D ResNets", Interspeech 2021).
    """

    def __init__(self, channels: int, groups: int, bins: int | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.pointwise1 = nn.Conv2d(channels, channels, kernel_size=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.pointwise2 = nn.Conv2d(channels, channels, kernel_size=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.gate = None if bins is None else ChannelGate(bins, min(64, max(channels, 32)))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Map to map of the same shape."""
        y = self.norm1(torch.relu(self.pointwise1(self.conv1(zero_padding(x, mask)))))
        y = self.norm2(self.pointwise2(self.conv2(zero_padding(y, mask))))
        if self.gate is not None:
            spectra = y.mean(dim=1, dtype=torch.promote_types(y.dtype, torch.float32))
            gate = self.gate(spectra, None if mask is None else mask.squeeze(2))
            y = y * gate[:, None, :, None].to(y.dtype)
        return torch.relu(x + y)


class TimeContext(nn.Module):
    """What a stage knows of the whole clip, added to its rows: convolutions, then attention.

    Args:
        rows: of the input.
        reduction: by how much the layers inside are narrower, whose width divides into heads.

    Raises:
        ConfigError: nothing is left of the width.
    """

    def __init__(self, rows: int, reduction: int) -> None:
        super().__init__()
        width = rows // reduction // NUM_HEADS * NUM_HEADS
        if width == 0:
            raise ConfigError(
                f"A stage's reduction of {reduction} leaves less than {NUM_HEADS} of {rows} rows "
                "to what looks at the whole clip; choose a lower one."
            )
        self.reduce = nn.Conv1d(rows, width, kernel_size=1)
        self.reduce_norm = ChannelNorm(width)
        self.convs = nn.ModuleList(ContextConv(width, kernel) for kernel in CONTEXT_KERNELS)
        self.attention = SelfAttention(width)
        self.attention_norm = nn.LayerNorm(width, eps=_NORM_EPS)
        self.hidden = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.output_norm = nn.LayerNorm(width, eps=_NORM_EPS)
        self.expand = nn.Conv1d(width, rows, kernel_size=1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, rows, frames) -> (batch, rows, frames)``."""
        y = self.reduce_norm(self.reduce(x))
        for conv in self.convs:
            y = conv(y, mask)
        y = y.transpose(1, 2)
        y = self.attention_norm(y + self.attention(y, mask))
        y = self.output_norm(y + self.output(F.gelu(self.hidden(y), approximate="tanh")))
        return x + self.expand(y.transpose(1, 2))


class ContextConv(nn.Module):
    """A convolution of each channel over time, and one over channels, added to the input."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=channels
        )
        self.norm = nn.BatchNorm1d(channels)
        self.pointwise = nn.Conv1d(channels, channels, kernel_size=1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, channels, frames)``."""
        return x + self.pointwise(F.gelu(self.norm(self.conv(zero_padding(x, mask)))))


class SelfAttention(nn.Module):
    """Attention of every frame to all frames of its clip (Vaswani et al., NeurIPS 2017)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, frames, width) -> (batch, frames, width)``; the mask is of the frames."""
        query, key, value = (
            layer(x).unflatten(2, (NUM_HEADS, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        seen = None if mask is None else mask.unsqueeze(1) > 0
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return self.output(heard.transpose(1, 2).flatten(2))
