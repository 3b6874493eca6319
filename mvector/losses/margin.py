"""Softmax losses on the classifier's logits, and how their margin grows during training."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from mvector.compute.precision import at_least_float32
from mvector.losses.base import SpeakerLoss, cosine_of_sum, margin_softmax


class CELoss(SpeakerLoss):
    """Softmax cross-entropy on the logits as they are.

    Args:
        label_smoothing: share of the target probability spread over all classes.
    """

    classifier_type = "Linear"

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of ``logits (batch, classes)`` for ``labels (batch,)``."""
        logits = at_least_float32(logits)
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)


class AAMLoss(SpeakerLoss):
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
        cosine = at_least_float32(logits)
        target = cosine.gather(1, labels.unsqueeze(1))
        return margin_softmax(
            cosine,
            labels,
            add_angular_margin(target, self.margin, easy_margin=self.easy_margin),
            scale=self.scale,
            label_smoothing=self.label_smoothing,
        )


class AMLoss(SpeakerLoss):
    """Additive margin softmax (CosFace): the target's cosine is lowered by the margin.

    Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018; Wang,
    Cheng, Liu, Liu, "Additive Margin Softmax for Face Verification", 2018.

    Args:
        margin: a difference of cosines.
        scale: factor on the cosines.
        label_smoothing: share of the target probability spread over all classes.
    """

    def __init__(
        self, *, margin: float = 0.2, scale: float = 32.0, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of cosines ``logits (batch, classes)`` for ``labels (batch,)``."""
        cosine = at_least_float32(logits)
        return margin_softmax(
            cosine,
            labels,
            cosine.gather(1, labels.unsqueeze(1)) - self.margin,
            scale=self.scale,
            label_smoothing=self.label_smoothing,
        )


class ARMLoss(SpeakerLoss):
    """Real additive margin softmax: only speakers within the margin of the target push it away.

    The loss is log(1 + sum of exp(max(0, scale * (cos(j) - cos(target) + margin)))) over all other
    speakers j. Where all are farther than the margin it rests at the logarithm of the number of
    classes, without gradient. Li, Nai, Wang, "Real Additive Margin Softmax for Speaker
    Verification", ICASSP 2022.

    Args:
        margin: a difference of cosines.
        scale: factor on the cosines.
        label_smoothing: share of the target probability spread over all classes.
    """

    def __init__(
        self, *, margin: float = 0.2, scale: float = 32.0, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of cosines ``logits (batch, classes)`` for ``labels (batch,)``."""
        cosine = at_least_float32(logits)
        column = labels.unsqueeze(1)
        lead = cosine - (cosine.gather(1, column) - self.margin)
        scores = (self.scale * lead).scatter_(1, column, 0.0).relu_()
        return F.cross_entropy(scores, labels, label_smoothing=self.label_smoothing)


def add_angular_margin(cosine: torch.Tensor, margin: float, *, easy_margin: bool) -> torch.Tensor:
    """``cos(t + margin)`` from ``cos(t)``, falling ever further with t; see :class:`AAMLoss`."""
    rotated = cosine_of_sum(cosine, margin)
    if easy_margin:
        return torch.where(cosine > 0, rotated, cosine)
    last_angle = math.pi - margin
    continued = cosine - margin * math.sin(last_angle)
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
