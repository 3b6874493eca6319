"""A softmax over the speakers of one domain: what a classifier computes of its classes."""

from __future__ import annotations

import torch


class ClassDomains:
    """The classes of each domain, and which domain the batch under way is of.

    A batch holds clips of one domain, and its softmax only the classes of that: what all clips of a
    corpus or channel have in common then tells no speaker from another.

    Args:
        of_class: ``(classes,)`` int64, the domain of each class; -1 for a class that has no clip.
        num_centers: rows of the classifier that each class has, side by side.
        device: where the classifier is.

    Attributes:
        rows: of the classifier, those of the batch's domain, ``(rows,)``.
    """

    def __init__(
        self, of_class: torch.Tensor, *, num_centers: int = 1, device: torch.device | None = None
    ) -> None:
        self._of_class = of_class.cpu()  # asked without waiting for a GPU
        places = torch.zeros(len(of_class), dtype=torch.int64)
        self._rows: list[torch.Tensor] = []
        for domain in range(int(of_class.max()) + 1):
            own = torch.nonzero(self._of_class == domain).squeeze(1)
            places[own] = torch.arange(len(own))
            centers = own.unsqueeze(1) * num_centers + torch.arange(num_centers)
            self._rows.append(centers.flatten().to(device))
        self._places = places.to(device)
        self.rows = self._rows[0]

    def enter(self, labels: torch.Tensor) -> None:
        """Take the domain of a batch with ``labels (batch,)``, which are on the CPU."""
        self.rows = self._rows[int(self._of_class[labels[0]])]

    def among_own(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels ``(batch,)`` counted among the classes of their own domain."""
        return self._places[labels]
