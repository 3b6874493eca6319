"""ResNet34, ERes2Net and CAM++ from torch's own layers, as one writes them down from the papers.

``train_step.py`` compares with them what :mod:`mvector.models` does for speed. The parameters have
the names of ours, so that weights fit both; sizes are the published defaults.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class ConvNorm(nn.Module):
    """Convolution and batch normalisation, of maps."""

    def __init__(
        self, before: int, after: int, size: int = 1, stride: int | tuple[int, int] = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, before, bins, frames) -> (batch, after, bins, frames)``."""
        return self.norm(self.conv(x))


def shortcut(before: int, after: int, stride: int | tuple[int, int]) -> nn.Module:
    """What a block adds its result to."""
    same = before == after and stride == 1
    return nn.Identity() if same else ConvNorm(before, after, 1, stride)


def mean_and_deviation(x: torch.Tensor, eps: float) -> torch.Tensor:
    """Over time: ``(batch, channels, frames) -> (batch, 2 * channels)``."""
    deviation = (x.var(dim=2) + eps).sqrt()
    return torch.cat([x.mean(dim=2), deviation], dim=1)


# ---- ResNet34 ---------------------------------------------------------------------------------


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, the first with the stride."""

    def __init__(self, before: int, planes: int, stride: int | tuple[int, int]) -> None:
        super().__init__()
        self.out_channels = planes
        self.conv1 = ConvNorm(before, planes, 3, stride)
        self.conv2 = ConvNorm(planes, planes, 3)
        self.shortcut = shortcut(before, planes, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        return torch.relu(self.conv2(torch.relu(self.conv1(x))) + self.shortcut(x))


def stages(block: type[nn.Module] | list[type[nn.Module]], channels: int) -> nn.ModuleList:
    """Four stages of 3, 4, 6 and 3 blocks."""
    made, before = nn.ModuleList(), channels
    for index, count in enumerate((3, 4, 6, 3)):
        stage = nn.Sequential()
        for number in range(count):
            kind = block[index] if isinstance(block, list) else block
            stride = 2 if index and not number else 1
            stage.append(kind(before, channels * 2**index, stride))
            before = stage[-1].out_channels  # type: ignore[assignment]
        made.append(stage)
    return made


class StockResNet(nn.Module):
    """ResNet34 with 32 channels."""

    def __init__(self, feature_dim: int, embd_dim: int = 256, channels: int = 32) -> None:
        super().__init__()
        self.feature_dim, self.embd_dim = feature_dim, embd_dim
        self.stem = ConvNorm(1, channels, 3)
        self.stages = stages(BasicBlock, channels)
        self.embedding = nn.Sequential(nn.Linear(2 * 8 * channels * -(-feature_dim // 8), embd_dim))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, frames, feature_dim) -> (batch, embd_dim)``."""
        x = torch.relu(self.stem(features.transpose(1, 2).unsqueeze(1)))
        for stage in self.stages:
            x = stage(x)
        return self.embedding(mean_and_deviation(x.flatten(1, 2), 1e-7))


# ---- ERes2Net ---------------------------------------------------------------------------------


class Fusion(nn.Module):
    """Sum of two maps, weighted by attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv2d(2 * channels, channels // 4, 1),
            nn.BatchNorm2d(channels // 4),
            nn.SiLU(),
            nn.Conv2d(channels // 4, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Two maps to one."""
        weight = 1.0 + torch.tanh(self.attention(torch.cat([x, y], dim=1)))
        return x * weight + y * (2.0 - weight)


class SumBlock(nn.Module):
    """Res2 block of two groups, the second with the first one's result added."""

    fuses = False

    def __init__(self, before: int, planes: int, stride: int) -> None:
        super().__init__()
        width = planes // 2
        self.out_channels = 2 * planes
        self.conv1 = ConvNorm(before, 2 * width, 1, stride)
        self.convs = nn.ModuleList(ConvNorm(width, width, 3) for _ in range(2))
        self.fusions = nn.ModuleList([Fusion(width)] if self.fuses else [])
        self.conv3 = ConvNorm(2 * width, self.out_channels)
        self.shortcut = shortcut(before, self.out_channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        first, second = F.hardtanh(self.conv1(x), 0.0, 20.0).chunk(2, dim=1)
        first = F.hardtanh(self.convs[0](first), 0.0, 20.0)
        second = self.fusions[0](first, second) if self.fuses else first + second
        second = F.hardtanh(self.convs[1](second), 0.0, 20.0)
        y = self.conv3(torch.cat([first, second], dim=1))
        return F.hardtanh(y + self.shortcut(x), 0.0, 20.0)


class FusionBlock(SumBlock):
    """The same, joined by attention."""

    fuses = True


class StockERes2Net(nn.Module):
    """ERes2Net, the base model."""

    def __init__(self, feature_dim: int, embd_dim: int = 192, channels: int = 32) -> None:
        super().__init__()
        self.feature_dim, self.embd_dim = feature_dim, embd_dim
        self.stem = ConvNorm(1, channels, 3)
        self.stages = stages([SumBlock, SumBlock, FusionBlock, FusionBlock], channels)
        widths = [2 * channels * factor for factor in (1, 2, 4, 8)]
        self.downsamplings = nn.ModuleList(
            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False) for width in widths[:-1]
        )
        self.fusions = nn.ModuleList(Fusion(width) for width in widths[1:])
        pooled = 2 * widths[-1] * -(-feature_dim // 8)
        self.embedding = nn.Sequential(nn.Linear(pooled, embd_dim))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, frames, feature_dim) -> (batch, embd_dim)``."""
        x = torch.relu(self.stem(features.transpose(1, 2).unsqueeze(1)))
        x = fused = self.stages[0](x)
        for stage, down, fuse in zip(
            self.stages[1:], self.downsamplings, self.fusions, strict=True
        ):
            x = stage(x)
            fused = fuse(x, down(fused))
        return self.embedding(mean_and_deviation(fused.flatten(1, 2), 1e-8))


# ---- CAM++ ------------------------------------------------------------------------------------


class Front(nn.Module):
    """Two-dimensional convolutions at the front."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(1, channels, 3)
        strides: tuple[int | tuple[int, int], ...] = ((2, 1), 1, (2, 1), 1)  # over bins
        self.blocks = nn.Sequential(*(BasicBlock(channels, channels, each) for each in strides))
        self.last = ConvNorm(channels, channels, 3, (2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map to map."""
        return torch.relu(self.last(self.blocks(torch.relu(self.first(x)))))


class Transit(nn.Module):
    """Normalisation, ReLU, and a convolution over one frame."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(before)
        self.conv = nn.Conv1d(before, after, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, before, frames) -> (batch, after, frames)``."""
        return self.conv(torch.relu(self.norm(x)))


class Masking(nn.Module):
    """Context-aware masking, whose gate is made for every frame."""

    def __init__(self, before: int, after: int, dilation: int) -> None:
        super().__init__()
        self.local = nn.Conv1d(before, after, 3, padding=dilation, dilation=dilation, bias=False)
        self.squeeze = nn.Conv1d(before, before // 2, 1)
        self.excite = nn.Conv1d(before // 2, after, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, before, frames) -> (batch, after, frames)``."""
        segments = F.avg_pool1d(x, 100, ceil_mode=True)
        segments = segments.repeat_interleave(100, dim=2)[:, :, : x.shape[2]]
        context = x.mean(dim=2, keepdim=True) + segments
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(context))))
        return self.local(x) * gate


class DenseLayer(nn.Module):
    """A bottleneck and a gated convolution."""

    def __init__(self, before: int, growth: int, dilation: int) -> None:
        super().__init__()
        self.bottleneck = Transit(before, 4 * growth)
        self.norm = nn.BatchNorm1d(4 * growth)
        self.masking = Masking(4 * growth, growth, dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, before, frames) -> (batch, growth, frames)``."""
        return self.masking(torch.relu(self.norm(self.bottleneck(x))))


class StockCAMPPlus(nn.Module):
    """CAM++ with its defaults."""

    def __init__(self, feature_dim: int, embd_dim: int = 192, growth: int = 32) -> None:
        super().__init__()
        self.feature_dim, self.embd_dim = feature_dim, embd_dim
        self.head = Front(32)
        self.tdnn = nn.Conv1d(32 * -(-feature_dim // 8), 128, 5, 2, 2, bias=False)
        self.tdnn_norm = nn.BatchNorm1d(128)
        self.blocks, self.transitions, channels = nn.ModuleList(), nn.ModuleList(), 128
        for count, dilation in ((12, 1), (24, 2), (16, 2)):
            self.blocks.append(
                nn.ModuleList(
                    DenseLayer(channels + number * growth, growth, dilation)
                    for number in range(count)
                )
            )
            channels += count * growth
            self.transitions.append(Transit(channels, channels // 2))
            channels //= 2
        self.out_norm = nn.BatchNorm1d(channels)
        self.embedding = nn.Linear(2 * channels, embd_dim, bias=False)
        self.embedding_norm = nn.BatchNorm1d(embd_dim, affine=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, frames, feature_dim) -> (batch, embd_dim)``."""
        x = self.head(features.transpose(1, 2).unsqueeze(1)).flatten(1, 2)
        x = torch.relu(self.tdnn_norm(self.tdnn(x)))
        for block, transit in zip(self.blocks, self.transitions, strict=True):
            for layer in block:  # type: ignore[attr-defined]
                x = torch.cat([x, layer(x)], dim=1)
            x = transit(x)
        x = torch.relu(self.out_norm(x))
        return self.embedding_norm(self.embedding(mean_and_deviation(x, 0.0)))
