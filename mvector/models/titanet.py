"""TitaNet: separable convolutions over time with squeeze-and-excitation, and attentive pooling.

Koluguri, Park, Ginsburg, "TitaNet: Neural Model for Speaker Representation with 1D Depth-Wise
Separable Convolutions and Global Context", ICASSP 2022.
"""

from __future__ import annotations

import torch
from torch import nn

from mvector.models.layers import ChannelGate, blank_padding, frame_mask, require_frames
from mvector.models.layers2d import zero_padding
from mvector.models.pooling import build_pooling

KERNELS = (7, 11, 15)  # of the blocks between the first and the last

_NORM_EPS = 1e-3


class TitaNet(nn.Module):
    """Frame features to a speaker embedding.

    With 80 bins and the defaults: 6,825,264 parameters; 0.73 G multiply-adds for 300 frames.

    Args:
        channels: width of the blocks: 256 in TitaNet-S, 1024 in TitaNet-L.
        out_channels: width of the last block, which is pooled.
        num_repeats: convolutions of each of the blocks between the first and the last.
        se_reduction: the hidden layer of squeeze-and-excitation is so many times narrower.
        dropout: share of the values left out between convolutions, in training.
        attention_channels: hidden width of the attention in the pooling.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 192,
        pooling_type: str = "ASP",
        channels: int = 256,
        out_channels: int = 3072,
        num_repeats: int = 3,
        se_reduction: int = 8,
        dropout: float = 0.1,
        attention_channels: int = 128,
    ) -> None:
        super().__init__()
        self.feature_dim, self.embd_dim = feature_dim, embd_dim
        self.blocks = nn.ModuleList(
            [
                TitaBlock(feature_dim, channels, 3, 1, se_reduction),
                *(
                    TitaBlock(
                        channels,
                        channels,
                        kernel,
                        num_repeats,
                        se_reduction,
                        dropout=dropout,
                        is_residual=True,
                    )
                    for kernel in KERNELS
                ),
                TitaBlock(channels, out_channels, 1, 1, se_reduction),
            ]
        )
        self.pooling = build_pooling(
            pooling_type,
            out_channels,
            attention_channels=attention_channels,
            global_context=True,
            context_floor=1e-10,
            attention_norm=True,
            variance_floor=1e-10,
        )
        self.pooling_norm = nn.BatchNorm1d(self.pooling.output_dim)
        self.embedding = nn.Linear(self.pooling.output_dim, embd_dim)

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``(batch, frames, feature_dim) -> (batch, embd_dim)``, as all backbones."""
        require_frames(num_frames, features.shape[1], needed=1)
        x = features.transpose(1, 2)
        mask = None if num_frames is None else frame_mask(num_frames, x.shape[2], x.dtype)
        x = blank_padding(x, mask)
        for block in self.blocks:
            x = block(x, mask)
        return self.embedding(self.pooling_norm(self.pooling(x, mask)))


class TitaBlock(nn.Module):
    """Separable convolutions, gated by squeeze-and-excitation, and a ReLU.

    Args:
        kernel_size: taps in time, an odd number.
        num_repeats: how many convolutions there are, with ReLU and dropout between.
        is_residual: the block's input is projected and added before the last ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: int,
        num_repeats: int,
        se_reduction: int,
        *,
        dropout: float = 0.0,
        is_residual: bool = False,
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            SeparableConv(in_channels if index == 0 else channels, channels, kernel_size)
            for index in range(num_repeats)
        )
        self.dropout = nn.Dropout(dropout)
        hidden = max(1, channels // se_reduction)
        self.squeeze_excite = ChannelGate(channels, hidden, bias=False)
        self.residual: nn.Module | None = None
        if is_residual:
            self.residual = nn.Conv1d(in_channels, channels, kernel_size=1, bias=False)
            self.residual_norm = nn.BatchNorm1d(channels, eps=_NORM_EPS)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, in_channels, frames) -> (batch, channels, frames)``."""
        y = x
        for index, conv in enumerate(self.convs):
            y = conv(self.dropout(torch.relu(y)) if index else y, mask)
        y = y * self.squeeze_excite(y, mask).unsqueeze(2).to(y.dtype)
        if self.residual is not None:
            y = y + self.residual_norm(self.residual(x))
        return self.dropout(torch.relu(y))


class SeparableConv(nn.Module):
    """A convolution of each channel over time, one over channels, and a normalisation."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(
            in_channels,
            in_channels,
            kernel_size,
            padding=kernel_size // 2,
            groups=in_channels,
            bias=False,
        )
        self.pointwise = nn.Conv1d(in_channels, out_channels, kernel_size=1, bias=False)
        self.norm = nn.BatchNorm1d(out_channels, eps=_NORM_EPS)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, in_channels, frames) -> (batch, out_channels, frames)``."""
        return self.norm(self.pointwise(self.depthwise(zero_padding(x, mask))))
