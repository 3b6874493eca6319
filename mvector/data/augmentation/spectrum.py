"""Gains on the spectrum of a whole crop: filters that cost one transform there and one back."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from mvector.compute.threads import single_threaded
from mvector.data.augmentation.convolution import fast_size, rounded_length

_MARGIN = 2000  # samples behind a crop, for a filter's echo to die away in


@lru_cache(maxsize=16)
def bins_hz(num_samples: int, sample_rate: int) -> np.ndarray:
    """Frequencies in Hz of the gains that :func:`scale_spectrum` takes for so many samples."""
    size = _size(num_samples)
    frequencies = np.arange(size // 2 + 1) * (sample_rate / size)
    frequencies.setflags(write=False)
    return frequencies


@single_threaded()
def scale_spectrum(waveform: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Multiply each frequency of ``(samples,)`` by a real gain: samples stay in their places.

    Args:
        waveform: ``(samples,)`` float32.
        gains: float32, one for each frequency of :func:`bins_hz`; smooth, so that its impulse
            response is shorter than 1000 samples on either side.
    """
    size = _size(len(waveform))
    padded = torch.zeros(size)
    padded.numpy()[: len(waveform)] = waveform
    spectrum = torch.fft.rfft(padded)
    spectrum *= torch.from_numpy(gains)
    return torch.fft.irfft(spectrum, n=size).numpy()[: len(waveform)]


def _size(num_samples: int) -> int:
    return fast_size(rounded_length(num_samples) + _MARGIN)
