"""Distillation: what another model found in the clips of a batch, alike or in its very space."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mvector.compute.precision import at_least_float32
from mvector.losses.base import cosines_among


def similarity_loss(embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean squared difference between the cosines of two models, over all pairs of a batch.

    The two spaces may differ in size and in where things lie: only what is alike counts. Tung &
    Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019; here on cosines and without a
    clip's likeness to itself, which says nothing. In float32, also under autocast.

    Args:
        embeddings: ``(batch, embd_dim)`` of the student; two clips at least.
        targets: ``(batch, D)`` of the teacher, for the same clips; they get no gradient. A clip
            whose target is zero has none, and adds nothing.

    Returns:
        A scalar between 0 and 4.
    """
    batch = len(embeddings)
    difference = cosines_among(embeddings) - cosines_among(targets.detach())
    squares = difference.square().fill_diagonal_(0.0)
    known = targets.any(dim=1)
    return (squares * known * known.unsqueeze(1)).sum() / (batch * (batch - 1))


def embedding_loss(embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """One minus the mean cosine of each clip's embedding by two models, in one space.

    What a clip of its own teaches is all of the teacher's embedding, where similarities tell
    about it as much as the batch has clips. In float32, also under autocast.

    Args:
        embeddings: ``(batch, D)`` of the student.
        targets: ``(batch, D)`` of the teacher, for the same clips; they get no gradient. A clip
            whose target is zero has none, and adds nothing.

    Returns:
        A scalar between 0 and 2.
    """
    student, teacher = at_least_float32(embeddings), at_least_float32(targets.detach())
    unlike = 1.0 - F.cosine_similarity(student, teacher)
    return (unlike * teacher.any(dim=1)).mean()
