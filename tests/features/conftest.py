"""Clips with what breaks a front end: silence, an offset, a fade to the quantum, clicks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

STORED_VALUES = Path(__file__).parent / "stored_values.npz"


@pytest.fixture(scope="session")
def stored() -> dict[str, np.ndarray]:
    """Features of one clip as other programs compute them in float64, every sixth frame."""
    with np.load(STORED_VALUES) as values:
        return dict(values)


@pytest.fixture
def clip() -> torch.Tensor:
    """(1, 9123) float64: noise and a tone about an offset, with silence and a fade-out."""
    random = np.random.default_rng(7)
    time = np.arange(9123) / 16000
    samples = 0.1 * random.standard_normal(9123) + 0.3 * np.sin(2 * np.pi * 440 * time) + 0.01
    samples[3000:4500] = 0.0
    samples[4500:] *= np.logspace(0, -4, 9123 - 4500)
    samples[100] = 1.0
    return torch.from_numpy(samples.astype(np.float32))[None].double()


@pytest.fixture
def ragged() -> tuple[torch.Tensor, torch.Tensor]:
    """Six clips of different lengths and levels; NaN stands behind the end of each."""
    random = np.random.default_rng(8)
    lengths = torch.tensor([6000, 1700, 5999, 4001, 2560, 3333])
    waveforms = torch.from_numpy(random.standard_normal((6, 6000))).float()
    waveforms *= torch.tensor([0.3, 0.1, 1e-4, 0.01, 0.2, 0.1])[:, None]
    waveforms += torch.tensor([0.0, 0.1, 0.0, 0.0, -0.2, 0.0])[:, None]
    waveforms *= torch.logspace(0, -3, 6000)
    for row, length in zip(waveforms, lengths, strict=True):
        row[length:] = torch.nan
    return waveforms, lengths
