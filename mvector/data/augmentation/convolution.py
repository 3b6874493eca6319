"""Convolution of a crop with a long filter.

A real signal travels as a complex one of half the length, its even samples as the real parts and
its odd ones as the imaginary parts, which costs no pass over memory; behind the transform the
filter works on the spectrum and on its mirror image. Complex transforms are what FFT libraries are
fastest at: with torch's (MKL on x86) this takes a third of the time of the real transforms of
scipy or torch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from mvector.compute.threads import single_threaded

_STEP = 4000


class PackedFilter(NamedTuple):
    """Factors ``(size,)`` complex64 of a packed spectrum and of its mirror image."""

    straight: np.ndarray
    mirrored: np.ndarray


@single_threaded()
def pack_filter(taps: np.ndarray, num_samples: int) -> PackedFilter:
    """Make a filter ready for :func:`convolve`, for waveforms of up to ``num_samples``."""
    size = fast_size(-(-(num_samples + len(taps) - 1) // 2))
    spectrum = torch.fft.fft(_packed(taps, size)).numpy()
    mirror = _mirror_image(spectrum)
    # With E and O the transforms of the even and the odd taps, and W the delay by one sample: the
    # even samples of a product are E e + W O o and its odd ones E o + O e. Here E and jO are half
    # the sum and half the difference of the spectrum and its mirror image.
    delay = np.exp(-2j * np.pi * np.arange(size) / size).astype(np.complex64)
    odd = (spectrum - mirror) / 4
    return PackedFilter((spectrum + mirror) / 2 + odd * (1 - delay), odd * (1 + delay))


@single_threaded()
def convolve(waveform: np.ndarray, packed: PackedFilter, delay: int) -> np.ndarray:
    """Samples ``delay`` to ``delay + len(waveform)`` of waveform * filter, as float32.

    The waveform is at most as long as the filter was packed for, and ``delay`` lies within the
    filter. Rounding errors are near 3e-7 of the peak.
    """
    spectrum = torch.fft.fft(_packed(waveform, len(packed.straight)))
    _multiply(spectrum.numpy(), packed)
    result = torch.fft.ifft(spectrum).numpy().view(np.float32)
    return result[delay : delay + len(waveform)]


def _multiply(spectrum: np.ndarray, packed: PackedFilter) -> None:
    mirror = _mirror_image(spectrum)
    mirror *= packed.mirrored
    spectrum *= packed.straight
    spectrum += mirror


def _packed(signal: np.ndarray, size: int) -> torch.Tensor:
    packed = torch.empty(size, dtype=torch.complex64)
    samples = packed.numpy().view(np.float32)
    samples[: len(signal)] = signal
    samples[len(signal) :] = 0.0
    return packed


def _mirror_image(spectrum: np.ndarray) -> np.ndarray:
    """Element ``-k`` conjugated in place of element ``k``."""
    mirror = np.empty_like(spectrum)
    mirror[0] = spectrum[0]
    mirror[1:] = spectrum[:0:-1]
    return np.conjugate(mirror, out=mirror)


def rounded_length(num_samples: int) -> int:
    """A length up to which waveforms can share a filter: the next multiple of 4000."""
    return -(-num_samples // _STEP) * _STEP


def fast_size(needed: int) -> int:
    """The smallest ``2^a 3^b 5^c`` from ``needed`` on, with a from 7 to 9 and b up to 2.

    Such sizes are fast in every library. With more factors of 2, MKL takes five times as long, and
    with fewer, or with more factors of 3, up to twice.
    """
    best = 0
    for base in (2**twos * 3**threes for twos in (7, 8, 9) for threes in (0, 1, 2)):
        size = base
        while size < needed:
            size *= 5
        best = min(best or size, size)
    return best
