"""The front end in operators that every ONNX runtime has: frames by slices, spectra by products.

A Fourier transform of real frames is a product with a matrix of cosines and sines: exact but for
the rounding, which is some times that of a fast transform, and of little cost beside the network.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mvector.features.featurizer import LOG_FLOOR, STD_FLOOR, STD_MIN
from mvector.features.kaldi import EPSILON, Fbank
from mvector.features.level import bring_to_level
from mvector.features.nemo import LOG_OFFSET as NEMO_LOG_OFFSET
from mvector.features.nemo import STD_OFFSET, NemoFbank
from mvector.features.redimnet import (
    LEAST,
    LOG_OFFSET,
    SIGNAL_EPS,
    ReDimNet2Fbank,
    ReDimNetFbank,
    emphasise,
)
from mvector.features.spectral import MFCC, TOP_DB, MelSpectrogram, Spectrogram, raise_magnitudes
from mvector.features.speechbrain import AMIN, SpeechbrainFbank
from mvector.features.transform import FeatureTransform
from mvector.models.speaker_model import SpeakerModel


class FrontEndGraph(nn.Module):
    """One clip ``(1, samples)`` to its features ``(1, frames, bins)``: those of a SpeakerModel."""

    def __init__(self, model: SpeakerModel) -> None:
        super().__init__()
        self.front_end = model.front_end
        self.featurizer = model.featurizer
        self.transform = feature_graph(model.featurizer.transform)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(1, samples) -> (1, frames, bins)``."""
        features = self.transform(bring_to_level(self.front_end, waveform))
        if self.featurizer.log_spectrum:
            features = features.clamp(min=LOG_FLOOR).log()
        mean = features.mean(dim=1, keepdim=True)
        centred = features - mean
        if self.featurizer.normalize_mean:
            features = centred
        if self.featurizer.normalize_variance:
            deviation = centred.square().mean(dim=1, keepdim=True).sqrt()
            features = features / deviation.maximum(STD_FLOOR * mean.abs()).clamp(min=STD_MIN)
        return features


class _Spectra(nn.Module):
    """Windowed frames to the real parts of their spectra, then the imaginary ones.

    Args:
        window: ``(frame_length,)`` float64.
        n_fft: points of the transform; frames are continued by zeros.
        bins: which of its bins.
    """

    matrix: Tensor

    def __init__(self, window: Tensor, n_fft: int, bins: Tensor) -> None:
        super().__init__()
        places = torch.arange(len(window)).unsqueeze(1) * bins  # exact: no angle is a large number
        angles = (places % n_fft).to(torch.float64) * (2.0 * math.pi / n_fft)
        matrix = torch.cat([angles.cos(), angles.sin()], dim=1) * window.unsqueeze(1)
        self.register_buffer("matrix", matrix.to(torch.float32))

    def forward(self, frames: Tensor) -> Tensor:
        """``(1, frames, frame_length) -> (1, frames, 2 * bins)``."""
        return frames @ self.matrix


class _Bands(nn.Module):
    """Windowed frames to sums of their power, or magnitude to another exponent, in bands."""

    bank: Tensor

    def __init__(self, window: Tensor, n_fft: int, bank: Tensor, exponent: float) -> None:
        super().__init__()
        bins = (bank != 0).any(dim=1).nonzero().squeeze(1)
        bank = bank[bins].to(torch.float32)
        self.spectra = _Spectra(window, n_fft, bins)
        self.exponent = exponent
        self.register_buffer("bank", torch.cat([bank, bank]) if exponent == 2.0 else bank)

    def forward(self, frames: Tensor) -> Tensor:
        """``(1, frames, frame_length) -> (1, frames, bands)``."""
        squares = self.spectra(frames).square()
        if self.exponent == 2.0:
            return squares @ self.bank
        return raise_magnitudes(_sum_of_halves(squares), self.exponent) @ self.bank


class _FbankGraph(nn.Module):
    def __init__(self, transform: Fbank) -> None:
        super().__init__()
        self.made = transform
        window = transform.exact("window")
        bank = transform.exact("mel_bank")
        if transform.use_power:
            bank = bank[::2]
        exponent = 2.0 if transform.use_power else 1.0
        self.bands = _Bands(window, transform.n_fft, bank, exponent)
        self.window = window.to(torch.float32)

    def forward(self, waveform: Tensor) -> Tensor:
        made = self.made
        if not made.snip_edges:
            waveform = self._mirror_ends(waveform)
        frames = _frames(waveform, made.frame_length, made.hop_length)
        if made.remove_dc_offset:
            frames = frames - frames.mean(dim=2, keepdim=True)
        heard = frames
        if made.preemphasis:
            before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
            heard = frames - made.preemphasis * before
        bands = self.bands(heard)
        if made.use_log_fbank:
            bands = bands.clamp(min=EPSILON).log()
        if made.use_energy:
            loud = frames if made.raw_energy else heard * self.window
            energy = loud.square().sum(dim=2, keepdim=True).clamp(min=made.energy_floor).log()
            bands = torch.cat((bands, energy) if made.htk_compat else (energy, bands), dim=2)
        return bands - bands.mean(dim=1, keepdim=True) if made.subtract_mean else bands

    def _mirror_ends(self, waveform: Tensor) -> Tensor:
        num_left, num_right = self.made.num_mirrored
        waveform = _continued(waveform, max(0, num_left), num_right, "symmetric")
        return waveform[:, max(0, -num_left) :]


class _SpectrogramGraph(nn.Module):
    """Power or magnitude of the spectra, or what ``bank`` makes of it."""

    def __init__(self, transform: Spectrogram, bank: Tensor | None = None) -> None:
        super().__init__()
        self.made = transform
        window, n_fft = transform.exact("window"), transform.n_fft
        self.bands = None if bank is None else _Bands(window, n_fft, bank, transform.power)
        if bank is None:
            self.spectra = _Spectra(window, n_fft, torch.arange(transform.feature_dim))

    def forward(self, waveform: Tensor) -> Tensor:
        made = self.made
        for edge, mode in ((made.pad, "constant"), (made.num_edge, made.pad_mode)):
            if edge:
                waveform = _continued(waveform, edge, edge, mode)
        frames = _frames(waveform, made.n_fft, made.hop_length)
        if self.bands is not None:
            return self.bands(frames)
        return raise_magnitudes(_sum_of_halves(self.spectra(frames).square()), made.power)


class _MfccGraph(nn.Module):
    def __init__(self, transform: MFCC) -> None:
        super().__init__()
        self.mel = feature_graph(transform.mel_spectrogram)
        self.log_mels = transform.log_mels
        self.dct = transform.exact("dct").to(torch.float32)

    def forward(self, waveform: Tensor) -> Tensor:
        mel = self.mel(waveform)
        if self.log_mels:
            return (mel + 1e-6).log() @ self.dct
        return _above_floor(_in_db(mel, 1e-10), TOP_DB) @ self.dct


class _BandsGraph(nn.Module):
    def __init__(self, transform: Any) -> None:
        super().__init__()
        self.made = transform
        window, bank = transform.exact("window"), transform.exact("mel_bank")[::2]
        self.bands = _Bands(window, transform.n_fft, bank, 2.0)


class _SpeechbrainGraph(_BandsGraph):
    def forward(self, waveform: Tensor) -> Tensor:
        half = self.made.n_fft // 2
        waveform = _continued(waveform, half, half, "constant")
        frames = _frames(waveform, self.made.n_fft, self.made.hop_length)
        return _above_floor(_in_db(self.bands(frames), AMIN), self.made.top_db)


class _RedimnetGraph(_BandsGraph):
    def forward(self, waveform: Tensor) -> Tensor:
        made = self.made
        if made.normalize_signal:
            waveform = _standardised(waveform, SIGNAL_EPS)
        half = made.n_fft // 2
        waveform = _continued(emphasise(waveform, made.preemphasis), half, half, "reflect")
        frames = _frames(waveform, made.n_fft, made.hop_length)
        return (self.bands(frames) + LOG_OFFSET).log()


class _NemoGraph(_BandsGraph):
    def forward(self, waveform: Tensor) -> Tensor:
        half = self.made.n_fft // 2
        waveform = _continued(self.made.emphasise(waveform), half, half, "constant")
        frames = _frames(waveform, self.made.n_fft, self.made.hop_length)[:, :-1]
        levels = (self.bands(frames) + NEMO_LOG_OFFSET).log()
        return (levels - levels.mean(dim=1, keepdim=True)) / (
            levels.std(1, True, True) + STD_OFFSET
        )


class _Redimnet2Graph(nn.Module):
    def __init__(self, transform: ReDimNet2Fbank) -> None:
        super().__init__()
        self.made = transform
        n_fft = transform.n_fft
        self.spectra = _Spectra(transform.exact("window"), n_fft, torch.arange(n_fft // 2))
        self.bank = transform.exact("mel_bank").to(torch.float32)

    def forward(self, waveform: Tensor) -> Tensor:
        made = self.made
        if made.normalize_signal:
            waveform = _standardised(waveform, LEAST)
        waveform = emphasise(waveform, made.preemphasis)
        waveform = _continued(waveform, made.num_edge, made.num_edge, "constant")
        frames = _frames(waveform, made.win_length, made.hop_length)
        power = _sum_of_halves(self.spectra(frames).square()).clamp(LEAST, 1.0 / LEAST)
        return ((power @ self.bank).clamp(LEAST, 1.0 / LEAST) + LEAST).log()


def feature_graph(transform: FeatureTransform) -> nn.Module:
    if isinstance(transform, Fbank):
        return _FbankGraph(transform)
    if isinstance(transform, MelSpectrogram):
        bank = transform.exact("mel_bank")
        bank = bank[::2] if transform.spectrogram.power == 2.0 else bank
        return _SpectrogramGraph(transform.spectrogram, bank)
    if isinstance(transform, MFCC):
        return _MfccGraph(transform)
    if isinstance(transform, SpeechbrainFbank):
        return _SpeechbrainGraph(transform)
    if isinstance(transform, ReDimNetFbank):
        return _RedimnetGraph(transform)
    if isinstance(transform, ReDimNet2Fbank):
        return _Redimnet2Graph(transform)
    if isinstance(transform, NemoFbank):
        return _NemoGraph(transform)
    assert isinstance(transform, Spectrogram)
    return _SpectrogramGraph(transform)


def _frames(waveform: Tensor, frame_length: int, hop_length: int) -> Tensor:
    """All whole frames, ``(1, samples) -> (1, frames, frame_length)``.

    The samples are written in rows of a shift each; a frame is some rows behind one another.
    """
    num_frames = 1 + (waveform.shape[1] - frame_length) // hop_length
    num_rows = -(-frame_length // hop_length)
    padded = nn.functional.pad(waveform, (0, num_rows * hop_length))
    rows = padded[:, : (num_frames + num_rows - 1) * hop_length].reshape(1, -1, hop_length)
    parts = [rows[:, first : first + num_frames] for first in range(num_rows)]
    return torch.cat(parts, dim=2)[:, :, :frame_length]


def _continued(waveform: Tensor, num_left: int, num_right: int, mode: str) -> Tensor:
    """A clip continued at both ends; see :func:`mvector.features.framing.pad_ends`."""
    size = waveform.shape[1]
    if mode == "constant":
        return nn.functional.pad(waveform, (num_left, num_right))
    if mode == "replicate":
        left, right = waveform[:, :1].expand(1, num_left), waveform[:, -1:].expand(1, num_right)
    elif mode == "circular":
        left, right = waveform[:, size - num_left :], waveform[:, :num_right]
    else:
        skipped = 1 if mode == "reflect" else 0
        left = waveform[:, skipped : skipped + num_left].flip(1)
        right = waveform[:, size - skipped - num_right : size - skipped].flip(1)
    return torch.cat([left, waveform, right], dim=1)


def _standardised(waveform: Tensor, eps: float) -> Tensor:
    centred = waveform - waveform.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True).sqrt() + eps)


def _sum_of_halves(squares: Tensor) -> Tensor:
    real, imaginary = squares.chunk(2, dim=2)
    return real + imaginary


def _in_db(power: Tensor, least: float) -> Tensor:
    return 10.0 * power.clamp(min=least).log10()


def _above_floor(levels: Tensor, range_db: float) -> Tensor:
    """Levels no further below the loudest of the clip than the range."""
    return levels.maximum(levels.amax(dim=(1, 2), keepdim=True) - range_db)
