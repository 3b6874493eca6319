"""Softmax losses on the classifier's logits, and how their margin grows during training."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from mvector.compute.precision import at_least_float32
from mvector.losses.base import SpeakerLoss, cosine_of_sum


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


class MarginLoss(SpeakerLoss):
    """Softmax cross-entropy of scaled cosines, the target's being lowered by a margin first.

    Args:
        margin: a difference of cosines, or in radians where a subclass says so.
        scale: factor on the cosines.
        label_smoothing: share of the target probability spread over all speakers.
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
        target = self.scale * self.with_margin(cosine.gather(1, column))
        scores = (self.scale * cosine).scatter_(1, column, target)
        return F.cross_entropy(scores, labels, label_smoothing=self.label_smoothing)

    def with_margin(self, target: torch.Tensor) -> torch.Tensor:
        """The targets' cosines as they enter the softmax, of any shape."""
        return target - self.margin


class AMLoss(MarginLoss):
    """Additive margin softmax (CosFace); the margin is a difference of cosines.

    Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018; Wang,
    Cheng, Liu, Liu, "Additive Margin Softmax for Face Verification", 2018. Arguments: see
    :class:`MarginLoss`.
    """


class ARMLoss(MarginLoss):
    """Real additive margin softmax: only speakers within the margin of the target push it away.

    The loss is log(1 + sum of exp(max(0, scale * (cos(j) - cos(target) + margin)))) over all other
    speakers j. Where all are farther than the margin it rests at the logarithm of the number of
    classes, without gradient. Li, Nai, Wang, "Real Additive Margin Softmax for Speaker
    Verification", ICASSP 2022. Arguments: see :class:`MarginLoss`.
    """

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of cosines ``logits (batch, classes)`` for ``labels (batch,)``."""
        cosine = at_least_float32(logits)
        column = labels.unsqueeze(1)
        lead = cosine - self.with_margin(cosine.gather(1, column))
        scores = (self.scale * lead).scatter_(1, column, 0.0).relu_()
        return F.cross_entropy(scores, labels, label_smoothing=self.label_smoothing)


class AAMLoss(MarginLoss):
    """Additive angular margin softmax (ArcFace): the target's cos(t) becomes cos(t + margin).

    Where t + margin would pass pi, a linear continuation keeps the loss monotonic; with
    ``easy_margin`` the margin is applied to acute angles only. Deng, Guo, Xue, Zafeiriou, "ArcFace:
    Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019.

    Args:
        margin: in radians.
        easy_margin: leave targets beyond 90 degrees without margin.
        others: see :class:`MarginLoss`.
    """

    def __init__(
        self,
        *,
        margin: float = 0.2,
        scale: float = 32.0,
        easy_margin: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(margin=margin, scale=scale, label_smoothing=label_smoothing)
        self.easy_margin = easy_margin

    def with_margin(self, target: torch.Tensor) -> torch.Tensor:
        """``cos(t + margin)`` from ``cos(t)``, falling ever further with t."""
        rotated = cosine_of_sum(target, self.margin)
        if self.easy_margin:
            return torch.where(target > 0, rotated, target)
        last_angle = math.pi - self.margin
        continued = target - self.margin * math.sin(last_angle)
        return torch.where(target > math.cos(last_angle), rotated, continued)


def scheduled_margin(
    epoch: float,
    *,
    initial_margin: float,
    final_margin: float,
    increase_start_epoch: float,
    fix_epoch: float,
    increase_type: str = "exp",
) -> float:
    """The margin at a point of the training run.

    It holds ``initial_margin`` until ``increase_start_epoch``, rises, and holds ``final_margin``
    from ``fix_epoch`` on. ``exp`` rises steeply first and approaches the end gently
    (1 - 1000^-t, rescaled to end exactly at the final margin); ``linear`` rises evenly.

    Args:
        epoch: epochs done, with fraction.
        initial_margin: in radians, as the final one.
        increase_start_epoch: before ``fix_epoch``.
    """
    if epoch >= fix_epoch:
        return final_margin
    if epoch <= increase_start_epoch:
        return initial_margin
    progress = (epoch - increase_start_epoch) / (fix_epoch - increase_start_epoch)
    if increase_type == "exp":
        progress = (1.0 - 1e-3**progress) / (1.0 - 1e-3)
    return initial_margin + (final_margin - initial_margin) * progress
