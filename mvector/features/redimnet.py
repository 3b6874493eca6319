"""Fbanks with the numbers of the authors of ReDimNet."""

from __future__ import annotations

import torch
from torch import Tensor

from mvector.features.filters import (
    bank_without_gaps,
    hz_mel_bank,
    interleaved_squares,
    repeat_for_squares,
    zero_pad_window,
)
from mvector.features.framing import map_frames, pad_ends
from mvector.features.transform import (
    FeatureTransform,
    NumSamples,
    require,
    require_bools,
    require_modest_bank,
    require_numbers,
    require_positive_int,
)

_LOG_OFFSET = 1e-6


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
        check_arguments(sample_rate, n_mels, n_fft, win_length, hop_length, f_min, f_max)
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
            bands="n_mels",
            points="n_fft",
        )
        self._set_constant("mel_bank", repeat_for_squares(bank))

    def num_frames(self, num_samples: NumSamples) -> NumSamples:
        return 1 + num_samples // self.hop_length

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.normalize_signal:
            waveforms = standardise(waveforms, lengths, eps=1e-6)
        half = self.n_fft // 2
        emphasised = emphasise(waveforms, self.preemphasis)
        padded = pad_ends(emphasised, lengths, half, half, "reflect")
        return map_frames(self._levels, padded, self.n_fft, self.hop_length)

    def _levels(self, frames: Tensor) -> Tensor:
        squares = interleaved_squares(torch.fft.rfft(frames * self.window.to(frames.dtype)))
        return (squares @ self.mel_bank.to(squares.dtype)).add_(_LOG_OFFSET).log_()


def check_arguments(
    sample_rate: int,
    n_mels: int,
    n_fft: int,
    win_length: int,
    hop_length: int,
    f_min: float,
    f_max: float,
) -> None:
    """Raise ConfigError for an impossible argument of a mel filter bank over windows."""
    require_positive_int(sample_rate=sample_rate, n_mels=n_mels, n_fft=n_fft)
    require_positive_int(win_length=win_length, hop_length=hop_length)
    require_numbers(f_min=f_min, f_max=f_max)
    require(
        1 < win_length <= n_fft,
        f"win_length is {win_length}; it must be between 2 samples and n_fft, {n_fft}.",
    )
    require(n_fft % 2 == 0, f"n_fft is {n_fft}; it must be even.")
    require(
        0.0 <= f_min < f_max <= sample_rate / 2,
        f"f_min is {f_min} and f_max is {f_max}; the bands must lie between 0 and "
        f"{sample_rate / 2:g} Hz, half the sample_rate.",
    )
    require_modest_bank(n_fft // 2 + 1, n_mels)


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
    mean = waveforms.masked_fill(behind, 0.0).sum(dim=1, keepdim=True) / count
    centred = (waveforms - mean).masked_fill_(behind, 0.0)
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return centred / (variance.sqrt() + eps)
