"""ReDimNet: stages that see the features as an image, and between them as a sequence.

Yakovlev, Makarov, Balykin, Malov, Okhotnikov, Torgashov, "Reshape Dimensions Network for Speaker
Recognition", Interspeech 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mvector.config.backbone_options import ReDimBlock, ReDimSize
from mvector.models.pooling import build_pooling
from mvector.models.redimnet_body import ReDimBody, StageForm, form_of

Stage = tuple[int, int, int, int | None]


@dataclass(frozen=True)
class ReDimForm:
    """The arguments of :class:`ReDimNet` that its size decides."""

    channels: int
    block: ReDimBlock
    group_divisor: int
    stages: Sequence[Stage]


_B4_STAGES = (
    (1, 4, 2, 48),
    (2, 4, 2, 48),
    (1, 6, 2, 48),
    (2, 6, 1, 32),
    (1, 8, 1, 24),
    (2, 4, 1, 16),
)
SIZES = {
    "B0": ReDimForm(
        10,
        "basic_resnet",
        1,
        ((1, 2, 1, 30), (2, 3, 2, 30), (1, 3, 3, 30), (2, 4, 2, 10), (1, 3, 1, 10)),
    ),
    "B1": ReDimForm(
        12,
        "convnext_like",
        8,
        ((1, 2, 1, None), (2, 3, 1, None), (3, 4, 1, 12), (2, 5, 1, 12), (2, 3, 1, 8)),
    ),
    "B2": ReDimForm(
        16,
        "convnext_like",
        4,
        ((1, 2, 1, 12), (2, 2, 1, 12), (1, 3, 1, 12), (2, 4, 1, 8), (1, 4, 1, 8), (2, 4, 1, 4)),
    ),
    "B3": ReDimForm(
        16,
        "basic_resnet_fwse",
        1,
        (
            (1, 6, 4, 32),
            (2, 6, 2, 32),
            (1, 8, 2, 32),
            (2, 10, 2, 16),
            (1, 10, 1, 16),
            (2, 8, 1, 16),
        ),
    ),
    "B4": ReDimForm(32, "basic_resnet_fwse", 1, _B4_STAGES),
    "B5": ReDimForm(32, "basic_resnet_fwse", 16, _B4_STAGES),
    "B6": ReDimForm(
        32,
        "basic_resnet",
        32,
        ((1, 4, 4, 32), (2, 6, 2, 32), (1, 6, 2, 24), (3, 8, 1, 24), (1, 8, 1, 16), (2, 8, 1, 16)),
    ),
}


class ReDimNet(nn.Module):
    """Frame features to a speaker embedding, through stages that keep the number of frames.

    With 72 bins and the defaults: 4,892,849 parameters; 2.19 G multiply-adds for 300 frames.

    Args:
        size: ``B0`` to ``B6``, the sizes of WeSpeaker's recipes; decides which channels, blocks and
            stages there are, where these are ``None``.
        channels: of the stem; a stage has as many more as it has fewer bins.
        block: what stages are made of: ``convnext_like``, ``basic_resnet``, or
            ``basic_resnet_fwse``, which weighs bins.
        group_divisor: convolutions have so many times fewer groups than channels.
        stages: of each stage the stride in bins, the number of blocks, by how much the blocks are
            wider than the stage, and by how much its sequence is narrowed where it looks at the
            whole clip; ``None``: it does not look.
        global_context: the attention in the pooling sees the clip's mean and deviation.
        pooling_norm: batch normalisation behind the pooling; WeSpeaker's models have none.
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
        block: ReDimBlock | None = None,
        group_divisor: int | None = None,
        stages: Sequence[Stage] | None = None,
        global_context: bool = True,
        pooling_norm: bool = True,
        attention_channels: int = 128,
    ) -> None:
        super().__init__()
        form = form_of(
            "ReDimNet",
            SIZES,
            size,
            channels=channels,
            block=block,
            group_divisor=group_divisor,
            stages=stages,
        )
        self.feature_dim, self.embd_dim = feature_dim, embd_dim
        forms = [StageForm(stage[0], 1, *stage[1:]) for stage in form.stages]
        self.body = ReDimBody(feature_dim, form.channels, forms, form.block, form.group_divisor)
        self.pooling = build_pooling(
            pooling_type,
            self.body.num_rows,
            attention_channels=attention_channels,
            global_context=global_context,
            unbiased_context=True,
            variance_floor=1e-7,
        )
        pooled = self.pooling.output_dim
        self.pooling_norm = nn.BatchNorm1d(pooled) if pooling_norm else nn.Identity()
        self.embedding = nn.Linear(pooled, embd_dim)

    def forward(
        self, features: torch.Tensor, num_frames: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``(batch, frames, feature_dim) -> (batch, embd_dim)``, as all backbones."""
        pooled = self.pooling(*self.body(features, num_frames))
        return self.embedding(self.pooling_norm(pooled))
