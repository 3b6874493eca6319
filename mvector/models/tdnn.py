"""TDNN: five convolutions over time, pooling, one or two linear layers; the x-vector among them.

Snyder, Garcia-Romero, Sell, Povey, Khudanpur, "X-Vectors: Robust DNN Embeddings for Speaker
Recognition", ICASSP 2018; Peddinti, Povey, Khudanpur, "A Time Delay Neural Network Architecture
for Efficient Modeling of Long Temporal Contexts", Interspeech 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import nn

from mvector.config.backbone_options import tdnn_pooling
from mvector.errors import ConfigError
from mvector.models.layers import (
    ConvReluNorm,
    NormKind,
    blank_padding,
    embedding_layers,
    frame_mask,
    require_frames,
)
from mvector.models.pooling import SPEECHBRAIN_ATTENTION, build_pooling

Layout = Literal["mvector", "xvector", "speechbrain"]
KERNELS_AND_DILATIONS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))
LOST_FRAMES = sum(dilation * (kernel - 1) for kernel, dilation in KERNELS_AND_DILATIONS)


class TDNN(nn.Module):
    """Frame features to a speaker embedding, through convolutions over time.

    With 80 bins and the defaults: 2,770,880 parameters; 703 M multiply-adds for 300 frames. But for
    the layout ``speechbrain``, convolutions do not pad: a clip loses 14 frames, so it must have 15.

    The layout ``mvector`` is that of mvector 1.x: attentive pooling, normalised, and a normalised
    embedding. The layout ``xvector`` normalises all five convolutions, without trainable gains,
    and nothing behind the pooling; with ``embd_dim=512`` it is the x-vector of 3D-Speaker
    (``pooling_eps=1e-8``) and of WeSpeaker (``pooling_eps=1e-7, two_embedding_layers=True``).
    The layout ``speechbrain`` is the x-vector of SpeechBrain (``embd_dim=512, pooling_eps=0``):
    clips are mirrored at their ends, for which they must have 4 frames, activations are leaky, and
    all five convolutions are normalised with gains.

    Args:
        pooling_type: ``None`` is ``ASP`` in the layout ``mvector``, else ``TSTP``.
        channels: width of the convolutions, one number or five; ``None`` is 512, or 512 four times
            and then 1500 in the other layouts.
        attention_channels: hidden width of the attention in the pooling.
        layout: ``mvector``, ``xvector`` or ``speechbrain``, see above.
        two_embedding_layers: a ReLU, a normalisation and a second linear layer follow the first.
        pooling_eps: added to the variance under the root of TSTP: 1e-7 in WeSpeaker, 1e-8 in
            3D-Speaker.

    Raises:
        ConfigError: there is no such layout, or ``channels`` is not one number or five.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 192,
        pooling_type: str | None = None,
        channels: int | Sequence[int] | None = None,
        attention_channels: int = 128,
        layout: Layout = "mvector",
        two_embedding_layers: bool = False,
        pooling_eps: float = 1e-7,
    ) -> None:
        super().__init__()
        if layout not in get_args(Layout):
            layouts = ", ".join(get_args(Layout))
            raise ConfigError(f"There is no layout '{layout}'; there are: {layouts}.")
        is_xvector, mirrors = layout != "mvector", layout == "speechbrain"
        if channels is None:
            channels = (512, 512, 512, 512, 1500 if is_xvector else 512)
        widths = (channels,) * 5 if isinstance(channels, int) else tuple(channels)
        if len(widths) != 5:
            raise ConfigError(f"channels of TDNN is one number or five, not {len(widths)}.")
        self.feature_dim = feature_dim
        self.embd_dim = embd_dim
        self.lost_frames = 0 if mirrors else LOST_FRAMES
        self.min_frames = 4 if mirrors else LOST_FRAMES + 1  # 3 frames are mirrored
        norms: list[NormKind] = ["affine", "affine", "affine", "affine", "none"]
        if is_xvector:
            norms = ["affine" if mirrors else "plain"] * 5
        self.frame_layers = nn.ModuleList(
            ConvReluNorm(
                before,
                width,
                kernel,
                dilation,
                bias=True,
                padding_mode="reflect" if mirrors else "none",
                norm=norm,
                negative_slope=0.01 if mirrors else 0.0,
            )
            for before, width, (kernel, dilation), norm in zip(
                (feature_dim, *widths[:4]), widths, KERNELS_AND_DILATIONS, norms, strict=True
            )
        )
        self.pooling = build_pooling(
            tdnn_pooling(pooling_type, layout),
            widths[4],
            eps=pooling_eps,
            std_offset=1e-5 if mirrors else 0.0,
            attention_channels=attention_channels,
            **SPEECHBRAIN_ATTENTION,
        )
        pooled = self.pooling.output_dim
        self.pooling_norm = nn.Identity() if is_xvector else nn.BatchNorm1d(pooled)
        self.embedding = embedding_layers(pooled, embd_dim, two_embedding_layers)
        self.embedding_norm = nn.Identity() if is_xvector else nn.BatchNorm1d(embd_dim)

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``(batch, frames, feature_dim) -> (batch, embd_dim)``, as all backbones."""
        require_frames(num_frames, features.shape[1], self.min_frames)
        x = features.transpose(1, 2)
        mask = None
        if num_frames is not None:
            mask = frame_mask(num_frames, x.shape[2], x.dtype)
            x = blank_padding(x, mask)
        for layer in self.frame_layers:
            # without padding, a clip's valid outputs see its own frames only: the mask can wait
            x = layer(x, None if self.lost_frames else mask)
        if num_frames is not None and self.lost_frames:
            mask = frame_mask(num_frames - self.lost_frames, x.shape[2], x.dtype)
        pooled = self.pooling_norm(self.pooling(x, mask))
        return self.embedding_norm(self.embedding(pooled))
