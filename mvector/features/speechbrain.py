"""Fbank with the numbers of SpeechBrain's ``lobes.features.Fbank``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mvector.features.filters import (
    band_powers,
    bank_without_gaps,
    mel_corners,
    repeat_for_squares,
    zero_pad_window,
)
from mvector.features.framing import map_frames, pad_ends
from mvector.features.transform import (
    FeatureTransform,
    NumSamples,
    require,
    require_mel_bank,
    require_numbers,
    require_positive_int,
)

AMIN = 1e-10  # least energy under the logarithm


class SpeechbrainFbank(FeatureTransform):
    """Levels of mel bands in dB, with the arguments of SpeechBrain's ``Fbank``.

    Unlike Kaldi's, frames are centred on clips continued by zeros, nothing is emphasised, filters
    fall as steeply as they rise, and levels far below the clip's loudest one are raised. The
    loudest is sought in each clip by itself.

    Args:
        sample_rate: rate of the waveforms in Hz.
        n_mels: number of bands.
        n_fft: samples of a spectrum.
        win_length: length of the window in milliseconds.
        hop_length: from one frame to the next, in milliseconds.
        f_min: where the first band starts, in Hz.
        f_max: where the last band would end if it fell as slowly as usual, in Hz; ``None`` is half
            of the rate.
        top_db: range of the levels of a clip in dB.

    Raises:
        ConfigError: an argument has an impossible value.
    """

    window: Tensor
    mel_bank: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_mels: int = 80,
        n_fft: int = 400,
        win_length: float = 25.0,
        hop_length: float = 10.0,
        f_min: float = 0.0,
        f_max: float | None = None,
        top_db: float = 80.0,
    ) -> None:
        super().__init__()
        require_positive_int(sample_rate=sample_rate)
        f_max = sample_rate / 2 if f_max is None else f_max
        require_mel_bank(
            sample_rate=sample_rate, n_mels=n_mels, n_fft=n_fft, f_min=f_min, f_max=f_max
        )
        require_numbers(win_length=win_length, hop_length=hop_length, top_db=top_db)
        require(top_db > 0, f"top_db is {top_db}; it must be positive.")
        self.hop_length = round(sample_rate / 1000.0 * hop_length)
        require(
            self.hop_length > 0,
            f"hop_length is {hop_length} ms, less than a sample at {sample_rate} Hz.",
        )
        num_window = round(sample_rate / 1000.0 * win_length)
        require(
            1 < num_window <= n_fft,
            f"win_length is {win_length} ms, {num_window} samples at {sample_rate} Hz; it must be "
            f"between 2 samples and n_fft, {n_fft}.",
        )
        self.sample_rate, self.feature_dim, self.min_samples = sample_rate, n_mels, 1
        self.n_fft, self.top_db = n_fft, top_db
        window = torch.hamming_window(num_window, dtype=torch.float64)
        self._set_constant("window", zero_pad_window(window, n_fft))
        bank = bank_without_gaps(
            lambda count: _mel_bank(n_fft, count, sample_rate, f_min, f_max),
            n_mels,
            n_fft=n_fft,
        )
        self._set_constant("mel_bank", repeat_for_squares(bank))

    def num_frames(self, num_samples: NumSamples) -> NumSamples:
        return 1 + num_samples // self.hop_length

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        half = self.n_fft // 2
        waveforms = pad_ends(waveforms, lengths, half, half, "constant")
        levels = map_frames(self._levels, waveforms, self.n_fft, self.hop_length)
        heard = levels
        if lengths is not None:
            positions = torch.arange(levels.shape[1], device=levels.device)
            behind = positions >= self.num_frames(lengths).unsqueeze(1)
            heard = levels.masked_fill(behind.unsqueeze(2), -math.inf)
        return levels.maximum(heard.amax(dim=(1, 2), keepdim=True) - self.top_db)

    def _levels(self, frames: Tensor) -> Tensor:
        bands = band_powers(frames, self.window, self.mel_bank)
        return bands.clamp_(min=AMIN).log10_().mul_(10.0)


def _mel_bank(n_fft: int, n_mels: int, sample_rate: int, f_min: float, f_max: float) -> Tensor:
    """Triangles that fall as steeply as they rise, straight in Hz: ``(n_fft // 2 + 1, n_mels)``."""
    frequencies = torch.linspace(0, sample_rate // 2, n_fft // 2 + 1, dtype=torch.float64)
    corners = mel_corners(f_min, f_max, n_mels, "htk")
    slopes = (frequencies.unsqueeze(1) - corners[1:-1]) / corners.diff()[:-1]
    return (1.0 - slopes.abs()).clamp(min=0.0)
