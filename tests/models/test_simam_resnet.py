"""Weights of SimAM-ResNet's blocks: the published formula, over the frames of each clip."""

from __future__ import annotations

import torch

from mvector.models.simam_resnet import simple_attention


def by_formula(x: torch.Tensor) -> torch.Tensor:
    """The weighted map of one clip, ``(channels, bins, frames)``."""
    rows = []
    for channel in x:
        distances = (channel - channel.mean()) ** 2
        variance = distances.sum() / (channel.numel() - 1)
        rows.append(channel * torch.sigmoid(distances / (4 * (variance + 1e-4)) + 0.5))
    return torch.stack(rows)


def test_cells_are_weighed_by_their_distance_from_the_mean() -> None:
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([by_formula(clip) for clip in x])
    torch.testing.assert_close(simple_attention(x), expected, rtol=0, atol=1e-14)
    mask = (torch.arange(7) < torch.tensor([[7], [4]]))[:, None, None].double()
    found = simple_attention(x, mask)[1, :, :, :4]
    torch.testing.assert_close(found, by_formula(x[1, :, :, :4]), rtol=0, atol=1e-14)


def test_a_single_cell_keeps_a_weight() -> None:
    assert simple_attention(torch.ones(1, 1, 1, 1)).item() == torch.sigmoid(torch.tensor(0.5))
    assert (
        simple_attention(torch.ones(1, 1, 1, 3), torch.tensor([[[[1.0, 0, 0]]]])).isfinite().all()
    )
