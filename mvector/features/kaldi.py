"""Fbank with the numbers of Kaldi's ``compute-fbank-feats``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mvector.features.filters import (
    WINDOW_TYPES,
    bank_without_gaps,
    interleaved_squares,
    kaldi_mel_bank,
    kaldi_window,
    power_spectrum,
    repeat_for_squares,
)
from mvector.features.framing import map_frames, mean_over_frames, pad_ends, zero_invalid_frames_
from mvector.features.transform import (
    FeatureTransform,
    NumSamples,
    require,
    require_bools,
    require_choice,
    require_modest_bank,
    require_numbers,
    require_positive_int,
)

EPSILON = 2.0**-23  # what Kaldi raises energies to under a logarithm, in every precision


class Fbank(FeatureTransform):
    """Log energies in mel bands, with the arguments of ``torchaudio.compliance.kaldi.fbank``.

    Args:
        blackman_coeff: constant of the Blackman window.
        dither: standard deviation of the noise added to each frame, in training mode only:
            in evaluation mode the same clip always has the same features.
        energy_floor: what the frame energy is raised to; 0 for no floor.
        frame_length: in milliseconds.
        frame_shift: in milliseconds.
        high_freq: where the last band ends, in Hz; 0 or less counts from half the rate.
        htk_compat: put the energy column last and not first.
        low_freq: where the first band starts, in Hz.
        min_duration: shortest clip accepted, in seconds.
        num_mel_bins: number of bands.
        preemphasis_coefficient: how much of the previous sample is subtracted.
        raw_energy: take the energy before pre-emphasis and window.
        remove_dc_offset: subtract the mean of each frame.
        round_to_power_of_two: pad frames with zeros to the next power of two.
        sample_frequency: rate of the waveforms in Hz.
        snip_edges: only whole frames; otherwise one frame per shift, mirrored at the ends.
        subtract_mean: subtract the clip's mean of each column.
        use_energy: add a column with the log energy of the frame.
        use_log_fbank: logarithm of the bands.
        use_power: sum squared magnitudes and not magnitudes.
        window_type: hamming, hanning, povey, rectangular or blackman.

    Raises:
        ConfigError: an argument has an impossible value.
    """

    window: Tensor
    mel_bank: Tensor

    def __init__(
        self,
        *,
        blackman_coeff: float = 0.42,
        dither: float = 0.0,
        energy_floor: float = 1.0,
        frame_length: float = 25.0,
        frame_shift: float = 10.0,
        high_freq: float = 0.0,
        htk_compat: bool = False,
        low_freq: float = 20.0,
        min_duration: float = 0.0,
        num_mel_bins: int = 23,
        preemphasis_coefficient: float = 0.97,
        raw_energy: bool = True,
        remove_dc_offset: bool = True,
        round_to_power_of_two: bool = True,
        sample_frequency: float = 16000.0,
        snip_edges: bool = True,
        subtract_mean: bool = False,
        use_energy: bool = False,
        use_log_fbank: bool = True,
        use_power: bool = True,
        window_type: str = "povey",
    ) -> None:
        super().__init__()
        require_numbers(
            blackman_coeff=blackman_coeff,
            dither=dither,
            energy_floor=energy_floor,
            frame_length=frame_length,
            frame_shift=frame_shift,
            high_freq=high_freq,
            low_freq=low_freq,
            min_duration=min_duration,
            preemphasis_coefficient=preemphasis_coefficient,
            sample_frequency=sample_frequency,
        )
        require_bools(
            htk_compat=htk_compat,
            raw_energy=raw_energy,
            remove_dc_offset=remove_dc_offset,
            round_to_power_of_two=round_to_power_of_two,
            snip_edges=snip_edges,
            subtract_mean=subtract_mean,
            use_energy=use_energy,
            use_log_fbank=use_log_fbank,
            use_power=use_power,
        )
        require_positive_int(num_mel_bins=num_mel_bins)
        require(
            sample_frequency > 0, f"sample_frequency is {sample_frequency}; it must be positive."
        )
        require(dither >= 0, f"dither is {dither}; it must be 0 or more.")
        require(energy_floor >= 0, f"energy_floor is {energy_floor}; it must be 0 or more.")
        require(
            0.0 <= preemphasis_coefficient <= 1.0,
            f"preemphasis_coefficient is {preemphasis_coefficient}; it must lie in [0, 1].",
        )
        require_choice("window_type", window_type, WINDOW_TYPES)
        self.sample_rate = round(sample_frequency)
        self._set_frames(sample_frequency, frame_length, frame_shift, round_to_power_of_two)
        self.snip_edges = snip_edges
        self.min_samples = max(self.frame_length, math.ceil(min_duration * sample_frequency))
        self.dither, self.preemphasis = dither, preemphasis_coefficient
        self.remove_dc_offset, self.subtract_mean = remove_dc_offset, subtract_mean
        self.use_energy, self.raw_energy, self.htk_compat = use_energy, raw_energy, htk_compat
        self.energy_floor = max(energy_floor, EPSILON)
        self.use_power, self.use_log_fbank = use_power, use_log_fbank
        self.feature_dim = num_mel_bins + int(use_energy)
        self._set_constant("window", kaldi_window(window_type, self.frame_length, blackman_coeff))
        bank = self._mel_bank(sample_frequency, num_mel_bins, low_freq, high_freq)
        self._set_constant("mel_bank", repeat_for_squares(bank) if use_power else bank)

    def _set_frames(
        self, sample_rate: float, frame_length_ms: float, frame_shift_ms: float, power_of_two: bool
    ) -> None:
        # Multiplied in this order and cut off, so that fractions of a sample fall as in Kaldi.
        self.hop_length = int(sample_rate * frame_shift_ms * 0.001)
        self.frame_length = int(sample_rate * frame_length_ms * 0.001)
        require(
            self.hop_length > 0,
            f"frame_shift is {frame_shift_ms} ms, less than a sample at {sample_rate:g} Hz.",
        )
        require(
            self.frame_length > 1,
            f"frame_length is {frame_length_ms} ms, less than two samples at {sample_rate:g} Hz.",
        )
        n = self.frame_length
        require(n <= 1_000_000, f"frame_length is {frame_length_ms} ms, {n:,} samples; shorten it.")
        self.n_fft = 2 ** (n - 1).bit_length() if power_of_two else n
        require(
            self.n_fft % 2 == 0,
            f"frame_length is {frame_length_ms} ms, {n} samples; without round_to_power_of_two "
            "it must be an even number of samples.",
        )

    def _mel_bank(
        self, sample_rate: float, num_mel_bins: int, low_freq: float, high_freq: float
    ) -> Tensor:
        require(num_mel_bins > 3, f"num_mel_bins is {num_mel_bins}; Kaldi needs at least 4.")
        nyquist = 0.5 * sample_rate
        end = high_freq if high_freq > 0.0 else nyquist + high_freq
        require(
            0.0 <= low_freq < end <= nyquist,
            f"low_freq is {low_freq} and high_freq is {high_freq}; the bands must lie between 0 "
            f"and {nyquist:g} Hz, half the sample_frequency.",
        )
        require_modest_bank(self.n_fft // 2 + 1, num_mel_bins)
        return bank_without_gaps(
            lambda count: kaldi_mel_bank(self.n_fft, count, sample_rate, low_freq, end),
            num_mel_bins,
            n_fft=self.n_fft,
            bands="num_mel_bins",
            points="frame_length",
        )

    def num_frames(self, num_samples: NumSamples) -> NumSamples:
        if self.snip_edges:
            return 1 + (num_samples - self.frame_length) // self.hop_length
        return (num_samples + self.hop_length // 2) // self.hop_length

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        if not self.snip_edges:
            waveforms = self._mirror_ends(waveforms, lengths)
        features = map_frames(self._bands, waveforms, self.frame_length, self.hop_length)
        if self.subtract_mean:
            counts = features.new_full(features.shape[:1], features.shape[1])
            if lengths is not None:
                counts = self.num_frames(lengths)
                zero_invalid_frames_(features, counts)
            features -= mean_over_frames(features, counts)
        return features

    @property
    def num_mirrored(self) -> tuple[int, int]:
        """Samples in front of a clip and behind it, without ``snip_edges``.

        Frame t lies about the middle of shift t. Where frames are shorter than shifts, the first
        starts inside the clip, and the number is negative. At the right goes what makes
        ``num_frames()`` whole frames of it.
        """
        num_left = self.frame_length // 2 - self.hop_length // 2
        return num_left, self.frame_length - self.frame_length // 2 - self.hop_length % 2

    def _mirror_ends(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor:
        num_left, num_right = self.num_mirrored
        waveforms = pad_ends(waveforms, lengths, max(0, num_left), num_right, "symmetric")
        return waveforms[:, max(0, -num_left) :]

    def _bands(self, frames: Tensor) -> Tensor:
        if self.training and self.dither:
            frames = frames + torch.randn_like(frames) * self.dither
        if self.remove_dc_offset:
            frames = frames - frames.mean(dim=-1, keepdim=True)
        padded, windowed = self._windowed(frames)
        spectra = torch.fft.rfft(padded)
        bins = interleaved_squares(spectra) if self.use_power else power_spectrum(spectra).sqrt_()
        bands = bins @ self.mel_bank.to(bins.dtype)
        if self.use_log_fbank:
            bands.clamp_(min=EPSILON).log_()
        if not self.use_energy:
            return bands
        energy = (frames if self.raw_energy else windowed).square().sum(dim=-1, keepdim=True)
        energy = energy.clamp_(min=self.energy_floor).log_()
        return torch.cat((bands, energy) if self.htk_compat else (energy, bands), dim=-1)

    def _windowed(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Pre-emphasis and window, written straight into zero-padded frames, and a view of them."""
        window = self.window.to(frames.dtype)
        padded = frames.new_empty((*frames.shape[:2], self.n_fft))
        padded[..., self.frame_length :] = 0.0
        windowed = padded[..., : self.frame_length]
        if self.preemphasis:
            # The first sample counts as its own predecessor.
            windowed[..., :1] = frames[..., :1] * (1.0 - self.preemphasis)
            torch.sub(
                frames[..., 1:], frames[..., :-1], alpha=self.preemphasis, out=windowed[..., 1:]
            )
            windowed *= window
        else:
            torch.mul(frames, window, out=windowed)
        return padded, windowed
