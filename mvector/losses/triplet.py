"""Triplet loss on embeddings, which needs no classifier."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mvector.losses.base import SpeakerLoss, cosines_among


class TripletAngularMarginLoss(SpeakerLoss):
    """Triplet loss on cosines between the clips of a batch, with the hardest of each kind.

    For each clip, the farthest clip of its speaker must be nearer than the nearest clip of any
    other: max(0, nearest_other - farthest_own + margin), these being cosines. With
    ``add_absolute`` each must also keep to a bound of its own: max(0, ap_value - farthest_own) and
    max(0, nearest_other - an_value). Clips that are alone of their speaker, or whose batch holds no
    other, are left out. Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person
    Re-Identification", 2017; cosines and bounds as in PaddleClas's PP-ShiTuV2, 2022.

    Batches must hold several clips of each of several speakers, see
    :class:`mvector.data.batch_plans.SpeakerBatches`.

    Args:
        margin: a difference of cosines.
        add_absolute: bound the cosines themselves as well.
        absolute_loss_weight: weight of these bounds.
        ap_value: what the cosine to a clip of the same speaker should be at least.
        an_value: what the cosine to a clip of another speaker should be at most.
    """

    needs_embeddings = True

    def __init__(
        self,
        *,
        margin: float = 0.5,
        add_absolute: bool = True,
        absolute_loss_weight: float = 1.0,
        ap_value: float = 0.8,
        an_value: float = 0.4,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.add_absolute = add_absolute
        self.absolute_loss_weight = absolute_loss_weight
        self.ap_value = ap_value
        self.an_value = an_value

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of ``embeddings (batch, embd_dim)`` for ``labels (batch,)``."""
        cosine = cosines_among(embeddings)
        same = labels.unsqueeze(1) == labels
        own = same ^ torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        farthest_own = cosine.masked_fill(~own, float("inf")).amin(dim=1)
        nearest_other = cosine.masked_fill(same, float("-inf")).amax(dim=1)
        losses = F.relu(nearest_other - farthest_own + self.margin)
        if self.add_absolute:
            bounds = F.relu(self.ap_value - farthest_own) + F.relu(nearest_other - self.an_value)
            losses = losses + self.absolute_loss_weight * bounds
        usable = own.any(dim=1) & ~same.all(dim=1)
        return losses.masked_fill(~usable, 0.0).sum() / usable.sum().clamp(min=1)

    def count_correct(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """How many clips have a clip of their own speaker as the nearest one in the batch."""
        nearest = cosines_among(outputs).fill_diagonal_(float("-inf")).argmax(dim=1)
        return (labels[nearest] == labels).sum()
