"""Fbanks with the numbers of the authors of ReDimNet."""

from __future__ import annotations

import torch
from torch import Tensor

from mvector.features.filters import (
    band_powers,
    bank_without_gaps,
    htk_mel_bank,
    hz_mel_bank,
    power_spectrum,
    repeat_for_squares,
    zero_pad_window,
)
from mvector.features.framing import map_frames, pad_ends
from mvector.features.transform import (
    FeatureTransform,
    NumSamples,
    require_bools,
    require_mel_bank,
    require_numbers,
    require_window,
)

LOG_OFFSET = 1e-6
SIGNAL_EPS = 1e-6  # added to the deviation of a clip
LEAST = 1e-8  # power of a bin or band in ReDimNet2Fbank, and what is added to it


class ReDimNetFbank(FeatureTransform):
    """Logarithms of mel bands, as the published ReDimNet computes them of samples in [-1, 1].

    The clip is emphasised as a whole and continued by its mirror image; windows are Hamming's,
    bands HTK's, and 1e-6 is added under the logarithm.

    Args:
        sample_rate: rate of the waveforms in Hz.
        n_mels: number of bands.
        n_fft: samples of a spectrum.
        win_length: length of the window in samples.
        hop_length: from one frame to the next, in samples.
        f_min, f_max: where the first band starts and the last one ends, in Hz.
        preemphasis: share of the sample before that is subtracted from each; 0 for none.
        normalize_signal: subtract each clip's mean and divide by its deviation first.

    Raises:
        ConfigError: an argument has an impossible value.
    """

    window: Tensor
    mel_bank: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_mels: int = 72,
        n_fft: int = 512,
        win_length: int = 400,
        hop_length: int = 160,
        f_min: float = 20.0,
        f_max: float = 7600.0,
        preemphasis: float = 0.97,
        normalize_signal: bool = False,
    ) -> None:
        super().__init__()
        require_mel_bank(
            sample_rate=sample_rate, n_mels=n_mels, n_fft=n_fft, f_min=f_min, f_max=f_max
        )
        require_window(win_length=win_length, hop_length=hop_length, n_fft=n_fft)
        require_numbers(preemphasis=preemphasis)
        require_bools(normalize_signal=normalize_signal)
        self.sample_rate, self.feature_dim = sample_rate, n_mels
        self.n_fft, self.hop_length = n_fft, hop_length
        self.min_samples = n_fft // 2 + 1  # mirrored at both ends
        self.preemphasis, self.normalize_signal = preemphasis, normalize_signal
        window = torch.hamming_window(win_length, dtype=torch.float64)
        self._set_constant("window", zero_pad_window(window, n_fft))
        bank = bank_without_gaps(
            lambda count: hz_mel_bank(
                n_fft // 2 + 1, count, sample_rate, f_min, f_max, norm=None, mel_scale="htk"
            ),
            n_mels,
            n_fft=n_fft,
        )
        self._set_constant("mel_bank", repeat_for_squares(bank))

    def num_frames(self, num_samples: NumSamples) -> NumSamples:
        return 1 + num_samples // self.hop_length

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.normalize_signal:
            waveforms = standardise(waveforms, lengths, eps=SIGNAL_EPS)
        half = self.n_fft // 2
        emphasised = emphasise(waveforms, self.preemphasis)
        padded = pad_ends(emphasised, lengths, half, half, "reflect")
        return map_frames(self._levels, padded, self.n_fft, self.hop_length)

    def _levels(self, frames: Tensor) -> Tensor:
        return band_powers(frames, self.window, self.mel_bank).add_(LOG_OFFSET).log_()


class ReDimNet2Fbank(FeatureTransform):
    """Logarithms of mel bands, as the published ReDimNet2 computes them.

    Clips are brought to mean 0 and deviation 1 and emphasised as a whole, with half a hop of zeros
    at both ends; windows stand at the start of a spectrum, which is used without its last bin. That
    bins are taken for frequencies a little too high, as if the last one were half of the rate, is
    as in the published tables.

    Args:
        sample_rate: rate of the waveforms in Hz.
        n_mels: number of bands.
        n_fft: samples of a spectrum.
        win_length: length of the window in samples.
        hop_length: from one frame to the next, in samples.
        f_min, f_max: where the first band starts and the last one ends, in Hz.
        preemphasis: share of the sample before that is subtracted from each; 0 for none.
        normalize_signal: subtract each clip's mean and divide by its deviation first.

    Raises:
        ConfigError: an argument has an impossible value.
    """

    window: Tensor
    mel_bank: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_mels: int = 72,
        n_fft: int = 512,
        win_length: int = 400,
        hop_length: int = 160,
        f_min: float = 20.0,
        f_max: float = 7600.0,
        preemphasis: float = 0.97,
        normalize_signal: bool = True,
    ) -> None:
        super().__init__()
        require_mel_bank(
            sample_rate=sample_rate, n_mels=n_mels, n_fft=n_fft, f_min=f_min, f_max=f_max
        )
        require_window(win_length=win_length, hop_length=hop_length, n_fft=n_fft)
        require_numbers(preemphasis=preemphasis)
        require_bools(normalize_signal=normalize_signal)
        self.sample_rate, self.feature_dim = sample_rate, n_mels
        self.n_fft, self.win_length, self.hop_length = n_fft, win_length, hop_length
        self.num_edge = hop_length // 2
        self.min_samples = max(2, win_length - 2 * self.num_edge)
        self.preemphasis, self.normalize_signal = preemphasis, normalize_signal
        self._set_constant("window", torch.hamming_window(win_length, False, dtype=torch.float64))
        bank = bank_without_gaps(
            lambda count: _stretched_bank(n_fft // 2, count, sample_rate, f_min, f_max),
            n_mels,
            n_fft=n_fft,
        )
        self._set_constant("mel_bank", bank)

    def num_frames(self, num_samples: NumSamples) -> NumSamples:
        return 1 + (num_samples + 2 * self.num_edge - self.win_length) // self.hop_length

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.normalize_signal:
            waveforms = standardise(waveforms, lengths, eps=LEAST)
        emphasised = emphasise(waveforms, self.preemphasis)
        padded = pad_ends(emphasised, lengths, self.num_edge, self.num_edge, "constant")
        return map_frames(self._levels, padded, self.win_length, self.hop_length)

    def _levels(self, frames: Tensor) -> Tensor:
        spectra = torch.fft.rfft(frames * self.window.to(frames.dtype), n=self.n_fft)
        power = power_spectrum(spectra)[..., :-1].clamp(LEAST, 1.0 / LEAST)
        bands = (power @ self.mel_bank.to(power.dtype)).clamp_(LEAST, 1.0 / LEAST)
        return bands.add_(LEAST).log_()


def _stretched_bank(
    num_bins: int, n_mels: int, sample_rate: int, f_min: float, f_max: float
) -> Tensor:
    """Triangles straight in mel over bins from 0 Hz to half of the rate, none over the first."""
    frequencies = torch.linspace(0, sample_rate // 2, num_bins, dtype=torch.float64)
    bank = htk_mel_bank(frequencies, n_mels, f_min, f_max)
    bank[0] = 0.0
    return bank


def emphasise(waveforms: Tensor, share: float) -> Tensor:
    """Each sample without a share of the one before it; the first has the second before it."""
    before = torch.cat([waveforms[:, 1:2], waveforms[:, :-1]], dim=1)
    return torch.sub(waveforms, before, alpha=share) if share else waveforms


def standardise(waveforms: Tensor, lengths: Tensor | None, eps: float) -> Tensor:
    """Clips without their mean, divided by their (biased) deviation plus ``eps``."""
    if lengths is None:
        lengths = torch.full_like(waveforms[:, 0], waveforms.shape[1], dtype=torch.int64)
    behind = torch.arange(waveforms.shape[1], device=waveforms.device) >= lengths.unsqueeze(1)
    count = lengths.clamp(min=1).unsqueeze(1)
    heard = waveforms.masked_fill(behind, 0.0)
    # summed in float64: bands near the floor would tell in which order numbers were added
    mean = heard.sum(dim=1, keepdim=True, dtype=torch.float64) / count
    centred = (waveforms - mean.to(waveforms.dtype)).masked_fill_(behind, 0.0)
    variance = centred.square().sum(dim=1, keepdim=True, dtype=torch.float64) / count
    return centred / (variance.sqrt() + eps).to(waveforms.dtype)
