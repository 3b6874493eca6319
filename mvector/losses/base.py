"""What all losses share: what the trainer asks of them, and arithmetic on cosines."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from mvector.compute.precision import at_least_float32


class SpeakerLoss(nn.Module):
    """A loss ``loss(outputs, labels) -> scalar``, and what it wants to be given.

    Attributes:
        classifier_type: ``Cosine`` if the logits must be cosines, else ``Linear``.
        num_centers: logits that each speaker has, side by side.
        needs_embeddings: the outputs are embeddings ``(batch, embd_dim)``, and no classifier is
            needed; otherwise they are logits ``(batch, speakers * num_centers)``.
        margin: what a schedule may change during training; 0 in losses that have none.
    """

    classifier_type: str = "Cosine"
    num_centers: int = 1
    needs_embeddings: bool = False
    margin: float = 0.0

    def predict(self, logits: torch.Tensor) -> torch.Tensor:
        """The speaker with the largest logit: ``(batch, logits) -> (batch,)``."""
        return logits.argmax(dim=1) // self.num_centers

    def count_correct(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """How many clips of a batch are classified correctly, as a scalar tensor."""
        return (self.predict(outputs) == labels).sum()


def cosines_among(embeddings: torch.Tensor) -> torch.Tensor:
    """Between all clips of a batch: ``(batch, embd_dim) -> (batch, batch)``, at least float32."""
    with torch.autocast(embeddings.device.type, enabled=False):  # it would multiply in bfloat16
        directions = F.normalize(at_least_float32(embeddings))
        return directions @ directions.T


def cosine_of_sum(cosine: torch.Tensor, angle: float) -> torch.Tensor:
    """``cos(t + angle)`` from ``cos(t)``, t being in [0, pi]; finite gradients at its ends."""
    sine = (1.0 - cosine.square()).clamp(min=1e-7).sqrt()  # floored: its gradient stays finite
    return cosine * math.cos(angle) - sine * math.sin(angle)


def cosine_of_clipped_sum(cosine: torch.Tensor, angle: float) -> torch.Tensor:
    """``cos(t + angle)`` from ``cos(t)``, with the sum clipped to [0, pi]."""
    rotated = cosine_of_sum(cosine, angle)
    if angle < 0:
        return rotated.masked_fill(cosine > math.cos(angle), 1.0)
    return rotated.masked_fill(cosine < -math.cos(angle), -1.0)
