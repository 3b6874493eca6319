"""Options of the feature methods: one frozen class each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mvector.config.section import PositiveInt, Section


class _SpectrumArgs(Section):
    """What power and mel spectrograms share; lengths in samples."""

    sample_rate: int = Field(16000, ge=1000, le=1_000_000)
    n_fft: PositiveInt = 400
    win_length: PositiveInt | None = None
    hop_length: PositiveInt | None = None
    pad: int = Field(0, ge=0)
    power: float = Field(2.0, gt=0)
    normalized: bool = False
    center: bool = True
    pad_mode: Literal["reflect"] = "reflect"

    @model_validator(mode="after")
    def _window_fits(self) -> _SpectrumArgs:
        if self.win_length is not None and self.win_length > self.n_fft:
            raise ValueError(f"win_length {self.win_length} is longer than n_fft {self.n_fft}")
        return self


class SpectrogramArgs(_SpectrumArgs):
    """As torchaudio's ``Spectrogram``; lengths in samples."""

    onesided: Literal[True] = True


class MelSpectrogramArgs(_SpectrumArgs):
    """As torchaudio's ``MelSpectrogram``; lengths in samples, frequencies in Hz."""

    f_min: float = Field(0.0, ge=0)
    f_max: float | None = Field(None, gt=0)
    n_mels: PositiveInt = 128
    norm: Literal["slaney"] | None = None
    mel_scale: Literal["htk", "slaney"] = "htk"

    @model_validator(mode="after")
    def _band_fits(self) -> MelSpectrogramArgs:
        upper = self.sample_rate / 2 if self.f_max is None else self.f_max
        if self.f_min >= upper:
            raise ValueError(f"f_min {self.f_min:g} Hz is not below f_max {upper:g} Hz")
        return self


class MFCCArgs(Section):
    """As torchaudio's ``MFCC``; the 80 dB range is that of each clip."""

    sample_rate: int = Field(16000, ge=1000, le=1_000_000)
    n_mfcc: PositiveInt = 40
    dct_type: Literal[2] = 2
    norm: Literal["ortho"] | None = "ortho"
    log_mels: bool = False
    melkwargs: MelSpectrogramArgs = MelSpectrogramArgs()

    @model_validator(mode="after")
    def _no_more_than_mels(self) -> MFCCArgs:
        if self.n_mfcc > self.melkwargs.n_mels:
            raise ValueError(
                f"n_mfcc {self.n_mfcc} is more than melkwargs.n_mels {self.melkwargs.n_mels}"
            )
        return self


class FbankArgs(Section):
    """As Kaldi's ``compute-fbank-feats``; frame length and shift in ms, frequencies in Hz."""

    sample_frequency: float = Field(16000.0, ge=1000, le=1_000_000)
    num_mel_bins: int = Field(23, ge=4)
    frame_length: float = Field(25.0, gt=0)
    frame_shift: float = Field(10.0, gt=0)
    low_freq: float = Field(20.0, ge=0)
    high_freq: float = 0.0
    window_type: Literal["povey", "hamming", "hanning", "rectangular", "blackman"] = "povey"
    blackman_coeff: float = 0.42
    dither: float = Field(0.0, ge=0)
    energy_floor: float = Field(1.0, ge=0)
    htk_compat: bool = False
    min_duration: float = Field(0.0, ge=0)
    preemphasis_coefficient: float = Field(0.97, ge=0, le=1)
    raw_energy: bool = True
    remove_dc_offset: bool = True
    round_to_power_of_two: bool = True
    snip_edges: bool = True
    subtract_mean: bool = False
    use_energy: bool = False
    use_log_fbank: bool = True
    use_power: bool = True


class SpeechbrainFbankArgs(Section):
    """As SpeechBrain's ``Fbank``; window and hop in ms, frequencies in Hz."""

    sample_rate: int = Field(16000, ge=1000, le=1_000_000)
    n_mels: PositiveInt = 80
    n_fft: PositiveInt = 400
    win_length: float = Field(25.0, gt=0)
    hop_length: float = Field(10.0, gt=0)
    f_min: float = Field(0.0, ge=0)
    f_max: float | None = Field(None, gt=0)
    top_db: float = Field(80.0, gt=0)


class ReDimNetFbankArgs(Section):
    """As the authors of ReDimNet compute it; lengths in samples, frequencies in Hz."""

    sample_rate: int = Field(16000, ge=1000, le=1_000_000)
    n_mels: PositiveInt = 72
    n_fft: PositiveInt = 512
    win_length: int = Field(400, ge=2)
    hop_length: PositiveInt = 160
    f_min: float = Field(20.0, ge=0)
    f_max: float = Field(7600.0, gt=0)
    preemphasis: float = Field(0.97, ge=0, le=1)
    normalize_signal: bool = False


class ReDimNet2FbankArgs(ReDimNetFbankArgs):
    """As the authors of ReDimNet2 compute it; lengths in samples, frequencies in Hz."""

    normalize_signal: bool = True


class NemoFbankArgs(Section):
    """As NeMo computes it for speaker models; lengths in samples, frequencies in Hz."""

    sample_rate: int = Field(16000, ge=1000, le=1_000_000)
    n_mels: PositiveInt = 80
    n_fft: PositiveInt = 512
    win_length: int = Field(400, ge=2)
    hop_length: PositiveInt = 160
    f_min: float = Field(0.0, ge=0)
    f_max: float | None = Field(None, gt=0)
    preemphasis: float = Field(0.97, ge=0, le=1)


FEATURE_ARGS: dict[str, type[Section]] = {
    "Spectrogram": SpectrogramArgs,
    "MelSpectrogram": MelSpectrogramArgs,
    "MFCC": MFCCArgs,
    "Fbank": FbankArgs,
    "SpeechbrainFbank": SpeechbrainFbankArgs,
    "ReDimNetFbank": ReDimNetFbankArgs,
    "ReDimNet2Fbank": ReDimNet2FbankArgs,
    "NemoFbank": NemoFbankArgs,
}
