"""Losses on the classifier's logits, and how their margin grows during training."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


class CELoss(nn.Module):
    """Softmax cross-entropy on the logits as they are.

    Args:
        label_smoothing: share of the target probability spread over all classes.
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of ``logits (batch, classes)`` for ``labels (batch,)``."""
        return F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)


class AAMLoss(nn.Module):
    """Additive angular margin softmax (ArcFace).

    The target's cosine cos(t) becomes cos(t + margin), then all are scaled. Where t + margin would
    pass pi, a linear continuation keeps the loss monotonic; with ``easy_margin`` the margin is
    applied to acute angles only. Deng, Guo, Xue, Zafeiriou, "ArcFace: Additive Angular Margin Loss
    for Deep Face Recognition", CVPR 2019.

    Args:
        margin: in radians.
        scale: factor on the cosines.
        easy_margin: leave targets beyond 90 degrees without margin.
        label_smoothing: share of the target probability spread over all classes.
    """

    def __init__(
        self,
        *,
        margin: float = 0.2,
        scale: float = 32.0,
        easy_margin: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale
        self.easy_margin = easy_margin
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of cosines ``logits (batch, classes)`` for ``labels (batch,)``."""
        cosine = logits.float()  # near |cos| = 1 the sine needs more digits than bf16 has
        column = labels.unsqueeze(1)
        target = cosine.gather(1, column)
        with_margin = self._add_margin(target)
        scores = self.scale * cosine.scatter(1, column, with_margin)
        return F.cross_entropy(scores, labels, label_smoothing=self.label_smoothing)

    def _add_margin(self, cosine: torch.Tensor) -> torch.Tensor:
        sine = (1.0 - cosine.square()).clamp(min=1e-7).sqrt()  # floored: its gradient stays finite
        rotated = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        if self.easy_margin:
            return torch.where(cosine > 0, rotated, cosine)
        last_angle = math.pi - self.margin
        continued = cosine - self.margin * math.sin(last_angle)
        return torch.where(cosine > math.cos(last_angle), rotated, continued)


def scheduled_margin(
    epoch: float,
    *,
    max_epoch: int,
    initial_margin: float,
    final_margin: float,
    increase_start_epoch: float | None = None,
    fix_epoch: float | None = None,
    increase_type: str = "exp",
) -> float:
    """The margin at a point of the training run.

    It holds ``initial_margin`` until ``increase_start_epoch``, rises, and holds ``final_margin``
    from ``fix_epoch`` on. ``exp`` rises steeply first and approaches the end gently
    (1 - 1000^-t, rescaled to end exactly at the final margin); ``linear`` rises evenly.

    Args:
        epoch: epochs done, with fraction.
        max_epoch: length of the run.
        initial_margin: in radians.
        final_margin: in radians.
        increase_start_epoch: ``None`` is 30 % of ``max_epoch``.
        fix_epoch: ``None`` is 70 % of ``max_epoch``.
        increase_type: ``exp`` or ``linear``.
    """
    start = 0.3 * max_epoch if increase_start_epoch is None else increase_start_epoch
    end = 0.7 * max_epoch if fix_epoch is None else fix_epoch
    if epoch >= end:
        return final_margin
    if epoch <= start:
        return initial_margin
    progress = (epoch - start) / (end - start)
    if increase_type == "exp":
        progress = (1.0 - 1e-3**progress) / (1.0 - 1e-3)
    return initial_margin + (final_margin - initial_margin) * progress
