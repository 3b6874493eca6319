"""Spectrogram, MelSpectrogram and MFCC: arguments and numbers of torchaudio's transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mvector.features.filters import (
    MEL_SCALES,
    bank_without_gaps,
    dct_matrix,
    hz_mel_bank,
    interleaved_squares,
    power_spectrum,
    repeat_for_squares,
    zero_pad_window,
)
from mvector.features.framing import map_frames, pad_ends, zero_invalid_frames_
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

TOP_DB = 80.0


class Spectrogram(FeatureTransform):
    """Short-time power spectrum under a periodic Hann window.

    Args:
        n_fft: samples of a frame, and size of the Fourier transform.
        win_length: samples of the window, in the middle of the frame; default ``n_fft``.
        hop_length: samples from frame to frame; default ``win_length // 2``.
        pad: zeros to put at both ends of a clip beforehand.
        power: exponent of the magnitude: 2 is power, 1 is magnitude.
        normalized: ``True`` or ``"window"`` divides the spectrum by the root of the window's
            energy, ``"frame_length"`` by the root of ``n_fft``.
        center: frame t is centred at sample ``t * hop_length``, and the clip is continued by
            ``n_fft // 2`` samples at both ends; otherwise frame t starts there.
        pad_mode: how the clip is continued: reflect, replicate, circular or constant.
        onesided: leave out the mirrored upper half of the spectrum.
        sample_rate: rate of the waveforms in Hz; it does not enter the numbers.

    Raises:
        ConfigError: an argument has an impossible value.
    """

    window: Tensor

    def __init__(
        self,
        *,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        pad: int = 0,
        power: float = 2.0,
        normalized: bool | str = False,
        center: bool = True,
        pad_mode: str = "reflect",
        onesided: bool = True,
        sample_rate: int = 16000,
    ) -> None:
        super().__init__()
        require_positive_int(n_fft=n_fft, sample_rate=sample_rate)
        win_length = n_fft if win_length is None else win_length
        require_positive_int(win_length=win_length)
        require(
            win_length <= n_fft,
            f"win_length is {win_length} and n_fft is {n_fft}; the window must fit the frame.",
        )
        hop_length = win_length // 2 if hop_length is None else hop_length
        require_positive_int(hop_length=hop_length)
        if type(pad) is not int or pad != 0:
            require_positive_int(pad=pad)
        require_bools(center=center, onesided=onesided)
        require_numbers(power=power)
        require(power > 0, f"power is {power}; it must be positive (2 is power, 1 is magnitude).")
        require_choice("normalized", normalized, (False, True, "window", "frame_length"))
        require_choice("pad_mode", pad_mode, ("reflect", "replicate", "circular", "constant"))
        self.n_fft, self.hop_length, self.pad, self.power = n_fft, hop_length, pad, float(power)
        self.num_edge = n_fft // 2 if center else 0
        self.pad_mode, self.onesided, self.sample_rate = pad_mode, onesided, sample_rate
        self.feature_dim = n_fft // 2 + 1 if onesided else n_fft
        self.min_samples = max(1, self._min_padded_samples() - 2 * pad)
        window = zero_pad_window(torch.hann_window(win_length, dtype=torch.float64), n_fft)
        if normalized:
            window /= n_fft**0.5 if normalized == "frame_length" else window.square().sum().sqrt()
        self._set_constant("window", window)

    def _min_padded_samples(self) -> int:
        if not self.num_edge:
            return self.n_fft
        # Mirroring takes one sample more than it continues, wrapping around as many; one sample
        # is enough to be repeated, and both edges and one sample make a frame.
        return {"reflect": self.num_edge + 1, "circular": self.num_edge}.get(self.pad_mode, 1)

    def num_frames(self, num_samples: NumSamples) -> NumSamples:
        return 1 + (num_samples + 2 * (self.pad + self.num_edge) - self.n_fft) // self.hop_length

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.map_spectra(self._magnitude, waveforms, lengths)

    def map_spectra(
        self, function: Callable[[Tensor], Tensor], waveforms: Tensor, lengths: Tensor | None
    ) -> Tensor:
        """Apply a function to the complex spectra ``(clips, frames, bins)`` of all frames."""
        for edge, mode in ((self.pad, "constant"), (self.num_edge, self.pad_mode)):
            if edge:
                waveforms = pad_ends(waveforms, lengths, edge, edge, mode)
                lengths = None if lengths is None else lengths + 2 * edge
        transform = torch.fft.rfft if self.onesided else torch.fft.fft
        window = self.window.to(waveforms.dtype)
        return map_frames(
            lambda frames: function(transform(frames * window)),
            waveforms,
            self.n_fft,
            self.hop_length,
        )

    def _magnitude(self, spectra: Tensor) -> Tensor:
        return raise_magnitudes(power_spectrum(spectra), self.power)


def raise_magnitudes(power: Tensor, exponent: float) -> Tensor:
    """Raise magnitudes, given as their squares, to an exponent."""
    if exponent == 2.0:
        return power
    return power.sqrt() if exponent == 1.0 else power ** (exponent / 2.0)


class MelSpectrogram(FeatureTransform):
    """Power in mel bands, without a logarithm.

    Args:
        sample_rate: rate of the waveforms in Hz.
        f_min: where the first band starts, in Hz.
        f_max: where the last band ends, in Hz; default half the rate. Bands above that are empty.
        n_mels: number of bands.
        norm: ``"slaney"`` gives all bands the same area, ``None`` the same height.
        mel_scale: ``"htk"`` or ``"slaney"``.
        n_fft, win_length, hop_length, pad, power, normalized, center, pad_mode: as in
            :class:`Spectrogram`.

    Raises:
        ConfigError: an argument has an impossible value.
    """

    mel_bank: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        f_min: float = 0.0,
        f_max: float | None = None,
        pad: int = 0,
        n_mels: int = 128,
        power: float = 2.0,
        normalized: bool | str = False,
        center: bool = True,
        pad_mode: str = "reflect",
        norm: str | None = None,
        mel_scale: str = "htk",
    ) -> None:
        super().__init__()
        self.spectrogram = Spectrogram(
            n_fft=n_fft,
            win_length=win_length,
            hop_length=hop_length,
            pad=pad,
            power=power,
            normalized=normalized,
            center=center,
            pad_mode=pad_mode,
            sample_rate=sample_rate,
        )
        require_positive_int(n_mels=n_mels)
        require_choice("norm", norm, (None, "slaney"))
        require_choice("mel_scale", mel_scale, MEL_SCALES)
        f_max = sample_rate // 2 if f_max is None else f_max
        require_numbers(f_min=f_min, f_max=f_max)
        require(
            0.0 <= f_min < f_max,
            f"f_min is {f_min} and f_max is {f_max}; the bands need 0 <= f_min < f_max.",
        )
        self.sample_rate, self.feature_dim = sample_rate, n_mels
        self.min_samples = self.spectrogram.min_samples
        num_bins = self.spectrogram.feature_dim
        require_modest_bank(num_bins, n_mels)

        def make_bank(count: int) -> Tensor:
            return hz_mel_bank(
                num_bins, count, sample_rate, f_min, f_max, norm=norm, mel_scale=mel_scale
            )

        bank = bank_without_gaps(make_bank, n_mels, n_fft=n_fft)
        self._set_constant("mel_bank", repeat_for_squares(bank) if power == 2.0 else bank)

    def num_frames(self, num_samples: NumSamples) -> NumSamples:
        return self.spectrogram.num_frames(num_samples)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.spectrogram.map_spectra(self._bands, waveforms, lengths)

    def _bands(self, spectra: Tensor) -> Tensor:
        power = self.spectrogram.power
        if power == 2.0:
            bins = interleaved_squares(spectra)
        else:
            bins = raise_magnitudes(power_spectrum(spectra), power)
        return bins @ self.mel_bank.to(bins.dtype)


class MFCC(FeatureTransform):
    """Mel-frequency cepstral coefficients: the cosine transform of a mel spectrum in dB.

    Levels more than 80 dB below the loudest cell of a clip are raised to that; the loudest cell
    is sought in each clip by itself (torchaudio seeks it in the whole batch).

    Args:
        sample_rate: rate of the waveforms in Hz.
        n_mfcc: number of coefficients.
        dct_type: type of the cosine transform; 2 is the only one.
        norm: ``"ortho"`` for the orthonormal transform, or ``None``.
        log_mels: take ``ln(mel + 1e-6)`` in place of dB with its floor.
        melkwargs: arguments of :class:`MelSpectrogram`.

    Raises:
        ConfigError: an argument has an impossible value.
    """

    dct: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_mfcc: int = 40,
        dct_type: int = 2,
        norm: str | None = "ortho",
        log_mels: bool = False,
        melkwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        require_choice("dct_type", dct_type, (2,))
        require_choice("norm", norm, (None, "ortho"))
        require_positive_int(n_mfcc=n_mfcc)
        require_bools(log_mels=log_mels)
        mel_args = {"sample_rate": sample_rate, **(melkwargs or {})}
        require(
            mel_args["sample_rate"] == sample_rate,
            f"melkwargs.sample_rate is {mel_args['sample_rate']} and sample_rate is {sample_rate}; "
            "leave the one in melkwargs out.",
        )
        self.mel_spectrogram = MelSpectrogram(**mel_args)
        n_mels = self.mel_spectrogram.feature_dim
        require(
            n_mfcc <= n_mels,
            f"n_mfcc is {n_mfcc} and n_mels is {n_mels}; no more than n_mels can be kept.",
        )
        self.sample_rate, self.feature_dim, self.log_mels = sample_rate, n_mfcc, log_mels
        self.min_samples = self.mel_spectrogram.min_samples
        require_modest_bank(n_mels, n_mfcc)
        self._set_constant("dct", dct_matrix(n_mels, n_mfcc, norm))

    def num_frames(self, num_samples: NumSamples) -> NumSamples:
        return self.mel_spectrogram.num_frames(num_samples)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        mel = self.mel_spectrogram(waveforms, lengths)
        if self.log_mels:
            levels = mel.add_(1e-6).log_()
        else:
            if lengths is not None:
                zero_invalid_frames_(mel, self.num_frames(lengths))
            levels = mel.clamp_(min=1e-10).log10_().mul_(10.0)
            levels = levels.maximum(levels.amax(dim=(1, 2), keepdim=True) - TOP_DB)
        return levels @ self.dct.to(levels.dtype)
