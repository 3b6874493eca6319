"""Layers for backbones that see the features as an image: ``(batch, channels, bins, frames)``.

A mask has shape ``(batch, 1, 1, frames)`` and holds 1 where a frame belongs to its clip, else 0. No
mask means that every frame counts, and costs nothing. Padding is zeroed only where a layer would
mix it with the clip, hence before each convolution over more than one frame.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.onnx import is_in_onnx_export

from mvector.errors import ConfigError
from mvector.models.layers import ChannelGate, blank_padding, frame_mask, require_frames


def feature_map(
    features: torch.Tensor, num_frames: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Features as an image ``(batch, 1, bins, frames)``, zero behind each clip's end, and its mask.

    Raises:
        AudioError: a clip has no frames.
    """
    require_frames(num_frames, features.shape[1], needed=1)
    x = features.transpose(1, 2).unsqueeze(1)
    if num_frames is None:
        return x, None
    mask = frame_mask(num_frames, features.shape[1], features.dtype).unsqueeze(2)
    return blank_padding(x, mask), mask


def zero_padding(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The map with zeros behind each clip's end; the map itself without a mask."""
    return x if mask is None else x * mask.to(x.dtype)


def strided_mask(mask: torch.Tensor | None, stride: int) -> torch.Tensor | None:
    """The mask behind a size-keeping layer that keeps every ``stride``-th frame, from the first."""
    return None if mask is None else mask[..., ::stride]


def flat_map(
    x: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A map and its mask as pooling takes them: ``(batch, channels * bins, frames)``.

    All bins of the first channel come first; the mask has shape ``(batch, 1, frames)``.
    """
    return x.flatten(1, 2), None if mask is None else mask.squeeze(2)


def clipped_relu(x: torch.Tensor) -> torch.Tensor:
    """ReLU with an upper bound: clamp to [0, 20].

    The gradient of ``clamp`` takes four passes over the map, a quarter of a step of ERes2Net; that
    of this takes one.
    """
    return x.clamp(0.0, 20.0) if is_in_onnx_export() else F.hardtanh(x, 0.0, 20.0)


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalisation.

    The edge of a clip is padded with zeros, at its own end and not at the end of the batch; unless
    said otherwise by so many that only a stride changes the size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int | tuple[int, int] = 1,
        padding: int | None = None,
        groups: int = 1,
    ) -> None:
        super().__init__()
        padding = kernel_size // 2 if padding is None else padding
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, in_channels, bins, frames) -> (batch, out_channels, bins, frames)``."""
        if self.conv.kernel_size[0] > 1:
            x = zero_padding(x, mask)
        return self.norm(self.conv(x))


def make_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """What a block adds its result to: its input, projected where the shape changes."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNorm(in_channels, out_channels, stride=stride)


def group_width(planes: int, base_width: int) -> int:
    """Channels of one group in a Res2 convolution.

    Raises:
        ConfigError: there would be none.
    """
    width = planes * base_width // 64
    if width == 0:
        raise ConfigError(
            f"A base_width of {base_width} leaves no channels to a group of a block with {planes} "
            f"channels; make base_width at least {-(-64 // planes)}."
        )
    return width


class Res2Block(nn.Module):
    """Res2Net's bottleneck: small convolutions over groups of channels, one feeding the next.

    Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", TPAMI 2021; here activations are
    clipped at 20 and the stride is that of the first layer.

    Args:
        planes: width on which the widths of all layers depend.
        stride: in bins and frames.
        base_width: a group has ``planes * base_width // 64`` channels.
        scale: number of groups.
        expansion: the block's result has ``expansion * planes`` channels.
        convolve_last: whether the last group is convolved or passed on.
        fuse: join a group with the preceding result by :class:`AttentiveFusion`, not by a sum.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int,
        *,
        base_width: int = 32,
        scale: int = 2,
        expansion: int = 2,
        convolve_last: bool = True,
        fuse: bool = False,
    ) -> None:
        super().__init__()
        width = group_width(planes, base_width)
        num_convs = scale if convolve_last else scale - 1
        self.out_channels = expansion * planes
        self.scale = scale
        self.stride = stride
        self.fuse = fuse
        self.conv1 = ConvNorm(in_channels, scale * width, stride=stride)
        self.convs = nn.ModuleList(ConvNorm(width, width, kernel_size=3) for _ in range(num_convs))
        num_fusions = num_convs - 1 if fuse else 0
        self.fusions = nn.ModuleList(AttentiveFusion(width) for _ in range(num_fusions))
        self.conv3 = ConvNorm(scale * width, self.out_channels)
        self.shortcut = make_shortcut(in_channels, self.out_channels, stride)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map and mask to map and mask."""
        mask = strided_mask(mask, self.stride)
        groups = clipped_relu(self.conv1(x)).chunk(self.scale, dim=1)
        outputs: list[torch.Tensor] = []
        for index, conv in enumerate(self.convs):
            group = groups[index]
            if outputs and self.fuse:
                group = self.fusions[index - 1](outputs[-1], group)
            elif outputs:
                group = group + outputs[-1]
            outputs.append(clipped_relu(conv(group, mask)))
        outputs.extend(groups[len(outputs) :])
        y = self.conv3(torch.cat(outputs, dim=1))
        return clipped_relu(y + self.shortcut(x)), mask


class AttentiveFusion(nn.Module):
    """Sum of two maps weighted by 1 + g and 1 - g; a small network that sees both gives g.

    Chen et al., "An Enhanced Res2Net with Local and Global Feature Fusion for Speaker
    Verification", Interspeech 2023. The hidden layer has ``channels // reduction`` channels.
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.attention = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, kernel_size=1),
            nn.BatchNorm2d(hidden),
            nn.SiLU(),
            nn.Conv2d(hidden, channels, kernel_size=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Two maps of the same shape to one."""
        g = torch.tanh(self.attention(torch.cat([first, second], dim=1)))
        return torch.addcmul(first + second, g, first - second)


class SqueezeExcite(ChannelGate):
    """Scales each channel by a gate computed from all channels' averages over bins and frames."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, bins, frames) -> (batch, channels, bins, frames)``."""
        spectra = x.mean(dim=2, dtype=torch.promote_types(x.dtype, torch.float32))
        gate = super().forward(spectra, None if mask is None else mask.squeeze(2))
        return x * gate[:, :, None, None].to(x.dtype)
