"""Pooling: a sequence of frame vectors becomes one vector per clip, whatever its length.

Every layer is built with the number of input channels and keyword options, such as the width
``attention_channels`` of an attention's hidden layer. It has an ``output_dim``, and maps
``x (batch, channels, frames)`` with an optional ``mask (batch, 1, frames)`` to
``(batch, output_dim)``. Statistics are computed in float32 at least, around the mean and never as a
difference of squares, and have finite gradients for clips that do not change over time.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.onnx import is_in_onnx_export

from mvector.compute.precision import at_least_float32
from mvector.errors import ConfigError
from mvector.models.attention import attentive_statistics, masked_scores, softmax_over_frames
from mvector.models.layers import (
    FrameConv,
    blank_padding,
    masked_mean,
    masked_mean_and_variance,
    normalised_frames,
)


class TemporalAveragePooling(nn.Module):
    """TAP: the mean over time (Li et al., "Deep Speaker", 2017)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.output_dim = channels

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, channels)``."""
        return masked_mean(blank_padding(x, mask), mask)


class TemporalVariancePooling(nn.Module):
    """TSP: mean and unbiased variance over time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.output_dim = 2 * channels

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, 2 * channels)``: means, then variances."""
        statistics = masked_mean_and_variance(blank_padding(x, mask), mask, unbiased=True)
        return torch.cat(statistics, dim=1)


class TemporalStatisticsPooling(nn.Module):
    """TSTP: mean and standard deviation over time.

    Snyder et al., "Deep Neural Network Embeddings for Text-Independent Speaker Verification",
    Interspeech 2017.

    Args:
        eps: added to the unbiased variance under the root: 1e-7 in WeSpeaker, 1e-8 in 3D-Speaker;
            0 is the plain standard deviation, as in the CAM++ of 3D-Speaker.
        std_offset: added to the deviation itself: 1e-5 in the x-vector of SpeechBrain.
    """

    def __init__(self, channels: int, *, eps: float = 1e-7, std_offset: float = 0.0) -> None:
        super().__init__()
        self.output_dim = 2 * channels
        self.eps = eps
        self.std_offset = std_offset

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, 2 * channels)``: means, then deviations."""
        mean, variance = masked_mean_and_variance(blank_padding(x, mask), mask, unbiased=True)
        # the clamp is far below any variance; it stops the infinite slope of the root at 0
        variance = (variance + self.eps).clamp(min=torch.finfo(variance.dtype).tiny)
        return torch.cat([mean, variance.sqrt() + self.std_offset], dim=1)


class SelfAttentivePooling(nn.Module):
    """SAP: the mean over time, weighted by attention, one weight per channel.

    Zhu, Ko, Snyder, Mak, Povey, "Self-Attentive Speaker Embeddings for Text-Independent Speaker
    Verification", Interspeech 2018.
    """

    def __init__(self, channels: int, attention_channels: int = 128) -> None:
        super().__init__()
        self.output_dim = channels
        self.hidden = FrameConv(channels, attention_channels, kernel_size=1)
        self.attention = FrameConv(attention_channels, channels, kernel_size=1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, channels)``."""
        x = blank_padding(x, mask)
        scores = masked_scores(self.attention(torch.tanh(self.hidden(x))), mask)
        return (softmax_over_frames(scores) * at_least_float32(x)).sum(dim=2)


class AttentiveStatisticsPooling(nn.Module):
    """ASP: mean and standard deviation over time, weighted by attention, one weight per channel.

    Okabe, Koshinaka, Shinoda, "Attentive Statistics Pooling for Deep Speaker Embedding",
    Interspeech 2018; with ``global_context`` as in Desplanques, Thienpondt, Demuynck,
    "ECAPA-TDNN", Interspeech 2020.

    Args:
        global_context: the attention also sees the clip's unweighted mean and deviation.
        unbiased_context: that deviation is sqrt(unbiased variance + 1e-7), as in WeSpeaker; if
            not, sqrt(max(biased variance, context_floor)), as in SpeechBrain.
        context_floor: 1e-12 in SpeechBrain, 1e-10 in TitaNet.
        attention_norm: ReLU and batch normalisation follow the hidden layer.
        attention_tanh: tanh follows the hidden layer, behind the normalisation if there is one.
        variance_floor: least weighted variance: 1e-12 in SpeechBrain's ECAPA-TDNN, 1e-7 in
            WeSpeaker's, 1e-10 in TitaNet, 1e-5 in SimAM-ResNet.
    """

    def __init__(
        self,
        channels: int,
        attention_channels: int = 128,
        *,
        global_context: bool = False,
        unbiased_context: bool = False,
        context_floor: float = 1e-12,
        attention_norm: bool = False,
        attention_tanh: bool = True,
        variance_floor: float = 1e-9,
    ) -> None:
        super().__init__()
        self.output_dim = 2 * channels
        self.global_context = global_context
        self.unbiased_context = unbiased_context
        self.context_floor = context_floor
        self.attention_tanh = attention_tanh
        self.variance_floor = variance_floor
        seen = 3 * channels if global_context else channels
        self.hidden = FrameConv(seen, attention_channels, kernel_size=1)
        self.hidden_norm = nn.BatchNorm1d(attention_channels) if attention_norm else None
        self.attention = FrameConv(attention_channels, channels, kernel_size=1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, 2 * channels)``: means, then deviations."""
        x = blank_padding(x, mask)
        hidden = self._hidden_with_context(x, mask) if self.global_context else self.hidden(x)
        if self.hidden_norm is not None:
            hidden = normalised_frames(self.hidden_norm, torch.relu(hidden))
        if self.attention_tanh:
            hidden = torch.tanh(hidden)
        statistics = attentive_statistics(x, self.attention(hidden), mask, self.variance_floor)
        return torch.cat(statistics, dim=1)

    def _hidden_with_context(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """The hidden layer of frame, mean and deviation; the latter two are not repeated."""
        mean, variance = masked_mean_and_variance(x, mask, unbiased=self.unbiased_context)
        floor = self.context_floor
        variance = variance + 1e-7 if self.unbiased_context else variance.clamp(min=floor)
        channels = self.output_dim // 2
        of_frame, of_context = self.hidden.weight.split([channels, 2 * channels], dim=1)
        context = F.linear(torch.cat([mean, variance.sqrt()], dim=1), of_context.squeeze(2))
        if is_in_onnx_export():
            return F.conv1d(x, of_frame, self.hidden.bias) + context.unsqueeze(2)
        frames = F.linear(x.transpose(1, 2), of_frame.squeeze(2), self.hidden.bias)
        return frames.transpose(1, 2) + context.unsqueeze(2)


class MultiHeadAttentivePooling(nn.Module):
    """MHASTP: attentive statistics with an attention of its own for each slice of the channels.

    India, Safari, Hernando, "Self Multi-Head Attention for Speaker Recognition", Interspeech 2019;
    with the hidden layer and the defaults of WeSpeaker.

    Args:
        attention_channels: width of each head's hidden layer.
        num_heads: slices of the channels.
        weight_per_channel: one weight per frame and channel, instead of one per frame and head.
        variance_floor: least weighted variance.

    Raises:
        ConfigError: the channels do not divide into so many heads.
    """

    def __init__(
        self,
        channels: int,
        attention_channels: int = 64,
        *,
        num_heads: int = 2,
        weight_per_channel: bool = False,
        variance_floor: float = 1e-7,
    ) -> None:
        super().__init__()
        if channels % num_heads:
            raise ConfigError(
                f"{channels} channels do not divide into {num_heads} attention heads; choose other "
                "channels or another pooling_type."
            )
        self.output_dim = 2 * channels
        self.num_heads = num_heads
        self.variance_floor = variance_floor
        all_hidden = num_heads * attention_channels
        all_scores = channels if weight_per_channel else num_heads
        self.hidden = FrameConv(channels, all_hidden, kernel_size=1, groups=num_heads)
        self.attention = FrameConv(all_hidden, all_scores, kernel_size=1, groups=num_heads)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, 2 * channels)``: head by head, as ASP's."""
        x = blank_padding(x, mask)
        slices = x.unflatten(1, (self.num_heads, -1))
        scores = self.attention(torch.tanh(self.hidden(x))).unflatten(1, (self.num_heads, -1))
        mask = None if mask is None else mask.unsqueeze(1)
        statistics = attentive_statistics(slices, scores, mask, self.variance_floor)
        return torch.cat(statistics, dim=2).flatten(1)


class MultiQueryAttentivePooling(nn.Module):
    """MQMHASTP: several multi-head attentive poolings side by side.

    Zhao, Ma, Liu, Xu, "Multi-Query Multi-Head Attention Pooling and Inter-TopK Penalty for Speaker
    Verification", ICASSP 2022; the defaults are WeSpeaker's.

    Args:
        num_queries: poolings; the output has ``2 * num_queries * channels`` values.
        others: see :class:`MultiHeadAttentivePooling`.
    """

    def __init__(
        self,
        channels: int,
        attention_channels: int = 64,
        *,
        num_queries: int = 2,
        num_heads: int = 8,
        weight_per_channel: bool = True,
        variance_floor: float = 1e-7,
    ) -> None:
        super().__init__()
        self.output_dim = 2 * num_queries * channels
        self.queries = nn.ModuleList(
            MultiHeadAttentivePooling(
                channels,
                attention_channels,
                num_heads=num_heads,
                weight_per_channel=weight_per_channel,
                variance_floor=variance_floor,
            )
            for _ in range(num_queries)
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, output_dim)``: one query after the other."""
        return torch.cat([query(x, mask) for query in self.queries], dim=1)


# options of ASP as in SpeechBrain's ECAPA-TDNN, which most backbones of mvector 1.x have
SPEECHBRAIN_ATTENTION: dict[str, Any] = {
    "global_context": True,
    "attention_norm": True,
    "variance_floor": 1e-12,
}

# A new layer: a class, a line here, and its name in mvector.config.backbone_options.Pooling.
POOLINGS: dict[str, type[nn.Module]] = {
    "TAP": TemporalAveragePooling,
    "TSP": TemporalVariancePooling,
    "TSTP": TemporalStatisticsPooling,
    "SAP": SelfAttentivePooling,
    "ASP": AttentiveStatisticsPooling,
    "MHASTP": MultiHeadAttentivePooling,
    "MQMHASTP": MultiQueryAttentivePooling,
}


def build_pooling(pooling_type: str, channels: int, **options: Any) -> Any:
    """A pooling layer by its name in configuration files.

    Args:
        pooling_type: a key of :data:`POOLINGS`.
        channels: channels of the input.
        options: keyword arguments of any of the layers; the chosen one takes those that it has.

    Raises:
        ConfigError: there is no such layer, or no layer has such an option.
    """
    if pooling_type not in POOLINGS:
        raise ConfigError(
            f"There is no pooling '{pooling_type}'; there are: {', '.join(POOLINGS)}."
        )
    known = {name: set(inspect.signature(kind).parameters) for name, kind in POOLINGS.items()}
    unknown = set(options) - set().union(*known.values())
    if unknown:
        raise ConfigError(f"No pooling has the option '{min(unknown)}'.")
    taken = {name: value for name, value in options.items() if name in known[pooling_type]}
    return POOLINGS[pooling_type](channels, **taken)
