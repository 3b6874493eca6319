"""The layers between embedding and logits; used in training only and not part of a saved model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class SpeakerClassifier(nn.Module):
    """Embedding to one logit per training speaker.

    Args:
        embd_dim: size of the embedding.
        num_speakers: classes.
        classifier_type: ``Cosine`` (logits are cosines between embedding and class vector, for the
            margin losses) or ``Linear`` (for plain cross-entropy).
        num_blocks: dense layers with batch normalisation before the last one.
        inter_dim: their width.
    """

    def __init__(
        self,
        embd_dim: int,
        num_speakers: int,
        *,
        classifier_type: str = "Cosine",
        num_blocks: int = 0,
        inter_dim: int = 512,
    ) -> None:
        super().__init__()
        if classifier_type not in ("Cosine", "Linear"):
            raise ValueError(f"classifier_type is '{classifier_type}', not Cosine or Linear")
        layers: list[nn.Module] = []
        width = embd_dim
        for _ in range(num_blocks):
            layers += [nn.Linear(width, inter_dim), nn.BatchNorm1d(inter_dim)]
            width = inter_dim
        self.blocks = nn.Sequential(*layers)
        self.cosine = classifier_type == "Cosine"
        self.weight = nn.Parameter(torch.empty(num_speakers, width))
        nn.init.xavier_uniform_(self.weight)
        self.bias = None if self.cosine else nn.Parameter(torch.zeros(num_speakers))

    def forward(self, embeddings: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """``(batch, embd_dim) -> (batch, num_speakers)``, or of the speakers ``rows`` alone."""
        x = self.blocks(embeddings)
        weight: torch.Tensor = self.weight
        bias: torch.Tensor | None = self.bias
        if rows is not None:
            weight, bias = weight[rows], None if bias is None else bias[rows]
        if self.cosine:
            return F.linear(F.normalize(x), F.normalize(weight))
        return F.linear(x, weight, bias)
