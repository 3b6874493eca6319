"""Pooling: a sequence of frame vectors becomes one vector per clip, whatever its length."""

from __future__ import annotations

import torch
from torch import nn


class AttentiveStatisticsPooling(nn.Module):
    """Mean and standard deviation over time, weighted by attention, one weight per channel.

    Okabe, Koshinaka, Shinoda, "Attentive Statistics Pooling for Deep Speaker Embedding",
    Interspeech 2018.

    Args:
        channels: channels of the input; the output has twice as many (``output_dim``).
        attention_channels: width of the attention's hidden layer.
    """

    variance_floor = 1e-9

    def __init__(self, channels: int, attention_channels: int = 128) -> None:
        super().__init__()
        self.output_dim = 2 * channels
        self.hidden = nn.Conv1d(channels, attention_channels, kernel_size=1)
        self.attention = nn.Conv1d(attention_channels, channels, kernel_size=1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, 2 * channels)``: means, then deviations."""
        scores = self.attention(torch.tanh(self.hidden(x))).float()
        if mask is not None:
            scores = scores.masked_fill(mask == 0, float("-inf"))
        weights = torch.softmax(scores, dim=2)
        x = x.float()  # the difference of squares below needs the digits, also under autocast
        mean = (weights * x).sum(dim=2, keepdim=True)
        variance = (weights * (x - mean).square()).sum(dim=2)
        deviation = variance.clamp(min=self.variance_floor).sqrt()
        return torch.cat([mean.squeeze(2), deviation], dim=1)


POOLINGS: dict[str, type[AttentiveStatisticsPooling]] = {"ASP": AttentiveStatisticsPooling}
