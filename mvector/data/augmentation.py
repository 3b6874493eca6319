"""Augmentation of training clips: waveforms in the workers, feature masks on the device.

Every random choice comes from the generator handed in, which the dataset seeds with
(seed, epoch, clip): the same clip in the same epoch is always augmented in the same way.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import soxr
import torch

from mvector.audio import AUDIO_SUFFIXES, audio_info, read_audio
from mvector.config.augment_options import AugmentConf, SpecAugConf
from mvector.errors import MVectorError

logger = logging.getLogger(__name__)

SPEEDS = (1.0, 0.9, 1.1)  # the first is a clip's own speed: speaker class k * num_speakers + label


class WaveformAugmentor:
    """Speed, reverberation, noise and volume, each with its own probability.

    Args:
        config: what to do and how often.
        sample_rate: rate of the waveforms in Hz.
    """

    def __init__(self, config: AugmentConf, sample_rate: int) -> None:
        self.config = config
        self.sample_rate = sample_rate
        noise, reverb = config.noise, config.reverb
        self.noises = _find_clips("noise", noise.noise_dir, noise.prob)
        self.impulse_responses = _find_clips("reverb", reverb.reverb_dir, reverb.prob)

    @property
    def num_speed_classes(self) -> int:
        """How many classes each speaker has: three if every speed is a speaker of its own."""
        return len(SPEEDS) if self.config.speed.speed_perturb_3_class else 1

    def draw_speed(self, rng: np.random.Generator) -> int:
        """Index into :data:`SPEEDS`."""
        if rng.random() < self.config.speed.prob:
            return int(rng.integers(len(SPEEDS)))
        return 0

    def change_speed(self, waveform: np.ndarray, speed: float) -> np.ndarray:
        """Play faster or slower: pitch and tempo change together (Ko et al., Interspeech 2015)."""
        if speed == 1.0:
            return waveform
        return soxr.resample(waveform, self.sample_rate * speed, self.sample_rate)

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Reverberation, noise, volume, in the order in which they happen in a room."""
        config = self.config
        if self.impulse_responses and rng.random() < config.reverb.prob:
            path = self.impulse_responses[rng.integers(len(self.impulse_responses))]
            waveform = add_reverb(waveform, read_audio(path, self.sample_rate))
        if self.noises and rng.random() < config.noise.prob:
            path = self.noises[rng.integers(len(self.noises))]
            noise = self._read_noise(path, len(waveform), rng)
            snr_db = rng.uniform(config.noise.min_snr_dB, config.noise.max_snr_dB)
            waveform = add_noise(waveform, noise, snr_db)
        if rng.random() < config.volume.prob:
            gain_db = rng.uniform(config.volume.min_gain_dBFS, config.volume.max_gain_dBFS)
            waveform = waveform * np.float32(10.0 ** (gain_db / 20.0))
        return waveform

    def _read_noise(self, path: Path, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        needed_s = num_samples / self.sample_rate
        spare_s = audio_info(path).duration_s - needed_s
        offset_s = rng.uniform(0.0, spare_s) if spare_s > 0 else 0.0
        noise = read_audio(path, self.sample_rate, offset_s=offset_s, duration_s=needed_s)
        return np.resize(noise, num_samples)  # a short noise is repeated


def add_noise(waveform: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Mix noise in at a signal-to-noise ratio: mean power over mean power, in dB.

    Args:
        waveform: ``(samples,)``.
        noise: ``(samples,)``; digital silence is left out.
        snr_db: ratio in dB.
    """
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    noise_power = float(np.mean(np.square(noise, dtype=np.float64)))
    if noise_power == 0.0:
        return waveform
    gain = np.sqrt(power / noise_power / 10.0 ** (snr_db / 10.0))
    return waveform + np.float32(gain) * noise


def add_reverb(waveform: np.ndarray, impulse_response: np.ndarray) -> np.ndarray:
    """Convolve with a room's impulse response; the direct sound stays where it was.

    The result has the waveform's length and its power.
    """
    num_samples = len(waveform)
    direct = int(np.argmax(np.abs(impulse_response)))
    size = 1 << (num_samples + len(impulse_response) - 2).bit_length()
    spectrum = np.fft.rfft(waveform, size) * np.fft.rfft(impulse_response, size)
    wet = np.fft.irfft(spectrum, size)[direct : direct + num_samples]
    power, wet_power = np.mean(np.square(waveform, dtype=np.float64)), np.mean(np.square(wet))
    if wet_power == 0.0:
        return waveform
    return (wet * np.sqrt(power / wet_power)).astype(np.float32)


def mask_features(features: torch.Tensor, draws: torch.Tensor, config: SpecAugConf) -> torch.Tensor:
    """SpecAugment: bands of bins and stretches of frames set to zero, the mean of the features.

    Park et al., "SpecAugment", Interspeech 2019.

    Args:
        features: ``(batch, frames, bins)``, mean-normalised.
        draws: ``(batch, 1 + 2 * masks)`` uniform numbers in [0, 1): whether to mask, then a width
            and a position for each frequency mask and each time mask; see :func:`num_draws`.
        config: number and largest width of the masks.
    """
    num_frames, num_bins = features.shape[1:]
    keep = torch.ones_like(features, dtype=torch.bool)
    draws = draws.to(features.device)
    column = 1
    for count, ratio, size, axis in (
        (config.n_freq_masks, config.freq_mask_ratio, num_bins, 2),
        (config.n_time_masks, config.time_mask_ratio, num_frames, 1),
    ):
        positions = torch.arange(size, device=features.device)
        for _ in range(count):
            width = torch.floor(draws[:, column] * (int(ratio * size) + 1))
            start = torch.floor(draws[:, column + 1] * (size - width + 1))
            inside = (positions >= start[:, None]) & (positions < (start + width)[:, None])
            keep &= ~inside.unsqueeze(1 if axis == 2 else 2)
            column += 2
    keep |= (draws[:, 0] >= config.prob)[:, None, None]
    return features * keep


def num_draws(config: SpecAugConf) -> int:
    """Uniform numbers that :func:`mask_features` needs for each clip."""
    return 1 + 2 * (config.n_freq_masks + config.n_time_masks)


def _find_clips(kind: str, folder: str | None, probability: float) -> list[Path]:
    if probability == 0.0:
        return []
    found = sorted(
        path
        for path in (Path(folder).rglob("*") if folder else ())
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
    )
    usable = [path for path in found if _opens(path)]
    if not usable:
        where = f"the folder '{folder}' holds no audio" if folder else "no folder is configured"
        logger.warning("Augmentation by %s is off: %s.", kind, where)
    elif len(usable) < len(found):
        num_bad = len(found) - len(usable)
        logger.warning("Augmentation by %s: %d unreadable files left out.", kind, num_bad)
    return usable


def _opens(path: Path) -> bool:
    try:
        audio_info(path)
    except MVectorError:
        return False
    return True
