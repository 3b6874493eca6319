"""Layers that know how long each clip of a padded batch is.

A mask has shape ``(batch, 1, frames)`` and holds 1 where a frame belongs to its clip, else 0. No
mask means that every frame counts, and costs nothing. With a mask, what lies behind a clip's end
has no influence on the clip: its embedding is the one it has alone. Time is always the last axis;
for maps ``(batch, channels, bins, frames)`` the mask is ``(batch, 1, 1, frames)``.

In memory, the channels of a frame lie side by side: ``(batch, channels, frames)`` is a transposed
view of ``(batch, frames, channels)``. A layer that sees one frame at a time is then one product of
two matrices over all frames of the batch, the fastest thing that processors can do. A graph that is
exported has plain convolutions instead, which its runtime arranges by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F
from torch.onnx import is_in_onnx_export

from mvector.compute.precision import at_least_float32
from mvector.errors import AudioError

PaddingMode = Literal["zeros", "reflect", "none"]
NormKind = Literal["affine", "plain", "none"]


def frame_mask(num_frames: torch.Tensor, max_frames: int, dtype: torch.dtype) -> torch.Tensor:
    """Mask ``(batch, 1, max_frames)`` of clips that have ``num_frames (batch,)`` frames."""
    positions = torch.arange(max_frames, device=num_frames.device)
    return (positions < num_frames.unsqueeze(1)).unsqueeze(1).to(dtype)


def require_frames(num_frames: torch.Tensor | None, max_frames: int, needed: int) -> None:
    """Refuse a batch of which a clip has fewer frames than ``needed``.

    Numbers on a GPU are not looked at, as reading them would wait for all that it has to do.

    Raises:
        AudioError: a clip is too short; the message says how many frames are needed.
    """
    shortest = max_frames
    looks = not torch.compiler.is_compiling()  # a graph cannot
    if looks and num_frames is not None and num_frames.device.type == "cpu":
        shortest = min(max_frames, int(num_frames.min()))
    if shortest < needed:
        raise AudioError(
            f"A clip of {shortest} frames is too short for this model, which needs at least "
            f"{needed} frames; give longer clips.",
            code="audio-too-short",
        )


def blank_padding(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Zeros behind each clip's end, also where the padding holds NaN or infinity."""
    return x if mask is None else x.masked_fill(mask == 0, 0.0)


def masked_mean(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over the valid frames: ``(batch, channels, frames) -> (batch, channels)``."""
    if is_in_onnx_export():  # where the number of frames might become that of the example
        return at_least_float32(x).mean(dim=-1)
    if mask is None:
        return _SumOverFrames.apply(x) / x.shape[-1]
    x = at_least_float32(x)
    mask = mask.to(x.dtype)
    return (x * mask).sum(dim=-1) / mask.sum(dim=-1)


class _SumOverFrames(torch.autograd.Function):
    """Sum over the last axis, float32 at least, of which neither pass makes a copy of the map.

    The gradient is the same for all frames and stays one value for each channel, in the type of the
    map: autograd would write out a float32 map of it, with the frames side by side in memory, and
    adding that to another gradient is the slowest of all passes.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.dtype, ctx.num_frames = x.dtype, x.shape[-1]
        return x.sum(dim=-1, dtype=torch.promote_types(x.dtype, torch.float32))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        whole = gradient.to(ctx.dtype).unsqueeze(-1)
        return whole.expand(*gradient.shape, ctx.num_frames)


def masked_mean_and_variance(
    x: torch.Tensor, mask: torch.Tensor | None, *, unbiased: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over the valid frames, each ``(batch, channels)``.

    ``unbiased`` divides by one less than the number of frames; a single frame has variance 0.
    """
    x = at_least_float32(x)
    if is_in_onnx_export():  # the number of frames is not known
        mean, squares = x.mean(dim=-1), (x - x.mean(dim=-1, keepdim=True)).square().sum(dim=-1)
        count = (0.0 * x[:1, :1] + 1.0).sum(dim=-1)  # of values, so that no example's size is kept
        return mean, squares / (count - int(unbiased)).clamp(min=1.0)
    if mask is None:
        variance, mean = torch.var_mean(x, dim=-1, correction=int(unbiased and x.shape[-1] > 1))
        return mean, variance
    mask = mask.to(x.dtype)
    mean = masked_mean(x, mask)
    squares = ((x - mean.unsqueeze(-1)) * mask).square().sum(dim=-1)
    return mean, squares / (mask.sum(dim=-1) - int(unbiased)).clamp(min=1.0)


def reflect_pad(x: torch.Tensor, padding: int, mask: torch.Tensor | None) -> torch.Tensor:
    """Mirror each clip about its first and its last frame, at its own end.

    ``(batch, channels, frames) -> (batch, channels, frames + 2 * padding)``; every clip has more
    than ``padding`` frames.
    """
    if mask is None:
        return F.pad(x, (padding, padding), mode="reflect")
    last = mask.sum(dim=2, keepdim=True, dtype=torch.long) - 1
    positions = torch.arange(-padding, x.shape[2] + padding, device=x.device).abs()
    mirrored = torch.where(positions > last, 2 * last - positions, positions)
    source = mirrored.clamp(min=0)  # far behind the end, where nothing looks
    return x.gather(2, source.expand(-1, x.shape[1], -1))


def split_channels(x: torch.Tensor, width: int) -> list[torch.Tensor]:
    """``(batch, channels, frames)`` to groups of channels, each ``(batch, width, frames)``.

    Each group is put together in memory, in one pass: to read it out of all channels again and
    again, forward and backward, takes several times as long.
    """
    if is_in_onnx_export():
        return list(x.split(width, dim=1))
    return [group.transpose(1, 2) for group in _Split.apply(x.transpose(1, 2), width)]


def join_groups(groups: Sequence[torch.Tensor]) -> torch.Tensor:
    """What :func:`split_channels` took apart, the same way back."""
    if is_in_onnx_export():
        return torch.cat(list(groups), dim=1)
    return _Join.apply(*(group.transpose(1, 2) for group in groups)).transpose(1, 2)


class _Split(torch.autograd.Function):
    """``(batch, frames, channels)`` to groups ``(batch, frames, width)``; the gradients back."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, width: int) -> tuple[torch.Tensor, ...]:
        return rows.unflatten(2, (-1, width)).permute(2, 0, 1, 3).contiguous().unbind()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.cat(gradients, dim=2), None


class _Join(torch.autograd.Function):
    """Groups ``(batch, frames, width)`` to ``(batch, frames, channels)``; the gradients apart."""

    @staticmethod
    def forward(ctx: Any, *groups: torch.Tensor) -> torch.Tensor:
        ctx.width = groups[0].shape[2]
        return torch.cat(groups, dim=2)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        groups = gradient.unflatten(2, (-1, ctx.width))
        return groups.permute(2, 0, 1, 3).contiguous().unbind()


def join_channels(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """The channels of all parts: several ``(batch, width, frames)`` to one tensor."""
    if is_in_onnx_export():
        return torch.cat(list(parts), dim=1)
    return torch.cat([part.transpose(1, 2) for part in parts], dim=2).transpose(1, 2)


class FrameConv(nn.Conv1d):
    """``nn.Conv1d`` of stride 1 over frames whose channels lie side by side, which it leaves so."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, in_channels, frames) -> (batch, out_channels, frames)``."""
        if is_in_onnx_export():
            return super().forward(x)
        if self.kernel_size == (1,) and self.groups == 1:
            weight = self.weight.squeeze(2)
            return F.linear(x.transpose(1, 2), weight, self.bias).transpose(1, 2)
        image = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        padding, dilation = (0, int(self.padding[0])), (1, self.dilation[0])
        weight = self.weight.unsqueeze(2)
        return F.conv2d(image, weight, self.bias, 1, padding, dilation, self.groups).squeeze(2)


def normalised_frames(norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Batch normalisation of ``(batch, channels, frames)`` whose channels lie side by side.

    As rows, one for each frame, which is its fast case; and a compiled graph, which takes the
    layout in memory for the one that went in, would go wrong with three axes.
    """
    if is_in_onnx_export():
        return norm(x)
    rows = x.transpose(1, 2)
    return norm(rows.flatten(0, 1)).view(rows.shape).transpose(1, 2)


class ConvReluNorm(nn.Module):
    """Convolution over time, ReLU, batch normalisation.

    Args:
        kernel_size: taps in time, an odd number.
        dilation: frames between taps.
        bias: whether the convolution has a bias.
        padding_mode: what the edges of a clip, its own end and not the end of the batch, are
            padded with to keep the number of frames; ``none`` keeps only the frames that all taps
            see.
        norm: ``affine`` normalisation has trainable gains and offsets, ``plain`` has not.
        negative_slope: what is left of negative values, as a factor; 0 is a ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        dilation: int = 1,
        *,
        bias: bool = False,
        padding_mode: PaddingMode = "zeros",
        norm: NormKind = "affine",
        negative_slope: float = 0.0,
    ) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.reach = dilation * (kernel_size - 1) // 2
        self.padding_mode = padding_mode
        self.conv = FrameConv(
            in_channels,
            out_channels,
            kernel_size,
            dilation=dilation,
            padding=self.reach if padding_mode == "zeros" else 0,
            bias=bias,
        )
        affine = norm == "affine"
        self.norm = None if norm == "none" else nn.BatchNorm1d(out_channels, affine=affine)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, in_channels, frames) -> (batch, out_channels, frames)``."""
        if self.reach and self.padding_mode == "reflect":
            x = reflect_pad(x, self.reach, mask)
        elif self.reach and self.padding_mode == "zeros" and mask is not None:
            x = x * mask.to(x.dtype)
        x = self.conv(x)
        slope = self.negative_slope
        x = F.leaky_relu(x, slope) if slope else torch.relu(x)
        if self.norm is None:
            return x
        return normalised_frames(self.norm, x)


class ChannelGate(nn.Module):
    """Squeeze-and-excitation: a gate for each channel, from the time averages of all channels.

    Hu, Shen, Sun, "Squeeze-and-Excitation Networks", CVPR 2018.
    """

    def __init__(self, channels: int, hidden_channels: int, *, bias: bool = True) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden_channels, bias)
        self.excite = nn.Linear(hidden_channels, channels, bias)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, channels)``, factors between 0 and 1."""
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(masked_mean(x, mask)))))


def embedding_layers(in_dim: int, embd_dim: int, two_embedding_layers: bool) -> nn.Sequential:
    """A linear layer; or two of them with a ReLU and a normalisation between."""
    layers: list[nn.Module] = [nn.Linear(in_dim, embd_dim)]
    if two_embedding_layers:
        normalise = nn.BatchNorm1d(embd_dim, affine=False)
        layers += [nn.ReLU(), normalise, nn.Linear(embd_dim, embd_dim)]
    return nn.Sequential(*layers)
