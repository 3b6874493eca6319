"""A softmax over the speakers of one domain: what a classifier computes of its classes."""

from __future__ import annotations

from typing import NamedTuple

import torch


class DomainShare(NamedTuple):
    """What of a batch is of one domain."""

    rows: torch.Tensor  # of the classifier, those of the domain, (rows,)
    clips: torch.Tensor | None  # positions in the batch, (clips,); None: all of them


class ClassDomains:
    """The classes of each domain, and which domains the batch under way has clips of.

    The softmax of a clip holds only the classes of its domain: what all clips of a corpus or
    channel have in common then tells no speaker from another.

    Args:
        of_class: ``(classes,)`` int64, the domain of each class; -1 for a class that has no clip.
        num_centers: rows of the classifier that each class has, side by side.
        device: where the classifier is.

    Attributes:
        shares: the clips of each domain in the batch, and their classes.
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
        self._device = device
        self.shares = [DomainShare(self._rows[0], None)]

    def enter(self, labels: torch.Tensor) -> None:
        """Take the domains of a batch with ``labels (batch,)``, which are on the CPU."""
        domains = self._of_class[labels]
        present = domains.unique().tolist()
        self.shares = [
            DomainShare(
                self._rows[domain],
                self._sent(torch.nonzero(domains == domain).squeeze(1))
                if len(present) > 1
                else None,
            )
            for domain in present
        ]

    def _sent(self, clips: torch.Tensor) -> torch.Tensor:
        """Positions on the device; a GPU fetches them by itself, from pinned memory."""
        if self._device is not None and self._device.type == "cuda":
            clips = clips.pin_memory()
        return clips.to(self._device, non_blocking=True)

    def among_own(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels ``(batch,)`` counted among the classes of their own domain."""
        return self._places[labels]
