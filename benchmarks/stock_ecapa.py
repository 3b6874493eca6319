"""EcapaTdnn as one writes it from torch's own layers: what its speed is compared with.

Tensors are ``(batch, channels, frames)``, one row of memory for each channel; every layer is
``nn.Conv1d``, ``nn.BatchNorm1d`` or a function of torch, and nothing is arranged for speed. It
computes what :class:`mvector.models.EcapaTdnn` with its defaults computes, from the same state
dict.
"""

from __future__ import annotations

import torch
from torch import nn


class Unit(nn.Module):
    """Convolution, ReLU, batch normalisation."""

    def __init__(self, before: int, after: int, kernel_size: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel_size - 1) // 2
        self.conv = nn.Conv1d(
            before, after, kernel_size, dilation=dilation, padding=padding, bias=False
        )
        self.norm = nn.BatchNorm1d(after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, before, frames) -> (batch, after, frames)``."""
        return self.norm(torch.relu(self.conv(x)))


class Res2(nn.Module):
    """Eight groups of channels, seven of them convolved, each with the result before added."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        width = channels // 8
        self.convs = nn.ModuleList(Unit(width, width, 3, dilation) for _ in range(7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, frames)``, of the same shape after."""
        groups = x.chunk(8, dim=1)
        outputs = [self.convs[0](groups[0])]
        for group, conv in zip(groups[1:-1], self.convs[1:], strict=True):
            outputs.append(conv(group + outputs[-1]))
        return torch.cat([*outputs, groups[-1]], dim=1)


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate that sees the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // 2)
        self.excite = nn.Linear(channels // 2, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, frames)``, of the same shape after."""
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean(dim=2)))))
        return x * gate.unsqueeze(2)


class Block(nn.Module):
    """SE-Res2 block."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.before = Unit(channels, channels)
        self.res2 = Res2(channels, dilation)
        self.after = Unit(channels, channels)
        self.squeeze_excite = SqueezeExcite(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, frames)``, of the same shape after."""
        return x + self.squeeze_excite(self.after(self.res2(self.before(x))))


class AttentivePooling(nn.Module):
    """Mean and standard deviation over time, weighted by attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Conv1d(channels, 128, 1)
        self.attention = nn.Conv1d(128, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, 2 * channels)``."""
        weights = torch.softmax(self.attention(torch.tanh(self.hidden(x))), dim=2)
        mean = (weights * x).sum(dim=2)
        variance = (weights * (x - mean.unsqueeze(2)) ** 2).sum(dim=2)
        return torch.cat([mean, variance.clamp(min=1e-9).sqrt()], dim=1)


class StockEcapaTdnn(nn.Module):
    """EcapaTdnn with its defaults."""

    def __init__(self, feature_dim: int, embd_dim: int = 192, channels: int = 512) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.embd_dim = embd_dim
        self.first = Unit(feature_dim, channels, 5)
        self.blocks = nn.ModuleList(Block(channels, dilation) for dilation in (2, 3, 4))
        self.aggregation = nn.Conv1d(3 * channels, 3 * channels, 1)
        self.pooling = AttentivePooling(3 * channels)
        self.pooling_norm = nn.BatchNorm1d(6 * channels)
        self.embedding = nn.Linear(6 * channels, embd_dim)
        self.embedding_norm = nn.BatchNorm1d(embd_dim)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, frames, feature_dim) -> (batch, embd_dim)``."""
        x = self.first(features.transpose(1, 2))
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        x = torch.relu(self.aggregation(torch.cat(outputs, dim=1)))
        return self.embedding_norm(self.embedding(self.pooling_norm(self.pooling(x))))
