"""Windows, mel filter banks and the cosine transform, in float64."""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

logger = logging.getLogger(__name__)

WINDOW_TYPES = ("hamming", "hanning", "povey", "rectangular", "blackman")
MEL_SCALES = ("htk", "slaney")

_SLANEY_BREAK_HZ = 1000.0
_SLANEY_HZ_PER_MEL = 200.0 / 3.0
_SLANEY_LOG_STEP = math.log(6.4) / 27.0


def zero_pad_window(window: Tensor, n_fft: int) -> Tensor:
    """The window in the middle of ``n_fft`` samples, zeros around it."""
    left = (n_fft - len(window)) // 2
    return F.pad(window, (left, n_fft - len(window) - left))


def kaldi_window(window_type: str, num_samples: int, blackman_coeff: float) -> Tensor:
    """Kaldi's symmetric windows; ``povey`` is a Hann window to the power of 0.85."""
    phase = torch.arange(num_samples, dtype=torch.float64) * (2.0 * math.pi / (num_samples - 1))
    if window_type == "rectangular":
        return torch.ones_like(phase)
    if window_type == "hamming":
        return 0.54 - 0.46 * phase.cos()
    if window_type == "blackman":
        return blackman_coeff - 0.5 * phase.cos() + (0.5 - blackman_coeff) * (2.0 * phase).cos()
    hanning = 0.5 - 0.5 * phase.cos()
    return hanning**0.85 if window_type == "povey" else hanning


def hz_to_mel(frequency_hz: Tensor, mel_scale: str) -> Tensor:
    """Frequency on the mel scale of HTK (logarithmic) or of Slaney (linear below 1 kHz)."""
    if mel_scale == "htk":
        return 2595.0 * torch.log10(1.0 + frequency_hz / 700.0)
    linear = frequency_hz / _SLANEY_HZ_PER_MEL
    octaves = (frequency_hz.clamp(min=_SLANEY_BREAK_HZ) / _SLANEY_BREAK_HZ).log()
    above = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL + octaves / _SLANEY_LOG_STEP
    return torch.where(frequency_hz < _SLANEY_BREAK_HZ, linear, above)


def mel_to_hz(mel: Tensor, mel_scale: str) -> Tensor:
    """Inverse of :func:`hz_to_mel`."""
    if mel_scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    break_mel = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL
    above = _SLANEY_BREAK_HZ * ((mel.clamp(min=break_mel) - break_mel) * _SLANEY_LOG_STEP).exp()
    return torch.where(mel < break_mel, mel * _SLANEY_HZ_PER_MEL, above)


def mel_corners(f_min: float, f_max: float, n_mels: int, mel_scale: str) -> Tensor:
    """Corners of ``n_mels`` triangles that are equidistant in mel, ``(n_mels + 2,)`` in Hz."""
    first, last = hz_to_mel(torch.tensor([f_min, f_max], dtype=torch.float64), mel_scale).tolist()
    return mel_to_hz(torch.linspace(first, last, n_mels + 2, dtype=torch.float64), mel_scale)


def hz_mel_bank(
    num_bins: int,
    n_mels: int,
    sample_rate: int,
    f_min: float,
    f_max: float,
    *,
    norm: str | None,
    mel_scale: str,
) -> Tensor:
    """Triangles that are equidistant in mel and straight in Hz, ``(num_bins, n_mels)``.

    Args:
        num_bins: bins of the spectrum, from 0 Hz to the Nyquist frequency.
        f_min, f_max: where the first triangle starts and the last one ends, in Hz; ``f_max`` may
            lie above the Nyquist frequency.
        norm: ``"slaney"`` gives all triangles the same area, ``None`` the same height.
        mel_scale: ``"htk"`` or ``"slaney"``.
    """
    frequencies = torch.linspace(0, sample_rate // 2, num_bins, dtype=torch.float64)
    corners = mel_corners(f_min, f_max, n_mels, mel_scale)
    bank = _triangles(frequencies, corners)
    if norm == "slaney":
        bank *= 2.0 / (corners[2:] - corners[:-2])
    return bank


def kaldi_mel_bank(
    n_fft: int, num_mel_bins: int, sample_rate: float, low_freq: float, high_freq: float
) -> Tensor:
    """Kaldi's triangles, equidistant and straight in mel, ``(n_fft // 2 + 1, num_mel_bins)``.

    The scale is 1127 ln(1 + f / 700). Bands end at the Nyquist frequency at the latest, so the
    bin there never has a weight.
    """
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (sample_rate / n_fft)
    mel = 1127.0 * (1.0 + bins / 700.0).log()
    first, last = (1127.0 * math.log(1.0 + hz / 700.0) for hz in (low_freq, high_freq))
    corners = torch.linspace(first, last, num_mel_bins + 2, dtype=torch.float64)
    return _triangles(mel, corners)


def htk_mel_bank(frequencies: Tensor, n_mels: int, f_min: float, f_max: float) -> Tensor:
    """Triangles equidistant and straight in HTK's mel, ``(len(frequencies), n_mels)``."""
    first, last = hz_to_mel(torch.tensor([f_min, f_max], dtype=torch.float64), "htk").tolist()
    corners = torch.linspace(first, last, n_mels + 2, dtype=torch.float64)
    return _triangles(hz_to_mel(frequencies, "htk"), corners)


def _triangles(points: Tensor, corners: Tensor) -> Tensor:
    """Triangle k over corners k, k + 1, k + 2, read off at the points: (points, corners - 2)."""
    widths = corners.diff()
    points = points.unsqueeze(1)
    rising = (points - corners[:-2]) / widths[:-1]
    falling = (corners[2:] - points) / widths[1:]
    return torch.minimum(rising, falling).clamp(min=0.0)


def bank_without_gaps(
    make_bank: Callable[[int], Tensor],
    num_bands: int,
    *,
    n_fft: int,
    bands: str = "n_mels",
    points: str = "n_fft",
) -> Tensor:
    """A filter bank; a warning says if bands of it lie between two bins of the spectrum.

    Args:
        make_bank: makes ``(bins, bands)`` of a number of bands.
        num_bands: how many are wanted.
        n_fft: points of the spectrum.
        bands: the setting that says how many bands there are.
        points: the setting that makes ``n_fft`` larger.
    """
    bank = make_bank(num_bands)
    if num_empty := _num_empty(bank):
        numbers = range(1, num_bands)
        enough = bisect_left(numbers, True, key=lambda n: _num_empty(make_bank(n)) > 0)
        logger.warning(
            "%d of %d mel bands are always empty, because no bin of a spectrum of %d points falls "
            "into them: set %s to %d or less, or give a larger %s.",
            *(num_empty, num_bands, n_fft, bands, max(enough, 1), points),
        )
    return bank


def _num_empty(bank: Tensor) -> int:
    """Empty bands below the last one that is not: f_max may lie above what there is to hear."""
    is_heard = bank.amax(dim=0) > 0.0
    return int(is_heard.nonzero().max() + 1 - is_heard.sum()) if is_heard.any() else len(is_heard)


def dct_matrix(n_mels: int, n_mfcc: int, norm: str | None) -> Tensor:
    """DCT-II as a matrix ``(n_mels, n_mfcc)``; ``"ortho"`` makes its columns orthonormal."""
    centre = torch.arange(n_mels, dtype=torch.float64).unsqueeze(1) + 0.5
    order = torch.arange(n_mfcc, dtype=torch.float64)
    matrix = 2.0 * torch.cos(centre * order * (math.pi / n_mels))
    if norm == "ortho":
        matrix *= math.sqrt(0.5 / n_mels)
        matrix[:, 0] *= math.sqrt(0.5)
    return matrix


def repeat_for_squares(bank: Tensor) -> Tensor:
    """Each row of a filter bank twice: its product with squares (re, im, re, im, ...) is that of
    the bank with the power spectrum, without a pass to add the squares."""
    return bank.repeat_interleave(2, dim=0)


def interleaved_squares(spectrum: Tensor) -> Tensor:
    """Squares of real and imaginary parts, ``(..., 2 * bins)``; overwrites a complex spectrum."""
    return torch.view_as_real(spectrum).flatten(-2).square_()


def band_powers(frames: Tensor, window: Tensor, bank: Tensor) -> Tensor:
    """Powers of windowed frames in the bands of a bank that :func:`repeat_for_squares` gave."""
    squares = interleaved_squares(torch.fft.rfft(frames * window.to(frames.dtype)))
    return squares @ bank.to(squares.dtype)


def power_spectrum(spectrum: Tensor) -> Tensor:
    """Squared magnitude of a complex spectrum."""
    return torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
