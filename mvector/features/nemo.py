"""Fbank with the numbers of NeMo's preprocessor for speaker models."""

from __future__ import annotations

import torch
from torch import Tensor

from mvector.features.filters import (
    band_powers,
    bank_without_gaps,
    hz_mel_bank,
    kaldi_window,
    repeat_for_squares,
    zero_pad_window,
)
from mvector.features.framing import (
    map_frames,
    mean_over_frames,
    pad_ends,
    zero_invalid_frames_,
)
from mvector.features.transform import (
    FeatureTransform,
    NumSamples,
    require_mel_bank,
    require_numbers,
    require_positive_int,
    require_window,
)

LOG_OFFSET = 2.0**-24
STD_OFFSET = 1e-5


class NemoFbank(FeatureTransform):
    """Logarithms of mel bands, brought to mean 0 and deviation 1 for each clip and band.

    The clip is emphasised as a whole and continued by zeros; windows are Hann's, bands Slaney's.
    The normalisation is part of it: ``normalize_mean`` and ``normalize_variance`` stay off.

    Args:
        sample_rate: rate of the waveforms in Hz.
        n_mels: number of bands.
        n_fft: samples of a spectrum.
        win_length: length of the window in samples.
        hop_length: from one frame to the next, in samples.
        f_min, f_max: where the first band starts and the last one ends, in Hz; ``None`` is half of
            the rate.
        preemphasis: share of the sample before that is subtracted from each; 0 for none.

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
        n_fft: int = 512,
        win_length: int = 400,
        hop_length: int = 160,
        f_min: float = 0.0,
        f_max: float | None = None,
        preemphasis: float = 0.97,
    ) -> None:
        super().__init__()
        require_positive_int(sample_rate=sample_rate)
        f_max = sample_rate / 2 if f_max is None else f_max
        require_mel_bank(
            sample_rate=sample_rate, n_mels=n_mels, n_fft=n_fft, f_min=f_min, f_max=f_max
        )
        require_window(win_length=win_length, hop_length=hop_length, n_fft=n_fft)
        require_numbers(preemphasis=preemphasis)
        self.sample_rate, self.feature_dim = sample_rate, n_mels
        self.n_fft, self.hop_length, self.preemphasis = n_fft, hop_length, preemphasis
        self.min_samples = 2 * hop_length  # two frames have a deviation
        window = kaldi_window("hanning", win_length, 0.42)
        self._set_constant("window", zero_pad_window(window, n_fft))
        bank = bank_without_gaps(
            lambda count: hz_mel_bank(
                n_fft // 2 + 1, count, sample_rate, f_min, f_max, norm="slaney", mel_scale="slaney"
            ),
            n_mels,
            n_fft=n_fft,
        )
        self._set_constant("mel_bank", repeat_for_squares(bank))

    def num_frames(self, num_samples: NumSamples) -> NumSamples:
        return num_samples // self.hop_length

    def emphasise(self, waveforms: Tensor) -> Tensor:
        """Each sample without a share of the one before it; the first as it is."""
        before = torch.cat([torch.zeros_like(waveforms[:, :1]), waveforms[:, :-1]], dim=1)
        return torch.sub(waveforms, before, alpha=self.preemphasis)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        half = self.n_fft // 2
        padded = pad_ends(self.emphasise(waveforms), lengths, half, half, "constant")
        levels = map_frames(self._levels, padded, self.n_fft, self.hop_length)
        levels = levels[:, : self.num_frames(waveforms.shape[1])]
        if lengths is None:
            lengths = torch.full_like(waveforms[:, 0], waveforms.shape[1], dtype=torch.int64)
        num_frames = self.num_frames(lengths).clamp(min=0)
        levels = zero_invalid_frames_(levels, num_frames)
        centred = zero_invalid_frames_(levels - mean_over_frames(levels, num_frames), num_frames)
        unbiased = (num_frames / (num_frames - 1).clamp(min=1)).to(levels.dtype)[:, None, None]
        variance = mean_over_frames(centred.square(), num_frames) * unbiased
        return centred / (variance.sqrt() + STD_OFFSET)

    def _levels(self, frames: Tensor) -> Tensor:
        return band_powers(frames, self.window, self.mel_bank).add_(LOG_OFFSET).log_()
