"""Layers that know how long each clip of a padded batch is.

A mask has shape ``(batch, 1, frames)`` and holds 1 where a frame belongs to its clip, else 0. No
mask means that every frame counts, and costs nothing. With a mask, what lies behind a clip's end
has no influence on the clip: its embedding is the one it has alone.
"""

from __future__ import annotations

import torch
from torch import nn


def frame_mask(num_frames: torch.Tensor, max_frames: int, dtype: torch.dtype) -> torch.Tensor:
    """Mask of the valid frames.

    Args:
        num_frames: ``(batch,)`` frames of each clip.
        max_frames: frames of the padded batch.
        dtype: type of the result.

    Returns:
        Tensor of shape ``(batch, 1, max_frames)`` holding 0 and 1.
    """
    positions = torch.arange(max_frames, device=num_frames.device)
    return (positions < num_frames.unsqueeze(1)).unsqueeze(1).to(dtype)


def masked_mean(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over the valid frames: ``(batch, channels, frames) -> (batch, channels)``."""
    if mask is None:
        return x.mean(dim=2)
    return (x * mask).sum(dim=2) / mask.sum(dim=2)


class ConvReluNorm(nn.Module):
    """Convolution over time without bias, ReLU, batch normalisation; keeps the number of frames.

    The edge of a clip is padded with zeros, at its own end and not at the end of the batch.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            in_channels,
            out_channels,
            kernel_size,
            dilation=dilation,
            padding=dilation * (kernel_size - 1) // 2,
            bias=False,
        )
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, in_channels, frames) -> (batch, out_channels, frames)``."""
        if mask is not None and self.conv.kernel_size[0] > 1:
            x = x * mask
        return self.norm(torch.relu(self.conv(x)))
