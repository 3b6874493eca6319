"""SphereFace2: one binary decision for each speaker, in place of a softmax over all of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from mvector.compute.precision import at_least_float32
from mvector.errors import ConfigError
from mvector.losses.base import SpeakerLoss, cosine_of_clipped_sum


class SphereFace2(SpeakerLoss):
    """Weighted binary cross-entropy of each speaker's similarity.

    With g(c) = 2 ((c + 1) / 2)^t - 1 and the softplus function s(x) = log(1 + exp(x)), the loss of
    a clip is positive_weight * s(-(scale * p + bias)) for its speaker and
    (1 - positive_weight) * s(scale * n + bias), summed over all others; type C has
    p = g(cos) - margin and n = g(cos) + margin, type A has the cosines of angles moved by the
    margin: p = g(cos(min(angle + margin, pi))) and n = g(cos(max(angle - margin, 0))).

    Wen, Liu, Weller, Raj, Singh, "SphereFace2: Binary Classification is All You Need for Deep Face
    Recognition", ICLR 2022; Han, Chen, Qian, "Exploring Binary Classification Loss for Speaker
    Verification", ICASSP 2023, whose values are the defaults.

    Args:
        margin: a difference of similarities (type C; 0.3 for fine-tuning) or in radians (type A;
            0.15, and 0.25 for fine-tuning).
        scale: factor on the similarities.
        positive_weight: weight of the clip's own speaker, against all others together.
        t: power that spreads the similarities of different speakers, at least 1.
        margin_type: ``C`` or ``A``.

    Raises:
        ConfigError: there is no such margin type.
    """

    def __init__(
        self,
        *,
        margin: float = 0.2,
        scale: float = 32.0,
        positive_weight: float = 0.7,
        t: float = 3.0,
        margin_type: str = "C",
    ) -> None:
        super().__init__()
        if margin_type not in ("A", "C"):
            raise ConfigError(f"SphereFace2 has no margin_type '{margin_type}'; choose A or C.")
        self.margin = margin
        self.scale = scale
        self.positive_weight = positive_weight
        self.t = t
        self.margin_type = margin_type
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of cosines ``logits (batch, classes)`` for ``labels (batch,)``."""
        cosine = at_least_float32(logits)
        column = labels.unsqueeze(1)
        target = self._with_margin(cosine.gather(1, column), self.margin)
        for_target = self.scale * target + self.bias
        for_others = self.scale * self._with_margin(cosine, -self.margin) + self.bias
        against_truth = for_others.scatter(1, column, -for_target)
        losses = F.softplus(against_truth, threshold=40.0)  # above, the difference is below 1e-17
        of_others = 1.0 - self.positive_weight
        of_target = self.positive_weight - of_others  # on top of what it has as one of all
        return (of_others * losses.sum(1) + of_target * losses.gather(1, column).squeeze(1)).mean()

    def _with_margin(self, cosine: torch.Tensor, margin: float) -> torch.Tensor:
        """Similarity, lowered by the margin; raised where that is negative."""
        if self.margin_type == "A":
            return self._similarity(cosine_of_clipped_sum(cosine, margin))
        return self._similarity(cosine) - margin

    def _similarity(self, cosine: torch.Tensor) -> torch.Tensor:
        # rounding may put a cosine below -1, where the power of a negative number has no value
        return 2.0 * ((cosine + 1.0) / 2.0).clamp(min=0.0).pow(self.t) - 1.0
