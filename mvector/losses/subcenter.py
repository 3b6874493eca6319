"""Angular margin softmax with several centres for each speaker."""

from __future__ import annotations

import torch

from mvector.compute.precision import at_least_float32
from mvector.losses.base import cosine_of_clipped_sum
from mvector.losses.margin import AAMLoss


class SubCenterLoss(AAMLoss):
    """Additive angular margin softmax on the best of each speaker's centres.

    Clips that do not fit a speaker's main centre (noise, wrong labels, other channels) gather at
    another one and do less harm. Deng, Guo, Liu, Gong, Zafeiriou, "Sub-center ArcFace: Boosting
    Face Recognition by Large-Scale Noisy Web Faces", ECCV 2020.

    With ``k_top``, as many speakers as that, those nearest to the clip beside its own, are moved
    nearer by the angle ``mp``: Zhao, Ma, Liu, Xu, "Multi-Query Multi-Head Attention Pooling and
    Inter-TopK Penalty for Speaker Verification", ICASSP 2022, with 5 speakers and 0.06.

    Args:
        num_centers: centres for each speaker; the logits of a speaker stand side by side.
        k_top: speakers to move nearer; 0 for none.
        mp: by how much, in radians.
        others: see :class:`mvector.losses.margin.AAMLoss`.
    """

    def __init__(
        self,
        *,
        margin: float = 0.2,
        scale: float = 32.0,
        easy_margin: bool = False,
        num_centers: int = 3,
        k_top: int = 0,
        mp: float = 0.06,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            margin=margin, scale=scale, easy_margin=easy_margin, label_smoothing=label_smoothing
        )
        self.num_centers = num_centers
        self.k_top = k_top
        self.mp = mp

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of ``logits (batch, speakers * num_centers)`` for ``labels (batch,)``."""
        centers = at_least_float32(logits).unflatten(1, (-1, self.num_centers))
        cosine = centers.max(dim=2).values
        if self.k_top:
            cosine = self._inter_topk_penalty(cosine, labels)
        return super().forward(cosine, labels)

    def _inter_topk_penalty(self, cosine: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        others = cosine.detach().scatter(1, labels.unsqueeze(1), float("-inf"))
        rivals = others.topk(min(self.k_top, cosine.shape[1] - 1)).indices
        nearer = cosine_of_clipped_sum(cosine.gather(1, rivals), -self.mp)
        return cosine.scatter(1, rivals, nearer)
