"""ECAPA-TDNN.

Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and
Aggregation in TDNN Based Speaker Verification", Interspeech 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from mvector.errors import ConfigError
from mvector.models.layers import (
    ChannelGate,
    ConvReluNorm,
    FrameConv,
    PaddingMode,
    blank_padding,
    frame_mask,
    join_channels,
    join_groups,
    normalised_frames,
    require_frames,
    split_channels,
)
from mvector.models.pooling import build_pooling


@dataclass(frozen=True)
class EcapaLayout:
    """What implementations of ECAPA-TDNN do differently; see the arguments of :class:`EcapaTdnn`.

    Attributes:
        aggregated: channels of the aggregation; ``None`` is the sum of the blocks' channels.
        unbiased_context: see :class:`mvector.models.pooling.AttentiveStatisticsPooling`.
        variance_floor: see there.
    """

    padding_mode: PaddingMode = "zeros"
    conv_bias: bool = True
    res2_pass: Literal["first", "last"] = "last"
    se_channels: int | None = 128
    aggregated: int | None = None
    aggregation_norm: bool = False
    global_context: bool = True
    unbiased_context: bool = False
    attention_norm: bool = False
    variance_floor: float = 1e-12
    embedding_norm: bool = False


LAYOUTS = {
    "mvector": EcapaLayout(
        conv_bias=False,
        se_channels=None,
        global_context=False,
        variance_floor=1e-9,
        embedding_norm=True,
    ),
    "speechbrain": EcapaLayout(
        padding_mode="reflect", res2_pass="first", aggregation_norm=True, attention_norm=True
    ),
    "wespeaker": EcapaLayout(aggregated=1536, unbiased_context=True, variance_floor=1e-7),
}


class EcapaTdnn(nn.Module):
    """Frame features to a speaker embedding.

    With 64 bins and the defaults: 6,145,600 parameters; 467 M multiply-adds for 98 frames. The
    layout ``speechbrain`` is also that of 3D-Speaker and of mvector 1.x. Where padding is
    reflected, a clip must have 5 frames.

    Args:
        channels: width of the frame layers; or five numbers, the first four equal: the first
            layer, the three SE-Res2 blocks, the aggregation (if one number: three times that, or
            1536 in the layout ``wespeaker``).
        res2net_scale: number of groups in a Res2 convolution.
        se_channels: bottleneck of squeeze-and-excitation; ``None`` is half of the width, or 128 in
            the layouts ``speechbrain`` and ``wespeaker``.
        attention_channels: hidden width of the attention in the pooling.
        layout: whose conventions to follow: ``mvector``, ``speechbrain`` or ``wespeaker``. It
            decides what the arguments below leave open with ``None``.
        padding_mode: what convolutions pad the ends of a clip with; ``reflect`` in the layout
            ``speechbrain``, else ``zeros``.
        conv_bias: biases in the frame layers; not in the layout ``mvector``.
        res2_pass: which group passes a Res2 convolution unchanged; ``first`` in the layout
            ``speechbrain``, else ``last``.
        aggregation_norm: batch normalisation behind the aggregation; in ``speechbrain`` only.
        global_context: the attention sees the clip's mean and deviation; not in ``mvector``.
        attention_norm: ReLU and batch normalisation in the attention; in ``speechbrain`` only.
        embedding_norm: batch normalisation of the embedding; in ``mvector`` only.

    Raises:
        ConfigError: there is no such layout, or ``res2net_scale`` does not divide the width.
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
        layout: Literal["mvector", "speechbrain", "wespeaker"] = "mvector",
        padding_mode: Literal["zeros", "reflect"] | None = None,
        conv_bias: bool | None = None,
        res2_pass: Literal["first", "last"] | None = None,
        aggregation_norm: bool | None = None,
        global_context: bool | None = None,
        attention_norm: bool | None = None,
        embedding_norm: bool | None = None,
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.embd_dim = embd_dim
        chosen = {
            "padding_mode": padding_mode,
            "conv_bias": conv_bias,
            "res2_pass": res2_pass,
            "se_channels": se_channels,
            "aggregated": None if isinstance(channels, int) else channels[-1],
            "aggregation_norm": aggregation_norm,
            "global_context": global_context,
            "attention_norm": attention_norm,
            "embedding_norm": embedding_norm,
        }
        if layout not in LAYOUTS:
            raise ConfigError(f"There is no layout '{layout}'; there are: {', '.join(LAYOUTS)}.")
        given = {name: value for name, value in chosen.items() if value is not None}
        form = replace(LAYOUTS[layout], **given)  # type: ignore[arg-type]
        width = channels if isinstance(channels, int) else channels[0]
        aggregated = form.aggregated or 3 * width

        self.first = ConvReluNorm(
            feature_dim, width, kernel_size=5, bias=form.conv_bias, padding_mode=form.padding_mode
        )
        self.blocks = nn.ModuleList(
            SERes2Block(width, dilation, res2net_scale, form) for dilation in (2, 3, 4)
        )
        self.min_frames = 5 if form.padding_mode == "reflect" else 1  # 4 frames are mirrored
        self.aggregation = FrameConv(3 * width, aggregated, kernel_size=1)
        norm = nn.BatchNorm1d(aggregated) if form.aggregation_norm else nn.Identity()
        self.aggregation_norm = norm
        self.pooling = build_pooling(
            pooling_type,
            aggregated,
            attention_channels=attention_channels,
            global_context=form.global_context,
            unbiased_context=form.unbiased_context,
            attention_norm=form.attention_norm,
            variance_floor=form.variance_floor,
        )
        self.pooling_norm = nn.BatchNorm1d(self.pooling.output_dim)
        self.embedding = nn.Linear(self.pooling.output_dim, embd_dim)
        self.embedding_norm = nn.BatchNorm1d(embd_dim) if form.embedding_norm else nn.Identity()

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``(batch, frames, feature_dim) -> (batch, embd_dim)``, as all backbones."""
        require_frames(num_frames, features.shape[1], self.min_frames)
        x = features.transpose(1, 2)
        mask = None if num_frames is None else frame_mask(num_frames, x.shape[2], x.dtype)
        x = self.first(blank_padding(x, mask), mask)
        outputs = []
        for block in self.blocks:
            x = block(x, mask)
            outputs.append(x)
        x = torch.relu(self.aggregation(join_channels(outputs)))
        if isinstance(self.aggregation_norm, nn.BatchNorm1d):
            x = normalised_frames(self.aggregation_norm, x)
        embedding = self.embedding(self.pooling_norm(self.pooling(x, mask)))
        return self.embedding_norm(embedding)


class SERes2Block(nn.Module):
    """A dilated Res2 convolution between two frame-wise layers, rescaled and added to its input."""

    def __init__(self, channels: int, dilation: int, scale: int, form: EcapaLayout) -> None:
        super().__init__()
        self.before = ConvReluNorm(channels, channels, bias=form.conv_bias)
        self.res2 = Res2Conv(channels, dilation, scale, form)
        self.after = ConvReluNorm(channels, channels, bias=form.conv_bias)
        self.squeeze_excite = ChannelGate(channels, form.se_channels or channels // 2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, channels, frames)``."""
        y = self.after(self.res2(self.before(x), mask))
        return torch.addcmul(x, y, self.squeeze_excite(y, mask).unsqueeze(2))


class Res2Conv(nn.Module):
    """Res2Net's hierarchy of small convolutions over groups of channels, one of which passes.

    Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", TPAMI 2021.
    """

    def __init__(self, channels: int, dilation: int, scale: int, form: EcapaLayout) -> None:
        super().__init__()
        if channels % scale:
            raise ConfigError(f"channels {channels} is not a multiple of res2net_scale {scale}.")
        width = channels // scale
        self.width = width
        self.first_passes = form.res2_pass == "first"
        self.convs = nn.ModuleList(
            ConvReluNorm(
                width,
                width,
                kernel_size=3,
                dilation=dilation,
                bias=form.conv_bias,
                padding_mode=form.padding_mode,
            )
            for _ in range(scale - 1)
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, channels, frames) -> (batch, channels, frames)``."""
        groups = split_channels(x, self.width)
        convolved = groups[1:] if self.first_passes else groups[:-1]
        outputs: list[torch.Tensor] = []
        for group, conv in zip(convolved, self.convs, strict=True):
            outputs.append(conv(group + outputs[-1] if outputs else group, mask))
        whole = [groups[0], *outputs] if self.first_passes else [*outputs, groups[-1]]
        return join_groups(whole)
