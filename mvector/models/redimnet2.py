"""ReDimNet2: ReDimNet with strides in time, so that stages may be wider.

"ReDimNet2: Scaling Speaker Verification via Time-Pooled Dimension Reshaping", submitted to
Interspeech 2026; published by Palabra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mvector.config.backbone_options import ReDimBlock, ReDimSize
from mvector.models.pooling import build_pooling
from mvector.models.redimnet_body import ReDimBody, StageForm, form_of
from mvector.models.redimnet_layers import map_of_rows

Stage = tuple[int, int, int, float, int | None]


@dataclass(frozen=True)
class ReDim2Form:
    """The arguments of :class:`ReDimNet2` that its size decides."""

    channels: int
    out_channels: int  # 0: no convolution in front of the pooling
    stages: Sequence[Stage]


def _stages(expansions: Sequence[float], reductions: Sequence[int]) -> Sequence[Stage]:
    """The strides and depths that most sizes have."""
    strides = ((1, 1, 2), (2, 1, 3), (1, 2, 4), (2, 1, 5), (1, 2, 4), (2, 1, 3))
    widths = zip(expansions, reductions, strict=True)
    return [(*stride, *width) for stride, width in zip(strides, widths, strict=True)]


_WIDER_LATE, _EVEN = (2, 1, 1, 1, 1, 1), (4, 3, 2, 1, 1, 1)
SIZES = {
    "B0": ReDim2Form(12, 64, _stages(_WIDER_LATE, (36, 36, 36, 36, 18, 18))),
    "B1": ReDim2Form(16, 0, _stages(_WIDER_LATE, (32, 32, 32, 32, 16, 16))),
    "B2": ReDim2Form(
        20,
        0,
        (
            (1, 1, 2, 2, 40),
            (2, 1, 3, 1, 30),
            (1, 2, 4, 1, 30),
            (3, 1, 5, 1, 20),
            (1, 2, 4, 1, 20),
            (2, 1, 3, 1, 10),
        ),
    ),
    "B3": ReDim2Form(24, 0, _stages(_EVEN, (24, 24, 24, 24, 24, 24))),
    "B4": ReDim2Form(32, 0, _stages(_EVEN, (24, 24, 24, 24, 24, 24))),
    "B5": ReDim2Form(48, 256, _stages(_EVEN, (48, 48, 48, 48, 32, 32))),
    "B6": ReDim2Form(
        64,
        224,
        (
            (1, 1, 3, 3, 64),
            (2, 1, 4, 2, 64),
            (1, 2, 5, 2, 48),
            (2, 1, 5, 1, 48),
            (1, 2, 4, 0.75, 32),
            (2, 1, 3, 0.5, 24),
        ),
    ),
}


class ReDimNet2(nn.Module):
    """Frame features to a speaker embedding, through stages that see fewer and fewer frames.

    With 72 bins and the defaults: 3,677,760 parameters; 1.31 G multiply-adds for 300 frames. Frames
    beyond a multiple of the strides in time, 4 in all sizes, are not heard.

    Args:
        size: ``B0`` to ``B6`` decides how many channels there are, and which stages, where these
            are ``None``. Sizes of published files that could not be looked into, found by their
            numbers of parameters.
        channels: of the stem; a stage has as many more as it has fewer bins.
        block: what stages are made of: ``convnext_like``, ``basic_resnet``, or
            ``basic_resnet_fwse``, which weighs bins.
        group_divisor: convolutions have so many times fewer groups than channels.
        stages: of each stage the stride in bins and the one in time, the number of blocks, by how
            much the blocks are wider than the stage, and by how much its sequence is narrowed where
            it looks at the whole clip; ``None``: it does not look.
        out_channels: of a convolution in front of the pooling; 0 for none.
        output_2d: that convolution, and the pooling, see the result as a map.
        group_norm: group normalisation of the stem and of each stage.
        global_context: the attention in the pooling sees the clip's mean and deviation.
        attention_channels: hidden width of the attention in the pooling.

    Raises:
        ConfigError: there is no such size, or a width does not divide into its groups.
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        embd_dim: int = 192,
        pooling_type: str = "ASP",
        size: ReDimSize = "B2",
        channels: int | None = None,
        block: ReDimBlock = "basic_resnet",
        group_divisor: int = 1,
        stages: Sequence[Stage] | None = None,
        out_channels: int | None = None,
        output_2d: bool = True,
        group_norm: bool = False,
        global_context: bool = True,
        attention_channels: int = 128,
    ) -> None:
        super().__init__()
        form = form_of(
            "ReDimNet2",
            SIZES,
            size,
            channels=channels,
            stages=stages,
            out_channels=out_channels,
        )
        self.feature_dim, self.embd_dim = feature_dim, embd_dim
        self.body = ReDimBody(
            feature_dim,
            form.channels,
            [StageForm(*stage) for stage in form.stages],
            block,
            group_divisor,
            second=True,
            group_norm=group_norm,
        )
        self.min_frames = self.body.time_stride
        self.output_2d = output_2d
        self.head: nn.Module
        rows = self.body.num_rows
        if not form.out_channels:
            self.head = nn.Identity()
        elif output_2d:
            self.head = nn.Conv2d(self.body.channels, form.out_channels, kernel_size=1)
            rows = form.out_channels * self.body.bins
        else:
            self.head = nn.Conv1d(rows, form.out_channels, kernel_size=1)
            rows = form.out_channels
        self.pooling = build_pooling(
            pooling_type,
            rows,
            attention_channels=attention_channels,
            global_context=global_context,
            unbiased_context=True,
            variance_floor=1e-7,
        )
        self.pooling_norm = nn.BatchNorm1d(self.pooling.output_dim)
        self.embedding = nn.Linear(self.pooling.output_dim, embd_dim)

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``(batch, frames, feature_dim) -> (batch, embd_dim)``, as all backbones."""
        x, mask = self.body(features, num_frames)
        if self.output_2d:
            x = self.head(map_of_rows(x, self.body.channels)).flatten(1, 2)
        else:
            x = self.head(x)
        return self.embedding(self.pooling_norm(self.pooling(x, mask)))
