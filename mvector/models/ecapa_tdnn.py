"""ECAPA-TDNN.

Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and
Aggregation in TDNN Based Speaker Verification", Interspeech 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mvector.models.layers import ConvReluNorm, frame_mask, masked_mean
from mvector.models.pooling import POOLINGS


class EcapaTdnn(nn.Module):
    """Frame features to a speaker embedding.

    With 64 bins, 192 dimensions and 512 channels: 6,145,600 parameters; 467 M multiply-adds for
    98 frames.

    Args:
        feature_dim: bins of the input features.
        embd_dim: size of the embedding.
        pooling_type: name of the pooling layer, see :data:`mvector.models.pooling.POOLINGS`.
        channels: width of the frame layers; or five numbers, the first four equal: the first
            layer, the three SE-Res2 blocks, the aggregation (3 x ``channels`` if one number).
        res2net_scale: number of groups in a Res2 convolution.
        se_channels: bottleneck of squeeze-and-excitation; ``None`` is half of ``channels``.
        attention_channels: hidden width of the attention in the pooling.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 192,
        pooling_type: str = "ASP",
        channels: int | Sequence[int] = 512,
        res2net_scale: int = 8,
        se_channels: int | None = None,
        attention_channels: int = 128,
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.embd_dim = embd_dim
        width, aggregated = (
            (channels, 3 * channels) if isinstance(channels, int) else (channels[0], channels[-1])
        )
        squeeze = width // 2 if se_channels is None else se_channels
        self.first = ConvReluNorm(feature_dim, width, kernel_size=5)
        self.blocks = nn.ModuleList(
            SERes2Block(width, dilation, res2net_scale, squeeze) for dilation in (2, 3, 4)
        )
        self.aggregation = nn.Conv1d(3 * width, aggregated, kernel_size=1)
        self.pooling = POOLINGS[pooling_type](aggregated, attention_channels)
        self.pooling_norm = nn.BatchNorm1d(self.pooling.output_dim)
        self.embedding = nn.Linear(self.pooling.output_dim, embd_dim)
        self.embedding_norm = nn.BatchNorm1d(embd_dim)

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Embed a batch of clips.

        Args:
            features: ``(batch, frames, feature_dim)``.
            num_frames: ``(batch,)`` frames of each clip; ``None`` means that all are full.

        Returns:
            Embeddings of shape ``(batch, embd_dim)``, not length-normalised.
        """
        x = features.transpose(1, 2)
        mask = None if num_frames is None else frame_mask(num_frames, x.shape[2], x.dtype)
        x = self.first(x, mask)
        outputs = []
        for block in self.blocks:
            x = block(x, mask)
            outputs.append(x)
        x = torch.relu(self.aggregation(torch.cat(outputs, dim=1)))
        x = self.pooling_norm(self.pooling(x, mask))
        return self.embedding_norm(self.embedding(x))


class SERes2Block(nn.Module):
    """A dilated Res2 convolution between two frame-wise layers, rescaled and added to its input."""

    def __init__(self, channels: int, dilation: int, scale: int, se_channels: int) -> None:
        super().__init__()
        self.before = ConvReluNorm(channels, channels)
        self.res2 = Res2Conv(channels, dilation, scale)
        self.after = ConvReluNorm(channels, channels)
        self.squeeze_excite = SqueezeExcite(channels, se_channels)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, channels, frames)``."""
        y = self.after(self.res2(self.before(x), mask))
        return x + self.squeeze_excite(y, mask)


class Res2Conv(nn.Module):
    """Res2Net's hierarchy of small convolutions over groups of channels; the last group passes.

    Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", TPAMI 2021.
    """

    def __init__(self, channels: int, dilation: int, scale: int) -> None:
        super().__init__()
        width = channels // scale
        self.width = width
        self.convs = nn.ModuleList(
            ConvReluNorm(width, width, kernel_size=3, dilation=dilation) for _ in range(scale - 1)
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, channels, frames)``."""
        groups = x.split(self.width, dim=1)
        outputs: list[torch.Tensor] = []
        for group, conv in zip(groups, self.convs, strict=False):
            outputs.append(conv(group + outputs[-1] if outputs else group, mask))
        return torch.cat([*outputs, groups[-1]], dim=1)


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channels' time averages (Hu et al., 2018)."""

    def __init__(self, channels: int, se_channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, se_channels)
        self.excite = nn.Linear(se_channels, channels)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, channels, frames)``."""
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(masked_mean(x, mask)))))
        return x * gate.unsqueeze(2)
